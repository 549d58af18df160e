"""Probability distributions under PyTorch's names. Loaded on first use."""

from lucid.distributions import constraints, kl, transforms
from lucid.distributions.bernoulli import Bernoulli, Binomial, Geometric
from lucid.distributions.beta import Beta, Dirichlet
from lucid.distributions.categorical import (
    Categorical,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from lucid.distributions.continuous import Cauchy, Gumbel, HalfCauchy, Laplace, StudentT, Uniform
from lucid.distributions.distribution import Distribution, ExponentialFamily
from lucid.distributions.gamma import Chi2, Exponential, Gamma, InverseGamma
from lucid.distributions.independent import Independent
from lucid.distributions.kl import kl_divergence, register_kl
from lucid.distributions.multivariate_normal import MultivariateNormal
from lucid.distributions.normal import HalfNormal, Normal
from lucid.distributions.poisson import Poisson
from lucid.distributions.relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from lucid.distributions.transformed import LogNormal, TransformedDistribution
from lucid.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    ComposeTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy",
    "Chi2", "ComposeTransform", "Dirichlet", "Distribution", "ExpTransform", "Exponential",
    "ExponentialFamily", "Gamma", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal",
    "Independent", "IndependentTransform", "InverseGamma", "Laplace", "LogNormal",
    "LowerCholeskyTransform", "MultivariateNormal", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Poisson", "PowerTransform", "RelaxedBernoulli",
    "RelaxedOneHotCategorical", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform",
    "SoftplusTransform", "StickBreakingTransform", "StudentT", "TanhTransform", "Transform",
    "TransformedDistribution", "Uniform", "constraints", "identity_transform", "kl",
    "kl_divergence", "register_kl", "transforms",
]  # fmt: skip
