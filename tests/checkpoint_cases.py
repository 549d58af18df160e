"""What the recorded checkpoints hold, made by either library; and how the oldest form is written.

For tools/golden_checkpoints.py, tools/fuzz_checkpoints.py and test_io_torch.py.
"""

import argparse
import io
import pickle
import struct
import tarfile
from collections import OrderedDict

import numpy as np

DTYPES = ["bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
          "float64"]  # fmt: skip


def value(library):
    """Nested data with shared, strided and empty tensors of every dtype."""
    base = library.arange(24.0).reshape(4, 6)
    data = {
        name: (library.arange(6).reshape(2, 3) % 2).to(getattr(library, name)) for name in DTYPES
    }
    model = library.nn.Sequential(library.nn.Linear(3, 2), library.nn.BatchNorm1d(2))
    for i, p in enumerate(model.parameters()):
        p.data.copy_(library.arange(float(p.numel())).reshape(p.shape) * 0.5 + i)
    return {
        "dtypes": data,
        "views": [base, base.t(), base[1], base[:, ::2], base[1:3, 2:5]],
        "expanded": library.ones(1, 3).expand(4, 3),
        "scalar": library.tensor(2.5),
        "empty": library.zeros(0, 3),
        "leaf": library.ones(2, requires_grad=True),
        "parameter": library.nn.Parameter(library.full((2, 2), 3.0)),
        "frozen": library.nn.Parameter(library.zeros(2), requires_grad=False),
        "model": model.state_dict(),
        "python": [1, -5, 2**40, -(2**70), 2.5, float("inf"), True, False, None, "text é",
                   b"\0\xff", (1, (2, ())), 1 + 2j, {1: "a", (2, "b"): "c"},
                   OrderedDict(z=1, a=2)],
        "set": {1, 2, 3},
        "size": library.Size([2, 3]),
        "dtype": library.float16,
        "device": library.device("cpu"),
        "arguments": argparse.Namespace(lr=0.1, name="run", sizes=[1, 2]),
        "array": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "number": np.float64(1.5),
    }  # fmt: skip


def same(a, b):
    """Whether two such values, of whatever library, are equal; strides of tensors included."""
    if hasattr(a, "requires_grad") or hasattr(b, "requires_grad"):
        kinds = [str(x.dtype).rpartition(".")[2] for x in (a, b)]
        if kinds[0] != kinds[1] or tuple(a.shape) != tuple(b.shape):
            return False
        if tuple(a.stride()) != tuple(b.stride()) or a.requires_grad != b.requires_grad:
            return False
        lists = [(x.float() if kinds[0] == "bfloat16" else x).detach().numpy() for x in (a, b)]
        return type(a).__name__ == type(b).__name__ and np.array_equal(*lists)
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, argparse.Namespace):
        return type(b) is argparse.Namespace and same(vars(a), vars(b))
    if isinstance(a, dict):
        if type(a) is not type(b) or list(a) != list(b):
            return False
        metadata = [getattr(x, "_metadata", None) for x in (a, b)]
        return metadata[0] == metadata[1] and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple) and not hasattr(a, "numel"):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if type(a).__name__ in ("dtype", "device", "Size"):
        return str(a).rpartition(".")[2] == str(b).rpartition(".")[2]
    return type(a) is type(b) and a == b


class _Named:
    """Pickled as a global name."""

    def __init__(self, module, name):
        self.where = module, name


class _Pickler(pickle._Pickler):
    """A pickler in Python that writes names of modules that are not here."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_named(self, obj):
        module, name = obj.where
        self.write(b"c" + f"{module}\n{name}\n".encode())

    dispatch[_Named] = save_named

    def persistent_id(self, obj):
        return obj.number if isinstance(obj, Outside) else None


class Outside:
    """What a pickle of the oldest form refers to by number."""

    def __init__(self, number):
        self.number = number


def _pickled(obj):
    file = io.BytesIO()
    _Pickler(file, 2).dump(obj)
    return file.getvalue()


def old_tar():
    """A checkpoint of PyTorch 0.1: a tar of storages, tensors and the pickle that names them."""
    float_storage, tensor = _Named("torch", "FloatStorage"), _Named("torch", "FloatTensor")
    long_storage = _Named("torch", "LongStorage")
    storages = _pickled(2)
    storages += _pickled((10, "cpu", float_storage)) + struct.pack("<q", 6)
    storages += np.arange(6, dtype=np.float32).tobytes()
    storages += _pickled((11, "cpu", long_storage)) + struct.pack("<q", 2)
    storages += np.array([7, 8], np.int64).tobytes()
    storages += _pickled([(12, 10, 2, 3)])
    tensors = _pickled(3)
    for key, storage, shape, stride, offset in (
        (20, 10, (2, 3), (3, 1), 0), (21, 11, (2,), (1,), 0), (22, 12, (3,), (1,), 0),
    ):  # fmt: skip
        tensors += _pickled((key, storage, tensor)) + struct.pack("<ii", len(shape), 0)
        tensors += struct.pack(f"<{2 * len(shape) + 1}q", *shape, *stride, offset)
    parts = {
        "storages": storages,
        "tensors": tensors,
        "pickle": _pickled({"w": Outside(20), "n": Outside(21), "tail": Outside(22), "step": 3}),
    }
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()
