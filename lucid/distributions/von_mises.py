"""The normal distribution of angles: VonMises."""

import math
from typing import Any

import lucid
from lucid import Tensor
from lucid.distributions import constraints
from lucid.distributions.distribution import Centred
from lucid.distributions.utils import broadcast_all, floating

_special: Any = lucid.special


class VonMises(Centred):
    """VonMises(loc, concentration k): angles in radians with density e^(k cos(x - loc)) / (2 pi
    I0(k)), known up to turns; samples lie in [-pi, pi).

    Samples are drawn by rejection (Best and Fisher, 1979), without gradients; `variance` is the
    circular one, 1 - I1(k) / I0(k).

    >>> import lucid
    >>> lucid.distributions.VonMises(0.0, 1e-9).log_prob(lucid.tensor(1.0))
    tensor(-1.8379)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real  # type: ignore[assignment]

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.concentration = floating(*broadcast_all(loc, concentration))
        super().__init__(self.loc.shape, (), validate_args)

    @property
    def variance(self) -> Tensor:
        k = self.concentration
        return 1 - _special.i1e(k) / _special.i0e(k)

    def log_prob(self, value: Tensor) -> Tensor:
        self._validate_sample(value)
        k = self.concentration
        apart = k * ((value - self.loc).cos() - 1)  # i0e(k) is e^-k I0(k)
        return apart - math.log(2 * math.pi) - _special.i0e(k).log()

    def entropy(self) -> Tensor:
        k = self.concentration
        scaled = _special.i0e(k)
        return math.log(2 * math.pi) + scaled.log() + k * (1 - _special.i1e(k) / scaled)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        kind = self.loc.dtype
        with lucid.no_grad():
            k = self.concentration.double().expand(shape)
            root = 1 + (1 + 4 * k * k).sqrt()
            rho = (root - (2 * root).sqrt()) / (2 * k)
            # Its series where the difference loses all digits.
            r = lucid.where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
            cosine = lucid.zeros(shape, dtype=lucid.float64)
            left = lucid.ones(shape, dtype=lucid.bool)
            while bool(left.any()):
                u, w = lucid.rand((2, *shape), dtype=lucid.float64).unbind(0)
                z = (math.pi * u).cos()
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                good = (c * (2 - c) > w) | ((c / w).log() + 1 - c >= 0)
                cosine = lucid.where(left & good, f, cosine)
                left = left & ~good
            side = (lucid.rand(shape, dtype=lucid.float64) - 0.5).sign()
            angle = side * cosine.clamp(-1, 1).acos() + self.loc.double()
            return ((angle + math.pi).remainder(2 * math.pi) - math.pi).to(kind)
