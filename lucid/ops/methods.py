"""Methods: every public op as a Tensor method, its in-place form, and the operators.

lucid/__init__.py takes the functions from `functions`; tensor.py stays free of ops.
"""

from collections.abc import Callable
from functools import partial
from types import NoneType
from typing import Any

from lucid import dtypes
from lucid.apply import apply
from lucid.array import Array
from lucid.dtypes import COMPLEX, FLOATING, dtype, ml_dtypes
from lucid.op import REGISTRY, Elementwise, Op
from lucid.ops import (
    blend,
    contract,
    creation,
    elementwise,
    index,
    join,
    logic,
    normal,
    places,
    random,
    scan,
    shape,
    statistics,
    strided,
    tables,
    together,
)
from lucid.ops import cast as casts
from lucid.ops import transcendental as trans
from lucid.ops.elementwise import add, assign, div, mul, sub, where
from lucid.ops.forms import (
    composed_in_place,
    function_of,
    in_place_of,
    put_out,
    restride,
    scaled_in_place,
    with_out,
)
from lucid.ops.late import Functions, Late, Member, Reading
from lucid.ops.normalize import log_softmax, softmax
from lucid.pairing import lowered
from lucid.tensor import Tensor
from lucid.write import write

# Functions whose signature is more than inputs and static parameters


def add_scaled(x, other, *, alpha=1):
    """x + alpha * other.

    >>> import lucid
    >>> lucid.add(lucid.ones(2), lucid.tensor([1.0, 2.0]), alpha=10)
    tensor([11., 21.])
    """
    return add(x, other if alpha == 1 else mul(other, alpha))


def sub_scaled(x, other, *, alpha=1):
    """x - alpha * other.

    >>> import lucid
    >>> lucid.sub(lucid.ones(2), lucid.tensor([1.0, 2.0]), alpha=10)
    tensor([ -9., -19.])
    """
    return sub(x, other if alpha == 1 else mul(other, alpha))


def divide(x, other, *, rounding_mode: str | None = None):
    """x / other; rounding_mode "floor" or "trunc" keeps integers.

    >>> import lucid
    >>> lucid.div(lucid.tensor([7, -7]), 2, rounding_mode="floor")
    tensor([ 3, -4])
    """
    if rounding_mode is None:
        return div(x, other)
    if rounding_mode == "floor":
        return elementwise.floor_divide(x, other)
    if rounding_mode == "trunc":
        return elementwise.div_trunc(x, other)
    raise RuntimeError(
        f"div: rounding_mode must be None, 'floor' or 'trunc', not {rounding_mode!r}"
    )


def clamp(x, min=None, max=None):
    """min(max(x, min), max); either bound may be left out.

    >>> import lucid
    >>> lucid.tensor([-2.0, 0.5, 3.0]).clamp(-1, 1)
    tensor([-1.0000,  0.5000,  1.0000])
    """
    if min is None and max is None:
        raise RuntimeError("clamp: at least one of min and max is needed")
    if max is None:
        return blend.clamp_min(x, min)
    if min is None:
        return blend.clamp_max(x, max)
    return blend.clamp_both(x, min, max)


def where_(condition, x=None, other=None):
    """x where the condition holds, else other; with the condition alone, its places.

    >>> import lucid
    >>> lucid.where(lucid.tensor([True, False]), 1.0, 2.0)
    tensor([1., 2.])
    """
    if x is None and other is None:
        return index.nonzero(condition, as_tuple=True)
    return where(condition, x, other)


def addcmul(x, tensor1, tensor2, *, value=1):
    """x + value * tensor1 * tensor2.

    >>> import lucid
    >>> lucid.addcmul(lucid.zeros(2), lucid.tensor([1.0, 2.0]), lucid.tensor([3.0, 4.0]), value=0.5)
    tensor([1.5000, 4.0000])
    """
    return blend.addcmul(x, tensor1, tensor2, value)


def addcdiv(x, tensor1, tensor2, *, value=1):
    """x + value * tensor1 / tensor2.

    >>> import lucid
    >>> lucid.addcdiv(lucid.zeros(2), lucid.tensor([1.0, 2.0]), lucid.tensor([2.0, 8.0]))
    tensor([0.5000, 0.2500])
    """
    return blend.addcdiv(x, tensor1, tensor2, value)


