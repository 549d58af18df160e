"""vmap as a level of the funnel: tensors that stand for one element of a batch each.

func/vmap.py opens a Level around the mapped function. While it is open, ops on its `Batched`
tensors come here from apply.py: the op's axis map says how its outputs follow from whole batches.
The batch's dimension is the first of what a Batched holds. Gradients are those of what it holds.
"""

from collections.abc import Callable, Sequence
from typing import Any

from lucid import dtypes
from lucid.apply import _operand as operand
from lucid.apply import apply, apply_all, visible
from lucid.array import Array
from lucid.autograd.flag import is_grad_enabled
from lucid.autograd.level import Level, Levels, Lifted, Mark, fresh, moved, outside, pull
from lucid.layout import Layout, broadcast_shapes, contiguous_strides
from lucid.op import Composite, Elementwise, Op
from lucid.ops.cast import to_dtype
from lucid.ops.creation import arange
from lucid.ops.elementwise import assign
from lucid.ops.view import expand, permute, reshape
from lucid.tracing import traced_by
from lucid.write import needs_gradient, write


class Batched(Lifted):
    """One element of a batch: its shape is that of an element, `_held` has all of them."""

    @property
    def _requires_grad(self) -> bool:  # type: ignore[override]
        return needs_gradient(self._held)

    def _as_numpy(self, asked: str) -> Any:
        raise RuntimeError(
            f"{asked}: under vmap a value differs from element to element of the batch; compute "
            "on tensors (where, masks), or give this result back and read it outside"
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        held = repr(self._held).replace("\n", "\n    ")
        return f"BatchedTensor(level={self._trace.depth}, value=\n    {held}\n)"

    def detach(self) -> Any:
        return self._trace.wrap(self._held.detach())

    def __deepcopy__(self, memo: dict) -> Any:
        return self._trace.wrap(self._held.detach().clone())

    def __reduce_ex__(self, protocol: Any) -> Any:
        self._as_numpy("pickle")


class BatchLevel(Level):
    """One vmap while its function runs: the size of the batch, and what random ops do."""

    refusal = (
        "vmap: .grad and hooks belong to tensors outside of the mapped function; inside, take "
        "gradients by lucid.func.grad or vjp"
    )

    def __init__(self, size: int, randomness: str):
        super().__init__()
        self.size = size
        self.randomness = randomness

    def wrap(self, held: Any) -> Any:
        """The tensor of this level whose elements these are, along dimension 0."""
        y = object.__new__(Batched)
        lay = held._layout
        shape = lay.shape[1:]
        # A layout of its own, never interned: it hits no plan.
        y._layout = Layout(shape, contiguous_strides(shape), lay.dtype, lay.device)
        y._storage = None
        y._value = _IN_A_BATCH  # type: ignore[assignment]
        Array._requires_grad.__set__(y, True)  # type: ignore[union-attr]
        y._trace, y._held = self, held
        return y

    def whole_of(self, y: Any) -> Any:
        """All elements of a result of the mapped function, along dimension 0."""
        return y._held if self.owns(y) else expand(y, (self.size, *y._layout.shape))

    def lifted(self, x: Any) -> Any:
        """x as what a random op draws for: in the batch of each level that asks for different
        numbers."""
        own = self.owns(x)
        x = x._held if own else x
        if isinstance(self.outer, Level):
            with outside(self):
                x = self.outer.lifted(x)
        if not own and self.randomness != "different":
            return x
        if not own:
            with outside(self):
                x = expand(x, (self.size, *x.shape))
        return self.wrap(x)

    def reserve(self, generator: Any, n: int) -> tuple[int, int]:
        """Where the numbers of a random op begin, which would take n for one element."""
        if self.randomness == "error":
            raise RuntimeError(
                "vmap: a random op in the mapped function; say randomness='different' for new "
                "numbers for each element of the batch, or 'same'"
            )
        if self.outer is not None and self.outer.whole:
            raise NotImplementedError("vmap: random ops inside of a compiled function")
        with outside(self):
            return generator.reserve(n * self.size if self.randomness == "different" else n)

    def add(self, op: type[Op], inputs: Sequence, params: tuple, everything: bool = False) -> Any:
        """An op inside the mapped function."""
        if not self.open:
            raise RuntimeError(f"{op.label}: a tensor of a vmap is used after its function ended")
        call = Call(self, op, inputs, params, everything)
        if not any(call.batched) and not (op.drawn and self.randomness == "different"):
            with outside(self):
                return (apply_all if everything else apply)(op, tuple(call.inputs), params)
        expected = None
        if not issubclass(op, Composite):
            expected = op.infer(call.types, params)  # raises what the user should read
        with outside(self):
            made = op.axis_map(call)
        several = isinstance(made, tuple)
        outputs = [y if self.owns(y) else self.wrap(y) for y in (made if several else (made,))]
        if expected is not None:
            found, wanted = [y._layout.shape for y in outputs], [shape for shape, _ in expected]
            if found != wanted:
                raise RuntimeError(f"{op.label}: its axis map makes {found}, {wanted} is right")
        made = tuple(outputs) if several else outputs[0]
        return made if everything or not several else visible(op, made)

    def write(self, op: type[Op], target: Any, inputs: tuple, params: tuple, called: str) -> Any:
        """An in-place op inside the mapped function."""
        call = Call(self, op, inputs, params, False)
        if not self.owns(target):
            if any(call.batched):
                raise not_in_the_batch(called)
            return target._trace.write(op, target, inputs, params, called)
        if not self.open:
            raise RuntimeError(f"{called}: a tensor of a vmap is used after its function ended")
        shape = op.infer(call.types, params)[0][0]
        if tuple(broadcast_shapes(called, shape, target._layout.shape)) != target._layout.shape:
            raise RuntimeError(
                f"{called}: a result of shape {shape} does not fit the target's shape "
                f"{target._layout.shape}"
            )
        with outside(self):
            if issubclass(op, Elementwise):
                given = call.aligned(len(target._layout.shape))
                write(op, target._held, tuple(given), params, called)
            else:
                made = op.axis_map(call) if any(call.batched) else apply(op, inputs, params)
                write(assign, target._held, (made,), name=called)
        return target

    def function(self, function: Any, args: tuple, kwargs: dict) -> Any:
        """An autograd Function inside the mapped function: its own `vmap` maps it."""
        rule: Callable | None = getattr(function, "vmap", None)
        if rule is None:
            raise RuntimeError(
                f"vmap: {function.__name__} is a Function without a rule for batches; define a "
                "static vmap(info, in_dims, *args) that returns (output, out_dims)"
            )
        if kwargs:
            raise TypeError(f"vmap: {function.__name__}.apply takes no named arguments here")
        dims = tuple(0 if self.owns(a) else None for a in args)
        given = [a._held if self.owns(a) else a for a in args]
        with outside(self):
            output, out_dims = rule(Info(self.size, self.randomness), dims, *given)
            several = isinstance(output, (tuple, list))
            outputs = tuple(output) if several else (output,)
            places = tuple(out_dims) if isinstance(out_dims, (tuple, list)) else (
                (out_dims,) * len(outputs)
            )  # fmt: skip
            made = [
                y if d is None or not isinstance(y, Array) else self.wrap(to_front(y, d))
                for y, d in zip(outputs, places, strict=True)
            ]
        return tuple(made) if several else made[0]

    def changed(self, x: Any, change: Callable) -> Any:
        return self.wrap(change(x._held))

    def fresh(self, x: Any, rest: Levels, recording: bool, spread: Callable) -> Any:
        whole = x._held if self.owns(x) else x
        with outside(self):
            if whole is x:
                if not spread(self):
                    return fresh(x, recording, spread, rest)
                whole = expand(x, (self.size, *x._layout.shape))
            return self.wrap(fresh(whole, recording, spread, rest))

    def pull(
        self, rest: Levels, ys: list, gs: list, xs: list, batch: tuple, keep: bool, create: bool
    ) -> list:
        """A gradient for each element. The batch's dimension of cotangents stands behind those of
        `batch` on the way down; where only cotangents are batches it is one of those."""
        owned = [self.owns(x) for x in xs]
        with outside(self):
            if any(owned) or any(self.owns(y) for y in ys):
                if not all(owned):
                    raise RuntimeError(
                        "vmap: gradients for each element of the batch with respect to a tensor "
                        "that is the same for all; use lucid.func.grad or vjp, whose arguments "
                        "have a gradient for each element"
                    )
                # Outputs that are the same for all do not depend on what differs.
                pairs = [(y._held, g) for y, g in zip(ys, gs, strict=True) if self.owns(y)]
                n = len(batch)
                down = [None if g is None else moved(self.whole_of(g), 0, n) for _, g in pairs]
                targets = [x._held for x in xs]
                found = pull([y for y, _ in pairs], down, targets, batch, keep, create, rest)
                return [None if g is None else self.wrap(moved(g, n, 0)) for g in found]
            if not any(self.owns(g) for g in gs):
                return pull(ys, gs, xs, batch, keep, create, rest)
            down = [None if g is None else self.whole_of(g) for g in gs]
            found = pull(ys, down, xs, (self.size, *batch), keep, create, rest)
            return [None if g is None else self.wrap(g) for g in found]


class Info:
    """What the `vmap` of a Function is told of the batch."""

    def __init__(self, batch_size: int, randomness: str):
        self.batch_size, self.randomness = batch_size, randomness


_IN_A_BATCH = Mark("tensor under vmap")


def not_in_the_batch(called: str) -> RuntimeError:
    return RuntimeError(
        f"{called}: a tensor that is the same for the whole batch is written with values that "
        "differ from element to element; write to a tensor of the batch, or out of place"
    )


def to_front(x: Any, dim: int) -> Any:
    """x with a dimension as the first, counted from either end."""
    rank = len(x.shape)
    if not -rank <= dim < rank:
        raise IndexError(f"vmap: dim {dim} is out of range for a tensor of {rank} dimensions")
    at = dim % rank
    return x if at == 0 else permute(x, (at, *(d for d in range(rank) if d != at)))


class Call:
    """A call over a batch, for the op's axis map.

    inputs: tensors, whose first dimension is the batch's where `batched` says so, and numbers;
    types: those of one element.
    """

    def __init__(
        self, level: BatchLevel, op: type[Op], inputs: Sequence, params: tuple, everything: bool
    ):
        self.level, self.op, self.params, self.everything = level, op, params, everything
        self.size = level.size
        self.same = level.randomness == "same"
        inputs = [operand(op, x) for x in inputs]
        self.given = inputs
        self.batched = tuple([level.owns(x) for x in inputs])
        self.inputs = [x._held if own else x for x, own in zip(inputs, self.batched, strict=True)]
        self.types = [_type(x) for x in inputs]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of one element of the batch."""
        return [t[0] for t in self.types]

    def run(self, inputs: Sequence, params: tuple) -> Any:
        """The op on whole batches."""
        call = apply_all if self.op.hidden or self.everything else apply
        return call(self.op, tuple(inputs), params)

    def body(self) -> Any:
        """A composite's parts, each by its own axis map."""
        with traced_by(self.level):
            made = self.op.run(self.given, self.params)  # type: ignore[attr-defined]
        recorded = any(needs_gradient(y) for y in (made if isinstance(made, tuple) else (made,)))
        for x, name in zip(self.inputs, self.op.inputs, strict=True):
            if recorded or not is_grad_enabled() or name not in self.op.rules:
                continue
            if isinstance(x, Array) and needs_gradient(x):
                raise NotImplementedError(f"vmap: {self.op.label} loses the gradient of {name}")
        if isinstance(made, tuple):
            return tuple(self._whole(y) for y in made)
        return self._whole(made)

    def _whole(self, y: Any) -> Any:
        return y if self.level.owns(y) else expand(y, (self.size, *y.shape))

    def spread(self) -> list:
        """The inputs, those that are the same for the whole batch repeated."""
        return [
            x if own or not isinstance(x, Array) else expand(x, (self.size, *x._layout.shape))
            for x, own in zip(self.inputs, self.batched, strict=True)
        ]

    def aligned(self, rank: int | None = None) -> list:
        """The inputs as they broadcast: dimensions of size 1 between the batch's and those of an
        element that has fewer than another; a 0-d element in the type that it is computed in, as
        it has a dimension now and would decide."""
        if rank is None:
            rank = max(len(shape) for shape in self.shapes)
        given = []
        for x, own, shape in zip(self.inputs, self.batched, self.shapes, strict=True):
            if own and len(shape) < rank:
                x = reshape(x, (self.size, *(1,) * (rank - len(shape)), *shape))
            given.append(x)
        if not issubclass(self.op, Elementwise):
            return given
        kind = self.op.common(self.types)
        if self.op.common([_type(x) for x in given]) is not kind:
            for i, (own, shape) in enumerate(zip(self.batched, self.shapes, strict=True)):
                if own and not shape and given[i].dtype.category == kind.category:
                    given[i] = to_dtype(given[i], kind)
        return given

    def numbers(self, rank: int) -> Any:
        """0 .. size - 1 along the batch, for places of `rank` dimensions."""
        return reshape(arange(self.size), (self.size, *(1,) * rank))

    def apart(self, n: int) -> int:
        """How far apart the draws of two elements are, that take n numbers each."""
        level = self.level.outer
        while isinstance(level, Level):
            if isinstance(level, BatchLevel) and level.randomness == "different":
                n *= level.size
            level = level.outer
        return n


def _type(x: Any) -> tuple:
    if isinstance(x, Array):
        return x._layout.shape, x._layout.dtype, False
    return (), dtypes.of_scalar(x), True
