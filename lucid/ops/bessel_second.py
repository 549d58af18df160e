"""Bessel functions J, Y and K of the orders 0 and 1, and the spherical j0; lucid.special has them.

Up to 8 (K: up to 2) Chebyshev series in x^2, logarithms and poles taken out; beyond, the modulus
and phase of Hankel's form, P and Q as series in (8 / x)^2 (K: a series in 1 / x). In float64. The
coefficients were fitted to 40 digits for this file.
"""

from math import pi
from typing import Any

from lucid.dtypes import float64
from lucid.kernel import expr
from lucid.kernel.expr import Expr, math
from lucid.op import Elementwise
from lucid.ops.bessel import _series
from lucid.ops.elementwise import where
from lucid.ops.transcendental import cos, sin

J0_LOW = (
    0.15772797147489012, -0.008723442352852221, 0.2651786132033368, -0.37009499387264977,
    0.15806710233209725, -0.034893769411408884, 0.004819180069467605, -0.00046062616620627504,
    3.246032882100508e-05, -1.7619469077621507e-06, 7.608163592418782e-08, -2.679253530557673e-09,
    7.848696314479465e-11, -1.9438346867370164e-12, 4.125320595634374e-14, -7.588508125447546e-16,
    1.2218515873961411e-17,
)  # fmt: skip
J1_LOW = (
    0.08104484632565812, -0.1489751450676521, 0.1609992623572097, -0.08268049176681791,
    0.022213639654966037, -0.003646940600769276, 0.0004050337728354822, -3.255554866857259e-05,
    1.9858774049915165e-06, -9.521984756750436e-08, 3.687133759097148e-09, -1.178026622695885e-10,
    3.160154580348003e-12, -7.221755239651773e-14, 1.4232144003513942e-15,
    -2.4441972916190464e-17,
)  # fmt: skip
Y0_LOW = (
    -0.03314611320328494, -0.2744743055297453, 0.17903431407718265, 0.26156734625504663,
    -0.17730201278114358, 0.04719668959576339, -0.007287962479552079, 0.0007531135932577742,
    -5.632079141056987e-05, 3.206532537654801e-06, -1.44072332740187e-07, 5.248794787330516e-09,
    -1.5837552541812015e-10, 4.02633081830612e-12, -8.747341203310769e-14, 1.6434898714919468e-15,
    -2.6977881152566837e-17,
)  # fmt: skip
Y1_LOW = (
    0.0025380132357417816, -0.01608717304766875, -0.09591204536083074, 0.08445197259652346,
    -0.028328123944594365, 0.005289897544167113, -0.0006414551451326356, 5.505982873338744e-05,
    -3.53808001868935e-06, 1.7707804556154404e-07, -7.11055004989928e-09, 2.344337905911516e-10,
    -6.4651518414115946e-12, 1.51429151205002e-13, -3.0511859694473254e-15, 5.34668038572867e-17,
    -8.224911372021585e-19,
)  # fmt: skip
J0_P = (
    0.9994603493475187, -0.0005365220468132117, 3.0751847875194745e-06, -5.1705945376060975e-08,
    1.6306464635151382e-09, -7.86409137723707e-11, 5.168262387349193e-12, -4.3045788699253914e-13,
    4.3265957431549404e-14, -5.069034095935236e-15, 6.748072215733873e-16,
    -1.0011513723467786e-16, 1.6305919233744186e-17,
)  # fmt: skip
J0_Q = (
    -0.015555854605337009, 6.838519942611649e-05, -7.414498411060647e-07, 1.7972457247968992e-08,
    -7.27191593686632e-10, 4.2201219046687385e-11, -3.206747420996635e-12, 3.006145125351706e-13,
    -3.336328185322427e-14, 4.255225040245461e-15, -6.09993013164005e-16, 9.662128970303257e-17,
    -1.6686065214378146e-17, 3.1082440486738143e-18, -6.191115787358145e-19,
    1.3091448717220122e-19,
)  # fmt: skip
J1_P = (
    1.0009030408600137, 0.0008989898330859408, -3.987284300488908e-06, 6.177633960644299e-08,
    -1.8718907491063067e-09, 8.816898659582339e-11, -5.704863640395645e-12, 4.699195515230542e-13,
    -4.6842237839904895e-14, 5.452674896044717e-15, -7.221180842274018e-16,
    1.0667689114335412e-16, -1.7312313216116335e-17,
)  # fmt: skip
J1_Q = (
    0.04677778706953532, -9.62772354915708e-05, 9.138615257955454e-07, -2.0959781384083424e-08,
    8.229193327650554e-10, -4.686363688176945e-11, 3.5152187949686082e-12, -3.2643156743279e-13,
    3.5967765829165294e-14, -4.5612523950772974e-15, 6.508282957783384e-16,
    -1.0269147531823243e-16, 1.767635548776479e-17, -3.2834519872981614e-18,
    6.524081149589261e-19,
)  # fmt: skip
K0_LOW = (
    -0.2676636966169514, 0.3442898999246285, 0.0359799365153615, 0.001264615411446926,
    2.286212103119452e-05, 2.5347910790261494e-07, 1.904516377220209e-09, 1.0349695257633625e-11,
    4.2598161427910826e-14, 1.3744654358807508e-16,
)  # fmt: skip
K1_LOW = (
    0.7626501136694739, -0.3531559607765449, -0.12261118082265715, -0.006975723859639864,
    -0.0001730288957513052, -2.4334061415659684e-06, -2.213387630734726e-08,
    -1.4114883926335278e-10, -6.666901694199329e-13, -2.427449850519366e-15,
    -7.023863479386288e-18,
)  # fmt: skip
I0_LOW = (
    1.6029228068079633, 0.638809625651177, 0.03685485969436176, 0.00098287812725148,
    1.4983654208927293e-05, 1.4738449008423848e-07, 1.0114797900674826e-09,
    5.1149979020112795e-12, 1.984280622680562e-14, 6.090516506058955e-17,
)  # fmt: skip
I1_LOW = (
    0.6417589969911874, 0.1475393201491934, 0.005898742680020788, 0.00011988137174638708,
    1.4739165119093128e-06, 1.2138074968740922e-08, 7.161106692799279e-11, 3.17487931131012e-13,
    1.0962998348773076e-15,
)  # fmt: skip
K0_HIGH = (
    1.2201515410329777, -0.0314481013119645, 0.0015698838857300533, -0.00012849549581627802,
    1.39498137188765e-05, -1.8317555227191195e-06, 2.766813639445015e-07, -4.660489897687948e-08,
    8.574034017414225e-09, -1.6975345093890614e-09, 3.5773972814003283e-10,
    -7.957489244477396e-11, 1.8559491149549264e-11, -4.514597883374519e-12,
    1.1403405882073441e-12, -2.9800969231481784e-13, 8.032890775068375e-14,
    -2.2275133267462965e-14, 6.340076476276646e-15, -1.848593377920907e-15,
    5.5120559994043335e-16, -1.6782311257549006e-16, 5.2103917776435543e-17,
    -1.6475805939842632e-17,
)  # fmt: skip
K1_HIGH = (
    1.3603130952422213, 0.10392373657681724, -0.002857816859622779, 0.00019521551847135162,
    -1.936197974166083e-05, 2.406484947837217e-06, -3.5019606030878126e-07,
    5.7410841254500495e-08, -1.0345762465678097e-08, 2.0150497551970347e-09,
    -4.1903547593419254e-10, 9.218315187605315e-11, -2.129967838427791e-11, 5.139639673482343e-12,
    -1.2891739609498229e-12, 3.348419666052243e-13, -8.976705182010146e-14,
    2.4771544242195988e-14, -7.0198370892147685e-15, 2.038703166239861e-15,
    -6.057047270643018e-16, 1.8380935752430455e-16, -5.689462849193648e-17,
    1.7940510478863572e-17,
)  # fmt: skip

