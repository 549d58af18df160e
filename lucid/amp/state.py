"""`autocast`: which ops run in 16 bits, which in float32, by the records' class.

Called by users. While it is on anywhere in the process, the funnel (apply.py) asks `State.cast`
before each call; while it is off, the funnel does not know of it.
"""

import warnings
from collections.abc import Callable, Iterator
from contextlib import ContextDecorator, contextmanager
from contextvars import Token
from typing import Any

import lucid
from lucid import dtypes
from lucid.apply import apply
from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.op import Op, find
from lucid.tracing import casting, count_castings

LOW = (dtypes.bfloat16, dtypes.float16)
# What one device takes where `dtype` is not given; float64 is never cast.
_defaults: dict[str, Any] = {"cpu": dtypes.bfloat16, "cuda": dtypes.float16}
CASTABLE = (*LOW, dtypes.float32)


class State:
    """What autocast does here: the type of 16 bits, and the parameters cast so far."""

    __slots__ = ("low", "cache")

    def __init__(self, low: Any, cache: dict | None):
        self.low = low
        self.cache = cache  # None: every use casts anew

    def cast(self, op: type[Op], inputs: tuple) -> tuple:
        """The inputs of a call in the type that the op's class asks for."""
        if op.autocast == "widest":
            return inputs
        kind = self.low if op.autocast == "low" else dtypes.float32
        return tuple([_cast(x, kind, self.cache) for x in inputs])

    @contextmanager
    def renewed(self) -> Iterator[None]:
        """The same again, with nothing cast yet: what runs a function a second time opens it."""
        token = casting.set(State(self.low, None if self.cache is None else {}))
        count_castings(1)
        try:
            yield
        finally:
            count_castings(-1)
            casting.reset(token)


def _cast(x: Any, kind: Any, cache: dict | None) -> Any:
    if not isinstance(x, Array):
        return x
    own = x._layout.dtype
    if own is kind or own not in CASTABLE:
        return x
    # A parameter is used again, by other layers that share it or at other times of a loop.
    kept = cache is not None and own is dtypes.float32 and x._requires_grad and x._node is None
    if not kept or x._storage is None:
        return apply(find("cast"), (x,), (kind,))
    assert cache is not None
    key = (id(x), kind, is_grad_enabled())
    found = cache.get(key)
    if found is None or found[1] != x._storage.version:
        found = cache[key] = (x, x._storage.version, apply(find("cast"), (x,), (kind,)))
    return found[2]


class autocast(ContextDecorator):
    """Inside, products and convolutions take bfloat16 or float16, delicate ops float32.

    Every op's record has a class: "low" (matmul, linear, convolution) casts floating inputs to
    `dtype`, "float32" (exp, softmax, norms, losses) casts 16 bits up, "widest" takes what it is
    given. float64 stays as it is, and in-place ops write what they always write. Gradients have the
    types of what they belong to, so parameters keep float32 ones. `dtype` is bfloat16 for "cpu"
    unless given; another type than the two warns and turns it off, as does a device that is not
    here. `cache_enabled` casts each parameter once in the outermost block. Also a decorator.

    >>> import lucid
    >>> with lucid.autocast("cpu"):
    ...     y = lucid.ones(2, 2) @ lucid.ones(2, 2)
    >>> y.dtype
    lucid.bfloat16
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        self.device = device_type
        self.fast_dtype = _defaults.get(device_type) if dtype is None else dtype
        self._cache_enabled = cache_enabled is None or bool(cache_enabled)
        self._enabled = bool(enabled)
        if self._enabled and device_type not in lucid.device.known:
            warnings.warn(
                f"autocast: device_type {device_type!r} is not here, so it is off", stacklevel=2
            )
            self._enabled = False
        if self._enabled and self.fast_dtype not in LOW:
            warnings.warn(
                f"autocast: dtype {self.fast_dtype!r} is not bfloat16 or float16, so it is off",
                stacklevel=2,
            )
            self._enabled = False
        self._tokens: list[tuple[Token, bool]] = []

    def __enter__(self) -> "autocast":
        outer = casting.get()
        state = None
        if self.device not in lucid.device.known:
            state = outer  # what is off is the autocast of another device
        elif self._enabled:
            shared = outer is not None and outer.cache is not None
            cache: dict | None = None
            if self._cache_enabled:
                cache = outer.cache if shared and outer is not None else {}
            state = State(self.fast_dtype, cache)
            count_castings(1)
        self._tokens.append((casting.set(state), self._enabled))
        return self

    def __exit__(self, *error: Any) -> None:
        token, enabled = self._tokens.pop()
        casting.reset(token)
        if enabled:
            count_castings(-1)

    def _recreate_cm(self) -> "autocast":
        return autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled)

    def __call__(self, func: Callable) -> Any:
        return super().__call__(func)


def is_autocast_available(device_type: str) -> bool:
    """Whether `autocast(device_type)` can be on."""
    return device_type in lucid.device.known


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on here, for the device where one is given."""
    return device_type in (None, "cpu") and casting.get() is not None


def is_autocast_cpu_enabled() -> bool:
    """Whether autocast is on here."""
    return casting.get() is not None


def is_autocast_cache_enabled() -> bool:
    """Whether autocast casts each parameter once."""
    state = casting.get()
    return state is None or state.cache is not None


def set_autocast_enabled(device_type: str, enabled: bool) -> None:
    """Turn autocast on or off here, outside of a block; leave it as it was with the same call."""
    if device_type != "cpu":
        raise NotImplementedError(f"set_autocast_enabled: {device_type!r} is not here")
    before = casting.get()
    if enabled and before is None:
        casting.set(State(_defaults["cpu"], {}))
        count_castings(1)
    elif not enabled and before is not None:
        casting.set(None)
        count_castings(-1)


def get_autocast_dtype(device_type: str) -> Any:
    """The type of 16 bits that autocast takes on a device."""
    state = casting.get()
    if device_type == "cpu" and state is not None:
        return state.low
    if device_type not in _defaults:
        raise RuntimeError(f"get_autocast_dtype: unknown device {device_type!r}")
    return _defaults[device_type]


def get_autocast_cpu_dtype() -> Any:
    """The type of 16 bits that autocast takes on the CPU."""
    return get_autocast_dtype("cpu")


def get_autocast_gpu_dtype() -> Any:
    """The type of 16 bits that autocast would take on CUDA."""
    return _defaults["cuda"]


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """The type of 16 bits that autocast takes where none is given."""
    if dtype not in LOW:
        raise RuntimeError(f"set_autocast_dtype: expected bfloat16 or float16, got {dtype!r}")
    _defaults[device_type] = dtype


def clear_autocast_cache() -> None:
    """Forget the parameters cast so far."""
    state = casting.get()
    if state is not None and state.cache is not None:
        state.cache.clear()
