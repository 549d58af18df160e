"""The bench harness: one program text on Lucid, PyTorch and NumPy, each in its own process.

Called by the programs beside it: they declare cases with `@case` and end with `main()`. In one
shared process the thread pools of two libraries disturb each other (measured: a factor of 2 and
more on two threads), so every framework runs in a process of its own, in alternating rounds. Where
seconds apart are too far, as on a shared machine whose cores change their speed, `main(slices=n)`
keeps the processes and lets them take turns of some milliseconds. With more threads than one a turn
waits until the pool of the process before has gone to sleep, and begins with calls that wake its
own and are not timed. `--processor-time` counts the processor's time
instead of the wall's, on one thread: what it takes is then left out while other programs have the
core, though not what they do to its caches.
"""

import argparse
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
THREAD_VARIABLES = (
    "LUCID_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
)  # fmt: skip
sys.path.insert(0, str(ROOT))  # the programs measure the checkout that they stand in
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}


@dataclass
class Case:
    """One row of the table.

    `make(t)` builds the inputs with framework `t` (a module with PyTorch's names) and returns
    `(f, arguments)`: what is timed is `f(*arguments)`. `flops` or `bytes` of one call turn times
    into rates; `frameworks` are those on which the text runs.
    """

    name: str
    make: Callable[[Any], tuple[Callable[..., Any], tuple]]
    frameworks: tuple[str, ...] = ("lucid", "torch")
    flops: float = 0.0
    bytes: float = 0.0
    unit: str = "us"
    target: float = 1.0  # lucid's speed as a multiple of the best other's: at least this
    results: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    errors: dict[str, None] = field(default_factory=dict)  # an ordered set of messages


ASLEEP = 0.1  # seconds after which no thread pool still waits for work in a loop
CASES: dict[str, Case] = {}
clock = time.perf_counter  # or time.process_time


def case(name: str, **settings: Any) -> Callable[[Callable], Callable]:
    """Declare the decorated function as `Case.make`."""

    def declare(make: Callable) -> Callable:
        CASES[name] = Case(name, make, **settings)
        return make

    return declare


def array(t: Any, *shape: int, seed: int = 0, requires_grad: bool = False) -> Any:
    """The same normal float32 numbers in every framework: a tensor, or for NumPy an array."""
    numpy = importlib.import_module("numpy")
    values = numpy.random.default_rng(seed).standard_normal(shape).astype(numpy.float32)
    if t.__name__ == "numpy":
        return values
    tensor = t.from_numpy(values)
    return tensor.requires_grad_() if requires_grad else tensor


def labels(t: Any, n: int, classes: int, seed: int = 0) -> Any:
    """The same n random class numbers in every framework."""
    numpy = importlib.import_module("numpy")
    values = numpy.random.default_rng(seed).integers(0, classes, n)
    return values if t.__name__ == "numpy" else t.from_numpy(values)


def seconds_per_call(
    call: Callable[[], Any], repeats: int = 9, slice_seconds: float = 0.02
) -> float:
    """The median over `repeats` slices of the time of one call, after a warm-up."""
    for _ in range(4):
        start = clock()
        call()
        once = clock() - start
        if once > slice_seconds:  # long calls warm up by themselves
            break
    inner = max(1, min(200_000, int(slice_seconds / max(once, 1e-8))))
    times = []
    for _ in range(repeats):
        if inner > 1:
            call()
        start = clock()
        for _ in range(inner):
            call()
        times.append((clock() - start) / inner)
    return statistics.median(times)


