"""Nested Python data as JSON beside named arrays, and back.

Called by `checkpoint.py`. `Encoder` walks the object and collects tensors, those that share memory
into one array; `Decoder` rebuilds it and checks every reference, since files are not trusted.
"""

import base64
import math
from collections import OrderedDict
from typing import Any

import numpy as np

import lucid
from lucid import dtypes
from lucid.apply import wrap
from lucid.io.container import is_sizes
from lucid.layout import layout
from lucid.lazy import lazy

nn = lazy("lucid.nn")

MAX_DEPTH = 200
SUPPORTED = (
    "tensors, NumPy arrays, dict, list, tuple, str, bytes, int, float, complex, bool, None, dtypes "
    "and devices"
)


class Encoder:
    """`tree` is the object as JSON; `arrays` what it refers to, by name."""

    def __init__(self, value: Any):
        self.arrays: dict[str, np.ndarray] = {}
        self._tensors: list[tuple[dict, np.ndarray, str, tuple]] = []
        self._open: list[int] = []  # the containers around the current value
        self.tree = self._encode(value, "")
        self._store()

    def _encode(self, value: Any, path: str) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"$": "float", "value": repr(value)}
        if isinstance(value, lucid.Tensor):
            return self._tensor(value, path)
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, path)
        if isinstance(value, bytes):
            return {"$": "bytes", "value": base64.b64encode(value).decode()}
        if isinstance(value, complex):
            return {"$": "complex", "value": repr(value)}
        if isinstance(value, lucid.dtype):
            return {"$": "dtype", "value": value.name}
        if isinstance(value, lucid.device):
            return {"$": "device", "value": str(value)}
        if isinstance(value, dict | list | tuple):
            return self._container(value, path)
        where = path or "the object"
        hint = "; save its .state_dict()" if hasattr(value, "state_dict") else ""
        raise TypeError(
            f"lucid.save: {where} is a {type(value).__name__}; {SUPPORTED} can be saved{hint}"
        )

    def _container(self, value: Any, path: str) -> Any:
        if id(value) in self._open:
            raise ValueError(f"lucid.save: {path or 'the object'} contains itself")
        if len(self._open) >= MAX_DEPTH:
            raise ValueError(f"lucid.save: {path} is nested more than {MAX_DEPTH} deep")
        if hasattr(value, "_fields"):
            raise TypeError(
                f"lucid.save: {path or 'the object'} is a named tuple, whose class a file cannot "
                "name; save ._asdict()"
            )
        self._open.append(id(value))
        try:
            if isinstance(value, dict):
                return self._dict(value, path)
            items = [self._encode(x, _join(path, i)) for i, x in enumerate(value)]
            return {"$": "tuple", "value": items} if isinstance(value, tuple) else items
        finally:
            self._open.pop()

    def _dict(self, value: dict, path: str) -> Any:
        plain = all(type(key) is str and not key.startswith("$") for key in value)
        if type(value) is dict and plain:
            return {key: self._encode(x, _join(path, key)) for key, x in value.items()}
        pairs = [
            [self._encode(key, f"the key {key!r}"), self._encode(x, _join(path, key))]
            for key, x in value.items()
        ]
        encoded: dict[str, Any] = {"$": "dict", "value": pairs}
        if isinstance(value, OrderedDict):
            encoded["$"] = "OrderedDict"
            if hasattr(value, "_metadata"):  # what Module.state_dict() keeps beside the tensors
                encoded["metadata"] = self._encode(value._metadata, _join(path, "_metadata"))
        return encoded

    def _tensor(self, x: Any, path: str) -> dict[str, Any]:
        encoded: dict[str, Any] = {"$": "tensor"}
        if type(x) is not lucid.Tensor:
            if type(x) is not nn.Parameter:
                kind = type(x).__name__
                raise TypeError(f"lucid.save: {path or 'the object'} is a {kind}; save its data")
            encoded["parameter"] = True
        if x.requires_grad:
            encoded["requires_grad"] = True
        if x.dtype.name == "complex128":
            raise TypeError(
                f"lucid.save: {path or 'the object'} is complex128, which safetensors does not "
                "hold; save with format='torch', or view_as_real"
            )
        array = x.detach().numpy()
        layout = (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype)
        self._tensors.append((encoded, array, path, layout))
        return encoded

    def _array(self, x: Any, path: str) -> dict[str, Any]:
        array = np.asarray(x)
        if dtypes.known(array.dtype) is None:
            kind = array.dtype
            raise TypeError(f"lucid.save: {path or 'the object'} is a NumPy array of {kind}")
        name = self._name(path)
        self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
        return {"$": "scalar" if isinstance(x, np.generic) else "array", "name": name}

    def _store(self) -> None:
        """Give every tensor its array: one array for all tensors whose memory overlaps."""
        spans = []
        for item in self._tensors:
            low, high = np.lib.array_utils.byte_bounds(item[1])
            spans.append((low, high if item[1].size else low, item))
        groups: list[tuple[int, int, list]] = []
        for low, high, item in sorted(spans, key=lambda span: span[:2]):
            if groups and low < groups[-1][1] and high > low:
                start, end, members = groups[-1]
                groups[-1] = (start, max(end, high), [*members, item])
            else:
                groups.append((low, high, [item]))
        for low, high, members in groups:
            if len({layout for *_, layout in members}) == 1:
                encoded, array, path, _ = members[0]
                name = self._name(path)
                self.arrays[name] = np.ascontiguousarray(array).reshape(array.shape)
                for encoded, *_ in members:
                    encoded["name"] = name
            else:
                self._store_views(low, high, members)

    def _store_views(self, low: int, high: int, members: list) -> None:
        """Tensors that overlap without being equal: the span of bytes, and a layout for each."""
        kinds = {array.dtype for _, array, *_ in members}
        kind = kinds.pop() if len(kinds) == 1 else np.dtype(np.uint8)
        name = self._name(members[0][2])
        self.arrays[name] = np.asarray(_Memory(low, high - low)).copy().view(kind)
        for encoded, array, _, (address, *_) in members:
            size = array.itemsize
            encoded |= {
                "name": name,
                "dtype": dtypes.from_numpy(array.dtype).name,
                "shape": list(array.shape),
                "stride": [step // size for step in array.strides],
                "offset": (address - low) // size,
            }

    def _name(self, path: str) -> str:
        """A name for an array: its path, made unique."""
        base = name = path if path and path != "__metadata__" else "tensor"
        number = 1
        while name in self.arrays:
            number += 1
            name = f"{base}#{number}"
        return name


class _Memory:
    """Bytes at an address, for `np.asarray`; valid while the tensors that hold them live."""

    def __init__(self, low: int, size: int):
        self.__array_interface__ = {
            "shape": (size,), "typestr": "|u1", "data": (low, True), "version": 3,
        }  # fmt: skip


class Decoder:
    """Rebuilds what an `Encoder` made; ValueError for whatever no `Encoder` makes."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = arrays
        self._bases: dict[str, Any] = {}  # a tensor for each array, by name
        self._tensors: dict[str, Any] = {}  # those made of them, by description

    def decode(self, tree: Any, depth: int = 0) -> Any:
        if depth > 2 * MAX_DEPTH + 4:  # a container may take two levels of JSON
            raise ValueError("the structure is nested too deeply")
        if tree is None or isinstance(tree, bool | int | float | str):
            return tree
        if isinstance(tree, list):
            return [self.decode(x, depth + 1) for x in tree]
        if "$" not in tree:
            return {key: self.decode(x, depth + 1) for key, x in tree.items()}
        kind, value = tree["$"], tree.get("value")
        if kind == "tensor":
            return self._tensor(tree)
        if kind in ("array", "scalar"):
            array = self._array(tree)
            return array if kind == "array" else array[()]
        if kind == "tuple" and isinstance(value, list):
            return tuple(self.decode(x, depth + 1) for x in value)
        if kind in ("dict", "OrderedDict"):
            return self._dict(tree, depth)
        if isinstance(value, str):
            return _atom(kind, value)
        raise ValueError(f"the structure has an unknown part {str(kind)[:40]!r}")

    def _dict(self, tree: dict, depth: int) -> Any:
        pairs = tree.get("value")
        if not isinstance(pairs, list) or not all(
            isinstance(pair, list) and len(pair) == 2 for pair in pairs
        ):
            raise ValueError("the structure has a dict that is no list of pairs")
        result: dict = OrderedDict() if tree["$"] == "OrderedDict" else {}
        for key, x in pairs:
            name = self.decode(key, depth + 1)
            try:
                result[name] = self.decode(x, depth + 1)
            except TypeError:
                kind = type(name).__name__
                raise ValueError(f"the structure has a {kind} as a key") from None
        if "metadata" in tree and isinstance(result, OrderedDict):
            result._metadata = self.decode(tree["metadata"], depth + 1)  # type: ignore[attr-defined]
        return result

    def _array(self, tree: dict) -> np.ndarray:
        name = tree.get("name")
        if not isinstance(name, str) or name not in self._arrays:
            raise ValueError(f"the structure refers to {str(name)[:80]!r}, which is not there")
        return self._arrays[name]

    def _tensor(self, tree: dict) -> Any:
        array = self._array(tree)
        key = repr(sorted(tree.items()))
        if key in self._tensors:
            return self._tensors[key]  # tied: the same tensor again
        if tree["name"] not in self._bases:
            self._bases[tree["name"]] = lucid.from_numpy(array)
        x = self._bases[tree["name"]]
        if "shape" in tree:
            x = _view(x, array, tree)
        if tree.get("parameter"):
            x = nn.Parameter(x, requires_grad=bool(tree.get("requires_grad")))
        elif tree.get("requires_grad"):
            if not x.is_floating_point():
                raise ValueError(f"{tree['name']!r} of {x.dtype} cannot require a gradient")
            x = x.detach().requires_grad_()
        self._tensors[key] = x
        return x


def _view(base: Any, array: np.ndarray, tree: dict) -> Any:
    """One of several layouts on the same memory, checked to lie inside of it."""
    shape: Any = tree["shape"]
    stride: Any = tree.get("stride")
    offset: Any = tree.get("offset")
    kind = dtypes.BY_NAME.get(str(tree.get("dtype")))
    if kind is None or array.ndim != 1 or not is_sizes(shape) or not is_sizes(stride):
        raise ValueError(f"{tree['name']!r}: the structure has a malformed view")
    if len(shape) != len(stride) or len(shape) > 64 or not is_sizes([offset]):
        raise ValueError(f"{tree['name']!r}: the structure has a malformed view")
    if array.nbytes % kind.itemsize or (array.dtype != kind.numpy and array.dtype != np.uint8):
        raise ValueError(f"{tree['name']!r}: its view as {kind!r} does not fit")
    last = sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    if math.prod(shape) and offset + last >= array.nbytes // kind.itemsize:
        raise ValueError(f"{tree['name']!r}: a view reaches beyond its {array.nbytes} bytes")
    return wrap(base._storage, layout(tuple(shape), tuple(stride), kind, base.device), offset)


def _atom(kind: Any, value: str) -> Any:
    if kind == "float" and value in ("nan", "inf", "-inf"):
        return float(value)
    if kind == "complex":
        return complex(value)
    if kind == "bytes":
        return base64.b64decode(value, validate=True)
    if kind == "dtype" and value in dtypes.BY_NAME:
        return dtypes.BY_NAME[value]
    if kind == "device":
        return lucid.device(value)
    raise ValueError(f"the structure has an unknown part {str(kind)[:40]!r}: {value[:40]!r}")


def _join(path: str, key: Any) -> str:
    return f"{path}.{key}" if path else str(key)
