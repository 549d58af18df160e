"""Recurrent layers: native walks against one ordinary op after another, packing, errors.

Numbers of whole modules are held against PyTorch's in test_sequence_golden.py.
"""

import itertools

import numpy as np
import pytest

import lucid
from lucid import autograd, nn
from lucid.apply import trace_call
from lucid.autograd.check import gradcheck, gradgradcheck
from lucid.nn.utils import rnn as packing
from lucid.ops.recurrent import recurrent
from lucid.ops.recurrent_composite import layer
from lucid.plan.lower import lower

rng = np.random.default_rng(0)


def T(*shape, kind=lucid.float64):
    return lucid.tensor(rng.standard_normal(shape) * 0.5, dtype=kind, requires_grad=True)


def inputs_of(kind, rows, size, projected=False, ragged=False, frames=4):
    gates = {"lstm": 4, "gru": 3}.get(kind, 1)
    state = 3 if projected else size
    x = {"z": T(frames, rows, gates * size), "w": T(gates * size, state), "h": T(rows, state)}
    x |= {"c": T(rows, size)} if kind == "lstm" else {}
    x |= {"b": T(3 * size)} if kind == "gru" else {}
    x |= {"p": T(state, size)} if projected else {}
    if ragged:
        long = rng.integers(1, frames + 1, rows)
        x["inside"] = lucid.tensor(np.arange(frames)[:, None] < long)
    return x


def results(function, kind, reverse, x):
    ys = function(kind, reverse, **x)
    total = sum((y * (i + 1.0)).sin().sum() for i, y in enumerate(ys))
    return [*ys, *autograd.grad(total, [v for n, v in x.items() if n != "inside"])]


# 12 rows and 70 columns: weights in panels, and a rest; 3 rows: weights as they are.
@pytest.mark.parametrize("rows, size", [(12, 70), (3, 5)])
@pytest.mark.parametrize("kind", ["lstm", "lstm projected", "gru", "tanh", "relu"])
def test_the_native_walk_is_one_op_after_another(kind, rows, size):
    kind, _, projected = kind.partition(" ")
    for reverse, ragged in itertools.product((False, True), (False, True)):
        x = inputs_of(kind, rows, size, bool(projected), ragged)
        got, wanted = (results(f, kind, reverse, x) for f in (recurrent, layer))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(
                a.detach().numpy(), b.detach().numpy(), rtol=1e-10, atol=1e-10
            )
        with lucid.no_grad():  # nothing is kept, and no bit differs
            for a, b in zip(recurrent(kind, reverse, **x), got, strict=False):
                assert lucid.equal(a, b)


@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_derivatives_of_both_orders(kind):
    x = inputs_of(kind, 2, 2, frames=2)

    def run(*values):
        return recurrent(kind, False, **dict(zip(x, values, strict=True)))

    assert gradcheck(run, list(x.values()))
    assert gradgradcheck(lambda *v: run(*v)[0], list(x.values()))


def test_threads_do_not_change_a_bit():
    x = inputs_of("lstm", 20, 64)
    before = lucid.get_num_threads()
    try:
        made = []
        for count in (1, 2):
            lucid.set_num_threads(count)
            made.append(results(recurrent, "lstm", False, x))
    finally:
        lucid.set_num_threads(before)
    assert all(lucid.equal(a, b) for a, b in zip(*made, strict=True))


@pytest.mark.parametrize("frames", [1, 3])
@pytest.mark.parametrize("kind", ["lstm", "gru", "tanh"])
def test_the_first_state_needs_no_product_where_it_has_no_gradient(kind, frames):
    for ragged, projected in ((False, False), (True, False), (kind == "lstm", kind == "lstm")):
        x = inputs_of(kind, 12, 70, projected, ragged, frames)
        ys = recurrent(kind, False, **x)
        gs = [T(*y.shape).detach() for y in ys]
        wanted = {n: v for n, v in x.items() if n != "inside"}
        whole = dict(zip(wanted, autograd.grad(ys, list(wanted.values()), gs), strict=True))
        fixed = {n: v.detach() if n == "h" else v for n, v in x.items()}
        ys = recurrent(kind, False, **fixed)
        names = [n for n in wanted if n != "h"]
        for n, g in zip(names, autograd.grad(ys, [fixed[n] for n in names], gs), strict=True):
            assert g.equal(whole[n]), n


