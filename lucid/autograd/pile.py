"""Graphs that pile up without a backward pass: noticed on the way, warned of once a line.

apply.py hands one Node in EACH to `look`, going by the number that every Node has anyway. The
Nodes are held weakly, by the user's line; `report.py` gives the details when asked.
"""

import weakref
from typing import Any

from lucid.lines import user_line, warn

EACH = 256  # a power of two
MANY = 128  # Nodes looked at and still alive, of one line: about 32,000 in all
LONE = 8  # one graph that may yet be run backward has so many times as much

_alive: dict[str, list[weakref.ref]] = {}
_limits: dict[str, float] = {}  # of Nodes of a line, where it is not MANY


def look(node: Any) -> None:
    """Count a new Node among those that are alive."""
    node.line = line = user_line()
    limit = _limits.get(line, MANY)
    nodes = _alive.setdefault(line, [])
    if limit == float("inf"):
        return
    nodes.append(weakref.ref(node))
    if len(nodes) < limit:
        return
    nodes[:] = [n for n in nodes if n() is not None]
    if len(nodes) < limit:
        return
    if limit < LONE * MANY and _one_graph_to_run(node, nodes):
        _limits[line] = 2 * limit
        return
    count = len(nodes) * EACH
    _limits[line] = float("inf")
    _alive.pop(line, None)
    warn(
        f"about {count:,} Nodes of graphs that were made at {line} are alive, with the tensors "
        "that they saved, and no backward pass frees them. Evaluate under lucid.no_grad(), and "
        "keep loss.item() or loss.detach() instead of adding up losses with their histories. "
        "lucid.autograd.graph_report() lists what is alive"
    )


def _one_graph_to_run(node: Any, nodes: list[weakref.ref]) -> bool:
    """Whether most of these belong to the newest one's graph, of which nothing was freed: a long
    forward, rather than many."""
    samples = {n for reference in nodes if (n := reference()) is not None}
    if any(n.saved is None for n in samples):
        return False
    seen = {node}
    stack = [node]
    while stack:
        for e in stack.pop().edges:
            if e is not None and hasattr(e[0], "edges") and e[0] not in seen:
                seen.add(e[0])
                stack.append(e[0])
    return 2 * len(samples & seen) > len(samples)
