"""Plans on the null device: kernel counts, memory, text and graphs, without running a kernel."""

import numpy as np
import pytest

import lucid
import lucid.nn.functional as F
from lucid import graph as graphs
from lucid.apply import trace_call
from lucid.autograd.node import Recipe
from lucid.autograd.rules import rules_of
from lucid.config import settings
from lucid.ops.normalize import batch_norm_, layer_norm_, softmax_
from lucid.plan.lower import count_kernels, lower
from lucid.plan.memory import arrange
from lucid.plan.passes import improve


def forward(record, inputs, *params):
    static = record.static(params)
    return trace_call(lambda *xs: record.forward(*xs, **static), inputs)


def backward(record, inputs, outputs, *params):
    """The graph of all rules of a record, as a backward pass traces them."""
    names = list(record.inputs)
    made = dict(zip(("y", *record.hidden), outputs, strict=False))
    residuals = list(dict.fromkeys(n for r in record.rules.values() for n in r.names))
    plain = dict(zip(names, inputs, strict=True)) | made
    used = [n for n in residuals if n in plain]

    def rules(g, *xs):
        saved = dict(zip(used, xs, strict=True)) | record.static(params)
        for n in names:
            saved[f"{n}_meta"] = plain[n]
        layouts = tuple(plain[n]._layout for n in names)
        edges = tuple((plain[n], 0) if n in record.rules else None for n in names)
        recipe = Recipe(record, params, layouts, (made["y"]._layout,), edges)
        return [y for y in rules_of(recipe, recipe.needed, saved, [g]) if y is not None]

    return trace_call(rules, [made["y"], *(plain[n] for n in used)])


def test_softmax_is_one_kernel_each_way():
    x = lucid.zeros(6, 9)
    assert len(count_kernels(forward(softmax_, [x], 1))) == 1
    assert len(count_kernels(backward(softmax_, [x], [x], 1))) == 1


def test_layer_norm_is_one_kernel_and_at_most_two_back():
    x, w, b, m = lucid.zeros(6, 9), lucid.zeros(9), lucid.zeros(9), lucid.zeros(6, 1)
    assert len(count_kernels(forward(layer_norm_, [x, w, b], 1, 1e-5))) == 1
    assert len(count_kernels(backward(layer_norm_, [x, w, b], [x, m, m], 1, 1e-5))) <= 2
    # A long fold of columns is in two parts: the first goes along with the rows.
    x, w, b, m = lucid.zeros(5000, 40), lucid.zeros(40), lucid.zeros(40), lucid.zeros(5000, 1)
    graph = backward(layer_norm_, [x, w, b], [x, m, m], 1, 1e-5)
    assert count_kernels(graph) == ["sum_mul", "sum_join"]


def test_cross_entropy_is_two_kernels_and_one_back():
    x = lucid.zeros(6, 9, requires_grad=True)
    loss = F.cross_entropy(x, lucid.zeros(6, dtype=lucid.int64))
    record = loss.grad_fn.op
    t = lucid.zeros(6, dtype=lucid.int64)
    recipe = loss.grad_fn.recipe
    params = recipe.params
    assert len(count_kernels(forward(record, [x.detach(), t], *params))) <= 2
    outputs = {"y": loss.detach(), "y1": loss.detach(), "lse": lucid.zeros(6, 1)}

    def rules(g, x, t, lse, y1):
        saved = dict(x=x, t=t, lse=lse, y1=y1, **record.static(params))
        return [rules_of(recipe, recipe.needed, saved, [g])[0]]

    graph = trace_call(rules, [loss.detach(), x.detach(), t, outputs["lse"], loss.detach()])
    assert len(count_kernels(graph)) == 1


def test_batch_norm_is_one_kernel_forward():
    x, w = lucid.zeros(4, 3, 5, 5), lucid.zeros(3)
    assert len(count_kernels(forward(batch_norm_, [x, w, w], 1e-5))) == 1


def test_chain_of_elementwise_ops_is_one_kernel():
    x = lucid.zeros(100)
    graph = trace_call(lambda x: x * lucid.sigmoid(x * 1.702) + lucid.tanh(x) * 0.5, [x])
    assert len(count_kernels(graph)) == 1


def test_two_gradients_of_a_product_are_one_kernel():
    x, w = lucid.zeros(3, 4), lucid.zeros(3, 4)
    graph = trace_call(lambda g, x, w: (g * w, g * x), [x, x, w])
    assert len(count_kernels(graph)) == 1


def test_text_does_not_depend_on_sizes():
    """Another batch size compiles nothing."""

    def text(*shape):
        x = lucid.zeros(*shape)
        steps = lower(trace_call(lambda x: (x * 2.0 + 1.0).sum(1) / shape[1], [x])).steps
        return [str(step.kernel) for step in steps]

    assert text(64, 200) == text(65, 300)


