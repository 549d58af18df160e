"""Late loading: `lazy()` for a heavy module, `exports()` for the names of a package,
`after_import()` for what follows the import of another library, and `uncollected()` around all
that makes many objects at once.

Called by every file that needs llvmlite, safetensors, rich or a subpackage of Lucid on first use
only, so that `import lucid` stays within 60 ms of `import numpy`. It imports nothing of Lucid.
"""

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
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
    package: str, table: dict[str, str], made: Mapping[str, Callable[[], Any]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names load on first use.

    `table` maps each public name to the module that has it: `{"save": "lucid.io.save"}`. A name
    that equals the last part of its module, directly under the package, is the module itself.
    `made` has names whose values are made by a function.

        __getattr__, __dir__ = exports(__name__, {"nn": "lucid.nn", "save": "lucid.io.save"})
    """
    namespace = sys.modules[package].__dict__
    made = made or {}

    def __getattr__(name: str) -> Any:
        if name == "__all__":  # what `import *` takes: all but modules
            modules = [n for n, source in table.items() if source == f"{package}.{n}"]
            modules += [n for n, value in namespace.items() if isinstance(value, ModuleType)]
            return [n for n in __dir__() if n[0] != "_" and n not in modules]
        if name in made:
            value = made[name]()
        elif (source := table.get(name)) is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        else:
            module = importlib.import_module(source)
            value = module if source == f"{package}.{name}" else getattr(module, name)
        namespace[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*namespace, *table, *made})

    return __getattr__, __dir__


@contextmanager
def uncollected() -> Iterator[None]:
    """Without garbage collection, for what makes much that stays: to look through it a dozen times
    takes a tenth of an import, and a quarter of a trace."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def after_import(name: str, module: str, function: str) -> None:
    """Call `module.function()` as soon as module `name` is imported: at once if it is already."""
    if name in sys.modules:
        getattr(importlib.import_module(module), function)()
    else:
        sys.meta_path.insert(0, _After(name, module, function))  # type: ignore[arg-type]


class _After:  # a MetaPathFinder: importlib.abc would load thirty modules
    """Waits for one module. It is asked for every import, so it says no quickly."""

    def __init__(self, name: str, module: str, function: str):
        self.name = name
        self.then = module, function

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)  # its work is done, and the search below must not find it
        spec = _finder.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, self.then)  # type: ignore[assignment]
        return spec


class _Then:
    """A loader that calls a function after the module has run; else it is the one it stands for."""

    def __init__(self, loader: Any, then: tuple[str, str]):
        self.loader = loader
        self.then = then

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.loader, attribute)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        where, function = self.then
        getattr(importlib.import_module(where), function)()


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


_finder = lazy("importlib.util")  # which takes a fortieth of the import of Lucid
