"""epilogues: what is computed element by element from a product is computed where it is stored.

planned.py calls it with the steps of a program. A kernel that folds nothing, and reads a product
that nobody else reads at the very places at which it stores, becomes the product's epilogue: its
expression, in the kernel language, over the sum and whatever else it reads at that place or
broadcasts. The same operations in the same order, so the bits are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lucid.graph import Value
from lucid.kernel import expr
from lucid.kernel.expr import Expr
from lucid.plan.commit import written_by
from lucid.plan.fuse import Group
from lucid.plan.lower import name_of
from lucid.plan.steps import Operand, Step, users_of

# What an expression may not read: places, run-time numbers, folds.
FOREIGN = {"index", "scalar", "load", "word", "size", "folded", "state", "next", "checked"}
Strides = tuple[int, ...]


@dataclass(eq=False, repr=False)
class Tail:
    """An epilogue to be: `value` of arg 0, the product's element in its own type, and arg 1..,
    `others` in theirs; every operand has the product's dimensions."""

    name: str
    value: Expr
    others: list[Operand]
    target: Operand


def epilogues(context: Any, into: dict[int, Value]) -> None:
    """Put kernels into the products before them. into: by output's id, the input it overwrites."""
    steps: dict[int, Step] = dict(enumerate(context.steps))
    users = users_of(context.steps)
    for i in sorted(context.groups):
        found = _found(context, steps, users, into, i)
        if found is None:
            continue
        before, made, others = found
        # As early as possible: the arena holds fewer values at a time.
        late = [k for o in others for k in users[id(o.value)] if before < k < i]
        place = i if any(_writes(steps[k], others) for k in late if k in steps) else before
        del steps[before], steps[i]
        steps[place] = made
        for o in made.operands:
            users[id(o.value)] = users[id(o.value)] - {before, i} | {place}
    order, groups = sorted(steps), context.groups
    context.groups = {
        n: groups[i] for n, i in enumerate(order) if i in groups and steps[i] is context.steps[i]
    }
    context.steps = [steps[i] for i in order]


def _found(
    context: Any,
    steps: dict[int, Step],
    users: dict[int, set[int]],
    into: dict[int, Value],
    i: int,
) -> tuple[int, Step, list[Operand]] | None:
    """The number of the product that a kernel goes into, the two as one, and what that reads."""
    group = context.groups[i]
    if group.folds or len(group.stores) != 1:
        return None
    target = into.get(id(group.stores[0].value))
    if target is not None and any(context.operand(v).value is target for v in group.reads):
        return None  # which the kernel does in place
    for value in group.reads:
        y = context.operand(value)
        others = users[id(y.value)] - {i}
        first = steps.get(min(others, default=-1))
        if (
            len(others) != 1
            or first is None
            or first.absorb is None
            or id(y.value) in context.outputs
        ):
            continue
        if y.value is not first.operands[first.place].value:
            continue
        tail = _tail(context, group, first.operands[first.place], y)
        made = None if tail is None else first.absorb(tail)
        if tail is not None and made is not None:
            made.equations = (*first.equations, *group.equations())
            return min(others), made, tail.others
    return None


def _writes(step: Step, operands: Sequence[Operand]) -> bool:
    made = written_by(step)
    return any(id(o.value) in made for o in operands)


def _tail(context: Any, group: Group, product: Operand, y: Operand) -> Tail | None:
    """The group as an expression over the dimensions of a product."""
    root = group.stores[0]
    if root.level != "full" or y.offset != product.offset:
        return None
    target = context.own(root.value)
    operands = [context.operand(v) for v in group.reads]
    places: dict[int, Strides] = {}  # by read: its strides along the group's axes
    for v, index in group.loads:
        n = next(i for i, read in enumerate(group.reads) if read is v)
        strides = _along(group, operands[n], index)
        if strides is None or places.setdefault(n, strides) != strides:
            return None
    parts = _dimensions(
        group, product, [places[n] for n, v in enumerate(operands) if v.value is product.value]
    )
    if parts is None:
        return None
    args: dict[str, Expr] = {}
    others: list[Operand] = []
    for n, operand in enumerate(operands):
        if operand.value is product.value:
            args[f"x{n}"] = Expr("arg", (), operand.dtype, 0)
            continue
        joined = _joined(group, operand, places[n], product, parts)
        if joined is None:
            return None
        others.append(joined)
        args[f"x{n}"] = Expr("arg", (), operand.dtype, len(others))
    joined = _joined(group, target, _along(group, target, root.index), product, parts)
    if joined is None:
        return None
    numbers = {f"s{n}": v for n, v in enumerate(group.numbers)}

    def rule(node: Expr) -> Expr | None:
        if node.op == "load":
            return args[node.attr]  # type: ignore[index]
        if node.op == "scalar" and numbers[node.attr].number is not None:  # type: ignore[index]
            return expr.const(numbers[node.attr].number, node.dtype)  # type: ignore[arg-type, index]
        return None

    value = expr.rewrite([expr.cast(root.exprs[0], root.value.dtype)], rule)[0]
    if any(node.op in FOREIGN for node in expr.postorder([value])):
        return None
    return Tail(name_of(group), value, others, joined)


def _along(group: Group, operand: Operand, index: Sequence[Expr]) -> Strides | None:
    """Strides along the axes of the group, where each subscript is an axis or nothing."""
    strides = [0] * len(group.axes)
    for sub, s in zip(index, operand.strides, strict=True):
        axis = next((d for d, a in enumerate(group.axes) if a is sub), None)
        if axis is not None:
            strides[axis] += s
        elif sub.op != "const" or sub.attr != 0:
            return None
    return tuple(strides)


def _dimensions(group: Group, product: Operand, reads: Sequence[Strides]) -> list[list[int]] | None:
    """The axes of the group that make up each dimension of the product, in order."""
    if len(set(reads)) != 1:
        return None
    strides, parts = reads[0], []
    left = {d for d, n in enumerate(group.domain) if n != 1}
    for n, s in zip(product.shape, product.strides, strict=True):
        inside = (
            [d for d in left if s <= strides[d] < s * n and strides[d] % s == 0] if n > 1 else []
        )
        inside.sort(key=lambda d: -strides[d])
        left -= set(inside)
        step = s
        for d in reversed(inside):
            if strides[d] != step:
                return None
            step *= group.domain[d]
        if step != s * n:
            return None
        parts.append(inside)
    return None if left else parts


def _joined(
    group: Group,
    operand: Operand,
    strides: Strides | None,
    product: Operand,
    parts: list[list[int]],
) -> Operand | None:
    """The operand with the dimensions of the product; None where its strides do not allow it."""
    if strides is None:
        return None
    found = []
    for axes in parts:
        for outer, inner in zip(axes, axes[1:], strict=False):
            if strides[outer] != strides[inner] * group.domain[inner]:
                return None
        found.append(strides[axes[-1]] if axes else 0)
    return Operand(operand.value, product.shape, tuple(found), operand.dtype, operand.offset)
