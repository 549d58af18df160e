"""A recurrent layer by ordinary ops, one time step after another: what second derivatives go
through. recurrent.py calls it where its cotangents are to be differentiated again.
"""

from typing import Any

from lucid.lazy import lazy
from lucid.ops.contract import matmul
from lucid.ops.elementwise import where
from lucid.ops.join import stack
from lucid.ops.shape import chunk
from lucid.ops.transcendental import relu, sigmoid, tanh
from lucid.ops.view import permute, reshape

_autograd = lazy("lucid.autograd.gradients")


def cotangents(kind: str, reverse: bool, x: dict[str, Any], gs: list) -> dict[str, Any]:
    """The cotangents of the inputs, as differentiable functions of them and of `gs`."""
    outputs = layer(kind, reverse, **x)
    pairs = [(y, g) for y, g in zip(outputs, gs, strict=True) if g is not None]
    wanted = [n for n, value in x.items() if value.requires_grad]
    found = _autograd.grad(
        [y for y, _ in pairs],
        [x[n] for n in wanted],
        [g for _, g in pairs],
        create_graph=True,
        allow_unused=True,
    )
    return {**dict.fromkeys(x), **dict(zip(wanted, found, strict=True))}


def layer(
    kind: str,
    reverse: bool,
    z: Any,
    w: Any,
    h: Any,
    c: Any = None,
    b: Any = None,
    p: Any = None,
    inside: Any = None,
) -> tuple:
    """(y, h_n) or (y, h_n, c_n), as the record's."""
    times = range(z.shape[0])
    made: list[Any] = [None] * z.shape[0]
    turned = permute(w, (1, 0))
    for t in times[::-1] if reverse else times:
        new, cell = _cell(kind, z[t], matmul(h, turned), h, c, b)
        new = new if p is None else matmul(new, permute(p, (1, 0)))
        if inside is not None:
            there = reshape(inside[t], (h.shape[0], 1))
            new = where(there, new, h)
            cell = None if cell is None else where(there, cell, c)
        h, c = new, cell
        made[t] = h
    y = stack(made, 0) if made else z.new_zeros(0, *h.shape)
    return (y, h) if c is None else (y, h, c)


def _cell(kind: str, z: Any, q: Any, h: Any, c: Any, b: Any) -> tuple:
    if kind == "lstm":
        i, f, g, o = chunk(z + q, 4, 1)
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c
    if kind == "gru":
        (zr, zu, zn), (qr, qu, qn) = chunk(z, 3, 1), chunk(q + b, 3, 1)
        n = tanh(zn + sigmoid(zr + qr) * qn)
        return n + sigmoid(zu + qu) * (h - n), None
    return (tanh if kind == "tanh" else relu)(z + q), None
