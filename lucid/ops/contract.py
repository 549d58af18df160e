"""Contractions: matmul, linear, einsum, and the products made of them.

One op, `product`, is the GEMM template with batch dimensions; everything else reshapes into it.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from lucid.dtypes import FLOATING, bool_
from lucid.kernel import expr
from lucid.layout import broadcast_shapes
from lucid.lazy import lazy
from lucid.op import Composite, Opaque, normal_dim
from lucid.ops.cast import to_dtype
from lucid.ops.gather import side_by_side
from lucid.ops.reduce import sum_
from lucid.ops.view import diagonal, expand, permute, reshape
from lucid.plan.steps import Operand, Step, template_step

_gemm = lazy("lucid.backend.cpu.gemm")


class Product(Opaque, abstract=True):
    """x @ w over the last two dimensions, with a bias for the linear form."""

    autocast = "low"

    @classmethod
    def _types(cls, types, transposed: bool):
        (xs, xk, _), (ws, wk, _) = types[:2]
        name = "linear" if transposed else "matmul"
        if xk is not wk:
            raise RuntimeError(f"{name}: dtypes {xk!r} and {wk!r} differ; convert one with to()")
        k, n = (ws[-1], ws[-2]) if transposed else (ws[-2], ws[-1])
        if xs[-1] != k:
            raise RuntimeError(
                f"{name}: shapes {xs} and {ws} do not fit: the last dimension of the first is "
                f"{xs[-1]}, the {'last' if transposed else 'second last'} of the second is {k}"
            )
        return xk, n

    @classmethod
    def step(
        cls,
        context: Any,
        x: Operand,
        w: Operand,
        b: Operand | None,
        y: Operand,
        packed: bool = False,
    ):
        """The native call of y = x @ w (+ b); batch dimensions are those of y."""
        rank = len(y.shape) - 2
        batch = y.shape[:-2]
        m, n = y.shape[-2:]
        k = x.shape[-1]

        def batch_strides(o: Operand) -> tuple[int, ...]:
            own = len(o.shape) - 2
            padded = [0] * (rank - own) + [
                0 if o.shape[d] == 1 else o.strides[d] for d in range(own)
            ]
            return tuple(padded)

        spec = _gemm.MatmulSpec(
            dtype=x.dtype, m=m, n=n, k=k,
            a=x.strides[-2:], b=w.strides[-2:], c=y.strides[-2:],
            batch=batch, a_batch=batch_strides(x), b_batch=batch_strides(w),
            c_batch=batch_strides(y), bias="column" if b is not None else None, packed=packed,
        )  # fmt: skip
        operands = {"a": x, "b": w, "c": y}
        if b is not None:
            operands["bias"] = b
        made = _product_step("gemm", operands, spec)
        made.absorb = lambda tail: _with_epilogue(operands, spec, tail)
        return made


def _product_step(name: str, operands: dict[str, Operand], spec: Any) -> Step:
    def plan(threads: int) -> Any:
        return _gemm.plan_matmul(replace(spec, threads=threads))

    made = template_step(name, operands, plan, spec.m * spec.n * spec.k * prod(spec.batch))
    made.place = list(operands).index("c")
    most = max(spec.m, spec.n) * spec.k * prod(spec.batch)
    made.alone = made.work <= _gemm.SMALL and most <= _gemm.SMALL_READ
    if spec.batch:
        made.band = lambda: _for_one(name, operands, spec)
    return made


def _for_one(
    name: str, operands: dict[str, Operand], spec: Any
) -> tuple[Step, list[tuple[int, ...]]] | None:
    """The product of one batch element, and how far its operands are from element to element;
    None where several would be one matrix."""
    if not _gemm.alike(spec):
        return None
    apart = {"a": spec.a_batch, "b": spec.b_batch, "c": spec.c_batch}
    apart |= {o.name: o.batch for o in spec.operands}
    steps = [apart.get(key, (0,) * len(spec.batch)) for key in operands]
    inside = {
        key: Operand(o.value, o.shape[-2:], o.strides[-2:], o.dtype, o.offset)
        for key, o in operands.items()
    }
    one = replace(
        spec, batch=(), a_batch=(), b_batch=(), c_batch=(), one_of_many=True,
        operands=tuple(replace(o, batch=()) for o in spec.operands),
    )  # fmt: skip
    return _product_step(name, inside, one), steps


def _with_epilogue(operands: dict[str, Operand], spec: Any, tail: Any) -> Step | None:
    """A product with an epilogue (compiler/epilogues.py); None where the template has none such, or
    would sum in another way."""
    y, wide = tail.target, spec.dtype.compute
    kinds = {spec.dtype, wide}
    if y.dtype not in kinds or any(o.dtype not in kinds for o in tail.others):
        return None
    others = {f"operand{i}": o for i, o in enumerate(tail.others)}
    args = expr.arguments([wide] * (len(others) + 1))
    given = [operands["c"].dtype, *(o.dtype for o in tail.others)]
    read = [expr.cast(x, kind) for x, kind in zip(args, given, strict=True)]
    ended = replace(
        spec, c=y.strides[-2:], c_batch=y.strides[:-2], output=y.dtype,
        activation=expr.substitute([tail.value], read)[0],
        operands=tuple(
            _gemm.Operand(name, o.dtype, o.strides[:-2], *o.strides[-2:])
            for name, o in others.items()
        ),
    )  # fmt: skip
    if any(o.strides[-1] not in (0, 1) for o in tail.others) or not _gemm.alike(spec, ended):
        return None
    made = _product_step("gemm_" + tail.name, {**operands, "c": y, **others}, ended)
    made.text = f"epilogue {expr.render([tail.value])}"
    return made


class product(Product):
    """product(x, w): (..., M, K) @ (..., K, N) with broadcast batch dimensions."""

    public = False

    def names(x, w):
        pass

    @classmethod
    def infer(cls, types, params):
        kind, n = cls._types(types, False)
        batch = broadcast_shapes("matmul", types[0][0][:-2], types[1][0][:-2])
        return [((*batch, types[0][0][-2], n), kind)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, w = inputs
        return [cls.step(context, x, w, None, outputs[0])] if 0 not in outputs[0].shape else []

    def axis_map(call):
        (x, w), (xs, ws) = call.inputs, call.shapes
        if not call.batched[1] and len(xs) == len(ws) == 2:
            return _rows_together(call.run, x, w)
        rank = max(len(xs), len(ws))
        return call.run(call.aligned(rank), ())

    def vjp_x(g, w):
        return product(g, transposed(w))

    def vjp_w(g, x):
        return product(transposed(x), g)

    ref = np.matmul


class affine(Product):
    """affine(x, w, b) = x @ w^T + b, with x (M, K), w (N, K), b (N)."""

    public = False

    def names(x, w, b):
        pass

    @classmethod
    def infer(cls, types, params):
        kind, n = cls._types(types, True)
        if types[2][0] != (n,):
            raise RuntimeError(f"linear: a bias of shape {types[2][0]} where ({n},) is needed")
        if types[2][1] is not kind:
            raise RuntimeError(f"linear: the bias is {types[2][1]!r}, the input {kind!r}")
        return [((types[0][0][0], n), kind)]

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        x, w, b = inputs
        if 0 in outputs[0].shape:
            return []
        turned = Operand(w.value, w.shape[::-1], w.strides[::-1], w.dtype, w.offset)
        copied, b = side_by_side(context, b)
        return [*copied, cls.step(context, x, turned, b, outputs[0])]

    def axis_map(call):
        x, w, b = call.inputs
        if not any(call.batched[1:]):
            return _rows_together(call.run, x, w, b)
        bias = reshape(b, (call.size, 1, b.shape[-1])) if call.batched[2] else b
        return product(x, transposed(w)) + bias

    def vjp_x(g, w):
        return product(g, w)

    def vjp_w(g, x):
        return product(transposed(g), x)

    def vjp_b(g):
        return sum_(g, (0,), False)

    def ref(x, w, b):
        return x @ w.T + b


def _rows_together(run: Any, x: Any, *rest: Any) -> Any:
    """x (B, M, K) as B M rows of one product."""
    n, rows, inner = x.shape
    y = run((reshape(x, (n * rows, inner)), *rest), ())
    return reshape(y, (n, rows, y.shape[-1]))


def transposed(x: Any) -> Any:
    """The last two dimensions swapped."""
    n = len(x.shape)
    return permute(x, (*range(n - 2), n - 1, n - 2))


def matmul(x: Any, w: Any) -> Any:
    """The matrix product, with NumPy's rules for 1-d operands and batch dimensions.

    x (..., M, K) @ w (..., K, N) -> (..., M, N); a vector on the left is a row, on the right a
    column, and vanishes from the result. Raises RuntimeError where K differs.

    >>> import lucid
    >>> lucid.matmul(lucid.ones(2, 3), lucid.ones(3, 2))
    tensor([[3., 3.],
            [3., 3.]])
    """
    for t in (x, w):
        if not t.shape:
            raise RuntimeError("matmul: both operands must have at least one dimension")
    xs, ws = tuple(x.shape), tuple(w.shape)
    if len(xs) == 1 and len(ws) == 1 and xs != ws:
        raise RuntimeError(f"matmul: vectors of {xs[0]} and {ws[0]} elements do not fit")
    if x.dtype is w.dtype and x.dtype.category != FLOATING:
        return integer_product(x, w)
    rows = reshape(x, (1, *xs)) if len(xs) == 1 else x
    columns = reshape(w, (*ws, 1)) if len(ws) == 1 else w
    if len(rows.shape) > 2 and len(columns.shape) == 2:
        # One tall product instead of a batch.
        lead = tuple(rows.shape[:-1])
        count = 1
        for n in lead:
            count *= n
        flat = product(reshape(rows, (count, rows.shape[-1])), columns)
        y = reshape(flat, (*lead, columns.shape[-1]))
    else:
        y = product(rows, columns)
    if len(xs) == 1:
        y = reshape(y, (*y.shape[:-2], y.shape[-1]))
    if len(ws) == 1:
        y = reshape(y, tuple(y.shape[:-1]))
    return y


class integer_product(Composite):
    """x @ w of integers: products and their sum, wrapping in their own type."""

    public = False

    def forward(x, w):
        if x.dtype is bool_:
            raise RuntimeError("matmul: not defined for bool; convert with to()")
        row, column = len(x.shape) == 1, len(w.shape) == 1
        x = reshape(x, (1, x.shape[0])) if row else x
        w = reshape(w, (w.shape[0], 1)) if column else w
        if x.shape[-1] != w.shape[-2]:
            raise RuntimeError(
                f"matmul: shapes {tuple(x.shape)} and {tuple(w.shape)} do not fit: the last "
                f"dimension of the first is {x.shape[-1]}, the second last of the second is "
                f"{w.shape[-2]}"
            )
        left = reshape(x, (*x.shape[:-1], 1, x.shape[-1]))
        turned = transposed(w)
        right = reshape(turned, (*turned.shape[:-2], 1, *turned.shape[-2:]))
        terms = left * right
        y = to_dtype(sum_(terms, (len(terms.shape) - 1,), False), x.dtype)
        shape = list(y.shape)
        if column:
            del shape[-1]
        if row:
            del shape[-1 if column else -2]
        return reshape(y, tuple(shape))


def _product(x: Any, w: Any) -> Any:
    """The product of matrices or batches of them, of integers too."""
    whole = x.dtype is w.dtype and x.dtype.category != FLOATING
    return integer_product(x, w) if whole else product(x, w)


def _check_factors(name: str, kind: Any, **factors: Any) -> None:
    """alpha and beta of a sum of integers are whole: a fraction would be cut off."""
    for letter, value in factors.items():
        if kind.category < FLOATING and isinstance(value, float) and value != int(value):
            raise RuntimeError(
                f"{name}: {letter} = {value} is not whole, the tensors are {kind!r}; convert them "
                "with to() first"
            )


def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """linear(x, weight, bias) = x weight^T + bias: x (..., K), weight (N, K), bias (N).

    >>> import lucid
    >>> lucid.nn.functional.linear(lucid.ones(2, 3), lucid.ones(4, 3)).shape
    lucid.Size([2, 4])
    """
    if len(weight.shape) == 1 or input.dtype.category != FLOATING:
        y = matmul(input, weight if len(weight.shape) == 1 else permute(weight, (1, 0)))
        return y if bias is None else y + bias
    lead = tuple(input.shape[:-1])
    flat = input
    if len(lead) != 1:
        count = 1
        for n in lead:
            count *= n
        flat = reshape(input, (count, input.shape[-1]))
    if bias is None:
        _check_linear(input, weight)
        y = product(flat, permute(weight, (1, 0)))
    else:
        y = affine(flat, weight, bias)
    return y if len(lead) == 1 else reshape(y, (*lead, weight.shape[0]))


def _check_linear(x: Any, weight: Any) -> None:
    if x.shape[-1] != weight.shape[-1]:
        raise RuntimeError(
            f"linear: input of shape {tuple(x.shape)} and weight {tuple(weight.shape)} do not "
            f"fit: last dimensions {x.shape[-1]} and {weight.shape[-1]}"
        )


def _ranked(name: str, x: Any, rank: int) -> None:
    if len(x.shape) != rank:
        raise RuntimeError(f"{name}: expected {rank} dimensions, got shape {tuple(x.shape)}")


def mm(x: Any, mat2: Any) -> Any:
    """The product of two matrices.

    >>> import lucid
    >>> lucid.mm(lucid.ones(1, 2), lucid.ones(2, 1)).tolist()
    [[2.0]]
    """
    _ranked("mm", x, 2)
    _ranked("mm", mat2, 2)
    return _product(x, mat2)


def bmm(x: Any, mat2: Any) -> Any:
    """A batch of matrix products: (B, M, K) with (B, K, N).

    >>> import lucid
    >>> lucid.bmm(lucid.ones(2, 1, 3), lucid.ones(2, 3, 1)).tolist()
    [[[3.0]], [[3.0]]]
    """
    _ranked("bmm", x, 3)
    _ranked("bmm", mat2, 3)
    if x.shape[0] != mat2.shape[0]:
        raise RuntimeError(f"bmm: batches of {x.shape[0]} and {mat2.shape[0]} differ")
    return _product(x, mat2)


def mv(x: Any, vec: Any) -> Any:
    """A matrix times a vector.

    >>> import lucid
    >>> lucid.mv(lucid.tensor([[1.0, 2.0], [3.0, 4.0]]), lucid.ones(2))
    tensor([3., 7.])
    """
    _ranked("mv", x, 2)
    _ranked("mv", vec, 1)
    return matmul(x, vec)


def dot(x: Any, w: Any) -> Any:
    """The inner product of two vectors.

    >>> import lucid
    >>> lucid.dot(lucid.tensor([1.0, 2.0]), lucid.tensor([3.0, 4.0])).item()
    11.0
    """
    _ranked("dot", x, 1)
    _ranked("dot", w, 1)
    return matmul(x, w)


def outer(x: Any, vec2: Any) -> Any:
    """outer(x, vec2)[i, j] = x[i] vec2[j].

    >>> import lucid
    >>> lucid.outer(lucid.tensor([1.0, 2.0]), lucid.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    _ranked("outer", x, 1)
    _ranked("outer", vec2, 1)
    return reshape(x, (x.shape[0], 1)) * reshape(vec2, (1, vec2.shape[0]))


def scaled_sum(name: str, x: Any, made: Any, beta: float, alpha: float) -> Any:
    """beta x + alpha made."""
    _check_factors(name, made.dtype, alpha=alpha, beta=beta)
    made = made if alpha == 1 else made * alpha
    if beta == 0:  # x is not read: NaN in it does not count
        size = broadcast_shapes(name, tuple(x.shape), tuple(made.shape))
        return made if size == tuple(made.shape) else expand(made, size).clone()
    return made + (x if beta == 1 else x * beta)


def addmm(x: Any, mat1: Any, mat2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """addmm = beta x + alpha (mat1 @ mat2).

    >>> import lucid
    >>> lucid.addmm(lucid.ones(2, 2), lucid.eye(2), lucid.eye(2), alpha=3)
    tensor([[4., 1.],
            [1., 4.]])
    """
    return scaled_sum("addmm", x, mm(mat1, mat2), beta, alpha)


def baddbmm(x: Any, batch1: Any, batch2: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """baddbmm = beta x + alpha (batch1 @ batch2).

    >>> import lucid
    >>> lucid.baddbmm(lucid.ones(1, 1, 1), lucid.ones(1, 1, 2), lucid.ones(1, 2, 1))
    tensor([[[3.]]])
    """
    return scaled_sum("baddbmm", x, bmm(batch1, batch2), beta, alpha)


def tensordot(x: Any, w: Any, dims: Any = 2) -> Any:
    """Sum of products over `dims` dimensions: a count, or two lists of dimensions.

    >>> import lucid
    >>> lucid.tensordot(lucid.ones(2, 3), lucid.ones(3, 2), dims=1)
    tensor([[3., 3.],
            [3., 3.]])
    """
    if isinstance(dims, int):
        left = list(range(len(x.shape) - dims, len(x.shape)))
        right = list(range(dims))
    else:
        left, right = (list(d) if not isinstance(d, int) else [d] for d in dims)
    left = [normal_dim("tensordot", d, len(x.shape)) for d in left]
    right = [normal_dim("tensordot", d, len(w.shape)) for d in right]
    if len(left) != len(right) or len({*left}) < len(left) or len({*right}) < len(right):
        raise RuntimeError(f"tensordot: dimensions {left} and {right} cannot be pairs")
    for a, b in zip(left, right, strict=True):
        n, m = x.shape[a], w.shape[b]
        if n == 1 != m:  # which stands for any other
            w = to_dtype(sum_(w, (b,), True), w.dtype)
        elif m == 1 != n:
            x = to_dtype(sum_(x, (a,), True), x.dtype)
        elif n != m:
            raise RuntimeError(f"tensordot: dimensions {a} and {b}: {n} and {m}, not the same size")
    free_x = [d for d in range(len(x.shape)) if d not in left]
    free_w = [d for d in range(len(w.shape)) if d not in right]
    shape = [x.shape[d] for d in free_x] + [w.shape[d] for d in free_w]
    inner = 1
    for d in left:
        inner *= x.shape[d]
    a = reshape(permute(x, (*free_x, *left)), (_count(x, free_x), inner))
    b = reshape(permute(w, (*right, *free_w)), (inner, _count(w, free_w)))
    return reshape(_product(a, b), tuple(shape))


def _count(x: Any, dims: Sequence[int]) -> int:
    n = 1
    for d in dims:
        n *= x.shape[d]
    return n


def einsum(equation: str, *operands: Any) -> Any:
    """Einstein's summation: `einsum("bij,bjk->bik", x, w)`. Operands join from the left.

    Letters name dimensions, `...` stands for batch dimensions; a repeated letter takes the
    diagonal; without `->` the letters that appear once are kept, in alphabetical order.

    >>> import lucid
    >>> lucid.einsum("ij,j->i", lucid.eye(2), lucid.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    terms, output = _terms(equation.replace(" ", ""), operands)
    joined, letters = _diagonal(operands[0], terms[0])
    for i in range(1, len(operands)):
        x, own = _diagonal(operands[i], terms[i])
        later = set("".join(terms[i + 1 :])) | set(output)
        joined, letters = _join(joined, letters, x, own, later)
    gone = tuple(d for d, c in enumerate(letters) if c not in output)
    if gone:
        joined = sum_(joined, gone, False)
        letters = "".join(c for c in letters if c in output)
    return permute(joined, tuple(letters.index(c) for c in output))


def _terms(equation: str, operands: Sequence[Any]) -> tuple[list[str], str]:
    """One string of letters for each operand, and for the output; `...` becomes capital-free
    letters of its own."""
    left, arrow, output = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands):
        raise ValueError(f"einsum: {equation!r} names {len(terms)} operands, got {len(operands)}")
    spare = [chr(0x3B1 + i) for i in range(24)]
    widest = 0
    for i, (term, x) in enumerate(zip(terms, operands, strict=True)):
        named = len(term.replace("...", ""))
        hidden = len(x.shape) - named
        if "..." in term:
            widest = max(widest, hidden)
            terms[i] = term.replace("...", "".join(spare[24 - hidden :]) if hidden else "")
        elif hidden:
            raise ValueError(f"einsum: {term!r} does not name the dimensions of {tuple(x.shape)}")
    batch = "".join(spare[24 - widest :]) if widest else ""
    if arrow:
        output = output.replace("...", batch)
    else:
        every = "".join(terms)
        output = batch + "".join(sorted(c for c in set(every) if every.count(c) == 1 and c < "α"))
    return terms, output


def _diagonal(x: Any, letters: str) -> tuple[Any, str]:
    for c in dict.fromkeys(letters):
        while letters.count(c) > 1:
            a = letters.index(c)
            b = letters.index(c, a + 1)
            x = diagonal(x, 0, a, b)
            letters = letters[:a] + letters[a + 1 : b] + letters[b + 1 :] + c
    return x, letters


def _join(x: Any, a: str, w: Any, b: str, later: set[str]) -> tuple[Any, str]:
    """Two operands into one: letters in both and later are batch, in both only are summed."""
    only_a = tuple(d for d, c in enumerate(a) if c not in b and c not in later)
    only_b = tuple(d for d, c in enumerate(b) if c not in a and c not in later)
    if only_a:
        x, a = sum_(x, only_a, False), "".join(c for c in a if c in b or c in later)
    if only_b:
        w, b = sum_(w, only_b, False), "".join(c for c in b if c in a or c in later)
    sizes = {**dict(zip(b, w.shape, strict=True)), **_larger(a, x, b, w)}
    batch = [c for c in a if c in b and c in later]
    inner = [c for c in a if c in b and c not in later]
    rows = [c for c in a if c not in b]
    columns = [c for c in b if c not in a]

    def arrange(t: Any, own: str, order: list[str]) -> Any:
        t = permute(t, tuple(own.index(c) for c in order))
        full = tuple(sizes[c] for c in order)
        return t if tuple(t.shape) == full else expand(t, full)

    def total(group: list[str]) -> int:
        n = 1
        for c in group:
            n *= sizes[c]
        return n

    lead = tuple(sizes[c] for c in batch)
    left = reshape(arrange(x, a, batch + rows + inner), (*lead, total(rows), total(inner)))
    right = reshape(arrange(w, b, batch + inner + columns), (*lead, total(inner), total(columns)))
    if not inner and left.dtype.category == FLOATING and total(rows) == total(columns) == 1:
        y = left * right
    else:
        y = _product(left, right)
    shape = (*lead, *(sizes[c] for c in rows), *(sizes[c] for c in columns))
    return reshape(y, shape), "".join(batch + rows + columns)


def _larger(a: str, x: Any, b: str, w: Any) -> dict[str, int]:
    """Sizes by letter; where both have it they must agree or be 1."""
    sizes = dict(zip(a, x.shape, strict=True))
    for c, n in zip(b, w.shape, strict=True):
        if c in sizes and sizes[c] != n and 1 not in (sizes[c], n):
            raise RuntimeError(f"einsum: dimension {c!r} has sizes {sizes[c]} and {n}")
        sizes[c] = max(n, sizes.get(c, 1))
    return sizes
