"""Collation: a list of samples becomes one batch, tensors with a new first dimension.

Called by `loader.py` and `worker.py` unless the user gives a `collate_fn` of their own.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import lucid


def default_collate(batch: Sequence[Any]) -> Any:
    """Stack samples: tensors, arrays and numbers into tensors with a first dimension of the batch.

    Tensors are stacked; arrays become tensors; a float becomes float64, an int int64, a bool bool;
    strings and bytes stay a list; mappings, named tuples, tuples and lists are collated field by
    field. RuntimeError where the samples' shapes or lengths differ, TypeError for any other type.

    >>> from lucid.data import default_collate
    >>> default_collate([{"x": 1}, {"x": 2}])
    {'x': tensor([1, 2])}
    """
    if not batch:
        raise ValueError("default_collate: the batch is empty")
    first = batch[0]
    if isinstance(first, lucid.Tensor):
        shapes = {tuple(sample.shape) for sample in batch}
        if len(shapes) > 1:
            raise RuntimeError(
                f"default_collate: samples of different shapes: {sorted(shapes)}; make them equal, "
                "or give DataLoader a collate_fn that pads"
            )
        return lucid.stack(list(batch), 0)
    if isinstance(first, np.ndarray | np.generic):
        if isinstance(first, np.str_ | np.bytes_) or first.dtype.kind in "SUO":
            raise TypeError(f"default_collate: NumPy dtype {first.dtype} is not supported")
        return default_collate([lucid.as_tensor(sample) for sample in batch])
    if isinstance(first, bool):
        return lucid.tensor(list(batch))
    if isinstance(first, float):
        return lucid.tensor(list(batch), dtype=lucid.float64)
    if isinstance(first, int):
        return lucid.tensor(list(batch))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        fields = {key: default_collate([sample[key] for sample in batch]) for key in first}
        return _like_mapping(first, fields)
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            lengths = sorted({len(sample) for sample in batch})
            raise RuntimeError(f"default_collate: samples of different lengths: {lengths}")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise TypeError(
        "default_collate: samples are tensors, arrays, numbers, strings, mappings or sequences, "
        f"not {type(first).__name__}"
    )


def default_convert(sample: Any) -> Any:
    """Turn the arrays inside one sample into tensors and leave all else as it is.

    It is the collation of a `DataLoader` with `batch_size=None`.
    """
    if isinstance(sample, np.ndarray | np.generic):
        textual = isinstance(sample, np.str_ | np.bytes_) or sample.dtype.kind in "SUO"
        return sample if textual else lucid.as_tensor(sample)
    if isinstance(sample, Mapping):
        return _like_mapping(sample, {key: default_convert(x) for key, x in sample.items()})
    if isinstance(sample, tuple) and hasattr(sample, "_fields"):
        return type(sample)(*map(default_convert, sample))
    if isinstance(sample, tuple | list):
        return [default_convert(x) for x in sample]
    return sample


def _like_mapping(original: Mapping[Any, Any], fields: dict[Any, Any]) -> Any:
    """A mapping of the original's type, where its type can be made from a dict."""
    if type(original) is dict:
        return fields
    try:
        return type(original)(fields)  # type: ignore[call-arg]
    except TypeError:
        return fields
