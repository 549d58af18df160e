"""`lucid.autograd.forward_ad`: forward mode by hand, with dual tensors.

Called by users, under PyTorch's names; the tensors and their level are those of forward.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lucid.array import Array
from lucid.autograd.forward import DualLevel
from lucid.autograd.level import levels
from lucid.dtypes import FLOATING


class UnpackedDualTensor(NamedTuple):
    """A value and its tangent, None where there is none."""

    primal: Any
    tangent: Any


class _Opened(DualLevel):
    """A level that `enter_dual_level` has opened."""


def _open() -> list[_Opened]:
    """The levels that are open here, the outermost first."""
    return [v for v in reversed(levels()) if isinstance(v, _Opened)]


def _level(called: str, number: int | None) -> _Opened:
    found = _open()
    if not found:
        raise RuntimeError(f"{called}: no level is open; use it within `with dual_level():`")
    if number is None:
        return found[-1]
    if isinstance(number, bool) or not 0 <= number < len(found):
        raise RuntimeError(f"{called}: level {number} is not open; open are 0 to {len(found) - 1}")
    return found[number]


def enter_dual_level() -> int:
    """Open a level of forward mode; returns its number. `dual_level` closes it by itself.

    >>> from lucid.autograd import forward_ad
    >>> number = forward_ad.enter_dual_level()
    >>> forward_ad.exit_dual_level(level=number)
    """
    _Opened().__enter__()
    return len(_open()) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Close the innermost level, which must be `level` where that is given."""
    found = _level("exit_dual_level", None)
    number = len(_open()) - 1
    if level is not None and level != number:
        raise RuntimeError(
            f"exit_dual_level: level {level} is not the innermost one, which is {number}"
        )
    if levels()[0] is not found:
        raise RuntimeError("exit_dual_level: another transformation is open inside of the level")
    found.__exit__()


@contextmanager
def dual_level() -> Iterator[int]:
    """A block in which dual tensors exist; their use afterwards raises.

    Levels nest, each with tangents of its own. Under no_grad tangents are not carried on, as
    gradients are not.

    >>> import lucid
    >>> from lucid.autograd import forward_ad
    >>> with forward_ad.dual_level():
    ...     x = forward_ad.make_dual(lucid.tensor(3.0), lucid.tensor(1.0))
    ...     y = forward_ad.unpack_dual(x * x)
    >>> y
    UnpackedDualTensor(primal=tensor(9.), tangent=tensor(6.))
    """
    level = _Opened()
    with level:
        yield len(_open()) - 1


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """The dual tensor of a value and its tangent, which must have its shape and dtype."""
    found = _level("make_dual", level)
    for what, x in (("tensor", tensor), ("tangent", tangent)):
        if not isinstance(x, Array):
            raise TypeError(f"make_dual: {what} is a {type(x).__name__}, not a tensor")
        if x._layout.dtype.category < FLOATING:
            kind = x._layout.dtype
            raise ValueError(f"make_dual: {what} must be floating or complex, not {kind!r}")
    if tensor._layout.shape != tangent._layout.shape:
        raise RuntimeError(
            f"make_dual: a tangent of shape {tuple(tangent.shape)} for a tensor of shape "
            f"{tuple(tensor.shape)}"
        )
    if tensor.dtype is not tangent.dtype:
        raise RuntimeError(
            f"make_dual: a tangent of {tangent.dtype!r} for a tensor of {tensor.dtype!r}; convert "
            "one of them"
        )
    if found.owns(tensor):
        raise RuntimeError("make_dual: the tensor has a tangent of this level already")
    return found.wrap(tensor, tangent)


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """(value, tangent) of a dual tensor; the tangent of any other tensor is None."""
    found = _level("unpack_dual", level)
    if not found.owns(tensor):
        return UnpackedDualTensor(tensor, None)
    return UnpackedDualTensor(tensor._held, tensor._tangent)
