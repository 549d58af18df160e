"""The cells of recurrent networks as loop nests: one time step, forward and backward.

recurrent.py walks the time steps with them. A cell sees what its matrix products give: z from the
input, q from the state before. Gates lie side by side in the last dimension, in PyTorch's order.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.kernel.loops import Axis, Map, Stage, Store
from lucid.plan.nest import Array, Nest, array_of, step
from lucid.plan.steps import Operand, Step


@dataclass(frozen=True)
class Cell:
    """`gates`: blocks of z. `kept`: blocks that the backward pass reads again.

    forward(at) -> (h, c, kept blocks); backward(at) -> (blocks of dz, blocks of dq, dc before, dh
    before beside what the product with the weight gives); None where a cell has no such thing.
    `at` reads: at("z", k) is block k of an operand; at("passed") is c, in a second pass along
    the row: a processor then works on several vectors of each pass at once.
    """

    gates: int
    kept: int  # of which the last belongs to the second pass, where there are two
    forward: Callable[["Reader"], tuple]
    backward: Callable[["Reader"], tuple]


Reader = Callable[..., Expr]


def _sigmoid(x: Expr) -> Expr:
    return 1.0 / (math("exp", -x) + 1.0)


def _lstm(at: Reader) -> tuple:
    """Hochreiter and Schmidhuber, 1997; the forget gate is Gers's, 2000."""
    i, f = (_sigmoid(at("z", k) + at("q", k)) for k in (0, 1))
    g = math("tanh", at("z", 2) + at("q", 2))
    c = f * at("c") + i * g
    # Waits for c, through all of its functions: in a pass of its own along the row.
    o = _sigmoid(at("z", 3) + at("q", 3))
    return o * math("tanh", at("passed")), c, (i, f, g, o)


def _lstm_back(at: Reader) -> tuple:
    i, f, g, o = (at("kept", k) for k in range(4))
    t = math("tanh", at("cell"))
    dh = at("dh")
    dc = at("dc") + dh * o * (1.0 - t * t)
    blocks = (
        dc * g * i * (1.0 - i),
        dc * at("c") * f * (1.0 - f),
        dc * i * (1.0 - g * g),
        dh * t * o * (1.0 - o),
    )
    return blocks, None, dc * f, None


def _gru(at: Reader) -> tuple:
    """Cho et al., 2014, with the reset after the product, as cuDNN has it."""
    r, u = (_sigmoid(at("z", k) + (at("q", k) + at("b", k))) for k in (0, 1))
    m = at("q", 2) + at("b", 2)
    n = math("tanh", at("z", 2) + r * m)
    return n + u * (at("h") - n), None, (r, u, n, m)


def _gru_back(at: Reader) -> tuple:
    r, u, n, m = (at("kept", k) for k in range(4))
    dh = at("dh")
    dn = dh * (1.0 - u) * (1.0 - n * n)
    dr = dn * m * r * (1.0 - r)
    du = dh * (at("h") - n) * u * (1.0 - u)
    return (dr, du, dn), (dr, du, dn * r), None, dh * u


def _plain(activation: Callable[[Expr], Expr]) -> Callable[[Reader], tuple]:
    """Elman, 1990."""
    return lambda at: (activation(at("z", 0) + at("q", 0)), None, ())


def _tanh_back(at: Reader) -> tuple:
    y = at("y")
    return (at("dh") * (1.0 - y * y),), None, None, None


def _relu(x: Expr) -> Expr:
    return expr.where(x <= 0.0, expr.zero(x), x)


def _relu_back(at: Reader) -> tuple:
    dh = at("dh")
    return (expr.where(at("y") <= 0.0, expr.zero(dh), dh),), None, None, None


CELLS = {
    "lstm": Cell(4, 4, _lstm, _lstm_back),
    "gru": Cell(3, 4, _gru, _gru_back),
    "tanh": Cell(1, 0, _plain(lambda x: math("tanh", x)), _tanh_back),
    "relu": Cell(1, 0, _plain(_relu), _relu_back),
}


