"""Programs at random, eager against compiled: `python tests/random_programs.py --minutes 10`.

A program is a list of Python statements on arguments, parameters, a model and an optimizer. It is
made while it runs, so that each statement fits what is there, and then run anew, uncompiled and
compiled, each in a `World` of its own; whatever can be seen afterwards has to be the same, to the
bit. A program that fails is made smaller before it is shown. test_compile_random.py runs this file.
"""

import argparse
import dataclasses
import faulthandler
import random
import re
import sys
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

import lucid
from lucid.error import TraceError

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.program_maker import Maker  # noqa: E402
from tests.program_worlds import World, flat  # noqa: E402


def picture(tensors):
    """What is compared of them: bits, layouts, histories, who shares bytes with whom."""
    blocks, seen = {}, {}
    for path, x in tensors.items():
        if not isinstance(x, lucid.Tensor):
            seen[path] = x
            continue
        block = blocks.setdefault(id(x._storage), len(blocks))
        values = x.detach().contiguous().view(-1)
        at = values.storage_offset() * x.itemsize
        whole = values._storage.as_numpy(lucid.uint8, (values._storage.nbytes,), (1,))
        raw = whole[at : at + x.numel() * x.itemsize]
        bits = _without_nans(raw.tobytes(), x.dtype)
        seen[path] = (
            tuple(x.shape), x.stride(), x.dtype.name, x.storage_offset(), block, bits,
            x.requires_grad, x.grad_fn is not None, type(x).__name__,
        )  # fmt: skip
    return seen


def _without_nans(raw, kind):
    """The bytes, every NaN being the same one."""
    if not kind.is_floating_point:
        return raw
    values = np.frombuffer(raw, kind.numpy).copy()
    values[np.isnan(values.astype(np.float64))] = np.nan
    return values.tobytes()


def run(program, compiled, pieces=False):
    """The pictures after each call, or the error that it raised. In `pieces`: Python runs between
    native segments."""
    world = World(program)
    exec(compile(program.source(), f"<program {program.seed}>", "exec"), world.space)
    f = world.space["f"]
    if compiled:
        whole = f = lucid.compile(f, fullgraph=not pieces)
        if pieces:
            f = lambda *xs: whole.in_pieces(xs, {})[0]  # noqa: E731
    pictures = []
    for call in range(program.calls):
        changes = not program.sizes  # what is guarded, besides sizes
        world.space["FLAG"] = call != 2 or not changes
        world.space["NUMBER"] = 3 if call >= 3 and changes else 2
        world.space["m"].train(call != 2 or not changes)
        if call and (program.seed % 3 or program.sizes):
            world.arguments = world.fresh(call)
        before = {k: x._version for k, x in world.tensors(()).items() if hasattr(x, "_version")}
        try:
            out = f(*world.arguments)
            given = [world.arguments, *vars_of(world)]
            scope = {**world.space, "out": out, "new": new_of(out, given)}
            for line in program.after:
                exec(line, scope)
        except TraceError:
            raise
        except Exception as error:
            # The results of a call are one Node: writes to them, and a second pass, are refused.
            shared = ("CompiledBackward made, is modified in", "CompiledBackward: its saved",
                      "which backward reads, was modified in place by add_ after")  # fmt: skip
            if any(text in str(error) for text in shared):
                raise TraceError(str(error)) from None
            text = re.sub(r" \(made at [^)]*\)", "", str(error))
            pictures.append((type(error).__name__, text.split(" at ")[0]))
            break
        seen = world.tensors(out)
        world.last = out if program.seed % 2 else ()
        kept = [k for k in before if k.startswith(("argument", "p", "q", "buffer", "m."))]
        now = world.tensors(())
        after = {k: now[k]._version > before[k] for k in kept if k in now}
        pictures.append({**picture(seen), "versions": after, "rng": lucid.get_rng_state().tolist()})
        del out, seen
    return pictures, f


