"""Records and families of ops: everything that Lucid knows of an op stands in its record.

ops/*.py define the records; graph.py types them, plan/ lowers them, apply.py runs and records them.
A record is a class that is never instantiated: calling it calls the op.

    class relu(Elementwise):
        def body(b, x):   return b.where(x <= 0, b.zero(x), x)
        def vjp_x(g, y):  return where(y <= 0, 0, g)

How an extra dimension in front of the inputs passes through an op (vmap) is its axis map.

The inputs of an op are the parameters of its `body` (or `forward`, ...); keyword-only parameters
are static: part of the plan's key. One rule `vjp_NAME` for each input that has a gradient; its
parameters say what it needs: `g` the cotangent of the output, `y` the output, an input, a static
parameter, or NAME_meta for an input's shape and dtype only.
"""

from collections.abc import Callable, Iterable, Sequence
from types import FunctionType
from typing import Any, ClassVar

from lucid import dtypes
from lucid.dtypes import BOOL, FLOATING, dtype
from lucid.kernel import expr
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Monoid
from lucid.layout import broadcast_shapes

Type = tuple[tuple[int, ...], dtype, bool]  # shape, dtype, whether it is a Python number
Load = Callable[[Sequence[Expr]], Expr]  # subscripts to the element, in the compute type

# PyTorch's names of inputs, accepted beside ours.
ALIASES = {"input": "x", "other": "w", "self": "x", "target": "t"}

REGISTRY: dict[str, "type[Op]"] = {}
late: list[Callable[[], None]] = []  # what loads the families that load on first use

# Error codes that native code puts into the error slot, and what they mean; {value} is the
# offending number.
ERROR_INDEX = 1
ERROR_DIVISION = 2
ERROR_TARGET = 3
ERROR_CLASS = 5
ERROR_HOST = 4  # {value}: the number of the exception, see plan/host.py
ERRORS: dict[int, tuple[type[Exception], str]] = {
    ERROR_INDEX: (IndexError, "index {value} is out of range{limits}"),
    ERROR_DIVISION: (ZeroDivisionError, "integer division by zero"),
    ERROR_TARGET: (IndexError, "target {value} is out of range{limits}"),
    ERROR_CLASS: (RuntimeError, "class {value} is out of range{limits}"),
}


class Rule:
    """A vjp rule and the names of what it needs."""

    __slots__ = ("function", "names")

    def __init__(self, function: Callable):
        self.function = function
        code = function.__code__
        # A rule of a record with a varying number of inputs lists its needs itself.
        self.names = getattr(function, "needs", code.co_varnames[: code.co_argcount])


class OpMeta(type):
    """The type of records."""

    def __new__(
        meta, name: str, bases: tuple[type, ...], members: dict[str, Any], **kwargs: Any
    ) -> "OpMeta":
        if bases:  # records are written without self or cls: their functions are static
            members = {
                key: staticmethod(value) if isinstance(value, FunctionType) else value
                for key, value in members.items()
            }
        return super().__new__(meta, name, bases, members, **kwargs)

    def __repr__(cls) -> str:
        return cls.__name__