def test_a_layer_is_one_native_call():
    """Products of all inputs, then the walk: no Python between time steps."""

    x = inputs_of("lstm", 4, 8)
    given = list(x.values())
    graph = trace_call(lambda *v: recurrent("lstm", False, **dict(zip(x, v, strict=True))), given)
    names = [step.name for step in lower(graph).steps]
    assert names == ["copy", "copy", "lstm"]


def test_no_time_steps_and_16_bits():
    y, (h, c) = nn.LSTM(3, 4)(lucid.zeros(0, 2, 3))
    assert y.shape == (0, 2, 4) and h.shape == c.shape == (1, 2, 4)
    model = nn.GRU(3, 4)
    x = lucid.randn(5, 2, 3)
    wide = model(x)[0]
    narrow = model.bfloat16()(x.bfloat16())[0]
    assert narrow.dtype is lucid.bfloat16
    np.testing.assert_allclose(narrow.float().detach(), wide.detach(), atol=0.03)


def test_dropout_lies_between_layers_and_only_in_training():
    model = nn.LSTM(3, 8, num_layers=2, dropout=1.0)
    x = lucid.randn(4, 2, 3)
    dropped, kept = model(x)[0], model.eval()(x)[0]
    assert not lucid.equal(dropped, kept)
    silent = model.train()(lucid.randn(4, 2, 3))[0]
    assert lucid.equal(dropped, silent)  # the second layer sees zeros, whatever comes in
    with pytest.warns(UserWarning, match="num_layers"):
        nn.GRU(3, 4, dropout=0.5)


def test_packing_and_padding_undo_each_other():
    x = [lucid.randn(n, 2) for n in (2, 4, 1)]
    packed = packing.pack_sequence(x, enforce_sorted=False)
    assert packed.batch_sizes.tolist() == [3, 2, 1, 1]
    for a, b in zip(packing.unpack_sequence(packed), x, strict=True):
        assert lucid.equal(a, b)
    padded, lengths = packing.pad_packed_sequence(packed, total_length=5, padding_value=7.0)
    assert padded.shape == (5, 3, 2) and lengths.tolist() == [2, 4, 1]
    assert (padded[2:, 0] == 7).all()
    assert packed.double().data.dtype is lucid.float64
    left = packing.pad_sequence(x, batch_first=True, padding_side="left")
    assert lucid.equal(left[2, 3:], x[2])
    with pytest.raises(RuntimeError, match="enforce_sorted"):
        packing.pack_sequence(x)
    with pytest.raises(RuntimeError, match="1 .. 4"):
        packing.pack_padded_sequence(lucid.zeros(4, 2, 3), [5, 0])


def test_errors_name_what_does_not_fit():
    model = nn.LSTM(3, 4)
    with pytest.raises(RuntimeError, match="Expected 3, got 5"):
        model(lucid.zeros(2, 2, 5))
    with pytest.raises(RuntimeError, match=r"hidden\[0\] must be \(1, 2, 4\)"):
        model(lucid.zeros(2, 2, 3), (lucid.zeros(1, 3, 4), lucid.zeros(1, 3, 4)))
    with pytest.raises(ValueError, match="float64"):
        model(lucid.zeros(2, 2, 3, dtype=lucid.float64))
    for name, value in (("bias", 1), ("batch_first", "False"), ("input_size", 3.0)):
        with pytest.raises(TypeError, match=f"{name} should be of type"):
            nn.GRU(**{"input_size": 3, "hidden_size": 4, name: value})
    with pytest.raises(ValueError, match="input_size must be greater"):
        nn.RNN(0, 4)
    with pytest.raises(ValueError, match="proj_size"):
        nn.GRU(3, 4, proj_size=2)
    with pytest.raises(ValueError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="sigmoid")
    with pytest.raises(RuntimeError, match="inconsistent input_size"):
        nn.GRUCell(3, 4)(lucid.zeros(2, 5))


def test_names_and_state_are_pytorchs():
    model = nn.LSTM(3, 4, num_layers=2, bidirectional=True, proj_size=2)
    assert list(model.state_dict())[:5] == [
        f"{n}_l0" for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    ]
    assert [len(names) for names in model.all_weights] == [5] * 4
    assert repr(model) == "LSTM(3, 4, proj_size=2, num_layers=2, bidirectional=True)"
    model.flatten_parameters()
