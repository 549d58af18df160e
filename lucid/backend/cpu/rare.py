"""Values that are seldom needed: what only `where(condition, x, y)` nodes marked "rare" use.

stages.py asks `grouped` for the innermost loop of a stage and jumps over a group where no lane's
condition is true. The vector math marks the reduction of large trigonometric arguments so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lucid.kernel.expr import Expr

# What may not move behind a branch: it reads memory or reports errors.
FIXED = frozenset(("read", "guarded", "checked"))


@dataclass
class Rare:
    """Choices with one condition, and the nodes that only their second arguments need."""

    condition: Expr
    choices: list[Expr]
    nodes: list[Expr]


Item = Expr | Rare


def grouped(nodes: Sequence[Expr], roots: Iterable[Expr], users: Iterable[Expr]) -> list[Item]:
    """The nodes in an order of emission, rare ones in groups. `users` are all nodes of the stage,
    these among them; `roots` are what the stage itself needs."""
    choices: dict[int, list[Expr]] = {}
    for node in nodes:
        if node.op == "where" and node.attr == "rare":
            choices.setdefault(id(node.args[0]), []).append(node)
    if not choices:
        return list(nodes)
    used: dict[int, list[Expr]] = {}
    for user in users:
        for a in user.args:
            used.setdefault(id(a), []).append(user)
    wanted = {id(x) for x in roots}
    home: dict[int, Rare] = {}  # of a choice or of a node within
    for same in choices.values():
        group = Rare(same[0].args[0], same, [])
        members = {id(c) for c in same}
        inside: set[int] = set()
        for node in reversed(nodes):
            if id(node) in wanted or id(node) in members or node.op in FIXED or id(node) in home:
                continue
            if all(
                id(u) in inside
                or (id(u) in members and node is not u.args[0] and node is not u.args[2])
                for u in used.get(id(node), ())
            ):
                inside.add(id(node))
                group.nodes.insert(0, node)
        home |= {id(x): group for x in (*same, *group.nodes)}
    return _ordered(nodes, home)


def _ordered(nodes: Sequence[Expr], home: dict[int, Rare]) -> list[Item]:
    """Every node or group after what it needs; the nodes alone if groups need each other."""
    known = {id(n) for n in nodes}
    placed: set[int] = set()
    result: list[Item] = []
    for start in nodes:
        stack: list[tuple[Item, bool]] = [(home.get(id(start), start), False)]
        open_: set[int] = set()
        while stack:
            item, ready = stack.pop()
            if ready:
                open_.discard(id(item))
                if id(item) not in placed:
                    placed.add(id(item))
                    result.append(item)
                continue
            if id(item) in placed:
                continue
            if id(item) in open_:
                return list(nodes)
            open_.add(id(item))
            stack.append((item, True))
            inner = [*item.choices, *item.nodes] if isinstance(item, Rare) else [item]
            for node in inner:
                for a in node.args:
                    needed = home.get(id(a), a)
                    if id(a) in known and needed is not item and id(needed) not in placed:
                        stack.append((needed, False))
    return result
