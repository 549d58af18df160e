"""bands: kernels that follow each other on one batch run batch element by batch element.

planned.py calls it with the steps of a program. Attention is a product, a softmax and a product,
and backwards three products around a fold: each works on the heads one by one, so that one head
can go through all of them while its scores are in the second-level cache. What only such kernels
read is then not in memory at all. Each element is computed by the same code: the bits are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from lucid.kernel import expr
from lucid.lazy import lazy
from lucid.plan import nest
from lucid.plan.form import key_of
from lucid.plan.fuse import Group
from lucid.plan.keep import keep
from lucid.plan.lower import name_of, nbytes, operands_of
from lucid.plan.steps import HEAD, Bound, Operand, Step, bits, nest_step, users_of

_bands = lazy("lucid.backend.cpu.bands")
_threads = lazy("lucid.backend.cpu.threads")

CACHE = 768 << 10  # bytes of all operands of one batch element
LEAST = 1 << 16  # elements touched or multiplied in one: calls cost some hundred of those
MOST = 24  # operands of a step
ALIGN = 64
KEPT = 1024
ROUND = 64  # elements

_alone: dict[tuple, tuple[nest.Call, dict[str, tuple[int | None, ...]], int] | None] = {}


@dataclass(eq=False, repr=False)
class Band:
    """A step for one batch element: its operands lack the batch, along which each moves by `apart`
    elements. made: the values that it writes, by id."""

    step: Step
    apart: list[tuple[int, ...]]
    made: set[int]


@dataclass(eq=False, repr=False)
class Run:
    """Steps from `start` on that may go together."""

    start: int
    batch: tuple[int, ...]
    bands: list[Band]


def bands(context: Any) -> None:
    """Put runs of steps together where that keeps values in the cache."""
    steps: list[Step] = context.steps
    users = users_of(steps)
    result: list[tuple[Step, Group | None]] = []
    i = 0
    while i < len(steps):
        run = _run(context, i)
        joined = None if run is None else _joined(context, run, users)
        if run is None or joined is None:
            result.append((steps[i], context.groups.get(i)))
            i += 1
            continue
        result.append((joined, None))
        i += len(run.bands)
    context.steps = [s for s, _ in result]
    context.groups = {n: g for n, (_, g) in enumerate(result) if g is not None}


def _run(context: Any, start: int) -> Run | None:
    """The longest run that begins with the step, which is a product of a batch."""
    first = context.steps[start]
    if first.band is None:
        return None
    batch = first.operands[first.place].shape[:-2]
    if not 1 <= len(batch) <= _bands.DIMS or prod(batch) < 2 * _threads.get_num_threads():
        return None
    run, last = Run(start, batch, []), 0
    forms: dict[int, tuple] = {}
    touched: set[int] = set()
    for i in range(start, len(context.steps)):
        band = _band(context, i, batch)
        if band is None or len(band.step.operands) > MOST or not _fits(band, forms):
            break
        run.bands.append(band)
        values = {id(o.value) for o in band.step.operands}
        if touched & values:
            last = i - start
        touched |= values
    del run.bands[last + 1 :]
    return run if last else None


def _fits(band: Band, forms: dict[int, tuple]) -> bool:
    """Whether what the band reads of earlier ones is of the same batch element."""
    found = [(id(o.value), (_form(o), o.offset, apart)) for o, apart in _operands(band)]
    for key, form in found:
        if key in band.made:
            forms[key] = form
    return all(forms.get(key, form) == form for key, form in found)


def _form(o: Operand) -> list[tuple[int, int]]:
    """The elements of an operand, whatever the order of its dimensions: (stride, size)."""
    dims = sorted((s, n) for n, s in zip(o.shape, o.strides, strict=True) if n != 1)
    found: list[tuple[int, int]] = []
    for s, n in dims:
        if found and s == found[-1][0] * found[-1][1]:
            s, n = found[-1][0], found.pop()[1] * n
        found.append((s, n))
    return found


def _operands(band: Band) -> list[tuple[Operand, tuple[int, ...]]]:
    return list(zip(band.step.operands, band.apart, strict=True))


def _joined(context: Any, run: Run, users: dict[int, set[int]]) -> Step | None:
    """The run as one step, where it pays. users: by value, the steps that it is an operand of."""
    inside = range(run.start, run.start + len(run.bands))
    made = {key for band in run.bands for key in band.made}
    every = {id(o.value): o for band in run.bands for o in band.step.operands}
    size = sum(prod(o.shape) * o.dtype.itemsize for o in every.values())
    if size > CACHE or sum(band.step.work for band in run.bands) < LEAST:
        return None
    if not any(len(users[key] & set(inside)) > 1 for key in made):
        return None
    local: dict[int, int] = {}
    room = 0
    for key in made:
        o = every[key]
        dense = prod(o.shape) * o.dtype.itemsize == nbytes(o)
        if dense and users[key] <= set(inside) and key not in context.outputs:
            local[key] = room
            room += -(-nbytes(o) // ALIGN) * ALIGN
    outer = {id(o.value): o for i in inside for o in context.steps[i].operands}
    shared = [replace(outer[key], offset=0) for key in every if key not in local]
    numbers = {id(o.value): _bands.FIRST + n for n, o in enumerate(shared)}

    def bind(threads: int) -> list[Bound]:
        parts, most = [], 0
        patches: list[tuple[int, int, int, Sequence[int]]]
        for band in run.bands:
            apart = {id(o): steps for o, steps in _operands(band)}
            for bound in band.step.bind(1):
                words, patches = [*bound.words], [(1, 0, room, ())]
                for word, v in bound.scalars:
                    words[word - HEAD] = bits(v.number, v.dtype)  # type: ignore[arg-type]
                for word, o in bound.pointers:
                    at, size = local.get(id(o.value)), o.dtype.itemsize
                    if at is not None:
                        patches.append((word, 0, at, ()))
                        continue
                    steps = [s * size for s in apart[id(o)]]
                    patches.append((word, numbers[id(o.value)], o.offset * size, steps))
                parts.append(_bands.Part(bound.address, words, patches))
                most = max(most, bound.scratch)
        slot = room + -(-most // ALIGN) * ALIGN
        words = _bands.words_of(run.batch, slot, len(shared), parts)
        pointers = [(_bands.FIRST + n, o) for n, o in enumerate(shared)]
        address = _bands.address(len(shared))
        return [Bound(address, words, pointers, scratch=slot * threads)]

    parts = [band.step for band in run.bands]
    joined = Step("+".join(s.name for s in parts), shared, bind)
    joined.sure = True
    joined.work = sum(context.steps[i].work for i in inside)
    joined.equations = [e for i in inside for e in context.steps[i].equations]
    joined.text = "\n".join([f"for each of {run.batch}:", *[_text(s) for s in parts]])
    return joined


def _text(step: Step) -> str:
    shapes = " ".join(str(o.shape) for o in step.operands)
    return str(step.kernel or f"{step.name} {shapes}\n{step.text}".rstrip())


def _band(context: Any, i: int, batch: tuple[int, ...]) -> Band | None:
    step, group = context.steps[i], context.groups.get(i)
    if step.band is None:
        return None if group is None else _nest_band(context, step, group, batch)
    y = step.operands[step.place]
    found = step.band() if y.shape[:-2] == batch else None
    return None if found is None else Band(found[0], found[1], {id(y.value)})


def _nest_band(context: Any, step: Step, group: Group, batch: tuple[int, ...]) -> Band | None:
    """A loop nest for one point of its first axes."""
    depth = len(batch)
    if group.domain[:depth] != batch or group.static or any(d < depth for d in group.dims):
        return None
    if any(v.number is None for v in group.numbers):
        return None
    operands, strides = operands_of(context, group)
    if {id(o.value) for o in step.operands} != {id(o.value) for o in operands.values()}:
        return None  # one of two kernels that the group became
    key = (key_of(group, name_of(group), strides), depth)
    if key not in _alone:
        if len(_alone) >= KEPT:
            _alone.clear()
        _alone[key] = _for_one(group, operands, strides, depth)
    found = _alone[key]
    if found is None:
        return None
    call, dims, work = found
    apart, inside = {}, {}
    for name, o in operands.items():
        own = [d for d in range(len(o.shape)) if d not in dims[name]]
        shape, left = tuple(o.shape[d] for d in own), tuple(o.strides[d] for d in own)
        inside[name] = Operand(o.value, shape, left, o.dtype, o.offset)
        apart[id(inside[name])] = tuple(0 if d is None else o.strides[d] for d in dims[name])
    one = nest_step(call.kernel, call.words, inside, group.numbers, work)
    return Band(one, [apart[id(o)] for o in one.operands], {id(r.value) for r in group.stores})


def _for_one(
    group: Group, operands: dict[str, Operand], strides: dict[str, tuple[int, ...]], depth: int
) -> tuple[nest.Call, dict[str, tuple[int | None, ...]], int] | None:
    """A group's kernel where the first axes have one point, the dimensions of its operands along
    these axes, and its work. The folds are those of the whole kernel."""
    fold = group.fold
    if fold is None and group.folds:
        fold = nest.fold_of(*nest.build(group, "", strides))
    made = nest.nest_of(group, name_of(group), strides)
    dims = _dims(made, operands, depth)
    if dims is None:
        return None
    for d in range(depth):
        made.extents[f"i{d}"] = 1
    nest.simplify(made, frozenset(fold[1] if fold else ()))
    if fold is None:
        vector = nest.order(made)
    else:
        if sorted(made.inner) != sorted(fold[1]):
            return None
        vector = nest.order(made, fold[0])
        made.inner = list(fold[1])
        if nest.fold_of(made, vector) != fold:
            return None
    if vector == "inner":
        keep(made)
    # Rows of a round length are frequent: a kernel of their own has no loops for what is left over.
    made.static = all(made.extents[a] % ROUND == 0 for a in made.inner)
    work = prod(made.extents[a] for a in (*made.grid, *made.inner))
    return nest.finish(made, vector), dims, work


def _dims(
    made: nest.Nest, operands: dict[str, Operand], depth: int
) -> dict[str, tuple[int | None, ...]] | None:
    """By operand, its dimension along each axis of the batch; None where a place, or what is
    computed, depends on the batch in another way."""
    axes = [f"i{d}" for d in range(depth)]
    roots = nest.expressions(made.stages)
    for node in expr.postorder(roots):
        inside = any(a.op == "index" and a.attr in axes for a in node.args)
        if node.op == "checked" or inside and node.op != "load":
            return None
    values = [s.value for stage in made.stages for s in getattr(stage, "stores", ())]
    values += [v for stage in made.stages for v in getattr(stage, "values", ())]
    if any(v.op == "index" for v in values):
        return None
    found: dict[str, tuple[int | None, ...]] = {}
    for name, subscripts in nest.uses(made.stages):
        places: list[int | None] = [None] * depth
        for d, sub in enumerate(subscripts):
            if sub.op == "index" and sub.attr in axes:
                if places[axes.index(sub.attr)] is not None:  # type: ignore[arg-type]
                    return None
                places[axes.index(sub.attr)] = d  # type: ignore[arg-type]
        if found.setdefault(name, tuple(places)) != tuple(places):
            return None
    return {name: found.get(name, (None,) * depth) for name in operands}
