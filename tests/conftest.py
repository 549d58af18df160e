"""Fixtures of several test files."""

import signal
import sys
from collections.abc import Iterator

import pytest

from lucid.autograd.mode import is_grad_enabled, set_grad_enabled

# A shell ignores Ctrl-C in what it starts in the background, and so would the tests' programs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def mode_is_left_on() -> Iterator[None]:
    """Gradients are on before and after the test."""
    assert is_grad_enabled()
    yield
    left = is_grad_enabled()
    set_grad_enabled(True)
    assert left


@pytest.fixture(autouse=True)
def _torch_is_pytorch() -> Iterator[None]:
    """What a test imports under PyTorch's name is gone after it: other tests mean PyTorch."""
    yield
    finder = sys.modules.get("lucid.compat.finder")
    if finder is not None:
        finder.uninstall()
        for name in [n for n in sys.modules if n.startswith("lucid.compat.torch")]:
            del sys.modules[name]