def masked_fill(x, mask, value):
    """x with `value` where the mask holds.

    >>> import lucid
    >>> lucid.masked_fill(lucid.arange(3), lucid.tensor([True, False, True]), 9)
    tensor([9, 1, 9])
    """
    if mask.dtype is not dtypes.bool_:
        raise RuntimeError(f"masked_fill: the mask must be bool, got {mask.dtype!r}")
    whole = isinstance(value, complex) or getattr(value, "dtype", x.dtype).category == COMPLEX
    if whole and x.dtype.category != COMPLEX:
        raise RuntimeError(f"masked_fill: a complex value cannot be written into {x.dtype!r}")
    if isinstance(value, Array) and value.ndim:
        raise RuntimeError(
            f"masked_fill: the value must be a number or a 0-d tensor, got shape "
            f"{tuple(value.shape)}; use where()"
        )
    y = where(mask, value, x)
    return y if y.dtype is x.dtype else casts.cast(y, x.dtype)


def nan_to_num(x, nan=0.0, posinf=None, neginf=None):
    """x with NaN, inf and -inf replaced; infinities by the largest finite numbers.

    >>> import lucid
    >>> lucid.nan_to_num(lucid.tensor([float("nan"), float("inf")]), 0.0, posinf=9.0)
    tensor([0., 9.])
    """
    if x.dtype.category < FLOATING:
        return x.clone()
    info = finfo(x.dtype) if x.dtype.category == FLOATING else None
    nan = 0.0 if nan is None else nan
    high = (info.max if info else 0) if posinf is None else posinf
    low = (info.min if info else 0) if neginf is None else neginf
    return blend.nan_to_num(x, nan, high, low)


def power(x, exponent):
    """x ** exponent.

    >>> import lucid
    >>> lucid.tensor([1.0, 2.0]).pow(2)
    tensor([1., 4.])
    """
    if isinstance(exponent, (int, float)) and not isinstance(exponent, bool):
        if exponent == 2:
            return elementwise.square(x)
        if exponent == 1:
            return x.clone()
        if exponent == 0.5:
            return elementwise.sqrt(x)
        if exponent == 3 and isinstance(x, Array):
            return x * x * x
        if isinstance(exponent, int) and exponent < 0 and x.dtype.category != FLOATING:
            raise RuntimeError("pow: integers to a negative integer power are not integers")
    return trans.pow_(x, exponent)


def round_to(x, *, decimals: int = 0):
    """To nearest, ties to even, at that many decimals.

    >>> import lucid
    >>> lucid.round(lucid.tensor([0.125, 2.5]), decimals=1)
    tensor([0.1000, 2.5000])
    """
    if decimals == 0:
        return elementwise.round_(x)
    scale = 10.0**decimals
    return elementwise.round_(x * scale) / scale


class finfo:
    """The limits of a floating dtype: bits, eps, max, min, tiny, resolution.

    >>> import lucid
    >>> lucid.finfo(lucid.float32).eps
    1.1920928955078125e-07
    """

    def __init__(self, kind: dtype | None = None):
        kind = kind or dtypes.get_default_dtype()
        if not kind.is_floating_point:  # which types that are only named have too
            raise TypeError(f"finfo: a floating dtype is needed, got {kind!r}")
        info = ml_dtypes.finfo(kind.numpy)
        self.dtype = kind.name
        self.bits = 8 * kind.itemsize
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.tiny)
        self.resolution = float(info.resolution)


class iinfo:
    """The limits of an integer dtype: bits, max, min.

    >>> import lucid
    >>> lucid.iinfo(lucid.int8).min
    -128
    """

    def __init__(self, kind: dtype):
        if kind.category == FLOATING:
            raise TypeError(f"iinfo: an integer dtype is needed, got {kind!r}")
        self.dtype = kind.name
        self.bits = 8 * kind.itemsize
        self.max = (1 << (self.bits - kind.signed)) - 1
        self.min = -(1 << (self.bits - 1)) if kind.signed else 0


# Methods with a meaning of their own


