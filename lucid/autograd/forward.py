"""Forward mode as a level of the funnel: tensors that carry a tangent along.

func/forward.py and forward_ad.py open a DualLevel; ops on its `Dual` tensors come here from
apply.py. A tangent goes through an op by the op's own vjp rules, so that there is one derivative
of each op: a view is applied to it; an elementwise rule is a product with a diagonal, which is its
own transpose; any other rule, a linear function of its cotangent, is transposed by the tape.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid.apply import _operand as operand
from lucid.apply import apply, apply_all
from lucid.array import Array
from lucid.autograd.flag import is_grad_enabled
from lucid.autograd.level import (
    Level,
    Levels,
    Lifted,
    Mark,
    fresh,
    has_history,
    levels,
    outside,
    plain,
    pull,
    shares_bytes,
)
from lucid.autograd.mode import enable_grad
from lucid.dtypes import COMPLEX, FLOATING
from lucid.layout import Layout, contiguous_strides
from lucid.op import Elementwise, Op, View, widened
from lucid.ops.cast import to_dtype
from lucid.ops.creation import ones, zeros
from lucid.ops.elementwise import assign
from lucid.ops.view import expand
from lucid.write import needs_gradient, write

# Ops of one floating input, linear in it, whose tangent is the op of the tangent.
LINEAR = frozenset(("cast", "clone", "contiguous_copy", "mean", "sum"))


class Dual(Lifted):
    """A tensor and its tangent, the derivative of its elements along the direction that this level
    follows. Values are asked for as of any tensor: they are those of `_held`."""

    _tangent: Any

    @property
    def _requires_grad(self) -> bool:  # type: ignore[override]
        return True  # what chooses a way that can be differentiated asks this

    def _as_numpy(self, asked: str) -> Any:
        return self._held._as_numpy(asked)

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        level, held = self._trace.depth, self._held
        return f"DualTensor(level={level}, primal={held}, tangent={self._tangent})"

    def detach(self) -> Any:
        """The value alone, without history and without tangent."""
        with outside(self._trace):
            return self._held.detach()

    def __deepcopy__(self, memo: dict) -> Any:
        return self._trace.wrap(self._held.detach().clone(), self._tangent.detach().clone())

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise TypeError("a dual tensor cannot be pickled; unpack it first")


class DualLevel(Level):
    """One direction that tangents follow."""

    refusal = (
        "forward mode: .grad and hooks belong to tensors outside; inside, take gradients by "
        "lucid.func.grad or vjp"
    )

    def wrap(self, held: Any, tangent: Any) -> Any:
        """The tensor of this level that is `held` and moves by `tangent`."""
        y = object.__new__(Dual)
        lay = held._layout
        # A layout of its own, never interned: it hits no plan.
        strides = contiguous_strides(lay.shape)
        y._layout = Layout(lay.shape, strides, lay.dtype, lay.device)
        y._storage = None
        y._value = _WITH_A_TANGENT  # type: ignore[assignment]
        Array._requires_grad.__set__(y, True)  # type: ignore[union-attr]
        y._trace, y._held, y._tangent = self, held, tangent
        return y

    def tangent(self, x: Any) -> Any:
        return x._tangent if self.owns(x) else None

    def parts(self, x: Any) -> tuple:
        return x._held, x._tangent

    def changed(self, x: Any, change: Callable) -> Any:
        return self.wrap(change(x._held), change(x._tangent))

    def lifted(self, x: Any) -> Any:
        if not isinstance(self.outer, Level):
            return x
        with outside(self):
            held = self.outer.lifted(self.held(x))
            return self.wrap(held, self.outer.lifted(x._tangent)) if self.owns(x) else held

    def reserve(self, generator: Any, n: int) -> tuple[int, int]:
        """Where the numbers of a random op begin."""
        with outside(self):
            return generator.reserve(n)

    # Ops

    def add(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        """An op on tensors of which some have tangents, under no_grad on their values alone."""
        self.check(op.label)
        given = [operand(op, x) for x in inputs]
        held = tuple([self.held(x) for x in given])
        call = apply_all if everything else apply
        names = zip(given, op.inputs, strict=True)
        moving = [self.owns(x) and name in op.rules for x, name in names]
        if not any(moving) or not is_grad_enabled():
            with outside(self):
                return call(op, held, params)
        tangents = [x._tangent if m else None for x, m in zip(given, moving, strict=True)]
        with outside(self):
            made, found = self.derived(op, held, tangents, params, everything)
            if not issubclass(op, View):
                found = [None if t is None else _own(t, tangents) for t in found]
        several = isinstance(made, tuple)
        outputs = [
            y if t is None else self.wrap(y, t)
            for y, t in zip(made if several else (made,), found, strict=True)
        ]
        return tuple(outputs) if several else outputs[0]

    def check(self, called: str) -> None:
        if not self.open:
            raise RuntimeError(
                f"{called}: a tensor with a tangent is used after the end of the forward-mode "
                "computation that it belongs to"
            )

    def derived(
        self, op: type[Op], held: tuple, tangents: list, params: tuple, everything: bool
    ) -> tuple[Any, list]:
        """The outputs, and their tangents (None where there is none)."""
        if issubclass(op, View) or op.name in LINEAR:
            (t,) = [t for t in tangents if t is not None]
            y = apply(op, held, params)
            floating = y._layout.dtype.category >= FLOATING
            return y, [apply(op, (t, *held[1:]), params) if floating else None]
        if issubclass(op, Elementwise) and op.count == 1 and not op.hidden:
            y = apply(op, held, params)
            if y._layout.dtype.category < FLOATING:
                return y, [None]
            t = _diagonal(op, held, tangents, params, y)
            if t is not None:
                return y, [t]
        return self.transposed(op, held, tangents, params, everything)

    def transposed(
        self, op: type[Op], held: tuple, tangents: list, params: tuple, everything: bool
    ) -> tuple[Any, list]:
        """By the tape: gx = vjp(u) is linear in the cotangent u, and its vjp along the tangents is
        the tangent of the output. It is taken at u = 1: some rules leave out where u is 0."""

        def call(inputs: tuple) -> Any:
            return (apply_all if everything else apply)(op, inputs, params)

        return self.transpose(call, held, tangents, op.count if everything else None)

    def transpose(
        self, call: Callable, given: Sequence, tangents: Sequence, count: int | None = None
    ) -> tuple[Any, list]:
        """call(*given), recorded, and the tangents of its outputs, of which only the first `count`
        have any."""
        record = any(isinstance(x, Array) and has_history(x) for x in (*given, *tangents))
        around = levels()
        spread = {v for v in around for x in given if _is_of(v, x)}
        with enable_grad():
            own = [
                x if t is None else fresh(x, record, spread.__contains__)
                for x, t in zip(given, tangents, strict=True)
            ]
            made = call(tuple(own))
            several = isinstance(made, tuple)
            outputs = list(made) if several else [made]
            moves = [
                isinstance(y, Array) and needs_gradient(y) and (count is None or i < count)
                for i, y in enumerate(outputs)
            ]
            ys = [y for y, m in zip(outputs, moves, strict=True) if m]
            us = [
                fresh(ones(y._layout.shape, dtype=y._layout.dtype), False, spread.__contains__)
                for y in ys
            ]
            xs = [x for x, t in zip(own, tangents, strict=True) if t is not None]
            backs = pull(ys, us, xs, create=True) if ys else []
            ts = [t for t in tangents if t is not None]
            pairs = [(b, t) for b, t in zip(backs, ts, strict=True) if b is not None] if ys else []
        found = iter(pull([b for b, _ in pairs], [t for _, t in pairs], us, create=record))
        results = [next(found) if m else None for m in moves]
        if not record:
            outputs = [plain(y) if isinstance(y, Array) else y for y in outputs]
        return (tuple(outputs) if several else outputs[0]), results

    def copied(self, x: Any) -> Any:
        with outside(self):
            return self.wrap(x._held.clone(), x._tangent.clone()) if self.owns(x) else x.clone()

    def write(self, op: type[Op], target: Any, inputs: tuple, params: tuple, called: str) -> Any:
        """An in-place op: on the value, and on the tangent."""
        if not self.owns(target):
            if any(self.owns(x) for x in inputs):
                raise not_moving(called)
            with outside(self):
                return target._trace.write(op, target, inputs, params, called)
        self.check(called)
        if has_history(target):  # rules keep what they are given, which the write changes
            inputs = tuple([self.copied(x) if shares_bytes(x, (target,)) else x for x in inputs])
        y = self.add(op, inputs, params) if is_grad_enabled() else None
        with outside(self):
            if y is None:
                write(op, target._held, tuple([self.held(x) for x in inputs]), params, called)
                return target
            t = self.tangent(y)
            write(assign, target._held, (self.held(y),), name=called)
            write(assign, target._tangent, (0.0 if t is None else t,), name=called)
        return target

    def function(self, function: Any, args: tuple, kwargs: dict) -> Any:
        """An autograd Function: its own `jvp`, else the transpose of its backward."""
        held = [self.held(a) for a in args]
        tangents = [self.tangent(a) for a in args]
        rule = getattr(function, "jvp", None)
        self.check(function.__name__)
        if not is_grad_enabled() or not any(t is not None for t in tangents):
            with outside(self):
                return function.apply(*held, **kwargs)
        with outside(self):
            if rule is not None:
                made, found = function.forward_mode(held, tangents, kwargs)
            else:
                made, found = self.transpose(
                    lambda xs: function.apply(*xs, **kwargs), held, tangents
                )
        several = isinstance(made, tuple)
        outputs = [
            y if t is None else self.wrap(y, t)
            for y, t in zip(made if several else (made,), found, strict=True)
        ]
        return tuple(outputs) if several else outputs[0]

    # Reverse mode inside

    def fresh(self, x: Any, rest: Levels, recording: bool, spread: Callable) -> Any:
        with outside(self):
            made = fresh(self.held(x), recording, spread, rest)
        return self.wrap(made, x._tangent) if self.owns(x) else made

    def pull(
        self, rest: Levels, ys: list, gs: list, xs: list, batch: tuple, keep: bool, create: bool
    ) -> list:
        """With g = J(x)' c: the tangent of g is J(x)' dc, and the gradient of dy along c."""
        held = [self.held(y) for y in ys]
        targets = [self.held(x) for x in xs]
        down = [self.held(g) for g in gs]
        moving = [(y, self.tangent(g)) for y, g in zip(held, gs, strict=True) if self.owns(g)]
        moving += [(y._tangent, g) for y, g in zip(ys, down, strict=True) if self.owns(y)]
        with outside(self):
            found = pull(held, down, targets, batch, keep or bool(moving), create, rest)
            if not moving:
                return found
            tangents = pull(
                [y for y, _ in moving], [g for _, g in moving], targets, batch, keep, create, rest
            )
            results = []
            for g, t in zip(found, tangents, strict=True):
                if t is None:
                    results.append(g)
                    continue
                g = zeros(t._layout.shape, dtype=t._layout.dtype) if g is None else g
                results.append(self.wrap(g, t))
            return results


_WITH_A_TANGENT = Mark("tensor with a tangent")


def not_moving(called: str) -> RuntimeError:
    return RuntimeError(
        f"{called}: a tensor without a tangent is written with values that have one; write to a "
        "tensor computed from the arguments, or out of place (stack, where, index_put)"
    )


def _is_of(level: Level, x: Any) -> bool:
    """Whether a tensor, or a tangent of an outer level that it has, is of a level."""
    if not isinstance(x, Lifted):
        return False
    return x._trace is level or any(_is_of(level, part) for part in x._trace.parts(x))


def _own(t: Any, tangents: Sequence[Any]) -> Any:
    """A tangent with bytes to itself: a write in place is to change no other."""
    return t.clone() if shares_bytes(t, [x for x in tangents if x is not None]) else t


def _diagonal(op: type[Op], held: tuple, tangents: Sequence[Any], params: tuple, y: Any) -> Any:
    """The sum of the elementwise rules on the tangents; None where one is not of that kind."""
    shape, kind = y._layout.shape, y._layout.dtype
    if kind.category == COMPLEX:
        return None
    given = {name: widened(x) for name, x in zip(op.inputs, held, strict=True)}
    given |= dict(zip(op.statics, params, strict=True))
    given["y"] = widened(y)
    for name, x in zip(op.inputs, held, strict=True):
        if isinstance(x, Array):
            given[f"{name}_meta"] = x._layout
    total = None
    for name, t in zip(op.inputs, tangents, strict=True):
        if t is None:
            continue
        rule = op.rules[name]
        if t._layout.shape != shape:
            t = expand(t, shape)
        given["g"] = widened(to_dtype(t, kind))
        made = rule.function(**{n: given[n] for n in rule.names})
        if isinstance(made, dict):
            made = made[name]
            made = made() if callable(made) else made
        if not isinstance(made, Array) or made._layout.shape != shape:
            return None
        made = to_dtype(made, kind)
        total = made if total is None else total + made
    return total
