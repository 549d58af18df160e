"""Sampling at the places of a grid, and grids of affine maps. Jaderberg et al., 2015.

Called as functional.grid_sample and affine_grid. Places and weights of the neighbours are small
tensors made by public ops, so that any order of derivative works; taps.py does the sums.
"""

from itertools import product
from math import prod
from typing import Any

from lucid.dtypes import FLOATING, float64, int64
from lucid.kernel import expr
from lucid.kernel.expr import Expr
from lucid.op import Elementwise, Pointwise
from lucid.ops.contract import matmul
from lucid.ops.join import stack
from lucid.ops.spatial import flat, merged
from lucid.ops.taps import gather_taps
from lucid.ops.view import reshape, subscript

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
CUBIC = -0.75


def _unscaled(u: Expr, n: Expr, align: bool) -> tuple[Expr, Expr]:
    """From [-1, 1] to positions in 0 .. n - 1, and how many of them one unit is."""
    if align:
        return (u + 1.0) / 2.0 * (n - 1.0), (n - 1.0) / 2.0
    return ((u + 1.0) * n - 1.0) / 2.0, n / 2.0


def _bounded(x: Expr, n: Expr, padding: str, align: bool) -> tuple[Expr, Expr]:
    """A position moved into the image, and its derivative."""
    one, none = expr.one(x), expr.zero(x)
    if padding == "zeros":
        return x, one
    slope = one
    if padding == "reflection":
        low = none if align else expr.const(-0.5, x.dtype)
        span = n - 1.0 if align else n
        still = span.eq(none)
        safe = expr.where(still, one, span)
        far = abs(x - low)
        turns = expr.unary("floor", far / safe)
        rest = far - turns * safe
        odd = expr.unary("floor", turns / 2.0) * 2.0 < turns
        slope = expr.where(odd ^ (x < low), -one, one)
        x = expr.where(odd, safe - rest + low, rest + low)
        x, slope = expr.where(still, none, x), expr.where(still, none, slope)
    high = n - 1.0
    inner = (x > 0.0) & (x < high)
    x = expr.where(x > 0.0, expr.where(x < high, x, high), expr.where(expr.isnan(x), x, none))
    return x, expr.where(inner, slope, none)


class grid_position(Elementwise):
    """The position in a dimension of size n for u in [-1, 1], moved into the image."""

    public = False

    def body(b, u, n, *, padding="reflection", align=False):
        x, _ = _unscaled(u, n, align)
        return _bounded(x, n, padding, align)[0]

    def vjp_u(g, u, n, padding, align):
        return g * grid_slope(u, n, padding, align)


class grid_slope(Elementwise):
    """The derivative of grid_position: constant in pieces."""

    public = False

    def body(b, u, n, *, padding="reflection", align=False):
        x, scale = _unscaled(u, n, align)
        return _bounded(x, n, padding, align)[1] * scale


class grid_fraction(Elementwise):
    """x - floor(x), with derivative 1."""

    public = False

    def body(b, x):
        return x - expr.unary("floor", x)

    def vjp_x(g):
        return g


class grid_places(Pointwise):
    """Where the neighbours of positions (N, rank, S) stand in the flattened image, (N, T, S); -1
    outside. shifts: the neighbours along a dimension; nearest: the position is rounded."""

    public = False
    axis_map = staticmethod(merged)

    def names(x, *, shape, shifts, nearest, padding, align):
        pass

    def infer(types, params):
        n, rank, s = types[0][0]
        return [((n, len(params[1]) ** rank, s), int64)]

    def element(types, index, loads, shape, shifts, nearest, padding, align):
        n, t, s = index
        place, good = None, None
        for d, size in enumerate(shape):
            x = loads[0]([n, expr.const(d, int64), s])
            x = expr.unary("rint" if nearest else "floor", x)
            # Neighbour t counts through the dimensions, the last one fastest.
            step = expr.quotient(t, len(shifts) ** (len(shape) - 1 - d))
            step = step - expr.quotient(step, len(shifts)) * len(shifts)
            x = x + expr.cast(step + shifts[0], x.dtype)
            if len(shifts) == 4:  # bicubic neighbours are moved into the image one by one
                x = _bounded(x, expr.cast(expr.size(size), x.dtype), padding, align)[0]
            at = expr.cast(x, int64)
            fits = (at >= 0) & (at < expr.size(size)) & x.eq(x)
            good = fits if good is None else good & fits
            place = at if place is None else place * expr.size(size) + at
        return expr.where(good, place, expr.const(-1, int64))


def _cubic_weights(t: Any) -> list[Any]:
    """Keys' kernel at the distances 1 + t, t, 1 - t, 2 - t."""
    a = CUBIC

    def near(x):
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x):
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return [far(t + 1), near(t), near(1 - t), far(2 - t)]


def _column(x: Any, d: int) -> Any:
    """x[:, d] of (N, S, rank) without the last dimension."""
    n, s, _ = x.shape
    return subscript(x, (0, 0, d), (1, 1, 1), (n, s, 1), (2,))


