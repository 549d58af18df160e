"""`torch` itself: versions, saving in PyTorch's format, switches, old names.

Called by finder.py; all that is not here is looked up in `lucid`.
"""

import os
from typing import Any, BinaryIO

import lucid
from lucid.autograd.anomaly import is_anomaly_check_nan_enabled as is_anomaly_check_nan_enabled
from lucid.autograd.anomaly import is_anomaly_enabled as is_anomaly_enabled
from lucid.compat.answers.compiled import compile as compile
from lucid.compat.answers.devices import device as device
from lucid.compat.answers.library import classes as classes
from lucid.compat.answers.library import ops as ops
from lucid.compat.answers.refuse import refused
from lucid.compat.answers.version import __version__ as __version__

_settings: dict[str, Any] = {"precision": "highest", "deterministic": False, "warn_only": False}
_PRECISIONS = ("highest", "high", "medium")
_CPU = lucid.device("cpu")

strided, jagged = lucid.strided, "jagged"
sparse_coo, sparse_csr = lucid.sparse_coo, lucid.sparse_csr
layout, memory_format, qscheme = str, str, str  # classes that programs write in annotations


def save(
    obj: Any,
    f: str | os.PathLike | BinaryIO,
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """`lucid.save` in PyTorch's format, so that either reads the file."""
    if not _use_new_zipfile_serialization:
        raise NotImplementedError("torch.save: the format before 1.6 is read, not written")
    lucid.save(obj, f, format="torch")


def load(
    f: str | os.PathLike | BinaryIO,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    encoding: str = "utf-8",
) -> Any:
    """`lucid.load`: data alone is read, whatever `weights_only` says."""
    if pickle_module is not None and pickle_module.__name__ != "pickle":
        raise NotImplementedError("torch.load: pickle_module is not supported; data alone is read")
    return lucid.load(f, map_location, weights_only=weights_only, mmap=mmap)


def set_float32_matmul_precision(precision: str) -> None:
    """Inert: products of float32 are computed in float32."""
    if precision not in _PRECISIONS:
        raise RuntimeError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
    _settings["precision"] = precision


def get_float32_matmul_precision() -> str:
    return _settings["precision"]


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Inert: every result depends on the program alone."""
    _settings.update(deterministic=bool(mode), warn_only=bool(warn_only))


def are_deterministic_algorithms_enabled() -> bool:
    return _settings["deterministic"]


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    return _settings["deterministic"] and _settings["warn_only"]


def set_deterministic_debug_mode(mode: Any) -> None:
    use_deterministic_algorithms(mode not in (0, "default"), warn_only=mode in (1, "warn"))


def set_num_interop_threads(n: int) -> None:
    """Inert: ops run one after the other."""


def get_num_interop_threads() -> int:
    return 1


def set_flush_denormal(mode: bool) -> bool:
    """Whether it could be set: it cannot, denormal numbers are kept."""
    return not mode


def set_warn_always(b: bool) -> None:
    """Inert: Lucid's warnings follow Python's filters."""


def is_warn_always_enabled() -> bool:
    return False


def set_default_tensor_type(t: Any) -> None:
    """`set_default_dtype` by the name of a tensor type: "torch.DoubleTensor" or the type itself."""
    name = t if isinstance(t, str) else getattr(t, "__name__", str(t))
    if "cuda" in name:
        raise TypeError(f"set_default_tensor_type: {name} is on CUDA, which is not here")
    kinds = {"Half": "float16", "BFloat16": "bfloat16", "Float": "float32", "Double": "float64"}
    kind = kinds.get(name.rpartition(".")[2].removesuffix("Tensor"))
    if kind is None:
        raise TypeError(f"set_default_tensor_type: {name} is no floating tensor type")
    lucid.set_default_dtype(getattr(lucid, kind))


def get_default_device() -> Any:
    return _CPU


def set_default_device(device: Any) -> None:
    """The CPU is the only device: another one raises."""
    if device is not None and lucid.device(device).type != "cpu":
        raise NotImplementedError(f"set_default_device: {device} is not here")


def is_inference_mode_enabled() -> bool:
    """Whether gradients are off by `inference_mode`, which is `no_grad` here."""
    return not lucid.is_grad_enabled()


def typename(obj: Any) -> str:
    """The type's name as PyTorch spells it."""
    if isinstance(obj, lucid.Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    return f"{kind.__module__}.{kind.__qualname__}"


def is_storage(obj: Any) -> bool:
    return type(obj).__name__ == "Storage" and type(obj).__module__ == "lucid.storage"


def result_type(a: Any, b: Any) -> Any:
    """The type that an op of these two tensors or numbers gives."""
    return lucid.add(*(x[:0] if getattr(x, "ndim", 0) else x for x in (a, b))).dtype


def can_cast(from_: Any, to: Any) -> bool:
    """Whether the kind of number fits: bool, integer, floating, complex, from the lower up."""
    return from_.category <= to.category


def is_nonzero(x: Any) -> bool:
    """Whether a tensor of one element is not 0."""
    return bool(x.item())


def is_vulkan_available() -> bool:
    return False


def compiled_with_cxx11_abi() -> bool:
    return True


add_safe_globals = refused("torch.serialization.add_safe_globals", "only data is ever read")
safe_globals = refused("torch.serialization.safe_globals", "only data is ever read")
