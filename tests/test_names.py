"""Every public name of PyTorch and of the founding framework: it is there, or the docs say not."""

import warnings

import pytest

import lucid
from lucid.compat import finder
from tests.surface import FOUNDING, SURFACE
from tests.tools import names


def test_names_of_pytorch():
    absent, listed = names.missing(), names.documented()
    unlisted = {
        module: sorted(set(found) - set(listed.get(module, ())))
        for module, found in absent.items()
        if set(found) - set(listed.get(module, ()))
    }
    assert not unlisted, f"missing, and docs/pytorch.md does not say so: {unlisted}"
    stale = {
        module: sorted(set(found) - set(absent.get(module, ())))
        for module, found in listed.items()
        if set(found) - set(absent.get(module, ()))
    }
    if stale:
        warnings.warn(f"docs/pytorch.md calls missing what is there: {stale}", stacklevel=1)
    assert sum(map(len, absent.values())) < 0.1 * len(names.names())


def test_names_that_are_missing_raise():
    for module, absent in names.missing().items():
        if module == "torch.Tensor":
            for name in absent:
                with pytest.raises(AttributeError, match=name):
                    getattr(lucid.ones(1), name)
            continue
        owner = finder.answer("torch")
        for part in module.split(".")[1:]:
            owner = getattr(owner, part, None)
        for name in absent:
            if owner is not None:
                assert not hasattr(owner, name)
                with pytest.raises(AttributeError, match=rf"{name} is not in Lucid"):
                    getattr(owner, name)


def test_names_of_the_founding_framework():
    for path in FOUNDING.split():
        value = lucid
        for part in path.split("."):
            value = getattr(value, part)


def test_functions_are_documented():
    """What is there says what it is."""
    silent = []
    for module, name in names.names():
        if module in ("torch", "torch.nn.functional", "torch.func", "torch.autograd.functional"):
            owner = lucid
            for part in module.split(".")[1:]:
                owner = getattr(owner, part)
            value = getattr(owner, name, None)
            if callable(value) and not (value.__doc__ or "").strip():
                silent.append(f"{module}.{name}")
    assert not silent, f"without a docstring: {silent}"


def test_lists_name_each_thing_once():
    for module, text in SURFACE.items():
        listed = text.split()
        assert len(set(listed)) == len(listed), module


def test_the_lists_are_those_of_pytorch():
    torch = pytest.importorskip("torch")
    gone = {"symeig", "reinforce", "names", "prune"}  # or submodules not loaded yet
    wrong = []
    for module, name in names.names():
        owner = torch
        for part in module.split(".")[1:]:
            owner = getattr(owner, part)
        if not hasattr(owner, name) and name not in gone:
            wrong.append(f"{module}.{name}")
    assert not wrong, f"PyTorch has no {wrong}"
