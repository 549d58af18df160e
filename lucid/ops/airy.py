"""The Airy function Ai, the scaled complementary error function, and what is made of it.

lucid.special has them. Chebyshev series in float64, fitted to 40 digits for this file.
"""

from math import log as log_of
from math import pi
from math import sqrt as root

from lucid.dtypes import float64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.ops.bessel import _series
from lucid.ops.bessel_second import Wide
from lucid.ops.transcendental import exp

AIRY_MIDDLE = (
    0.1661487551134717, -0.160200643749162, 0.02985086265042287, -3.592821006346677e-05,
    -0.0010148771856557245, 0.00018650430146538642, -9.023207531845663e-06,
    -1.8719071101908585e-06, 3.7633084265224525e-07, -2.2543102304853237e-08,
    -1.521783492607275e-09, 3.7631432654361224e-10, -2.4444948546165672e-11,
    -5.979424144805241e-13, 2.2466976613000314e-13, -1.5345032770179278e-14,
    -7.025980667351147e-17, 8.902219306136638e-17, -6.348506763486825e-18,
)  # fmt: skip
AIRY_LOW = (
    0.12921126590182502, 0.2946210456296873, 0.0709763931414629, 0.04234815371385412,
    -0.299301825692534, 0.04810301866102884, 0.12670018891159143, -0.05589091446068572,
    -0.013386205024260339, 0.014303356464333833, -0.0017484599630324725, -0.001422350892677694,
    0.0005387309047900649, 1.5762504965933576e-05, -5.0336198562437665e-05, 9.428678423553203e-06,
    1.6173909518538055e-06, -9.214743875528868e-07, 8.059681963468575e-08, 3.4840705135591244e-08,
    -1.025137107754366e-08, 1.6540739974771276e-10, 4.1542279071058673e-10,
    -7.505914461630603e-11, -3.750510323944507e-12, 3.2741845303210258e-12,
    -3.739326615114503e-13, -4.882928917861605e-14, 1.848588734431972e-14, -1.239163906884039e-15,
    -3.3365589847881327e-16, 7.833627863376538e-17, -2.2215005977021567e-18,
    -1.58088331326552e-18,
)  # fmt: skip
AIRY_HIGH = (
    0.9844053049171552, -0.014792784850104199, 0.0007327177465426715, -6.12595423417825e-05,
    6.83476697557269e-06, -9.237229735403982e-07, 1.436225340438052e-07, -2.489319422322096e-08,
    4.709793440054328e-09, -9.583863708112733e-10, 2.0745855483677591e-10, -4.737267332192277e-11,
    1.1336099808224236e-11, -2.827706782319351e-12, 7.320712095125598e-13,
    -1.9599793911089723e-13, 5.4101162570683925e-14, -1.5356466802223836e-14,
    4.472340393300025e-15, -1.3338094674756683e-15, 4.066582046456231e-16, -1.265583225645289e-16,
    4.015126334015871e-17, -1.2969972135960937e-17,
)  # fmt: skip
AIRY_P = (
    0.9998088477395531, -0.00019041677962134863, 7.267968168417445e-07, -8.485426967529796e-09,
    1.9144545982950886e-10, -6.778493941405162e-12, 3.345666079656652e-13,
    -2.1345137724465704e-14, 1.6718079441151791e-15, -1.5491724858625586e-16,
    1.6524273492513008e-17,
)  # fmt: skip
AIRY_Q = (
    0.06925101122700861, -0.00019199395713168297, 1.4144485007348916e-06, -2.4076418454371364e-08,
    7.033135474188027e-10, -3.0199171290130837e-11, 1.73483636560491e-12, -1.2527799137757002e-13,
    1.0886384509119664e-14, -1.1026771285105438e-15, 1.2709996936013433e-16,
    -1.6365087007659018e-17, 2.3195560389025733e-18, -3.5767506409927694e-19,
)  # fmt: skip
SLOPE_MIDDLE = (
    -0.15938920897826184, 0.11118214490348564, 0.0016228695418002625, -0.008221305698205847,
    0.0018384388021810633, -0.00010228821296005169, -2.6604212472800928e-05,
    5.990277422096266e-06, -3.975129301289083e-07, -3.101606033965825e-08, 8.262911358449943e-09,
    -5.803904875127494e-10, -1.6003825509525406e-11, 6.288277595226751e-12,
    -4.573227330317801e-13, -2.475856413337203e-15, 3.0282500735982086e-15,
    -2.275425997848357e-16, 1.4955095117515456e-18, 1.0036437006900191e-18,
)  # fmt: skip
SLOPE_LOW = (
    0.12811996289618702, -0.2758936171692177, 0.05982589537258251, -0.37052880802450155,
    -0.02487041205512574, 0.4276093938222558, -0.18521380759188855, -0.07919136182410988,
    0.07561045989131147, -0.007798268361388073, -0.010209678894691527, 0.003858131392161745,
    0.00022089431827822882, -0.00045171584615877444, 8.428594190680452e-05, 1.808867375731041e-05,
    -1.0000842328727513e-05, 8.365036042031523e-07, 4.4253406353853815e-07,
    -1.3065823141307684e-07, 1.2184651543824127e-09, 6.02671628750529e-09,
    -1.0972384420855656e-09, -6.615130958331562e-11, 5.366844203112678e-11,
    -6.143144400203517e-12, -9.013001408903173e-13, 3.3835506599495417e-13,
    -2.2372935675228274e-14, -6.714831099013982e-15, 1.5842331911964775e-15,
    -4.1713129437717426e-17, -3.471656723467364e-17, 5.678883313261918e-18,
)  # fmt: skip
SLOPE_HIGH = (
    1.0223917438953567, 0.021419543172417697, -0.0008929320864098833, 7.04386560665416e-05,
    -7.629019563020457e-06, 1.0124594126717678e-06, -1.5547836430438127e-07,
    2.670534777173515e-08, -5.017799973983537e-09, 1.015476324864757e-09, -2.1883687800953883e-10,
    4.97854884096185e-11, -1.1876037266305446e-11, 2.9543896474165515e-12, -7.630714992633907e-13,
    2.038758045182824e-13, -5.617262461082948e-14, 1.5918346754340464e-14, -4.629150125159948e-15,
    1.3787341769318453e-15, -4.198446246812051e-16, 1.3051699130322144e-16,
    -4.1364905599761646e-17, 1.3349430157944717e-17,
)  # fmt: skip
SLOPE_P = (
    1.000226118080405, 0.00022531732750298464, -7.915517697063618e-07, 8.993519623412212e-09,
    -2.002107272002422e-10, 7.032914578825465e-12, -3.453158752130112e-13, 2.1949543408951625e-14,
    -1.714403619116931e-15, 1.5852402601527922e-16, -1.6879993663983775e-17,
)  # fmt: skip
SLOPE_Q = (
    -0.0970058209125654, 0.00021486024759886357, -1.5149814837472456e-06, 2.5315343260169428e-08,
    -7.320682691429966e-10, 3.123507699857467e-11, -1.7865655557150258e-12, 1.286060790296456e-13,
    -1.1148703731771832e-14, 1.1271054606717929e-15, -1.2971603317300215e-16,
    1.668066073894163e-17, -2.361745356115483e-18,
)  # fmt: skip
ERFCX = (
    1.1775789345674017, -0.004590054580646478, -0.08424913336651792, 0.05920993999819189,
    -0.026658668435305753, 0.009074997670705265, -0.002413163540417608, 0.0004907758365258086,
    -6.916973302501207e-05, 4.13902798607301e-06, 7.74038306619849e-07, -2.1886401049234397e-07,
    1.076499946567091e-08, 4.521959811218287e-09, -7.754400208831351e-10, -6.318088340886684e-11,
    2.8687950109306702e-11, 1.9455868545777488e-13, -9.654696748433425e-13, 3.252548148148876e-14,
    3.347811948286939e-14, -1.8645628804180035e-15, -1.2507950530675801e-15, 7.41823525674989e-17,
    5.0681489049192516e-17,
)  # fmt: skip

