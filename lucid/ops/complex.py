"""Complex tensors: their functions, and how every op on them becomes ops on pairs of real numbers.

The funnel hands over each call with a complex input or dtype (`apply.lowered_complex`). LOWERED
says what it means on pairs; a composite op runs its parts; anything else raises, naming the op.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

from lucid import apply as funnel
from lucid.apply import apply
from lucid.array import Array
from lucid.dtypes import COMPLEX, FLOATING, dtype, float32, float64
from lucid.layout import broadcast_shapes
from lucid.op import Composite, Op, result_type
from lucid.ops import pairs
from lucid.ops.cast import to_dtype
from lucid.ops.contract import matmul as real_matmul
from lucid.ops.creation import tensor
from lucid.ops.elementwise import where
from lucid.ops.logic import bitwise_and, bitwise_or
from lucid.ops.pairs import pair_conj, pair_mul, pair_reciprocal, pair_up
from lucid.ops.transcendental import atan2
from lucid.ops.view import expand, permute

LOWERED: dict[str, Callable] = {}


def lowered(*names: str) -> Callable:
    """Register what ops mean for complex numbers: a function of the inputs and parameters."""

    def register(function: Callable) -> Callable:
        for name in names:
            LOWERED[name] = function
        return function

    return register


def lower(op: type[Op], inputs: tuple, params: tuple) -> Any:
    """A call with complex numbers, as calls without."""
    name = op.name.rstrip("_")
    found = LOWERED.get(name) or LOWERED.get(re.sub(r"_\d+$", "_n", name))
    if found is not None:
        return found(op, inputs, params)
    if issubclass(op, Composite):
        made = op.run(inputs, params)
        return funnel.visible(op, made)
    raise NotImplementedError(
        f"{op.label}: not supported for complex tensors; use real and imag, or view_as_real()"
    )


# From complex tensors to pairs and back


def parts(x: Any, kind: dtype) -> Any:
    """The pairs of a tensor or number, real ones with 0, of a real dtype."""
    if not isinstance(x, Array):
        number = complex(x)
        return tensor([number.real, number.imag], dtype=kind)
    if x._layout.dtype.category == COMPLEX:
        return to_dtype(apply(pairs.view_as_real, (x,)), kind)
    x = to_dtype(x, kind)
    return pair_up(x, x.detach() * 0)


def whole(x: Any) -> Any:
    """Pairs as complex numbers."""
    return apply(pairs.view_as_complex, (x,))


def kind_of(inputs: Sequence[Any]) -> dtype:
    """The type of the parts of a result, by promotion."""
    types = []
    for x in inputs:
        if isinstance(x, Array):
            types.append((x._layout.shape, x._layout.dtype.parts, False))
        else:
            types.append(((), float32, True))
    found = result_type(types)
    return float64 if found is float64 else float32


def is_real(x: Any) -> bool:
    """Whether an input is real."""
    if isinstance(x, Array):
        return x._layout.dtype.category != COMPLEX
    return not isinstance(x, complex)


def _real_factor(x: Any, kind: dtype) -> Any:
    """A real input beside pairs."""
    return to_dtype(x, kind).unsqueeze(-1) if isinstance(x, Array) else x


# Arithmetic


@lowered("add", "sub")
def _sum(op, inputs, params):
    kind = kind_of(inputs)
    x, w = (parts(x, kind) for x in inputs)
    return whole(apply(op, (x, w)))


@lowered("mul")
def _product(op, inputs, params):
    kind = kind_of(inputs)
    x, w = inputs
    if is_real(x):
        x, w = w, x
    if is_real(w):
        return whole(parts(x, kind) * _real_factor(w, kind))
    return whole(pair_mul(parts(x, kind), parts(w, kind)))


@lowered("div")
def _quotient(op, inputs, params):
    kind = kind_of(inputs)
    x, w = inputs
    if is_real(w):
        return whole(parts(x, kind) / _real_factor(w, kind))
    return whole(pair_mul(parts(x, kind), pair_reciprocal(parts(w, kind))))


@lowered("neg", "positive", "clone", "assign", "contiguous_copy")
def _same(op, inputs, params):
    return whole(apply(op, (parts(inputs[0], kind_of(inputs)),), params))


def _on_pairs(record: Any) -> Callable:
    def run(op, inputs, params):
        return whole(record(parts(inputs[0], kind_of(inputs))))

    return run


for _name in "reciprocal exp log sqrt sin cos".split():
    LOWERED[_name] = _on_pairs(getattr(pairs, f"pair_{_name}"))


@lowered("square")
def _square(op, inputs, params):
    return inputs[0] * inputs[0]


@lowered("tan", "sinh", "cosh", "tanh", "sigmoid", "rsqrt", "log2", "log10", "exp2", "log1p")
def _composed(op, inputs, params):
    x = inputs[0]
    name = op.name.rstrip("_")
    if name == "tan":
        return x.sin() / x.cos()
    if name == "rsqrt":
        return x.sqrt().reciprocal()
    if name == "sigmoid":
        return ((-x).exp() + 1).reciprocal()
    if name == "log1p":
        return (x + 1).log()
    if name == "exp2":
        return (x * 0.6931471805599453).exp()
    if name in ("log2", "log10"):
        return x.log() * {"log2": 1.4426950408889634, "log10": 0.4342944819032518}[name]
    up, down = x.exp(), (-x).exp()
    if name == "tanh":
        return (up - down) / (up + down)
    return (up - down if name == "sinh" else up + down) * 0.5


@lowered("pow")
def _power(op, inputs, params):
    x, w = inputs
    if isinstance(w, int) and not isinstance(w, bool) and abs(w) <= 64:
        made, base, n = None, x, abs(w)
        while n:
            if n & 1:
                made = base if made is None else made * base
            n >>= 1
            base = base * base if n else base
        made = x * 0 + 1 if made is None else made
        return made.reciprocal() if w < 0 else made
    kind = kind_of(inputs)
    log = whole(pairs.pair_log(parts(x, kind)))
    raised = (log * w).exp()
    zero = (x == 0) if isinstance(x, Array) else tensor(complex(x) == 0)
    return where(zero, 0.0, raised)


@lowered("abs")
def _absolute(op, inputs, params):
    return pairs.pair_size(parts(inputs[0], kind_of(inputs)))


@lowered("sign")
def _direction(op, inputs, params):
    x = parts(inputs[0], kind_of(inputs))
    size = pairs.pair_size(x).unsqueeze(-1)
    return whole(where(size == 0.0, 0.0, x / where(size == 0.0, 1.0, size)))


@lowered("eq", "ne")
def _equal(op, inputs, params):
    kind = kind_of(inputs)
    same = apply(op, tuple(parts(x, kind) for x in inputs))
    combine = bitwise_and if op.name == "eq" else bitwise_or
    return combine(same[..., 0], same[..., 1])


@lowered("isnan", "isinf", "isfinite")
def _of_both(op, inputs, params):
    each = apply(op, (parts(inputs[0], kind_of(inputs)),))
    combine = bitwise_and if op.name == "isfinite" else bitwise_or
    return combine(each[..., 0], each[..., 1])


@lowered("where")
def _choice(op, inputs, params):
    condition, x, w = inputs
    kind = kind_of((x, w))
    return whole(where(condition.unsqueeze(-1), parts(x, kind), parts(w, kind)))


@lowered("cast")
def _cast(op, inputs, params):
    x, kind = inputs[0], params[0]
    if kind.category == COMPLEX:
        return whole(parts(x, kind.parts))
    return to_dtype(parts(x, x._layout.dtype.parts)[..., 0], kind)


# Structure


@lowered("full")
def _full(op, inputs, params):
    size, kind = params
    return whole(parts(inputs[0], kind.parts).expand(*size, 2).contiguous())


@lowered("eye")
def _identity(op, inputs, params):
    plain = tuple(p.parts if isinstance(p, dtype) else p for p in params)
    return whole(parts(apply(op, inputs, plain), plain[-1]))


@lowered("subscript_back", "subscript_at")
def _part(op, inputs, params):
    """The place of the first element is counted in numbers, of which a pair has two."""
    x, at = inputs
    *size, steps, lengths, drop = params
    size = [(*n, 2) for n in size]
    given = (parts(x, kind_of((x,))), at * 2)
    return whole(apply(op, given, (*size, (*steps, 1), (*lengths, 2), drop)))


@lowered("sum", "cumsum", "cat_n", "stack_n", "put_n", "put_add_n")
def _along(op, inputs, params):
    """Ops whose dimensions are counted from the front: pairs are one dimension more."""
    kind = kind_of([x for x in inputs if not _is_index(x)])
    given = tuple(x if _is_index(x) else parts(x, kind) for x in inputs)
    return whole(apply(op, given, params))


def _is_index(x: Any) -> bool:
    return isinstance(x, Array) and x._layout.dtype.category < FLOATING


@lowered("put_zeros_add_n")
def _put_zeros(op, inputs, params):
    first, size = params
    v, *places = inputs
    return whole(apply(op, (parts(v, kind_of((v,))), *places), (first, (*size, 2))))


@lowered("take_n")
def _take(op, inputs, params):
    x, *places = inputs
    return whole(apply(op, (parts(x, kind_of((x,))), *places), params))


@lowered("gather", "scatter_set", "scatter_plus")
def _at_places(op, inputs, params):
    *values, index = inputs
    kind = kind_of(values)
    places = index.unsqueeze(-1).expand(*index.shape, 2)
    return whole(apply(op, (*(parts(v, kind) for v in values), places), params))


@lowered("pad_constant")
def _pad(op, inputs, params):
    x, value = inputs
    before, after = params
    if value not in (0, 0.0):
        raise NotImplementedError("pad: complex tensors are padded with 0 only")
    made = apply(op, (parts(x, kind_of((x,))), value), ((*before, 0), (*after, 0)))
    return whole(made)


@lowered("triangle", "diagonal_back", "unfold_back", "flip_copy")
def _part_by_part(op, inputs, params):
    """Ops that the parts go through one by one, as a dimension in front."""
    if op.name != "triangle":
        made = [apply(op, (p,), params) for p in (inputs[0].real, inputs[0].imag)]
        return whole(pair_up(*made))
    x = parts(inputs[0], kind_of(inputs))
    rank = len(x.shape)
    made = apply(op, (permute(x, (rank - 1, *range(rank - 1))),), params)
    return whole(permute(made, (*range(1, rank), 0)))


@lowered("product", "integer_product")
def _matrix_product(op, inputs, params):
    x, w = inputs
    kind = kind_of(inputs)
    if is_real(w) or is_real(x):
        real, other = (w, x) if is_real(w) else (x, w)
        real = to_dtype(real, kind)
        halves = [to_dtype(p, kind) for p in (other.real, other.imag)]
        pair = [real_matmul(p, real) if is_real(w) else real_matmul(real, p) for p in halves]
        return whole(pair_up(*pair))
    a, b, c, d = (to_dtype(p, kind) for p in (x.real, x.imag, w.real, w.imag))
    real = real_matmul(a, c) - real_matmul(b, d)
    return whole(pair_up(real, real_matmul(a, d) + real_matmul(b, c)))


# Functions


def complex_of(real, imag):
    """real + i imag, of floating tensors of one dtype.

    >>> import lucid
    >>> lucid.complex(lucid.tensor([1.0]), lucid.tensor([2.0]))
    tensor([1.+2.j])
    """
    if real.dtype is not imag.dtype or real.dtype not in (float32, float64):
        raise RuntimeError(
            f"complex: two float32 or two float64 tensors are needed, got {real.dtype!r} and "
            f"{imag.dtype!r}"
        )
    shape = broadcast_shapes("complex", tuple(real.shape), tuple(imag.shape))
    return whole(pair_up(_spread(real, shape), _spread(imag, shape)))


complex_of.__name__ = complex_of.__qualname__ = "complex"


def _spread(x: Any, shape: Sequence[int]) -> Any:
    return x if tuple(x.shape) == tuple(shape) else expand(x, tuple(shape))


def polar(abs, angle):
    """abs (cos angle + i sin angle).

    >>> import lucid
    >>> lucid.polar(lucid.tensor([2.0]), lucid.tensor([0.0]))
    tensor([2.+0.j])
    """
    return complex_of(abs * angle.cos(), abs * angle.sin())


def view_as_real(x):
    """The parts of complex numbers as a last dimension of size 2: a view.

    >>> import lucid
    >>> lucid.view_as_real(lucid.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """
    if x.dtype.category != COMPLEX:
        raise RuntimeError(f"view_as_real: a complex tensor is needed, got {x.dtype!r}")
    return apply(pairs.view_as_real, (x,))


def view_as_complex(x):
    """Pairs of float32 or float64 numbers in the last dimension as complex numbers: a view.

    The last dimension has size 2 and stride 1, the other strides and the offset are even.

    >>> import lucid
    >>> lucid.view_as_complex(lucid.tensor([[1.0, 2.0]]))
    tensor([1.+2.j])
    """
    if x.dtype not in (float32, float64):
        raise RuntimeError(f"view_as_complex: float32 or float64 is needed, got {x.dtype!r}")
    if x.ndim == 0 or x.shape[-1] != 2:
        raise RuntimeError(
            f"view_as_complex: the last dimension must have size 2, got shape {tuple(x.shape)}"
        )
    strides = [s for s, n in zip(x.stride()[:-1], x.shape[:-1], strict=True) if n > 1]
    if x.stride(-1) != 1 or any(s % 2 for s in strides) or x.storage_offset() % 2:
        raise RuntimeError(
            f"view_as_complex: strides {x.stride()} at offset {x.storage_offset()} do not show "
            "pairs; use contiguous() first"
        )
    return apply(pairs.view_as_complex, (x,))


def real(x):
    """The real parts, as a view; a real tensor itself.

    >>> import lucid
    >>> lucid.real(lucid.tensor([1 + 2j]))
    tensor([1.])
    """
    return view_as_real(x)[..., 0] if x.dtype.category == COMPLEX else x


def imag(x):
    """The imaginary parts, as a view.

    >>> import lucid
    >>> lucid.imag(lucid.tensor([1 + 2j]))
    tensor([2.])
    """
    if x.dtype.category != COMPLEX:
        raise RuntimeError(f"imag: a real tensor has no imaginary parts, it is {x.dtype!r}")
    return view_as_real(x)[..., 1]


def conj(x):
    """The imaginary parts negated; a real tensor itself.

    >>> import lucid
    >>> lucid.conj(lucid.tensor([1 + 2j]))
    tensor([1.-2.j])
    """
    return whole(pair_conj(view_as_real(x))) if x.dtype.category == COMPLEX else x


def angle(x):
    """The argument, in radians; of real numbers 0, or pi where they are negative.

    >>> import lucid
    >>> lucid.angle(lucid.tensor([1j, -1 + 0j]))
    tensor([1.5708, 3.1416])
    """
    if x.dtype.category == COMPLEX:
        return atan2(imag(x), real(x))
    x = x if x.dtype.category == FLOATING else to_dtype(x, float32)
    return where(x != x, x, where(x < 0, 3.141592653589793, x * 0.0))


def resolve(x):
    """x: conjugates and negatives are never put off.

    >>> import lucid
    >>> lucid.resolve_conj(lucid.ones(1))
    tensor([1.])
    """
    return x


def sgn(x):
    """x / |x|, 0 at 0: `sign` for real numbers.

    >>> import lucid
    >>> lucid.sgn(lucid.tensor([3 + 4j]))
    tensor([0.6000+0.8000j])
    """
    return x.sign()


def is_complex(x) -> bool:
    """Whether x holds complex numbers.

    >>> import lucid
    >>> lucid.is_complex(lucid.ones(1))
    False
    """
    return x.dtype.category == COMPLEX


def _adjoint(self: Any) -> Any:
    """Conjugated, with the last two dimensions exchanged."""
    y = conj(self)
    n = y.ndim
    if n < 2:
        raise RuntimeError(f"H, mH: a matrix or a batch of them is needed, got {n} dimensions")
    return permute(y, (*range(n - 2), n - 1, n - 2))
