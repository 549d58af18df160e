"""Datasets, samplers and the DataLoader without workers: every sample once, in the right order."""

import collections
import itertools

import numpy as np
import pytest

import lucid
from lucid.data import (
    BatchSampler,
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    get_worker_info,
    random_split,
)


class Squares(Dataset):
    def __init__(self, n):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


class Stream(IterableDataset):
    def __init__(self, n):
        self.n = n

    def __iter__(self):
        return iter(range(self.n))


def generator(seed):
    return lucid.Generator().manual_seed(seed)


def numbers(loader):
    return [batch.tolist() for batch in loader]


def test_tensor_dataset():
    x, y = lucid.arange(12).reshape(6, 2), lucid.arange(6)
    dataset = TensorDataset(x, y)
    assert len(dataset) == 6
    assert dataset[4][0].tolist() == [8, 9] and dataset[4][1].item() == 4
    with pytest.raises(ValueError, match=r"\[6, 5\]"):
        TensorDataset(x, lucid.arange(5))
    with pytest.raises(TypeError, match="list"):
        TensorDataset([1, 2])
    with pytest.raises(ValueError):
        TensorDataset()


@pytest.mark.parametrize("cut", [False, True])
def test_batches_of_a_tensor_dataset_are_the_stacked_samples(cut):
    x = lucid.from_numpy(np.random.default_rng(0).standard_normal((10, 3)))
    dataset = TensorDataset(x, lucid.arange(10))
    if cut:
        dataset = Subset(Subset(dataset, list(range(9, -1, -1))), [0, 2, 4, 6, 8])
    for indices, (a, b) in zip(
        BatchSampler(range(len(dataset)), 4, False), DataLoader(dataset, 4), strict=True
    ):
        wanted = default_collate([dataset[i] for i in indices])
        assert np.array_equal(a.numpy(), wanted[0].numpy())
        assert b.tolist() == wanted[1].tolist() and b.dtype == wanted[1].dtype
    with pytest.raises(IndexError):
        list(DataLoader(dataset, batch_sampler=[[0, 99]]))


def test_concat_and_chain():
    both = Squares(3) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1] and both[-1] == 1
    with pytest.raises(IndexError, match="5"):
        both[5]
    assert list(Stream(2) + Stream(3)) == [0, 1, 0, 1, 2]
    with pytest.raises(TypeError):
        list(ChainDataset([Squares(1)]))
    with pytest.raises(TypeError):
        ConcatDataset([Stream(1)])


def test_random_split():
    parts = random_split(Squares(10), [7, 3], generator=generator(1))
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    again = random_split(Squares(10), [7, 3], generator=generator(1))
    assert [p.indices for p in parts] == [p.indices for p in again]
    assert [len(p) for p in random_split(Squares(10), [0.33, 0.33, 0.34])] == [4, 3, 3]
    with pytest.raises(ValueError, match="sum to 9"):
        random_split(Squares(10), [5, 4])


def test_samplers():
    assert sorted(RandomSampler(Squares(9))) == list(range(9))
    once = list(RandomSampler(Squares(50), generator=generator(3)))
    assert once == list(RandomSampler(Squares(50), generator=generator(3))) != list(range(50))
    counts = collections.Counter(RandomSampler(Squares(4), num_samples=10))
    assert sum(counts.values()) == 10 and set(counts.values()) <= {2, 3}
    drawn = list(RandomSampler(Squares(4), replacement=True, num_samples=100))
    assert len(drawn) == 100 and set(drawn) <= set(range(4))
    assert sorted(SubsetRandomSampler([3, 1, 4])) == [1, 3, 4]
    assert list(BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(BatchSampler(range(5), 2, True)) == 2 and len(BatchSampler(range(5), 2, False)) == 3


def test_weighted_sampler():
    weights = [0.0, 1.0, 3.0, 0.0]
    drawn = collections.Counter(WeightedRandomSampler(weights, 4000, generator=generator(0)))
    assert set(drawn) == {1, 2}
    assert abs(drawn[2] / 4000 - 0.75) < 0.04  # 6 standard deviations
    assert sorted(WeightedRandomSampler(weights, 2, replacement=False)) == [1, 2]
    first = collections.Counter(
        next(iter(WeightedRandomSampler(weights, 1, False, generator(i)))) for i in range(400)
    )
    assert abs(first[2] / 400 - 0.75) < 0.13
    for bad in ([], [0.0, 0.0], [-1.0, 2.0], [float("nan")], [[1.0]]):
        with pytest.raises(ValueError):
            WeightedRandomSampler(bad, 1)
    with pytest.raises(ValueError, match="3 draws"):
        WeightedRandomSampler(weights, 3, replacement=False)


Point = collections.namedtuple("Point", "x y")


def test_default_collate():
    batch = default_collate([{"a": 1.5, "b": (1, "s")}, {"a": 2.5, "b": (2, "t")}])
    assert batch["a"].dtype == lucid.float64 and batch["a"].tolist() == [1.5, 2.5]
    assert batch["b"][0].tolist() == [1, 2] and batch["b"][1] == ["s", "t"]
    point = default_collate([Point(1, True), Point(2, False)])
    assert isinstance(point, Point) and point.y.dtype == lucid.bool
    arrays = default_collate([np.ones((2, 3), np.float32), np.zeros((2, 3), np.float32)])
    assert tuple(arrays.shape) == (2, 2, 3) and arrays.dtype == lucid.float32
    assert default_collate([np.int64(3), np.int64(4)]).tolist() == [3, 4]
    with pytest.raises(RuntimeError, match="different shapes"):
        default_collate([lucid.zeros(2), lucid.zeros(3)])
    with pytest.raises(RuntimeError, match="different lengths"):
        default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="object"):
        default_collate([object()])
    assert default_convert({"a": np.arange(3), "b": "s"})["a"].tolist() == [0, 1, 2]