class _Builder:
    """A nest over (B, H) whose operands have blocks of H in their last dimension."""

    def __init__(self, name: str, shape: tuple[int, int], operands: dict[str, Operand]):
        self.name, self.shape, self.operands = name, shape, operands
        self.roles: dict[str, str] = {}
        self.stores: list[Store] = []
        self.row, self.column = expr.index("i0"), expr.index("i1")
        self.earlier: list[Store] = []  # of a first pass along the row

    def place(self, name: str, block: int) -> tuple[Expr, ...]:
        if name == "inside":
            return (self.row,)
        column = self.column
        if block:
            column = column + expr.size(block * self.shape[1])
        return (self.row, column) if len(self.operands[name].shape) == 2 else (column,)

    def read(self, name: str, block: int = 0) -> Expr:
        if name == "passed":
            return expr.load(name, (self.column,), self.operands["c"].dtype)
        self.roles[name] = "in"
        return expr.load(name, self.place(name, block), self.operands[name].dtype)

    def write(self, name: str, value: Expr, block: int = 0) -> None:
        """Where there is such an operand. What is read too is read before, at the same element."""
        if name in self.operands:
            self.roles[name] = "out" if self.roles.get(name, "out") == "out" else "inout"
            self.stores.append(Store(name, self.place(name, block), value))

    def next_pass(self, value: Expr) -> None:
        """The stores so far are a pass along the row; the next one reads `value` as "passed"."""
        self.earlier = [*self.stores, Store("passed", (self.column,), value)]
        self.stores = []

    def step(self) -> Step:
        used = {n: self.operands[n] for n in self.roles}
        arrays = {n: array_of(n, o, self.roles[n]) for n, o in used.items()}
        sizes = {"i0": self.shape[0], "i1": self.shape[1]}
        if self.earlier:
            kind = self.operands["c"].dtype
            arrays["passed"] = Array("passed", kind, self.shape[1:], (1,), "local")
            axis = (Axis("i1", expr.ZERO),)
            stages: list[Stage] = [Map(axis, tuple(s)) for s in (self.earlier, self.stores)]
            return step(Nest(self.name, arrays, sizes, ["i0"], ["i1"], stages, []), "inner", used)
        nest = Nest(self.name, arrays, sizes, ["i0", "i1"], [], [Map((), tuple(self.stores))], [])
        return step(nest, "grid", used)


def forward_step(kind: str, shape: tuple[int, int], operands: dict[str, Operand]) -> Step:
    """One cell: z, q, b, inside; h and c, the state, before and after; and where they are given
    y, again the state, cell, again c, and kept, for the way back. A sequence that has ended
    (`inside` is false) keeps its state."""
    made = _Builder(f"{kind}_cell", shape, operands)
    h, c, kept = CELLS[kind].forward(made.read)
    fresh = c
    if "inside" in operands:
        there = made.read("inside")
        h = expr.where(there, h, made.read("h")) if "raw" not in operands else h
        c = None if c is None else expr.where(there, c, made.read("c"))
    last = len(kept)
    if c is not None:
        made.write("c", c)
        made.write("cell", c)
        last -= 1
        for k, value in enumerate(kept[:last]):
            made.write("kept", value, k)
        made.next_pass(fresh)
    for name in ("raw",) if "raw" in operands else ("h", "y"):
        made.write(name, h)
    for k, value in enumerate(kept):
        if c is None or k == last:
            made.write("kept", value, k)
    return made.step()


def project_step(shape: tuple[int, int], operands: dict[str, Operand]) -> Step:
    """h and y = x, the projected state; a sequence that has ended keeps its state."""
    made = _Builder("projected_state", shape, operands)
    h = made.read("x")
    if "inside" in operands:
        h = expr.where(made.read("inside"), h, made.read("h"))
    made.write("h", h)
    made.write("y", h)
    return made.step()


def _state_back(made: _Builder) -> Expr:
    """The cotangent of the state: from above, from the step after, and beside its product."""
    dh = made.read("g")
    for name in ("rec", "carry"):
        dh = dh + made.read(name) if name in made.operands else dh
    return dh


def backward_step(kind: str, shape: tuple[int, int], operands: dict[str, Operand]) -> Step:
    """One cell backward: g, rec, carry and dc, cotangents of the state; h, c, cell, y, kept, what
    the forward had. Writes dz, dq, and dc and carry for the step before."""
    made = _Builder(f"{kind}_cell_back", shape, operands)
    dh = _state_back(made)

    def at(name: str, block: int = 0) -> Expr:
        return dh if name == "dh" else made.read(name, block)

    dz, dq, dc, carry = CELLS[kind].backward(at)
    if "inside" in operands:
        there = made.read("inside")
        dz = tuple(expr.where(there, v, expr.zero(v)) for v in dz)
        dq = None if dq is None else tuple(expr.where(there, v, expr.zero(v)) for v in dq)
        dc = None if dc is None else expr.where(there, dc, made.read("dc"))
        carry = expr.where(there, expr.zero(dh) if carry is None else carry, dh)
    for name, blocks in (("dz", dz), ("dq", dq or ())):
        for k, value in enumerate(blocks):
            made.write(name, value, k)
    if dc is not None:
        made.write("dc", dc)
    if carry is not None:
        made.write("carry", carry)
    return made.step()


def unproject_step(shape: tuple[int, int], operands: dict[str, Operand]) -> Step:
    """dh, the cotangent of a projected state, 0 where a sequence has ended: carry has it then."""
    made = _Builder("projected_state_back", shape, operands)
    dh = _state_back(made)
    if "inside" in operands:
        there = made.read("inside")
        made.write("carry", expr.where(there, expr.zero(dh), dh))
        dh = expr.where(there, dh, expr.zero(dh))
    made.write("dh", dh)
    return made.step()


def add_step(shape: tuple[int, int], operands: dict[str, Operand]) -> Step:
    """y += x."""
    made = _Builder("state_total", shape, operands)
    made.write("y", made.read("y") + made.read("x"))
    return made.step()
