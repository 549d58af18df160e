"""RNN, LSTM and GRU: layers over sequences. Called by users' models.

The time steps run in lucid/ops/recurrent.py, all in one native call for a layer and a direction;
rnn_cell.py has the single cells.
"""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any

import lucid
from lucid.nn import functional as F
from lucid.nn import init
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter
from lucid.nn.utils.rnn import PackedSequence, places_of
from lucid.ops.recurrent import recurrent

GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}
KINDS = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "tanh", "RNN_RELU": "relu"}


class Raggedness:
    """Where the rows of packed data lie in a (T, B) batch, and back."""

    def __init__(self, batch_sizes: lucid.Tensor):
        places, there = places_of(batch_sizes.tolist())
        self.shape = places.shape
        self.places, self.inside = lucid.tensor(places), lucid.tensor(there)
        self.rows = lucid.tensor(there.reshape(-1).nonzero()[0])

    def pad(self, x: lucid.Tensor) -> lucid.Tensor:
        return x[self.places]

    def pack(self, x: lucid.Tensor) -> lucid.Tensor:
        return x.reshape(self.shape[0] * self.shape[1], x.shape[2])[self.rows]


def step_through(
    kind: str,
    reverse: bool,
    x: lucid.Tensor,
    state: tuple[lucid.Tensor, ...],
    weights: dict[str, Any],
    ragged: Raggedness | None = None,
    batch_first: bool = False,
) -> tuple[lucid.Tensor, ...]:
    """y, h_n(, c_n) of one layer in one direction; x (T, B, F), (B, T, F) or packed rows."""
    narrow = x.dtype if x.dtype in (lucid.bfloat16, lucid.float16) else None
    if narrow is not None:  # a state of 16 bits would be rounded in each step
        x, state = x.float(), tuple(s.float() for s in state)
        weights = {n: None if w is None else w.float() for n, w in weights.items()}
    b_ih, b_hh = weights["b_ih"], weights["b_hh"]
    given = {"w": weights["w_hh"], "h": state[0]}
    if kind == "gru":
        given["b"] = lucid.zeros(weights["w_hh"].shape[0], dtype=x.dtype) if b_hh is None else b_hh
    elif b_ih is not None:
        b_ih = b_ih + b_hh
    if kind == "lstm":
        given["c"] = state[1]
    if weights.get("w_hr") is not None:
        given["p"] = weights["w_hr"]
    z = F.linear(x, weights["w_ih"], b_ih)
    if ragged is not None:
        z, given["inside"] = ragged.pad(z), ragged.inside
    elif batch_first:
        z = z.transpose(0, 1)
    y, *last = recurrent(kind, reverse, z=z, **given)
    y = ragged.pack(y) if ragged is not None else y.transpose(0, 1) if batch_first else y
    if narrow is not None:
        return (y.to(narrow), *(s.to(narrow) for s in last))
    return (y, *last)


