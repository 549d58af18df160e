"""Forms: the nests of groups, built once for all groups that are alike.

lower.py asks `form_of`. The blocks of a network have the same kernels; that two groups are alike is
found out in a fraction of the time that building their nests takes.
"""

from copy import copy
from dataclasses import dataclass
from typing import Any

from lucid.kernel import expr
from lucid.kernel.expr import Expr
from lucid.plan import nest
from lucid.plan.fuse import Group, types_of
from lucid.plan.keep import keep
from lucid.plan.nest import Call, Nest

MOST = 4096

_forms: dict[tuple, "Form"] = {}


@dataclass(eq=False, repr=False)
class Form:
    """A group as a nest, or as two (nest.split). Nobody changes these."""

    nest: Nest
    vector: str
    work: int
    halves: tuple[Nest, Nest] | None
    _whole: Call | None = None
    _parts: tuple[Call, Call] | None = None

    def whole(self) -> Call:
        """The kernel of the nest, and its words."""
        if self._whole is None:
            made = copy(self.nest)
            made.arrays = dict(made.arrays)
            if self.vector == "inner":
                keep(made)
            self._whole = nest.finish(made, self.vector)
        return self._whole

    def parts(self) -> tuple[Call, Call]:
        """The kernels of the two halves."""
        if self._parts is None:
            assert self.halves is not None
            first, second = self.halves
            vector = "grid" if second.grid else "none"
            self._parts = nest.finish(first, self.vector), nest.finish(second, vector)
        return self._parts


def form_of(group: Group, name: str, strides: dict[str, tuple[int, ...]]) -> Form:
    """The form of a group whose buffers have these strides."""
    key = key_of(group, name, strides)
    found = _forms.get(key)
    if found is None:
        made, vector = nest.build(group, name, strides)
        work = 1
        for axis in (*made.grid, *made.inner):
            work *= made.extents[axis]
        if len(_forms) >= MOST:
            _forms.clear()
        found = _forms[key] = Form(made, vector, work, nest.split(made, vector))
    return found


def key_of(group: Group, name: str, strides: dict[str, tuple[int, ...]]) -> tuple:
    """All that a nest is built of."""
    roots: list[Expr] = []
    for root in (*group.folds, *group.stores):
        roots += [*root.exprs, *root.index]
    folds = [
        (e.op, e.params, tuple(types_of(e)), len(r.exprs))
        for r in group.folds
        if (e := r.equation) is not None
    ]
    stores = [(r.value.shape, r.value.dtype, r.level, len(r.index)) for r in group.stores]
    reads = [(v.shape, v.dtype) for v in group.reads]
    return (
        name, group.domain, group.dims, group.static, group.fold, tuple(folds), tuple(stores),
        tuple(reads), len(group.numbers), tuple(strides.items()), _text(roots),
    )  # fmt: skip


def _text(roots: list[Expr]) -> tuple:
    """Expressions as a value: equal for trees that are alike, shared parts included."""
    numbers: dict[int, int] = {}
    rows: list[Any] = []
    for node in expr.postorder(roots):
        numbers[id(node)] = len(rows)
        attr = node.attr
        # 0, 0.0, -0.0 and False are equal, and NaN is not: the text of numbers tells.
        mark = attr if type(attr) is str else (type(attr), repr(attr))
        rows.append((node.op, node.dtype, mark, *[numbers[id(a)] for a in node.args]))
    return (*rows, *[numbers[id(root)] for root in roots])
