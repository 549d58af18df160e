"""GradScaler: losses multiplied so that gradients of 16 bits do not vanish.

Called by users' training loops (Micikevicius et al., 2018, section 3.2).
"""

import warnings
from typing import Any, NamedTuple

import lucid
from lucid.lazy import lazy

update = lazy("lucid.optim.update")


class Numbers(NamedTuple):
    """What changes from step to step."""

    inverse: float


def unscaled(b: Any, row: Any, n: Numbers) -> tuple[Any]:
    """g <- g / scale"""
    return (row[0] * n.inverse,)


class GradScaler:
    """Scales the loss up, the gradients down again, and leaves out steps that overflowed.

    `scaler.scale(loss).backward(); scaler.step(optimizer); scaler.update()`. `step` divides the
    gradients by the scale, unless `unscale_(optimizer)` has (to clip them between), and calls
    `optimizer.step()` if all are finite. `update` multiplies the scale by `backoff_factor` after an
    infinite or NaN gradient, by `growth_factor` after `growth_interval` steps without one.
    `enabled=False` makes all of it pass through; so does a device that is not here, with a warning.

    >>> import lucid
    >>> p = lucid.nn.Parameter(lucid.tensor(1.0))
    >>> optimizer = lucid.optim.SGD([p], lr=0.5)
    >>> scaler = lucid.amp.GradScaler("cpu")
    >>> scaler.scale(p * 2).backward()
    >>> scaler.step(optimizer); scaler.update(); p.item()
    0.0
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        self._device = device
        self._enabled = bool(enabled)
        if self._enabled and device not in lucid.device.known:
            warnings.warn(f"GradScaler: device {device!r} is not here, so it is off", stacklevel=2)
            self._enabled = False
        if self._enabled:
            if growth_factor <= 1.0:
                raise AssertionError("The growth factor must be > 1.0.")
            if backoff_factor >= 1.0:
                raise AssertionError("The backoff factor must be < 1.0.")
        self._scale = float(init_scale)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        self._growth_tracker = 0
        # of each optimizer since the last update(): whether its gradients are finite
        self._finite: dict[int, bool] = {}
        self._stepped: set[int] = set()

    def scale(self, outputs: Any) -> Any:
        """A tensor, or a list or tuple of them, times the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, lucid.Tensor):
            return outputs * self._scale
        if isinstance(outputs, list | tuple):
            return type(outputs)(self.scale(x) for x in outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the optimizer's gradients by the scale, once between two updates."""
        if not self._enabled:
            return
        key = id(optimizer)
        if key in self._finite:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if key in self._stepped:
            raise RuntimeError("unscale_() is being called after step().")
        grads = []
        for group in optimizer.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    if p.grad.dtype is lucid.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    grads.append(p.grad._values() if p.grad.is_sparse else p.grad)
        with lucid.no_grad():
            finite = all([bool(lucid.isfinite(g).all().item()) for g in grads])
            update.update_all(unscaled, [(g,) for g in grads], Numbers(1.0 / self._scale))
        self._finite[key] = finite

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(...)` and its result, or None where a gradient is not finite."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        key = id(optimizer)
        if key in self._stepped:
            raise RuntimeError("step() has already been called since the last update().")
        if key not in self._finite:
            self.unscale_(optimizer)
        self._stepped.add(key)
        return optimizer.step(*args, **kwargs) if self._finite[key] else None

    def update(self, new_scale: Any = None) -> None:
        """Set the scale for the next step, to `new_scale` where it is given."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            if not self._finite:
                raise AssertionError("No inf checks were recorded prior to update.")
            if not all(self._finite.values()):
                self._scale *= self._backoff_factor
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    self._scale *= self._growth_factor
                    self._growth_tracker = 0
        self._finite, self._stepped = {}, set()

    def get_scale(self) -> float:
        """The scale, 1.0 where the scaler is off."""
        return self._scale if self._enabled else 1.0

    def get_growth_factor(self) -> float:
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        self._growth_interval = new_interval

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict[str, Any]:
        """The scale and its rule, {} where the scaler is off; PyTorch's keys."""
        if not self._enabled:
            return {}
        return {
            "scale": self._scale,
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._growth_tracker,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what `state_dict` gave; RuntimeError for an empty one."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._scale = float(state_dict["scale"])
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
