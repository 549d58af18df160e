"""`lucid.profile`: the kernels that eager and compiled code run, when and for how long.

    with lucid.profile() as p:
        model(x)
    print(p)
    p.export("trace.json")

The file opens in Perfetto (ui.perfetto.dev) and chrome://tracing.
"""

import json
import os
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from lucid.backend.cpu import call, jit, regions
from lucid.config import settings
from lucid.lines import user_line


@dataclass(frozen=True)
class Event:
    """One native call: its kernels, when it began (seconds of time.perf_counter), how long it
    took, in which thread, and the user's line."""

    name: str
    start: float
    seconds: float
    thread: int
    line: str


def _name(one: call.Call) -> str:
    """Loop nests are told as "kernel NAME vector=...", templates by what they are."""
    told = jit.name(one.address)
    if told == regions.NAME:
        names = Counter(_plain(jit.name(address)) for address in regions.called(one.words))
        return f"({', '.join(f'{n} {name}' for name, n in names.items())} side by side)"
    return _plain(told)


def _plain(told: str) -> str:
    return told.split()[1] if told.startswith("kernel ") else told


class profile:
    """A block whose native calls are timed. What runs inside takes the slower way of
    LUCID_DEBUG=1, about 10 us more for each call; kernels themselves take their own time.

    >>> import lucid
    >>> with lucid.profile() as p:
    ...     y = lucid.ones(10).exp()
    >>> [e.name for e in p.events][-1]
    'exp'
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._before: Any = None

    def __enter__(self) -> "profile":
        if call.watcher is not None:
            raise RuntimeError("profile: another profile is open")
        self._before = settings.debug
        settings.debug = max(1, settings.debug)
        call.watcher = self._note
        return self

    def __exit__(self, *details: object) -> None:
        call.watcher = None
        settings.debug = self._before

    def _note(self, segment: call.Segment, seconds: float) -> None:
        now = time.perf_counter()
        name = " + ".join(map(_name, segment.calls)) or "nothing"
        event = Event(name, now - seconds, seconds, threading.get_ident(), user_line())
        self.events.append(event)

    def totals(self) -> list[tuple[str, int, float]]:
        """(kernels, calls, seconds) of what ran, the longest first."""
        found: dict[str, list[float]] = {}
        for event in self.events:
            found.setdefault(event.name, []).append(event.seconds)
        rows = [(name, len(times), sum(times)) for name, times in found.items()]
        return sorted(rows, key=lambda row: -row[2])

    def __str__(self) -> str:
        lines = [f"{'ms':>10} {'calls':>7}  kernels"]
        lines += [f"{s * 1e3:10.3f} {n:7}  {name[:80]}" for name, n, s in self.totals()]
        return "\n".join(lines)

    def export(self, path: str) -> None:
        """Write the events as a Chrome trace, all of it or nothing."""
        first = min((e.start for e in self.events), default=0.0)
        threads = {t: i for i, t in enumerate(dict.fromkeys(e.thread for e in self.events))}
        events = [
            {
                "name": e.name, "ph": "X", "cat": "kernel", "pid": os.getpid(),
                "tid": threads[e.thread], "ts": (e.start - first) * 1e6, "dur": e.seconds * 1e6,
                "args": {"line": e.line},
            }
            for e in self.events
        ]  # fmt: skip
        folder = os.path.dirname(os.path.abspath(path))
        with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)
        os.replace(file.name, path)
