"""How much memory the machine, and the cgroup that we run in, can still give.

Called by memory.py before it asks for a large block: an overdrawn cgroup kills the process, which
no program can catch.
"""

import functools
import os
import sys

_UNLIMITED = 1 << 62


def available(mapped: int = 0) -> int:
    """Bytes that can be used before the machine or its cgroup is exhausted.

    `mapped` is what Lucid holds from the system; the part of it that was never touched is not yet
    in the system's books, and is subtracted here.
    """
    left = min(_machine(), *(_cgroup(*files) for files in _cgroups()))
    return max(0, left - max(0, mapped - _resident())) if left < _UNLIMITED else left


def _machine() -> int:
    for line in _read("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    if sys.platform != "linux" and hasattr(os, "sysconf"):  # not tested elsewhere: no free count
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return _UNLIMITED


def _resident() -> int:
    """Bytes of anonymous memory that this process has touched."""
    fields = _read("/proc/self/statm").split()
    if len(fields) < 3:
        return _UNLIMITED
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def _cgroup(limit: str, usage: str, statistics: str) -> int:
    """What a cgroup has left: its limit, less its use, but file pages can be dropped."""
    bound, used = _read(limit).strip(), _read(usage).strip()
    if not bound.isdigit() or not used.isdigit() or int(bound) >= _UNLIMITED:
        return _UNLIMITED
    left = int(bound) - int(used)
    for line in _read(statistics).splitlines():
        name, _, value = line.partition(" ")
        if name in ("total_inactive_file", "inactive_file") and value.isdigit():
            left += int(value)
            break
    return max(0, left)


@functools.cache
def _cgroups() -> list[tuple[str, str, str]]:
    """The files (limit, usage, statistics) of our cgroup and of those above it, v2 and v1."""
    found = []
    for line in _read("/proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, names = "/sys/fs/cgroup", ("memory.max", "memory.current")
        elif "memory" in controllers.split(","):
            root = "/sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
        else:
            continue
        # A container sees its own cgroup as the root, whatever the path says: look there too.
        parts = [part for part in path.split("/") if part and part != ".."]
        for depth in range(len(parts), -1, -1):
            folder = "/".join([root, *parts[:depth]])
            files = (f"{folder}/{names[0]}", f"{folder}/{names[1]}", f"{folder}/memory.stat")
            if os.path.exists(files[0]):
                found.append(files)
    return found or [("", "", "")]


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
