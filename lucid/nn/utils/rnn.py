"""Sequences of different lengths: packed one time step after the other, or padded.

Called by users around recurrent layers, and by nn/rnn.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

import lucid

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pack_sequence",
    "pad_packed_sequence", "pad_sequence", "unpack_sequence", "unpad_sequence",
]  # fmt: skip


class _Packed(NamedTuple):
    data: lucid.Tensor
    batch_sizes: lucid.Tensor
    sorted_indices: lucid.Tensor | None
    unsorted_indices: lucid.Tensor | None


class PackedSequence(_Packed):
    """Sequences by falling length, all their first elements, all second ones, and so on.

    data (sum of lengths, ...); batch_sizes (longest,), int64: how many sequences reach each time;
    sorted_indices: the sequences' places in the batch before they were sorted.

    >>> import lucid
    >>> from lucid.nn.utils.rnn import pack_sequence
    >>> pack_sequence([lucid.tensor([1, 2]), lucid.tensor([3])]).data.tolist()
    [1, 3, 2]
    """

    def __new__(
        cls,
        data: lucid.Tensor,
        batch_sizes: lucid.Tensor | None = None,
        sorted_indices: lucid.Tensor | None = None,
        unsorted_indices: lucid.Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("PackedSequence: batch_sizes must be given")
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, data: lucid.Tensor) -> PackedSequence:
        return type(self)(data, *self[1:])

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences with `data.to(...)`."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data)

    def cpu(self) -> PackedSequence:
        """The sequences in the host's memory."""
        return self.to(device="cpu")

    def cuda(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """The sequences in a GPU's memory."""
        return self._with(self.data.cuda(*args, **kwargs))

    def pin_memory(self) -> PackedSequence:
        """The same: there is no other memory to pin for."""
        return self

    def is_pinned(self) -> bool:
        return False

    @property
    def is_cuda(self) -> bool:
        return self.data.is_cuda


def _converter(name: str) -> Callable[[PackedSequence], PackedSequence]:
    def convert(self: PackedSequence) -> PackedSequence:
        return self._with(getattr(self.data, name)())

    convert.__name__ = name
    convert.__doc__ = f"The sequences with `data.{name}()`."
    return convert


for _name in ("double", "float", "half", "long", "int", "short", "char", "byte"):
    setattr(PackedSequence, _name, _converter(_name))


def invert_permutation(permutation: lucid.Tensor | None) -> lucid.Tensor | None:
    """The permutation that undoes it.

    >>> import lucid
    >>> lucid.nn.utils.rnn.invert_permutation(lucid.tensor([2, 0, 1])).tolist()
    [1, 2, 0]
    """
    if permutation is None:
        return None
    return lucid.tensor(np.argsort(np.asarray(permutation.tolist(), np.int64)))


def pack_padded_sequence(
    input: lucid.Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """A padded batch (T, B, ...), or (B, T, ...) with `batch_first`, as a PackedSequence.

    lengths (B,): falling, unless `enforce_sorted` is false. Raises RuntimeError where they do not
    fit.

    >>> import lucid
    >>> x = lucid.tensor([[1, 2, 3], [4, 0, 0]])
    >>> lucid.nn.utils.rnn.pack_padded_sequence(x, [3, 1], batch_first=True).data.tolist()
    [1, 4, 2, 3]
    """
    long = np.asarray(lengths.tolist() if hasattr(lengths, "tolist") else lengths, np.int64)
    batch, frames = tuple(input.shape[:2]) if batch_first else tuple(input.shape[1::-1])
    if len(long) != batch:
        raise RuntimeError(
            f"pack_padded_sequence: {len(long)} lengths for {batch} sequences of shape "
            f"{tuple(input.shape)}, batch_first={batch_first}"
        )
    if not len(long) or long.min() <= 0 or long.max() > frames:
        raise RuntimeError(
            f"pack_padded_sequence: lengths must lie in 1 .. {frames}, got {long.tolist()}"
        )
    order = None
    rows = np.arange(batch)
    if enforce_sorted:
        if (np.diff(long) > 0).any():
            raise RuntimeError(
                f"pack_padded_sequence: lengths {long.tolist()} do not fall; sort the batch by "
                "length, or pass enforce_sorted=False"
            )
    else:
        rows = np.argsort(-long, kind="stable")
        order = lucid.tensor(rows)
    long = long[rows]
    sizes = (np.arange(long[0])[:, None] < long).sum(1)
    step = (1, frames) if batch_first else (batch, 1)  # of the flat rows: along time, along batch
    places = np.concatenate([t * step[0] + rows[:n] * step[1] for t, n in enumerate(sizes)])
    flat = input.reshape(batch * frames, *input.shape[2:])
    return PackedSequence(flat[lucid.tensor(places)], lucid.tensor(sizes), order)


def places_of(batch_sizes: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """(T, B): the row of the packed data for each time and sequence, and whether there is one."""
    sizes = np.asarray(batch_sizes, np.int64)
    starts = np.cumsum(sizes) - sizes
    columns = np.arange(sizes[0] if len(sizes) else 0)
    there = columns < sizes[:, None]
    return np.where(there, starts[:, None] + columns, 0), there


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[lucid.Tensor, lucid.Tensor]:
    """The sequences padded to the longest, or to `total_length`, and their lengths (B,).

    (T, B, ...), or (B, T, ...) with `batch_first`, in the batch's order before packing.

    >>> import lucid
    >>> rnn = lucid.nn.utils.rnn
    >>> packed = rnn.pack_sequence([lucid.tensor([1, 2]), lucid.tensor([3])])
    >>> rnn.pad_packed_sequence(packed, batch_first=True)[0].tolist()
    [[1, 2], [3, 0]]
    """
    sizes = sequence.batch_sizes.tolist()
    places, there = places_of(sizes)
    lengths = there.sum(0)
    frames = len(sizes)
    if total_length is not None:
        if total_length < frames:
            raise ValueError(
                f"pad_packed_sequence: total_length {total_length} is less than the longest "
                f"sequence, {frames}"
            )
        more = ((0, total_length - frames), (0, 0))
        places, there = np.pad(places, more), np.pad(there, more)
    if sequence.unsorted_indices is not None:
        rows = np.asarray(sequence.unsorted_indices.tolist())
        places, there, lengths = places[:, rows], there[:, rows], lengths[rows]
    if batch_first:
        places, there = np.ascontiguousarray(places.T), np.ascontiguousarray(there.T)
    data = sequence.data
    padded = data[lucid.tensor(places)]
    if not there.all():
        mask = lucid.tensor(there).reshape(*there.shape, *(1,) * (data.ndim - 1))
        padded = lucid.where(mask, padded, padding_value).to(data.dtype)
    return padded, lucid.tensor(lengths)


def pad_sequence(
    sequences: lucid.Tensor | Iterable[lucid.Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> lucid.Tensor:
    """Tensors (L_i, ...) as one (T, B, ...), or (B, T, ...) with `batch_first`, T the longest.

    >>> import lucid
    >>> x = [lucid.tensor([1, 2]), lucid.tensor([3])]
    >>> lucid.nn.utils.rnn.pad_sequence(x, batch_first=True).tolist()
    [[1, 2], [3, 0]]
    """
    if padding_side not in ("left", "right"):
        raise ValueError(f"pad_sequence: padding_side {padding_side!r} is not 'left' or 'right'")
    listed = list(sequences.unbind(0) if isinstance(sequences, lucid.Tensor) else sequences)
    if not listed:
        raise RuntimeError("pad_sequence: received an empty list of sequences")
    longest = max(x.shape[0] for x in listed)
    rest = tuple(listed[0].shape[1:])
    made = []
    for x in listed:
        if tuple(x.shape[1:]) != rest:
            raise RuntimeError(
                f"pad_sequence: sequences of shapes {tuple(listed[0].shape)} and "
                f"{tuple(x.shape)} differ in more than their length"
            )
        padding = lucid.full((longest - x.shape[0], *rest), padding_value, dtype=x.dtype)
        made.append(lucid.cat([x, padding] if padding_side == "right" else [padding, x]))
    return lucid.stack(made, 0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: lucid.Tensor, lengths: Any, batch_first: bool = False
) -> list[lucid.Tensor]:
    """The sequences of a padded batch, each of its own length.

    >>> import lucid
    >>> x = lucid.tensor([[1, 2], [3, 0]])
    >>> [y.tolist() for y in lucid.nn.utils.rnn.unpad_sequence(x, [2, 1], batch_first=True)]
    [[1, 2], [3]]
    """
    rows = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    long = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    return [rows[i][:n] for i, n in enumerate(long)]


def pack_sequence(sequences: Sequence[lucid.Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Tensors (L_i, ...), by falling length unless `enforce_sorted` is false, packed.

    >>> import lucid
    >>> x = [lucid.tensor([1, 2]), lucid.tensor([3])]
    >>> lucid.nn.utils.rnn.pack_sequence(x).batch_sizes.tolist()
    [2, 1]
    """
    lengths = [x.shape[0] for x in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[lucid.Tensor]:
    """The sequences that were packed, in the batch's order.

    >>> import lucid
    >>> rnn = lucid.nn.utils.rnn
    >>> packed = rnn.pack_sequence([lucid.tensor([1, 2]), lucid.tensor([3])])
    >>> [x.tolist() for x in rnn.unpack_sequence(packed)]
    [[1, 2], [3]]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
