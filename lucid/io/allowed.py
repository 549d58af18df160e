"""The names that a checkpoint of PyTorch may use, and what each stands for here: data alone.

Called by torch_read.py, which gives `find` to the interpreter. Functions check what they are given,
since the file that calls them is not trusted.
"""

import argparse
import functools
import math
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import PurePosixPath, PureWindowsPath
from types import SimpleNamespace
from typing import Any

import numpy as np

import lucid
from lucid import dtypes
from lucid.apply import CPU, wrap
from lucid.error import UnknownDeviceError
from lucid.io.container import is_sizes
from lucid.io.unpickle import STATES, Builder, Global, Malformed, checked_key
from lucid.layout import layout
from lucid.lazy import lazy

nn = lazy("lucid.nn")
sparse = lazy("lucid.sparse")

MOST_DIMS = 64
STORAGES = {
    "Bool": "bool", "Byte": "uint8", "Char": "int8", "Short": "int16", "Int": "int32",
    "Long": "int64", "Half": "float16", "BFloat16": "bfloat16", "Float": "float32",
    "Double": "float64", "ComplexFloat": "complex64", "ComplexDouble": "complex128",
}  # fmt: skip


class StorageType:
    """`torch.FloatStorage` and its like: the dtype of what is stored, None for plain bytes."""

    def __init__(self, name: str, kind: Any):
        self.name = name
        self.kind = kind


class Stored:
    """Bytes that tensors look into, with the dtype that the file gives them.

    `window` is (start, length) in bytes: old files have storages that are parts of others.
    """

    def __init__(self, block: Any, kind: Any, window: tuple[int, int]):
        self.block = block
        self.kind = kind
        self.window = window


Find = Callable[[str, str], Any]


def find(module: str, name: str, instead: Any = None) -> Any:
    """What `module.name` stands for; Malformed where it is not data. Devices that are not here
    become the device `instead`, where one is given."""
    module = module.replace("numpy._core", "numpy.core")
    full = f"{module}.{name}"
    if full == "torch.device":
        return Global(full, functools.partial(_device, instead))
    found = NAMES.get(full)
    if found is not None:
        return found
    if module in ("torch", "torch.storage", "torch.cuda"):
        return _of_torch(full, name)
    for part, what in REFUSED.items():
        if part in name:
            raise Malformed(f"{what} ({full}) is not supported")
    raise Malformed(
        f"it refers to {full[:200]}, which is no data; lucid.load reads tensors, containers, "
        "numbers and NumPy arrays and never executes what a file names. Save a state_dict() with "
        "the program that wrote it"
    )


REFUSED = {
    "_rebuild_q": "a quantized tensor",
    "_rebuild_nested": "a nested tensor",
    "_rebuild_meta": "a tensor without data",
    "_rebuild_wrapper": "a tensor of a subclass",
}


def _of_torch(full: str, name: str) -> Any:
    if name.endswith("Storage"):
        known = STORAGES.get(name.removesuffix("Storage"))
        if known is not None and known in dtypes.BY_NAME:
            return StorageType(name, dtypes.BY_NAME[known])
        if name in ("UntypedStorage", "TypedStorage"):
            return StorageType(name, None)
        raise Malformed(f"a storage of {full} is not supported")
    if name in dtypes.BY_NAME:
        return dtypes.BY_NAME[name]
    if name.endswith("Tensor") and STORAGES.get(name.removesuffix("Tensor")):
        return Global(full)
    what = "the dtype " if name.startswith(("uint", "int", "float", "complex", "q")) else ""
    raise Malformed(f"it refers to {what}{full[:200]}, which is not supported")


# ---- tensors --------------------------------------------------------------------------------


