"""Activations that are met now and then, as modules. Called by users' models; the formulas are
lucid.nn.functional's."""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter


class LogSigmoid(Module):
    """y = log(1 / (1 + exp(-x))).

    >>> import lucid
    >>> round(lucid.nn.LogSigmoid()(lucid.tensor(0.0)).item(), 4)
    -0.6931
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.logsigmoid(input)


class Softsign(Module):
    """y = x / (1 + |x|).

    >>> import lucid
    >>> lucid.nn.Softsign()(lucid.tensor(1.0)).item()
    0.5
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.softsign(input)


class Tanhshrink(Module):
    """y = x - tanh(x).

    >>> import lucid
    >>> lucid.nn.Tanhshrink()(lucid.tensor(0.0)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.tanhshrink(input)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W).

    >>> import lucid
    >>> lucid.nn.Softmax2d()(lucid.zeros(1, 2, 1, 1)).reshape(-1).tolist()
    [0.5, 0.5]
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        if input.dim() not in (3, 4):
            raise ValueError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D")
        return F.softmax(input, -3)


class Softmin(Module):
    """y = softmax(-x) along `dim`.

    >>> import lucid
    >>> lucid.nn.Softmin(dim=0)(lucid.zeros(2)).tolist()
    [0.5, 0.5]
    """

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class _Switched(Module):
    """An activation that may write into its input."""

    inplace: bool

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class SELU(_Switched):
    """y = 1.0507 x where x > 0, else 1.7581 (exp(x) - 1) (Klambauer et al., 2017).

    >>> import lucid
    >>> lucid.nn.SELU()(lucid.tensor(0.0)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.selu(input, self.inplace)


class Mish(_Switched):
    """y = x tanh(log(1 + exp(x))) (Misra, 2019).

    >>> import lucid
    >>> lucid.nn.Mish()(lucid.tensor(0.0)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.mish(input, self.inplace)


class Hardswish(_Switched):
    """y = x min(max(x + 3, 0), 6) / 6 (Howard et al., 2019).

    >>> import lucid
    >>> lucid.nn.Hardswish()(lucid.tensor(4.0)).item()
    4.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.hardswish(input, self.inplace)


class Hardsigmoid(_Switched):
    """y = min(max(x + 3, 0), 6) / 6.

    >>> import lucid
    >>> lucid.nn.Hardsigmoid()(lucid.tensor(0.0)).item()
    0.5
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.hardsigmoid(input, self.inplace)


class Hardtanh(Module):
    """y = min(max(x, min_val), max_val).

    >>> import lucid
    >>> lucid.nn.Hardtanh()(lucid.tensor(3.0)).item()
    1.0
    """

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        super().__init__()
        # The last two are the older names of the first two.
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        self.inplace = inplace
        if self.max_val <= self.min_val:
            raise AssertionError(
                f"Hardtanh: max_val {self.max_val} must be larger than min_val {self.min_val}"
            )

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}" + ", inplace=True" * self.inplace


class ReLU6(Hardtanh):
    """y = min(max(x, 0), 6).

    >>> import lucid
    >>> lucid.nn.ReLU6()(lucid.tensor(8.0)).item()
    6.0
    """

    def __init__(self, inplace: bool = False) -> None:
        super().__init__(0.0, 6.0, inplace)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.relu6(input, self.inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class ELU(Module):
    """y = x where x > 0, else alpha (exp(x) - 1) (Clevert et al., 2016).

    >>> import lucid
    >>> lucid.nn.ELU()(lucid.tensor(2.0)).item()
    2.0
    """

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = alpha
        self.inplace = inplace

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}" + ", inplace=True" * self.inplace


class CELU(ELU):
    """y = x where x > 0, else alpha (exp(x / alpha) - 1) (Barron, 2017).

    >>> import lucid
    >>> lucid.nn.CELU()(lucid.tensor(2.0)).item()
    2.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.celu(input, self.alpha, self.inplace)


class Softplus(Module):
    """y = log(1 + exp(beta x)) / beta; x itself where beta x > threshold.

    >>> import lucid
    >>> round(lucid.nn.Softplus()(lucid.tensor(0.0)).item(), 4)
    0.6931
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Softshrink(Module):
    """y = x moved by lambd towards 0, and 0 within [-lambd, lambd].

    >>> import lucid
    >>> lucid.nn.Softshrink()(lucid.tensor(2.0)).item()
    1.5
    """

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__()
        self.lambd = lambd

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Hardshrink(Softshrink):
    """y = x, and 0 within [-lambd, lambd].

    >>> import lucid
    >>> lucid.nn.Hardshrink()(lucid.tensor(0.25)).item()
    0.0
    """

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.hardshrink(input, self.lambd)


class Threshold(Module):
    """y = x where x > threshold, else value.

    >>> import lucid
    >>> lucid.nn.Threshold(1.0, 20.0)(lucid.tensor(0.5)).item()
    20.0
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.value = value
        self.inplace = inplace

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        text = f"threshold={self.threshold}, value={self.value}"
        return text + ", inplace=True" * self.inplace


class GLU(Module):
    """y = a sigmoid(b) for x = [a, b], two halves along `dim` (Dauphin et al., 2017).

    >>> import lucid
    >>> lucid.nn.GLU()(lucid.tensor([3.0, 0.0])).tolist()
    [1.5]
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class PReLU(Module):
    """y = x where x > 0, else weight x, the weight learned: one, or one a channel (He et al.,
    2015).

    >>> import lucid
    >>> lucid.nn.PReLU()(lucid.tensor([-2.0])).tolist()
    [-0.5]
    """

    def __init__(
        self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(lucid.empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the weight with `init`."""
        with lucid.no_grad():
            self.weight.fill_(self.init)

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """y = x where x > 0, else a x: a from U(lower, upper) in training, else their mean (Xu et al.,
    2015).

    >>> import lucid
    >>> lucid.nn.RReLU(0.25, 0.75).eval()(lucid.tensor([-1.0])).tolist()
    [-0.5]
    """

    def __init__(
        self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False
    ) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: lucid.Tensor) -> lucid.Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}" + ", inplace=True" * self.inplace
