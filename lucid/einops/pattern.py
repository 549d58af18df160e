"""Patterns of named axes: read, checked against a shape, and carried out.

Called by lucid.einops. A pattern becomes a recipe (reshape, reduce, permute, expand, reshape),
which is kept for the next call with the same pattern and number of dimensions.
"""

import functools
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from lucid.array import Array
from lucid.ops.join import stack

REST = "..."
Reduction = str | Callable[..., Any] | None


class Side(NamedTuple):
    """One side of a pattern: for each dimension the names of its axes."""

    groups: tuple[tuple[str, ...], ...]
    grouped: tuple[bool, ...]  # whether the dimension is written in parentheses


class Recipe(NamedTuple):
    """How a tensor with a known number of dimensions is transformed."""

    groups: tuple[tuple[str, ...], ...]  # the axes that make up each dimension of the input
    reduced: tuple[int, ...]  # numbers of the axes that go
    order: tuple[int, ...]  # of those that are left
    added: tuple[tuple[int, str], ...]  # where new axes come in, and their names
    result: tuple[tuple[str, ...], ...]  # the axes that make up each dimension of the result


def transform(
    kind: str, x: Any, pattern: str, reduction: Reduction, lengths: dict[str, int]
) -> Any:
    """What `rearrange`, `reduce` and `repeat` do."""
    if isinstance(x, list | tuple):
        x = stack(list(x))
    if not isinstance(x, Array):
        raise TypeError(f"{kind}: expected a tensor or a list of them, got {type(x).__name__}")
    shape = tuple(int(n) for n in x.shape)  # type: ignore[attr-defined]
    try:
        recipe = _recipe(kind, pattern, len(shape), tuple(lengths))
        sizes = _sizes(recipe, shape, lengths)
    except ValueError as error:
        raise ValueError(f"{kind}: {error}, in {pattern!r} for shape {shape}") from None
    return _carried_out(x, recipe, sizes, reduction)


def _carried_out(x: Any, recipe: Recipe, sizes: dict[str, int], reduction: Reduction) -> Any:
    apart = [sizes[axis] for group in recipe.groups for axis in group]
    if tuple(apart) != tuple(x.shape):
        x = x.reshape(apart)
    if recipe.reduced:
        x = _reduced(x, recipe.reduced, reduction)
    if recipe.order != tuple(range(len(recipe.order))):
        x = x.permute(recipe.order)
    if recipe.added:
        for place, _ in recipe.added:
            x = x.unsqueeze(place)
        wide = [int(n) for n in x.shape]
        for place, axis in recipe.added:
            wide[place] = sizes[axis]
        x = x.expand(wide)
    together = [math.prod(sizes[axis] for axis in group) for group in recipe.result]
    return x if tuple(together) == tuple(x.shape) else x.reshape(together)


def _reduced(x: Any, dims: tuple[int, ...], reduction: Reduction) -> Any:
    if not isinstance(reduction, str):
        assert reduction is not None
        return reduction(x, dims)
    if reduction == "mean" and not (x.is_floating_point() or x.is_complex()):
        raise TypeError(f"reduce: the mean of {x.dtype!r} is no such number; .float() first")
    if reduction in ("sum", "mean"):
        return getattr(x, reduction)(dims)
    if reduction in ("max", "min"):
        return getattr(x, f"a{reduction}")(dims)
    if reduction in ("prod", "any", "all"):
        for dim in sorted(dims, reverse=True):
            x = getattr(x, reduction)(dim)
        return x
    raise ValueError(f"reduce: {reduction!r} is none of sum, mean, max, min, prod, any, all")


def _sizes(recipe: Recipe, shape: tuple[int, ...], lengths: dict[str, int]) -> dict[str, int]:
    """The size of every axis."""
    known: dict[str, int] = {}
    for axis in (a for group in (*recipe.groups, *recipe.result) for a in group):
        if axis.startswith("#"):  # a number in the pattern
            known[axis] = int(axis.split("#")[1])
    for axis, size in lengths.items():
        if not isinstance(size, int) or size < 0:
            raise ValueError(f"the length {axis}={size!r} is no size")
        known[axis] = size
    for n, group in zip(shape, recipe.groups, strict=True):
        unknown = [axis for axis in group if axis not in known]
        size = math.prod(known[axis] for axis in group if axis in known)
        if len(unknown) > 1:
            raise ValueError(f"the sizes of {' and '.join(unknown)} are not told")
        if unknown:
            if (n % size if size else n) or (size == 0):
                raise ValueError(f"{n} is not a multiple of {size}, for {unknown[0]}")
            known[unknown[0]] = n // size
        elif size != n:
            raise ValueError(f"a dimension of size {n} stands for {_shown(group)} of size {size}")
    for _, axis in recipe.added:
        if axis not in known:
            raise ValueError(f"the size of the new axis {axis} is not told")
    return known


