"""Probability distributions under PyTorch's names. Loaded on first use."""

from lucid.distributions import constraints, kl, transforms
from lucid.distributions import kl_pairs as kl_pairs  # registers its formulas
from lucid.distributions.bernoulli import Bernoulli, Binomial, Geometric
from lucid.distributions.beta import Beta, Dirichlet
from lucid.distributions.categorical import (
    Categorical,
    OneHotCategorical,
    OneHotCategoricalStraightThrough,
)
from lucid.distributions.constraint_registry import biject_to, transform_to
from lucid.distributions.continuous import Cauchy, Gumbel, HalfCauchy, Laplace, StudentT, Uniform
from lucid.distributions.continuous_bernoulli import ContinuousBernoulli
from lucid.distributions.counts import Multinomial, NegativeBinomial
from lucid.distributions.distribution import Distribution, ExponentialFamily
from lucid.distributions.gamma import Chi2, Exponential, Gamma, InverseGamma
from lucid.distributions.independent import Independent
from lucid.distributions.kl import kl_divergence, register_kl
from lucid.distributions.low_rank import LowRankMultivariateNormal
from lucid.distributions.mixture import MixtureSameFamily
from lucid.distributions.multivariate_normal import MultivariateNormal
from lucid.distributions.normal import HalfNormal, Normal
from lucid.distributions.poisson import Poisson
from lucid.distributions.powers import (
    FisherSnedecor,
    GeneralizedPareto,
    Kumaraswamy,
    Pareto,
    Weibull,
)
from lucid.distributions.relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from lucid.distributions.transformed import LogisticNormal, LogNormal, TransformedDistribution
from lucid.distributions.transforms import (
    AbsTransform,
    AffineTransform,
    CatTransform,
    ComposeTransform,
    CorrCholeskyTransform,
    CumulativeDistributionTransform,
    ExpTransform,
    IndependentTransform,
    LowerCholeskyTransform,
    PositiveDefiniteTransform,
    PowerTransform,
    ReshapeTransform,
    SigmoidTransform,
    SoftmaxTransform,
    SoftplusTransform,
    StackTransform,
    StickBreakingTransform,
    TanhTransform,
    Transform,
    identity_transform,
)
from lucid.distributions.von_mises import VonMises
from lucid.distributions.wishart import LKJCholesky, Wishart

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "CatTransform",
    "Categorical", "Cauchy", "Chi2", "ComposeTransform", "ContinuousBernoulli",
    "CorrCholeskyTransform", "CumulativeDistributionTransform", "Dirichlet", "Distribution",
    "ExpTransform", "Exponential", "ExponentialFamily", "FisherSnedecor", "Gamma",
    "GeneralizedPareto", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent",
    "IndependentTransform", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal",
    "LogisticNormal", "LowRankMultivariateNormal", "LowerCholeskyTransform", "MixtureSameFamily",
    "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Pareto", "Poisson", "PositiveDefiniteTransform",
    "PowerTransform", "RelaxedBernoulli", "RelaxedOneHotCategorical", "ReshapeTransform",
    "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform",
    "StickBreakingTransform", "StudentT", "TanhTransform", "Transform", "TransformedDistribution",
    "Uniform", "VonMises", "Weibull", "Wishart", "biject_to",
    "constraints", "identity_transform", "kl", "kl_divergence", "register_kl", "transform_to",
    "transforms",
]  # fmt: skip