def grid_sample(
    input, grid, mode: str = "bilinear", padding_mode: str = "zeros",
    align_corners: bool | None = None,
):  # fmt: skip
    """x (N, C, H, W) at the places grid (N, OH, OW, 2) -> (N, C, OH, OW); 3-d likewise.

    The grid's last dimension is (x, y), or (x, y, z), in [-1, 1]: from one edge of the image to
    the other, of its outer pixels' centres with align_corners. mode: "bilinear" (trilinear in
    3-d), "nearest", "bicubic" (2-d). Outside: "zeros", the "border", or its "reflection".

    >>> import lucid
    >>> x = lucid.arange(4.0).reshape(1, 1, 2, 2)
    >>> lucid.nn.functional.grid_sample(x, lucid.zeros(1, 1, 1, 2), align_corners=True).item()
    1.5
    """
    rank = input.ndim - 2
    if rank not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != rank:
        raise RuntimeError(
            f"grid_sample: x (N, C, H, W) with a grid (N, OH, OW, 2), or 3-d likewise, expected; "
            f"got shapes {tuple(input.shape)} and {tuple(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0] or input.dtype is not grid.dtype:
        raise RuntimeError(
            f"grid_sample: batches of {input.shape[0]} and {grid.shape[0]}, dtypes "
            f"{input.dtype!r} and {grid.dtype!r} must agree"
        )
    if input.dtype.category != FLOATING or 0 in input.shape[2:]:
        raise RuntimeError(
            f"grid_sample: floating pixels expected, got {input.dtype!r} {tuple(input.shape)}"
        )
    if mode not in MODES or (mode == "bicubic" and rank == 3):
        raise ValueError(f"grid_sample: mode {mode!r} of {rank} dimensions; of {MODES}")
    if padding_mode not in PADDINGS:
        raise ValueError(f"grid_sample: padding_mode {padding_mode!r} is none of {PADDINGS}")
    align, shape = bool(align_corners), tuple(input.shape[2:])
    places = tuple(grid.shape[1:-1])
    points = reshape(grid, (grid.shape[0], prod(places), rank))
    moved = "zeros" if mode == "bicubic" else padding_mode
    positions = [
        grid_position(_column(points, rank - 1 - d), float(n), moved, align)
        for d, n in enumerate(shape)
    ]
    shifts = {"bilinear": (0, 1), "nearest": (0,), "bicubic": (-1, 0, 1, 2)}[mode]
    together = stack([x.detach() for x in positions], 1)
    index = grid_places(together, shape, shifts, mode == "nearest", padding_mode, align)
    weights = _weights([grid_fraction(x) for x in positions], mode, positions)
    y = gather_taps(flat(input, rank), weights, index)
    return reshape(y, (*input.shape[:2], *places))


def _weights(fractions: list, mode: str, positions: list) -> Any:
    """(N, T, S), in the order of grid_places."""
    if mode == "nearest":
        return stack([positions[0] * 0.0 + 1.0], 1)
    parts = [_cubic_weights(t) if mode == "bicubic" else [1.0 - t, t] for t in fractions]
    made = []
    for choice in product(*parts):
        weight = choice[-1]
        for other in reversed(choice[:-1]):
            weight = weight * other
        made.append(weight)
    return stack(made, 1)


class affine_points(Pointwise):
    """The points of a grid of this shape in [-1, 1], (P, rank + 1): (x, y, .., 1)."""

    public = False

    def names(*, shape, align, kind):
        pass

    def infer(types, params):
        shape, _, kind = params
        return [((prod(shape), len(shape) + 1), kind)]

    def element(types, index, loads, shape, align, kind):
        point, column = index
        made = expr.const(1.0, float64)
        rest = point
        for d in range(len(shape) - 1, -1, -1):
            n = shape[d]
            i = expr.binary("irem", rest, expr.size(n))
            rest = expr.binary("idiv", rest, expr.size(n))
            i, count = expr.cast(i, float64), expr.cast(expr.size(n), float64)
            if n == 1:
                u = expr.const(0.0, float64)
            elif align:
                u = i * 2.0 / (count - 1.0) - 1.0
            else:
                u = (i * 2.0 + 1.0) / count - 1.0
            made = expr.where(column.eq(expr.const(len(shape) - 1 - d, int64)), u, made)
        return expr.cast(made, kind)


def affine_grid(theta, size, align_corners: bool | None = None):
    """The grid for grid_sample that maps an output of `size` by the matrices theta.

    theta (N, 2, 3) and size (N, C, H, W) give (N, H, W, 2); (N, 3, 4) and (N, C, D, H, W) give
    (N, D, H, W, 3).

    >>> import lucid
    >>> theta = lucid.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> lucid.nn.functional.affine_grid(theta, (1, 1, 1, 2), align_corners=True).tolist()
    [[[[-1.0, 0.0], [1.0, 0.0]]]]
    """
    size = tuple(int(n) for n in size)
    rank = len(size) - 2
    if rank not in (2, 3) or tuple(theta.shape) != (size[0], rank, rank + 1):
        raise RuntimeError(
            f"affine_grid: theta of shape {tuple(theta.shape)} does not fit size {size}; "
            "(N, 2, 3) for (N, C, H, W), (N, 3, 4) for (N, C, D, H, W)"
        )
    if min(size) < 1 or theta.dtype.category != FLOATING:
        raise RuntimeError(f"affine_grid: size {size}, theta {theta.dtype!r}")
    points = affine_points(size[2:], bool(align_corners), theta.dtype)
    return reshape(matmul(points, theta.transpose(1, 2)), (size[0], *size[2:], rank))