def tensor_of(stored: Any, offset: Any, shape: Any, stride: Any, kind: Any = None) -> Any:
    """A tensor over stored bytes, checked to lie inside of them."""
    if not isinstance(stored, Stored):
        raise Malformed(f"a tensor has a {type(stored).__name__} as its storage")
    kind = kind or stored.kind
    if kind is None:
        raise Malformed("a tensor over plain bytes has no dtype")
    shape, stride = list(shape), list(stride)
    if not (is_sizes(shape) and is_sizes(stride) and is_sizes([offset])):
        raise Malformed("a tensor's sizes are no numbers from 0 on")
    if len(shape) != len(stride) or len(shape) > MOST_DIMS or math.prod(shape) > 2**62:
        raise Malformed(f"a tensor has the sizes {shape} and the strides {stride}"[:200])
    start, length = stored.window
    last = sum((n - 1) * s for n, s in zip(shape, stride, strict=True))
    if math.prod(shape) and (offset + last + 1) * kind.itemsize > length:
        raise Malformed(f"a tensor reaches beyond the {length} bytes of its storage")
    if start % kind.itemsize:
        raise Malformed("a storage lies between two elements of another")
    lay = layout(tuple(shape), tuple(stride), kind, CPU)
    return wrap(stored.block, lay, start // kind.itemsize + offset if math.prod(shape) else 0)


def _rebuild(storage: Any, offset: Any, shape: Any, stride: Any, *rest: Any) -> Any:
    """_rebuild_tensor, v2 (requires_grad, backward_hooks, metadata) and v3 (dtype before it)."""
    requires_grad, hooks, *others = rest or (False, {})
    kind = None
    if others and isinstance(others[0], lucid.dtype):
        kind = others[0]
    if hooks:
        raise Malformed("a tensor has backward hooks, which are code")
    if others and not isinstance(others[-1], lucid.dtype) and others[-1]:
        raise Malformed("a tensor has metadata (conjugate or negative), which is not supported")
    return _with_gradient(tensor_of(storage, offset, shape, stride, kind), requires_grad)


def _with_gradient(x: Any, requires_grad: Any) -> Any:
    if requires_grad is True:
        if not (x.is_floating_point() or x.dtype.is_complex):
            raise Malformed(f"a tensor of {x.dtype} cannot require a gradient")
        x.requires_grad_()
    return x


def _parameter(x: Any, requires_grad: Any, hooks: Any = None, state: Any = None) -> Any:
    if not isinstance(x, lucid.Tensor):
        raise Malformed(f"a parameter is made of a {type(x).__name__}")
    if hooks:
        raise Malformed("a parameter has backward hooks, which are code")
    made = nn.Parameter(x.detach(), requires_grad=bool(requires_grad))
    return _with_attributes(made, state)


def _from_type(rebuild: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes; a class of the user's own is not known here."""
    if not isinstance(rebuild, Global) or rebuild.call is None or not isinstance(arguments, tuple):
        raise Malformed("a tensor is rebuilt by what is no function of data")
    if not isinstance(kind, Global):
        raise Malformed("a tensor is of a class that is not supported")
    return _with_attributes(rebuild.call(*arguments), state)


def _with_attributes(x: Any, state: Any) -> Any:
    parts = state if isinstance(state, tuple) else (state,)
    for part in parts:
        if not part:
            continue
        if not isinstance(part, dict):
            raise Malformed(f"a tensor has a {type(part).__name__} as its attributes")
        for key, value in part.items():
            if not isinstance(key, str) or key.startswith("_") or hasattr(type(x), key):
                raise Malformed(f"a tensor has the attribute {str(key)[:80]!r}")
            setattr(x, key, value)
    return x


def _layout(name: Any) -> Any:
    found = name.removeprefix("torch.") if isinstance(name, str) else ""
    if found not in (lucid.strided, lucid.sparse_coo, lucid.sparse_csr):
        raise Malformed(f"the layout {str(name)[:80]} is not supported")
    return found


def _sparse_tensor(kind: Any, parts: Any) -> Any:
    """A sparse tensor of its places, values and size, all checked to fit."""
    if kind not in (lucid.sparse_coo, lucid.sparse_csr) or not isinstance(parts, tuple):
        raise Malformed(f"a sparse tensor has the layout {str(kind)[:80]}")
    places, rest = parts[: -2 if kind == lucid.sparse_coo else -1], parts[len(parts) - 2 :]
    size, known = rest if kind == lucid.sparse_coo else (rest[-1], None)
    fits = len(parts) == 4 and all(type(x) is lucid.Tensor and _all_stored(x) for x in places)
    if not fits or not isinstance(size, tuple) or not is_sizes(list(size)) or len(size) > MOST_DIMS:
        raise Malformed("a sparse tensor is made of tensors and a size")
    try:
        if kind == lucid.sparse_csr:
            return sparse.sparse_csr_tensor(*places, size)
        return sparse.sparse_coo_tensor(*places, size, is_coalesced=known is True)
    except (ValueError, TypeError, IndexError, RuntimeError) as error:
        raise Malformed(f"a sparse tensor does not fit together: {error}") from error


def _all_stored(x: Any) -> bool:
    """Whether the file has bytes for as many elements: a stride of 0 makes many of few."""
    return x.numel() * x.dtype.itemsize <= x._storage.nbytes


def _device(instead: Any, kind: Any, index: Any = None) -> Any:
    if not isinstance(kind, str) or not (index is None or type(index) is int):
        raise Malformed("a device is named by a string and a number")
    try:
        return lucid.device(kind) if index is None else lucid.device(kind, index)
    except UnknownDeviceError as error:
        if instead is None:
            raise Malformed(f"{error}; give map_location='cpu' to replace it") from error
        return instead


# ---- Python's own -----------------------------------------------------------------------------


def _ordered(*items: Any) -> OrderedDict:
    return OrderedDict(_pairs(*items))


def _pairs(items: Any = ()) -> list[tuple[Any, Any]]:
    return [(checked_key(key), value) for key, value in list(items)]


def _counter(counts: Any = None) -> Counter:
    if not isinstance(counts, dict):
        raise Malformed("a Counter is made of a dict")
    return Counter(counts)


def _default(factory: Any = None) -> Any:
    if factory is not None and factory not in FACTORIES:
        raise Malformed(f"a defaultdict makes {factory!r}")
    return defaultdict(FACTORIES[factory] if factory is not None else None)


def _set(items: Any = ()) -> set:
    return set(map(checked_key, _list(items)))


def _frozen(items: Any = ()) -> frozenset:
    return frozenset(map(checked_key, _list(items)))


def _list(items: Any) -> Any:
    if not isinstance(items, list | tuple | set | frozenset):
        raise Malformed(f"a set is made of a {type(items).__name__}")
    return items


def _bytes(text: Any, encoding: Any) -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise Malformed("bytes are encoded as something other than latin1")
    return text.encode("latin1")


def _bytearray(*parts: Any) -> bytearray:
    if len(parts) == 2:
        return bytearray(_bytes(*parts))
    if parts and not isinstance(parts[0], bytes):  # a number would be a length to allocate
        raise Malformed("a bytearray is made of bytes")
    return bytearray(*parts)


def _complex(real: Any, imaginary: Any) -> complex:
    if not isinstance(real, int | float) or not isinstance(imaginary, int | float):
        raise Malformed("a complex number is made of two numbers")
    return complex(real, imaginary)


def _slice(*ends: Any) -> slice:
    if any(not (end is None or type(end) is int) for end in ends):
        raise Malformed("a slice is made of numbers")
    return slice(*ends)


def _path(kind: type) -> Any:
    def make(*parts: Any) -> Any:
        if not all(isinstance(part, str) for part in parts):
            raise Malformed("a path is made of strings")
        return kind(*parts)

    return make


def _size(sizes: Any) -> Any:
    if not is_sizes(list(sizes)):
        raise Malformed("a Size is made of numbers from 0 on")
    return lucid.Size(sizes)


def _reconstruct(kind: Any, base: Any, state: Any) -> Any:
    """copyreg._reconstructor, by which protocols 0 and 1 make objects without a state."""
    if not isinstance(kind, Global) or kind.call is None or state is not None:
        raise Malformed("an object is made of something other than its state")
    return kind.call()


# ---- NumPy -----------------------------------------------------------------------------------


class _NumpyType(Builder):
    """numpy.dtype("f4", False, True), then BUILD with the byte order."""

    def __init__(self, code: Any, *rest: Any):
        if not isinstance(code, str) or code[:1] not in "?biufcSU" or len(code) > 8:
            raise Malformed(f"a NumPy dtype {str(code)[:40]!r} is not supported")
        self.dtype = np.dtype(code)

    def build(self, state: Any) -> Any:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "|", "="):
            raise Malformed("a NumPy dtype has no byte order")
        if order in "<>":
            self.dtype = self.dtype.newbyteorder(order)
        return self


class _NumpyArray(Builder):
    """numpy's _reconstruct, then BUILD with (version, shape, dtype, column-major, bytes)."""

    def build(self, state: Any) -> Any:
        if not isinstance(state, tuple) or len(state) != 5:
            raise Malformed("a NumPy array has another state than an array's")
        _, shape, kind, columns, data = state
        return _array(list(shape), kind, data, "F" if columns is True else "C")


def _array(shape: list, kind: Any, data: Any, order: Any) -> np.ndarray:
    if isinstance(data, str):  # of Python 2, whose bytes happened to be text
        data = data.encode()
    if not isinstance(kind, _NumpyType) or not isinstance(data, bytes) or not is_sizes(shape):
        raise Malformed("a NumPy array of objects is not supported")
    if len(shape) > MOST_DIMS or math.prod(shape) * kind.dtype.itemsize != len(data):
        raise Malformed(f"a NumPy array has {len(data)} bytes, which is not what its shape says")
    return np.frombuffer(data, kind.dtype).copy().reshape(shape, order=order)


def _scalar(kind: Any, data: Any = None) -> Any:
    return _array([], kind, data, "C")[()]


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """numpy's _frombuffer, which protocol 5 uses."""
    if order not in ("C", "F"):
        raise Malformed("a NumPy array has no order")
    return _array(list(shape), kind, bytes(data) if isinstance(data, bytearray) else data, order)


# ---- the table -------------------------------------------------------------------------------

FACTORIES: dict[Any, Any] = {}
NAMES: dict[str, Any] = {
    name: Global(name, call)
    for name, call in {
        "torch._utils._rebuild_tensor": _rebuild,
        "torch._utils._rebuild_tensor_v2": _rebuild,
        "torch._utils._rebuild_tensor_v3": _rebuild,
        "torch._utils._rebuild_parameter": _parameter,
        "torch._utils._rebuild_parameter_with_state": _parameter,
        "torch._utils._rebuild_sparse_tensor": _sparse_tensor,
        "torch._utils._rebuild_sparse_csr_tensor": _sparse_tensor,
        "torch._tensor._rebuild_from_type_v2": _from_type,
        "torch.serialization._get_layout": _layout,
        "torch.Tensor": None,
        "torch.nn.parameter.Parameter": _parameter,
        "torch.Size": _size,
        "collections.OrderedDict": _ordered,
        "collections.Counter": _counter,
        "collections.defaultdict": _default,
        "_codecs.encode": _bytes,
        "argparse.Namespace": argparse.Namespace,
        "types.SimpleNamespace": SimpleNamespace,
        "copyreg._reconstructor": _reconstruct,
        "copy_reg._reconstructor": _reconstruct,
        "pathlib.PosixPath": _path(PurePosixPath),
        "pathlib.PurePosixPath": _path(PurePosixPath),
        "pathlib.WindowsPath": _path(PureWindowsPath),
        "pathlib.PureWindowsPath": _path(PureWindowsPath),
        "numpy.dtype": _NumpyType,
        "numpy.core.multiarray._reconstruct": lambda *given: _NumpyArray(),
        "numpy.core.multiarray.scalar": _scalar,
        "numpy.core.numeric._frombuffer": _from_buffer,
        "numpy.ndarray": None,
    }.items()
}
for _name, _call in {
    "set": _set, "frozenset": _frozen, "bytearray": _bytearray, "complex": _complex,
    "slice": _slice, "object": None, "dict": None, "list": None, "int": None, "float": None,
    "str": None, "bool": None, "tuple": None,
}.items():  # fmt: skip
    for _module in ("builtins", "__builtin__"):
        NAMES[f"{_module}.{_name}"] = Global(_name, _call)
for _type in (dict, list, int, float, str, set):
    FACTORIES |= {NAMES[f"{m}.{_type.__name__}"]: _type for m in ("builtins", "__builtin__")}


def _set_metadata(target: OrderedDict, state: Any) -> None:
    """What a state_dict() keeps beside its tensors."""
    if not isinstance(state, dict) or set(state) - {"_metadata"}:
        raise Malformed("an OrderedDict has attributes other than _metadata")
    if state:
        target._metadata = state["_metadata"]  # type: ignore[attr-defined]


def _set_attributes(target: Any, state: Any) -> None:
    if not isinstance(state, dict) or not all(isinstance(key, str) for key in state):
        raise Malformed("a namespace has attributes without names")
    vars(target).update(state)


STATES |= {
    OrderedDict: _set_metadata,
    argparse.Namespace: _set_attributes,
    SimpleNamespace: _set_attributes,
}
