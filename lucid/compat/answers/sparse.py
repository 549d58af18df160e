"""`torch.sparse`: the constructors of older programs; the rest is `lucid.sparse`."""

from typing import Any

import lucid


def _constructor(kind: lucid.dtype) -> Any:
    def make(indices: Any = None, values: Any = None, size: Any = None, device: Any = None) -> Any:
        return lucid.sparse_coo_tensor(indices, values, size, dtype=kind, device=device)

    make.__doc__ = f"A sparse tensor of {kind.name}."
    return make


FloatTensor = _constructor(lucid.float32)
DoubleTensor = _constructor(lucid.float64)
HalfTensor = _constructor(lucid.float16)
LongTensor = _constructor(lucid.int64)
IntTensor = _constructor(lucid.int32)
