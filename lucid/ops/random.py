"""Random numbers: counter-based, so that bits depend on seed and place only.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): element i of a
call is a function of the seed and of the counter `offset + i`. Each call reserves its range of
counters in the generator, whatever later happens to its result.
"""

import os
import threading
from math import log2, prod, sqrt
from typing import Any

import numpy as np

from lucid import dtypes
from lucid.apply import apply
from lucid.array import Array
from lucid.dtypes import COMPLEX, FLOATING, bool_, dtype, float32, float64, int64, ml_dtypes
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Axis, Scan, Store
from lucid.op import Opaque, Pointwise, find
from lucid.ops.cast import to_dtype
from lucid.ops.creation import _finish, _memory_options, _place, ones, size_of, tensor
from lucid.ops.elementwise import assign, where
from lucid.ops.join import stack
from lucid.ops.view import expand, reshape
from lucid.plan.nest import Nest, array_of, step
from lucid.tracing import compiling, tracing
from lucid.write import write

_LOW = 0xFFFFFFFF


def philox(seed: Expr, counter: Expr) -> tuple[Expr, Expr]:
    """Two of the four 32-bit words for a 64-bit counter and key, each in an int64."""
    words = philox_words(seed, counter)
    return words[0], words[1]


def philox_words(seed: Expr, counter: Expr) -> tuple[Expr, ...]:
    """All four words."""

    def halves(x: Expr) -> tuple[Expr, Expr]:
        return x & _LOW, expr.binary("lshr", x, 32)

    k0, k1 = halves(seed)
    c0, c1 = halves(counter)
    c2 = c3 = expr.ZERO
    for _ in range(10):
        low0, high0 = halves(c0 * 0xD2511F53)
        low1, high1 = halves(c2 * 0xCD9E8D57)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    return c0, c1, c2, c3


def uniform_of(words: tuple[Expr, Expr], kind: dtype) -> Expr:
    """A number in [0, 1): 24 random bits for float32, 53 for float64."""
    if kind is float64:
        bits = expr.binary("lshr", words[0], 5) * (1 << 26) + expr.binary("lshr", words[1], 6)
        return expr.cast(bits, float64) * 2.0**-53
    bits = expr.cast(expr.binary("lshr", words[0], 8), dtypes.int32)
    return expr.cast(bits, float32) * 2.0**-24


def linear(index: Any, shape: Any) -> Expr:
    """The row-major place of an index."""
    at = expr.ZERO
    for i, n in zip(index, shape, strict=True):
        at = at * expr.size(n) + i if at is not expr.ZERO else i
    return at


class Drawn(Pointwise, abstract=True):
    """n numbers of a distribution with two parameters: inputs seed, offset, a, b."""

    public = False
    drawn = True

    @classmethod
    def axis_map(cls, call):
        n, kind = call.params
        return reshape(call.run(call.inputs, (call.size * n, kind)), (call.size, n))

    def names(seed, offset, a, b, *, n, kind):
        pass

    @classmethod
    def infer(cls, types, params):
        return [((params[0],), params[1])]

    @classmethod
    def elements(cls, types, params, index, loads):
        seed, offset, a, b = (read(()) for read in loads)
        words = philox(expr.cast(seed, int64), expr.cast(offset, int64) + index[0])
        return [expr.cast(cls.draw(words, a, b, params[1].compute), params[1])]


class uniform_numbers(Drawn):
    """a + (b - a) u, with u in [0, 1)."""

    def draw(words, a, b, kind):
        a, b = expr.cast(a, kind), expr.cast(b, kind)
        return uniform_of(words, kind) * (b - a) + a


class normal_numbers(Drawn):
    """a + b z, with z standard normal. Box and Muller, 1958."""

    def draw(words, a, b, kind):
        bits = [expr.cast(expr.binary("lshr", w, 8), dtypes.int32) for w in words]
        if kind is float64:
            bits = list(words)
        scale = 2.0**-32 if kind is float64 else 2.0**-24
        u = (expr.cast(bits[0], kind) + 1.0) * scale
        angle = expr.cast(bits[1], kind) * (scale * 2 * np.pi)
        z = expr.unary("sqrt", math("log", u) * -2.0) * math("cos", angle)
        return z * expr.cast(b, kind) + expr.cast(a, kind)


