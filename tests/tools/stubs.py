"""Writes the type stubs `lucid/__init__.pyi` and `lucid/tensor.pyi` from what the package has.

    python tests/tools/stubs.py [--check]

Ops become functions and methods when records are read, which no type checker can follow; the stubs
say the same statically. `--check` writes nothing and fails where a stub is out of date; the suite
runs it.
"""

import argparse
import importlib
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import lucid  # noqa: E402
from lucid.array import Array  # noqa: E402
from lucid.tensor import Size, Tensor  # noqa: E402

HEADER = '"""{what}. Written by tests/tools/stubs.py; not edited by hand."""\n\n'
BUILTINS = {int: "int", float: "float", bool: "bool", str: "str"}
# Results other than one tensor, where the function itself does not say so.
BOOLS = {"allclose", "equal", "is_tensor", "is_floating_point"}
MANY = {
    "aminmax", "broadcast_tensors", "chunk", "finfo", "iinfo", "max", "median", "meshgrid", "min",
    "mode", "nonzero", "dsplit", "hsplit", "sort", "split", "split_with_sizes", "std_mean",
    "tensor_split", "topk", "type", "unbind", "unique", "unique_consecutive", "unsafe_split",
    "var_mean", "vsplit", "cummax", "cummin", "kthvalue", "tolist", "item", "frexp", "slogdet",
    "__dlpack__", "__dlpack_device__", "__reduce_ex__", "__array__", "register_hook", "storage",
    "untyped_storage", "int_repr", "q_scale", "q_zero_point", "reinforce",
}  # fmt: skip
# Results that a checker should know, by name.
RESULTS = {
    **dict.fromkeys(("chunk", "split", "tensor_split", "unbind", "meshgrid", "broadcast_tensors"),
                    "tuple[Tensor, ...]"),
    **dict.fromkeys(("aminmax", "var_mean", "std_mean"), "tuple[Tensor, Tensor]"),
    "get_num_threads": "_b.int", "_as_numpy": "_numpy.ndarray", "__array__": "_numpy.ndarray",
    **dict.fromkeys(("_nnz", "sparse_dim", "dense_dim"), "_b.int"),
    "promote_types": "_dtype", "get_default_dtype": "_dtype", "numel": "_b.int",
}  # fmt: skip
# Methods whose result depends on whether a dimension is given.
BY_DIM = {"size": "Size", "stride": "tuple[_b.int, ...]"}
MODULES = {"autograd", "data", "io", "memory", "nn", "optim", "show", "utils", "func", "linalg",
           "fft", "signal", "masked", "special", "random", "amp", "distributions", "datasets",
           "transforms", "einops", "models", "sparse", "error"}  # fmt: skip
PLAIN = {"__len__": "int", "__int__": "int", "__index__": "int", "__float__": "float",
         "__bool__": "bool", "__contains__": "bool", "__repr__": "str", "__format__": "str",
         "__setitem__": None, "__hash__": "int"}  # fmt: skip
OVERRIDES = {"__eq__", "__ne__", "__reduce_ex__"}


def annotation(value: Any) -> str:
    """A parameter's type: builtin types are kept, all else is Any."""
    if value in BUILTINS:
        return f"_b.{BUILTINS[value]}"
    if str(value) in BUILTINS.values():
        return f"_b.{value}"
    return "Any"


def parameter(p: inspect.Parameter) -> str:
    star = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
    text = f"{star}{p.name}: {annotation(p.annotation)}"
    if p.default is p.empty:
        return text
    simple = isinstance(p.default, bool | int | str) or p.default is None
    if p.default is None and annotation(p.annotation) != "Any":
        text += " | None"
    return f"{text} = {p.default!r}" if simple else f"{text} = ..."


def signature(function: Any, method: bool) -> str:
    """The parameters of a function, those of a record by its inputs and static parameters."""
    function, in_place = getattr(function, "of", function), hasattr(function, "of")
    record = function if hasattr(function, "optional") else getattr(function, "record", None)
    if record is not None:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        defaults = {**record.optional, **record.defaults}
        given = [
            inspect.Parameter(n, kind, default=defaults.get(n, inspect.Parameter.empty))
            for n in (*record.inputs, *record.statics)
        ]
        if not in_place:
            given.append(inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None))
    else:
        given = list(inspect.signature(function).parameters.values())
    parts, bare = [], True
    for i, p in enumerate(given):
        if p.kind is p.VAR_POSITIONAL:
            bare = False
        if p.kind is p.KEYWORD_ONLY and bare:
            parts.append("*")
            bare = False
        first = method and i == 0 and p.kind is not p.VAR_POSITIONAL
        parts.append("self" if first else parameter(p))
    if method and given and given[0].kind is inspect.Parameter.VAR_POSITIONAL:
        parts.insert(0, "self")
    return ", ".join(parts)


def result(name: str, function: Any) -> str:
    base = name.rstrip("_") if not name.startswith("__") else name
    if name in PLAIN:
        kind = PLAIN[name]
        return "None" if kind is None else f"_b.{kind}"
    if base in RESULTS:
        return RESULTS[base]
    if base in BOOLS or base.startswith("is_"):
        return "_b.bool"
    said = getattr(function, "__annotations__", {}).get("return", "")
    if said is None or str(said) == "None":
        return "None"
    if said in BUILTINS or said in BUILTINS.values():
        return annotation(said)
    if name == "__iter__":
        return "Iterator[Tensor]"
    if name == "numpy":
        return "_numpy.ndarray"
    return "Any" if base in MANY else "Tensor"


