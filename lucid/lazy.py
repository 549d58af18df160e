"""Late loading: `lazy()` for a heavy module, `exports()` for the names of a package.

Called by every file that needs llvmlite, safetensors, rich or a subpackage of Lucid on first use
only, so that `import lucid` stays within 60 ms of `import numpy`. It imports nothing of Lucid.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def lazy(name: str, extra: str = "") -> ModuleType:
    """A stand-in for module `name` that imports it when an attribute is first read.

    Each attribute read is kept in the stand-in, so the second read is an ordinary look-up. `extra`
    names the optional extra of Lucid's package that installs the module; a missing module then
    raises ImportError with the command that helps.

    >>> from lucid.lazy import lazy
    >>> fractions = lazy("fractions")
    >>> fractions.Fraction(1, 2) + fractions.Fraction(1, 3)
    Fraction(5, 6)
    """
    stand_in = _Lazy(name)
    stand_in.__dict__["_extra"] = extra
    return stand_in


def exports(
    package: str, table: dict[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names load on first use.

    `table` maps each public name to the module that has it: `{"save": "lucid.io.save"}`. A name
    that equals the last part of its module, directly under the package, is the module itself.

        __getattr__, __dir__ = exports(__name__, {"nn": "lucid.nn", "save": "lucid.io.save"})
    """
    namespace = sys.modules[package].__dict__

    def __getattr__(name: str) -> Any:
        source = table.get(name)
        if source is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(source)
        value = module if source == f"{package}.{name}" else getattr(module, name)
        namespace[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*namespace, *table})

    return __getattr__, __dir__


class _Lazy(ModuleType):
    """See `lazy`."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__path__":  # asked by importlib; a stand-in is no package
            raise AttributeError(attribute)
        value = getattr(_load(self), attribute)
        self.__dict__[attribute] = value
        return value

    def __setattr__(self, attribute: str, value: Any) -> None:
        setattr(_load(self), attribute, value)
        self.__dict__[attribute] = value

    def __dir__(self) -> list[str]:
        return dir(_load(self))


def _load(stand_in: _Lazy) -> ModuleType:
    name = stand_in.__name__
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        extra = stand_in.__dict__["_extra"]
        if not extra or error.name != name.partition(".")[0]:
            raise
        raise ImportError(
            f"{error.name} is not installed; it comes with `pip install lucid[{extra}]`"
        ) from error
