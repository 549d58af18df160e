"""Mutate real checkpoints and load them: python tests/tools/fuzz_checkpoints.py [--count 10000].

Each mutation loads, or raises ValueError (RuntimeError for a device that is not here), within the
memory limit. Anything else stops the run; the file is then written beside the seed's message.
"""

import argparse
import faulthandler
import io
import random
import resource
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import checkpoint_cases as cases  # noqa: E402

import lucid  # noqa: E402

EXTRA = 256 * 2**20  # bytes that a run may take beyond what it started with
SPECIAL = [b"\x00" * 8, b"\xff" * 8, b"\x7f\xff\xff\xff", (2**40).to_bytes(8, "little"), b"\x8b",
           b"(", b".", b"R", b"b", b"Q", b"}", b"cbuiltins\neval\n", b"cos\nsystem\n",
           b"PK\x05\x06"]  # fmt: skip


def seeds() -> dict[str, bytes]:
    """The recorded files, and those that Lucid writes."""
    found = {p.name: p.read_bytes() for p in sorted((ROOT / "golden").glob("*.pt"))}
    for form in ("safetensors", "torch"):
        file = io.BytesIO()
        value = cases.value(lucid)
        for key in ("size", "set", "arguments"):  # which the native format does not hold
            value.pop(key)
        lucid.save(value, file, format=form)
        found[f"saved {form}"] = file.getvalue()
    return found


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The file with one to four changes: bytes, cuts, repeats, numbers, pieces of other places."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(changed) + 1)
        # Structure stands at the beginning and the end; the middle is mostly numbers.
        if rng.random() < 0.6:
            edge = min(len(changed), 3000)
            at = (
                rng.randrange(edge + 1)
                if rng.random() < 0.7
                else len(changed) - rng.randrange(edge + 1)
            )
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 2:
            del changed[at : at + rng.choice((1, 2, 8, 100))]
        elif kind == 3:
            changed[at:at] = rng.choice(SPECIAL)
        elif kind == 4:
            piece = rng.choice(SPECIAL)
            changed[at : at + len(piece)] = piece
        elif kind == 5:
            start = rng.randrange(len(changed) + 1)
            changed[at:at] = changed[start : start + rng.randrange(64)]
        else:
            del changed[at:]
        if not changed:
            break
    return bytes(changed)


def attempt(data: bytes) -> str:
    """ "loads", or the class of the error; raises for an error that is not clean."""
    try:
        lucid.load(io.BytesIO(data))
    except (ValueError, RuntimeError) as error:
        if type(error) not in (ValueError, RuntimeError):
            raise
        return type(error).__name__
    return "loads"


def run(count: int, seed: int, files: dict[str, bytes]) -> dict[str, int]:
    """Outcomes of `count` mutations, over all files in turn."""
    rng = random.Random(seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    names = list(files)
    outcomes: dict[str, int] = {}
    for i in range(count):
        name = names[i % len(names)]
        data = mutated(files[name], rng)
        start = time.monotonic()
        try:
            outcome = attempt(data)
        except BaseException:
            Path("failed.pt").write_bytes(data)
            print(f"mutation {i} of {name}, seed {seed}: written to failed.pt", file=sys.stderr)
            raise
        assert time.monotonic() - start < 10, f"mutation {i} of {name}, seed {seed}: slow"
        outcomes[f"{name}: {outcome}"] = outcomes.get(f"{name}: {outcome}", 0) + 1
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        assert after - before < EXTRA, (
            f"mutation {i} of {name}, seed {seed}: {after - before} bytes"
        )
    return outcomes


def main() -> None:
    faulthandler.enable()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(np.random.SeedSequence().entropy % 2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    for outcome, number in sorted(run(options.count, options.seed, seeds()).items()):
        print(f"{number:7} {outcome}")


if __name__ == "__main__":
    main()
