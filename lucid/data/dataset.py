"""Datasets: what a sample is and how many there are.

Called by users and by `loader.py`; `Subset` and `random_split` cut one dataset into several.
"""

import bisect
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import lucid

T_co = TypeVar("T_co", covariant=True)


class Dataset(Generic[T_co]):
    """A map from an index (or any key) to a sample: subclasses write `__getitem__`.

    `__len__` is needed by the default samplers. A subclass may also write `__getitems__(indices)`
    that returns the list of samples of a batch at once.

    >>> from lucid.data import Dataset
    >>> class Squares(Dataset):
    ...     def __len__(self): return 4
    ...     def __getitem__(self, i): return i * i
    >>> (Squares() + Squares())[5]
    1
    """

    def __getitem__(self, index: Any) -> T_co:
        raise NotImplementedError(f"{type(self).__name__} is a Dataset without __getitem__")

    def __add__(self, other: "Dataset[T_co]") -> "ConcatDataset[T_co]":
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T_co]):
    """A dataset that is a stream: subclasses write `__iter__`, and there are no indices.

    With worker processes every worker iterates over its own copy: use `get_worker_info()` in
    `__iter__` so that each yields its share, otherwise every sample comes once per worker.
    """

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} is an IterableDataset without __iter__")

    def __add__(self, other: Dataset[T_co]) -> "ChainDataset":  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Any, ...]]):
    """Sample i is the tuple of `tensor[i]` over all tensors, which share their first size.

    >>> import lucid
    >>> from lucid.data import TensorDataset
    >>> len(TensorDataset(lucid.zeros(5, 2), lucid.arange(5)))
    5
    """

    def __init__(self, *tensors: Any):
        if not tensors:
            raise ValueError("TensorDataset: expected at least one tensor")
        sizes = []
        for position, tensor in enumerate(tensors):
            if not isinstance(tensor, lucid.Tensor):
                kind = type(tensor).__name__
                raise TypeError(f"TensorDataset: argument {position} is a {kind}, not a Tensor")
            if tensor.dim() == 0:
                raise ValueError(f"TensorDataset: argument {position} has no first dimension")
            sizes.append(tensor.shape[0])
        if len(set(sizes)) > 1:
            raise ValueError(f"TensorDataset: first sizes differ: {sizes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Any, ...]:
        return tuple(tensor[index] for tensor in self.tensors)

    def __len__(self) -> int:
        return int(self.tensors[0].shape[0])


class StackDataset(Dataset[Any]):
    """Sample i is the tuple of sample i of each dataset, or with names the dict of them.

    >>> from lucid.data import StackDataset
    >>> StackDataset(image=[1, 2], text=["a", "b"])[1]
    {'image': 2, 'text': 'b'}
    """

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: datasets come by position or by name, at least one")
        self.datasets: Any = args or kwargs
        lengths = [len(dataset) for dataset in self._all()]
        if len(set(lengths)) > 1:
            raise ValueError(f"StackDataset: sizes differ: {lengths}")
        self._length = lengths[0]

    def _all(self) -> Iterable[Any]:
        return self.datasets.values() if isinstance(self.datasets, dict) else self.datasets

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: dataset[index] for name, dataset in self.datasets.items()}
        return tuple(dataset[index] for dataset in self.datasets)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        columns = []
        for dataset in self._all():
            together = getattr(dataset, "__getitems__", None)
            column = together(indices) if together else [dataset[i] for i in indices]
            if len(column) != len(indices):
                raise ValueError(
                    f"StackDataset: __getitems__ returned {len(column)} samples for "
                    f"{len(indices)} indices"
                )
            columns.append(column)
        rows = zip(*columns, strict=True)
        if isinstance(self.datasets, dict):
            return [dict(zip(self.datasets, row, strict=True)) for row in rows]
        return list(rows)

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T_co]):
    """The samples of several datasets, one after another. Negative indices count from the end."""

    def __init__(self, datasets: Iterable[Dataset[T_co]]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ValueError("ConcatDataset: expected at least one dataset")
        for dataset in self.datasets:
            if isinstance(dataset, IterableDataset):
                raise TypeError("ConcatDataset: an IterableDataset has no indices: ChainDataset")
        self.cumulative_sizes = list(itertools.accumulate(map(len, self.datasets)))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, index: int) -> T_co:
        n = len(self)
        if not -n <= index < n:
            raise IndexError(f"ConcatDataset: index {index} is out of range for {n} samples")
        index %= n
        which = bisect.bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]


class ChainDataset(IterableDataset[Any]):
    """The samples of several iterable datasets, one stream after another."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                kind = type(dataset).__name__
                raise TypeError(f"ChainDataset: expected IterableDataset, got {kind}")
            yield from dataset

    def __len__(self) -> int:
        return sum(map(len, self.datasets))


class Subset(Dataset[T_co]):
    """The samples of `dataset` at `indices`, in their order."""

    def __init__(self, dataset: Dataset[T_co], indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> T_co:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __getitems__(self, indices: list[int]) -> list[T_co]:
        mapped = [self.indices[i] for i in indices]
        together = getattr(self.dataset, "__getitems__", None)
        return together(mapped) if together else [self.dataset[i] for i in mapped]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Dataset[T_co], lengths: Sequence[int | float], generator: Any = None
) -> list[Subset[T_co]]:
    """Cut `dataset` at random into subsets without overlap.

    `lengths` are sizes that sum to `len(dataset)`, or fractions that sum to 1: part i then has
    floor(n * fraction) samples, and what is left over goes round robin, one each.

    >>> from lucid.data import random_split
    >>> [len(part) for part in random_split(range(10), [0.8, 0.2])]
    [8, 2]
    """
    n = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1 + 1e-9:
        if any(not 0 <= fraction <= 1 for fraction in lengths):
            raise ValueError(f"random_split: fractions lie in 0..1, got {list(lengths)}")
        sizes = [math.floor(n * fraction) for fraction in lengths]
        for i in range(n - sum(sizes)):
            sizes[i % len(sizes)] += 1
        for i, size in enumerate(sizes):
            if size == 0:
                warnings.warn(f"random_split: part {i} is empty", stacklevel=2)
    else:
        sizes = [int(size) for size in lengths]
    if sum(sizes) != n:
        raise ValueError(f"random_split: lengths {list(lengths)} sum to {sum(sizes)}, not to {n}")
    order = lucid.randperm(n, generator=generator).tolist()
    ends = itertools.accumulate(sizes)
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]