class integer_numbers(Drawn):
    """Integers in [a, b)."""

    def draw(words, a, b, kind):
        a, b = expr.cast(a, int64), expr.cast(b, int64)
        wide = (words[0] << 31) ^ words[1]
        return expr.cast(expr.binary("irem", wide, b - a) + a, kind)


class bernoulli_numbers(Pointwise):
    """1 with probability x, else 0."""

    public = False
    drawn = True

    def axis_map(call):
        x, seed, offset = call.inputs
        if call.same:
            lay = call.types[0][0]
            u = uniform_numbers(seed, offset, 0.0, 1.0, prod(lay), float32)
            return to_dtype(reshape(u, lay) < to_dtype(x, float32), call.params[0])
        return call.run(call.spread(), call.params)

    def names(x, seed, offset, *, kind):
        pass

    def infer(types, params):
        return [(types[0][0], params[0])]

    def element(types, index, loads, kind):
        p = expr.cast(loads[0](index), float32)
        counter = expr.cast(loads[2](()), int64) + linear(index, types[0][0])
        words = philox(expr.cast(loads[1](()), int64), counter)
        return expr.cast(uniform_of(words, float32) < p, kind)


class dropout_(Pointwise):
    """x / (1 - p) where a uniform number is at least p, else 0. The mask is a function of seed and
    offset, so that backward makes it again. Srivastava et al., 2014."""

    public = False
    drawn = True

    def axis_map(call):
        x, seed, offset = call.inputs
        if call.same:
            shape, kind, _ = call.types[0]
            scale = call.run((ones(shape, dtype=kind), seed, offset), call.params)
            return where(scale == 0.0, 0.0, x * scale)
        return call.run(call.spread(), call.params)

    def names(x, seed, offset, *, p):
        pass

    def infer(types, params):
        return [(types[0][0], types[0][1])]

    def element(types, index, loads, p):
        x = loads[0](index)
        counter = expr.cast(loads[2](()), int64) + linear(index, types[0][0])
        words = philox(expr.cast(loads[1](()), int64), counter)
        kept = uniform_of(words, float32) >= p
        scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
        return expr.where(kept, x * scale, expr.zero(x))

    def vjp_x(g, seed, offset, p):
        return dropout_(g, seed, offset, p)


class permutation(Opaque):
    """0 .. n - 1 in random order: Fisher and Yates, from the inside out."""

    public = False
    drawn = True

    def axis_map(call):
        (seed, offset), (n, _) = call.inputs, call.params
        each = call.apart(n)
        rows = [call.run((seed, offset + i * each), call.params) for i in range(call.size)]
        return stack(rows)

    def names(seed, offset, *, n, kind):
        pass

    def infer(types, params):
        return [((params[0],), params[1])]

    def lower(context, inputs, params, outputs):
        y = outputs[0]
        i = expr.index("i0")
        seed, offset = (expr.scalar(f"s{k}", int64) for k in range(2))
        words = philox(seed, offset + i)
        place = expr.binary("irem", (words[0] << 31) ^ words[1], i + 1)
        moved = Store("y0", (i,), expr.load("y0", (place,), y.dtype))
        placed = Store("y0", (place,), expr.cast(i, y.dtype))
        scan = Scan(0, (Axis("i0", expr.ZERO),), (), (), (moved, placed))
        arrays = {"y0": array_of("y0", y, "inout")}
        nest = Nest("randperm", arrays, {"i0": y.shape[0]}, [], ["i0"], [scan], ["s0", "s1"])
        return [step(nest, "none", {"y0": y}, inputs)]


