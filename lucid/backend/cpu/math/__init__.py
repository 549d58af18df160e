"""The vector math: `expand` turns exp, log, sin, ... into primitive expressions.

Called by schedule.py before it emits a kernel, and by tests that run kernels in interp.py.
float32: at most 2 ulp. float64: see docs/notes. Every function is total.
"""

from collections.abc import Callable, Sequence

from lucid.backend.cpu.math import exponential, logarithm, power, special, trigonometry
from lucid.backend.cpu.math.parts import DOUBLE, SINGLE, Format, narrowed
from lucid.dtypes import float32, float64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr

FUNCTIONS: dict[str, Callable[..., Expr]] = {
    "exp": exponential.exp,
    "exp_negative": exponential.exp_negative,
    "exp2": exponential.exp2,
    "exp2_normal": exponential.exp2_normal,
    "expm1": exponential.expm1,
    "sinh": exponential.sinh,
    "cosh": exponential.cosh,
    "tanh": exponential.tanh,
    "erf": special.erf,
    "erfc": narrowed(special.erfc),
    "erfinv": narrowed(special.erfinv),
    "pow": narrowed(power.pow),
    "lgamma": narrowed(special.lgamma, DOUBLE),
    "digamma": narrowed(special.digamma, DOUBLE),
    "log": logarithm.log,
    "log2": logarithm.log2,
    "log10": logarithm.log10,
    "log1p": logarithm.log1p,
    "sin": trigonometry.sin,
    "cos": trigonometry.cos,
    "tan": narrowed(trigonometry.tan),
    "asin": trigonometry.asin,
    "acos": trigonometry.acos,
    "atan": trigonometry.atan,
    "atan2": narrowed(trigonometry.atan2),
    "asinh": narrowed(logarithm.asinh),
    "acosh": narrowed(logarithm.acosh),
    "atanh": narrowed(logarithm.atanh),
}
FORMATS: dict[object, Format] = {float32: SINGLE, float64: DOUBLE}


# Written out, these are an order of magnitude longer than exp.
LONG = frozenset("sin cos tan pow atan2 erfc erfinv lgamma digamma".split())


def unrolling_weight(node: Expr) -> int:
    """Roughly how much a function counts in a decision on unrolling; an addition counts 1."""
    if node.op in LONG:
        return 60 if node.dtype is float32 else 120
    return 15


def expand(roots: Sequence[Expr]) -> list[Expr]:
    """The roots with every node of `MATH` written out in primitives."""
    # A function of the same arguments is written out once. The value keeps the node alive, so that
    # no other can come to have its identity.
    known: dict[tuple, tuple[Expr, Expr]] = {}

    def rule(node: Expr) -> Expr | None:
        if node.op not in e.MATH:
            return None
        if node.dtype not in FORMATS:
            raise TypeError(f"{node.op}: float32 or float64 expected, got {node.dtype!r}")
        key = (node.op, *(id(a) for a in node.args))
        if key not in known:
            known[key] = (node, FUNCTIONS[node.op](FORMATS[node.dtype], *node.args))
        return known[key][1]

    return e.rewrite(roots, rule)
