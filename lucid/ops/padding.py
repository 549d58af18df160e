"""Constant padding, one-hot and normalize: pointwise ops of networks."""

from collections.abc import Sequence

from lucid.dtypes import INTEGER, bool_, int64
from lucid.extent import has_extent
from lucid.kernel import expr
from lucid.op import ERROR_CLASS, Pointwise
from lucid.ops.view import subscript


class pad_constant(Pointwise):
    """x with `before` and `after` elements of one value added to each dimension; negative ones
    cut."""

    public = False

    def names(x, value, *, before, after):
        pass

    def infer(types, params):
        shape, kind, _ = types[0]
        size = tuple(a + n + b for n, a, b in zip(shape, *params, strict=True))
        if any(n < 0 for n in size):
            raise RuntimeError(f"pad: {params} cuts more than there is of shape {shape}")
        return [(size, kind)]

    def element(types, index, loads, before, after):
        shape = types[0][0]
        inside = expr.const(True, bool_)
        inner = []
        for i, n, a, b in zip(index, shape, before, after, strict=True):
            at = i - expr.size(a) if a > 0 else i + expr.size(-a) if a < 0 else i
            fits = expr.const(True, bool_)
            if a > 0:
                fits = fits & (at >= 0)
            if b > 0:
                fits = fits & (at < expr.size(n))
            if a > 0 or b > 0:
                at = expr.where(fits, at, expr.ZERO)
                inside = inside & fits
            inner.append(at)
        x = loads[0](inner)
        if 0 in shape:
            return expr.cast(loads[1](()), x.dtype)
        return expr.where(inside, x, expr.cast(loads[1](()), x.dtype))

    def vjp_x(g, x_meta, before, after):
        n = len(x_meta.shape)
        if all(a >= 0 and b >= 0 for a, b in zip(before, after, strict=True)):
            return subscript(g, before, (1,) * n, tuple(x_meta.shape), ())
        return pad_constant(g, 0.0, tuple(-a for a in before), tuple(-b for b in after))

    def axis_map(call):
        x, value = call.inputs
        if call.batched[1]:
            raise NotImplementedError("vmap: pad with a value of each element of the batch")
        before, after = call.params
        return call.run((x, value), ((0, *before), (0, *after)))


def pad(input, pad: Sequence[int], mode: str = "constant", value: float | None = None):
    """Pad the last dimensions: pad = (last before, last after, second last before, ...).

    mode: "constant" with `value` (0 by default). Negative numbers cut.

    >>> import lucid
    >>> lucid.nn.functional.pad(lucid.ones(2), (1, 2))
    tensor([0., 1., 1., 0., 0.])
    """
    if mode != "constant":
        raise NotImplementedError(f"pad: mode {mode!r} is not supported yet; 'constant' is")
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise RuntimeError(f"pad: {tuple(pad)} does not fit {input.ndim} dimensions")
    before, after = [0] * input.ndim, [0] * input.ndim
    for i in range(len(pad) // 2):
        d = input.ndim - 1 - i
        before[d], after[d] = (n if has_extent(n) else int(n) for n in pad[2 * i : 2 * i + 2])
    if not any(before) and not any(after):
        return input.clone()
    return pad_constant(input, 0 if value is None else value, tuple(before), tuple(after))


class one_hot_(Pointwise):
    """1 where the last index is x, else 0."""

    public = False
    numbered = ()

    def names(x, *, classes):
        pass

    def infer(types, params):
        return [((*types[0][0], params[0]), int64)]

    def element(types, index, loads, classes):
        x = expr.cast(loads[0](index[:-1]), int64)
        good = (x >= 0) & (x < expr.size(classes))
        return expr.cast(index[-1].eq(expr.checked(x, good, ERROR_CLASS, x)), int64)

    def limits(types, params):
        return f" for {params[0]} classes"


def one_hot(x, num_classes: int = -1):
    """int64 zeros (..., C) with a 1 at each class index. Without num_classes C is one more than the
    largest index, for which the indices are read: compiled programs need num_classes. Raises
    RuntimeError for an index outside of [0, C).

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.one_hot(lucid.tensor([0, 2]), 3).tolist()
    [[1, 0, 0], [0, 0, 1]]
    """
    if x.dtype.category != INTEGER:
        raise TypeError(f"one_hot: class indices must be integers, got {x.dtype!r}")
    if num_classes == -1:
        if not x.numel():
            raise RuntimeError("one_hot: num_classes is needed where there is no class index")
        num_classes = max(int(x.max().item()) + 1, 1)
    if num_classes < 1:
        raise RuntimeError(f"one_hot: num_classes must be positive or -1, got {num_classes}")
    return one_hot_(x, num_classes)


def normalize(input, p: float = 2.0, dim: int = 1, eps: float = 1e-12):
    """x / max(norm(x, p), eps) along dim.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.normalize(lucid.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    return input / input.norm(p, dim, True).clamp(min=eps)