class Op(metaclass=OpMeta):
    """The root of the families. `dispatch` is the funnel, set by apply.py."""

    name: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]] = ()
    statics: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    rules: ClassVar[dict[str, Rule]] = {}
    ruled: ClassVar[tuple[bool, ...]] = ()  # which of the inputs have a rule
    count: ClassVar[int] = 1  # outputs
    hidden: ClassVar[tuple[str, ...]] = ()  # names of outputs kept for the rules alone
    autocast: ClassVar[str] = "widest"
    label: ClassVar[str] = ""  # the name in messages, where it is not `name`
    public: ClassVar[bool] = True
    row_major: ClassVar[bool] = False  # whether the result is, whatever the inputs are
    optional: ClassVar[dict[str, Any]] = {}  # defaults of inputs that are numbers
    usual: ClassVar[tuple | None] = None  # the static parameters of a call with inputs alone
    # The axis map, where it is one of names: static parameters that number dimensions, and those
    # that are sizes. Dimensions in neither are left alone. None: there is none.
    numbered: ClassVar[tuple[str, ...] | None] = None
    sized: ClassVar[tuple[str, ...]] = ()
    drawn: ClassVar[bool] = False  # whether it draws random numbers
    dispatch: ClassVar[Callable]

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Calling a record calls the op: inputs by position, static parameters after them or by
        name."""
        if not kwargs:
            n, more = len(cls.inputs), len(args) - len(cls.inputs)
            if more == 0 and cls.usual is not None:
                return cls.dispatch(cls, args, cls.usual)
            if more == len(cls.statics):
                return cls.dispatch(cls, args[:n], args[n:])
        return cls.dispatch(cls, *cls.bind(args, kwargs))

    def __init_subclass__(cls, abstract: bool = False, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        own = {k[4:]: Rule(getattr(cls, k)) for k in vars(cls) if k.startswith("vjp_")}
        cls.rules = {**cls.rules, **own}  # an abstract family's rules are inherited
        if abstract:
            return
        cls.name = vars(cls).get("name", cls.__name__.rstrip("_"))
        signature = cls.signature()
        if "arguments" in vars(cls):
            cls.inputs, cls.statics = vars(cls)["arguments"]
        elif signature is not None:
            inputs, cls.statics, cls.defaults = parameters_of(signature)
            cls.inputs = inputs[1:] if inputs[:1] == ("b",) else inputs
            if issubclass(cls, View):
                cls.inputs = ("x",)  # `shape` names the input's shape
        cls.ruled = tuple([name in cls.rules for name in cls.inputs])
        known = all(name in cls.defaults for name in cls.statics)
        cls.usual = tuple(cls.defaults[name] for name in cls.statics) if known else None
        cls.label = vars(cls).get("label") or cls.label or cls.name.rstrip("_")
        if cls.name in REGISTRY:
            raise TypeError(f"two ops are named {cls.name}")
        REGISTRY[cls.name] = cls

    @classmethod
    def signature(cls) -> Callable | None:
        """The function whose parameters name the inputs and static parameters."""
        return getattr(cls, "body", None)

    @classmethod
    def bind(cls, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple, tuple]:
        """The inputs and the static parameters of a call; raises what does not fit."""
        names = (*cls.inputs, *cls.statics)
        if kwargs:
            kwargs = {ALIASES.get(k, k) if k not in names else k: v for k, v in kwargs.items()}
        if len(args) > len(names):
            raise TypeError(f"{cls.name}() takes {len(names)} arguments, got {len(args)}")
        values = list(args)
        for name in names[len(args) :]:
            if name in kwargs:
                values.append(kwargs.pop(name))
            elif name in cls.defaults:
                values.append(cls.defaults[name])
            elif name in cls.optional:
                values.append(cls.optional[name])
            else:
                raise TypeError(f"{cls.name}() needs an argument {name!r}")
        if kwargs:
            raise TypeError(f"{cls.name}() has no parameter {', '.join(map(repr, kwargs))}")
        n = len(cls.inputs)
        return tuple(values[:n]), tuple(values[n:])

    @classmethod
    def infer(cls, types: Sequence[Type], params: tuple) -> list[tuple[tuple[int, ...], dtype]]:
        """The outputs' shapes and dtypes; raises what the user should read."""
        raise NotImplementedError(cls.name)

    @classmethod
    def axis_map(cls, call: Any) -> Any:
        """The outputs of a call over a batch, whose dimension is the first of every output and of
        each input that has it. `call` is a Call of autograd/batch.py."""
        if cls.numbered is None:
            raise NotImplementedError(f"vmap: {cls.label} has no axis map")
        params = []
        for name, value in zip(cls.statics, call.params, strict=True):
            if name in cls.numbered:
                value = value + 1 if isinstance(value, int) else tuple(d + 1 for d in value)
            elif name in cls.sized:
                value = (call.size, *value)
            params.append(value)
        return call.run(call.spread(), tuple(params))

    @classmethod
    def limits(cls, types: Sequence[Type], params: tuple) -> str:
        """What an index must lie in, for the message of one that does not."""
        return ""

    @classmethod
    def static(cls, params: tuple) -> dict[str, Any]:
        return dict(zip(cls.statics, params, strict=True))


