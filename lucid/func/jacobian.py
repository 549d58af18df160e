"""`jacrev`, `jacfwd`, `hessian`: whole Jacobians, all rows or columns in one mapped pass."""

import functools
from collections.abc import Callable
from typing import Any

from lucid.autograd.batch import BatchLevel
from lucid.autograd.level import moved
from lucid.func import tree
from lucid.func.forward import pushed
from lucid.func.reverse import taped
from lucid.ops.creation import eye, zeros
from lucid.ops.join import cat


def jacrev(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """The function that gives the Jacobian of func by reverse mode: dy[i] / dx[j] at [i, j], where
    i are the dimensions of the output y and j those of the argument x.

    argnums: which argument, or arguments (then a tuple). Where output or arguments are nests, the
    result is a nest like the output of nests like the arguments. has_aux: func returns (y, aux),
    the result is (Jacobian, aux). chunk_size: so many elements of the output at a time; all by
    default. Reverse mode takes a pass for each element of the output: use it where there are fewer
    of these than inputs, `jacfwd` otherwise.

    >>> import lucid
    >>> lucid.func.jacrev(lambda x: x ** 2)(lucid.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if chunk_size is not None and (isinstance(chunk_size, bool) or chunk_size < 1):
        raise ValueError(f"jacrev: chunk_size must be positive, got {chunk_size!r}")

    @functools.wraps(func)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        tape, y, aux = taped("jacrev", func, argnums, has_aux, args, kwargs)
        ys = tree.tensors_of("jacrev", "the function's result", y, False)
        create = tape.reaches_outside(ys)
        total = sum(v.numel() for v in ys)
        size = chunk_size or max(total, 1)
        parts = []
        for start in range(0, max(total, 1), size):
            rows = min(size, total - start)
            gs = _rows(ys, start, rows, total)
            parts.append(tape.gradients(ys, gs, True, create, (rows,)))
        blocks = [p[0] if len(p) == 1 else cat(p) for p in zip(*parts, strict=True)]
        if create:
            blocks = tape.lasting(blocks)
        results, start = [], 0
        for v in ys:
            n = v.numel()
            own = [
                b[start : start + n].reshape(*v._layout.shape, *b._layout.shape[1:]) for b in blocks
            ]
            made = tree.like(tape.nest, own)
            results.append(made if isinstance(argnums, tuple) else made[0])
            start += n
        jacobian = tree.like(y, results)
        return (jacobian, tape.lasting(aux)) if has_aux else jacobian

    return differentiated


def _rows(ys: list[Any], start: int, rows: int, total: int) -> list[Any]:
    """Rows start .. start + rows of the identity, cut into cotangents of the outputs."""
    gs, at = [], 0
    for y in ys:
        n = y.numel()
        block = zeros(rows, n, dtype=y._layout.dtype)
        first, last = max(start, at), min(start + rows, at + n)
        if first < last:
            block[first - start : last - start, first - at : last - at] = eye(
                last - first, dtype=y._layout.dtype
            )
        gs.append(block.reshape(rows, *y._layout.shape))
        at += n
    return gs


def jacfwd(
    func: Callable[..., Any],
    argnums: int | tuple[int, ...] = 0,
    has_aux: bool = False,
    *,
    randomness: str = "error",
) -> Callable[..., Any]:
    """The function that gives the Jacobian of func by forward mode; the result is as of `jacrev`.

    func runs once, with a tangent for each element of the arguments, so use it where there are
    fewer of these than elements of the output. randomness: as for `vmap`.

    >>> import lucid
    >>> lucid.func.jacfwd(lambda x: x.sum() * x)(lucid.tensor([1.0, 2.0]))
    tensor([[4., 1.],
            [2., 5.]])
    """

    @functools.wraps(func)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        places = tree.chosen("jacfwd", argnums, len(args))
        primals = tuple([args[i] for i in places])
        xs = tree.tensors_of("jacfwd", "an argument that is differentiated", primals)
        total = sum(x.numel() for x in xs)
        rows = _rows(xs, 0, total, total)
        level = BatchLevel(total, randomness)

        def run(*own: Any) -> Any:
            given = list(args)
            for i, value in zip(places, own, strict=True):
                given[i] = value
            return func(*given, **kwargs)

        with level:
            tangents = tree.like(primals, [level.wrap(t) for t in rows])
            y, ts, aux = pushed("jacfwd", run, primals, tangents, False, has_aux)
        columns = [level.whole_of(t) for t in tree.leaves_of(ts)]
        results = []
        for t in columns:
            own, start = [], 0
            for x in xs:
                part = t[start : start + x.numel()]
                start += x.numel()
                shape = part._layout.shape[1:]
                part = moved(part, 0, len(shape))
                own.append(part.reshape(*shape, *x._layout.shape))
            made = tree.like(primals, own)
            results.append(made if isinstance(argnums, tuple) else made[0])
        jacobian = tree.like(y, results)
        return (jacobian, tree.mapped(_whole(level), aux)) if has_aux else jacobian

    return differentiated


def _whole(level: BatchLevel) -> Callable[[Any], Any]:
    """What the function gives beside: it is the same for all directions."""

    def whole(x: Any) -> Any:
        if level.owns(x):
            raise RuntimeError("jacfwd: aux draws different random numbers for each direction")
        return x

    return whole


def hessian(func: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that gives all second derivatives of func, forward over reverse: a nest for each
    argument of nests for each argument where argnums is a tuple.

    >>> import lucid
    >>> lucid.func.hessian(lambda x: (x ** 3).sum())(lucid.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)
