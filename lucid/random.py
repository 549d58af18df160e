"""`lucid.random`: random numbers under the founding framework's names, and the generator's state.

Called by users; the functions are those of ops/random.py, on the default generator.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import lucid
from lucid.ops.random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    normal,
    rand,
    randn,
    randperm,
    set_rng_state,
)

__all__ = [
    "Generator", "bernoulli", "default_generator", "fork_rng", "get_rng_state", "get_seed",
    "initial_seed", "manual_seed", "normal", "permutation", "rand", "randint", "randn", "randperm",
    "seed", "set_rng_state", "uniform",
]  # fmt: skip


def seed(seed: int | None = None) -> int:
    """Start the default generator from `seed`, or from one of the operating system; returns it.

    >>> import lucid
    >>> lucid.random.seed(3)
    3
    """
    if seed is None:
        return default_generator.seed()
    manual_seed(seed)
    return default_generator.initial_seed()


get_seed = initial_seed
permutation = randperm


def randint(
    low: int, high: int | None = None, size: int | Sequence[int] = 1, **options: Any
) -> lucid.Tensor:
    """Integers in [low, high), or in [0, low) where there is no high.

    >>> import lucid
    >>> lucid.random.randint(3, 4, size=(2,))
    tensor([3, 3])
    """
    low, high = (0, low) if high is None else (low, high)
    return lucid.randint(low, high, _size(size), **options)


def uniform(
    low: float = 0, high: float = 1, size: int | Sequence[int] = 1, **options: Any
) -> lucid.Tensor:
    """Numbers between low and high, all equally likely.

    >>> import lucid
    >>> bool((lucid.random.uniform(2, 3, size=(2, 2)) >= 2).all())
    True
    """
    requires_grad = options.pop("requires_grad", False)
    x = rand(_size(size), **options).mul_(high - low).add_(low)
    return x.requires_grad_() if requires_grad else x


def bernoulli(probs: Any, **options: Any) -> lucid.Tensor:
    """1 with the probability `probs`, a tensor, an array or a number; else 0.

    >>> import lucid
    >>> lucid.random.bernoulli([0.0, 1.0])
    tensor([0., 1.])
    """
    x = lucid.as_tensor(probs)
    return lucid.bernoulli(x if x.is_floating_point() else x.float(), **options)


@contextmanager
def fork_rng(enabled: bool = True) -> Iterator[None]:
    """Random numbers drawn inside leave those drawn after unchanged.

    >>> import lucid
    >>> before = lucid.get_rng_state()
    >>> with lucid.random.fork_rng():
    ...     x = lucid.rand(3)
    >>> lucid.equal(before, lucid.get_rng_state())
    True
    """
    if not enabled:
        yield
        return
    state = get_rng_state()
    try:
        yield
    finally:
        set_rng_state(state)


def _size(size: int | Sequence[int]) -> tuple[int, ...]:
    return (size,) if isinstance(size, int) else tuple(size)