_INFINITY = float("inf")


class Wide(Elementwise, abstract=True):
    """A function of one number, computed in float64: `wide(x)`."""

    public = False
    result = "float"

    @classmethod
    def signature(cls):
        return _one_input

    @classmethod
    def body(cls, b, x):
        return expr.cast(cls.wide(expr.cast(x, float64)), x.dtype)


def _one_input(b: Any, x: Any) -> None:
    """The parameters of a Wide record's body."""


def _near(x: Expr, end: float) -> tuple[Expr, Expr, Expr]:
    """(whether |x| is at most `end`, |x| there and `end` elsewhere, |x| beyond and `end` here)."""
    x = abs(x)
    low = x <= end
    return low, expr.where(low, x, end), expr.where(low, expr.const(end, float64), x)


def _hankel(x: Expr, order: int, second: bool) -> Expr:
    """J or Y for x from 8 on; 0 at infinity."""
    infinite = x.eq(_INFINITY)
    x = expr.where(infinite, 8.0, x)
    inverse = 8.0 / x
    t = inverse * inverse * 2.0 - 1.0
    p = _series((J0_P, J1_P)[order], t)
    q = _series((J0_Q, J1_Q)[order], t) * inverse
    s, c = math("sin", x), math("cos", x)
    # cos and sin of x - pi / 4 or x - 3 pi / 4, times sqrt 2
    cosine, sine = (c + s, s - c) if order == 0 else (s - c, -(s + c))
    wave = p * sine + q * cosine if second else p * cosine - q * sine
    made = wave * expr.unary("sqrt", (1 / pi) / x)
    return expr.where(infinite, expr.zero(made), made)


