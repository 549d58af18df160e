"""Samplers: in which order the indices of a dataset are visited.

Called by `loader.py`; users pass one as `sampler=` or `batch_sampler=`.
"""

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any, Generic, TypeVar

import numpy as np

import lucid

T_co = TypeVar("T_co", covariant=True)


class Sampler(Generic[T_co]):
    """Base of the samplers: subclasses write `__iter__`, and `__len__` where it is known."""

    def __init__(self, data_source: Sized | None = None):
        """Older programs hand their dataset to it; subclasses keep what they need."""

    def __iter__(self) -> Iterator[T_co]:
        raise NotImplementedError(f"{type(self).__name__} is a Sampler without __iter__")


class SequentialSampler(Sampler[int]):
    """0, 1, 2, ... len(data_source) - 1."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """A random permutation, or with `replacement` independent draws; `num_samples` of them.

    Without replacement and `num_samples` above the size, one permutation follows another.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ):
        if not isinstance(replacement, bool):
            raise TypeError(f"RandomSampler: replacement is a bool, got {replacement!r}")
        if num_samples is not None and (not isinstance(num_samples, int) or num_samples <= 0):
            raise ValueError(f"RandomSampler: num_samples is positive, got {num_samples!r}")
        self.data_source = data_source
        self.replacement = replacement
        self.generator = generator
        self._num_samples = num_samples

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, left = len(self.data_source), self.num_samples
        if n == 0 and left > 0:
            raise ValueError("RandomSampler: the dataset is empty")
        while left > 0:
            take = min(n, left)
            if self.replacement:
                drawn = lucid.randint(0, n, (take,), generator=self.generator)
            else:
                drawn = lucid.randperm(n, generator=self.generator)[:take]
            yield from drawn.tolist()
            left -= take

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[int], generator: Any = None):
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in lucid.randperm(len(self.indices), generator=self.generator).tolist():
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """`num_samples` indices, index i drawn with probability weights[i] / sum(weights).

    Without replacement, the n draws are the n smallest of E_i / weights[i] with E_i independent
    and exponential, which has the law of drawing one after another (Efraimidis and Spirakis, 2006).
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ):
        if not isinstance(num_samples, int) or isinstance(num_samples, bool) or num_samples <= 0:
            raise ValueError(f"WeightedRandomSampler: num_samples is positive: {num_samples!r}")
        if not isinstance(replacement, bool):
            raise TypeError(f"WeightedRandomSampler: replacement is a bool, got {replacement!r}")
        listed = weights.tolist() if hasattr(weights, "tolist") else weights
        self.weights = np.asarray(listed, dtype=np.float64)
        if self.weights.ndim != 1:
            shape = self.weights.shape
            raise ValueError(f"WeightedRandomSampler: weights have one dimension, got {shape}")
        if not (np.isfinite(self.weights) & (self.weights >= 0)).all() or not self.weights.any():
            raise ValueError("WeightedRandomSampler: weights are finite, >= 0 and not all 0")
        positive = int(np.count_nonzero(self.weights))
        if not replacement and num_samples > positive:
            raise ValueError(
                f"WeightedRandomSampler: {num_samples} draws without replacement from {positive} "
                "positive weights"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        draws = self.num_samples if self.replacement else len(self.weights)
        uniform = lucid.rand(draws, dtype=lucid.float64, generator=self.generator).numpy()
        if self.replacement:
            cumulative = np.cumsum(self.weights)
            chosen = np.searchsorted(cumulative, uniform * cumulative[-1], side="right")
            # uniform * total may round up to total itself: that is the last positive weight
            chosen = np.minimum(chosen, np.flatnonzero(self.weights)[-1])
        else:
            with np.errstate(divide="ignore"):
                keys = -np.log1p(-uniform) / self.weights
            keys[self.weights == 0] = np.inf
            chosen = np.argsort(keys, kind="stable")[: self.num_samples]
        return iter(chosen.tolist())

    def __len__(self) -> int:
        return self.num_samples


class DistributedSampler(Sampler[int]):
    """The share of one process among `num_replicas`: indices rank, rank + num_replicas, ...

    They are taken of a permutation that `seed` and the epoch decide, the same in every process, or
    with `shuffle=False` of 0, 1, 2, ... All shares have the same length: the first indices come
    again at the end, or with `drop_last` the last ones are left out. Call `set_epoch` before each
    epoch for another order. Without `num_replicas` and `rank` there is one process.

    >>> from lucid.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        if self.num_replicas < 1 or not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"DistributedSampler: rank {self.rank} of {self.num_replicas} processes"
            )
        self.dataset = dataset
        self.epoch = 0
        self.shuffle = shuffle
        self.seed = seed
        self.drop_last = drop_last

    @property
    def num_samples(self) -> int:
        whole, rest = divmod(len(self.dataset), self.num_replicas)
        return whole + (rest > 0 and not self.drop_last)

    @property
    def total_size(self) -> int:
        return self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        n, total = len(self.dataset), self.total_size
        if self.shuffle:
            generator = lucid.Generator()
            generator.manual_seed(self.seed + self.epoch)
            order = lucid.randperm(n, generator=generator).tolist()
        else:
            order = list(range(n))
        places = range(self.rank, total, self.num_replicas)
        return iter([order[i % n] for i in places])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Draw the order of this epoch from now on."""
        self.epoch = epoch


class BatchSampler(Sampler[list[int]]):
    """Lists of `batch_size` indices of `sampler`; the last may be shorter unless `drop_last`.

    >>> from lucid.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]
    """

    def __init__(self, sampler: Iterable[int], batch_size: int, drop_last: bool):
        if not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size <= 0:
            raise ValueError(f"BatchSampler: batch_size is a positive int, got {batch_size!r}")
        if not isinstance(drop_last, bool):
            raise TypeError(f"BatchSampler: drop_last is a bool, got {drop_last!r}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        batch = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        whole, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return whole + (rest > 0 and not self.drop_last)