class RNNBase(Module):
    """What RNN, LSTM and GRU share: weights by name, layers, directions, packed input.

    mode: "LSTM", "GRU", "RNN_TANH" or "RNN_RELU".

    >>> import lucid
    >>> lucid.nn.RNNBase("GRU", 3, 4)(lucid.zeros(5, 1, 3))[0].shape
    lucid.Size([5, 1, 4])
    """

    mode: str

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if not isinstance(dropout, numbers.Number) or isinstance(dropout, bool):
            raise ValueError("dropout should be a number in range [0, 1]")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout should be a number in range [0, 1], got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=3,
            )
        for name, flag in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f"{name} should be of type bool, got: {type(flag).__name__}")
        sizes = {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}
        for name, value in sizes.items():
            if not isinstance(value, int):
                raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
            if value <= 0:
                raise ValueError(f"{name} must be greater than zero")
        if proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._flat_weights_names: list[str] = []
        self._all_weights: list[list[str]] = []
        gates, state = GATES[mode] * hidden_size, proj_size or hidden_size
        directions = 2 if bidirectional else 1
        for layer in range(num_layers):
            for suffix in ("", "_reverse")[:directions]:
                width = input_size if layer == 0 else state * directions
                shapes: dict[str, tuple[int, ...]] = {
                    "weight_ih": (gates, width),
                    "weight_hh": (gates, state),
                }
                shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)} if bias else {}
                shapes |= {"weight_hr": (proj_size, hidden_size)} if proj_size else {}
                names = []
                for name, shape in shapes.items():
                    names.append(f"{name}_l{layer}{suffix}")
                    drawn = lucid.empty(shape, device=device, dtype=dtype)
                    setattr(self, names[-1], Parameter(drawn))
                self._all_weights.append(names)
                self._flat_weights_names += names
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._flat_weights_names]

    def flatten_parameters(self) -> None:
        """Nothing: products read the weights where they are."""

    def reset_parameters(self) -> None:
        """Draw all parameters from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """(output, h_n): output of the last layer at all times, states of all layers at the end."""
        packed = input if isinstance(input, PackedSequence) else None
        x = input if packed is None else packed.data
        self._check_input(x, packed)
        single = packed is None and x.dim() == 2
        if single:
            x = x.unsqueeze(0 if self.batch_first else 1)
        batch = int(packed.batch_sizes[0]) if packed else x.shape[0 if self.batch_first else 1]
        states = self._states(hx, batch, x, single)
        if packed is not None:
            states = [_reordered(s, packed.sorted_indices) for s in states]
        y, last = self._layers(x, states, None if packed is None else Raggedness(packed[1]))
        if packed is not None:
            last = [_reordered(s, packed.unsorted_indices) for s in last]
            y = PackedSequence(y, *packed[1:])
        elif single:
            y, last = y.squeeze(0 if self.batch_first else 1), [s.squeeze(1) for s in last]
        return y, tuple(last) if self.mode == "LSTM" else last[0]

    def _layers(self, x: Any, states: list, ragged: Raggedness | None) -> tuple[Any, list]:
        kind = KINDS[self.mode]
        first = self.batch_first and ragged is None
        ends: list[list] = [[] for _ in states]
        directions = 2 if self.bidirectional else 1
        for layer in range(self.num_layers):
            outputs = []
            for d in range(directions):
                place = layer * directions + d
                state = tuple(s[place] for s in states)
                weights = self._weights(place)
                y, *last = step_through(kind, d == 1, x, state, weights, ragged, first)
                outputs.append(y)
                for end, s in zip(ends, last, strict=True):
                    end.append(s)
            x = outputs[0] if directions == 1 else lucid.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, [lucid.stack(end, 0) for end in ends]

    def _weights(self, place: int) -> dict[str, Any]:
        names = {"weight_ih": "w_ih", "weight_hh": "w_hh", "bias_ih": "b_ih", "bias_hh": "b_hh",
                 "weight_hr": "w_hr"}  # fmt: skip
        found: dict[str, Any] = dict.fromkeys(names.values())
        for name in self._all_weights[place]:
            found[names[name[: name.index("_l")]]] = getattr(self, name)
        return found

    def _check_input(self, x: Any, packed: PackedSequence | None) -> None:
        name = type(self).__name__
        if packed is None and x.dim() not in (2, 3):
            raise ValueError(f"{name}: Expected input to be 2D or 3D, got {x.dim()}D instead")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: input.size(-1) must be equal to input_size. Expected {self.input_size}, "
                f"got {x.shape[-1]} (input of shape {tuple(x.shape)})"
            )
        weight = self._flat_weights[0]
        if x.dtype is not weight.dtype:
            raise ValueError(
                f"{name}: input is {x.dtype!r}, the weights are {weight.dtype!r}; convert one with "
                "to()"
            )

    def _states(self, hx: Any, batch: int, x: Any, single: bool) -> list:
        """h, and of an LSTM c: (layers * directions, B, size) each, zeros where none is given."""
        count = self.num_layers * (2 if self.bidirectional else 1)
        sizes = [self.proj_size or self.hidden_size]
        sizes += [self.hidden_size] if self.mode == "LSTM" else []
        if hx is None:
            return [lucid.zeros(count, batch, size, dtype=x.dtype) for size in sizes]
        given = list(hx) if self.mode == "LSTM" else [hx]
        shown = "2-D" if single else "3-D"
        for i, (state, size) in enumerate(zip(given, sizes, strict=True)):
            if single:
                given[i] = state = state.unsqueeze(1) if state.dim() == 2 else state
            if tuple(state.shape) != (count, batch, size):
                raise RuntimeError(
                    f"{type(self).__name__}: for {shown} input hidden[{i}] must be "
                    f"{(count, size) if single else (count, batch, size)}, got "
                    f"{tuple(state.shape)}"
                )
        return given

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        text += f", proj_size={self.proj_size}" if self.proj_size else ""
        text += f", num_layers={self.num_layers}" if self.num_layers != 1 else ""
        text += "" if self.bias else ", bias=False"
        text += ", batch_first=True" if self.batch_first else ""
        text += f", dropout={self.dropout}" if self.dropout else ""
        return text + (", bidirectional=True" if self.bidirectional else "")


def _reordered(state: lucid.Tensor, places: lucid.Tensor | None) -> lucid.Tensor:
    return state if places is None else state.index_select(1, places)


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), or relu, in layers (Elman, 1990).

    x (T, B, input_size), (B, T, ..) with `batch_first`, (T, ..) for one sequence, or packed.
    Returns output (T, B, D H) of the last layer and h_n (layers D, B, H), D the directions.

    >>> import lucid
    >>> y, h = lucid.nn.RNN(3, 4, num_layers=2)(lucid.zeros(5, 1, 3))
    >>> y.shape, h.shape
    (lucid.Size([5, 1, 4]), lucid.Size([2, 1, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        # The fourth by position is the nonlinearity, and bias comes after it.
        chosen = args[3] if len(args) > 3 else kwargs.pop("nonlinearity", "tanh")
        if chosen not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{chosen}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{chosen.upper()}", *args[:3], *args[4:], **kwargs)
        self.nonlinearity = chosen


class LSTM(RNNBase):
    """c_t = f c_(t-1) + i g and h_t = o tanh(c_t), with the gates i, f, o = sigmoid and g = tanh of
    W_ih x_t + b_ih + W_hh h_(t-1) + b_hh (Hochreiter and Schmidhuber, 1997).

    x as of RNN; hx = (h_0, c_0). Returns output and (h_n, c_n). With `proj_size` the state is
    W_hr h_t (Sak et al., 2014).

    >>> import lucid
    >>> y, (h, c) = lucid.nn.LSTM(3, 4, batch_first=True)(lucid.zeros(1, 5, 3))
    >>> y.shape, h.shape, c.shape
    (lucid.Size([1, 5, 4]), lucid.Size([1, 1, 4]), lucid.Size([1, 1, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """h_t = (1 - z) n + z h_(t-1), with r, z = sigmoid of W x_t + b + W' h_(t-1) + b' and
    n = tanh(W_n x_t + b_n + r (W'_n h_(t-1) + b'_n)) (Cho et al., 2014).

    x as of RNN. Returns output and h_n.

    >>> import lucid
    >>> y, h = lucid.nn.GRU(3, 4, bidirectional=True)(lucid.zeros(5, 1, 3))
    >>> y.shape, h.shape
    (lucid.Size([5, 1, 8]), lucid.Size([2, 1, 4]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)