def _shown(group: tuple[str, ...]) -> str:
    return "(" + " ".join(axis.split("#")[1] if "#" in axis else axis for axis in group) + ")"


@functools.lru_cache(512)
def _recipe(kind: str, pattern: str, ndim: int, given: tuple[str, ...]) -> Recipe:
    left, arrow, right = pattern.partition("->")
    if not arrow or "->" in right:
        raise ValueError("a pattern has one '->'")
    before, after = _side(left, "<"), _side(right, ">")
    groups, result = _spread(before, after, ndim)
    axes = [axis for group in groups for axis in group]
    wanted = [axis for group in result for axis in group]
    gone = [axis for axis in axes if axis not in wanted]
    new = [axis for axis in wanted if axis not in axes]
    one_sided = {"rearrange": gone + new, "reduce": new, "repeat": gone}[kind]
    if one_sided:
        shown = ", ".join(axis.split("#")[1] if "#" in axis else axis for axis in one_sided)
        raise ValueError(f"{shown} stands on one side alone")
    strange = [name for name in given if name not in axes and name not in wanted]
    if strange:
        raise ValueError(f"the length of {', '.join(strange)} is given, which no axis is")
    left_over = [axis for axis in axes if axis not in gone]
    order = [left_over.index(axis) for axis in wanted if axis in left_over]
    return Recipe(
        groups,
        tuple(i for i, axis in enumerate(axes) if axis in gone),
        tuple(order),
        tuple((i, axis) for i, axis in enumerate(wanted) if axis in new),
        result,
    )


def _side(text: str, mark: str) -> Side:
    """The dimensions of one side. A number is an axis of its own, named #size#mark and place."""
    groups: list[tuple[str, ...]] = []
    grouped: list[bool] = []
    inside: list[str] | None = None
    seen: set[str] = set()
    tokens = re.findall(r"\.\.\.|[()]|[^\s().]+|\S", text)
    for place, token in enumerate(tokens):
        if token == "(":
            if inside is not None:
                raise ValueError("parentheses stand within parentheses")
            inside = []
        elif token == ")":
            if inside is None:
                raise ValueError("')' has no '('")
            groups.append(tuple(inside))
            grouped.append(True)
            inside = None
        else:
            name = _axis(token, f"{mark}{place}")
            if name in seen:
                raise ValueError(f"{name} stands twice on one side")
            if name is not None:
                seen.add(name)
            axes = () if name is None else (name,)
            if inside is None:
                groups.append(axes)
                grouped.append(False)
            else:
                inside.extend(axes)
    if inside is not None:
        raise ValueError("'(' has no ')'")
    return Side(tuple(groups), tuple(grouped))


def _axis(token: str, place: str) -> str | None:
    """The name of an axis; None for 1, which is none."""
    if token == REST:
        return REST
    if token.isdecimal():
        if int(token) == 0:
            raise ValueError("an axis has the size 0")
        return None if int(token) == 1 else f"#{int(token)}#{place}"
    if not token.isidentifier() or token[0] == "_" or token[-1] == "_":
        raise ValueError(f"{token!r} is no name of an axis")
    return token


def _spread(before: Side, after: Side, ndim: int) -> tuple[tuple, tuple]:
    """The groups of both sides with `...` as axes of its own."""
    has = [any(REST in group for group in side.groups) for side in (before, after)]
    if has[1] and not has[0]:
        raise ValueError("'...' stands on the right alone")
    count = ndim - len(before.groups) + has[0]
    if (not has[0] and count) or count < 0:
        least = len(before.groups) - has[0]
        raise ValueError(f"{least}{' or more' if has[0] else ''} dimensions are expected")
    rest = tuple(f"...{i}" for i in range(count))
    if any(REST in g and p for g, p in zip(before.groups, before.grouped, strict=True)):
        raise ValueError("'...' stands in parentheses on the left")

    def spread(side: Side) -> tuple:
        made: list[tuple[str, ...]] = []
        for group, grouped in zip(side.groups, side.grouped, strict=True):
            if REST not in group:
                made.append(group)
            elif grouped:
                at = group.index(REST)
                made.append((*group[:at], *rest, *group[at + 1 :]))
            else:
                made.extend((axis,) for axis in rest)
        return tuple(made)

    return spread(before), spread(after)