class Generator:
    """A source of random numbers: a seed and a counter.

    >>> import lucid
    >>> g = lucid.Generator().manual_seed(7)
    >>> lucid.equal(lucid.rand(3, generator=g), lucid.rand(3, generator=g.manual_seed(7)))
    True
    """

    def __init__(self, device: Any = None):
        _place(device)
        self.device = _place(device)
        self._lock = threading.Lock()
        self.manual_seed(67280421310721)

    def manual_seed(self, seed: int) -> "Generator":
        """Start again from a seed; negative ones count from 2^64 down."""
        if (tracer := compiling()) is not None:
            tracer.refuse("manual_seed", "seed the generator before the call")
        self._seed = int(seed) & (2**64 - 1)
        self._offset = 0
        return self

    def seed(self) -> int:
        """Start from a seed of the operating system; returns it."""
        self.manual_seed(int.from_bytes(os.urandom(7), "little"))
        return self._seed

    def initial_seed(self) -> int:
        return self._seed

    def reserve(self, n: int) -> tuple[int, int]:
        """(seed, first counter) of n numbers that nobody else will get; of as many for each
        element of a batch, where vmap asks for different ones."""
        if (tracer := tracing()) is not None:
            return tracer.reserve(self, n)
        return self.taken(n)

    def taken(self, n: int) -> tuple[int, int]:
        """(seed, first counter) of the next n numbers."""
        with self._lock:
            offset = self._offset
            self._offset = offset + n
        signed = self._seed - 2**64 if self._seed >= 2**63 else self._seed
        return signed, offset

    def state_now(self) -> tuple[int, int]:
        """Seed, as a signed number, and counter."""
        return (self._seed - 2**64 if self._seed >= 2**63 else self._seed), self._offset

    def advance(self, n: int) -> None:
        """Leave out n numbers, which a compiled function has drawn."""
        with self._lock:
            self._offset += n

    def get_state(self) -> Any:
        """Seed and counter as 16 bytes."""
        if (tracer := compiling()) is not None:
            tracer.refuse("get_state of a generator", "ask for it before the call")
        data = self._seed.to_bytes(8, "little") + self._offset.to_bytes(8, "little")
        return tensor(np.frombuffer(data, np.uint8).copy())

    def set_state(self, state: Any) -> "Generator":
        if (tracer := compiling()) is not None:
            tracer.refuse("set_state of a generator", "set it before the call")
        data = bytes(bytearray(state.tolist()))
        if len(data) != 16:
            raise RuntimeError(f"set_state: 16 bytes are needed, got {len(data)}")
        self._seed = int.from_bytes(data[:8], "little")
        self._offset = int.from_bytes(data[8:], "little")
        return self


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Seed the default generator.

    >>> import lucid
    >>> lucid.manual_seed(0).initial_seed()
    0
    """
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Seed the default generator from the operating system; returns the seed.

    >>> import lucid
    >>> isinstance(lucid.seed(), int)
    True
    """
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator.

    >>> import lucid
    >>> lucid.manual_seed(3).initial_seed(), lucid.initial_seed()
    (3, 3)
    """
    return default_generator.initial_seed()


def get_rng_state() -> Any:
    """The state of the default generator.

    >>> import lucid
    >>> lucid.get_rng_state().shape
    lucid.Size([16])
    """
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Restore what `get_rng_state` returned.

    >>> import lucid
    >>> state = lucid.get_rng_state()
    >>> x = lucid.rand(2)
    >>> lucid.set_rng_state(state)
    >>> lucid.equal(x, lucid.rand(2))
    True
    """
    default_generator.set_state(state)


def _draw(record: Any, size: tuple, kind: dtype, a: Any, b: Any, generator: Any) -> Any:
    n = 1
    for m in size:
        n *= m
    first, offset = (generator or default_generator).reserve(n)
    return reshape(record(first, offset, a, b, n, kind), size)


def _lifted(x: Any) -> Any:
    """x as it takes part in a draw: under vmap with different numbers, one for each element."""
    level = tracing()
    return x if level is None or level.whole else level.lifted(x)


def _floating(name: str, kind: dtype | None) -> dtype:
    kind = dtypes.of_type(kind) or dtypes.get_default_dtype()
    if kind.category != FLOATING:
        raise RuntimeError(f"{name}: a floating dtype is needed, got {kind!r}")
    return kind