def define(name: str, function: Any, method: bool = False) -> str:
    ignored = "  # type: ignore[override]" if method and name in OVERRIDES else ""
    returned = result(name, function)
    return f"def {name}({signature(function, method)}) -> {returned}: ...{ignored}"


PROPERTIES = {
    "shape": "Size", "dtype": "_dtype", "device": "_device", "grad": "Tensor | None",
    "grad_fn": "Any", "data": "Tensor", "names": "Any", "layout": "Any", "output_nr": "_b.int",
}  # fmt: skip


def property_lines(name: str, value: property) -> list[str]:
    said = getattr(value.fget, "__annotations__", {}).get("return")
    kind = PROPERTIES.get(name) or annotation(said)
    if kind == "Any" and name in ("T", "mT", "H", "mH", "real", "imag"):
        kind = "Tensor"
    lines = ["@property", f"def {name}(self) -> {kind}: ..."]
    if value.fset is not None:
        lines += [f"@{name}.setter", f"def {name}(self, value: {kind}) -> None: ..."]
    if value.fdel is not None:
        lines += [f"@{name}.deleter", f"def {name}(self) -> None: ..."]
    return lines


def tensor_stub() -> str:
    """tensor.pyi: every method that the ops attach, with what tensor.py itself defines."""
    lines = [
        "import builtins as _b", "from collections.abc import Iterator",
        "from typing import Any, overload",
        "", "import numpy as _numpy", "", "from lucid.array import Array",
        "from lucid.device import device as _device", "from lucid.dtypes import dtype as _dtype",
        "", "class Size(tuple[_b.int, ...]):", "    def numel(self) -> _b.int: ...", "",
        "class Tensor(Array):", "    def __new__(cls, *args: Any, **kwargs: Any) -> Any: ...",
    ]  # fmt: skip
    skipped = {"__new__", "__module__", "__doc__", "__dict__", "__weakref__", "__slots__"}
    for name in list(vars(Tensor)):
        getattr(Tensor, name, None)  # what is made on first use is there from now on
    for name, value in sorted(vars(Tensor).items()):
        if name in skipped:
            continue
        if isinstance(value, property):
            lines += [f"    {line}" for line in property_lines(name, value)]
        elif isinstance(value, staticmethod):
            inner = signature(value.__func__, False)
            lines += ["    @staticmethod", f"    def {name}({inner}) -> Any: ..."]
        elif name in BY_DIM:
            for given, kind in (("None = None", BY_DIM[name]), ("_b.int", "_b.int")):
                lines += ["    @overload", f"    def {name}(self, dim: {given}) -> {kind}: ..."]
        elif inspect.isfunction(value):
            lines.append(f"    {define(name, value, method=True)}")
        elif name == "__hash__":
            lines.append("    def __hash__(self) -> _b.int: ...")
        elif not callable(value):
            lines.append(f"    {name}: Any")
    lines += ["", "def is_channels_last(lay: Any) -> _b.bool: ..."]
    return HEADER.format(what="The types of lucid/tensor.py") + "\n".join(lines) + "\n"


def package_stub() -> str:
    """__init__.pyi: every public name of `lucid`."""
    imports, lines = [], []
    for name in sorted(n for n in dir(lucid) if not n.startswith("_") or n == "__version__"):
        value = getattr(lucid, name)
        source = getattr(value, "__module__", None)
        if inspect.ismodule(value):
            if name in MODULES:
                imports.append(f"from lucid import {name} as {name}")
        elif source == "lucid.lazy":
            continue  # how names are loaded, not what they are
        elif value is Tensor or value is Size:
            imports.append(f"from lucid.tensor import {name} as {name}")
        elif isinstance(value, lucid.dtype):
            lines.append(f"{name}: _dtype")
        elif _findable(name, value, source):
            imports.append(f"from {source} import {name} as {name}")
        elif callable(value):
            lines.append(define(name, value))
        else:
            kind = annotation(type(value)) if value is not None else "None"
            lines.append(f"{name}: {kind}")
    lines.append("_grad_enabled: _b.bool")
    head = ["import builtins as _b", "from typing import Any", "",
            "from lucid.dtypes import dtype as _dtype"]  # fmt: skip
    body = "\n".join([*head, *imports, "", *lines])
    return HEADER.format(what="The public names of Lucid") + body + "\n"


def _findable(name: str, value: Any, source: str | None) -> bool:
    """Whether a type checker finds the value under its name in its module, and with its types."""
    if source is None or not source.startswith("lucid") or source == "lucid":
        return False
    if source.startswith("lucid.ops") and not inspect.isclass(value):
        return False
    return getattr(importlib.import_module(source), name, None) is value


def formatted(text: str) -> str:
    """The text as `ruff format` leaves it."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "x.pyi", "-"]
    sorted_ = [sys.executable, "-m", "ruff", "check", "--fix", "--select", "I", "--quiet",
               "--stdin-filename", "x.pyi", "-"]  # fmt: skip
    for step in (sorted_, command):
        text = subprocess.run(
            step, input=text, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail where a stub is out of date")
    options = parser.parse_args()
    assert issubclass(Tensor, Array)
    stale = 0
    for path, make in {"__init__.pyi": package_stub, "tensor.pyi": tensor_stub}.items():
        target = ROOT / "lucid" / path
        text = formatted(make())
        if options.check:
            if not target.exists() or target.read_text() != text:
                print(f"lucid/{path} is out of date: run python tests/tools/stubs.py")
                stale = 1
        else:
            target.write_text(text)
    return stale


if __name__ == "__main__":
    sys.exit(main())