_INFINITY = float("inf")
_TWO, _SIX = (2 / 3 * x**1.5 for x in (2.0, 6.0))  # where the series in 1 / zeta begin


def _airy(x: Expr, slope: bool) -> Expr:
    """Ai or Ai': on [-6, 2] series in x; beyond, with zeta = 2/3 |x|^(3/2), series in 1 / zeta: of
    2 sqrt(pi) x^(1/4) e^zeta Ai to the right, of modulus and phase to the left. 0 at the ends."""
    inside = (x >= -6.0) & (x <= 2.0)
    near = expr.where(inside, x, 0.0)
    t = expr.minimum(near, expr.zero(x)) * (1 / 3) + 1.0
    low = _series(SLOPE_LOW if slope else AIRY_LOW, t)
    t = expr.maximum(near, expr.zero(x)) - 1.0
    middle = _series(SLOPE_MIDDLE if slope else AIRY_MIDDLE, t)
    there = expr.where(near < 0.0, low, middle)
    infinite = abs(x).eq(_INFINITY)
    far = expr.where(inside | infinite, expr.const(6.0, float64), abs(x))
    quarter = expr.unary("sqrt", expr.unary("sqrt", far))
    quarter = -quarter if slope else 1.0 / quarter
    zeta = far * expr.unary("sqrt", far) * (2 / 3)
    right = _series(SLOPE_HIGH if slope else AIRY_HIGH, (2 * _TWO) / zeta - 1.0)
    right = right * math("exp", -zeta) * (0.5 / root(pi)) * quarter
    inverse = 1.0 / zeta
    t = inverse * inverse * (2 * _SIX * _SIX) - 1.0
    p = _series(SLOPE_P if slope else AIRY_P, t)
    q = _series(SLOPE_Q if slope else AIRY_Q, t) * inverse
    s, c = math("sin", zeta), math("cos", zeta)
    # cos and sin of zeta - pi / 4, times sqrt 2
    wave = q * (c + s) - p * (s - c) if slope else p * (c + s) + q * (s - c)
    left = wave * root(0.5 / pi) * quarter
    outside = expr.where(infinite, expr.zero(x), expr.where(x > 0.0, right, left))
    return expr.where(expr.isnan(x), x, expr.where(inside, there, outside))


