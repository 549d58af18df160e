"""Complex arithmetic on pairs: real tensors whose last dimension holds real and imaginary parts.

complex.py lowers complex tensors to these records, so no kernel sees a complex number. A record's
`body` gives both parts of the result from those of the inputs. The gradient of a holomorphic f is
g conj(f'), which is that of a real function of two parts (PyTorch's convention).
"""

from collections.abc import Sequence
from typing import Any

from lucid.apply import contiguous
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Map, Store
from lucid.layout import broadcast_shapes
from lucid.op import Opaque, Pointwise, View, broadcast_index
from lucid.ops.elementwise import where
from lucid.ops.view import expand
from lucid.plan.nest import Nest, array_of, step

Parts = tuple[Expr, Expr]


class Pairs(Opaque, abstract=True):
    """Elementwise on pairs: one kernel that reads and stores both parts at each point."""

    public = False

    @classmethod
    def signature(cls):
        return cls.body

    @classmethod
    def infer(cls, types, params):
        kind = types[0][1]
        lead = broadcast_shapes(cls.label, *(shape[:-1] for shape, _, _ in types))
        return [((*lead, 2), kind)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        y = outputs[0]
        if 0 in y.shape:
            return []
        axes = [f"i{d}" for d in range(len(y.shape) - 1)]
        at = [expr.index(a) for a in axes]
        ends = [expr.const(part, expr.ZERO.dtype) for part in range(2)]
        operands = {"y0": y} | {f"x{i}": x for i, x in enumerate(inputs)}
        given = []
        for i, x in enumerate(inputs):
            inner = broadcast_index(x.shape[:-1], at)
            given.append(tuple(expr.load(f"x{i}", [*inner, end], x.dtype) for end in ends))
        made = cls.body(expr, *given)
        stores = tuple(Store("y0", (*at, end), part) for end, part in zip(ends, made, strict=True))
        arrays = {n: array_of(n, o, "out" if n == "y0" else "in") for n, o in operands.items()}
        extents = dict(zip(axes, y.shape[:-1], strict=True))
        nest = Nest(cls.name, arrays, extents, axes, [], [Map((), stores)], [])
        return [step(nest, "grid" if axes else "none", operands)]

    @classmethod
    def axis_map(cls, call):
        return call.run(call.aligned(), call.params)


class pair_mul(Pairs):
    """x w."""

    def body(b: Any, x: Parts, w: Parts):
        return x[0] * w[0] - x[1] * w[1], x[0] * w[1] + x[1] * w[0]

    def vjp_x(g, w):
        return pair_mul(g, pair_conj(w))

    def vjp_w(g, x):
        return pair_mul(g, pair_conj(x))


class pair_conj(Pairs):
    """The imaginary part negated."""

    def body(b: Any, x: Parts):
        return x[0], -x[1]

    def vjp_x(g):
        return pair_conj(g)


class pair_reciprocal(Pairs):
    """1 / x, scaled by the larger part so that squares do not overflow (Smith, 1962)."""

    def body(b: Any, x: Parts):
        real, imag = x
        wide = abs(real) >= abs(imag)
        large, small = b.where(wide, real, imag), b.where(wide, imag, real)
        ratio = b.where(small.eq(0.0), b.zero(small), small / large)
        bottom = large + small * ratio
        first, second = 1.0 / bottom, ratio / bottom
        infinite = abs(large).eq(float("inf"))
        first = b.where(infinite, b.zero(first), first)
        second = b.where(infinite, b.zero(second), second)
        return b.where(wide, first, second), -b.where(wide, second, first)

    def vjp_x(g, y):
        return pair_mul(-g, pair_conj(pair_mul(y, y)))


class pair_exp(Pairs):
    """e^x = e^a (cos b + i sin b)."""

    def body(b: Any, x: Parts):
        size = math("exp", x[0])
        flat = x[1].eq(0.0)
        second = b.where(flat, x[1], size * math("sin", x[1]))
        return b.where(flat, size, size * math("cos", x[1])), second

    def vjp_x(g, y):
        return pair_mul(g, pair_conj(y))


def _size(b: Any, x: Parts) -> Expr:
    """|x| without overflow: the larger part times sqrt(1 + ratio^2)."""
    real, imag = abs(x[0]), abs(x[1])
    large, small = b.where(real > imag, real, imag), b.where(real > imag, imag, real)
    ratio = b.where(large.eq(0.0), b.zero(large), small / large)
    found = large * b.unary("sqrt", ratio * ratio + 1.0)
    infinite = real.eq(float("inf")) | imag.eq(float("inf"))
    found = b.where(infinite, b.const(float("inf"), found.dtype), found)
    return b.where(~infinite & (b.isnan(real) | b.isnan(imag)), real + imag, found)


class pair_log(Pairs):
    """log |x| + i arg x."""

    def body(b: Any, x: Parts):
        return math("log", _size(b, x)), math("atan2", x[1], x[0])

    def vjp_x(g, x):
        return pair_mul(g, pair_conj(pair_reciprocal(x)))


class pair_sqrt(Pairs):
    """The square root whose real part is not negative."""

    def body(b: Any, x: Parts):
        half = b.unary("sqrt", (_size(b, x) + abs(x[0])) * 0.5)
        other = b.where(half.eq(0.0), b.zero(half), x[1] / (half * 2.0))
        flipped = b.where(x[1] < 0, -half, half)
        right = x[0] >= 0
        return b.where(right, half, abs(other)), b.where(right, other, flipped)

    def vjp_x(g, y):
        return pair_mul(g, pair_conj(pair_reciprocal(y * 2.0)))


class pair_sin(Pairs):
    """sin a cosh b + i cos a sinh b."""

    def body(b: Any, x: Parts):
        first = math("sin", x[0]) * math("cosh", x[1])
        return first, math("cos", x[0]) * math("sinh", x[1])

    def vjp_x(g, x):
        return pair_mul(g, pair_conj(pair_cos(x)))


class pair_cos(Pairs):
    """cos a cosh b - i sin a sinh b."""

    def body(b: Any, x: Parts):
        first = math("cos", x[0]) * math("cosh", x[1])
        return first, -(math("sin", x[0]) * math("sinh", x[1]))

    def vjp_x(g, x):
        return -pair_mul(g, pair_conj(pair_sin(x)))


class pair_up(Pointwise):
    """Real numbers x and w of one shape as pairs (x, w)."""

    public = False
    numbered = ()

    def names(x, w):
        pass

    def infer(types, params):
        return [((*types[0][0], 2), types[0][1])]

    def element(types, index, loads):
        lead = index[:-1]
        return expr.where(index[-1].eq(0), loads[0](lead), loads[1](lead))

    def vjp_x(g):
        return g[..., 0]

    def vjp_w(g):
        return g[..., 1]


class pair_size(Pointwise):
    """|x|; the gradient at 0 is 0."""

    public = False
    numbered = ()

    def names(x):
        pass

    def infer(types, params):
        return [(types[0][0][:-1], types[0][1])]

    def element(types, index, loads):
        ends = [expr.const(part, expr.ZERO.dtype) for part in range(2)]
        return _size(expr, (loads[0]([*index, ends[0]]), loads[0]([*index, ends[1]])))

    def vjp_x(g, x, y):
        scale = where(y == 0.0, 0.0, g / where(y == 0.0, 1.0, y))
        return x * scale.unsqueeze(-1)


class view_as_real(View):
    """view_as_real(x): the parts of complex numbers as a last dimension of size 2, without a copy.

    >>> import lucid
    >>> lucid.view_as_real(lucid.tensor([1 + 2j]))
    tensor([[1., 2.]])
    """

    public = False
    numbered = ()

    def retyped(kind):
        return kind.parts

    def shape(shape):
        return (*shape, 2)

    def strides(shape, strides, offset):
        return (*(2 * s for s in strides), 1), 2 * offset

    def vjp_x(g):
        return view_as_complex(g)


class view_as_complex(View):
    """view_as_complex(x): pairs of real numbers in the last dimension as complex numbers."""

    public = False

    def axis_map(call):
        return call.run((contiguous(call.inputs[0]),), ())

    def retyped(kind):
        return kind.to_complex()

    def shape(shape):
        return shape[:-1]

    def strides(shape, strides, offset):
        if strides[-1] != 1 or any(s % 2 for s in strides[:-1]) or offset % 2:
            return None
        return tuple(s // 2 for s in strides[:-1]), offset // 2

    def vjp_x(g):
        return view_as_real(g)


def spread(x: Any, shape: Sequence[int]) -> Any:
    """Pairs broadcast to a shape of complex numbers."""
    return x if tuple(x.shape) == (*shape, 2) else expand(x, (*shape, 2))
