"""Calling kernels of the loop language from tests, and the order of folds in NumPy."""

import contextlib

import numpy as np

from lucid.backend.cpu import call, schedule, target
from lucid.config import settings
from lucid.dtypes import dtype, int64
from lucid.kernel import expr as e
from lucid.kernel.expr import Expr
from lucid.kernel.loops import Axis, Buffer, Kernel, Map, Store

ONE = e.const(1, int64)
TARGETS = ("avx512", "avx2", "plain")


def available() -> list[str]:
    """The targets that this machine can run."""
    found = []
    for name in TARGETS:
        with on(name), contextlib.suppress(RuntimeError):
            target.target()
            found.append(name)
    return found


@contextlib.contextmanager
def on(name: str):
    before, settings.target = settings.target, name
    try:
        yield
    finally:
        settings.target = before


def aligned(nbytes: int) -> np.ndarray:
    raw = np.zeros(nbytes + 64, np.uint8)
    return raw[-raw.ctypes.data % 64 :][:nbytes]


def run(kernel: Kernel, arrays, words=None, scalars=None, threads: int = 1):
    """Run machine code of the kernel on NumPy arrays; None, or (code, value, 0) of an error."""
    words, scalars = words or {}, scalars or {}
    made = schedule.compile(kernel)
    scratch = aligned(max(64, made.scratch_per_thread(words) * threads))
    values = [0, scratch.ctypes.data, threads]
    values += [
        arrays[b.name].__array_interface__["data"][0] for b in kernel.buffers if b.role != "local"
    ]
    values += [int(words[name]) for name in kernel.words]
    for name in kernel.scalars:
        given = scalars[name]
        values.append(given if isinstance(given, int) else int(np.float64(given).view(np.int64)))
    return call.Segment([call.Call(made.address, values)]).run()


def buffer(name: str, kind: dtype, *strides: Expr | int, role: str = "in", extents=()) -> Buffer:
    """A buffer; strides are numbers or words."""
    given = tuple(s if isinstance(s, Expr) else e.const(s, int64) for s in strides)
    return Buffer(name, kind, given, role, tuple(extents))


def pointwise(rule, kinds, result: dtype, name: str) -> Kernel:
    """z[i] = rule(x0[i], x1[i], ...) over i < n."""
    i = e.index("i")
    value = rule(*(e.load(f"x{k}", [i], kind) for k, kind in enumerate(kinds)))
    inputs = [buffer(f"x{k}", kind, 1) for k, kind in enumerate(kinds)]
    return Kernel(
        name,
        (*inputs, buffer("z", result, 1, role="out")),
        ("n",),
        (),
        (Axis("i", e.word("n")),),
        (Map((), (Store("z", (i,), value),)),),
    )


def apply(rule, inputs, result: dtype, threads: int = 1) -> np.ndarray:
    """Run `pointwise` on arrays; checks that nothing is written behind the end."""
    from lucid.dtypes import from_numpy

    size = len(inputs[0])
    out = np.zeros(size + 1, result.numpy)
    kernel = pointwise(rule, [from_numpy(x.dtype) for x in inputs], result, "pointwise")
    arrays = {f"x{k}": x for k, x in enumerate(inputs)}
    assert run(kernel, {**arrays, "z": out}, {"n": size}, threads=threads) is None
    assert out[size] == 0
    return out[:size]


def fold_along(values: np.ndarray, neutral, rule):
    """One row in the order of `vector="inner"`: lanes, accumulators, blocks of 8192."""
    state = neutral
    for first in range(0, len(values), 8192):
        block = values[first : first + 8192]
        sums = np.full((4, 16), neutral, values.dtype)
        main = len(block) - len(block) % 64
        for start in range(0, main, 64):
            sums = rule(sums, block[start : start + 64].reshape(4, 16))
        for start in range(main, len(block), 16):
            part = block[start : start + 16]
            sums[0, : len(part)] = rule(sums[0, : len(part)], part)
        lanes = rule(rule(sums[0], sums[1]), rule(sums[2], sums[3]))
        for half in (8, 4, 2, 1):
            lanes = rule(lanes[:half], lanes[half : 2 * half])
        state = rule(state, lanes[0])
    return state


def fold_down(values: np.ndarray, neutral, rule):
    """The first axis in the order of `vector="grid"`: blocks of 256."""
    state = np.full(values.shape[1:], neutral, values.dtype)
    for first in range(0, len(values), 256):
        part = np.full(values.shape[1:], neutral, values.dtype)
        for x in values[first : first + 256]:
            part = rule(part, x)
        state = rule(state, part)
    return state