class airy_ai(Wide):
    """airy_ai(x) = Ai(x), the solution of y'' = x y that falls to 0 for large x.

    >>> import lucid
    >>> lucid.special.airy_ai(lucid.tensor([0.0, 1.0]))
    tensor([0.3550, 0.1353])
    """

    def wide(x):
        return _airy(x, False)

    def vjp_x(g, x):
        return g * airy_slope(x)


class airy_slope(Wide):
    """Ai'(x), the derivative of airy_ai; 0 at -inf too, where it has no limit."""

    def wide(x):
        return _airy(x, True)

    def vjp_x(g, x):
        return g * x * airy_ai(x)


def scaled_erfc(x: Expr) -> Expr:
    """e^(x^2) erfc(x) in float64: (1 + 2 x) times it is a series in (x - 3.75) / (x + 3.75).
    Shepherd and Laframboise, "Chebyshev approximation of (1 + 2 x) exp(x^2) erfc(x)", 1981."""
    a = abs(x)
    infinite = a.eq(_INFINITY)
    some = expr.where(infinite, expr.const(1.0, float64), a)
    right = _series(ERFCX, (some - 3.75) / (some + 3.75)) / (some * 2.0 + 1.0)
    right = expr.where(infinite, expr.zero(x), right)
    # e^(x^2) of the square in two parts, of which the first is exact.
    low = expr.where((x < 0.0) & (a < 27.0), a, 0.0)
    short = expr.unary("rint", low * 16.0) * (1 / 16)
    grown = math("exp", short * short) * math("exp", (low - short) * (low + short))
    left = expr.where(a < 27.0, grown * 2.0 - right, _INFINITY)
    return expr.where(expr.isnan(x), x, expr.where(x < 0.0, left, right))


class erfcx(Wide):
    """erfcx(x) = e^(x^2) erfc(x), without overflow for large x.

    >>> import lucid
    >>> lucid.special.erfcx(lucid.tensor([0.0, 100.0]))
    tensor([1.0000, 0.0056])
    """

    def wide(x):
        return scaled_erfc(x)

    def vjp_x(g, x, y):
        return g * (x * y * 2.0 - 2.0 / root(pi))


class log_ndtr(Wide):
    """log_ndtr(x), the logarithm of the standard normal distribution function, exact for large
    -x.

    >>> import lucid
    >>> lucid.special.log_ndtr(lucid.tensor([0.0, -20.0]))
    tensor([  -0.6931, -203.9172])
    """

    def wide(x):
        lower = x < -1.0
        finite = x > -_INFINITY
        below = expr.where(lower & finite, x, -1.0)
        left = math("log", scaled_erfc(below * -root(0.5)) * 0.5) - below * below * 0.5
        left = expr.where(finite, left, -_INFINITY)
        above = expr.where(lower, 0.0, x)
        right = math("log1p", math("erfc", above * root(0.5)) * -0.5)
        return expr.where(lower, left, right)

    def vjp_x(g, x, y):
        return g * exp(x * x * -0.5 - y - 0.5 * log_of(2 * pi))
