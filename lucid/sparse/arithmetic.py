"""Sums, multiples and copies of sparse tensors, and what is done to them in place.

Called by users as methods, and by the ops that meet a sparse tensor: gradients are added up, cast
and scaled this way. multiply.py has the products of matrices.
"""

from typing import Any

import lucid
from lucid.autograd.mode import is_grad_enabled
from lucid.ops.gather import put, put_into, take
from lucid.sparse.tensor import ANSWERS, WRITERS, SparseTensor, build, refuse


def add(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """self + alpha other: sparse where both are, dense where one is.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0]], [2.0], (2,))
    >>> (x + x).to_dense(), x + lucid.ones(2)
    (tensor([4., 0.]), tensor([3., 1.]))
    """
    other = other if alpha == 1 else other * alpha
    if not all(isinstance(x, lucid.Tensor) for x in (self, other)) or self.shape != other.shape:
        refuse("add with anything but a tensor of the same shape")
    sparse = [isinstance(x, SparseTensor) for x in (self, other)]
    if sparse == [True, True]:
        made = joined(self, other).coalesce()
        return made.to_sparse(layout=self.layout) if self.layout == other.layout else made
    return _filled(other, self) if sparse[0] else _filled(self, other)


def joined(x: SparseTensor, w: SparseTensor) -> SparseTensor:
    """The sum, with the places of both one after the other."""
    if x.shape != w.shape:
        raise RuntimeError(f"add: shapes {tuple(x.shape)} and {tuple(w.shape)} differ")
    if x.sparse_dim() != w.sparse_dim():
        refuse("add of different numbers of sparse dimensions")
    if x._at is w._at:
        return build(x._at, x._numbers + w._numbers, tuple(x.shape), x._coalesced)
    places = lucid.cat([x._at, w._at], 1)
    return build(places, lucid.cat([x._numbers, w._numbers]), tuple(x.shape), False)


def _filled(x: lucid.Tensor, w: SparseTensor) -> lucid.Tensor:
    """A dense x plus a sparse w."""
    kind = lucid.promote_types(x.dtype, w.dtype)
    if not w.sparse_dim():
        return x + w.to_dense()
    return put(x.to(kind), w._numbers.to(kind), list(w._at.unbind(0)), 0, True)


def sub(self: Any, other: Any, *, alpha: Any = 1) -> Any:
    """self - alpha other."""
    if not isinstance(other, lucid.Tensor):
        refuse("sub with a number")
    return add(self, -other, alpha=alpha)


def rsub(self: SparseTensor, other: Any) -> Any:
    """other - self"""
    return add(-self, other)


def neg(self: SparseTensor) -> SparseTensor:
    """-self"""
    return self.mapped(-self._numbers)


def mul(self: Any, other: Any) -> SparseTensor:
    """Times a number, or element by element times a dense tensor of the same shape: sparse.

    >>> import lucid
    >>> x = lucid.sparse_coo_tensor([[0]], [2.0], (2,))
    >>> (x * lucid.tensor([5.0, 7.0])).to_dense()
    tensor([10.,  0.])
    """
    if not isinstance(self, SparseTensor):
        self, other = other, self
    if isinstance(other, lucid.Tensor) and other.ndim and other.layout == "strided":
        if other.shape != self.shape or not self.sparse_dim():
            refuse(f"mul with a tensor of shape {tuple(other.shape)}")
        return self.mapped(self._numbers * take(other, list(self._at.unbind(0)), 0))
    return self.mapped(self._numbers * _number("mul", other))


def div(self: SparseTensor, other: Any, *, rounding_mode: str | None = None) -> SparseTensor:
    """Divided by a number."""
    divisor = _number("div", other)
    return self.mapped(lucid.div(self._numbers, divisor, rounding_mode=rounding_mode))


def _number(name: str, other: Any) -> Any:
    if isinstance(other, SparseTensor) or (isinstance(other, lucid.Tensor) and other.ndim):
        return refuse(f"{name} with a {type(other).__name__} that is no number")
    return other


# ---- in place -----------------------------------------------------------------------------------


def become(self: SparseTensor, other: SparseTensor) -> SparseTensor:
    """These places and values from now on: the tensor stays the same object."""
    if is_grad_enabled() and (self.requires_grad or other.requires_grad):
        refuse("a change in place that is to be recorded")
    if self.layout != other.layout:
        refuse(f"a change of {self.layout} in place")
    self._at, self._numbers, self._coalesced = other._at, other._numbers, other._coalesced
    return self


def add_(self: SparseTensor, other: Any, *, alpha: Any = 1) -> SparseTensor:
    """In place: plus alpha times a sparse tensor."""
    if not isinstance(other, SparseTensor):
        refuse("add_ of anything but a sparse tensor")
    other = other if alpha == 1 else other * alpha
    return become(self, joined(self, other.to(self.dtype)))


def sub_(self: SparseTensor, other: Any, *, alpha: Any = 1) -> SparseTensor:
    """In place: minus alpha times a sparse tensor."""
    return add_(self, other, alpha=-alpha)


def mul_(self: SparseTensor, other: Any) -> SparseTensor:
    """In place: times a number."""
    self._numbers.mul_(_number("mul_", other))
    return self


def div_(self: SparseTensor, other: Any) -> SparseTensor:
    """In place: divided by a number."""
    self._numbers.div_(_number("div_", other))
    return self


def neg_(self: SparseTensor) -> SparseTensor:
    """In place: -self."""
    self._numbers.neg_()
    return self


def zero_(self: SparseTensor) -> SparseTensor:
    """In place: nothing is stored."""
    return become(self, build(self._at[:, :0], self._numbers[:0], tuple(self.shape), True))


def copy_(self: SparseTensor, src: Any, non_blocking: bool = False) -> SparseTensor:
    """In place: the places and values of another sparse tensor of the same shape."""
    if not isinstance(src, SparseTensor) or src.shape != self.shape:
        refuse("copy_ of anything but a sparse tensor of the same shape")
    made: Any = src.clone().to(self.dtype)
    return become(self, made)


def clamp_(self: SparseTensor, min: Any = None, max: Any = None) -> SparseTensor:
    """In place: the elements within bounds, between which 0 has to lie."""
    if (min is not None and min > 0) or (max is not None and max < 0):
        refuse("clamp_ to bounds that 0 is not between")
    whole = self.coalesce()
    return become(self, whole.mapped(whole._numbers.clamp(min, max)))


# ---- what ops ask --------------------------------------------------------------------------------


def _cast(inputs: Any, params: tuple) -> Any:
    return inputs[0].mapped(inputs[0]._numbers.to(params[0]))


def _sum(inputs: Any, params: tuple) -> Any:
    """As `add`, but two sparse gradients are not sorted: that is for whoever reads them."""
    x, w = inputs
    both = isinstance(x, SparseTensor) and isinstance(w, SparseTensor)
    return joined(x, w) if both else add(x, w)


class _Addition:
    """What stands where a plan does: a sparse tensor added to the elements of a dense one."""

    def __init__(self, target: Any, given: SparseTensor):
        self.target, self.given = target, given

    def run(self, *addresses: int) -> None:
        w = self.given
        if not w.sparse_dim():
            refuse("add_ of a sparse tensor without sparse dimensions")
        values = w._numbers.detach().to(self.target.dtype)
        with lucid.no_grad():
            put_into("add_", self.target.detach(), values, list(w._at.unbind(0)), 0, True)


def _written_sum(target: Any, inputs: Any) -> Any:
    """target + sparse, into the target."""
    given = inputs[1]
    if inputs[0] is not target or not isinstance(given, SparseTensor):
        refuse("add_ of a sparse tensor into something else")
    if given.shape != target.shape:
        raise RuntimeError(f"add_: shapes {tuple(target.shape)} and {tuple(given.shape)} differ")
    if is_grad_enabled() and given.requires_grad:
        refuse("add_ of a sparse tensor that requires a gradient")
    return (_Addition(target, given),)


ANSWERS |= {
    "add": _sum,
    "sub": lambda inputs, params: sub(*inputs),
    "neg": lambda inputs, params: neg(*inputs),
    "mul": lambda inputs, params: mul(*inputs),
    "div": lambda inputs, params: div(*inputs) if isinstance(inputs[0], SparseTensor) else None,
    "clone": lambda inputs, params: inputs[0].clone(),
    "cast": _cast,
    "isnan": lambda inputs, params: inputs[0].mapped(lucid.isnan(inputs[0]._numbers)),
}
WRITERS["add"] = _written_sum

METHODS = {
    "add": add, "sub": sub, "neg": neg, "mul": mul, "div": div, "multiply": mul, "divide": div,
    "true_divide": div, "subtract": sub, "negative": neg,
    "__add__": add, "__radd__": add, "__sub__": sub, "__rsub__": rsub, "__neg__": neg,
    "__mul__": mul, "__rmul__": mul, "__truediv__": div,
    "add_": add_, "sub_": sub_, "mul_": mul_, "div_": div_, "neg_": neg_, "zero_": zero_,
    "copy_": copy_, "clamp_": clamp_,
    "__iadd__": add_, "__isub__": sub_, "__imul__": mul_, "__itruediv__": div_,
}  # fmt: skip
for _name, _method in METHODS.items():
    setattr(SparseTensor, _name, _method)
