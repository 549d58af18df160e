"""The order of the files: each imports only from those above it, without cycles, at its top.

Parses every file of the package; nothing is executed. ROWS is the table of the layout.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lucid"

# From the bottom up. A module belongs to the row with the longest name that it starts with; within
# a row anything may be imported that makes no cycle.
ROWS = [
    ["lucid.lazy", "lucid.config", "lucid.dtypes", "lucid.device", "lucid.error", "lucid.lines"],
    ["lucid.kernel"],
    ["lucid.backend"],
    ["lucid.storage", "lucid.memory", "lucid.layout"],  # their blocks come from backend/cpu/memory
    ["lucid.extent", "lucid.array", "lucid.autograd.flag", "lucid.pairing", "lucid.caches"],
    ["lucid.op", "lucid.graph"],
    ["lucid.plan"],
    ["lucid.autograd.hold", "lucid.autograd.mode", "lucid.autograd.node", "lucid.autograd.pile"],
    [
        "lucid.tracing",
        "lucid.autograd.packing",
        "lucid.caches",
        "lucid.apply",
        "lucid.fused",
        "lucid.tensor",
        "lucid.write",
    ],
    ["lucid.ops", "lucid.printing"],
    ["lucid.autograd"],
    ["lucid.compiler"],
    ["lucid"],  # the package itself: what users build with is loaded late from it, and may use it
    ["lucid.func", "lucid.einops", "lucid.random"],
    ["lucid.nn", "lucid.optim", "lucid.data", "lucid.io", "lucid.amp", "lucid.show", "lucid.utils"],
    ["lucid.signal", "lucid.linalg", "lucid.fft", "lucid.special", "lucid.masked"],
    ["lucid.datasets", "lucid.transforms", "lucid.models", "lucid.sparse"],
    ["lucid.distributions"],
    ["lucid.distributed", "lucid.compat"],
    ["lucid.__main__"],
]
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


FILES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def rank(module: str) -> int:
    """The row of a module; a new top-level file has to be given one here."""
    name = module
    while name not in RANK or (name == "lucid" and module != "lucid"):
        name, dot, _ = name.rpartition(".")
        if not dot:
            pytest.fail(f"{module} stands in no row of the layout: add it to ROWS")
    return RANK[name]


def imports_of(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the file is loaded: those under `if TYPE_CHECKING` do not."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            stack += node.orelse
        else:
            stack += ast.iter_child_nodes(node)


def targets_of(module: str, node: ast.Import | ast.ImportFrom) -> set[str]:
    """The modules of Lucid that an import statement names."""
    if isinstance(node, ast.Import):
        names = {alias.name for alias in node.names}
    else:
        base = node.module or ""
        if node.level:
            package = module if FILES[module].name == "__init__.py" else module.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = f"{package}.{base}" if base else package
        names = set()
        for alias in node.names:
            inner = f"{base}.{alias.name}"
            names.add(inner if inner in FILES else base)
    return {name for name in names if name.partition(".")[0] == "lucid"}


@functools.cache
def graph() -> dict[str, dict[str, int]]:
    """For every module, the modules it imports and the line of the statement."""
    edges: dict[str, dict[str, int]] = {}
    for module, path in FILES.items():
        edges[module] = {}
        for node in imports_of(tree_of(path)):
            for target in targets_of(module, node):
                edges[module].setdefault(target, node.lineno)
    return edges


def test_imports_go_only_downwards():
    wrong = [
        f"{FILES[module].relative_to(ROOT)}:{line} imports {target}, which stands above it"
        for module, targets in graph().items()
        for target, line in targets.items()
        if rank(target) > rank(module)
    ]
    assert not wrong, "\n".join(wrong)


def test_there_are_no_cycles():
    edges = graph()
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> None:
        if module in path:
            pytest.fail("import cycle: " + " -> ".join([*path[path.index(module) :], module]))
        if module in done:
            return
        for target in edges.get(module, ()):
            if target != module:
                visit(target, [*path, module])
        done.add(module)

    for module in edges:
        visit(module, [])


def test_imports_stand_at_the_top():
    wrong = []
    for path in FILES.values():
        tree = tree_of(path)
        inner = (node for node in tree.body if not isinstance(node, ast.If | ast.Try | ast.With))
        for outer in inner:
            for node in ast.walk(outer):
                late = isinstance(node, ast.Import | ast.ImportFrom) and node is not outer
                if late:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}: use lazy() instead")
    assert not wrong, "\n".join(wrong)


def test_every_file_says_what_lives_there():
    silent = [
        str(path.relative_to(ROOT))
        for path in FILES.values()
        if path.read_text().strip() and not ast.get_docstring(tree_of(path))
    ]
    assert not silent, f"files without an opening docstring: {silent}"
