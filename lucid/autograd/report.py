"""`graph_report`: the graphs that are alive, and what they hold, by the user's line.

Called by users looking for a forgotten no_grad or an accumulated loss, as pile.py tells them to.
The Nodes are found through the garbage collector when the report is asked for.
"""

import gc
from dataclasses import dataclass

from lucid.autograd.node import Node, Saved
from lucid.config import settings


@dataclass(frozen=True)
class Group:
    """The live Nodes of one operation on one line."""

    line: str
    operation: str
    nodes: int
    bytes: int  # of the storages that they hold; one held twice counts where it was met first


class GraphReport(tuple[Group, ...]):
    """The groups, those that hold most first; printed as a table."""

    @property
    def nodes(self) -> int:
        """How many Nodes are alive."""
        return sum(group.nodes for group in self)

    @property
    def bytes(self) -> int:
        """How many bytes they hold together."""
        return sum(group.bytes for group in self)

    def __repr__(self) -> str:
        lines = [f"{self.nodes} live nodes hold {self.bytes / 2**20:.2f} MiB"]
        for group in self:
            size = f"{group.bytes / 2**20:.2f} MiB"
            lines.append(f"{size:>14} {group.nodes:>8} nodes  {group.operation:<20} {group.line}")
        if self and not settings.debug:
            lines.append("Nodes made at LUCID_DEBUG=1 or above know their lines.")
        return "\n".join(lines)

    __str__ = __repr__


def graph_report() -> GraphReport:
    """Live Nodes of all graphs, and the bytes they hold, grouped by line and operation.

    Lines are known of Nodes that were made at LUCID_DEBUG >= 1, and of a sample of all others. A
    graph that is alive between two steps of a loop is one that no backward has freed: an evaluation
    without `no_grad`, or a loss that was added up with its history instead of as a number.

    >>> import lucid
    >>> w = lucid.ones(3, requires_grad=True)
    >>> y = w * w
    >>> lucid.autograd.graph_report().nodes >= 1
    True
    """
    counts: dict[tuple[str, str], list[int]] = {}
    seen: set[int] = set()
    for node in gc.get_objects():
        if issubclass(type(node), Node):  # not isinstance, which runs code of foreign objects
            group = counts.setdefault((node.line or "line not kept", node.op.name), [0, 0])
            group[0] += 1
            for kept in node.saved if isinstance(node.saved, tuple) else ():
                if isinstance(kept, Saved) and id(kept.storage) not in seen:
                    seen.add(id(kept.storage))
                    group[1] += kept.storage.nbytes
    groups = [Group(line, name, n, size) for (line, name), (n, size) in counts.items()]
    return GraphReport(sorted(groups, key=lambda g: (-g.bytes, -g.nodes)))