def _drawer(name: str, record: Any, says: str) -> Any:
    def draw(
        *size, generator=None, dtype=None, device=None, requires_grad: bool = False, **other
    ):  # fmt: skip
        _memory_options(name, other)
        _place(device)
        shape, dtype = size_of(size), dtypes.of_type(dtype)
        if dtype is not None and dtype.category == COMPLEX:
            # Normal complex numbers have variance 1: half of it in each part.
            high = sqrt(0.5) if record is normal_numbers else 1.0
            parts = _draw(record, (*shape, 2), dtype.parts, 0.0, high, generator)
            return _finish(apply(find("view_as_complex"), (parts,)), requires_grad)
        y = _draw(record, shape, _floating(name, dtype), 0.0, 1.0, generator)
        return _finish(y, requires_grad)

    draw.__name__ = draw.__qualname__ = name
    draw.__doc__ = f"""{says}

    >>> import lucid
    >>> lucid.{name}(2, 3).shape
    lucid.Size([2, 3])
    """
    return draw


rand = _drawer("rand", uniform_numbers, "Uniform numbers in [0, 1).")
randn = _drawer("randn", normal_numbers, "Standard normal numbers.")


def randint(
    low, high=None, size=None, *, generator=None, dtype=None, device=None, requires_grad=False,
    **other,
):  # fmt: skip
    """Integers in [low, high); randint(high, size) starts at 0.

    >>> import lucid
    >>> bool((lucid.randint(3, 5, (9,)) >= 3).all())
    True
    """
    if size is None:
        low, high, size = 0, low, high
    _memory_options("randint", other)
    _place(device)
    if high <= low:
        raise RuntimeError(f"randint: from {low} to {high} there is no integer")
    y = _draw(integer_numbers, size_of((size,)), dtype or int64, int(low), int(high), generator)
    return _finish(y, requires_grad)