def _first_kind(x: Expr, order: int) -> Expr:
    low, near, far = _near(x, 8.0)
    t = near * near * (1 / 32) - 1.0
    inner = _series(J0_LOW, t) if order == 0 else _series(J1_LOW, t) * near
    made = expr.where(low, inner, _hankel(far, order, False))
    return expr.where(expr.isnan(x), x, made)


def _second_kind(x: Expr, order: int) -> Expr:
    low, near, far = _near(x, 8.0)
    positive = x > 0.0
    near = expr.where(positive, near, 1.0)
    t = near * near * (1 / 32) - 1.0
    log = math("log", near) * (2 / pi)
    if order == 0:
        inner = log * _series(J0_LOW, t) + _series(Y0_LOW, t)
    else:
        inner = near * (log * _series(J1_LOW, t) + _series(Y1_LOW, t)) - (2 / pi) / near
    made = expr.where(low, inner, _hankel(far, order, True))
    at_zero = expr.where(x.eq(0.0), expr.const(-_INFINITY, float64), float("nan"))
    return expr.where(positive, made, at_zero)


def _third_kind(x: Expr, order: int, scaled: bool) -> Expr:
    low, near, far = _near(x, 2.0)
    positive = x > 0.0
    near = expr.where(positive, near, 1.0)
    infinite = x.eq(_INFINITY)
    far = expr.where(infinite, 2.0, far)
    t = near * near * 0.5 - 1.0
    log = math("log", near * 0.5)
    if order == 0:
        inner = _series(K0_LOW, t) - log * _series(I0_LOW, t)
    else:
        inner = log * near * _series(I1_LOW, t) + _series(K1_LOW, t) / near
    outer = _series((K0_HIGH, K1_HIGH)[order], 4.0 / far - 1.0) / expr.unary("sqrt", far)
    if scaled:
        inner = inner * math("exp", near)
    else:
        outer = outer * math("exp", -far)
    made = expr.where(low, inner, outer)
    made = expr.where(infinite, expr.zero(made), made)
    at_zero = expr.where(x.eq(0.0), expr.const(_INFINITY, float64), float("nan"))
    return expr.where(positive, made, at_zero)


class bessel_j0(Wide):
    """bessel_j0(x) = J_0(x), the Bessel function of the first kind of order 0.

    >>> import lucid
    >>> lucid.special.bessel_j0(lucid.tensor([0.0, 1.0]))
    tensor([1.0000, 0.7652])
    """

    def wide(x):
        return _first_kind(x, 0)

    def vjp_x(g, x):
        return -g * bessel_j1(x)


