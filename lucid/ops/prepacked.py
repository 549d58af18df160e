"""Products whose right operand has been packed before: what `packed_right` makes of it.

compiler/prepack.py puts them into compiled programs, in the place of contract.py's products.
The register tile reads the same numbers in the same order, so the bits are the same.
"""

from lucid.lazy import lazy
from lucid.op import Opaque
from lucid.ops.contract import Product
from lucid.ops.gather import side_by_side
from lucid.plan.copies import copy_step
from lucid.plan.steps import Operand

_gemm = lazy("lucid.backend.cpu.gemm")


class packed_right(Opaque):
    """w (K, N) in the panels in which the template of products reads it."""

    public = False

    def names(w):
        pass

    @classmethod
    def infer(cls, types, params):
        (k, n), kind = types[0][:2]
        width, panels, _ = _gemm.packed_panels(kind, k, n)
        return [((k * width * panels,), kind)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        (w,), (y,) = inputs, outputs
        (k, n), (s_k, s_n) = w.shape, w.strides
        width, panels, blocks = _gemm.packed_panels(w.dtype, k, n)
        whole, rest = divmod(n, width)
        steps = []
        for start, depth in blocks:
            at = start * panels * width
            for first, count, columns in ((0, whole, width), (whole, 1, rest)):
                if not count or not columns:
                    continue
                shape = (count, depth, columns)
                source = Operand(
                    w.value, shape, (width * s_n, s_k, s_n), w.dtype,
                    w.offset + start * s_k + first * width * s_n,
                )  # fmt: skip
                target = Operand(
                    y.value, shape, (depth * width, width, 1), y.dtype,
                    y.offset + at + first * depth * width,
                )  # fmt: skip
                steps.append(copy_step(source, target))
        return steps


class prepacked(Product):
    """x @ w, + b, with w (K, n) as `packed_right` packs it."""

    public = False

    def names(x, w, b, *, n):
        pass

    @classmethod
    def infer(cls, types, params):
        return [((*types[0][0][:-1], params[0]), types[0][1])]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        (x, w, *b), (y,) = inputs, outputs
        k, n = x.shape[-1], params[0]
        wide = Operand(w.value, (k, n), (n, 1), w.dtype, w.offset)
        before, after = [], []
        bias = None
        if b:
            before, bias = side_by_side(context, b[0])
        target = y
        if y.strides[-1] != 1:
            target = context.temporary(y.shape, y.dtype)
            after = [copy_step(target, y)]
        return [*before, cls.step(context, x, wide, bias, target, packed=True), *after]
