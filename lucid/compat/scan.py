"""Which of PyTorch's names a script mentions: read from its text, nothing is run.

Called by run.py for `lucid run --report`. Files beside the script that it imports are read too.
"""

import ast
from collections.abc import Iterator
from pathlib import Path


def names_of(script: Path) -> list[str]:
    """PyTorch's names in the script and in the files beside it that it imports, sorted."""
    found: set[str] = set()
    for path in _files(script):
        tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
        found |= set(_mentioned(tree))
    return sorted(_longest(found))


def _files(script: Path) -> Iterator[Path]:
    """The script and what it imports from its own folder, each once."""
    open_, seen = [script.resolve()], set()
    while open_:
        path = open_.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            base = script.resolve().parent.joinpath(*module.split("."))
            for each in (base.with_suffix(".py"), base / "__init__.py"):
                if each.is_file():
                    open_.append(each)


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def _mentioned(tree: ast.AST) -> Iterator[str]:
    """Full names: imports, and chains of attributes that begin at an imported name."""
    stands_for: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_torch(alias.name):
                    yield alias.name
                    stands_for[alias.asname or "torch"] = alias.name if alias.asname else "torch"
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_torch(node.module or ""):
            for alias in node.names:
                if alias.name == "*":
                    continue
                full = f"{node.module}.{alias.name}"
                yield full
                stands_for[alias.asname or alias.name] = full
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            parts: list[str] = []
            inner: ast.AST = node
            while isinstance(inner, ast.Attribute):
                parts.insert(0, inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name) and inner.id in stands_for:
                yield ".".join([stands_for[inner.id], *parts])


def _is_torch(module: str) -> bool:
    return module == "torch" or module.startswith("torch.")


def _longest(names: set[str]) -> set[str]:
    """Without the names that others go on from: torch.nn where torch.nn.Linear is there."""
    return {n for n in names if not any(other.startswith(n + ".") for other in names)}
