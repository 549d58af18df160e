"""A line search for the strong Wolfe conditions (Nocedal and Wright, 2006, algorithms 3.5, 3.6).

Called by lbfgs.py: bracket an acceptable length, then narrow the bracket by cubic interpolation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

DECREASE = 1e-4  # of the loss, as a part of what the slope promises
FLATNESS = 0.9  # of the slope, as a part of that at the start
SMALLEST = 1e-9  # change that is worth another evaluation
MARGIN = 0.1  # of the bracket, which a new point keeps from its ends


class Point(NamedTuple):
    """A place on the line: the length of the step to it, and what was found there."""

    length: float
    loss: float
    gradient: Any
    slope: float  # along the direction


def strong_wolfe(
    evaluate: Callable[[float], Point], start: Point, length: float, scale: float, most: int
) -> tuple[Point, int]:
    """A point that satisfies the conditions, or the best one found, and the evaluations used.

    `length` is the first guess, `scale` the direction's largest component; after the first there
    are up to `most` further evaluations.
    """
    before, point = start, evaluate(length)
    rounds = 0
    while rounds < most:
        if not _decreases(start, point) or (rounds > 1 and point.loss >= before.loss):
            break
        if _is_flat(start, point):
            return point, rounds + 1
        if point.slope >= 0:
            break
        least = point.length + 0.01 * (point.length - before.length)
        length = _lowest(before, point, (least, point.length * 10))
        before, point = point, evaluate(length)
        rounds += 1
    low, high = (start, point) if rounds == most else (before, point)
    if low.loss > high.loss:
        low, high = high, low
    return _narrow(evaluate, start, low, high, scale, most, rounds)


def _narrow(
    evaluate: Callable[[float], Point],
    start: Point,
    low: Point,
    high: Point,
    scale: float,
    most: int,
    rounds: int,
) -> tuple[Point, int]:
    """Shrink the bracket, whose end `low` has the lower loss, around an acceptable point."""
    stalled = False
    while rounds < most and abs(high.length - low.length) * scale >= SMALLEST:
        left, right = sorted((low.length, high.length))
        length = _lowest(low, high, (left, right))
        margin = MARGIN * (right - left)
        if min(right - length, length - left) < margin:
            # Near an end: a second time in a row, or at the end itself, step away from it.
            if stalled or length >= right or length <= left:
                nearer_right = abs(length - right) < abs(length - left)
                length = right - margin if nearer_right else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = evaluate(length)
        rounds += 1
        if not _decreases(start, point) or point.loss >= low.loss:
            high = point
            if low.loss > high.loss:
                low, high = high, low
            continue
        done = _is_flat(start, point)
        if not done and point.slope * (high.length - low.length) >= 0:
            high = low
        low = point
        if done:
            break
    return low, rounds + 1


def _decreases(start: Point, point: Point) -> bool:
    return point.loss <= start.loss + DECREASE * point.length * start.slope


def _is_flat(start: Point, point: Point) -> bool:
    return abs(point.slope) <= -FLATNESS * start.slope


def _lowest(a: Point, b: Point, bounds: tuple[float, float]) -> float:
    """Where the cubic through both points, with their slopes, is lowest within the bounds."""
    if a.length > b.length:
        a, b = b, a
    width = a.length - b.length
    bend = a.slope + b.slope - (3 * (a.loss - b.loss) / width if width else math.inf)
    square = bend * bend - a.slope * b.slope
    if not square >= 0 or math.isinf(square):
        return (bounds[0] + bounds[1]) / 2
    root = math.sqrt(square)
    divisor = b.slope - a.slope + 2 * root
    if divisor == 0:
        return (bounds[0] + bounds[1]) / 2
    lowest = b.length + width * ((b.slope + root - bend) / divisor)
    return min(max(lowest, bounds[0]), bounds[1])
