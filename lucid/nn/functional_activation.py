"""Activations as functions, with `inplace` and the names that end in an underscore.

The formulas are records in lucid/ops. Published by functional.py, called by activation.py.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid import ops
from lucid.dtypes import FLOATING
from lucid.ops import activation, softmax
from lucid.write import write

records: Any = activation


def relu(input: Any, inplace: bool = False) -> Any:
    """max(x, 0); `inplace` writes into x.

    >>> import lucid
    >>> lucid.nn.functional.relu(lucid.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _form(ops.relu, inplace, input)


def relu6(input: Any, inplace: bool = False) -> Any:
    """min(max(x, 0), 6); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.relu6(lucid.tensor([-1.0, 5.0, 7.0])).tolist()
    [0.0, 5.0, 6.0]
    """
    return _form(ops.relu6, inplace, input)


def leaky_relu(input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    """x where x > 0, else negative_slope x; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.leaky_relu(lucid.tensor([-1.0, 2.0]), 0.5).tolist()
    [-0.5, 2.0]
    """
    return _form(ops.leaky_relu, inplace, input, negative_slope)


def elu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (exp(x) - 1); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.elu(lucid.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    return _form(ops.elu, inplace, input, alpha)


def silu(input: Any, inplace: bool = False) -> Any:
    """x sigmoid(x); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.silu(lucid.tensor(0.0)).item()
    0.0
    """
    return _form(ops.silu, inplace, input)


def mish(input: Any, inplace: bool = False) -> Any:
    """x tanh(log(1 + exp(x))); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.mish(lucid.tensor(0.0)).item()
    0.0
    """
    return _form(ops.mish, inplace, input)


def hardtanh(
    input: Any,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Any:
    """min(max(x, min_val), max_val); `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardtanh(lucid.tensor([-4.0, 0.5, 4.0])).tolist()
    [-1.0, 0.5, 1.0]
    """
    if min_val > max_val:
        raise ValueError(f"hardtanh: min_val {min_val} is above max_val {max_val}")
    if input.dtype.category < FLOATING:  # integers stay integers
        min_val, max_val = int(min_val), int(max_val)
    return _form(ops.hardtanh, inplace, input, min_val, max_val)


def hardsigmoid(input: Any, inplace: bool = False) -> Any:
    """min(max(x + 3, 0), 6) / 6; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardsigmoid(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    return _form(ops.hardsigmoid, inplace, input)


def hardswish(input: Any, inplace: bool = False) -> Any:
    """x min(max(x + 3, 0), 6) / 6; `inplace` writes into x.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.hardswish(lucid.tensor([-4.0, 0.0, 4.0])).tolist()
    [-0.0, 0.0, 4.0]
    """
    return _form(ops.hardswish, inplace, input)


def celu(input: Any, alpha: float = 1.0, inplace: bool = False) -> Any:
    """x where x > 0, else alpha (exp(x / alpha) - 1); `inplace` writes into x. Barron, 2017.

    >>> import lucid
    >>> from lucid.nn import functional as F
    >>> F.celu(lucid.tensor([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """
    if alpha == 0:
        raise RuntimeError("celu: alpha must not be 0")
    return _form(records.celu, inplace, input, float(alpha))


def selu(input: Any, inplace: bool = False) -> Any:
    """1.0507 x where x > 0, else 1.7581 (exp(x) - 1). Klambauer et al., 2017.

    >>> import lucid
    >>> lucid.nn.functional.selu(lucid.tensor([0.0, 1.0]))
    tensor([0.0000, 1.0507])
    """
    return _form(records.selu, inplace, input)


def prelu(input: Any, weight: Any) -> Any:
    """x where x > 0, else weight x: one weight, or one for each channel (dimension 1).

    Raises RuntimeError where the weight does not fit. He et al., 2015.

    >>> import lucid
    >>> lucid.nn.functional.prelu(lucid.tensor([-2.0, 2.0]), lucid.tensor([0.25])).tolist()
    [-0.5, 2.0]
    """
    if weight.ndim > 1:
        raise RuntimeError(f"prelu: weight must be () or (C,), got shape {tuple(weight.shape)}")
    channels = 1 if input.ndim < 2 else input.shape[1]
    if weight.numel() not in (1, channels):
        raise RuntimeError(
            f"prelu: {weight.numel()} weights for {channels} channels of an input of shape "
            f"{tuple(input.shape)}"
        )
    if weight.numel() == 1:
        return records.prelu(input, weight.reshape(()))
    return records.prelu(input, weight.reshape(1, -1, *(1,) * (input.ndim - 2)))


def rrelu(
    input: Any,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Any:
    """x where x > 0, else a x: a drawn from U(lower, upper) in training, else their mean.

    Xu et al., 2015.

    >>> import lucid
    >>> lucid.nn.functional.rrelu(lucid.tensor([-1.0, 2.0]), 0.25, 0.75).tolist()
    [-0.5, 2.0]
    """
    if lower > upper:
        raise RuntimeError(f"rrelu: lower ({lower}) is greater than upper ({upper})")
    if not training:
        return _form(ops.leaky_relu, inplace, input, (lower + upper) / 2)
    slopes = lucid.empty(input.shape, dtype=input.dtype).uniform_(lower, upper)
    return _form(records.prelu, inplace, input, slopes)


def softsign(input: Any) -> Any:
    """x / (1 + |x|).

    >>> import lucid
    >>> lucid.nn.functional.softsign(lucid.tensor([1.0, -3.0])).tolist()
    [0.5, -0.75]
    """
    return records.softsign(input)


def softshrink(input: Any, lambd: float = 0.5) -> Any:
    """x moved by lambd towards 0, and 0 within [-lambd, lambd].

    >>> import lucid
    >>> lucid.nn.functional.softshrink(lucid.tensor([0.25, 2.0])).tolist()
    [0.0, 1.5]
    """
    if lambd < 0:
        raise RuntimeError(f"softshrink: lambd must be greater or equal to 0, got {lambd}")
    return records.softshrink(input, float(lambd))


def hardshrink(input: Any, lambd: float = 0.5) -> Any:
    """x, and 0 within [-lambd, lambd].

    >>> import lucid
    >>> lucid.nn.functional.hardshrink(lucid.tensor([0.25, 2.0])).tolist()
    [0.0, 2.0]
    """
    return records.hardshrink(input, float(lambd))


def tanhshrink(input: Any) -> Any:
    """x - tanh(x).

    >>> import lucid
    >>> lucid.nn.functional.tanhshrink(lucid.tensor(0.0)).item()
    0.0
    """
    return records.tanhshrink(input)


def threshold(input: Any, threshold: float, value: float, inplace: bool = False) -> Any:
    """x where x > threshold, else value.

    >>> import lucid
    >>> lucid.nn.functional.threshold(lucid.tensor([0.5, 2.0]), 1.0, 20.0).tolist()
    [20.0, 2.0]
    """
    return _form(records.threshold, inplace, input, threshold, value)


def gumbel_softmax(
    logits: Any, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Any:
    """softmax((logits + g) / tau) with g from Gumbel's distribution. Jang et al., 2017.

    `hard` gives a one-hot sample with the gradient of the soft one. `eps` has no effect, as in
    PyTorch, whose argument it is.

    >>> import lucid
    >>> lucid.nn.functional.gumbel_softmax(lucid.zeros(3), hard=True).sum().item()
    1.0
    """
    # -log of an exponential variable; u < 1, so that its logarithm is finite
    u = lucid.empty(logits.shape, dtype=logits.dtype).uniform_(0.0, 1.0)
    exponential = -lucid.log1p(-u.clamp(max=1 - 1e-7))
    noise = -lucid.log(exponential.clamp(min=1e-38))
    soft = softmax((logits + noise) / tau, dim)
    if not hard:
        return soft
    place = soft.detach().max(dim, keepdim=True)[1]
    sample = lucid.zeros_like(soft).scatter(dim, place, 1.0)
    return sample - soft.detach() + soft


def relu_(input: Any) -> Any:
    """`relu` in place.

    >>> import lucid
    >>> x = lucid.tensor([-1.0, 2.0])
    >>> lucid.nn.functional.relu_(x) is x, x.tolist()
    (True, [0.0, 2.0])
    """
    return relu(input, inplace=True)


def elu_(input: Any, alpha: float = 1.0) -> Any:
    """`elu` in place.

    >>> import lucid
    >>> x = lucid.tensor([0.0, 2.0])
    >>> lucid.nn.functional.elu_(x) is x, x.tolist()
    (True, [0.0, 2.0])
    """
    return elu(input, alpha, inplace=True)


def celu_(input: Any, alpha: float = 1.0) -> Any:
    """`celu` in place.

    >>> import lucid
    >>> x = lucid.tensor([0.0, 2.0])
    >>> lucid.nn.functional.celu_(x) is x, x.tolist()
    (True, [0.0, 2.0])
    """
    return celu(input, alpha, inplace=True)


def selu_(input: Any) -> Any:
    """`selu` in place.

    >>> import lucid
    >>> x = lucid.tensor([0.0])
    >>> lucid.nn.functional.selu_(x) is x, x.tolist()
    (True, [0.0])
    """
    return selu(input, inplace=True)


def leaky_relu_(input: Any, negative_slope: float = 0.01) -> Any:
    """`leaky_relu` in place.

    >>> import lucid
    >>> x = lucid.tensor([-1.0, 2.0])
    >>> lucid.nn.functional.leaky_relu_(x, 0.5) is x, x.tolist()
    (True, [-0.5, 2.0])
    """
    return leaky_relu(input, negative_slope, inplace=True)


def hardtanh_(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """`hardtanh` in place.

    >>> import lucid
    >>> x = lucid.tensor([-4.0, 0.5])
    >>> lucid.nn.functional.hardtanh_(x) is x, x.tolist()
    (True, [-1.0, 0.5])
    """
    return hardtanh(input, min_val, max_val, inplace=True)


def threshold_(input: Any, threshold: float, value: float) -> Any:
    """`threshold` in place.

    >>> import lucid
    >>> x = lucid.tensor([0.5, 2.0])
    >>> lucid.nn.functional.threshold_(x, 1.0, 20.0) is x, x.tolist()
    (True, [20.0, 2.0])
    """
    return _form(records.threshold, True, input, threshold, value)


def rrelu_(
    input: Any, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False
) -> Any:
    """`rrelu` in place.

    >>> import lucid
    >>> x = lucid.tensor([-1.0, 2.0])
    >>> lucid.nn.functional.rrelu_(x, 0.25, 0.75) is x, x.tolist()
    (True, [-0.5, 2.0])
    """
    return rrelu(input, lower, upper, training, inplace=True)


def _form(function: Any, inplace: bool, *args: Any) -> Any:
    """function(*args), or the same written into the first of them."""
    if not inplace:
        return function(*args)
    record = getattr(function, "record", function)
    inputs, params = record.bind(args, {})
    return write(record, args[0], inputs, params, f"{record.name}_")
