"""Conversions, printing and out=: arguments that are easily lost."""

import pytest

import lucid
from lucid.apply import trace_call


def test_to_by_position():
    x = lucid.ones(2)
    assert x.to(lucid.float32) is x
    assert x.to(lucid.float32, True) is x  # non_blocking
    assert x.to(lucid.float32, False, True) is not x  # copy
    assert x.to("cpu", lucid.float32) is x
    assert x.to("cpu", lucid.float32, False, True) is not x
    assert x.to(lucid.zeros(1, dtype=lucid.float64)).dtype is lucid.float64
    assert x.to(lucid.zeros(1), False, True) is not x
    assert x.to(None) is x and x.to() is x
    assert x.to("cpu", copy=True) is not x
    assert x.to(device="cpu", dtype=lucid.int64, non_blocking=True).dtype is lucid.int64


@pytest.mark.parametrize(
    ("args", "options", "message"),
    [
        (("cpu", True), {}, "dtype is expected"),
        ((lucid.float32, 1), {}, "non_blocking must be a bool"),
        ((lucid.float32,), {"dtype": lucid.float64}, "dtype twice"),
        ((), {"nonblocking": True}, "no parameter 'nonblocking'"),
        (("cpu", lucid.float32, False, False, None), {}, "by position"),
    ],
)
def test_to_refuses(args, options, message):
    with pytest.raises(TypeError, match=message):
        lucid.ones(2).to(*args, **options)


def test_repr_with_contents():
    x = lucid.ones(2, dtype=lucid.float64, requires_grad=True)
    shown = x.__repr__(tensor_contents="...")
    assert shown == "tensor(..., dtype=lucid.float64, requires_grad=True)"


def test_out_is_checked_by_what_was_seen_before(monkeypatch):
    traced = []

    def counted(function, inputs):
        traced.append(inputs)
        return trace_call(function, inputs)

    monkeypatch.setattr("lucid.write.trace_call", counted)
    x, y = lucid.ones(3, 5), lucid.empty(3, 5)
    lucid.add(x, x, out=y)
    first = len(traced)
    lucid.add(x, x, out=y)
    assert len(traced) == first and y.sum().item() == 30.0
    for _ in range(2):
        with pytest.raises(RuntimeError, match="out has shape"):
            lucid.exp(x, out=lucid.empty(2))
        with pytest.raises(RuntimeError, match="cannot be written into out"):
            lucid.exp(x, out=lucid.empty(3, 5, dtype=lucid.int64))


def test_out_sees_a_gradient_that_a_write_to_the_base_gave():
    x = lucid.zeros(4)
    view = x[:2]
    x.mul_(lucid.ones(4, requires_grad=True))
    with pytest.raises(RuntimeError, match="out= has no gradient"):
        lucid.exp(view, out=lucid.empty(2))
