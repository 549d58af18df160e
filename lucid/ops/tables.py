"""Which functions of the later families are public: `methods` are also methods of Tensor.

ops/methods.py reads the tables when it attaches everything.
"""

from collections.abc import Callable
from types import ModuleType

from lucid.ops import running, search, sort, unique


def _of(module: ModuleType, names: str) -> dict[str, Callable]:
    return {name: getattr(module, name) for name in names.split()}


# With `out=` where PyTorch has it: the result is computed, then written.
with_out: dict[str, Callable] = {
    **_of(sort, "sort argsort msort topk kthvalue median nanmedian mode quantile nanquantile"),
    **_of(running, "cummax cummin logcumsumexp"),
    **_of(search, "take_along_dim multinomial"),
    **_of(unique, "histc histogram"),
}
methods: dict[str, Callable] = {
    **_of(unique, "unique unique_consecutive bincount"),
}
# With `out=`, and no methods.
creators: dict[str, Callable] = {
    **_of(search, "searchsorted bucketize isin"),
    "nonzero_static": unique.nonzero_static,
}
# These have a form `name_` that computes and then writes.
in_place: tuple[str, ...] = ()