def test_loader_order_and_sizes():
    loader = DataLoader(Squares(7), batch_size=3)
    assert numbers(loader) == [[0, 1, 4], [9, 16, 25], [36]] and len(loader) == 3
    short = DataLoader(Squares(7), batch_size=3, drop_last=True)
    assert numbers(short) == [[0, 1, 4], [9, 16, 25]] and len(short) == 2
    assert list(DataLoader(Squares(3), batch_size=None)) == [0, 1, 4]
    assert list(DataLoader(Squares(4), 2, collate_fn=tuple)) == [(0, 1), (4, 9)]
    assert numbers(DataLoader(Squares(9), batch_sampler=[[8, 0], [1]])) == [[64, 0], [1]]
    assert numbers(DataLoader(Stream(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert numbers(DataLoader(Stream(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert list(DataLoader(Squares(0), batch_size=2)) == []
    assert get_worker_info() is None


def test_shuffle_is_a_permutation_that_the_generator_decides():
    def epoch(seed):
        loader = DataLoader(Squares(40), 7, shuffle=True, generator=generator(seed))
        return [int(x) for batch in loader for x in batch], [int(x) for b in loader for x in b]

    first, second = epoch(5)
    assert sorted(first) == sorted(second) == [i * i for i in range(40)]
    assert first != second and (first, second) == epoch(5) and first != epoch(6)[0]


def test_batched_reads_are_used():
    class Many(Squares):
        def __getitems__(self, indices):
            return [-i for i in indices]

    assert numbers(DataLoader(Many(4), 2)) == [[0, -1], [-2, -3]]
    assert numbers(DataLoader(Subset(Many(4), [3, 2]), 2)) == [[-3, -2]]


BAD = [
    ({"batch_size": 0}, "batch_size"),
    ({"shuffle": True, "sampler": [0]}, "sampler and shuffle"),
    ({"batch_sampler": [[0]], "batch_size": 2}, "batch_sampler excludes"),
    ({"batch_sampler": [[0]], "drop_last": True}, "batch_sampler excludes"),
    ({"batch_size": None, "drop_last": True}, "drop_last"),
    ({"num_workers": -1}, "num_workers"),
    ({"timeout": -1}, "timeout"),
    ({"timeout": 1}, "timeout needs num_workers"),
    ({"prefetch_factor": 2}, "prefetch_factor needs"),
    ({"persistent_workers": True}, "persistent_workers needs"),
    ({"multiprocessing_context": "fork"}, "multiprocessing_context needs"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[next(iter(b[0])) for b in BAD])
def test_arguments_that_exclude_each_other(arguments, message):
    with pytest.raises(ValueError, match=message):
        DataLoader(Squares(3), **arguments)


def test_a_stream_has_no_order():
    with pytest.raises(ValueError, match="shuffle"):
        DataLoader(Stream(3), shuffle=True)
    with pytest.raises(TypeError):
        len(DataLoader(Stream(3)))

    class Wrong(Stream):
        def __len__(self):
            return 2

    with pytest.warns(UserWarning, match="says that it has 2 batches"):
        assert len(list(DataLoader(Wrong(3)))) == 3


def test_sampling_is_as_lazy_as_the_sampler():
    loader = DataLoader(Squares(3), batch_size=1, sampler=itertools.cycle([0, 2]))
    assert numbers(itertools.islice(loader, 3)) == [[0], [4], [0]]


def test_stack_dataset():
    from lucid.data import StackDataset

    numbers, squares = range(4), [i * i for i in range(4)]
    by_place = StackDataset(numbers, squares)
    by_name = StackDataset(n=numbers, s=squares)
    assert len(by_place) == 4 and by_place[2] == (2, 4) and by_name[3] == {"n": 3, "s": 9}
    assert by_place.__getitems__([1, 3]) == [(1, 1), (3, 9)]
    assert [b["s"].tolist() for b in DataLoader(by_name, batch_size=2)] == [[0, 1], [4, 9]]
    with pytest.raises(ValueError, match="sizes differ"):
        StackDataset(numbers, [1])
    for wrong in ((), (numbers,)):
        with pytest.raises(ValueError, match="position or by name"):
            StackDataset(*wrong, **({"n": numbers} if wrong else {}))


@pytest.mark.parametrize("n, replicas", [(10, 3), (9, 3), (2, 4), (1, 1)])
def test_distributed_sampler(n, replicas):
    from lucid.data import DistributedSampler

    for shuffle in (False, True):
        shares = [
            DistributedSampler(range(n), replicas, rank, shuffle=shuffle)
            for rank in range(replicas)
        ]
        lists = [list(share) for share in shares]
        assert len({len(part) for part in lists}) == 1 and len(lists[0]) == len(shares[0])
        assert {i for part in lists for i in part} == set(range(n))
        if shuffle and n > 8:
            for share in shares:
                share.set_epoch(1)
            assert [list(share) for share in shares] != lists
    dropped = [
        list(DistributedSampler(range(n), replicas, r, drop_last=True)) for r in range(replicas)
    ]
    seen = [i for part in dropped for i in part]
    assert len(seen) == len(set(seen)) == n // replicas * replicas
    with pytest.raises(ValueError, match="rank 3 of 3"):
        DistributedSampler(range(n), 3, 3)


def test_pin_memory_is_accepted():
    assert len(list(DataLoader(range(3), pin_memory=True, pin_memory_device="cpu"))) == 3
    with pytest.raises(NotImplementedError, match="pin_memory_device='cuda'"):
        DataLoader(range(3), pin_memory_device="cuda")