def parameters_of(function: Callable) -> tuple[tuple, tuple, dict[str, Any]]:
    """Positional names, keyword-only names and their defaults: `inspect` takes ten times as long,
    and every record asks at import."""
    code = function.__code__
    count, only = code.co_argcount, code.co_kwonlyargcount
    names = code.co_varnames
    return names[:count], names[count : count + only], dict(function.__kwdefaults__ or {})


def find(name: str) -> type[Op]:
    return REGISTRY[name] if name in REGISTRY else records()[name]


def records() -> dict[str, type[Op]]:
    """All records by name, those of the late families too."""
    for load in late:
        load()
    return REGISTRY


def result_type(types: Sequence[Type]) -> dtype:
    """Type promotion: tensors with dimensions decide, then 0-d tensors, then Python numbers,
    where the later only matter if their category is higher."""
    found: list[dtype | None] = [None, None, None]
    for shape, kind, weak in types:
        level = 2 if weak else (0 if shape else 1)
        if weak and kind.category == FLOATING:
            kind = dtypes.get_default_dtype()  # a Python float has no width of its own
        known = found[level]
        found[level] = kind if known is None else dtypes.promote(known, kind)

    def combine(higher: dtype | None, lower: dtype | None) -> dtype | None:
        if higher is None or lower is None:
            return higher or lower
        return higher if higher.category >= lower.category else dtypes.promote(higher, lower)

    result = combine(found[0], combine(found[1], found[2]))
    assert result is not None
    return result


class Pointwise(Op, abstract=True):
    """One expression for each element of the output, which may load inputs anywhere.

    `element(shapes, index, loads, kinds, result, **static) -> Expr`: the output's element at
    `index`; loads[i](subscripts) reads input i in its compute type.
    """

    element: ClassVar[Callable[..., Any]]

    @classmethod
    def elements(
        cls,
        types: Sequence[Type],
        params: tuple,
        index: Sequence[Expr],
        loads: Sequence[Load],
    ) -> list[Expr]:
        """The outputs' elements at `index`, in their own dtypes."""
        made = cls.element(types, index, loads, **cls.static(params))
        made = made if isinstance(made, tuple) else (made,)
        kinds = [kind for _, kind in cls.infer(types, params)]
        return [expr.cast(m, kind) for m, kind in zip(made, kinds, strict=True)]

    @classmethod
    def signature(cls) -> Callable | None:
        return getattr(cls, "names", None)


class Elementwise(Pointwise, abstract=True):
    """`body(b, x, ...)`: a scalar expression of the inputs, which are broadcast and promoted.

    result: "same" as the promoted type, "float" (integers become the default floating type), or
    "bool".
    """

    body: ClassVar[Callable[..., Any]]
    result: ClassVar[str] = "same"
    refuses: ClassVar[tuple[int, ...]] = ()  # categories that raise

    @classmethod
    def signature(cls) -> Callable | None:
        return cls.body

    @classmethod
    def common(cls, types: Sequence[Type]) -> dtype:
        kind = result_type(types)
        if kind.category == FLOATING and all(weak for _, _, weak in types):
            return dtypes.float64  # arithmetic of Python floats, as Python does it
        if cls.result == "float" and kind.category != FLOATING:
            return dtypes.get_default_dtype()
        return kind

    @classmethod
    def infer(cls, types: Sequence[Type], params: tuple) -> list[tuple[tuple[int, ...], dtype]]:
        kind = cls.common(types)
        if kind.category in cls.refuses:
            raise TypeError(f"{cls.name} is not defined for {kind!r}")
        if cls.result == "bool":
            kind = dtypes.bool_
        return [(broadcast_shapes(cls.name, *(t[0] for t in types)), kind)]

    @classmethod
    def elements(
        cls, types: Sequence[Type], params: tuple, index: Sequence[Expr], loads: Sequence[Load]
    ) -> list[Expr]:
        common = cls.common(types).compute
        values = []
        for (shape, _, _), read in zip(types, loads, strict=True):
            values.append(expr.cast(read(broadcast_index(shape, index)), common))
        made = cls.body(expr, *values, **cls.static(params))
        return [expr.cast(made, cls.infer(types, params)[0][1])]

    @classmethod
    def axis_map(cls, call: Any) -> Any:
        """The batch is one more dimension of the broadcast."""
        return call.run(call.aligned(), call.params)


