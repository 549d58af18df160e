"""Kernel expressions made ready for emission: shared, levelled, with addresses instead of loads.

stages.py lowers each stage with a `Lowering`. A node's depth is the innermost loop that it depends
on: 0 the call, 1 the row of the grid, then the lane loop of a grid kernel, then the inner axes.
Each node is emitted where its loop begins. A node is `wide` if its lanes differ.

Node kinds made here: `base` (a buffer's address), `step` (address + offset), `start` (the lane
axis' position in lane 0), `lane` (its position in each lane), `ramp` (0, s, 2s, ... in lanes),
`splat`, and `read`, whose attribute is (buffer, mode) with mode
  uniform     one element for all lanes;          args (address)
  contiguous  lanes side by side;                 args (address)
  strided     lanes s elements apart;             args (address, ramp, s)
  gather      lanes anywhere;                     args (address, offsets)

`guarded` is a `read` of some lanes only, a mask being its last argument: what a choice between
places, or between what is read and something else, comes to. The attribute ends with whether such
lanes are few in most vectors.
"""

from collections.abc import Callable, Sequence

from lucid.dtypes import bool_, dtype, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Buffer

UNIFORM, CONTIGUOUS, STRIDED, GATHER = "uniform", "contiguous", "strided", "gather"


class Table:
    """Nodes by structure: equal computations become one node."""

    def __init__(self) -> None:
        self.nodes: dict[tuple, Expr] = {}

    def make(
        self, op: str, args: tuple[Expr, ...], kind: dtype = int64, attr: object = None
    ) -> Expr:
        # repr tells 0.0 from -0.0, and True from 1
        key = (op, kind.name, repr(attr), *(id(a) for a in args))
        found = self.nodes.get(key)
        if found is None:
            found = self.nodes[key] = Expr(op, args, kind, attr)
        return found

    def number(self, value: int) -> Expr:
        return self.make("const", (), int64, value)

    def add(self, a: Expr, b: Expr) -> Expr:
        if a.op == "const":
            a, b = b, a
        if b.op == "const":
            if b.attr == 0:
                return a
            if a.op == "const":
                return self.number(e.const(a.attr + b.attr, int64).attr)
        return self.make("add", (a, b))

    def mul(self, a: Expr, b: Expr) -> Expr:
        if a.op == "const":
            a, b = b, a
        if b.op == "const":
            if b.attr in (0, 1):
                return b if b.attr == 0 else a
            if a.op == "const":
                return self.number(e.const(a.attr * b.attr, int64).attr)
        return self.make("mul", (a, b))


