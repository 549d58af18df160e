"""`torch.multiprocessing`: Python's own, with `spawn`; tensors are sent as copies."""

import multiprocessing
from multiprocessing import *  # noqa: F403
from typing import Any

_strategy = ["file_system"]


def get_all_sharing_strategies() -> set[str]:
    return {"file_system"}


def get_sharing_strategy() -> str:
    return _strategy[0]


def set_sharing_strategy(new_strategy: str) -> None:
    """Inert: tensors are sent as copies, which need no files that stay open."""
    if new_strategy not in ("file_system", "file_descriptor"):
        raise ValueError(f"set_sharing_strategy: {new_strategy!r} is unknown")
    _strategy[0] = new_strategy


class ProcessRaisedException(Exception):
    """A process started by `spawn` ended with an error."""


def spawn(
    fn: Any, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False,
    start_method: str = "spawn",
) -> Any:  # fmt: skip
    """Run fn(i, *args) in `nprocs` processes; ProcessRaisedException where one fails."""
    context = multiprocessing.get_context(start_method)
    processes = []
    for i in range(nprocs):
        process = context.Process(target=fn, args=(i, *args), daemon=daemon)  # type: ignore[attr-defined]
        process.start()
        processes.append(process)
    if not join:
        return processes
    for i, process in enumerate(processes):
        process.join()
        if process.exitcode:
            for other in processes:
                other.terminate()
            raise ProcessRaisedException(f"process {i} ended with exit code {process.exitcode}")
    return None


start_processes = spawn