def broadcast_index(shape: Sequence[int], index: Sequence[Expr]) -> list[Expr]:
    """The subscripts of an input of this shape for the output's index."""
    aligned = index[len(index) - len(shape) :]
    return [expr.ZERO if n == 1 else i for n, i in zip(shape, aligned, strict=True)]


class Reduction(Op, abstract=True):
    """A fold of expressions over a domain: some axes are folded, the rest is the output.

    domain(types, params) -> (extents, folded): all loop extents and which of them are folded;
    monoid(types, params); element(types, params, index, loads) -> the state's components;
    finish(types, params, states) -> the output element. Outputs drop the folded axes;
    `keepdim` among the statics keeps them as size 1.
    """

    @classmethod
    def domain(
        cls, types: Sequence[Type], params: tuple
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        raise NotImplementedError

    @classmethod
    def monoid(cls, types: Sequence[Type], params: tuple) -> Monoid:
        raise NotImplementedError

    @classmethod
    def element(
        cls, types: Sequence[Type], params: tuple, index: Sequence[Expr], loads: Sequence[Load]
    ) -> tuple[Expr, ...]:
        raise NotImplementedError

    @classmethod
    def finish(cls, types: Sequence[Type], params: tuple, states: Sequence[Expr]) -> list[Expr]:
        return [states[0]]

    @classmethod
    def signature(cls) -> Callable | None:
        return getattr(cls, "names", None)


class View(Op, abstract=True):
    """Other indices for the same elements; of another type where the record says which
    (`retyped(kind) -> kind`).

    shape(shape, **static) -> the new shape;
    strides(shape, strides, offset, **static) -> (strides, offset), or None where it takes a copy;
    pull(shape, index, **static) -> the input's subscripts for the output's index;
    kept(shape, params) -> the parameters that decide about the plan of its rule, and numbers that
    its rule reads besides, by name: they may differ from call to call of one plan.
    """

    shape: ClassVar[Callable[..., Any]]
    strides: ClassVar[Callable[..., Any]]
    pull: ClassVar[Callable[..., Any]]
    retyped: ClassVar[Callable | None] = None

    @classmethod
    def kept(cls, shape: tuple[int, ...], params: tuple) -> tuple[tuple, dict[str, int]]:
        return params, {}

    @classmethod
    def infer(cls, types: Sequence[Type], params: tuple) -> list[tuple[tuple[int, ...], dtype]]:
        shape, kind, _ = types[0]
        kind = kind if cls.retyped is None else cls.retyped(kind)
        return [(tuple(cls.shape(shape, **cls.static(params))), kind)]

    @classmethod
    def signature(cls) -> Callable | None:
        return cls.shape


class Opaque(Op, abstract=True):
    """An op with kernels of its own, never fused: templates (matmul, convolution) and scans.

    lower(layouts, params, outputs) -> list of plan steps, where layouts describe the inputs
    (shape, strides, dtype) and outputs the row-major results. See plan/steps.py.
    """

    @classmethod
    def lower(cls, context: Any, inputs: Sequence[Any], params: tuple, outputs: Sequence[Any]):
        raise NotImplementedError

    @classmethod
    def strides(cls, layouts: Sequence[Any], shape: Sequence[int]) -> tuple[int, ...] | None:
        """The strides of an output in eager, None for row-major."""
        return None

    @classmethod
    def signature(cls) -> Callable | None:
        return getattr(cls, "names", None)


class Composite(Op, abstract=True):
    """A plain function of ops, traced once for each signature and fused.

    `forward(x, ..., *, static)` returns the output, or a tuple when `count` or `hidden` say so.
    """

    forward: ClassVar[Callable[..., Any]]

    @classmethod
    def signature(cls) -> Callable | None:
        return cls.forward

    @classmethod
    def run(cls, inputs: Sequence[Any], params: tuple) -> Any:
        """`forward`, hidden outputs included. Inputs of 16 bits are computed with in float32, so
        that a sum inside does not overflow; the outputs have their type, hidden ones float32."""
        kinds = {x.dtype for x in inputs if hasattr(x, "dtype") and x.dtype.category == FLOATING}
        if not kinds or any(kind.compute is kind for kind in kinds):
            return cls.forward(*inputs, **cls.static(params))
        made = cls.forward(*[widened(x) for x in inputs], **cls.static(params))
        if len(kinds) > 1:
            return made  # their common type is float32
        kind = kinds.pop()
        alone = not isinstance(made, tuple)
        outputs = [
            find("cast")(y, kind) if i < cls.count and y.dtype is kind.compute else y
            for i, y in enumerate((made,) if alone else made)
        ]
        return outputs[0] if alone else tuple(outputs)

    @classmethod
    def infer(cls, types: Sequence[Type], params: tuple) -> list[tuple[tuple[int, ...], dtype]]:
        raise TypeError(f"{cls.name} is composite: its trace gives its types")

    @classmethod
    def axis_map(cls, call: Any) -> Any:
        """That of its parts, unless it has one of its own."""
        return call.body() if cls.numbered is None else super().axis_map(call)


def widened(x: Any) -> Any:
    """A floating tensor of 16 bits in the type that it is computed in; anything else as it is."""
    kind = getattr(x, "dtype", None)
    if kind is None or not hasattr(x, "_layout") or kind.category != FLOATING:
        return x
    return x if kind.compute is kind else find("cast")(x, kind.compute)


def normal_dim(op: str, dim: int, rank: int) -> int:
    """A dimension counted from either end, as a non-negative number."""
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(f"{op}: dim must be an int, got {type(dim).__name__}")
    place = dim.__index__()
    low = max(rank, 1)
    if not -low <= place < low:
        raise IndexError(
            f"{op}: dim {place} is out of range for {rank} dimensions "
            f"(expected {-low} to {low - 1})"
        )
    return place + low if place < 0 else place


def normal_dims(op: str, dims: Any, rank: int) -> tuple[int, ...]:
    """None (all), one or several dimensions, sorted; a repeated one raises."""
    if dims is None:
        return tuple(range(rank))
    if hasattr(dims, "__index__"):
        dims = (dims,)
    elif not isinstance(dims, Iterable):
        raise TypeError(f"{op}: dim must be an int or several, got {type(dims).__name__}")
    if rank == 0:
        for d in dims:
            normal_dim(op, d, 0)
        return ()
    found = tuple(sorted(normal_dim(op, d, rank) for d in dims))
    for a, b in zip(found, found[1:], strict=False):
        if a == b:
            raise RuntimeError(f"{op}: dim {a} appears more than once")
    return found


def reduced_shape(shape: Sequence[int], dims: Sequence[int], keepdim: bool) -> tuple[int, ...]:
    if keepdim:
        return tuple(1 if d in dims else n for d, n in enumerate(shape))
    return tuple(n for d, n in enumerate(shape) if d not in dims)


__all__ = [
    "BOOL", "Axis", "Composite", "Elementwise", "Op", "Opaque", "Pointwise", "Reduction", "View",
]  # fmt: skip
