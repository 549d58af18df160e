"""`vmap`: a function of single elements, mapped over batches in whole ops, not in a loop.

Arguments are taken apart into their tensors here, given to the function as tensors of a BatchLevel
(autograd/batch.py), and its results put together again.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid.array import Array
from lucid.autograd.batch import BatchLevel, to_front
from lucid.autograd.level import outside
from lucid.func.tree import leaves_of, parts_of, rebuilt
from lucid.ops.join import cat
from lucid.ops.shape import movedim

RANDOMNESS = ("error", "different", "same")


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """func, written for one element, over a batch: y[b] = func(x[b]) for every b, in whole ops.

    in_dims: which dimension of each argument counts the elements: an int for all, or a tuple with
    one entry for each argument: an int, None (the same for all elements), or for an argument that
    is a tuple, list or dict of tensors a structure like it. Named arguments are mapped over
    dimension 0. Negative ones count from the end. out_dims: where that dimension is in the results:
    an int for all, or a tuple with one for each result.

    The function sees tensors without that dimension. It runs once, as Python runs it; a value that
    differs from element to element cannot decide what it does: `if x > 0` raises, `where` is for
    that. Writing in place to a tensor of the batch works, views included. Maps nest. Gradients
    flow through to what is outside; inside, `func.grad` and `vjp` take one for each element. An
    autograd Function takes part if it has a static `vmap(info, in_dims, *args)` that returns
    (output, out_dims).

    randomness: what random ops do: "error" raises, "different" draws new numbers for each element,
    those that a loop over the elements would draw, "same" draws them once for each chunk.
    chunk_size: so many elements at a time, to bound memory; func then runs once for each chunk.

    Raises ValueError where in_dims, out_dims or the sizes of the arguments do not fit, TypeError
    where a result is no tensor, RuntimeError or NotImplementedError naming the op where one cannot
    be mapped.

    >>> import lucid
    >>> dots = lucid.func.vmap(lucid.dot)
    >>> dots(lucid.tensor([[1.0, 2.0], [3.0, 4.0]]), lucid.ones(2, 2))
    tensor([3., 7.])
    >>> lucid.func.vmap(lambda x, w: x * w, in_dims=(0, None), out_dims=1)(
    ...     lucid.tensor([1, 2]), lucid.tensor([1, 10, 100]))
    tensor([[  1,   2],
            [ 10,  20],
            [100, 200]])
    """
    if randomness not in RANDOMNESS:
        raise ValueError(f"vmap: randomness must be one of {RANDOMNESS}, got {randomness!r}")
    if chunk_size is not None and (isinstance(chunk_size, bool) or chunk_size < 1):
        raise ValueError(f"vmap: chunk_size must be positive, got {chunk_size!r}")
    name = getattr(func, "__name__", type(func).__name__)

    @functools.wraps(func)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        dims = _for_arguments(name, in_dims, args)
        places: list[tuple[Any, int | None]] = []
        for i, (value, dim) in enumerate(zip(args, dims, strict=True)):
            _collect(f"argument {i} of {name}", value, dim, places)
        for key, value in kwargs.items():
            _collect(f"argument {key} of {name}", value, 0, places)
        size = _size(name, places)

        def run(places: list[tuple[Any, int | None]], size: int) -> Any:
            level = BatchLevel(size, randomness)
            with level:
                leaves = iter([
                    x if d is None else level.wrap(_at_front(level, x, d)) for x, d in places
                ])  # fmt: skip
                given = [rebuilt(a, leaves) for a in args]
                made = func(*given, **{k: rebuilt(v, leaves) for k, v in kwargs.items()})
            return _results(name, level, made, out_dims)

        if chunk_size is None or chunk_size >= size:
            return run(places, size)
        parts = []
        for start in range(0, size, chunk_size):
            n = min(chunk_size, size - start)
            own = [(x if d is None else x.narrow(d, start, n), d) for x, d in places]
            parts.append(run(own, n))
        dims_out = _leaf_dims(parts[0], out_dims)
        columns = zip(*[leaves_of(part) for part in parts], strict=True)
        joined = [c[0] if d is None else cat(c, d) for c, d in zip(columns, dims_out, strict=True)]
        return rebuilt(parts[0], iter(joined))

    return mapped


def _at_front(level: BatchLevel, x: Any, dim: int) -> Any:
    with outside(level):
        return to_front(x, dim)


def _for_arguments(name: str, in_dims: Any, args: tuple) -> tuple:
    if isinstance(in_dims, list):
        in_dims = tuple(in_dims)
    if not isinstance(in_dims, tuple):
        return (in_dims,) * len(args)
    if len(in_dims) != len(args):
        raise ValueError(f"vmap: in_dims {in_dims} is for {len(in_dims)} arguments, {name} was "
                         f"called with {len(args)}")  # fmt: skip
    return in_dims


def _collect(where: str, value: Any, dims: Any, found: list[tuple[Any, int | None]]) -> None:
    """The leaves of an argument, each with its dimension."""
    parts = parts_of(value)
    if parts is None:
        if dims is not None and (isinstance(dims, bool) or not isinstance(dims, int)):
            raise ValueError(f"vmap: in_dims has {dims!r} for {where}, an int or None is needed")
        if dims is not None and not isinstance(value, Array):
            if isinstance(value, (int, float, str, type(None))):
                raise ValueError(
                    f"vmap: {where} is a {type(value).__name__} and has no dimension {dims}; "
                    "its in_dims must be None"
                )
            raise ValueError(f"vmap: {where} is a {type(value).__name__}, not a tensor")
        if isinstance(value, Array) and dims is not None:
            rank = len(value._layout.shape)
            if not -rank <= dims < rank:
                raise ValueError(
                    f"vmap: in_dims has {dims} for {where}, whose shape is {value._layout.shape}"
                )
        found.append((value, dims))
        return
    each = parts_of(dims)
    if isinstance(value, dict) and isinstance(dims, dict):
        if dims.keys() != value.keys():
            raise ValueError(f"vmap: in_dims has keys {list(dims)} for {where}: {list(value)}")
        each = [dims[key] for key in value]
    if each is None:
        each = [dims] * len(parts)
    if len(each) != len(parts):
        raise ValueError(f"vmap: in_dims has {dims!r} for {where}, which has {len(parts)} parts")
    for part, d in zip(parts, each, strict=True):
        _collect(where, part, d, found)


def _size(name: str, places: list[tuple[Any, int | None]]) -> int:
    sizes = {x._layout.shape[d] for x, d in places if d is not None}
    if not sizes:
        raise ValueError(f"vmap: no argument of {name} is mapped: in_dims names no dimension")
    if len(sizes) > 1:
        raise ValueError(f"vmap: the mapped dimensions of {name}'s arguments differ: "
                         f"{sorted(sizes)}")  # fmt: skip
    return sizes.pop()


def _results(name: str, level: BatchLevel, made: Any, out_dims: Any) -> Any:
    """The results as whole batches, their dimension where out_dims says."""
    parts = parts_of(made)
    if parts is None:
        if isinstance(out_dims, (tuple, list)) and len(out_dims) == 1:
            out_dims = out_dims[0]
        return _result(name, level, made, out_dims)
    each = out_dims
    if isinstance(out_dims, dict) and isinstance(made, dict):
        each = [out_dims[key] for key in made]
    elif not isinstance(out_dims, (tuple, list)):
        each = [out_dims] * len(parts)
    if len(each) != len(parts):
        raise ValueError(f"vmap: out_dims {out_dims!r} for {len(parts)} results of {name}")
    leaves = [_results(name, level, part, d) for part, d in zip(parts, each, strict=True)]
    if isinstance(made, dict):
        return type(made)(zip(made, leaves, strict=True))
    return type(made)(*leaves) if hasattr(made, "_fields") else type(made)(leaves)


def _leaf_dims(made: Any, out_dims: Any) -> list[int | None]:
    """out_dims for each leaf of the results, which fit it."""
    parts = parts_of(made)
    if parts is None:
        return [out_dims[0] if isinstance(out_dims, (tuple, list)) else out_dims]
    if isinstance(out_dims, dict):
        out_dims = [out_dims[key] for key in made]
    each = out_dims if isinstance(out_dims, (tuple, list)) else [out_dims] * len(parts)
    return [d for part, dim in zip(parts, each, strict=True) for d in _leaf_dims(part, dim)]


def _result(name: str, level: BatchLevel, y: Any, dim: Any) -> Any:
    if not isinstance(y, Array):
        raise TypeError(f"vmap: {name} returned a {type(y).__name__}, tensors are needed")
    if dim is not None and (isinstance(dim, bool) or not isinstance(dim, int)):
        raise ValueError(f"vmap: out_dims has {dim!r}, an int is needed")
    if dim is None:
        if level.owns(y):
            raise ValueError(f"vmap: out_dims has None for a result of {name} that differs from "
                             "element to element")  # fmt: skip
        return y
    y = level.whole_of(y)
    rank = len(y._layout.shape)
    if not -rank <= dim < rank:
        raise ValueError(f"vmap: out_dims has {dim} for a result of shape {y._layout.shape[1:]}")
    return y if dim % rank == 0 else movedim(y, 0, dim)
