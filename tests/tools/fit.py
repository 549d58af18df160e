"""Fit the polynomials of the vector math: writes lucid/backend/cpu/math/coefficients.py.

    python tests/tools/fit.py

Each entry is the polynomial of least degree whose largest weighted error is below the tolerance of
a format: `single` (float32), `double` (float64), `medium` (float64 arithmetic for float32 results).
The fit is Remez' exchange on a dense grid, in 50 digits.
"""

import pathlib
from collections.abc import Callable

import mpmath as mp

mp.mp.dps = 50
FORMATS = {"single": (24, mp.mpf(2) ** -28), "medium": (53, mp.mpf(2) ** -37)}
FORMATS["double"] = (53, mp.mpf(2) ** -57)
TARGET = pathlib.Path(__file__).parents[2] / "lucid/backend/cpu/math/coefficients.py"


def rounded(value, bits: int) -> float:
    """To the nearest number of `bits` significant bits (24 and 53: also float32, float64)."""
    if value == 0:
        return 0.0
    mantissa, exponent = mp.frexp(value)
    return float(mp.ldexp(mp.nint(mp.ldexp(mantissa, bits)), exponent - bits))


def remez(f: list, w: list, x: list, terms: int) -> tuple[object, list]:
    """The polynomial p of `terms` coefficients that minimises max |w (f - p)| on the grid x."""
    count = len(x)
    places = [round(i * (count - 1) / terms) for i in range(terms + 1)]
    best = None
    for _ in range(20):
        rows = mp.matrix(terms + 1, terms + 1)
        right = mp.matrix(terms + 1, 1)
        for i, place in enumerate(places):
            power = mp.mpf(1)
            for j in range(terms):
                rows[i, j] = power
                power *= x[place]
            rows[i, terms] = (-1) ** i / w[place]
            right[i] = f[place]
        solution = mp.lu_solve(rows, right)
        coefficients = [solution[j] for j in range(terms)]
        errors = [w[i] * (f[i] - mp.polyval(coefficients[::-1], x[i])) for i in range(count)]
        largest = max(abs(e) for e in errors)
        if best is None or largest < best[0]:
            best = (largest, coefficients)
        if largest <= abs(solution[terms]) * mp.mpf("1.02"):
            break
        # One extremum for each run of equal sign, then as many consecutive ones as are needed.
        extrema: list[int] = []
        for i, error in enumerate(errors):
            if extrema and (error > 0) == (errors[extrema[-1]] > 0):
                if abs(error) > abs(errors[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > terms + 1:
            drop = 0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1
            extrema.pop(drop)
        if len(extrema) < terms + 1:
            break
        places = extrema
    return best


def fit(f: Callable, weight: Callable, low, high, bits: int, tolerance) -> tuple[list, object]:
    low, high = mp.mpf(low), mp.mpf(high)
    points = 240
    middle, half = (low + high) / 2, (high - low) / 2
    x = [middle - half * mp.cos(mp.pi * (i + mp.mpf("0.5")) / points) for i in range(points)]
    values, weights = [f(v) for v in x], [abs(weight(v)) for v in x]
    for terms in range(2, 40):
        error, coefficients = remez(values, weights, x, terms)
        if error <= tolerance:
            return [rounded(c, bits) for c in coefficients], error
    raise ValueError("no polynomial of 40 terms is good enough")


def root(f: Callable) -> Callable:
    """f in the variable z = x^2."""
    return lambda z: f(mp.sqrt(z))


def odd(f: Callable) -> Callable:
    """(f(x) - x) / x^3 of z = x^2."""
    return root(taylor(lambda x: (f(x) - x) / x**3))


def entry(name: str, values: list[float]) -> list[str]:
    """The lines of one polynomial, at most 100 columns."""
    lines = [f'    "{name}": (']
    for value in values:
        item = f"{value!r},"
        if len(lines) == 1 or len(lines[-1]) + len(item) >= 99:
            lines.append(" " * 8 + item)
        else:
            lines[-1] += " " + item
    return [*lines, "    ),"]


def erfcx(x):
    return mp.exp(x * x) * mp.erfc(x)


def folded_erfcx(t):
    """(1 + 2x) erfcx(x) of t = (x - 4) / (x + 4) (Shepherd and Laframboise, 1981)."""
    x = 4 * (1 + t) / (1 - t)
    if x > 100:
        series = sum((-1) ** k * mp.fac2(2 * k - 1) / (2 * x * x) ** k for k in range(1, 12))
        return (1 + 2 * x) / (x * mp.sqrt(mp.pi)) * (1 + series)
    return (1 + 2 * x) * erfcx(x)


def log_tail(f):
    """(log(1 + f) - f + f^2 / 2) / f^3"""
    return sum((-f) ** k / (k + 3) for k in range(160))


def log_ratio(z):
    """(log((1 + s) / (1 - s)) / s - 2) / z with z = s^2"""
    return sum(2 * z**k / (2 * k + 3) for k in range(60))


def based(base):
    """(log1p(f) / log(base) - f / log(base)) / f^2"""
    return lambda f: sum((-1) ** (k + 1) * f**k / (k + 2) for k in range(160)) / mp.log(base)


def erfinv_of(w):
    """erfinv(x) / x of w = -log(1 - x^2)."""
    if w == 0:
        return mp.sqrt(mp.pi) / 2
    x = mp.sqrt(-mp.expm1(-w))
    y = mp.erfinv(x)
    return y / x


def far_erfinv(centre):
    return lambda s: erfinv_of((s + centre) ** 2)


def stirling(z):
    """x (lgamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2)) of z = 1 / x^2."""
    if z == 0:
        return mp.mpf(1) / 12
    x = 1 / mp.sqrt(z)
    return x * (mp.loggamma(x) - (x - 0.5) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)


def digamma_tail(z):
    """x^2 (log(x) - 1 / (2x) - digamma(x)) of z = 1 / x^2."""
    x = 1 / mp.sqrt(z)
    return x * x * (mp.log(x) - 1 / (2 * x) - mp.digamma(x))


def taylor(f: Callable) -> Callable:
    """f, but its limit at 0 from a nearby point (50 digits leave room for the cancellation)."""
    return lambda x: f(x if abs(x) > mp.mpf(10) ** -9 else mp.mpf(10) ** -9)


def taylor_z(f: Callable) -> Callable:
    return lambda z: f(z if z > mp.mpf(10) ** -7 else mp.mpf(10) ** -7)


HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.001")
LOW, HIGH = mp.sqrt(0.5) - 1 - mp.mpf("1e-6"), mp.sqrt(2) - 1 + mp.mpf("1e-6")
QUARTER = mp.pi / 4 * mp.mpf("1.0001")
ALL, WIDE = ("single", "medium", "double"), ("medium", "double")


def reciprocal_gamma_tail(t):
    """lgamma(2 + t) / t"""
    return mp.loggamma(2 + t) / t


# name: (formats, f, weight of an error in f, low, high)
SPECS = {
    # Exponentials: exp(r) = 1 + r + r^2 p(r), 2^r = 1 + r p(r).
    "exp": (
        ALL,
        taylor(lambda r: (mp.expm1(r) - r) / r**2),
        lambda r: r**2 / mp.exp(r),
        -HALF_LN2,
        HALF_LN2,
    ),
    "exp2": (
        ALL,
        taylor(lambda r: mp.expm1(r * mp.log(2)) / r),
        lambda r: r / mp.mpf(2) ** r,
        -0.5,
        0.5,
    ),
    # Logarithms: log(1 + f) = f - f^2 / 2 + f^3 p(f); in base b, f / log(b) + f^2 p(f).
    "log": (("single",), log_tail, lambda f: f**3 / mp.log1p(f), LOW, HIGH),
    "log2": (("single",), based(2), lambda f: f**2 * mp.log(2) / mp.log1p(f), LOW, HIGH),
    "log10": (("single",), based(10), lambda f: f**2 * mp.log(10) / mp.log1p(f), LOW, HIGH),
    "log_ratio": (WIDE, log_ratio, lambda z: z / 2, 0, (HIGH / (2 + HIGH)) ** 2),
    # Trigonometry: x + x^3 p(x^2), 1 - x^2 / 2 + x^4 p(x^2).
    "sin": (ALL, odd(mp.sin), lambda z: z, 0, QUARTER**2),
    "cos": (
        ALL,
        root(taylor(lambda x: (mp.cos(x) - 1 + x * x / 2) / x**4)),
        lambda z: z * z,
        0,
        QUARTER**2,
    ),
    "asin": (ALL, odd(mp.asin), lambda z: z, 0, 0.25),
    "atan": (ALL, odd(mp.atan), lambda z: z, 0, mp.mpf("0.5001") ** 2),
    "sinh": (ALL, odd(mp.sinh), lambda z: z, 0, 1),
    "tanh": (ALL, odd(mp.tanh), lambda z: z, 0, 0.36),
    # The error function: x + x p(x^2) below 1; log(erfc(x)) above; (1 + 2x) erfcx(x).
    "erf": (ALL, root(taylor(lambda x: mp.erf(x) / x - 1)), lambda z: 1, 0, 1),
    "log_erfc": (("single",), lambda x: mp.log(mp.erfc(x)), lambda x: mp.erfc(x) * 2, 1, 4),
    "erfcx": (WIDE, folded_erfcx, lambda t: 1, -1, 1),
    # erfinv(x) / x in w = -log(1 - x^2) below 5, in sqrt(w) - 3 below 16, in sqrt(w) - 5 above
    # (1 - 2^-24: w < 15.94, 1 - 2^-53: w < 36.05).
    "erfinv_near": (WIDE, erfinv_of, lambda w: 1 / erfinv_of(w), 0, 5),
    "erfinv_far": (WIDE, far_erfinv(3), lambda s: 1 / far_erfinv(3)(s), -0.765, 1),
    "erfinv_farther": (("double",), far_erfinv(5), lambda s: 1 / far_erfinv(5)(s), -1, 1.01),
    # log_pow: log(1 + f) = 2 s / 3 (3 + z + z^2 p(z)) with s = f / (2 + f), z = s^2.
    "log_pow": (
        ("double",),
        lambda z: sum(3 * z**k / (2 * k + 5) for k in range(60)),
        lambda z: z * z / 3 * 64,
        0,
        (HIGH / (2 + HIGH)) ** 2,
    ),
    # The gamma function: lgamma(2 + t) / t, and what Stirling's formula leaves, x >= 8.
    "lgamma": (("double",), taylor(reciprocal_gamma_tail), lambda t: 2, -0.66, 0.5),
    "stirling": (("double",), taylor_z(stirling), lambda z: 0.05, 0, mp.mpf(1) / 64),
    "digamma": (("double",), taylor_z(digamma_tail), lambda z: 0.05, 0, mp.mpf(1) / 64),
}


def constants() -> dict[str, float]:
    """Numbers split so that a product with a small integer is exact without fma."""
    made = {}
    for name, value, kinds in (
        ("ln2", mp.log(2), ALL),
        ("log10_2", mp.log10(2), ALL),
        ("half_pi", mp.pi / 2, ALL),
        ("log2_e", 1 / mp.log(2), ALL),
        ("log10_e", mp.log10(mp.e), ALL),
    ):
        for kind in kinds:
            bits = FORMATS[kind][0]
            made[f"{name}.{kind}"] = rounded(value, bits)
            short = rounded(value, bits - (9 if bits == 24 else 12))
            made[f"{name}_high.{kind}"] = short
            made[f"{name}_low.{kind}"] = rounded(value - mp.mpf(short), bits)
    for name, value in (
        ("log2_e", 1 / mp.log(2)),
        ("log10_e", mp.log10(mp.e)),
        ("scale", 2 / (3 * mp.log(2))),
        ("pi", mp.pi),
    ):
        for kind in ALL:
            bits = FORMATS[kind][0]
            short = rounded(value, bits // 2)
            made[f"{name}_short.{kind}"] = short
            made[f"{name}_rest.{kind}"] = rounded(value - mp.mpf(short), bits)
    for kind in ALL:
        bits = FORMATS[kind][0]
        made[f"half_pi_tail.{kind}"] = rounded(mp.pi / 2 - mp.mpf(rounded(mp.pi / 2, bits)), bits)
    return made


def half_pi_parts() -> list[float]:
    """pi / 2 in three numbers of 32 bits and one of 53."""
    parts, rest = [], mp.pi / 2
    for bits in (32, 32, 32, 53):
        parts.append(rounded(rest, bits))
        rest -= mp.mpf(parts[-1])
    return parts


def two_over_pi(bits: int = 1216) -> list[str]:
    with mp.workprec(bits + 64):
        digits = f"{int(mp.floor(2 / mp.pi * mp.mpf(2) ** bits)):0{bits // 4}x}"
    rows = [digits[i : i + 80] for i in range(0, len(digits), 80)]
    return ["TWO_OVER_PI = int(", *(f'    "{row}"' for row in rows), "    , 16)"]


def main() -> None:
    text = [
        '"""Polynomial coefficients and constants of the vector math, lowest degree first.',
        "",
        "Generated by tests/tools/fit.py, which says what each is; used by the files beside it.",
        '"""',
        "",
        "# fmt: off",
        "POLYNOMIALS: dict[str, tuple[float, ...]] = {",
    ]
    for name, (formats, f, weight, low, high) in SPECS.items():
        for kind in formats:
            bits, tolerance = FORMATS[kind]
            values, error = fit(f, weight, low, high, bits, tolerance)
            text += entry(f"{name}.{kind}", values)
            print(f"{name}.{kind}: {len(values)} terms, error 2^{float(mp.log(error, 2)):.1f}")
    text += ["}", "CONSTANTS: dict[str, float] = {"]
    text += [f'    "{name}": {value!r},' for name, value in constants().items()]
    text += ["}", f"HALF_PI_PARTS = {tuple(half_pi_parts())!r}", *two_over_pi()]
    TARGET.write_text("\n".join([*text, ""]))


if __name__ == "__main__":
    main()
