"""Pools of the largest that return (values, places), under names of their own.

Published by functional.py, for programs that call them so; the pools are in lucid/ops.
"""

import functools
from collections.abc import Callable
from typing import Any

from lucid.ops import adaptive, pool, unpool


def _located(function: Callable, count: int) -> Callable:
    """The pool with its places; `count` of its arguments come before `return_indices`."""

    @functools.wraps(function)
    def both(*args: Any, **options: Any) -> Any:
        if len(args) > count:  # return_indices by position, whatever it says
            args = (*args[:count], True, *args[count + 1 :])
        else:
            options["return_indices"] = True
        return function(*args, **options)

    both.__name__ = both.__qualname__ = f"{function.__name__}_with_indices"
    return both


max_pool1d_with_indices = _located(pool.max_pool1d, 6)
max_pool2d_with_indices = _located(pool.max_pool2d, 6)
max_pool3d_with_indices = _located(pool.max_pool3d, 6)
adaptive_max_pool1d_with_indices = _located(adaptive.adaptive_max_pool1d, 2)
adaptive_max_pool2d_with_indices = _located(adaptive.adaptive_max_pool2d, 2)
adaptive_max_pool3d_with_indices = _located(adaptive.adaptive_max_pool3d, 2)
fractional_max_pool2d_with_indices = _located(unpool.fractional_max_pool2d, 4)
fractional_max_pool3d_with_indices = _located(unpool.fractional_max_pool3d, 4)
