"""Matrix products in float32: Lucid against NumPy and PyTorch, on 1 and 2 threads.

    python bench/matmul.py [--rounds 3] [--slices 9] [--threads 1,2] [--json FILE]

Also prints what the first product costs in a process that compiles its kernel and in one that
loads it from the code cache.
"""

import json
import tempfile
from pathlib import Path

from harness import array, case, main, print_table, run_process

SHAPES = [
    (1, 1024, 1024, 1024),
    (1, 512, 768, 3072),
    (1, 64, 784, 256),
    (1, 1, 768, 3072),
    (1, 8, 768, 3072),
    (96, 128, 64, 128),
]


def declare(batch, m, k, n):
    name = f"{m}x{k}x{n}" if batch == 1 else f"{batch}x({m}x{k}x{n})"
    flops = 2.0 * batch * m * k * n

    @case(name, frameworks=("lucid", "torch", "numpy"), flops=flops, target=0.9)
    def product(t):
        lead = (batch,) if batch > 1 else ()
        x, w = array(t, *lead, m, k, seed=1), array(t, *lead, k, n, seed=2)
        return t.matmul, (x, w)


for shape in SHAPES:
    declare(*shape)

FIRST = """
import json, time
import lucid
a, b = lucid.ones(512, 768), lucid.ones(768, 3072)
start = time.perf_counter()
lucid.matmul(a, b)
first = time.perf_counter() - start
start = time.perf_counter()
lucid.matmul(a, b)
print(json.dumps({"first ms": round(first * 1e3, 1),
                  "second ms": round((time.perf_counter() - start) * 1e3, 2)}))
"""


def first_products(options):
    """The first product of a process, with an empty code cache and with a filled one."""
    print("\nthe first product of a process, 512x768x3072")
    table = []
    with tempfile.TemporaryDirectory() as scratch:
        for label in ("compiled", "loaded from the cache"):
            cache = str(Path(scratch) / "cache")
            output = run_process(["-c", FIRST], 1, LUCID_CACHE_DIR=cache)
            table.append({"kernel": label} | json.loads(output.splitlines()[-1]))
    print_table(table)


if __name__ == "__main__":
    main(__doc__, first_products, slices=9)
