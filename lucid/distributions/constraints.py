"""What values a parameter or a sample of a distribution may have.

`constraint.check(value)` is a bool tensor, with the last `event_dim` dimensions of value reduced.
distribution.py checks parameters and values with them.
"""

from collections.abc import Callable
from typing import Any

import lucid
from lucid import Tensor


class Constraint:
    """A region of numbers: `check` says which elements lie inside.

    >>> import lucid
    >>> lucid.distributions.constraints.positive.check(lucid.tensor([-1.0, 2.0]))
    tensor([False,  True])
    """

    is_discrete = False
    event_dim = 0

    def check(self, value: Tensor) -> Tensor:
        """Whether each element, or each block of the last `event_dim` dimensions, lies inside."""
        raise NotImplementedError(f"{self!r} has no check")

    def __repr__(self) -> str:
        name = type(self).__name__.strip("_")
        return "".join(" " + c.lower() if c.isupper() else c for c in name).strip()


class _Dependent(Constraint):
    """One that depends on parameters: asked for on the class rather than on an instance."""

    def __init__(self, *, is_discrete: bool = False, event_dim: int = 0):
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, *, is_discrete: bool | None = None, event_dim: int | None = None) -> Any:
        return _Dependent(
            is_discrete=self.is_discrete if is_discrete is None else is_discrete,
            event_dim=self.event_dim if event_dim is None else event_dim,
        )

    def check(self, value: Tensor) -> Tensor:
        raise ValueError("a dependent constraint is checked on an instance of the distribution")


class dependent_property(property, _Dependent):
    """A property that returns the constraint of an instance, and stands for one on the class."""

    def __init__(
        self,
        fn: Callable | None = None,
        *,
        is_discrete: bool = False,
        event_dim: int = 0,
    ):
        super().__init__(fn)
        self.is_discrete, self.event_dim = is_discrete, event_dim

    def __call__(self, fn: Any) -> "dependent_property":  # type: ignore[override]
        return dependent_property(fn, is_discrete=self.is_discrete, event_dim=self.event_dim)


def is_dependent(constraint: Any) -> bool:
    """Whether a constraint is known of instances alone."""
    return isinstance(constraint, _Dependent)


class independent(Constraint):
    """A constraint of each element of the last `reinterpreted_batch_ndims` dimensions."""

    def __init__(self, base_constraint: Constraint, reinterpreted_batch_ndims: int):
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim + reinterpreted_batch_ndims

    def check(self, value: Tensor) -> Tensor:
        found = self.base_constraint.check(value)
        n = self.reinterpreted_batch_ndims
        if found.ndim < n:
            raise ValueError(
                f"{self!r}: at least {self.event_dim} dimensions are needed, got {value.ndim}"
            )
        return found.all(dim=tuple(range(-n, 0))) if n else found

    def __repr__(self) -> str:
        return f"independent({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


class _Boolean(Constraint):
    is_discrete = True

    def check(self, value: Tensor) -> Tensor:
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    is_discrete = True
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class integer_interval(Constraint):
    """Whole numbers from lower_bound to upper_bound, both included."""

    is_discrete = True

    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound) & (value <= self.upper_bound)

    def __repr__(self) -> str:
        return f"integer_interval({_short(self.lower_bound)}, {_short(self.upper_bound)})"


class _AtLeastInteger(Constraint):
    is_discrete = True

    def __init__(self, lower_bound: int):
        self.lower_bound = lower_bound

    def check(self, value: Tensor) -> Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound)

    def __repr__(self) -> str:
        return f"whole numbers from {self.lower_bound} on"


class _Real(Constraint):
    def check(self, value: Tensor) -> Tensor:
        return value == value  # false for NaN alone


class greater_than(Constraint):
    """Numbers above lower_bound."""

    def __init__(self, lower_bound: Any):
        self.lower_bound = lower_bound

    def check(self, value: Tensor) -> Tensor:
        return value > self.lower_bound

    def __repr__(self) -> str:
        return f"greater_than({_short(self.lower_bound)})"


class greater_than_eq(greater_than):
    """Numbers from lower_bound on."""

    def check(self, value: Tensor) -> Tensor:
        return value >= self.lower_bound

    def __repr__(self) -> str:
        return f"greater_than_eq({_short(self.lower_bound)})"


class less_than(Constraint):
    """Numbers below upper_bound."""

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        return value < self.upper_bound

    def __repr__(self) -> str:
        return f"less_than({_short(self.upper_bound)})"


class interval(Constraint):
    """Numbers from lower_bound to upper_bound, both included."""

    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound, self.upper_bound = lower_bound, upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value <= self.upper_bound)

    def __repr__(self) -> str:
        return f"interval({_short(self.lower_bound)}, {_short(self.upper_bound)})"