class Lowering:
    """One stage's expressions in the loops `depths` (axis name to depth), lanes along `lane`.

    `entry` is the depth at which the stage starts; `written` are the buffers that it stores to.
    """

    def __init__(
        self,
        table: Table,
        buffers: dict[str, Buffer],
        depths: dict[str, int],
        lane: str | None,
        entry: int,
        innermost: int,
        wide_state: bool,
        block: int,
        hoist: bool,
        row: str = "",
    ):
        self.table = table
        self.buffers = buffers
        self.depths = depths
        self.lane = lane
        self.row = row  # the last grid axis, of which `advance` takes note
        self.entry = entry
        self.innermost = innermost
        self.wide_state = wide_state  # states and folded values differ between lanes
        self.block = block  # grid points that share a thread's local buffers
        self.hoist = hoist  # whether reads may leave the innermost loop
        self.written: set[str] = set()
        self.early: set[str] = set()  # buffers that may be read before the stage starts
        self.moving: set[str] = set()  # local buffers of which each row has its own part
        self.depth: dict[int, int] = {}
        self.wide: dict[int, bool] = {}
        self.many: dict[int, bool] = {}  # wide, and different in each vector of an unrolled loop
        self.order: list[Expr] = []
        self.mapping: dict[int, Expr] = {}
        self.advance: dict[int, tuple[str, Expr]] = {}  # id(address) -> buffer, step to next row
        self._keep: list[Expr] = []

    def lower(self, root: Expr, replace: Callable[[Expr], Expr | None] | None = None) -> Expr:
        """The node to emit for `root`; `replace` may map a leaf to a lowered node."""
        self._keep.append(root)
        for node in e.postorder([root]):
            if id(node) in self.mapping:
                continue
            made = replace(node) if replace else None
            if made is None:
                made = self._lower(node, tuple(self.mapping[id(a)] for a in node.args))
            self.mapping[id(node)] = made
        return self.mapping[id(root)]

    def _lower(self, node: Expr, args: tuple[Expr, ...]) -> Expr:
        if node.op == "load":
            made = self._chosen(node, args)
            return self._load(node, args) if made is None else made
        if node.op == "where" and node.args[1].op == "load" and self.wide[id(args[0])]:
            made = self._guarded(node.args[1], args[0])
            args = args if made is None else (args[0], made, args[2])
        if node.op == "index":
            return self.note(
                self.table.make("lane" if node.attr == self.lane else "index", (), int64, node.attr)
            )
        return self.node(node.op, args, node.dtype, node.attr)

    def node(
        self, op: str, args: tuple[Expr, ...], kind: dtype = int64, attr: object = None
    ) -> Expr:
        """A node whose arguments are all wide or all uniform."""
        if any(self.wide[id(a)] for a in args):
            args = tuple(self.widen(a) for a in args)
        return self.note(self.table.make(op, args, kind, attr))

    def widen(self, x: Expr) -> Expr:
        if self.wide[id(x)]:
            return x
        return self.note(self.table.make("splat", (x,), x.dtype))

    def note(self, node: Expr) -> Expr:
        """Give a node its depth, and put it in the order of emission."""
        key = id(node)
        if key in self.depth:
            return node
        for a in node.args:
            self.note(a)
        depth = max((self.depth[id(a)] for a in node.args), default=0)
        wide = any(self.wide[id(a)] for a in node.args)
        many = any(self.many[id(a)] for a in node.args)
        op = node.op
        if op in ("index", "start", "lane"):
            depth = self.depths[node.attr]
            wide = many = op == "lane"
        elif op == "folded":
            depth, wide = self.entry, self.wide_state
            many = wide
        elif op == "state":
            depth, wide = self.innermost, self.wide_state
            many = wide
        elif op in ("splat", "ramp"):
            wide = True
        elif op == "base" and node.attr in self.moving:
            depth = self.entry
        elif op in ("read", "guarded"):
            buffer, mode = node.attr[:2]
            wide = many = mode != UNIFORM or op == "guarded"
            if wide and self.lane is not None:
                depth = max(depth, self.depths[self.lane])
            if buffer in self.written or not self.hoist:
                depth = self.innermost
            elif buffer not in self.early:
                depth = max(depth, self.entry)
        elif op == "checked":
            depth = max(depth, self.entry)
        self.depth[key], self.wide[key], self.many[key] = depth, wide, many
        self.order.append(node)
        return node

    # Addresses

    def _load(self, node: Expr, subscripts: tuple[Expr, ...]) -> Expr:
        mode, args = self.address(node.attr, subscripts)
        return self.note(self.table.make("read", args, node.dtype, (node.attr, mode)))

    def _guarded(self, load: Expr, condition: Expr) -> Expr | None:
        """The load where the condition holds; None if that makes it no simpler. Of a subscript that
        is a choice by a part of the condition, only the first place counts."""
        parts, seen = [condition], set()
        while parts:
            part = parts.pop()
            seen.add(id(part))
            parts += part.args if part.op == "and" else ()
        places = [self.mapping[id(a)] for a in load.args]
        picked = [p.args[1] if self._choice(p) and id(p.args[0]) in seen else p for p in places]
        same = all(p is q for p, q in zip(places, picked, strict=True))
        return None if same else self._some(load, tuple(picked), condition, False)

    def _chosen(
        self, load: Expr, places: tuple[Expr, ...], mask: Expr | None = None
    ) -> Expr | None:
        """A load at a place that is a choice of two as a choice of two loads, each of the lanes
        that want it and that the mask has; None where there is no choice, or not this way."""
        at = next((i for i, p in enumerate(places) if self._choice(p)), None)
        if at is None:
            return None if mask is None else self._some(load, places, mask, True)
        condition, *choices = places[at].args
        made = []
        parts = (condition, self.node("not", (condition,), bool_))
        for choice, part in zip(choices, parts, strict=True):
            if mask is not None:
                part = self.node("and", (part, mask), bool_)
            inner = (*places[:at], choice, *places[at + 1 :])
            if (one := self._chosen(load, inner, part)) is None:
                return None
            made.append(one)
        return self.node("where", (condition, *made), load.dtype)

    def _choice(self, place: Expr) -> bool:
        return place.op == "where" and self.wide[id(place.args[0])]

    def _some(self, load: Expr, places: tuple[Expr, ...], mask: Expr, seldom: bool) -> Expr | None:
        """The lanes of a load that the mask has, if they lie at regular places."""
        mode, args = self.address(load.attr, places)
        if mode == GATHER:
            return None
        attr = (load.attr, mode, seldom)
        return self.note(self.table.make("guarded", (*args, mask), load.dtype, attr))

    def address(self, name: str, subscripts: Sequence[Expr]) -> tuple[str, tuple[Expr, ...]]:
        """The mode and the arguments of a read of (or a store to) buffer[subscripts]."""
        t, buffer = self.table, self.buffers[name]
        strides = buffer.strides
        if buffer.role == "local":
            strides = self._local_strides(buffer)
        if len(strides) != len(subscripts):
            raise ValueError(
                f"buffer {name}: {len(subscripts)} subscripts for {len(strides)} strides"
            )
        terms: list[tuple[Expr, Expr | None]] = []
        for subscript, stride in zip(subscripts, strides, strict=True):
            self._linear(subscript, self.lower(stride), terms)
        along, varying = t.number(0), None
        if buffer.role == "local" and self.wide_state:
            along = t.number(1)
        levels: dict[int, Expr] = {}
        advance = t.number(0)
        for scale, atom in terms:
            if atom is not None and atom.op == "index" and atom.attr == self.row:
                advance = t.add(advance, scale)
            if atom is not None and atom.op == "lane":
                along = t.add(along, scale)
                atom = t.make("start", (), int64, atom.attr)
            elif atom is not None and self.wide[id(atom)]:
                term = self.node("mul", (atom, scale)) if scale.attr != 1 else atom
                varying = term if varying is None else self.node("add", (varying, term))
                continue
            term = scale if atom is None else t.mul(self.note(atom), scale)
            depth = self.depth[id(self.note(term))]
            levels[depth] = t.add(levels[depth], term) if depth in levels else term
        at = t.make("base", (), int64, name)
        for depth in sorted(levels):
            if levels[depth].attr != 0 or levels[depth].op != "const":
                at = t.make("step", (at, levels[depth]), int64, name)
        self.note(at)
        if advance.op != "const" or advance.attr != 0:
            self.advance[id(at)] = name, self.note(advance)
        stride = self.note(along)
        if varying is not None:
            if along.op != "const" or along.attr != 0:
                ramp = self.note(t.make("ramp", (stride,)))
                varying = self.node("add", (varying, ramp))
            return GATHER, (at, varying, stride)
        if along.op != "const":
            return STRIDED, (at, self.note(t.make("ramp", (stride,))), stride)
        if along.attr in (0, 1):
            return (CONTIGUOUS if along.attr else UNIFORM), (at,)
        return STRIDED, (at, self.note(t.make("ramp", (stride,))), stride)

    def _local_strides(self, buffer: Buffer) -> tuple[Expr, ...]:
        """Row-major by extents; in a grid kernel the lanes of a block lie side by side."""
        strides: list[Expr] = []
        stride = self.table.number(self.block if self.wide_state else 1)
        for extent in reversed(buffer.extents):
            strides.insert(0, stride)
            stride = self.table.mul(stride, self.lower(extent))
        return tuple(strides)

    def _linear(self, node: Expr, scale: Expr, terms: list[tuple[Expr, Expr | None]]) -> None:
        """Append node * scale as a sum of scale * atom; integers wrap, so this is exact."""
        t = self.table
        if node.op in ("add", "sub") and node.dtype is int64:
            self._linear(node.args[0], scale, terms)
            if node.op == "sub":
                scale = t.mul(scale, t.number(-1))
            self._linear(node.args[1], scale, terms)
        elif node.op == "neg":
            self._linear(node.args[0], t.mul(scale, t.number(-1)), terms)
        elif node.op == "splat":
            self._linear(node.args[0], scale, terms)
        elif node.op == "mul" and any(self._fixed(a) for a in node.args):
            a, b = node.args
            if not self._fixed(a):
                a, b = b, a
            a = a.args[0] if a.op == "splat" else a
            self._linear(b, t.mul(scale, a), terms)
        elif self.depth[id(node)] == 0 and not self.wide[id(node)]:
            self.note(t.mul(scale, node))
            terms.append((t.mul(scale, node), None))
        else:
            self.note(scale)
            terms.append((scale, node))

    def _fixed(self, node: Expr) -> bool:
        """Whether a node is the same in the whole call."""
        if node.op == "splat":
            node = node.args[0]
        return self.depth[id(node)] == 0 and not self.wide[id(node)]