def to(self, *args: Any, **kwargs: Any) -> Any:
    """This tensor as another dtype: to(dtype), to(device), to(device, dtype) or to(other), then
    non_blocking, copy and memory_format. The tensor itself where it is that already, unless
    `copy`; non_blocking changes nothing, as the CPU has nothing to wait for."""
    first = args[0] if args else None
    if isinstance(first, Array):
        args = (first._layout.device, first._layout.dtype, *args[1:])
    elif isinstance(first, (dtype, type)):
        args = (None, *args)
    names = ("device", "dtype", "non_blocking", "copy", "memory_format")
    if len(args) > 4:
        raise TypeError("to() takes device, dtype, non_blocking and copy by position")
    given = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name not in names:
            raise TypeError(f"to() has no parameter {name!r}")
        if given.get(name) is not None:
            raise TypeError(f"to() got {name} twice")
        given[name] = value
    for name in ("non_blocking", "copy"):
        if not isinstance(given.get(name, False), bool):
            raise TypeError(f"to(): {name} must be a bool, got {given[name]!r}")
    kind = dtypes.of_type(given.get("dtype"))
    copy, form = given.get("copy"), given.get("memory_format")
    if not isinstance(kind, (dtype, NoneType)):
        raise TypeError(f"to(): a dtype is expected, got {kind!r}")
    creation._place(given.get("device"))
    y = self if kind is None else casts.to_dtype(self, kind)
    if form is not None:
        y = shape.contiguous(y, form)
    return y.clone() if copy and y is self else y


def type_(self, kind: Any = None) -> Any:
    """The legacy type's name, or this tensor as that type."""
    if kind is None:
        return "lucid." + LEGACY_NAMES[self.dtype]
    if isinstance(kind, str):
        name = kind.rsplit(".", 1)[-1]
        found = [d for d, n in LEGACY_NAMES.items() if n == name]
        if not found:
            raise ValueError(f"type: {kind!r} is not a tensor type")
        kind = found[0]
    kind = getattr(kind, "kind", kind)
    return casts.to_dtype(self, kind)


LEGACY_NAMES = {
    dtypes.float32: "FloatTensor", dtypes.float64: "DoubleTensor", dtypes.float16: "HalfTensor",
    dtypes.bfloat16: "BFloat16Tensor", dtypes.uint8: "ByteTensor", dtypes.int8: "CharTensor",
    dtypes.int16: "ShortTensor", dtypes.int32: "IntTensor", dtypes.int64: "LongTensor",
    dtypes.bool_: "BoolTensor", dtypes.complex64: "ComplexFloatTensor",
    dtypes.complex128: "ComplexDoubleTensor",
}  # fmt: skip


def type_as(self, other):
    """This tensor as other's dtype; itself if it is already."""
    return casts.to_dtype(self, other.dtype)


def new_tensor(self, data, **options: Any):
    """tensor() with this tensor's dtype."""
    return creation.tensor(data, **{"dtype": self.dtype, **options})


def cpu(self, memory_format: Any = None):
    """This tensor: it is on the CPU; in another order if asked."""
    return self if memory_format is None else shape.contiguous(self, memory_format)


def where_method(self, condition, other):
    """self where condition, else other."""
    return where(condition, self, other)


def _reversed(self: Any) -> Any:
    """A view with all dimensions in reverse order."""
    return shape.reversed_(self)


def _matrix_transposed(self: Any) -> Any:
    """A view with the last two dimensions exchanged."""
    return shape.transpose(self, -2, -1)


def _transposed(self: Any) -> Any:
    """A view of a matrix with its two dimensions exchanged."""
    return shape.transpose(self, 0, 1)


def _converter(kind: dtype) -> Callable:
    def convert(self: Any, memory_format: Any = None) -> Any:
        y = casts.to_dtype(self, kind)
        return y if memory_format is None else shape.contiguous(y, memory_format)

    convert.__doc__ = f"This tensor as {kind.name}; itself if it is already."
    return convert


def copy_(self, src, non_blocking: bool = False):
    """Write src, broadcast and cast, into this tensor."""
    return write(assign, self, (src,), name="copy_")


def fill_(self, value):
    """Write one number everywhere."""
    if isinstance(value, Array) and value.ndim:
        raise RuntimeError(f"fill_: a number or 0-d tensor is needed, got {tuple(value.shape)}")
    return write(assign, self, (value,), name="fill_")


def zero_(self):
    """Write zeros."""
    return write(assign, self, (0,), name="zero_")


def _new(function: Callable) -> Callable:
    def method(self: Any, *size: Any, dtype: Any = None, **options: Any) -> Any:
        return function(*size, dtype=dtype or self.dtype, **options)

    method.__doc__ = f"{function.__name__}() with this tensor's dtype."
    return method