def _wake(call: Callable[[], Any], seconds: float = 0.02) -> None:
    """Call until the threads of the pool are awake, and the processor at its speed."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        call()


def load(framework: str, threads: int) -> Any:
    """The module of a framework, set to `threads` threads; `+compiled` is handled by `_measure`."""
    module = importlib.import_module(framework.partition("+")[0])
    if hasattr(module, "set_num_threads"):
        module.set_num_threads(threads)
    return module


def main(
    description: str = "", extra: Callable[[Any], None] | None = None, slices: int = 0
) -> None:
    """Parse the command line, run all rounds, print the table; `extra(options)` prints more.

    slices: the default of `--slices`, how often the frameworks take turns at a case in a round.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3, help="processes of each framework (3)")
    parser.add_argument("--threads", default="1,2", help="thread counts (1,2)")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--frameworks", default="", help="such as lucid,torch,numpy,torch+compiled")
    parser.add_argument("--json", default="", help="also write the results to this file")
    parser.add_argument("--slices", type=int, default=slices, help="turns at a case")
    parser.add_argument(
        "--processor-time", action="store_true", help="not the wall's, on one thread"
    )
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processor_time:
        global clock
        if options.threads != "1":
            sys.exit("--processor-time is for --threads 1: threads that wait would count too")
        clock = time.process_time
    chosen = [c for c in CASES.values() if options.only in c.name]
    if not chosen:
        sys.exit(f"no case is named like {options.only!r}; there are {', '.join(CASES)}")
    if options.serve:
        _serve(options.worker, int(options.threads), chosen)
        return
    if options.worker:
        _work(options.worker, int(options.threads), chosen)
        return
    threads = [int(n) for n in options.threads.split(",")]
    names = options.frameworks.split(",") if options.frameworks else _installed(chosen)
    for number in range(options.rounds):
        for count in threads:
            # Every other round runs in the opposite order, so that drift hits all alike.
            order = names if number % 2 == 0 else names[::-1]
            if options.slices:
                _take_turns(order, count, chosen, options)
                continue
            for name in order:
                _collect(name, count, chosen, options)
    table = rows(chosen, names, threads)
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, "
          f"{options.rounds} rounds, medians")  # fmt: skip
    print_table(table)
    if extra is not None:
        extra(options)
    if options.json:
        Path(options.json).write_text(json.dumps(table, indent=1))
    if any("error" in row for row in table):
        sys.exit(1)


def rows(chosen: list[Case], names: list[str], threads: list[int]) -> list[dict[str, Any]]:
    """One row for each case and thread count: the median of each framework, and the ratio."""
    table = []
    for c in chosen:
        for count in threads:
            row: dict[str, Any] = {"case": c.name, "threads": count}
            medians = {
                name: statistics.median(c.results[name, count])
                for name in names
                if (name, count) in c.results
            }
            for name, median in medians.items():
                row[f"{name} {c.unit}"] = round(median * UNITS[c.unit], 3)
            own = medians.get("lucid+compiled", medians.get("lucid"))
            if own is not None:
                if c.flops:
                    row["GFLOP/s"] = round(c.flops / own / 1e9, 1)
                if c.bytes:
                    row["GB/s"] = round(c.bytes / own / 1e9, 1)
                others = {m: name for name, m in medians.items() if not name.startswith("lucid")}
                if others:
                    mine = "lucid+compiled" if "lucid+compiled" in medians else "lucid"
                    ratio = _ratio(c.results[others[min(others)], count], c.results[mine, count])
                    row["speed"] = round(ratio, 2)
                    row["target"] = c.target
                    row["met"] = "yes" if ratio >= c.target else "NO"
            if c.errors:
                row["error"] = "; ".join(c.errors)
            table.append(row)
    return table


def _ratio(theirs: list[float], mine: list[float]) -> float:
    """The median over turns of one time divided by the other: a turn's times are neighbours."""
    if len(theirs) != len(mine):  # one of them failed in some turn
        return statistics.median(theirs) / statistics.median(mine)
    return statistics.median(a / b for a, b in zip(theirs, mine, strict=True))


def print_table(table: list[dict[str, Any]]) -> None:
    """Rows as aligned columns. `speed`: the best other's time by Lucid's, turn by turn."""
    columns = list(dict.fromkeys(key for row in table for key in row))
    cells = [[str(row.get(column, "-")) for column in columns] for row in table]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    for line in [columns, *cells]:
        aligned = zip(line, widths, strict=True)
        print("  ".join(f"{x:<{w}}" if i == 0 else f"{x:>{w}}" for i, (x, w) in enumerate(aligned)))


def environment_of(threads: int, **variables: str) -> dict[str, str]:
    """This process's environment with all thread pools set to `threads`."""
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES} | variables
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # users start from compiled files
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    return environment


