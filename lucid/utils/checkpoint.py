"""`lucid.utils.checkpoint`: checkpointing, where PyTorch's programs look for it.

Called by users only.
"""

from typing import Any

from lucid.autograd.checkpoint import checkpoint

__all__ = ["checkpoint", "checkpoint_sequential", "get_device_states", "set_device_states"]


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """The devices beside the CPU that hold the arguments, and their generators' states: none."""
    return [], []


def set_device_states(devices: Any, states: Any, *, device_type: str | None = None) -> None:
    """Set the generators of these devices, of which there are none.

    Raises ValueError where a device is given.
    """
    if list(devices):
        raise ValueError(f"set_device_states: there are no devices {list(devices)}")


def checkpoint_sequential(
    functions: Any,
    segments: int,
    input: Any,
    use_reentrant: bool | None = None,
    preserve_rng_state: bool = True,
) -> Any:
    """Run functions one after the other, each of `segments` parts of them checkpointed.

    `functions`: an iterable, such as a Sequential. The last part is not checkpointed, since
    backward begins with it.

    >>> import lucid
    >>> from lucid.utils.checkpoint import checkpoint_sequential
    >>> x = lucid.ones(2, requires_grad=True)
    >>> checkpoint_sequential([lucid.exp, lucid.log, lucid.square], 2, x).sum().backward()
    >>> x.grad
    tensor([2., 2.])
    """
    children = getattr(functions, "children", None)
    listed = list(functions if children is None else children())
    if not 1 <= segments:
        raise ValueError(f"checkpoint_sequential: segments={segments} is not positive")
    size = max(1, len(listed) // segments)
    last = min((segments - 1) * size, max(0, len(listed) - 1))

    def run(start: int, end: int) -> Any:
        def part(x: Any) -> Any:
            for function in listed[start:end]:
                x = function(x)
            return x

        return part

    for start in range(0, last, size):
        end = min(start + size, last)
        input = checkpoint(
            run(start, end), input, use_reentrant=use_reentrant,
            preserve_rng_state=preserve_rng_state,
        )  # fmt: skip
    return run(last, len(listed))(input)
