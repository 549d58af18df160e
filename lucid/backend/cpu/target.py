"""The CPU that machine code is made for: avx512, avx2, or the plain instructions of the machine.

compiler.py builds its LLVM target machine from it; the emitters ask its flags what may be used.
"""

import functools
import platform
from dataclasses import dataclass

from lucid.config import settings
from lucid.lazy import lazy

llvm = lazy("llvmlite.binding")

# The features that each name needs; LLVM's names.
NEEDS = {
    "avx512": ("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx2", "fma", "f16c"),
    "avx2": ("avx2", "fma", "f16c", "bmi", "bmi2"),
    "plain": (),
}


@dataclass(frozen=True)
class Target:
    """What code is generated for. `cpu` and `features` are LLVM's; `flags` holds the names of the
    features that emitters may rely on, "avx512", "avx2", "avx512_bf16" and "avx512_vnni" among
    them. `mad` is one fused operation where "fma" is a flag, a product and a sum elsewhere."""

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
    present = _features()
    is_x86 = platform.machine().lower() in ("x86_64", "amd64")
    able = [name for name, needs in NEEDS.items() if is_x86 and present.issuperset(needs)]
    able = able or ["plain"]
    name = wanted or able[0]
    if name not in able:
        missing = ", ".join(n for n in NEEDS[name] if n not in present) or "an x86-64 processor"
        raise RuntimeError(
            f"LUCID_TARGET={name}: this machine lacks {missing}; it can run {', '.join(able)}"
        )
    if not is_x86 or name == "avx512":
        features = ",".join(sorted(_signed_features()))
        flags = present | {name} if is_x86 else frozenset(("plain",))
        return Target(name, llvm.get_host_cpu_name(), features, frozenset(flags))
    # Named levels instead of the host's model: the same code, and bits, on every machine.
    cpu = "x86-64-v3" if name == "avx2" else "x86-64"
    return Target(name, cpu, "", frozenset((name, *NEEDS[name])))


def _signed_features() -> list[str]:
    table = llvm.get_host_cpu_features()
    return [("+" if there else "-") + feature for feature, there in table.items()]


def _features() -> frozenset[str]:
    return frozenset(f[1:] for f in _signed_features() if f[0] == "+")
