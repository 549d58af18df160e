"""Parametrizations, weight and spectral norm, pruning, fusion, older names of init.

Numbers are held against PyTorch's where it is installed.
"""

import copy
import pickle

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.nn.utils import parametrizations, parametrize, prune

rng = np.random.default_rng(0)


def linear(t, rows=4, columns=3):
    """The same layer in every framework."""
    made = t.nn.Linear(columns, rows)
    for seed, p in enumerate(made.parameters()):
        values = np.random.default_rng(seed).standard_normal(tuple(p.shape)).astype(np.float32)
        p.data = t.from_numpy(values)
    return made


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2

    def right_inverse(self, x):
        return x / 2


def test_a_parametrized_weight_is_learned_through_its_original():
    m = nn.Linear(3, 3)
    bias = m.bias
    parametrize.register_parametrization(m, "weight", Symmetric())
    assert type(m).__name__ == "ParametrizedLinear" and isinstance(m, nn.Linear)
    assert [n for n, _ in m.named_parameters()] == ["bias", "parametrizations.weight.original"]
    assert lucid.equal(m.weight, m.weight.mT) and m.bias is bias
    m(lucid.ones(1, 3)).sum().backward()
    assert (m.parametrizations.weight.original.grad.tril(-1) == 0).all()
    parametrize.register_parametrization(m, "weight", Doubled())
    wanted = lucid.eye(3)
    m.weight = wanted
    assert lucid.equal(m.weight, wanted)
    parametrize.remove_parametrizations(m, "weight")
    assert type(m) is nn.Linear and lucid.equal(m.weight, wanted)
    assert isinstance(m.weight, nn.Parameter) and not parametrize.is_parametrized(m)


def test_checks_of_what_is_registered():
    class Longer(nn.Module):
        def forward(self, x):
            return lucid.cat([x, x])

    with pytest.raises(ValueError, match="may not change"):
        parametrize.register_parametrization(nn.Linear(2, 2), "weight", Longer())
    m = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Longer(), unsafe=True)
    assert m.weight.shape == (4, 2)
    with pytest.raises(ValueError, match="does not have"):
        parametrize.register_parametrization(nn.Linear(2, 2), "nothing", Doubled())
    with pytest.raises(RuntimeError, match="state_dict"):
        pickle.dumps(m)


def test_copies_are_apart_and_values_are_cached():
    m = parametrize.register_parametrization(nn.Linear(3, 3), "weight", Symmetric())
    other = copy.deepcopy(m)
    parametrize.remove_parametrizations(other, "weight")
    assert parametrize.is_parametrized(m) and not parametrize.is_parametrized(other)
    assert m.weight is not m.weight
    with parametrize.cached():
        assert m.weight is m.weight
    assert m.weight is not m.weight


def test_weight_norm_against_its_formula_and_older_checkpoints():
    for make in (parametrizations.weight_norm, nn.utils.weight_norm):
        m = linear(lucid)
        before = m.weight.detach().clone()
        make(m)
        np.testing.assert_allclose(m.weight.detach(), before, rtol=1e-6)
        m(lucid.ones(2, 3)).sum().backward()
        grads = [p.grad for n, p in m.named_parameters() if "bias" not in n]
        v = before.numpy()
        size = np.linalg.norm(v, axis=1, keepdims=True)
        gw = np.full((4, 3), 2.0)
        along = (gw * v).sum(1, keepdims=True) / size
        np.testing.assert_allclose(grads[0], along, rtol=1e-5)
        np.testing.assert_allclose(grads[1], gw - along * v / size, rtol=1e-4, atol=1e-6)
    old = nn.utils.weight_norm(linear(lucid)).state_dict()
    m = parametrizations.weight_norm(nn.Linear(3, 4))
    m.load_state_dict(old)
    assert lucid.equal(m.bias, old["bias"])
    nn.utils.remove_weight_norm(m := nn.utils.weight_norm(linear(lucid)))
    assert sorted(m.state_dict()) == ["bias", "weight"]
    with pytest.raises(ValueError, match="not found"):
        nn.utils.remove_weight_norm(m)


def test_spectral_norm_makes_the_largest_singular_value_1():
    new = parametrizations.spectral_norm(linear(lucid), n_power_iterations=50)
    old = nn.utils.spectral_norm(linear(lucid), n_power_iterations=50)
    x = lucid.ones(1, 3)
    for m in (new, old):
        m(x)
        values = np.linalg.svd(m.weight.detach().numpy())[1]
        np.testing.assert_allclose(values[0], 1.0, rtol=1e-4)
    before = new.parametrizations.weight[0]._u.clone()
    new.eval()(x)
    assert lucid.equal(before, new.parametrizations.weight[0]._u)  # eval does not move it
    nn.utils.remove_spectral_norm(old)
    assert sorted(old.state_dict()) == ["bias", "weight"]


