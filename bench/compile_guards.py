"""What a call of a compiled function costs before anything is computed: `python bench/...`.

Prints, for a ResNet-18 and a GPT of 6 layers, the time of the key, of the guards, and what a look
at every module costs after one of them has changed.
"""

import timeit
from typing import Any

from models import gpt, resnet

import lucid
from lucid.compiler import _kind, _surroundings
from lucid.compiler.tree import flatten
from lucid.tracing import change


def best(call: Any, number: int = 2000) -> float:
    """Microseconds of the fastest of five rounds."""
    return min(timeit.repeat(call, number=number, repeat=5)) / number * 1e6


def report(name: str, model: Any, x: Any) -> None:
    compiled = lucid.compile(model)
    with lucid.no_grad():
        compiled(x)
        args, kwargs = (x,), {}

        def key() -> tuple:
            leaves, form = flatten((args, kwargs))
            return (*_surroundings(), form, *[_kind(y) for y in leaves])

        runner = compiled.plans[key()][0]
        check = runner.captured.check

        def again() -> bool:
            change()
            return runner.matches([x])

        print(f"{name}: {len(check.terms)} conditions, {len(check.exact)} of them counted")
        print(f"  key    {best(key):7.2f} us")
        print(f"  guards {best(lambda: runner.matches([x])):7.2f} us")
        print(f"  guards {best(again, 200):7.2f} us after a change of some module")
        print(f"  whole  {best(lambda: compiled._known(key(), [x])):7.2f} us")


def main() -> None:
    report("ResNet-18", resnet(lucid, True, 10).eval(), lucid.zeros(1, 3, 8, 8))
    small = gpt(lucid, 64, 16, 48, 6, 6)
    report("GPT, 6 layers", small, lucid.zeros(2, 16, dtype=lucid.int64))


if __name__ == "__main__":
    main()