def _operators() -> None:
    """x + w and its relatives: straight to the funnel."""

    def forward(record: type[Op]) -> Callable:
        def operator(self: Any, w: Any) -> Any:
            return apply(record, (self, w))

        return operator

    def backward(record: type[Op]) -> Callable:
        def operator(self: Any, w: Any) -> Any:
            return apply(record, (w, self))

        return operator

    pairs = {
        "add": add, "sub": sub, "mul": mul, "truediv": div, "floordiv": elementwise.floor_divide,
        "mod": elementwise.remainder, "and": logic.bitwise_and,
        "or": logic.bitwise_or, "xor": logic.bitwise_xor,
        "lshift": logic.bitwise_left_shift, "rshift": logic.bitwise_right_shift,
    }  # fmt: skip
    for name, record in pairs.items():
        setattr(Tensor, f"__{name}__", forward(record))
        setattr(Tensor, f"__r{name}__", backward(record))
        setattr(Tensor, f"__i{name}__", _augmented(record))
    for name in ("lt", "le", "gt", "ge"):
        setattr(Tensor, f"__{name}__", forward(getattr(logic, name)))
    for name in ("eq", "ne"):
        setattr(Tensor, f"__{name}__", _equality(getattr(logic, name)))
    own: dict[str, Callable] = {
        "__rdiv__": backward(div),
        "__neg__": lambda self: apply(elementwise.neg, (self,)),
        "__pos__": lambda self: apply(elementwise.positive, (self,)),
        "__abs__": lambda self: apply(elementwise.abs_, (self,)),
        "__invert__": lambda self: apply(logic.bitwise_not, (self,)),
        "__pow__": lambda self, w: power(self, w),
        "__rpow__": lambda self, w: apply(trans.pow_, (w, self)),
        "__ipow__": lambda self, w: write(trans.pow_, self, (self, w)),
        "__matmul__": lambda self, w: contract.matmul(self, w),
        "__rmatmul__": lambda self, w: contract.matmul(w, self),
    }
    for name, operator in own.items():
        setattr(Tensor, name, operator)


def _augmented(record: type[Op]) -> Callable:
    def operator(self: Any, w: Any) -> Any:
        return write(record, self, (self, w))

    return operator


def _equality(record: type[Op]) -> Callable:
    def operator(self: Any, w: Any) -> Any:
        if not isinstance(w, (Array, int, float)):
            return NotImplemented
        return apply(record, (self, w))

    return operator


# Functions by public name. Elementwise records come first, the rest overrides them.
_records = [r for r in REGISTRY.values() if issubclass(r, Elementwise) and r.public]
functions = Functions({record.name: function_of(record) for record in _records})
functions |= {
    "add": with_out(add_scaled), "sub": with_out(sub_scaled), "subtract": sub_scaled,
    "div": with_out(divide), "divide": divide, "true_divide": functions["div"],
    "multiply": functions["mul"], "negative": functions["neg"], "absolute": functions["abs"],
    "clamp": with_out(clamp), "where": where_, "addcmul": addcmul,
    "addcdiv": addcdiv, "masked_fill": masked_fill, "nan_to_num": nan_to_num,
    "pow": with_out(power), "power": with_out(power), "round": with_out(round_to),
    "gather": places.gather_along,
    "masked_select": index.masked_select, "nonzero": index.nonzero,
    "greater": functions["gt"], "less": functions["lt"], "greater_equal": functions["ge"],
    "less_equal": functions["le"], "not_equal": functions["ne"],
    "arcsin": functions["asin"], "arccos": functions["acos"], "arctan": functions["atan"],
    "arctan2": functions["atan2"], "arctanh": functions["atanh"],
    "arccosh": functions["acosh"], "arcsinh": functions["asinh"], "fix": functions["trunc"],
    "gelu": function_of(normal.gelu),
    "softmax": softmax, "log_softmax": log_softmax,
    "tril": creation.tril, "triu": creation.triu, "clone": shape.clone, "equal": statistics.equal,
}  # fmt: skip
for _name in "scatter scatter_add index_select index_add index_copy index_fill index_put".split():
    functions[_name] = getattr(places, _name)
for _name in (
    "sum mean var std var_mean std_mean prod amax amin aminmax max min argmax argmin any all "
    "count_nonzero logsumexp norm allclose isclose"
).split():
    functions[_name] = with_out(getattr(statistics, _name))
for _name in (
    "reshape flatten unflatten ravel squeeze unsqueeze permute transpose t movedim "
    "broadcast_to tile repeat_interleave narrow select split chunk tensor_split unbind flip "
    "diagonal diag trace"
).split():
    functions[_name] = getattr(shape, _name)
