"""`torch.ao.quantization`: names that libraries import; there is no quantization, using one raises.

Called by finder.py.
"""

from typing import Any

from lucid.compat.answers.refuse import refused, refused_class

_WHY = "Lucid has no quantization"
_CLASSES = ("QuantStub", "DeQuantStub", "QuantWrapper", "QConfig", "FakeQuantize", "ObserverBase")


def __getattr__(name: str) -> Any:
    """A class or function that raises when it is used."""
    if name.startswith("_"):
        raise AttributeError(name)
    full = f"torch.ao.quantization.{name}"
    made = refused_class(full, _WHY) if name in _CLASSES else refused(full, _WHY)
    globals()[name] = made
    return made
