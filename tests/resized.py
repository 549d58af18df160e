"""Captures for other sizes: what a replay comes to, beside what a trace comes to.

test_compile_dynamic.py and random_programs.py call this. Nothing is planned and nothing runs.
"""

from lucid.compiler.capture import capture
from lucid.compiler.planned import text_of
from lucid.compiler.replay import Unfit, resized
from lucid.compiler.tree import flatten, names_of
from lucid.graph import Graph


def picture(captured):
    """All of a capture that depends on sizes, as a value."""
    c = captured
    numbers = [*c.lates, *[v for _, v in c.seeds], *[v for *_, v in c.offsets], *c.cotangents]
    wanted = [*c.storages, *[v for _, v, _ in c.writes], *[v for v in c.slopes if v is not None]]
    inputs = [*[i.value for i in c.inputs], *numbers]
    graph = Graph(inputs, list(c.graph.equations), wanted).fresh().pruned()
    return (
        text_of(graph, [None] * len(wanted), None) or str(graph),
        [(i.layout, i.shift, i.history, i.cell.layout, i.cell.offset) for i in c.inputs],
        c.layouts,
        [_seen(o) for o in c.outputs],
        [_seen(o) for o in c.every],
        repr(c.result),
        [times for *_, times in c.writes],
        [(o is None, _seen(o)) for _, o in c.gradients],
        [_seen(o) for _, o in c.rewritten],
        [(start, v.dtype) for _, start, v in c.offsets],
        [n for _, n in c.drawn],
        [(_seen(o), lay) for o, lay in c.roots],
    )


def _seen(o):
    if o is None:
        return None
    return (
        o.kind,
        o.chain,
        o.storage,
        o.layout,
        o.offset,
        o.number,
        o.requires,
        o.spent != "",
        o.freed,
    )


def journalled(function, arguments):
    """A trace that can be repeated for other sizes; `.static` says why if it cannot."""
    return capture(function, tuple(arguments), {}, names_of(tuple(arguments), {}))


def repeated(captured, arguments):
    """What a replay for these arguments comes to: (its picture, None), or (None, why it cannot)."""
    leaves, _ = flatten((tuple(arguments), {}))
    try:
        return picture(resized(captured, leaves)), None
    except Unfit as unfit:
        return None, str(unfit)


def traced(function, arguments):
    return picture(capture(function, tuple(arguments), {}))