def randperm(n: int, *, generator=None, dtype=None, device=None, **other):
    """0 .. n - 1 in random order.

    >>> import lucid
    >>> sorted(lucid.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    _memory_options("randperm", other)
    _place(device)
    first, offset = (generator or default_generator).reserve(n)
    if n == 0:
        return tensor([], dtype=dtype or int64)
    return permutation(first, offset, n, dtype or int64)


def _like(function: Any) -> Any:
    def like(x: Any, *, dtype: Any = None, **options: Any) -> Any:
        return function(x.shape, dtype=dtype or x.dtype, **options)

    like.__name__ = like.__qualname__ = f"{function.__name__}_like"
    like.__doc__ = f"`{function.__name__}` with the shape and dtype of x."
    return like


rand_like = _like(rand)
randn_like = _like(randn)


def randint_like(x, low, high=None, *, dtype=None, **options):
    """`randint` with the shape and dtype of x.

    >>> import lucid
    >>> lucid.randint_like(lucid.zeros(2), 5).dtype
    lucid.float32
    """
    low, high = (0, low) if high is None else (low, high)
    return randint(low, high, x.shape, dtype=dtype or x.dtype, **options)


def normal(mean=0.0, std=1.0, size=None, *, generator=None, dtype=None, device=None, **other):
    """Normal numbers: of one mean and std and a size, or one for each element of tensors.

    >>> import lucid
    >>> lucid.normal(0.0, 1.0, (2, 3)).shape
    lucid.Size([2, 3])
    """
    _memory_options("normal", other)
    _place(device)
    if isinstance(mean, Array) or isinstance(std, Array):
        shape = (mean + std).shape if isinstance(mean, Array) else std.shape
        like = mean if isinstance(mean, Array) else std
        return randn(shape, generator=generator, dtype=like.dtype) * std + mean
    kind = _floating("normal", dtype)
    return _draw(normal_numbers, size_of((size,)), kind, float(mean), float(std), generator)


def bernoulli(x, p: float | None = None, *, generator=None):
    """1 with probability x (or p everywhere), else 0, in x's dtype.

    >>> import lucid
    >>> lucid.bernoulli(lucid.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    first, offset = (generator or default_generator).reserve(x.numel())
    if p is not None:
        kind = x.dtype
        chance = expand(tensor(float(p)), tuple(x.shape))
        return bernoulli_numbers(_lifted(chance), first, offset, kind)
    return bernoulli_numbers(_lifted(x), first, offset, x.dtype)


def dropout(input, p: float = 0.5, training: bool = True, inplace: bool = False):
    """Zeros with probability p, the rest scaled by 1 / (1 - p); x itself without training.

    >>> import lucid
    >>> lucid.nn.functional.dropout(lucid.ones(3), training=False)
    tensor([1., 1., 1.])
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: p must lie in [0, 1], got {p}")
    if not training or p == 0.0:
        return input
    first, offset = default_generator.reserve(input.numel())
    flat = input._value is None and input.is_contiguous()
    source = reshape(input, (input.numel(),)) if flat else input
    y = dropout_(_lifted(source), first, offset, float(p))
    y = reshape(y, tuple(input.shape)) if flat else y
    return write(assign, input, (y,)) if inplace else y


def uniform_(self, from_: float = 0.0, to: float = 1.0, *, generator=None, **named):
    """In place: uniform numbers in [from, to)."""
    from_ = named.pop("from", from_)
    if named:
        raise TypeError(f"uniform_() has no parameter {', '.join(map(repr, named))}")
    if from_ > to:
        raise RuntimeError(f"uniform_: from {from_} must not be above to {to}")
    kind = _floating("uniform_", self.dtype)
    y = _draw(uniform_numbers, tuple(self.shape), kind, float(from_), float(to), generator)
    return write(assign, self, (y,))


def normal_(self, mean: float = 0.0, std: float = 1.0, *, generator=None):
    """In place: normal numbers.

    >>> import lucid
    >>> lucid.zeros(2).normal_(3.0, 0.0)
    tensor([3., 3.])
    """
    if std < 0:
        raise RuntimeError(f"normal_: std must not be negative, got {std}")
    kind = _floating("normal_", self.dtype)
    y = _draw(normal_numbers, tuple(self.shape), kind, float(mean), float(std), generator)
    return write(assign, self, (y,))


def bernoulli_(self, p=0.5, *, generator=None):
    """In place: 1 with probability p (a number or a tensor), else 0.

    >>> import lucid
    >>> lucid.zeros(2).bernoulli_(1.0)
    tensor([1., 1.])
    """
    first, offset = (generator or default_generator).reserve(self.numel())
    chance = p if isinstance(p, Array) else tensor(float(p)).expand(self.shape)
    return write(assign, self, (bernoulli_numbers(_lifted(chance), first, offset, self.dtype),))


def random_(self, from_: int = 0, to: int | None = None, *, generator=None):
    """In place: integers in [from, to). By default all that the dtype has from 0 on: up to its
    largest integer, or to 2^24 where floating numbers stop being consecutive (float64: 2^53,
    float16: 2^11, bfloat16: 2^8). Raises RuntimeError where a bound does not fit the dtype.

    >>> import lucid
    >>> bool((lucid.zeros(9).random_(3, 5) >= 3).all())
    True
    """
    kind = self.dtype
    low, high = _integers_of(kind)
    if to is None:
        from_, to = (0, from_) if from_ else (0, high)
    from_, to = int(from_), int(to)
    if from_ >= to:
        raise RuntimeError(f"random_: from {from_} to {to} there is no integer")
    if kind.category != FLOATING and (from_ < low or to > high):
        raise RuntimeError(f"random_: [{from_}, {to}) does not lie in [{low}, {high}) of {kind!r}")
    if to - from_ > 1 << 63:
        raise RuntimeError(f"random_: [{from_}, {to}) has more than 2^63 integers")
    # 2^63 is -2^63 in 64 bits, and the remainder of a non-negative number by that the number.
    to = to - (1 << 64) if to == 1 << 63 else to
    y = _draw(integer_numbers, tuple(self.shape), kind, from_, to, generator)
    return write(assign, self, (y,))


def _integers_of(kind: dtype) -> tuple[int, int]:
    """[low, high) of the integers that a dtype has without gaps."""
    if kind.category == FLOATING:
        digits = 1 - round(log2(float(ml_dtypes.finfo(kind.numpy).eps)))
        return -(1 << digits), 1 << digits
    bits = 1 if kind is bool_ else 8 * kind.itemsize
    return (-(1 << (bits - 1)) if kind.signed else 0), 1 << (bits - kind.signed)
