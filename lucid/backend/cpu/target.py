"""The CPU that machine code is made for: avx512, avx2, or the plain instructions of the machine.

compiler.py builds its LLVM target machine from it; the emitters ask its flags what may be used.
"""

import functools
import platform
import sys
from typing import NamedTuple

from lucid.config import settings
from lucid.lazy import lazy

llvm = lazy("llvmlite.binding")

# The features that each name needs, LLVM's names, and LLVM's name for that level: the same code,
# and bits, on every machine of a level.
NEEDS = {
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "f16c"),
    "avx2": ("avx2", "fma", "f16c", "bmi", "bmi2"),
    "plain": (),
}
LEVELS = {"avx512": "x86-64-v4", "avx2": "x86-64-v3", "plain": "x86-64"}
# What templates may use besides, where the machine has it.
EXTRAS = ("avx512vnni", "avx512bf16", "avx512fp16", "avx512vbmi")


class Target(NamedTuple):
    """What code is generated for. `cpu` and `features` are LLVM's; `flags` holds the name and the
    features that emitters may rely on ("fma", "avx512bf16", "avx512vnni", ...). `mad` is one
    fused operation where "fma" is a flag, a product and a sum elsewhere."""

    name: str
    cpu: str
    features: str
    flags: frozenset[str]


def target() -> Target:
    """The target that `settings.target` (LUCID_TARGET) names; the best one where it is empty.

    ValueError for an unknown name, RuntimeError if this machine lacks it.
    """
    return _target(settings.target)


@functools.cache
def _target(wanted: str) -> Target:
    if wanted and wanted not in NEEDS:
        raise ValueError(f"LUCID_TARGET={wanted!r}: expected one of {', '.join(NEEDS)}, or nothing")
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    present = _features() if is_x86 else frozenset()
    able = [name for name, needs in NEEDS.items() if is_x86 and present.issuperset(needs)]
    able = able or ["plain"]
    name = wanted or able[0]
    if name not in able:
        missing = ", ".join(n for n in NEEDS[name] if n not in present) or "an x86-64 processor"
        raise RuntimeError(
            f"LUCID_TARGET={name}: this machine lacks {missing}; it can run {', '.join(able)}"
        )
    if not is_x86:
        features = llvm.get_host_cpu_features().flatten()
        return Target(name, llvm.get_host_cpu_name(), features, frozenset((name,)))
    extras = [x for x in EXTRAS if name == "avx512" and x in present]
    features = ",".join("+" + x for x in extras)
    return Target(name, LEVELS[name], features, frozenset((name, *NEEDS[name], *extras)))


def _features() -> frozenset[str]:
    """The processor's features by LLVM's names; of Linux where possible: LLVM loads slowly."""
    if sys.platform == "linux":
        with open("/proc/cpuinfo", "rb") as file:
            for line in file.read(1 << 14).decode().splitlines():
                if line.startswith("flags"):
                    found = {word.replace("avx512_", "avx512") for word in line.split()}
                    return frozenset(found | {"bmi"} if "bmi1" in found else found)
    return frozenset(f for f, there in llvm.get_host_cpu_features().items() if there)
