"""Single cells of recurrent networks: one time step. Called by users' own loops."""

from __future__ import annotations

import math
from typing import Any

import lucid
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.nn.rnn import step_through


class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh, bias_ih and bias_hh for a number of gates.

    >>> import lucid
    >>> lucid.nn.RNNCellBase(3, 4, True, num_chunks=2).weight_hh.shape
    lucid.Size([8, 4])
    """

    weight_ih: lucid.Tensor
    weight_hh: lucid.Tensor
    bias_ih: lucid.Tensor | None
    bias_hh: lucid.Tensor | None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        made = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(lucid.empty((rows, input_size), **made))
        self.weight_hh = Parameter(lucid.empty((rows, hidden_size), **made))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(lucid.empty(rows, **made)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _run(self, kind: str, x: lucid.Tensor, states: tuple) -> tuple[lucid.Tensor, ...]:
        """The states after one step."""
        name = type(self).__name__
        if x.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {x.dim()}D instead")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: input has inconsistent input_size: got {x.shape[-1]}, expected "
                f"{self.input_size}"
            )
        single = x.dim() == 1
        rows = x.unsqueeze(0) if single else x
        shape = (rows.shape[0], self.hidden_size)
        zeros = lucid.zeros(shape, dtype=x.dtype)
        given = tuple(zeros if s is None else s.unsqueeze(0) if single else s for s in states)
        for s in given:
            if tuple(s.shape) != shape:
                raise RuntimeError(f"{name}: hx must be of shape {shape}, got {tuple(s.shape)}")
        weights = {"w_ih": self.weight_ih, "w_hh": self.weight_hh}
        weights |= {"b_ih": self.bias_ih, "b_hh": self.bias_hh}  # type: ignore[dict-item]
        made = step_through(kind, False, rows.unsqueeze(0), given, weights)[1:]
        return tuple(s.squeeze(0) for s in made) if single else made

    def extra_repr(self) -> str:
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class RNNCell(RNNCellBase):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu. x (B, input_size), h (B, hidden_size).

    >>> import lucid
    >>> lucid.nn.RNNCell(3, 4)(lucid.zeros(2, 3)).shape
    lucid.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: lucid.Tensor, hx: lucid.Tensor | None = None) -> lucid.Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        return self._run(self.nonlinearity, input, (hx,))[0]

    def extra_repr(self) -> str:
        more = f", nonlinearity={self.nonlinearity}" if self.nonlinearity != "tanh" else ""
        return super().extra_repr() + more


class LSTMCell(RNNCellBase):
    """(h', c') of one step of an LSTM. x (B, input_size), hx = (h, c), each (B, hidden_size).

    >>> import lucid
    >>> h, c = lucid.nn.LSTMCell(3, 4)(lucid.zeros(2, 3))
    >>> h.shape
    lucid.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(
        self, input: lucid.Tensor, hx: tuple[lucid.Tensor, lucid.Tensor] | None = None
    ) -> tuple[lucid.Tensor, lucid.Tensor]:
        h, c = self._run("lstm", input, (None, None) if hx is None else tuple(hx))
        return h, c


class GRUCell(RNNCellBase):
    """h' of one step of a GRU. x (B, input_size), h (B, hidden_size).

    >>> import lucid
    >>> lucid.nn.GRUCell(3, 4)(lucid.zeros(2, 3)).shape
    lucid.Size([2, 4])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: lucid.Tensor, hx: lucid.Tensor | None = None) -> lucid.Tensor:
        return self._run("gru", input, (hx,))[0]