class half_open_interval(interval):
    """Numbers from lower_bound on and below upper_bound."""

    def check(self, value: Tensor) -> Tensor:
        return (value >= self.lower_bound) & (value < self.upper_bound)

    def __repr__(self) -> str:
        return f"half_open_interval({_short(self.lower_bound)}, {_short(self.upper_bound)})"


class _Simplex(Constraint):
    event_dim = 1

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class multinomial(Constraint):
    """Counts that sum to at most upper_bound."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound

    def check(self, value: Tensor) -> Tensor:
        return (value >= 0).all(-1) & (value.sum(-1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        return (value.tril() == value).all((-2, -1))


class _LowerCholesky(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        lower = (value.tril() == value).all((-2, -1))
        return lower & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    """Lower triangular, with rows of length 1 and a positive diagonal."""

    def check(self, value: Tensor) -> Tensor:
        apart = (value.detach().norm(dim=-1) - 1).abs()
        near = apart <= lucid.finfo(value.dtype).eps * value.shape[-1] * 10
        return super().check(value) & near.all(-1)


class _Square(Constraint):
    event_dim = 2

    def check(self, value: Tensor) -> Tensor:
        fits = value.shape[-1] == value.shape[-2]
        return lucid.full(value.shape[:-2], fits, dtype=lucid.bool)


class _Symmetric(_Square):
    def check(self, value: Tensor) -> Tensor:
        if value.shape[-1] != value.shape[-2]:
            return super().check(value)
        return lucid.isclose(value, value.mT, atol=1e-6).all((-2, -1))


class _PositiveDefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not bool(symmetric.all()):
            return symmetric
        return lucid.linalg.cholesky_ex(value)[1] == 0


class _PositiveSemidefinite(_Symmetric):
    def check(self, value: Tensor) -> Tensor:
        symmetric = super().check(value)
        if not bool(symmetric.all()):
            return symmetric
        return (lucid.linalg.eigvalsh(value) >= -1e-6).all(-1)


class cat(Constraint):
    """Several constraints, each of a part of dimension `dim` of the given length."""

    def __init__(self, cseq: Any, dim: int = 0, lengths: Any = None):
        self.cseq = list(cseq)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        self.dim = dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq)

    def check(self, value: Tensor) -> Tensor:
        parts = value.split(self.lengths, self.dim)
        found = [c.check(v) for c, v in zip(self.cseq, parts, strict=True)]
        return lucid.cat(found, self.dim)


class stack(Constraint):
    """Several constraints, each of one place of dimension `dim`."""

    def __init__(self, cseq: Any, dim: int = 0):
        self.cseq = list(cseq)
        self.dim = dim
        self.is_discrete = any(c.is_discrete for c in self.cseq)
        self.event_dim = max(c.event_dim for c in self.cseq) + (dim < 0)

    def check(self, value: Tensor) -> Tensor:
        pairs = zip(self.cseq, value.unbind(self.dim), strict=True)
        return lucid.stack([c.check(v) for c, v in pairs], self.dim)


class MixtureSameFamilyConstraint(Constraint):
    """What samples of a mixture are: in the support of all its components, which are the last
    batch dimension there."""

    def __init__(self, base_constraint: Constraint):
        self.base_constraint = base_constraint
        self.is_discrete = base_constraint.is_discrete
        self.event_dim = base_constraint.event_dim

    def check(self, value: Tensor) -> Tensor:
        if value.ndim < self.event_dim:
            raise ValueError(f"{self!r}: at least {self.event_dim} dimensions are needed")
        return self.base_constraint.check(value.unsqueeze(-1 - self.event_dim)).all(-1)

    def __repr__(self) -> str:
        return f"MixtureSameFamilyConstraint({self.base_constraint!r})"


def _short(bound: Any) -> str:
    """A bound in a message: a number, or a tensor of several by its shape."""
    if isinstance(bound, Tensor):
        return str(bound.item()) if bound.numel() == 1 else f"a tensor {tuple(bound.shape)}"
    return str(bound)


dependent = _Dependent()
boolean = _Boolean()
one_hot = _OneHot()
nonnegative_integer = _AtLeastInteger(0)
positive_integer = _AtLeastInteger(1)
real = _Real()
real_vector = independent(real, 1)
positive = greater_than(0.0)
nonnegative = greater_than_eq(0.0)
unit_interval = interval(0.0, 1.0)
simplex = _Simplex()
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_definite = _PositiveDefinite()
positive_semidefinite = _PositiveSemidefinite()

__all__ = [
    "Constraint", "MixtureSameFamilyConstraint", "boolean", "cat", "corr_cholesky", "dependent",
    "dependent_property", "greater_than",
    "greater_than_eq", "half_open_interval", "independent", "integer_interval", "interval",
    "is_dependent", "less_than", "lower_cholesky", "lower_triangular", "multinomial",
    "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite",
    "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex", "square",
    "stack", "symmetric", "unit_interval",
]  # fmt: skip