def run_process(arguments: list[str], threads: int, **variables: str) -> str:
    """The standard output of a Python process with all thread pools set to `threads`."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment_of(threads, **variables),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def _installed(chosen: list[Case]) -> list[str]:
    """The frameworks of the cases that are here, Lucid first."""
    wanted = list(dict.fromkeys(name for c in chosen for name in c.frameworks))
    found = [name for name in wanted if importlib.util.find_spec(name.partition("+")[0])]
    if "torch+compiled" in found and not shutil.which("g++"):
        found.remove("torch+compiled")  # it writes C++
    return found


def _passed_on(options: Any) -> list[str]:
    """What the processes of the frameworks are told."""
    clock_too = ["--processor-time"] if options.processor_time else []
    return ["--only", options.only, *clock_too]


def _collect(framework: str, threads: int, chosen: list[Case], options: Any) -> None:
    if not any(
        framework in c.frameworks or framework.partition("+")[0] in c.frameworks for c in chosen
    ):
        return
    program = str(Path(sys.argv[0]).resolve())
    arguments = [program, "--worker", framework, "--threads", str(threads), *_passed_on(options)]
    found = json.loads(run_process(arguments, threads).splitlines()[-1])
    for c in chosen:
        if isinstance(found.get(c.name), str):
            c.errors[f"{framework}: {found[c.name]}"] = None
        elif c.name in found:
            c.results.setdefault((framework, threads), []).append(found[c.name])


def _take_turns(names: list[str], threads: int, chosen: list[Case], options: Any) -> None:
    """One process for each framework, all alive; at each case they run in turn, slice by slice.

    Those of one thread are held on one core, the same for all in a turn, another in the next.
    """
    program = [sys.executable, str(Path(sys.argv[0]).resolve()), "--serve"]
    program += ["--threads", str(threads), *_passed_on(options), "--worker"]
    pipe, environment = subprocess.PIPE, environment_of(threads)
    workers = {
        name: subprocess.Popen(
            [*program, name], env=environment, stdin=pipe, stdout=pipe, text=True
        )
        for name in names
    }
    pinned = threads == 1 and hasattr(os, "sched_getaffinity")
    cores = sorted(os.sched_getaffinity(0)) if pinned else []
    for number, c in enumerate(chosen):
        for turn in range(options.slices + 1):  # the first one makes the inputs
            for name, worker in workers.items():
                if name.partition("+")[0] not in c.frameworks:
                    continue
                if cores:
                    os.sched_setaffinity(worker.pid, {cores[turn % len(cores)]})
                if threads > 1:
                    time.sleep(ASLEEP)
                worker.stdin.write(f"{number}\n")
                worker.stdin.flush()
                found = json.loads(worker.stdout.readline())
                if isinstance(found, str):
                    c.errors[f"{name}: {found}"] = None
                elif turn:
                    c.results.setdefault((name, threads), []).append(found)
    for worker in workers.values():
        worker.communicate()


def _serve(framework: str, threads: int, chosen: list[Case]) -> None:
    """Time one slice of the case whose number each line of the standard input says."""
    t = load(framework, threads)
    made: dict[int, Callable[[], Any]] = {}
    for line in sys.stdin:
        number = int(line)
        try:
            if number not in made:
                made.clear()
                f, arguments = chosen[number].make(t)
                f = t.compile(f) if framework.endswith("+compiled") else f
                made[number] = lambda f=f, arguments=arguments: f(*arguments)
            if threads > 1:
                _wake(made[number])
            found: float | str = seconds_per_call(made[number], 1)
        except Exception as error:  # the row shows it
            found = f"{type(error).__name__}: {error}"
        print(json.dumps(found), flush=True)


def _work(framework: str, threads: int, chosen: list[Case]) -> None:
    t = load(framework, threads)
    found: dict[str, float | str] = {}
    for c in chosen:
        if framework.partition("+")[0] in c.frameworks:
            try:
                f, arguments = c.make(t)
                if framework.endswith("+compiled"):
                    f = t.compile(f)
                found[c.name] = seconds_per_call(lambda f=f, arguments=arguments: f(*arguments))
            except Exception as error:  # the other cases still run; the row shows this one
                found[c.name] = f"{type(error).__name__}: {error}"
    print(json.dumps(found))
