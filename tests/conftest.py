"""Fixtures of several test files."""

from collections.abc import Iterator

import pytest

from lucid.autograd.mode import is_grad_enabled, set_grad_enabled


@pytest.fixture
def mode_is_left_on() -> Iterator[None]:
    """Gradients are on before and after the test."""
    assert is_grad_enabled()
    yield
    left = is_grad_enabled()
    set_grad_enabled(True)
    assert left
