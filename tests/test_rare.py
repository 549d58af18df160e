"""Values behind a rare condition: machine code jumps over them and has the bits of the rest."""

import numpy as np
import pytest

from lucid import dtypes as d
from lucid.backend.cpu.math import expand
from lucid.backend.cpu.math.parts import rare
from lucid.backend.cpu.rare import Rare, grouped
from lucid.kernel import expr as e
from tests.kernel_calls import apply, available, on
from tests.vectorised import evaluate

f32 = d.float32


def test_groups_hold_what_only_the_rare_case_needs():
    (x,) = e.arguments([f32])
    large = x > 100
    shared = x * 2
    first, second = shared + 1, x * 3
    a, b = rare(large, first * second, shared), rare(large, second, x)
    roots = [a + b]
    order = [n for n in e.postorder(roots) if n.args]
    (group,) = [n for n in grouped(order, roots, order) if isinstance(n, Rare)]
    assert group.condition is large and set(map(id, group.choices)) == {id(a), id(b)}
    assert sorted(n.op for n in group.nodes) == ["add", "mul", "mul"]
    assert shared not in group.nodes


def test_groups_that_need_each_other_are_left_alone():
    (x,) = e.arguments([f32])
    large = x > 100
    inner = rare(large, x * 2, x)
    roots = [rare(large, x * 3, inner + 1)]
    order = [n for n in e.postorder(roots) if n.args]
    assert grouped(order, roots, order) == order


@pytest.mark.parametrize("name", available())
def test_sine_with_and_without_large_arguments(name):
    x = np.random.default_rng(1).standard_normal(1000).astype(np.float32)
    x[::97] *= 1e30
    x[500] = np.inf

    def rule(v):
        s = e.math("sin", v)
        return e.math("cos", s * 3e6) + s + e.math("cos", v)

    (want,) = evaluate(expand([rule(*e.arguments([f32]))]), [x], name != "plain")
    with on(name):
        got = apply(rule, [x], f32)
    np.testing.assert_array_equal(got, want)