class bessel_j1(Wide):
    """bessel_j1(x) = J_1(x), the Bessel function of the first kind of order 1.

    >>> import lucid
    >>> lucid.special.bessel_j1(lucid.tensor([0.0, 1.0]))
    tensor([0.0000, 0.4401])
    """

    def wide(x):
        made = _first_kind(x, 1)
        return expr.where(x < 0.0, -made, made)

    def vjp_x(g, x, y):
        safe = where(x == 0, 1.0, x)
        return g * where(x == 0, 0.5, bessel_j0(x) - y / safe)


class bessel_y0(Wide):
    """bessel_y0(x) = Y_0(x), the Bessel function of the second kind of order 0; -inf at 0, NaN
    below.

    >>> import lucid
    >>> lucid.special.bessel_y0(lucid.tensor([0.0, 1.0]))
    tensor([  -inf, 0.0883])
    """

    def wide(x):
        return _second_kind(x, 0)

    def vjp_x(g, x):
        return -g * bessel_y1(x)


class bessel_y1(Wide):
    """bessel_y1(x) = Y_1(x), the Bessel function of the second kind of order 1; -inf at 0, NaN
    below.

    >>> import lucid
    >>> lucid.special.bessel_y1(lucid.tensor([0.0, 1.0]))
    tensor([   -inf, -0.7812])
    """

    def wide(x):
        return _second_kind(x, 1)

    def vjp_x(g, x, y):
        return g * (bessel_y0(x) - y / x)


class modified_bessel_k0(Wide):
    """modified_bessel_k0(x) = K_0(x), the modified Bessel function of the second kind of order 0;
    inf at 0, NaN below.

    >>> import lucid
    >>> lucid.special.modified_bessel_k0(lucid.tensor([0.0, 1.0]))
    tensor([   inf, 0.4210])
    """

    def wide(x):
        return _third_kind(x, 0, False)

    def vjp_x(g, x):
        return -g * modified_bessel_k1(x)


class modified_bessel_k1(Wide):
    """modified_bessel_k1(x) = K_1(x), the modified Bessel function of the second kind of order 1;
    inf at 0, NaN below.

    >>> import lucid
    >>> lucid.special.modified_bessel_k1(lucid.tensor([0.0, 1.0]))
    tensor([   inf, 0.6019])
    """

    def wide(x):
        return _third_kind(x, 1, False)

    def vjp_x(g, x, y):
        return -g * (modified_bessel_k0(x) + y / x)


class scaled_modified_bessel_k0(Wide):
    """scaled_modified_bessel_k0(x) = e^x K_0(x); inf at 0, NaN below.

    >>> import lucid
    >>> lucid.special.scaled_modified_bessel_k0(lucid.tensor([0.0, 1.0]))
    tensor([   inf, 1.1445])
    """

    def wide(x):
        return _third_kind(x, 0, True)

    def vjp_x(g, x, y):
        return g * (y - scaled_modified_bessel_k1(x))


class scaled_modified_bessel_k1(Wide):
    """scaled_modified_bessel_k1(x) = e^x K_1(x); inf at 0, NaN below.

    >>> import lucid
    >>> lucid.special.scaled_modified_bessel_k1(lucid.tensor([0.0, 1.0]))
    tensor([   inf, 1.6362])
    """

    def wide(x):
        return _third_kind(x, 1, True)

    def vjp_x(g, x, y):
        return g * (y - scaled_modified_bessel_k0(x) - y / x)


class spherical_bessel_j0(Wide):
    """spherical_bessel_j0(x) = sin(x) / x, 1 at 0.

    >>> import lucid
    >>> lucid.special.spherical_bessel_j0(lucid.tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])
    """

    def wide(x):
        infinite = abs(x).eq(_INFINITY)
        some = x.ne(0.0) & ~infinite
        safe = expr.where(some, x, 1.0)
        made = math("sin", safe) / safe
        ends = expr.where(infinite, expr.zero(x), expr.one(x))
        return expr.where(expr.isnan(x), x, expr.where(some, made, ends))

    def vjp_x(g, x, y):
        # Below 0.01 by its series: the difference of the two would cancel.
        small = x.abs() < 0.01
        safe = where(small, 1.0, x)
        slope = (cos(safe) - sin(safe) / safe) / safe
        return g * where(small, x * (x * x * (1 / 30) - 1 / 3), slope)
