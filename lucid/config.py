"""Settings: one table, read from the environment once, changed by attribute afterwards.

Every other file may import this one; it imports nothing of Lucid.
"""

import os

VERSION = "0.1.0"


def _integer(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name}={text!r}: expected an integer") from None


class Settings:
    """The table of settings. The environment variable of each stands beside it."""

    def __init__(self) -> None:
        # LUCID_DEBUG: 1 kernels run, 2 graphs, 3 loop nests, 4 LLVM IR.
        self.debug = _integer("LUCID_DEBUG", 0)
        # LUCID_NUM_THREADS: 0 means as many as the affinity mask and the cgroup quota allow.
        self.num_threads = _integer("LUCID_NUM_THREADS", 0)
        # LUCID_TRACE_GRAD_MODE: print each change of the grad mode with its line.
        self.trace_grad_mode = _integer("LUCID_TRACE_GRAD_MODE", 0) > 0
        # LUCID_TARGET: avx512, avx2, plain, or empty for the best that this machine has.
        self.target = os.environ.get("LUCID_TARGET", "")
        # LUCID_PREPACK_MB: most megabytes of packed weights of one program, with
        # compile(prepack=True).
        self.prepack_mb = _integer("LUCID_PREPACK_MB", 256)
        # LUCID_PASSES: passes over compiled programs to leave out, as "-same,-assemble".
        self.passes = os.environ.get("LUCID_PASSES", "")
        # LUCID_CACHE_DIR: where machine code is kept; empty means ~/.cache/lucid.
        self.cache_dir = os.environ.get("LUCID_CACHE_DIR", "")
        # LUCID_CACHE_MB: cap of the code cache in MiB; 0 keeps machine code in memory only.
        self.cache_mb = _integer("LUCID_CACHE_MB", 256)
        # Set by autograd.detect_anomaly: 1 Nodes know where they were made, 2 gradients are
        # looked at.
        self.anomaly = 0


settings = Settings()