def difference(program, pieces=False, unused=True):
    """What differs between eager and compiled in words, "" where nothing does; "refused: ..."
    where it cannot be compiled. With `unused`, a plan may leave out an index error in something
    that nobody uses: it computes no such thing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected, _ = run(program, False)
        try:
            found, _ = run(program, True, pieces)
        except TraceError as error:
            return f"refused: {error}"
        except Exception:
            return "raised: " + traceback.format_exc()
    for call, (a, b) in enumerate(zip(expected, found, strict=False)):
        if isinstance(a, tuple) or isinstance(b, tuple):
            if isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0]:
                return ""
            late = isinstance(a, tuple) and a[0] in ("IndexError", "ZeroDivisionError")
            if late and isinstance(b, tuple) and b[0] in ("ValueError", "RuntimeError"):
                return ""  # what is wrong with sizes is seen before numbers are looked at
            if isinstance(a, tuple) and "modified in place" in a[1]:
                return ""  # eager keeps an output that the plan keeps a copy of
            if isinstance(b, tuple) and "modified in place" in b[1] and "cond(" in program.source():
                return f"refused: {b[1]}"  # what the gradient of the other branch would read
            if unused and late:
                names = dict.fromkeys(re.findall(r"^\s*(v\d+) = ", program.source(), re.M))
                # What is written over is used by nobody either.
                over = re.compile(r"v\d+\.(fill_|zero_|copy_)\(")
                lines = [line for line in program.lines if not over.match(line)]
                result = f"[{', '.join(names)}]"
                used = dataclasses.replace(program, lines=lines, result=result)
                if not difference(used, pieces, unused=False):
                    return ""
            return f"call {call}: eager {_short(a)}, compiled {_short(b)}"
        for path in {**a, **b}:
            if not _equal(a.get(path), b.get(path)):
                return f"call {call}: {path}: {_told(a.get(path), b.get(path))}"
    return ""


def _short(x):
    return x if isinstance(x, tuple) else "returned"


def _equal(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b)
    return type(a) is type(b) and a == b


def _told(a, b):
    names = ("shape", "strides", "dtype", "offset", "block", "bits", "requires_grad", "history",
             "class")  # fmt: skip
    if not (isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b) == len(names)):
        return f"eager {a!r}, compiled {b!r}"
    parts = []
    for name, x, y in zip(names, a, b, strict=True):
        if x != y:
            if name == "bits" and a[2] == b[2]:
                kind = getattr(lucid, a[2]).numpy
                x, y = np.frombuffer(x, kind)[:8], np.frombuffer(y, kind)[:8]
            parts.append(f"{name}: eager {x}, compiled {y}")
    return "; ".join(parts)


def new_of(out, given):
    """Results with a history that share no bytes with what was given. (A leaf that is used inside
    and outside adds up its gradient in another order.)"""
    known = {id(x._storage) for x in flat(given)}
    found = {id(x): x for x in flat(out) if id(x._storage) not in known}
    return [x for x in found.values() if x.requires_grad and not x.is_leaf]


def vars_of(world):
    space = world.space
    return [space["p"], space["q"], space["buffer"], list(space["m"].parameters())]


def shrink(program, told, pieces=False, seconds=60):
    """A program with fewer parts that fails in the same way, as far as the time allows."""
    kind = told.split(":")[0]
    end = time.monotonic() + seconds

    def fails(candidate):
        try:
            found = difference(candidate, pieces)
        except Exception:
            return False  # it does not run uncompiled
        return found.split(":")[0] == kind

    def smaller(p):
        for i in reversed(range(len(p.lines))):
            yield dataclasses.replace(p, lines=p.lines[:i] + p.lines[i + 1 :])
        if p.after:
            yield dataclasses.replace(p, after=[])
        if p.calls > 1:
            yield dataclasses.replace(p, calls=p.calls - 1)
        names = [n for n in (f"a{i}" for i in range(9)) if n in p.result]
        names += [f"v{i}" for i in range(40) if f"v{i}" in p.result]
        for n in ["None", *names]:
            if p.result != n:
                yield dataclasses.replace(p, result=n)

    progress = True
    while progress:
        progress = False
        for candidate in smaller(program):
            if time.monotonic() > end:
                return program
            if fails(candidate):
                program, progress = candidate, True
                break
    return program


def fuzz(seconds, seed, most=None, stop=True, show=print, patience=0, pieces=False):
    """Random programs for so long; (programs, refused, failures as text). One that takes longer
    than `patience` seconds ends the process, with the stacks of its threads."""
    end = time.monotonic() + seconds
    count = refused = 0
    failures = []
    while time.monotonic() < end and (most is None or count < most):
        program = Maker(seed + count, pieces).make()
        count += 1
        if patience:
            print(f"# {program.seed}", file=sys.stderr, flush=True)
            faulthandler.dump_traceback_later(patience, exit=True)
        try:
            told = difference(program, pieces)
        except Exception:
            told = "raised: the harness: " + traceback.format_exc()
        if told.startswith("refused"):
            refused += 1
            show(f"# {program.seed}: {told}")
        elif told:
            faulthandler.cancel_dump_traceback_later()
            show(f"\n{program.seed}: {told}\n{program}")
            small = shrink(program, told, pieces)
            failures.append(f"{difference(small, pieces)}\n{small}")
            show(f"\n{failures[-1]}\n")
            if stop:
                break
    return count, refused, failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--most", type=int, default=None, help="so many programs at most")
    parser.add_argument("--patience", type=float, default=0, help="seconds for one program")
    parser.add_argument("--pieces", action="store_true", help="fullgraph=False, with values asked")
    parser.add_argument("--go-on", action="store_true", help="after a failure, too")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 30)
    print(f"seed {seed}", flush=True)
    count, refused, failures = fuzz(
        60 * options.minutes, seed, options.most, not options.go_on, patience=options.patience,
        pieces=options.pieces,
    )  # fmt: skip
    print(f"{count} programs, {refused} refused, {len(failures)} failed (seed {seed})")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
