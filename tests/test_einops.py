"""Patterns of named axes: against NumPy, against the library where it is installed, and errors."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.einops import rearrange, reduce, repeat

ROOT = Path(__file__).resolve().parent.parent


def numbers(*shape):
    return np.random.default_rng(0).random(shape)


X = numbers(2, 3, 4, 6)
FLAT = numbers(12, 5)
REARRANGED = [
    ("b c h w -> b h w c", {}, X, X.transpose(0, 2, 3, 1)),
    ("b c h w -> (b c) h w", {}, X, X.reshape(6, 4, 6)),
    ("b c h w -> h (w c b)", {}, X, X.transpose(2, 3, 1, 0).reshape(4, 36)),
    ("... w -> w ...", {}, X, X.transpose(3, 0, 1, 2)),
    ("b ... -> b (...)", {}, X, X.reshape(2, 72)),
    ("b ... -> (... b)", {}, X, X.transpose(1, 2, 3, 0).reshape(144)),
    ("b ... w -> (b w) ...", {}, X, X.transpose(0, 3, 1, 2).reshape(12, 3, 4)),
    ("(a b) c -> a b c", {"a": 3}, FLAT, FLAT.reshape(3, 4, 5)),
    ("(a b) c -> b (a c)", {"b": 3}, FLAT, FLAT.reshape(4, 3, 5).transpose(1, 0, 2).reshape(3, 20)),
    ("(a b e) c -> a b e c", {"a": 3, "e": 2}, FLAT, FLAT.reshape(3, 2, 2, 5)),
    ("a c -> a 1 c", {}, FLAT, FLAT[:, None]),
    ("a c -> 1 (a c) ()", {}, FLAT, FLAT.reshape(1, 60, 1)),
    ("1 a () -> a", {}, numbers(1, 7, 1), numbers(7)),
    ("... -> ...", {}, X, X),
    ("-> 1", {}, np.array(3.0), np.array([3.0])),
    ("...->1 ...", {}, np.array(3.0), np.array([3.0])),
    ("  a   c->c a ", {}, FLAT, FLAT.T),
]
REDUCED = [
    ("b c h w -> b c", "mean", {}, X, X.mean((2, 3))),
    ("b c (h p) (w q) -> b c h w", "max", {"p": 2, "q": 3}, X,
     X.reshape(2, 3, 2, 2, 2, 3).max((3, 5))),
    ("b c (h 2) (w 2) -> b c h w", "sum", {}, X, X.reshape(2, 3, 2, 2, 3, 2).sum((3, 5))),
    ("b c h w -> b 1 1 w", "min", {}, X, X.min((1, 2), keepdims=True)),
    ("... w -> ...", "prod", {}, X, X.prod(3)),
    ("b ... -> b", "sum", {}, X, X.sum((1, 2, 3))),
    ("b ... ->", "sum", {}, X, X.sum()),
    ("b c h w -> w b", "any", {}, X > 0.99, (X > 0.99).any((1, 2)).T),
    ("b c h w -> w b", "all", {}, X > 0.01, (X > 0.01).all((1, 2)).T),
    ("b c -> b c", "sum", {}, FLAT, FLAT),
]  # fmt: skip
REPEATED = [
    ("a c -> a n c", {"n": 3}, FLAT, np.repeat(FLAT[:, None], 3, 1)),
    ("a c -> (n a) c", {"n": 2}, FLAT, np.tile(FLAT, (2, 1))),
    ("a c -> (a n) (c 2)", {"n": 2}, FLAT, FLAT.repeat(2, 0).repeat(2, 1)),
    ("a c -> 2 c 3 a", {}, FLAT, np.broadcast_to(FLAT.T[None, :, None], (2, 5, 3, 12))),
    ("... -> ... n", {"n": 2}, FLAT, FLAT[..., None].repeat(2, -1)),
    ("-> n", {"n": 4}, np.array(2.0), np.full(4, 2.0)),
    ("(a b) c -> c b n a", {"a": 4, "n": 2}, FLAT,
     FLAT.reshape(4, 3, 5).transpose(2, 1, 0)[:, :, None].repeat(2, 2)),
]  # fmt: skip
CASES = [
    *[(rearrange, "rearrange", x, (p,), sizes, y) for p, sizes, x, y in REARRANGED],
    *[(reduce, "reduce", x, (p, how), sizes, y) for p, how, sizes, x, y in REDUCED],
    *[(repeat, "repeat", x, (p,), sizes, y) for p, sizes, x, y in REPEATED],
]
IDS = [case[3][0] for case in CASES]


@pytest.mark.parametrize("function, name, x, args, sizes, expected", CASES, ids=IDS)
def test_patterns(function, name, x, args, sizes, expected):
    made = function(lucid.tensor(x), *args, **sizes).numpy()
    assert made.shape == expected.shape and np.allclose(made, expected, atol=1e-12)


@pytest.mark.parametrize("function, name, x, args, sizes, expected", CASES, ids=IDS)
def test_the_library_says_the_same_and_takes_our_tensors(function, name, x, args, sizes, expected):
    einops = pytest.importorskip("einops")
    theirs = getattr(einops, name)
    if x.ndim:
        assert np.allclose(theirs(x, *args, **sizes), expected, atol=1e-12)
    made = theirs(lucid.tensor(x), *args, **sizes)
    assert isinstance(made, lucid.Tensor)
    assert np.allclose(made.numpy(), expected, atol=1e-12)


def test_lists_are_stacked():
    rows = [lucid.tensor(row) for row in FLAT]
    assert np.array_equal(rearrange(rows, "a c -> c a").numpy(), FLAT.T)
    assert np.allclose(reduce(rows, "a c -> c", "sum").numpy(), FLAT.sum(0))
    assert repeat(tuple(rows), "a c -> a c 2").shape == (12, 5, 2)


def test_a_function_may_reduce():
    made = reduce(lucid.tensor(FLAT), "a c -> c", lambda x, dims: x.logsumexp(dims))
    assert np.allclose(made.numpy(), np.log(np.exp(FLAT).sum(0)))


@pytest.mark.parametrize(
    "function, args, sizes, said",
    [
        (rearrange, ("a c",), {}, "one '->'"),
        (rearrange, ("a -> c -> a",), {}, "one '->'"),
        (rearrange, ("a c -> a",), {}, "c stands on one side"),
        (rearrange, ("a c -> a c d",), {}, "d stands on one side"),
        (rearrange, ("a c -> a c 2",), {}, "2 stands on one side"),
        (rearrange, ("a a -> a",), {}, "a stands twice"),
        (rearrange, ("a c e -> a c e",), {}, "3 dimensions are expected"),
        (rearrange, ("a b c ... -> a b c ...",), {}, "3 or more dimensions"),
        (rearrange, ("a c -> a c ...",), {}, "on the right alone"),
        (rearrange, ("(a ...) -> a ...",), {}, "in parentheses on the left"),
        (rearrange, ("(a b) c -> a b c",), {}, "the sizes of a and b"),
        (rearrange, ("(a b) c -> a b c",), {"a": 5}, "12 is not a multiple of 5, for b"),
        (rearrange, ("(a b) c -> a b c",), {"a": 3, "b": 5}, "size 12 stands for .a b. of size 15"),
        (rearrange, ("a c -> c a",), {"z": 2}, "length of z is given"),
        (rearrange, ("a c -> c a",), {"a": -1}, "is no size"),
        (rearrange, ("a c -> c a",), {"a": 2.0}, "is no size"),
        (rearrange, ("1 c -> c",), {}, "size 12 stands for .. of size 1"),
        (rearrange, ("(a c -> a c",), {}, "has no '.'"),
        (rearrange, ("a) c -> a c",), {}, "has no '.'"),
        (rearrange, ("((a) c) b -> a c b",), {}, "within parentheses"),
        (rearrange, ("_a c -> c _a",), {}, "'_a' is no name"),
        (rearrange, ("a+ c -> c a",), {}, "is no name"),
        (rearrange, ("0 c -> c 0",), {}, "size 0"),
        (reduce, ("a c -> a d", "sum"), {}, "d stands on one side"),
        (reduce, ("a c -> a", "norm"), {}, "none of sum"),
        (repeat, ("a c -> a",), {}, "c stands on one side"),
        (repeat, ("a c -> a c n",), {}, "size of the new axis n"),
    ],
)
def test_what_does_not_fit_is_said(function, args, sizes, said):
    with pytest.raises(ValueError, match=said):
        function(lucid.tensor(FLAT), *args, **sizes)


def test_other_errors():
    with pytest.raises(TypeError, match="expected a tensor"):
        rearrange(FLAT, "a b -> b a")
    with pytest.raises(TypeError, match="mean of lucid.int64"):
        reduce(lucid.arange(3), "a ->", "mean")
    with pytest.raises(ValueError, match=r"in 'a b c -> a' for shape \(12, 5\)"):
        rearrange(lucid.tensor(FLAT), "a b c -> a")


def test_gradients():
    x = lucid.tensor(X, requires_grad=True)

    def chain(x):
        y = rearrange(x, "b c (h p) w -> b (c p) h w", p=2)
        y = repeat(y, "b c h w -> b c h (w 2)")
        return reduce(y, "b c h (w q) -> c w", "mean", q=4)

    assert lucid.autograd.gradcheck(chain, (x,))


def test_the_layer():
    layer = lucid.nn.Rearrange("b (c p) -> b p c", p=3)
    assert layer(lucid.zeros(2, 12)).shape == (2, 3, 4)
    assert repr(layer) == "Rearrange('b (c p) -> b p c', p=3)"


def test_axes_without_elements():
    assert rearrange(lucid.zeros(0, 4), "a (b c) -> (a b) c", b=2).shape == (0, 2)
    assert repeat(lucid.zeros(2), "a -> a n", n=0).shape == (2, 0)


@pytest.mark.parametrize("order", ["import einops, lucid", "import lucid, einops"])
def test_the_library_is_told_whichever_comes_first(order):
    pytest.importorskip("einops")
    code = (
        f"{order}; x = einops.rearrange(lucid.ones(2, 3), 'a b -> (b a)');"
        "assert isinstance(x, lucid.Tensor) and x.shape == (6,)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr


def test_programs_of_pytorch_use_the_library(tmp_path):
    pytest.importorskip("einops")
    script = tmp_path / "program.py"
    script.write_text(
        "import torch, einops\nfrom einops.layers.torch import Rearrange, Reduce\n"
        "x = torch.arange(24.0).reshape(2, 3, 4)\n"
        "print(tuple(einops.rearrange(x, 'a b c -> (a b) c').shape))\n"
        "print(einops.einsum(x, x, 'a b c, a b c -> a').tolist())\n"
        "print(tuple(Reduce('a b c -> a', 'max')(Rearrange('a b c -> a c b')(x)).tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lucid", "run", str(script)],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.split("\n")[:3] == ["(6, 4)", "[506.0, 3818.0]", "(11.0, 23.0)"], done.stderr
