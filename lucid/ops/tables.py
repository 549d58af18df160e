"""Which functions of the later families are public: `methods` are also methods of Tensor.

ops/methods.py reads the tables when it attaches everything.
"""

from collections.abc import Callable
from types import ModuleType

from lucid.ops import gamma, places, running, scatter, search, sort, unique


def _of(module: ModuleType, names: str) -> dict[str, Callable]:
    return {name: getattr(module, name) for name in names.split()}


# With `out=` where PyTorch has it: the result is computed, then written.
with_out: dict[str, Callable] = {
    **_of(sort, "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile"),
    **_of(running, "cummax cummin logcumsumexp"),
    **_of(search, "take_along_dim multinomial"),
    **_of(unique, "histc histogram"),
    **_of(scatter, "scatter_reduce"),
    **_of(places, "take"),
}
methods: dict[str, Callable] = {
    **_of(unique, "unique unique_consecutive bincount"),
    "argwhere": places.argwhere,
}
# With `out=`, and no methods.
creators: dict[str, Callable] = {
    **_of(search, "searchsorted bucketize isin"),
    "nonzero_static": unique.nonzero_static,
    "polygamma": gamma.polygamma,
}
# These have a form `name_` that computes and then writes.
in_place: tuple[str, ...] = ("scatter_reduce",)
# Methods whose arguments stand in another order than those of the function.
own: dict[str, Callable] = {"polygamma": gamma.polygamma_of}