functions |= {"swapaxes": shape.transpose, "swapdims": shape.transpose, "roll": join.roll}
functions["moveaxis"] = shape.movedim
functions |= {"cumsum": with_out(scan.cumsum), "cumprod": with_out(scan.cumprod)}
for _name in "matmul mm bmm mv dot outer addmm baddbmm tensordot".split():
    functions[_name] = with_out(getattr(contract, _name))
# Functions that are no methods.
creators = Functions({
    "cat": with_out(join.cat), "concat": join.cat, "concatenate": join.cat,
    "stack": with_out(join.stack), "hstack": join.hstack, "vstack": join.vstack,
    "einsum": contract.einsum, "meshgrid": together.meshgrid, "as_strided": strided.as_strided,
    "broadcast_tensors": together.broadcast_tensors, "finfo": finfo, "iinfo": iinfo,
})  # fmt: skip
for _name in (
    "empty full zeros ones empty_like full_like zeros_like ones_like arange linspace eye "
    "from_numpy from_dlpack tensor as_tensor"
).split():
    creators[_name] = getattr(creation, _name)
_with_out = set(tables.WITH_OUT.split())
for _table in (functions, creators):
    put_out(_table, _table.keys() & _with_out)
for _table, _late in (
    (functions, tables.elementwise), (functions, tables.with_out), (functions, tables.methods),
    (creators, tables.creators), (creators, tables.functions),
):  # fmt: skip
    writes = _late is tables.with_out or _late is tables.creators
    for _name, _found in _late.items():
        _found.form = with_out if writes or _name in _with_out else None
        _table.late[_name] = _found


def _property(late: Late) -> property:
    return property(late())


def _in_place(name: str) -> Callable:
    """The method `name_` of a function."""
    record = getattr(functions[name], "record", None)
    return composed_in_place(name, functions[name]) if record is None else in_place_of(record)


def _attach() -> None:
    for name, function in functions.items():
        setattr(Tensor, name, function)
    for name in functions.late:
        setattr(Tensor, name, Member(Tensor, name, partial(functions.__getitem__, name)))
    for record in _records:
        setattr(Tensor, f"{record.name}_", in_place_of(record))
    for name in (
        "add sub div clamp masked_fill nan_to_num pow round scatter "
        "scatter_add index_fill cumsum cumprod tril triu"
    ).split():
        if not hasattr(Tensor, f"{name}_") or name in ("add", "sub", "div", "pow", "round"):
            setattr(Tensor, f"{name}_", composed_in_place(name, functions[name]))
    for name, late in tables.only_methods.items():
        setattr(Tensor, name, Member(Tensor, name, late))
    for name in tables.in_place:
        setattr(Tensor, f"{name}_", Member(Tensor, f"{name}_", partial(_in_place, name)))
    own = {
        "add_": scaled_in_place(add), "sub_": scaled_in_place(sub), "type": type_,
        "type_as": type_as, "new_tensor": new_tensor, "cpu": cpu, "where": where_method,
    }  # fmt: skip
    for name, method in own.items():
        setattr(Tensor, name, method)
    for name, first in tables.SECOND.items():
        setattr(Tensor, f"{name}_", getattr(Tensor, f"{first}_"))
    for name in "view view_as reshape_as expand expand_as repeat contiguous unfold".split():
        setattr(Tensor, name, getattr(shape, name))
    for method in (
        to, copy_, fill_, zero_, random.uniform_, random.normal_, random.bernoulli_,
        random.random_, random.bernoulli,
    ):  # fmt: skip
        setattr(Tensor, method.__name__, method)
    for name, kind in {
        "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
        "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16,
        "bfloat16": dtypes.bfloat16, "byte": dtypes.uint8, "char": dtypes.int8,
        "short": dtypes.int16, "int": dtypes.int32, "long": dtypes.int64, "bool": dtypes.bool_,
    }.items():  # fmt: skip
        setattr(Tensor, name, _converter(kind))
    for name in "zeros ones empty full".split():
        setattr(Tensor, f"new_{name}", _new(creators[name]))
    for name, reading in {"T": _reversed, "mT": _matrix_transposed}.items():
        setattr(Tensor, name, property(reading))
    for name, late in tables.properties.items():
        setattr(Tensor, name, Reading(Tensor, name, partial(_property, late)))
    for name in "squeeze unsqueeze transpose t swapaxes swapdims".split():
        setattr(Tensor, f"{name}_", restride(name, functions[name]))
    _operators()


_attach()
_lower = Late("complex", "lower")
lowered.append(lambda op, inputs, params: _lower()(op, inputs, params))
