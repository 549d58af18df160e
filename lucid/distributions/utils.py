"""What distributions share: parameters of one shape, probabilities and logits, kept properties."""

import math
from collections.abc import Callable
from typing import Any

import lucid
from lucid import Tensor
from lucid.autograd import enable_grad
from lucid.tracing import tracing

Number = (int, float)
euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Numbers and tensors as tensors of their common shape.

    >>> import lucid
    >>> from lucid.distributions.utils import broadcast_all
    >>> [x.shape for x in broadcast_all(1.0, lucid.zeros(2))]
    [lucid.Size([2]), lucid.Size([2])]
    """
    for value in values:
        if not isinstance(value, (Tensor, *Number)):
            raise TypeError(f"a number or a tensor is needed, got {type(value).__name__}")
    floating = [v for v in values if isinstance(v, Tensor) and v.is_floating_point()]
    kind = floating[0].dtype if floating else lucid.get_default_dtype()
    made = [v if isinstance(v, Tensor) else lucid.tensor(v, dtype=kind) for v in values]
    return lucid.broadcast_tensors(*made)


def floating(*values: Tensor) -> tuple[Tensor, ...]:
    """Integers as the default floating type."""
    kind = lucid.get_default_dtype()
    return tuple(v if v.is_floating_point() else v.to(kind) for v in values)


def log_beta(a: Tensor, b: Tensor) -> Tensor:
    """log B(a, b) = log Gamma(a) + log Gamma(b) - log Gamma(a + b)."""
    return a.lgamma() + b.lgamma() - (a + b).lgamma()


def clamp_probs(probs: Tensor) -> Tensor:
    """Away from 0 and 1 by the type's precision, so that logarithms are finite."""
    eps = lucid.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """sigmoid(logits), or softmax over the last dimension."""
    return logits.sigmoid() if is_binary else logits.softmax(-1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log(p) - log(1 - p), or log(p), of probabilities kept away from 0 and 1."""
    kept = clamp_probs(probs)
    return kept.log() - (-kept).log1p() if is_binary else kept.log()


def sum_rightmost(value: Tensor, dim: int) -> Tensor:
    """The sum over the last `dim` dimensions."""
    return value.sum(tuple(range(-dim, 0))) if dim else value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle of matrices, row by row."""
    n = mat.shape[-1]
    rows, columns = lucid.tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Square matrices whose lower triangle, up to diagonal `diag`, is `vec` (...) row by row.

    >>> import lucid
    >>> from lucid.distributions.utils import vec_to_tril_matrix
    >>> vec_to_tril_matrix(lucid.tensor([1.0, 2.0, 3.0]))
    tensor([[1., 0.],
            [2., 3.]])
    """
    count = vec.shape[-1]
    odd = 1 + 2 * diag
    n = round((math.sqrt(odd**2 + 8 * count + 4 * abs(diag) * (diag + 1)) - odd) / 2)
    rows, columns = lucid.tril_indices(n, n, diag)
    if len(rows) != count:
        raise ValueError(f"vec_to_tril_matrix: {count} numbers are the triangle of no matrix")
    made = lucid.zeros((*vec.shape[:-1], n * n), dtype=vec.dtype)
    places = (rows * n + columns).expand(vec.shape)
    return made.scatter(-1, places, vec).reshape((*vec.shape[:-1], n, n))


class lazy_property:
    """A property that is worked out once and then an attribute of its instance. In a trace it is
    worked out each time: what is traced must not outlive the trace."""

    def __init__(self, wrapped: Callable):
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__
        self.__name__ = wrapped.__name__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if tracing() is not None:
            return self.wrapped(instance)
        with enable_grad():
            value = self.wrapped(instance)
        instance.__dict__[self.__name__] = value
        return value


def one_of(name: str, **given: Any) -> str:
    """Which of several parameters was given; ValueError unless it is one."""
    present = [key for key, value in given.items() if value is not None]
    if len(present) != 1:
        names = " and ".join(given) if len(given) == 2 else ", ".join(given)
        said = "both" if len(present) == len(given) == 2 else (", ".join(present) or "none")
        raise ValueError(f"{name}: exactly one of {names} is needed, got {said}")
    return present[0]
