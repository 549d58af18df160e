"""Reductions: folds over dimensions, and the functions made of them."""

from collections.abc import Sequence

import numpy as np

from lucid import dtypes
from lucid.dtypes import FLOATING, bool_, int64
from lucid.kernel import expr, loops
from lucid.kernel.expr import Expr
from lucid.op import Reduction, reduced_shape
from lucid.ops.elementwise import where
from lucid.ops.gather import one_place
from lucid.ops.view import expand, reshape


class Plain(Reduction, abstract=True):
    """A fold of the input's own elements over `dims`. `accumulate(kind)` is the state's type."""

    numbered = ("dims",)

    def names(x, *, dims, keepdim=False):
        pass

    @classmethod
    def domain(cls, types, params):
        return types[0][0], tuple(params[0])

    @classmethod
    def accumulate(cls, kind, params):
        return kind.compute

    @classmethod
    def result(cls, kind, params):
        return kind

    @classmethod
    def fold(cls, kind):
        raise NotImplementedError

    @classmethod
    def monoid(cls, types, params):
        return cls.fold(cls.accumulate(types[0][1], params))

    @classmethod
    def infer(cls, types, params):
        shape, kind, _ = types[0]
        return [(reduced_shape(shape, params[0], params[1]), cls.result(kind, params))]

    @classmethod
    def element(cls, types, params, index: Sequence[Expr], loads):
        return (expr.cast(loads[0](index), cls.accumulate(types[0][1], params)),)


def _integer_sum(kind: dtypes.dtype) -> dtypes.dtype:
    return kind if kind.category == FLOATING else int64


class Wide(Plain, abstract=True):
    """sum and prod: bool and integers are combined in int64."""

    @classmethod
    def accumulate(cls, kind, params):
        return _integer_sum(kind).compute

    @classmethod
    def result(cls, kind, params):
        return _integer_sum(kind)


class sum_(Wide):
    """The sum over dims; bool and integers add up in int64. In blocks, see loops.Fold."""

    public = False

    @classmethod
    def fold(cls, kind):
        return loops.sum_of(kind)

    def vjp_x(g, x_meta, dims, keepdim):
        return spread(g, x_meta.shape, dims, keepdim)

    def ref(x, dims, keepdim=False):
        return np.sum(x, axis=dims, keepdims=keepdim)


def spread(g, shape, dims, keepdim):
    """g of a reduction's output, back over the input's shape."""
    if not keepdim:
        g = reshape(g, reduced_shape(shape, dims, True))
    return expand(g, shape)


class prod_(Wide):
    """The product over dims; bool and integers multiply in int64."""

    public = False

    @classmethod
    def fold(cls, kind):
        return loops.product_of(kind)

    def ref(x, dims, keepdim=False):
        return np.prod(x, axis=dims, keepdims=keepdim)


class Extreme(Plain, abstract=True):
    """amax and amin."""

    @classmethod
    def domain(cls, types, params):
        shape = types[0][0]
        if any(shape[d] == 0 for d in params[0]):
            raise IndexError(f"{cls.name}: a dimension of size 0 has no extreme value")
        return shape, tuple(params[0])

    def vjp_x(g, x, y, dims, keepdim):
        shape = x.shape
        high = expand(reshape(y, reduced_shape(shape, dims, True)), shape)
        hit = where(x == high, 1.0, 0.0)
        count = sum_(hit, dims, True)
        return hit * (reshape(g, reduced_shape(shape, dims, True)) / count)


class amax_(Extreme):
    """The largest over dims; NaN if there is one. Equal elements share the gradient."""

    public = False

    @classmethod
    def fold(cls, kind):
        return loops.maximum_of(kind)

    def ref(x, dims, keepdim=False):
        return np.max(x, axis=dims, keepdims=keepdim)


class amin_(Extreme):
    """The smallest over dims; NaN if there is one. Equal elements share the gradient."""

    public = False

    @classmethod
    def fold(cls, kind):
        return loops.minimum_of(kind)

    def ref(x, dims, keepdim=False):
        return np.min(x, axis=dims, keepdims=keepdim)


class Truth(Plain, abstract=True):
    """any and all: over non-zero."""

    @classmethod
    def result(cls, kind, params):
        return bool_

    @classmethod
    def element(cls, types, params, index, loads):
        x = loads[0](index)
        return (x if x.dtype is bool_ else x.ne(0),)


class any_(Truth):
    """Whether any element is non-zero."""

    public = False

    @classmethod
    def monoid(cls, types, params):
        return loops.any_of()

    def ref(x, dims, keepdim=False):
        return np.any(x, axis=dims, keepdims=keepdim)


class all_(Truth):
    """Whether all elements are non-zero."""

    public = False

    @classmethod
    def monoid(cls, types, params):
        return loops.all_of()

    def ref(x, dims, keepdim=False):
        return np.all(x, axis=dims, keepdims=keepdim)


class Located(Reduction, abstract=True):
    """(value, index) of the first extreme along one dimension (or the flattened tensor)."""

    largest = True
    count = 2
    numbered = ("dim",)

    def names(x, *, dim, keepdim=False):
        pass

    @classmethod
    def domain(cls, types, params):
        shape = types[0][0]
        if shape[params[0]] == 0:
            raise IndexError(f"{cls.name}: dimension {params[0]} of size 0 has no extreme value")
        return shape, (params[0],)

    @classmethod
    def monoid(cls, types, params):
        return loops.extremum_with_index(types[0][1].compute, cls.largest)

    @classmethod
    def infer(cls, types, params):
        shape, kind, _ = types[0]
        reduced = reduced_shape(shape, (params[0],), params[1])
        return [(reduced, kind), (reduced, int64)]

    @classmethod
    def element(cls, types, params, index, loads):
        return loads[0](index), index[params[0]]

    @classmethod
    def finish(cls, types, params, states):
        return [states[0], states[1]]

    def vjp_x(g, y1, x_meta, dim, keepdim):
        shape = reduced_shape(x_meta.shape, (dim,), True)
        return one_place(reshape(g, shape), reshape(y1, shape), x_meta.shape[dim], dim)


class max_located(Located):
    """The largest along dim and where it first is."""

    public = False

    def ref(x, dim, keepdim=False):
        return np.max(x, axis=dim, keepdims=keepdim), np.argmax(x, axis=dim, keepdims=keepdim)


class min_located(Located):
    """The smallest along dim and where it first is."""

    public = False
    largest = False

    def ref(x, dim, keepdim=False):
        return np.min(x, axis=dim, keepdims=keepdim), np.argmin(x, axis=dim, keepdims=keepdim)
