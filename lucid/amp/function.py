"""`custom_fwd`, `custom_bwd`: autocast in a `Function` of the user's own.

Called by users as decorators of `forward` and `backward`.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import lucid
from lucid.amp.state import CASTABLE, autocast, get_autocast_dtype, is_autocast_enabled


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorate `forward` of a Function: with `cast_inputs` its floating inputs are cast to that
    type and autocast is off inside; otherwise `backward` gets the state that `forward` had.

    >>> import lucid
    >>> class Double(lucid.autograd.Function):
    ...     @staticmethod
    ...     @lucid.amp.custom_fwd(device_type="cpu", cast_inputs=lucid.float32)
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     @lucid.amp.custom_bwd(device_type="cpu")
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> with lucid.autocast("cpu"):
    ...     Double.apply(lucid.ones(1, dtype=lucid.bfloat16)).dtype
    lucid.float32
    """
    _check(device_type)
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._dtype = get_autocast_dtype(device_type)
        ctx._fwd_used_autocast = is_autocast_enabled(device_type) and cast_inputs is None
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, cast_inputs), **_cast(kwargs, cast_inputs))

    return decorated


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Any:
    """Decorate `backward` of a Function: autocast is in it as it was in `forward`."""
    _check(device_type)
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, ctx._dtype, enabled=ctx._fwd_used_autocast):
            return bwd(ctx, *args, **kwargs)

    return decorated


def _check(device_type: str) -> None:
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")


def _cast(value: Any, kind: Any) -> Any:
    if isinstance(value, lucid.Tensor):
        return value.to(kind) if value.dtype in CASTABLE else value
    if isinstance(value, Mapping):
        return {k: _cast(v, kind) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_cast(v, kind) for v in value)
    return value
