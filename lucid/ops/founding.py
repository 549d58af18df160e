"""Functions and methods of the founding framework that PyTorch has not, or has under other names.

ops/tables.py makes them public; users call them.
"""

from collections.abc import Sequence
from typing import Any

from lucid.autograd.mode import no_grad
from lucid.ops import padding
from lucid.ops.cast import to_dtype
from lucid.ops.creation import as_tensor
from lucid.ops.shape import unsqueeze


def to_tensor(a, requires_grad: bool = False, dtype=None, device=None):
    """A tensor of an array, a list or a number; a tensor is itself where nothing changes.

    >>> import lucid
    >>> lucid.to_tensor([1.0, 2.0], requires_grad=True)
    tensor([1., 2.], requires_grad=True)
    """
    x = as_tensor(a, dtype=dtype, device=device)
    return x.detach().requires_grad_() if requires_grad and not x.requires_grad else x


def cube(x):
    """x^3 for each element.

    >>> import lucid
    >>> lucid.cube(lucid.tensor([2.0, -3.0]))
    tensor([  8., -27.])
    """
    return x**3


def clip(x, min=None, max=None, *, min_value=None, max_value=None):
    """`clamp`; the bounds are also named min_value and max_value.

    >>> import lucid
    >>> lucid.clip(lucid.tensor([-2.0, 3.0]), min_value=-1, max_value=1)
    tensor([-1.,  1.])
    """
    if (min_value is not None and min is not None) or (max_value is not None and max is not None):
        raise TypeError("clip: a bound is given twice, under both of its names")
    return x.clamp(min if min_value is None else min_value, max if max_value is None else max_value)


def expand_dims(x, axis):
    """A dimension of size 1 at `axis`, or at each of several; `unsqueeze`.

    >>> import lucid
    >>> lucid.expand_dims(lucid.ones(2), (0, 2)).shape
    lucid.Size([1, 2, 1])
    """
    axes = [axis] if isinstance(axis, int) else sorted(a % (x.ndim + len(axis)) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError(f"expand_dims: axis={axis} names a dimension twice")
    for a in axes:
        x = unsqueeze(x, a)
    return x


def pad(x, pad_width: Any):
    """Zeros around x, as NumPy's: pad_width is one number, (before, after) for all dimensions, or a
    pair for each. `nn.functional.pad` has PyTorch's order, and more modes.

    >>> import lucid
    >>> lucid.pad(lucid.ones(1, 1), ((0, 1), (2, 0))).tolist()
    [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]
    """
    pairs = _pairs(pad_width, x.ndim)
    return padding.pad(x, [n for pair in reversed(pairs) for n in pair], "constant", 0)


def _pairs(width: Any, ndim: int) -> list[tuple[int, int]]:
    if isinstance(width, int):
        return [(width, width)] * ndim
    if len(width) == 2 and all(isinstance(n, int) for n in width):
        return [(int(width[0]), int(width[1]))] * ndim
    made = [tuple(pair) if isinstance(pair, Sequence) else (pair, pair) for pair in width]
    if len(made) != ndim or any(len(pair) != 2 for pair in made):
        raise ValueError(f"pad: pad_width={width!r} does not fit {ndim} dimensions")
    return [(int(a), int(b)) for a, b in made]


def astype(self, dtype):
    """This tensor as another dtype; `to`.

    >>> import lucid
    >>> lucid.ones(1).astype(lucid.Int32).dtype
    lucid.int32
    """
    return to_dtype(self, dtype)


def copy_data(self):
    """A copy of the elements, without history.

    >>> import lucid
    >>> lucid.ones(1, requires_grad=True).copy_data()
    tensor([1.])
    """
    with no_grad():
        return self.clone().detach()


def copy_grad(self):
    """A copy of `.grad`, None where there is none.

    >>> import lucid
    >>> lucid.ones(1, requires_grad=True).copy_grad() is None
    True
    """
    return None if self.grad is None else copy_data(self.grad)


def zero_grad(self, set_to_none: bool = True):
    """Forget `.grad`; with set_to_none=False, write zeros into it.

    >>> import lucid
    >>> x = lucid.ones(1, requires_grad=True)
    >>> x.sum().backward()
    >>> x.zero_grad()
    >>> x.grad is None
    True
    """
    if set_to_none:
        self.grad = None
    elif self.grad is not None:
        with no_grad():
            self.grad.detach().zero_()


def is_free(self):
    """Whether operations take this tensor beside those of any device: it has no dimensions.

    >>> import lucid
    >>> lucid.tensor(1.0).is_free, lucid.ones(1).is_free
    (True, False)
    """
    return self.ndim == 0
