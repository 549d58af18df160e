"""Attention: against NumPy, masks, dropout, groups of heads; one numeric path in every mode.

Numbers of whole modules are held against PyTorch's in test_sequence_golden.py.
"""

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.autograd.check import gradcheck, gradgradcheck
from lucid.nn import functional as F

rng = np.random.default_rng(0)


def T(*shape):
    return lucid.tensor(rng.standard_normal(shape), requires_grad=True)


def by_definition(q, k, v, allowed):
    s = np.where(allowed, q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]), -np.inf)
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True) @ v


def test_masks_against_the_definition():
    q, k, v = T(2, 3, 4, 8), T(2, 3, 6, 8), T(2, 3, 6, 5)
    arrays = [x.detach().numpy() for x in (q, k, v)]
    causal = np.tri(4, 6, dtype=bool)
    wanted = by_definition(*arrays, causal)
    attend = F.scaled_dot_product_attention
    for made in (
        attend(q, k, v, is_causal=True),
        attend(q, k, v, attn_mask=lucid.tensor(causal)),
        attend(q, k, v, attn_mask=lucid.tensor(np.where(causal, 0.0, -np.inf))),
    ):
        np.testing.assert_allclose(made.detach().numpy(), wanted, rtol=1e-12)


def test_a_query_without_keys_gives_0_and_no_gradient():
    q, k, v = T(2, 4), T(3, 4), T(3, 4)
    mask = lucid.tensor([[True, True, False], [False, False, False]])
    y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    assert (y[1] == 0).all()
    y.sum().backward()
    assert (q.grad[1] == 0).all() and q.grad[0].abs().sum() > 0
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_groups_of_heads_are_repeated_heads():
    q, k, v, mask = T(2, 4, 3, 5), T(2, 2, 3, 5), T(2, 2, 3, 5), T(2, 4, 3, 3)
    got = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
    wide = [x.repeat_interleave(2, 1) for x in (k, v)]
    np.testing.assert_allclose(
        got.detach().numpy(),
        F.scaled_dot_product_attention(q, *wide, mask).detach().numpy(),
        rtol=1e-12,
    )
    with pytest.raises(RuntimeError, match="multiple"):
        F.scaled_dot_product_attention(T(3, 2, 4), T(2, 2, 4), T(2, 2, 4), enable_gqa=True)


@pytest.mark.parametrize("drop", [0.0, 0.4])
def test_derivatives_of_both_orders(drop):
    def run(q, k, v, mask):
        lucid.manual_seed(3)  # the same elements are dropped each time
        return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=drop)

    x = [T(3, 2), T(4, 2), T(4, 3), T(3, 4)]
    assert gradcheck(run, x)
    assert gradgradcheck(run, x)


def test_dropout_keeps_the_mean():
    q, v = lucid.zeros(1, 200, 4), lucid.ones(1, 200, 1)
    lucid.manual_seed(0)
    y = F.scaled_dot_product_attention(q, q, v, dropout_p=0.5)
    assert 0.9 < y.mean().item() < 1.1 and y.std().item() > 0.01


def test_every_mode_gives_the_same_bits():
    model = nn.MultiheadAttention(8, 2)
    x = lucid.randn(5, 3, 8)
    causal = nn.Transformer.generate_square_subsequent_mask(5)
    wanted = model(x, x, x, attn_mask=causal)[0]
    made = [
        model(x, x, x, attn_mask=causal, need_weights=False)[0],
        model(x, x, x, attn_mask=causal, need_weights=False, is_causal=True)[0],
        model(x, x, x, attn_mask=causal, average_attn_weights=False)[0],
        model(x, x, x, attn_mask=causal.isinf())[0],
        model.eval()(x, x, x, attn_mask=causal)[0],
    ]
    with lucid.no_grad():
        made.append(model(x, x, x, attn_mask=causal)[0])
    assert all(lucid.equal(y, wanted) for y in made)


def test_weights_are_averaged_and_sum_to_1():
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = lucid.randn(3, 5, 8)
    mean = model(x, x, x)[1]
    each = model(x, x, x, average_attn_weights=False)[1]
    assert mean.shape == (3, 5, 5) and each.shape == (3, 2, 5, 5)
    np.testing.assert_allclose(each.detach().sum(-1), 1.0, rtol=1e-5)
    assert lucid.equal(each.mean(1), mean)


def test_names_of_parameters_are_pytorchs():
    layer = nn.TransformerDecoderLayer(8, 2, 12)
    assert [n for n, _ in layer.named_children()] == [
        "self_attn", "multihead_attn", "linear1", "dropout", "linear2", "norm1", "norm2", "norm3",
        "dropout1", "dropout2", "dropout3",
    ]  # fmt: skip
    assert list(nn.MultiheadAttention(8, 2, kdim=4, add_bias_kv=True).state_dict()) == [
        "q_proj_weight", "k_proj_weight", "v_proj_weight", "in_proj_bias", "bias_k", "bias_v",
        "out_proj.weight", "out_proj.bias",
    ]  # fmt: skip


def test_errors_name_what_does_not_fit():
    attend, x = F.scaled_dot_product_attention, lucid.zeros(2, 4)
    with pytest.raises(RuntimeError, match="do not fit"):
        attend(x, lucid.zeros(2, 5), x)
    with pytest.raises(RuntimeError, match="exclude"):
        attend(x, x, x, attn_mask=lucid.ones(2, 2), is_causal=True)
    with pytest.raises(RuntimeError, match="bool or floating"):
        attend(x, x, x, attn_mask=lucid.ones(2, 2, dtype=lucid.int64))
    model, x = nn.MultiheadAttention(8, 2), lucid.zeros(3, 1, 8)
    with pytest.raises(RuntimeError, match=r"\(2, 2\), but should be \(3, 3\)"):
        model(x, x, x, attn_mask=lucid.zeros(2, 2))
    with pytest.raises(AssertionError, match="divisible"):
        nn.MultiheadAttention(8, 3)
    with pytest.raises(RuntimeError, match="d_model"):
        nn.Transformer(8, 2, 1, 1, 12)(lucid.zeros(3, 1, 6), x)
    with pytest.raises(RuntimeError, match="relu/gelu"):
        nn.TransformerEncoderLayer(8, 2, activation="tanh")
