"""Recurrent layers as native calls: one record for a layer and a direction.

The products of all inputs with their weight are made before, as one. The record walks the time
steps: a product with the state and a cell (recurrent_cells.py) each, forward and backward, all in
one native segment. Called by lucid.nn.rnn through `recurrent`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.autograd.mode import is_grad_enabled
from lucid.lazy import lazy
from lucid.op import Opaque, OpMeta
from lucid.ops.contract import Product, product, transposed
from lucid.ops.creation import zeros
from lucid.ops.join import cat
from lucid.ops.recurrent_cells import (
    CELLS,
    add_step,
    backward_step,
    forward_step,
    project_step,
    unproject_step,
)
from lucid.ops.reduce import sum_
from lucid.ops.unroll import Moving, at_time, walk
from lucid.ops.view import reshape, with_batch, without_batch
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand, Step

_composite = lazy("lucid.ops.recurrent_composite")

PANEL = 64  # columns of a weight side by side: the width of the product's tile
FEW_ROWS = 8  # up to here the product reads a weight as it is


class Right:
    """The weight of the products of all time steps, brought into panels once."""

    def __init__(self, context: Any, w: Operand, rows: int):
        """w (K, N), by its strides; for products with `rows` rows."""
        self.w, self.steps, self.panels = w, [], None
        k, n = w.shape
        self.whole = n // PANEL if rows > FEW_ROWS else 0
        if self.whole:
            by_k, by_n = w.strides
            shape = (self.whole, k, PANEL)
            source = Operand(w.value, shape, (PANEL * by_n, by_k, by_n), w.dtype, w.offset)
            self.panels = context.temporary(shape, w.dtype)
            self.steps.append(copy_step(source, self.panels))

    def times(self, x: Operand, y: Operand) -> list[tuple[Step, dict[int, str]]]:
        """y (M, N) = x (M, K) @ w: steps, and which of their operands show x and y."""
        made = []
        if self.panels is not None:
            x3 = Operand(x.value, (1, *x.shape), (0, *x.strides), x.dtype, x.offset)
            shape = (self.whole, y.shape[0], PANEL)
            y3 = Operand(y.value, shape, (PANEL * y.strides[1], *y.strides), y.dtype, y.offset)
            made.append((x3, self.panels, y3))
        start = self.whole * PANEL
        if start < y.shape[1]:
            rest = y.shape[1] - start
            k, by_n = self.w.shape[0], self.w.strides[1]
            w = Operand(
                self.w.value, (k, rest), self.w.strides, self.w.dtype, self.w.offset + start * by_n
            )
            offset = y.offset + start * y.strides[1]
            made.append((x, w, Operand(y.value, (y.shape[0], rest), y.strides, y.dtype, offset)))
        return [(Product.step(None, a, b, None, c), {id(a): "x", id(c): "y"}) for a, b, c in made]


class Walk:
    """The steps of one place in time, with operands that move from place to place."""

    def __init__(self) -> None:
        self.made: list[Moving] = []

    def cell(self, make: Callable, *head: Any, still: dict, moving: dict, shift: dict = {}) -> None:  # noqa: B006
        """A step over operands that stay and sequences (T, ...) that are read or written at t, or
        at t + shift[name]."""
        places = {n: at_time(whole, shift.get(n, 0)) for n, whole in moving.items()}
        step = make(*head, {**still, **places})
        moves = {id(places[n]): whole.strides[0] for n, whole in moving.items()}
        self.made.append((step, moves))

    def product(self, right: Right, x: Operand, y: Operand, moving: str = "") -> None:
        """y = x @ right; a sequence (T, ...) instead of an operand where `moving` names it."""
        first = {"x": x, "y": y}
        places = {n: at_time(o, 0) if n in moving else o for n, o in first.items()}
        for step, names in right.times(places["x"], places["y"]):
            moves = {key: first[n].strides[0] for key, n in names.items() if n in moving}
            self.made.append((step, moves))


class Recurrent(Opaque, abstract=True):
    """y, h_n(, c_n) of one layer in one direction.

    z (T, B, gates H) products of the inputs, with biases; w (gates H, P) the state's weight; h
    (B, P); then c (B, H) of an LSTM, b (3 H) of a GRU; p (P, H), a projection; inside (T, B),
    false where a sequence has ended. `keep`: whether hidden outputs are made for the way back.
    """

    public = False
    label = "rnn"
    projected = False
    ragged = False

    @classmethod
    def named(cls, values: Sequence[Any]) -> dict[str, Any]:
        return dict(zip(cls.inputs, values, strict=True))

    @classmethod
    def axis_map(cls, call):
        return _by_rows(call, {"y": 1, "kept": 1, "cell": 1, "raw": 1})

    @classmethod
    def made(cls):
        """The names of the outputs."""
        return ["y", "h_n", *(["c_n"] if "c" in cls.inputs else []), *cls.hidden]

    @classmethod
    def infer(cls, types, params):
        static = cls.static(params)
        given = cls.named([t[0] for t in types])
        frames, rows, _ = given["z"]
        kind, cell = types[0][1], CELLS[static["kind"]]
        state, size = given["h"][1], given["z"][2] // cell.gates
        shapes = [(frames, rows, state), (rows, state)]
        shapes += [(rows, size)] if "c" in given else []
        keep = frames if static["keep"] else 0
        shapes += [(keep, rows, cell.kept * size)]
        shapes += [(keep, rows, size)] if "c" in given else []
        shapes += [(keep, rows, size)] if "p" in given else []
        return [(shape, kind) for shape in shapes]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        static, x = cls.static(params), cls.named(inputs)
        out = dict(zip(cls.made(), outputs, strict=True))
        kind, keep, frames = static["kind"], static["keep"], x["z"].shape[0]
        rows, state = x["h"].shape
        size = x["z"].shape[2] // CELLS[kind].gates
        h = out["h_n"]
        steps = [copy_step(x["h"], h)]
        still = {"h": h}
        if "c" in x:
            steps.append(copy_step(x["c"], out["c_n"]))
            still["c"] = out["c_n"]
        if 0 in (frames, rows, size):
            return [s for s in steps if 0 not in s.operands[0].shape]
        q = context.temporary((rows, x["z"].shape[2]), x["z"].dtype)
        right = Right(context, _turned(x["w"]), rows)
        steps += right.steps
        still["q"] = q
        if "b" in x:
            still["b"] = x["b"]
        moving = {"z": x["z"], "y": out["y"]}
        if keep:
            moving |= {n: out[n] for n in ("kept", "cell") if n in out and 0 not in out[n].shape}
        if "inside" in x:
            moving["inside"] = x["inside"]
        made = Walk()
        made.product(right, h, q)
        if "p" not in x:
            made.cell(forward_step, kind, (rows, size), still=still, moving=moving)
        else:
            onto = Right(context, _turned(x["p"]), rows)
            steps += onto.steps
            after = {"x": context.temporary((rows, state), h.dtype), "h": h}
            later = {n: moving.pop(n) for n in ("y", "inside") if n in moving}
            moving |= {"inside": later["inside"]} if "inside" in later else {}
            raw = out["raw"] if keep else None
            if raw is not None:
                moving["raw"] = raw
                made.cell(forward_step, kind, (rows, size), still=still, moving=moving)
                made.product(onto, raw, after["x"], "x")
            else:
                still["raw"] = context.temporary((rows, size), h.dtype)
                made.cell(forward_step, kind, (rows, size), still=still, moving=moving)
                made.product(onto, still["raw"], after["x"])
            made.cell(project_step, (rows, state), still=after, moving=later)
        times = range(frames)
        times = times[::-1] if static["reverse"] else times
        return [*steps, walk(cls.name, [(times, made.made)])]


SEQUENCES = {"z", "inside", "g", "y", "kept", "cell"}  # whose dimension 0 is time
WEIGHTS = {"w", "b", "p"}


def _by_rows(call: Any, made: dict[str, int]) -> tuple:
    """The batch and the sequences as one, for weights that are the same for all; `made`: the
    outputs whose dimension 0 is time."""
    names = call.op.inputs
    for name, own in zip(names, call.batched, strict=True):
        if own and name in WEIGHTS:
            raise NotImplementedError(
                f"vmap: {call.op.label} with weights that differ from element to element"
            )
    given = [
        x if name in WEIGHTS else with_batch(v, int(name in SEQUENCES))
        for name, x, v in zip(names, call.inputs, call.spread(), strict=True)
    ]
    outputs = zip(call.op.made(), call.run(given, call.params), strict=True)
    return tuple(without_batch(y, call.size, made.get(name, 0)) for name, y in outputs)


def _turned(w: Operand) -> Operand:
    return Operand(w.value, w.shape[::-1], w.strides[::-1], w.dtype, w.offset)


class RecurrentBack(Opaque, abstract=True):
    """The cotangents dz (T, B, gates H), dq (of a GRU), dh of projected states, and of h and c."""

    public = False
    label = "rnn_backward"
    forward: Any

    @classmethod
    def axis_map(cls, call):
        return _by_rows(call, {"dz": 1, "dq": 1, "states": 1})

    @classmethod
    def made(cls):
        """The names of the outputs."""
        names = ["dz", "dh", *(["dq"] if cls.name.startswith("gru") else [])]
        return [*names, *(["dc"] if "c" in cls.inputs else []),
                *(["states"] if "p" in cls.inputs else [])]  # fmt: skip

    @classmethod
    def infer(cls, types, params):
        static = cls.static(params)
        given = dict(zip(cls.inputs, (t[0] for t in types), strict=True))
        frames, rows, _ = given["g"]
        gates = given["w"][0]
        shapes = [(frames, rows, gates), given["h"]]
        shapes += [(frames, rows, gates)] if static["kind"] == "gru" else []
        shapes += [given["c"]] if "c" in given else []
        shapes += [given["g"]] if "p" in given else []
        return [(shape, types[0][1]) for shape in shapes]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        static, x = cls.static(params), dict(zip(cls.inputs, inputs, strict=True))
        kind, frames = static["kind"], x["g"].shape[0]
        names = ["dz", "dh", *(["dq"] if kind == "gru" else []), *(["dc"] if "c" in x else [])]
        out = dict(zip([*names, *(["states"] if "p" in x else [])], outputs, strict=True))
        rows, state = x["h"].shape
        size = x["w"].shape[0] // CELLS[kind].gates
        rec = out["dh"]
        steps = [copy_step(x["g1"], rec)]
        still = {}
        if "c" in x:
            steps.append(copy_step(x["g2"], out["dc"]))
            still["dc"] = out["dc"]
        if 0 in (frames, rows, size):
            return [s for s in steps if 0 not in s.operands[0].shape]
        carried = kind == "gru" or "inside" in x
        if carried:
            still["carry"] = context.temporary((rows, state), rec.dtype)
            steps.append(copy_step(None, still["carry"]))
        right, wanted = Right(context, x["w"], rows), context.reads(rec)
        steps += right.steps if wanted or frames > 1 else []
        onto = Right(context, x["p"], rows) if "p" in x else None
        steps += onto.steps if onto else []
        made = []
        before = 1 if static["reverse"] else -1
        draw = context.temporary((rows, size), rec.dtype) if onto else None
        for first in (False, True):  # at the sequence's first place the state before is h, and c
            walk_ = Walk()
            stays, moves = dict(still), {"dz": out["dz"], "g": x["g"]}
            moves |= {n: out[n] for n in ("dq",) if n in out}
            moves |= {n: x[n] for n in ("cell", "inside") if n in x}
            moves["kept" if CELLS[kind].kept else "y"] = x["kept" if CELLS[kind].kept else "y"]
            shift = {}
            for n, whole in (("c", "cell"), *([("h", "y")] if kind == "gru" else [])):
                if n not in x:
                    continue
                if first:
                    stays[n] = x[n]
                else:
                    moves[n], shift[n] = x[whole], before
            if onto:
                there = {n: moves[n] for n in ("inside",) if n in moves}
                up = {"rec": rec, **{n: stays.pop(n) for n in ("carry",) if n in stays}}
                at = {"g": moves.pop("g"), "dh": out["states"], **there}
                walk_.cell(unproject_step, (rows, state), still=up, moving=at)
                walk_.product(onto, out["states"], draw, "x")
                stays["g"] = draw
            else:
                stays["rec"] = rec
            head = (kind, (rows, size))
            walk_.cell(backward_step, *head, still=stays, moving=moves, shift=shift)
            if wanted or not first:
                walk_.product(right, out.get("dq", out["dz"]), rec, "x")
            made.append(walk_.made)
        times = range(frames)
        times = times if static["reverse"] else times[::-1]
        steps.append(walk(cls.name, [(times[:-1], made[0]), (times[-1:], made[1])]))
        if carried and wanted:
            steps.append(add_step((rows, state), {"y": rec, "x": still["carry"]}))
        return steps


RECORDS: dict[tuple[str, bool, bool], Any] = {}
FAMILIES = {"lstm": "lstm", "gru": "gru", "tanh": "rnn", "relu": "rnn"}


def _make(family: str, projected: bool, ragged: bool) -> None:
    """The record of a family with or without projection and ended sequences, and its way back."""
    own = {"lstm": ("c",), "gru": ("b",), "rnn": ()}[family]
    more = (*(("p",) if projected else ()), *(("inside",) if ragged else ()))
    inputs = ("z", "w", "h", *own, *more)
    lstm = family == "lstm"
    hidden = ("kept", *(("cell",) if lstm else ()), *(("raw",) if projected else ()))
    name = "_".join(
        [family, *(["projected"] if projected else []), *(["ragged"] if ragged else [])]
    )
    kept = tuple(n for n in hidden if n != "raw")
    back = OpMeta(
        f"{name}_back",
        (RecurrentBack,),
        {
            "arguments": (
                ("g", "g1", *(("g2",) if lstm else ()), *(n for n in inputs if n not in "zb"),
                 "y", *kept),
                ("kind", "reverse"),
            ),
            "__doc__": f"The way back of {name}.",
        },
    )  # fmt: skip
    rule = _rule_of(family, inputs, hidden, back)
    wanted = [n for n in inputs if n != "inside"]
    RECORDS[family, projected, ragged] = OpMeta(
        name,
        (Recurrent,),
        {
            "arguments": (inputs, ("kind", "reverse", "keep")),
            "count": 3 if lstm else 2,
            "hidden": hidden,
            "__doc__": f"A layer of {family} cells in one direction.",
            **{f"vjp_{n}": rule for n in wanted},
        },
    )


def _rule_of(family: str, inputs: tuple, hidden: tuple, back: Any) -> Callable:
    """All cotangents at once; those of weights are made where they are asked for."""

    def rule(**given: Any) -> dict[str, Any]:
        x = {n: given[n] for n in inputs}
        kind, reverse = given["kind"], given["reverse"]
        y = given["y"]
        gs = [given["g"], given["g1"], *([given["g2"]] if family == "lstm" else [])]
        if is_grad_enabled():  # to be differentiated again
            return _composite.cotangents(kind, reverse, x, gs)
        rows, state = tuple(x["h"].shape)
        like = [tuple(y.shape), (rows, state), *([tuple(x["c"].shape)] if "c" in x else [])]
        gs = [zeros(*s, dtype=y.dtype) if g is None else g for g, s in zip(gs, like, strict=True)]
        values = {"g": gs[0], "g1": gs[1], "y": y, **x, **{n: given[n] for n in hidden}}
        values |= {"g2": gs[2]} if family == "lstm" else {}
        made = list(back(*(values[n] for n in back.inputs), kind, reverse))
        dz, dh = made[:2]
        rest = iter(made[2:])
        dq = next(rest) if family == "gru" else dz
        found = {"z": dz, "h": dh, "w": lambda: _summed(dq, _before(y, x["h"], reverse))}
        if family == "lstm":
            found["c"] = next(rest)
        if family == "gru":
            found["b"] = lambda: sum_(dq, (0, 1), False)
        if "p" in x:
            states = next(rest)
            found["p"] = lambda: _summed(states, given["raw"])
        return found

    gs = ("g", "g1", "g2") if family == "lstm" else ("g", "g1")
    rule.needs = (*gs, *inputs, "y", *hidden, "kind", "reverse")  # type: ignore[attr-defined]
    return rule


def _before(y: Any, h: Any, reverse: bool) -> Any:
    """The states before those of y (T, B, P)."""
    first = reshape(h, (1, *h.shape))
    return cat([y[1:], first], 0) if reverse else cat([first, y[:-1]], 0)


def _summed(g: Any, x: Any) -> Any:
    """The sum over time and batch of g^T x: one product."""
    count = g.shape[0] * g.shape[1]
    flat = reshape(g, (count, g.shape[2])), reshape(x, (count, x.shape[2]))
    return product(transposed(flat[0]), flat[1])


for _family in ("lstm", "gru", "rnn"):
    for _ragged in (False, True):
        _make(_family, False, _ragged)
        if _family == "lstm":
            _make(_family, True, _ragged)


def recurrent(kind: str, reverse: bool, **inputs: Any) -> tuple:
    """(y, h_n) or (y, h_n, c_n) of a layer in one direction; see Recurrent for the inputs."""
    record = RECORDS[FAMILIES[kind], "p" in inputs, "inside" in inputs]
    given = tuple(inputs[n] for n in record.inputs)
    keep = is_grad_enabled() and any(x.requires_grad for x in given)
    return record.dispatch(record, given, (kind, reverse, keep))
