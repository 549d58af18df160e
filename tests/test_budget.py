"""Budgets: sizes of files, what `import lucid` loads, and that the project stands on its own."""

import ast
import json
import re
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lucid"
# What the ops stand on: the tensor, the tape, the planner and the language of kernels. The CPU
# backend (emitters, templates, machine code for calls and threads) has a budget of its own:
# docs/notes/size.md.
CORE_FILES = ("autograd/flag.py", "autograd/hold.py", "autograd/mode.py", "autograd/node.py")
CORE_FOLDERS = ("kernel", "plan")
# Heavy or rarely needed: each is loaded by the first use of what needs it.
LATE = (
    "llvmlite", "rich", "safetensors", "scipy", "torch", "multiprocessing", "concurrent.futures",
    "asyncio", "http", "ssl", "sqlite3", "unittest", "lucid.nn", "lucid.optim", "lucid.data",
    "lucid.io", "lucid.show", "lucid.compat", "lucid.amp", "lucid.func", "lucid.autograd.batch",
    "lucid.datasets", "lucid.transforms", "lucid.models", "lucid.sparse", "lucid.einops",
    "lucid.random",
    "lucid.autograd.forward", "lucid.autograd.functional",
)  # fmt: skip
SKIP = {".git", ".venv", "build", "dist", "__pycache__"}


def files(*suffixes: str) -> list[Path]:
    return [
        path
        for path in sorted(ROOT.rglob("*"))
        if path.is_file()
        and (path.suffix in suffixes or path.parent.name == ".ci")
        and not SKIP & set(path.relative_to(ROOT).parts)
        and not any(part.endswith("cache") for part in path.relative_to(ROOT).parts[:-1])
    ]


def length(path: Path) -> int:
    return len(path.read_text().splitlines())


def length_without_docstrings(path: Path) -> int:
    tree = ast.parse(path.read_text())
    inside = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0] if node.body else None
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                inside += (first.end_lineno or first.lineno) - first.lineno + 1
    return length(path) - inside


def test_files_are_small():
    # Tests are read one at a time, by name: their files may be long.
    lengths = {path: length(path) for path in files(".py") if path.parent != ROOT / "tests"}
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > 600]
    assert not long, "above 600 lines:\n" + "\n".join(long)
    median = statistics.median(n for path, n in lengths.items() if PACKAGE in path.parents)
    assert median <= 200, f"the median file of lucid/ has {median} lines, 200 are allowed"


def lines_of(paths: list[Path]) -> int:
    return sum(length_without_docstrings(path) for path in paths)


def test_the_core_is_small():
    above = {"__init__.py", "__main__.py", "random.py"}  # of Lucid's files; they stand on all else
    core = [path for path in PACKAGE.glob("*.py") if path.name not in above]
    core += [PACKAGE / name for name in CORE_FILES]
    for folder in CORE_FOLDERS:
        core += (PACKAGE / folder).rglob("*.py")
    total = lines_of(core)
    assert total < 8000, f"{total} lines below ops/, 8,000 are allowed"


def test_the_backend_does_not_grow():
    total = lines_of(list((PACKAGE / "backend" / "cpu").rglob("*.py")))
    assert total < 10600, (
        f"{total} lines of CPU backend, 10,600 are allowed: see docs/notes/size.md"
    )


def test_import_loads_nothing_heavy():
    code = (
        "import sys, json, numpy; before = set(sys.modules); import lucid;"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    loaded = json.loads(output)
    heavy = [m for m in loaded if any(m == late or m.startswith(late + ".") for late in LATE)]
    assert not heavy, f"import lucid loads {heavy}"


def test_the_project_speaks_of_itself_alone():
    # Written in pieces, so that this file does not name what it forbids.
    forbidden = re.compile(
        "|".join(["/wor" + r"k\b", "/opt/l" + r"v\b", r"\.\./" + r"shared\b", "/tmp/" + "lucid-"])
    )
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(".py", ".pyi", ".md", ".toml", ".sh", ".yml", ".html", ".cfg")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if forbidden.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_readme_and_ci_run_the_same_tests():
    readme = (ROOT / "README.md").read_text()
    assert "pip install . && lucid demo" in readme
    assert re.search(r"<!-- tests -->\n```\n(pip install .*\n)python -m pytest.*\n```", readme)