@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("map_", ["matrix_exp", "householder"])
def test_orthogonal_weights_stay_orthogonal(shape, map_):
    m = parametrizations.orthogonal(nn.Linear(*shape[::-1]), orthogonal_map=map_)
    start = nn.init.orthogonal_(lucid.empty(*shape))
    m.weight = start
    np.testing.assert_allclose(m.weight.detach(), start, atol=1e-5)
    optimizer = lucid.optim.SGD(m.parameters(), 0.5)
    m(lucid.ones(2, shape[1])).pow(3).sum().backward()
    optimizer.step()
    w = m.weight.detach().numpy()
    assert np.abs(w - start.numpy()).max() > 1e-3
    w = w if shape[0] >= shape[1] else w.T
    np.testing.assert_allclose(w.T @ w, np.eye(min(shape)), atol=1e-5)


def test_householder_without_trivialization_takes_a_value():
    m = parametrizations.orthogonal(
        nn.Linear(3, 4), orthogonal_map="householder", use_trivialization=False
    )
    start = nn.init.orthogonal_(lucid.empty(4, 3))
    m.weight = start
    np.testing.assert_allclose(m.weight.detach(), start, atol=1e-5)
    with pytest.raises(NotImplementedError, match="cayley"):
        parametrizations.orthogonal(nn.Linear(3, 3), orthogonal_map="cayley")


def test_pruning_leaves_out_the_smallest_and_adds_up():
    m = linear(lucid)
    weight = m.weight.detach().numpy().copy()
    prune.l1_unstructured(m, "weight", 0.25)
    smallest = np.sort(np.abs(weight).reshape(-1))[:3]
    gone = m.weight_mask.numpy() == 0
    np.testing.assert_array_equal(np.sort(np.abs(weight[gone])), smallest)
    prune.ln_structured(m, "weight", 1, 2, 0)
    assert (m.weight_mask.sum(1) == 0).sum() == 1
    m(lucid.ones(1, 3)).sum().backward()
    assert (m.weight_orig.grad[m.weight_mask == 0] == 0).all()
    assert prune.is_pruned(nn.Sequential(m))
    pruned = m.weight.detach().clone()
    prune.remove(m, "weight")
    assert isinstance(m.weight, nn.Parameter) and lucid.equal(m.weight, pruned)
    with pytest.raises(ValueError, match="has to be pruned"):
        prune.remove(m, "weight")
    with pytest.raises(ValueError, match="amount"):
        prune.random_unstructured(m, "weight", 1.5)


def test_fusion_and_skipped_starts():
    conv, norm = nn.Conv2d(2, 3, 1).eval(), nn.BatchNorm2d(3).eval()
    norm.running_mean.copy_(lucid.randn(3))
    norm.running_var.copy_(lucid.rand(3) + 0.5)
    x = lucid.randn(1, 2, 4, 4)
    fused = nn.utils.fuse_conv_bn_eval(conv, norm)
    np.testing.assert_allclose(fused(x).detach(), norm(conv(x)).detach(), atol=1e-5)
    lucid.manual_seed(0)
    a = lucid.rand(1)
    lucid.manual_seed(0)
    nn.utils.skip_init(nn.Linear, 2, 3)
    assert lucid.equal(a, lucid.rand(1))


def test_older_names_warn_and_work():
    w = lucid.empty(3, 4)
    with pytest.warns(FutureWarning, match="constant_"):
        assert nn.init.constant(w, 2.0) is w and (w == 2).all()
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        nn.utils.clip_grad_norm([], 1.0)
    with pytest.warns(FutureWarning, match="Container"):
        nn.Container(a=nn.Identity())
    nn.init.sparse_(w, 0.5)
    assert ((w == 0).sum(0) == 2).all()


def test_as_in_pytorch():
    torch = pytest.importorskip("torch")
    for make in ("weight_norm", "spectral_norm"):
        ours, theirs = linear(lucid), linear(torch)
        for t, m in ((lucid, ours), (torch, theirs)):
            getattr(t.nn.utils.parametrizations, make)(m)
            m.eval()
        state = {k: lucid.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()}
        ours.load_state_dict(state)
        np.testing.assert_allclose(
            ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-5
        )
    for map_ in ("matrix_exp", "householder"):
        ours, theirs = linear(lucid), linear(torch)
        for t, m in ((lucid, ours), (torch, theirs)):
            t.nn.utils.parametrizations.orthogonal(m, orthogonal_map=map_)
        state = {k: lucid.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
        original = "parametrizations.weight.original"
        state[original] = state[original] + lucid.from_numpy(
            rng.standard_normal((4, 3)).astype(np.float32) * 0.1
        ).tril(-1)
        ours.load_state_dict(state)
        theirs.load_state_dict({k: torch.from_numpy(v.numpy()) for k, v in state.items()})
        np.testing.assert_allclose(
            ours.weight.detach().numpy(), theirs.weight.detach().numpy(), atol=1e-5
        )
