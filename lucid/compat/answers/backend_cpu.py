"""`torch.backends.cpu`: which instructions kernels are made for."""

from lucid.lazy import lazy

target = lazy("lucid.backend.cpu.target")


def get_cpu_capability() -> str:
    """AVX512, AVX2 or DEFAULT."""
    name = target.target().name.upper()
    return "DEFAULT" if name == "PLAIN" else name
