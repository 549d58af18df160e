"""What answers `import torch`: modules that look their names up in Lucid.

Called by torch.py and run.py. names.py says which module of Lucid stands for which of PyTorch's,
and the files in answers/ hold what only programs for PyTorch ask for. A name that nothing has
raises AttributeError (ImportError from an import) that says so; used and missing names are kept
for `lucid run --report`.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from importlib.metadata import Distribution, DistributionFinder
from types import ModuleType
from typing import Any

from lucid.compat.names import MODULES, NEEDS, REFUSED

ALIAS = "lucid.compat.torch"  # under which the same modules are found
used: dict[str, None] = {}  # in the order of the first use
missing: dict[str, None] = {}

_answers: dict[str, "Answer"] = {}
_absent = object()


class Answer(ModuleType):
    """A module of PyTorch's name, whose attributes are found in Lucid on first use."""

    def __init__(self, name: str, sources: Sequence[str]):
        super().__init__(name, f"{name}, answered by Lucid.")
        self.__dict__["__path__"] = []  # a package, so that submodules are asked for
        self.__dict__["_sources"] = sources

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__") and name != "__version__":
            raise AttributeError(name)
        value = self._find(name)
        full = f"{self.__name__}.{name}"
        if value is _absent:
            missing[full] = None
            raise AttributeError(f"{full} is not in Lucid")
        used[full] = None
        self.__dict__[name] = value
        return value

    def _find(self, name: str) -> Any:
        full = f"{self.__name__}.{name}"
        own, *others = [_loaded(source) for source in self._sources]
        value = getattr(own, name, _absent)
        if value is _absent and full in MODULES:
            value = _module(full)
        for source in others:
            if value is not _absent:
                break
            value = getattr(source, name, _absent)
        return value

    def __dir__(self) -> list[str]:
        names = {name for source in self._sources for name in dir(_loaded(source))}
        start = self.__name__ + "."
        names |= {m[len(start) :] for m in MODULES if m.startswith(start)}
        return sorted(n for n in names if "." not in n)


def _loaded(source: str) -> Any:
    """The module of Lucid, or None where it has no such module."""
    if not source:
        return None
    found = sys.modules.get(source)
    if found is None:
        parent = source.rpartition(".")[0]
        if parent and _loaded(parent) is None:
            return None
        if importlib.util.find_spec(source) is None:
            return None
        found = importlib.import_module(source)
    return found


def answer(name: str) -> Answer:
    """The module for PyTorch's `name`."""
    found = _answers.get(name)
    if found is None:
        found = _answers[name] = Answer(name, MODULES[name])
    return found


def _module(full: str) -> Any:
    """A submodule that is there without being imported, as PyTorch's are."""
    if not any(_loaded(source) for source in MODULES[full]):
        return _absent
    return answer(full)


def refusal(name: str) -> str:
    """Why PyTorch's module `name` is not to be had here; "" where it may be."""
    libraries = NEEDS.get(name, ())
    if libraries and all(importlib.util.find_spec(library) is None for library in libraries):
        return f"it needs {' or '.join(libraries)}: pip install {libraries[0]}"
    return REFUSED.get(name, "")


class Installed(Distribution):
    """PyTorch as an installed package: libraries ask for its version before they import it."""

    def read_text(self, filename: str) -> str | None:
        if filename != "METADATA":
            return None
        return f"Metadata-Version: 2.1\nName: torch\nVersion: {answer('torch').__version__}\n"

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"{path}: Lucid answers for torch, whose files are not here")


class Finder(DistributionFinder, Loader):
    """Answers imports of PyTorch, of `torch` itself only once it is installed."""

    active = False

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        name = fullname
        if fullname.startswith(ALIAS + "."):
            name = "torch" + fullname[len(ALIAS) :]
        elif not self.active or not (fullname == "torch" or fullname.startswith("torch.")):
            return None
        reason = refusal(name)
        if reason:
            missing[name] = None
            raise ImportError(f"{name}: {reason}", name=name)
        if name not in MODULES or not any(_loaded(source) for source in MODULES[name]):
            missing[name] = None
            raise ModuleNotFoundError(f"{name} is not in Lucid", name=name)
        return ModuleSpec(fullname, self, is_package=True)

    def find_distributions(
        self, context: DistributionFinder.Context | None = None
    ) -> Iterable[Distribution]:
        """`importlib.metadata.version("torch")`."""
        return [Installed()] if self.active and context and context.name == "torch" else []

    def create_module(self, spec: ModuleSpec) -> Answer:
        name = spec.name
        name = "torch" + name[len(ALIAS) :] if name.startswith(ALIAS) else name
        used[name] = None
        return answer(name)

    def exec_module(self, module: ModuleType) -> None:
        pass  # its names are found when they are asked for


_finder = Finder()


def install(replace: bool = True) -> None:
    """Answer `import torch` with Lucid from now on. ImportError where PyTorch is imported already
    (without `replace`: nothing happens then)."""
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    present = sys.modules.get("torch")
    if present is None or isinstance(present, Answer):
        _finder.active = True
    elif replace:
        raise ImportError("lucid.compat: PyTorch is imported already, so `torch` is not Lucid")


def uninstall() -> None:
    """Let `import torch` find PyTorch again; modules that were imported stay what they are."""
    _finder.active = False
    for name in [n for n, m in sys.modules.items() if isinstance(m, Answer)]:
        if not name.startswith("lucid."):
            del sys.modules[name]


def exists(full: str) -> bool:
    """Whether Lucid has PyTorch's name, with nothing noted for the report."""
    parts = full.split(".")
    for end in range(len(parts), 0, -1):
        module = ".".join(parts[:end])
        if refusal(module):
            return False
        if module in MODULES and any(_loaded(source) for source in MODULES[module]):
            return _has(answer(module), parts[end:])
    return False


def _has(value: Any, names: Sequence[str]) -> bool:
    for name in names:
        value = value._find(name) if isinstance(value, Answer) else getattr(value, name, _absent)
        if value is _absent:
            return False
    return True


def noted() -> Iterator[tuple[str, bool]]:
    """All names that were asked for, and whether Lucid has them."""
    yield from ((name, True) for name in used)
    yield from ((name, False) for name in missing)
