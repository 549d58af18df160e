"""Putting values in the place of others: what every pass does in the end."""

from lucid.graph import Graph, Value


class Replacement:
    """Values that others stand for from now on."""

    def __init__(self) -> None:
        self.by: dict[int, Value] = {}
        self.held: list[Value] = []  # so that ids stay theirs

    def put(self, old: Value, new: Value) -> None:
        """`new` in the place of `old`."""
        self.by[id(old)] = new
        self.held.append(old)
        new.whole = new.whole or old.whole

    def of(self, v: Value) -> Value:
        """What stands for a value."""
        return self.by.get(id(v), v)

    def outputs(self, graph: Graph) -> None:
        graph.outputs = [self.of(v) for v in graph.outputs]
