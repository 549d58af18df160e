"""What a Module does to all its tensors at once: dtype, device, gradients on or off, zero_grad.

module.py mixes `Transfer` into Module. Parameters keep their identity, so optimizers stay valid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import lucid
from lucid.nn.parameter import Parameter


class Transfer:
    """The methods of Module that convert its parameters and buffers in place."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, lucid.Tensor | None]
    children: Callable[[], Iterator[Any]]
    parameters: Callable[..., Iterator[Parameter]]

    def _apply(self, fn: Callable[[lucid.Tensor], lucid.Tensor], recurse: bool = True) -> Self:
        """Replace every parameter, its gradient and every buffer `t` by `fn(t)`."""
        if recurse:
            for module in self.children():
                module._apply(fn)
        for parameter in self._parameters.values():
            if parameter is None:
                continue
            grad = parameter.grad
            with lucid.no_grad():
                parameter.data = fn(parameter)
                if grad is not None:
                    parameter.grad = fn(grad).requires_grad_(grad.requires_grad)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Move or cast in place: `to(device)`, `to(dtype)`, `to(device, dtype)`, `to(tensor)`.

        A dtype concerns floating parameters and buffers only; integer ones keep theirs.
        Raises TypeError for arguments of other kinds and for a dtype that is not floating.

        >>> import lucid
        >>> lucid.nn.Linear(2, 2).to(lucid.float64).weight.dtype
        lucid.float64
        """
        device, dtype, non_blocking, memory_format = _parse_to(*args, **kwargs)
        if dtype is not None and not dtype.is_floating_point:
            raise TypeError(f"nn.Module.to only accepts floating point dtypes, but got {dtype}")

        def convert(t: lucid.Tensor) -> lucid.Tensor:
            options = {"device": device} if device is not None else {}
            if dtype is not None and t.is_floating_point():
                options["dtype"] = dtype
            if memory_format is not None and t.ndim in (4, 5):
                options["memory_format"] = memory_format
            if non_blocking:
                options["non_blocking"] = non_blocking
            return t.to(**options) if options else t

        return self._apply(convert)

    def type(self, dst_type: Any) -> Self:
        """Cast all parameters and buffers, integer ones too, to `dst_type`."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Cast floating parameters and buffers to float32."""
        return self._cast(lucid.float32)

    def double(self) -> Self:
        """Cast floating parameters and buffers to float64."""
        return self._cast(lucid.float64)

    def half(self) -> Self:
        """Cast floating parameters and buffers to float16."""
        return self._cast(lucid.float16)

    def bfloat16(self) -> Self:
        """Cast floating parameters and buffers to bfloat16."""
        return self._cast(lucid.bfloat16)

    def _cast(self, dtype: Any) -> Self:
        return self._apply(lambda t: t.to(dtype) if t.is_floating_point() else t)

    def cpu(self) -> Self:
        """Move to main memory."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Move to a CUDA device; raises where there is none."""
        return self._apply(lambda t: t.cuda(device))

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Move to `device` without copying: the values are whatever the memory holds."""
        return self._apply(lambda t: lucid.empty_like(t, device=device), recurse=recurse)

    def share_memory(self) -> Self:
        """Not supported: tensors of Lucid do not live in memory shared between processes."""
        raise NotImplementedError(
            "Module.share_memory() is not supported: send state_dict() to the other process, or "
            "save it and load it there"
        )

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set `requires_grad` of every parameter; False freezes the module."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; with `set_to_none=False` fill them with zeros."""
        for parameter in self.parameters():
            forget_grad(parameter, set_to_none)


def forget_grad(parameter: lucid.Tensor, set_to_none: bool) -> None:
    """One parameter of `zero_grad`; Optimizer uses it too."""
    if set_to_none:
        parameter.grad = None  # not asked for before: a compiled function would depend on it
        return
    grad = parameter.grad
    if grad is None:
        return
    if grad.grad_fn is not None:
        grad.detach_()
    else:
        grad.requires_grad_(False)
    grad.zero_()


def _parse_to(
    *args: Any, non_blocking: bool = False, memory_format: Any = None, **named: Any
) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) of the forms that `Tensor.to` takes."""
    for name in named:
        if name not in ("device", "dtype", "tensor", "other"):
            raise TypeError(f"Module.to() got an unexpected keyword argument {name!r}")
    device, dtype = named.get("device"), named.get("dtype")
    given = [v for v in (named.get("tensor"), named.get("other")) if v is not None]
    for value in (*given, *args):
        if isinstance(value, lucid.Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, lucid.dtype):
            dtype = value
        elif isinstance(value, bool):  # before int: to(device, dtype, non_blocking)
            non_blocking = value
        elif isinstance(value, str | int | lucid.device):
            device = value
        elif value is not None:
            raise TypeError(
                "Module.to() takes a device, a dtype or a tensor, got an argument of type "
                f"{type(value).__name__}"
            )
    return device, dtype, non_blocking, memory_format
