"""The step that copies one operand to another, for ops with own steps and for commit.py."""

from lucid.dtypes import FLOATING
from lucid.kernel import expr
from lucid.kernel.loops import Map, Store
from lucid.plan.nest import Nest, array_of, step
from lucid.plan.steps import Operand, Step


def copy_step(source: Operand | None, target: Operand, plus_zero: bool = False) -> Step:
    """target = source, or zeros; `plus_zero` adds 0, which makes 0.0 of -0.0."""
    axes = [f"i{d}" for d in range(len(target.shape))]
    at = tuple(expr.index(a) for a in axes)
    arrays = {"y0": array_of("y0", target, "out")}
    operands = {"y0": target}
    value = expr.const(0, target.dtype)
    if source is not None:
        arrays["x0"] = array_of("x0", source, "in")
        operands["x0"] = source
        value = expr.cast(expr.load("x0", at, source.dtype), target.dtype)
        if plus_zero and source.dtype.category == FLOATING:
            wide = expr.cast(value, source.dtype.compute)
            value = expr.cast(wide + expr.zero(wide), source.dtype)
    nest = Nest(
        "copy", arrays, dict(zip(axes, target.shape, strict=True)), axes, [],
        [Map((), (Store("y0", at, value),))], [],
    )  # fmt: skip
    return step(nest, "grid", operands)