def test_numbers_are_arguments():
    def text(number):
        graph = trace_call(lambda x: x * number, [lucid.zeros(8)])
        return str(lower(graph).steps[0].kernel)

    assert text(0.5) == text(0.25)


def test_long_folds_are_split_and_keep_their_bits():
    x = lucid.randn(100_000)
    graph = trace_call(lambda x: x.sum(), [x])
    assert len(count_kernels(graph)) == 2
    # The same fold inside a kernel with many rows, which is not split.
    rows = x.reshape(1, -1).expand(64, 100_000)
    assert len(count_kernels(trace_call(lambda x: x.sum(1), [rows]))) == 1
    assert x.sum().item() == rows.sum(1)[0].item()


@pytest.mark.parametrize("seed", range(20))
def test_arena_blocks_do_not_overlap_while_they_live(seed):
    rng = np.random.default_rng(seed)
    lives = []
    for _ in range(30):
        first = int(rng.integers(0, 20))
        lives.append((int(rng.integers(1, 5000)), first, first + int(rng.integers(0, 6))))
    offsets, total = arrange(lives)
    for i, (n, first, last) in enumerate(lives):
        assert offsets[i] % 64 == 0 and offsets[i] + n <= total
        for j in range(i):
            m, start, end = lives[j]
            if first <= end and start <= last:
                assert offsets[i] + n <= offsets[j] or offsets[j] + m <= offsets[i]


def test_intermediates_share_memory():
    """A chain of products needs two blocks, not one for each."""
    x = lucid.zeros(32, 32)

    def chain(x):
        for _ in range(8):
            x = x @ x
        return x

    assert lower(trace_call(chain, [x])).arena_bytes <= 2 * 32 * 32 * 4


def test_graph_prints_and_parses_back():
    x, w = lucid.zeros(4, 5), lucid.zeros(5)
    graph = trace_call(lambda x, w: (lucid.softmax(x * w + 1.5, 1).sum(0), x.t()), [x, w])
    text = str(graph)
    again = graphs.parse(text)
    assert str(again) == text
    again.verify()
    assert [v.type for v in again.outputs] == ["float32[5]", "float32[5, 4]"]


def test_verify_finds_a_wrong_type_and_a_missing_value():
    graph = trace_call(lambda x: x + x, [lucid.zeros(3)])
    graph.verify()
    graph.equations[0].outputs[0].dtype = lucid.float64
    with pytest.raises(ValueError, match="add"):
        graph.verify()
    graph = trace_call(lambda x: (x + x) * x, [lucid.zeros(3)])
    graph.equations.reverse()
    with pytest.raises(ValueError, match="not yet made"):
        graph.verify()


def test_outside_tensors_raise_in_a_trace():
    outside = lucid.ones(3)
    with pytest.raises(RuntimeError, match="outside of the traced function"):
        trace_call(lambda x: x + outside, [lucid.zeros(3)])


def test_values_raise_in_a_trace():
    with pytest.raises(RuntimeError, match="traced"):
        trace_call(lambda x: x if x.sum() > 0 else -x, [lucid.zeros(3)])


def test_passes_that_do_not_exist_are_named(monkeypatch):
    monkeypatch.setattr(settings, "passes", "-same, -nosuch")
    with pytest.raises(ValueError, match="there is no nosuch; passes are identity, same, assemble"):
        improve(graphs.Graph())


def test_a_tensor_made_inside_a_trace_belongs_to_it():
    """Also where a plan for the same call outside is known already."""
    outside = lucid.zeros(3, dtype=lucid.float32)
    graph = trace_call(lambda x: x + lucid.zeros(3, dtype=lucid.float32), [outside])
    assert [equation.op.name for equation in graph.equations] == ["full", "add"]


def test_the_rule_of_a_gather_after_zeros_of_its_shape():
    x = lucid.ones(4, 3, requires_grad=True)
    lucid.zeros(4, 3)
    x.gather(1, lucid.tensor([[0, 1], [2, 2], [0, 0], [1, 1]])).sum().backward()
    assert x.grad.tolist() == [[1, 1, 0], [0, 0, 2], [2, 0, 0], [0, 2, 0]]


def test_the_text_of_a_fold_says_how_it_combines():
    """Machine code is kept under the text: an edited rule of the same name must not find it."""
    steps = lower(trace_call(lambda x: x.sum(1), [lucid.zeros(4, 30)])).steps
    assert "combine" in str(steps[0].kernel) and "add(" in str(steps[0].kernel).split("combine")[1]
