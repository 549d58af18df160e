"""Special functions under PyTorch's names, where Lucid has them. Loaded on first use."""

import math
from typing import Any

from lucid.ops import airy, bessel, bessel_second, polynomials
from lucid.ops import functions as _all
from lucid.ops.forms import function_of, put_out
from lucid.ops.gamma import polygamma
from lucid.ops.normalize import log_softmax, softmax
from lucid.ops.numeric import logit, mvlgamma, sinc
from lucid.ops.zeta import zeta as _zeta

digamma = psi = _all["digamma"]
erf, erfc, erfinv = _all["erf"], _all["erfc"], _all["erfinv"]
exp2, expm1, log1p = _all["exp2"], _all["expm1"], _all["log1p"]
expit, gammaln, round = _all["sigmoid"], _all["lgamma"], _all["round"]
logsumexp, xlogy = _all["logsumexp"], _all["xlogy"]
multigammaln = mvlgamma
gammainc, gammaincc = _all["igamma"], _all["igammac"]
i0, i0e, i1, i1e = map(function_of, (bessel.i0, bessel.i0e, bessel.i1, bessel.i1e))
airy_ai, erfcx, log_ndtr = map(function_of, (airy.airy_ai, airy.erfcx, airy.log_ndtr))
bessel_j0, bessel_j1 = map(function_of, (bessel_second.bessel_j0, bessel_second.bessel_j1))
bessel_y0, bessel_y1 = map(function_of, (bessel_second.bessel_y0, bessel_second.bessel_y1))
modified_bessel_i0, modified_bessel_i1 = _all["i0"], _all["i1"]
modified_bessel_k0 = function_of(bessel_second.modified_bessel_k0)
modified_bessel_k1 = function_of(bessel_second.modified_bessel_k1)
scaled_modified_bessel_k0 = function_of(bessel_second.scaled_modified_bessel_k0)
scaled_modified_bessel_k1 = function_of(bessel_second.scaled_modified_bessel_k1)
spherical_bessel_j0 = function_of(bessel_second.spherical_bessel_j0)
zeta = function_of(_zeta)
globals().update(polynomials.functions)


def entr(x: Any) -> Any:
    """-x log x, 0 at 0 and -inf below.

    >>> import lucid
    >>> lucid.special.entr(lucid.tensor([0.5]))
    tensor([0.3466])
    """
    inner = -xlogy(x, x)
    return _all["where"](x < 0, float("-inf"), inner)


def ndtr(x: Any) -> Any:
    """The standard normal distribution function.

    >>> import lucid
    >>> lucid.special.ndtr(lucid.tensor([0.0]))
    tensor([0.5000])
    """
    return 0.5 * erfc(x * -math.sqrt(0.5))


def ndtri(x: Any) -> Any:
    """The inverse of `ndtr`.

    >>> import lucid
    >>> lucid.special.ndtri(lucid.tensor([0.5]))
    tensor([0.])
    """
    return math.sqrt(2.0) * erfinv(2.0 * x - 1.0)


def xlog1py(x: Any, y: Any) -> Any:
    """x log(1 + y), 0 where x is 0 and y is not NaN.

    >>> import lucid
    >>> lucid.special.xlog1py(lucid.tensor([0.0]), lucid.tensor([-1.0]))
    tensor([0.])
    """
    where = _all["where"]
    none = where(y == y, x == 0, False)
    return where(none, 0.0, x * log1p(where(none, 0.0, y)))


__all__ = [
    *polynomials.functions,
    "airy_ai", "bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "erfcx", "gammainc",
    "gammaincc", "log_ndtr", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
    "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1",
    "spherical_bessel_j0", "zeta",
    "digamma", "entr", "erf", "erfc", "erfinv", "exp2", "expit", "expm1", "gammaln", "i0", "i0e",
    "i1", "i1e", "log1p", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri",
    "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy",
]  # fmt: skip
put_out(globals(), __all__)
