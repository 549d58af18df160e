"""Calls of machine code from Python: `Segment`, a list of kernels behind one builtin function.

plan/run.py makes segments and calls their `run`. The builtin is written in LLVM IR and handed to
CPython as an ordinary METH_FASTCALL function, a fifth of the cost of a call through ctypes.
"""

import ctypes
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from lucid.backend.cpu import compiler, cpython, invoke, jit, threads
from lucid.config import settings

MOST = 8192  # arguments of a segment, and words of a call: they lie on the stack

Outcome = tuple[int, int, int] | None


@dataclass(frozen=True)
class Call:
    """One kernel of a segment.

    `words` is the template of its words; words[0] is set to the error slot at run time. A patch
    (word, argument, offset) makes that word the argument plus the offset: an address plus bytes,
    an int64, or (offset 0) the bits of a float64.
    """

    address: int
    words: Sequence[int]
    patches: Sequence[tuple[int, int, int]] = field(default_factory=tuple)


class Segment:
    """Kernels called in order by `segment.run(a0, a1, ...)`.

    Arguments are addresses, integers or floats. The result is None, or (code, value, number of
    the call) of the first error: the calls after it have not run. With `releases_gil`, other
    Python threads run meanwhile, and Ctrl-C is seen between tasks (interrupt.py): what it raises
    leaves some results unwritten. A segment is immutable and re-entrant. `address` is what the
    generic builtin `run(address, a0, ...)` takes.
    """

    __slots__ = ("calls", "releases_gil", "arguments", "address", "run", "memory", "steps")

    run: Callable[..., Outcome]
    steps: Sequence  # of the plan (plan/steps.py), for those who look at what runs

    def __init__(self, calls: Sequence[Call], releases_gil: bool = False):
        self.calls = tuple(calls)
        self.steps = ()
        self.releases_gil = releases_gil
        used = [argument for call in calls for _, argument, _ in call.patches]
        self.arguments = max(used, default=-1) + 1
        longest = max((len(call.words) for call in calls), default=0)
        if self.arguments > MOST or longest > MOST:
            raise ValueError(
                f"segment: {self.arguments} arguments and {longest} words in a call; "
                f"at most {MOST} of each are possible: split the segment"
            )
        data = [len(calls), self.arguments, int(releases_gil), longest]
        for call in calls:
            if not call.words or any(not 0 < w < len(call.words) for w, _, _ in call.patches):
                raise ValueError(f"segment: a patch outside of words 1..{len(call.words) - 1}")
            data += [call.address, len(call.words), len(call.patches), *call.words]
            for patch in call.patches:
                data += patch
        self.memory = struct.pack(f"<{len(data)}q", *data)
        self.address = ctypes.cast(ctypes.c_char_p(self.memory), ctypes.c_void_p).value
        self.run = _builtin("bound", self.memory)
        if settings.debug >= 1:
            self.run = _Traced(self)

    def names(self) -> list[str]:
        """What its kernels are called, in order."""
        return [jit.name(call.address) for call in self.calls]

    def __repr__(self) -> str:
        return f"Segment([{', '.join(self.names())}], arguments={self.arguments})"


def run() -> Callable[..., Outcome]:
    """The generic builtin: `run(segment.address, a0, a1, ...)`, see `Segment`."""
    return _builtin("run", None)


class _Traced:
    """Runs a segment and prints its kernels: LUCID_DEBUG=1."""

    def __init__(self, segment: Segment):
        self.segment = segment
        self.inner = segment.run

    def __call__(self, *arguments: float) -> Outcome:
        start = time.perf_counter()
        outcome = self.inner(*arguments)
        report(self.segment, time.perf_counter() - start)
        return outcome


def run_of(segment: Segment) -> Callable[..., Outcome]:
    """`segment.run`, which is reported while LUCID_DEBUG or a profile asks for it."""
    if settings.debug and not isinstance(segment.run, _Traced):
        return _Traced(segment)
    return segment.run


watcher: Callable[[Segment, float], None] | None = None  # of show/profile.py, show/flops.py


def report(segment: Segment, seconds: float) -> None:
    """Print the kernels of a segment that has run, or tell them to the profile that is open."""
    if watcher is not None:
        watcher(segment, seconds)
        return
    for call in segment.calls:
        print(f"lucid: {jit.name(call.address)}", file=sys.stderr)
    print(f"lucid: {len(segment.calls)} kernels, {seconds * 1e6:.1f} us", file=sys.stderr)


_addresses: dict[str, int] = {}
_codes: dict[str, cpython.Code] = {}


def addresses() -> dict[str, int]:
    """The symbols of invoke.py, loaded at the first call."""
    if not _addresses:
        with compiler.lock:
            text = invoke.text()
            pool = threads.addresses()
            extra = {name: pool[name] for name in ("lucid_poll", "lucid_watch")}
            _addresses.update(compiler.cached(text, invoke.EXPORTS, lambda: text, extra))
    return _addresses


def _builtin(name: str, owner: object) -> Callable[..., Outcome]:
    code = _codes.get(name)
    if code is None:
        address = addresses()[f"lucid_{name}"]
        code = cpython.Code("run", address, cpython.FAST_CALL, "run(...): see Segment")
        _codes[name] = code
    return code.builtin(owner)
