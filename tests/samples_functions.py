"""Samples of test_oracle.py: tensor functions beyond the core."""

import lucid
from lucid.apply import apply
from lucid.ops.prepacked import packed_right, prepacked
from tests.samples import R, sample, whole


@sample
def distances_and_crosses(n, kind):
    x, w = R(3, n, kind=kind), R(2, n, kind=kind)
    made = [lucid.cdist(x, w), lucid.cdist(x, w, 1.0), lucid.cdist(x, w, 3.0)]
    places = lucid.tensor([0, 1])
    made += [x.index_reduce(0, places, w, how) for how in ("amax", "amin", "mean")]
    made += [x.detach().index_reduce(0, places, w.detach(), "prod"), whole(n).gcd(whole(n))]
    return [*made, x.cross(R(3, n, kind=kind), 0), *lucid.frexp(x)]


@sample
def decompositions(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    x = R(3, 3, kind=kind) + lucid.eye(3, dtype=kind) * 3.0
    b = R(3, 2, kind=kind)
    p = x @ x.t()
    made = [x.inverse(), lucid.linalg.solve(x, b), p.cholesky(), *x.qr(), *lucid.linalg.eigh(p)]
    made += [*lucid.linalg.svd(x), lucid.linalg.svdvals(x), x.slogdet()[1], x.det(), x.pinverse()]
    factors = [*lucid.linalg.lu(x), lucid.linalg.eig(x.detach())[0].abs()]
    factors += [*lucid.geqrf(x.detach()), lucid.hash_tensor(x.detach(), 1)]
    factors += [lucid.linalg.ldl_solve(*lucid.linalg.ldl_factor(p.detach()), b.detach())]
    return [*made, lucid.linalg.lstsq(x, b).solution, *factors]


@sample
def complex_numbers(n, kind):
    kind = kind if kind is lucid.float64 else lucid.float32
    x, w = (lucid.complex(R(2, n, kind=kind), R(2, n, kind=kind)) for _ in range(2))
    made = [x * w, x / w, x.exp(), x.log(), x.sqrt(), x.sin(), x.cos(), x @ w.mH, x.sum(1)]
    made += [x.abs(), x.angle(), lucid.fft.fft(x), lucid.fft.rfft(x.real), lucid.fft.irfft(x)]
    return [y.real if y.is_complex() else y for y in made]


@sample
def products_packed_before(n, kind):
    x, w, b = R(3, n, kind=kind), R(n, n + 40, kind=kind), R(n + 40, kind=kind)
    packed = apply(packed_right, (w.detach(),), ())
    return [
        apply(prepacked, (x.detach(), packed, *bias), (n + 40,)) for bias in ((), (b.detach(),))
    ]


@sample
def zeta(n, kind):
    x, q = R(2, n, kind=kind).detach() * 5.0, R(2, n, kind=kind)
    return [lucid.special.zeta(x, q)]


@sample
def draws_with_loops(n, kind):
    x = R(3, n, kind=kind)
    made = [lucid._standard_gamma(x), lucid._standard_gamma(x, log=True)]
    made += [lucid.igamma(x, x[:1]), lucid.igammac(x, x[:1].detach())]
    rates = x.detach() * 50.0
    return [*made, lucid.poisson(rates), lucid.binomial((rates * 2.0).round(), x.detach())]
