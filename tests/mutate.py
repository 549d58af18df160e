"""Mutation run: breaks a rule, body, guard or decision at a time; counts the tests that notice.

    python tests/mutate.py [--count 30] [--kinds vjp,body,guard,code] [--only ops/elementwise,write]
                           [--seed 0]

Works on a scratch copy of the project. A mutation is killed when a test fails or hangs; a survivor
is printed with its change: either a test is missing or the change means nothing.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Bodies of records and the steps of reductions and scans, by the names that op.py looks for.
BODIES = {"body", "element", "finish", "init", "combine", "step", "forward", "strides", "shape"}
OPERATORS = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+", ast.Div: "*"}
COMPARISONS = {
    ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">", ast.Eq: "!=", ast.NotEq: "==",
}  # fmt: skip
# Which tests concern a file, most specific first; without an entry all of them do.
TESTS = {
    "lucid/data": ["test_data*.py"],
    "lucid/io": ["test_io*.py"],
    "lucid/optim": ["test_optim*.py", "test_lr*.py", "test_sched*.py"],
    "lucid/backend/cpu/gemm": ["test_gemm*.py"],
    "lucid/backend/cpu/math": ["test_math*.py", "test_vector*.py"],
    "lucid/backend/cpu/conv": ["test_conv_kernels.py", "test_nn_layers.py"],
    "lucid/backend/cpu/sort": ["test_sort.py"],
    "lucid/backend/cpu": ["test_schedule.py", "test_interp.py", "test_launch.py", "test_rec*.py"],
    "lucid/compiler": ["test_compile*.py", "test_control_flow.py"],
    "lucid/ops/elementwise": ["test_records.py", "test_rules.py"],
    "lucid/ops/transcendental": ["test_records.py", "test_rules.py"],
    "lucid/ops/blend": ["test_records.py", "test_rules.py"],
    "lucid/ops/logic": ["test_records.py", "test_rules.py"],
    "lucid/ops/pool": ["test_nn_layers.py", "test_torch_ops.py"],
    "lucid/ops/conv": ["test_nn_layers.py", "test_torch_ops.py", "test_conv*.py"],
    "lucid/ops": ["test_records.py", "test_torch_ops.py", "test_nn_layers.py", "test_rules.py"],
    "lucid/plan": ["test_plan.py", "test_rules.py", "test_records.py", "test_torch_ops.py"],
    "lucid/autograd/engine": ["test_backward.py", "test_history.py", "test_grad_mode_tensors.py"],
    "lucid/autograd/node": ["test_backward.py", "test_history.py", "test_grad_mode_tensors.py"],
    "lucid/write": [
        "test_inplace.py",
        "test_history.py",
        "test_grad_mode_tensors.py",
        "test_to.py",
        "test_eager.py",
    ],
    "lucid/autograd": ["test_grad_mode*.py", "test_autograd*.py", "test_records.py"],
    "lucid/nn": ["test_module.py", "test_nn_layers.py", "test_init.py"],
    "lucid/kernel": ["test_kernel*.py", "test_schedule*.py", "test_interp*.py"],
}
NEVER = {"test_demo.py", "test_layers.py", "test_budget.py", "test_lazy.py", "test_data_workers.py"}


@dataclass(frozen=True)
class Mutation:
    """Replace the text between two offsets of a file."""

    kind: str
    path: str
    line: int
    start: int
    end: int
    new: str

    def apply(self, text: str) -> str:
        return text[: self.start] + self.new + text[self.end :]

    def show(self, text: str) -> str:
        old = " ".join(text[self.start : self.end].split())
        return f"{self.kind:5} {self.path}:{self.line}: {old[:60]} -> {self.new[:60]}"


def mutations(path: str, text: str) -> Iterator[Mutation]:
    """Every mutation of one file."""
    lines = [0]
    for line in text.splitlines(keepends=True):
        lines.append(lines[-1] + len(line.encode()))
    encoded = text.encode()

    def offset(line: int, column: int) -> int:
        return len(encoded[: lines[line - 1] + column].decode())

    def replace(kind: str, node: ast.expr, new: str) -> Mutation:
        assert node.end_lineno is not None and node.end_col_offset is not None
        start = offset(node.lineno, node.col_offset)
        end = offset(node.end_lineno, node.end_col_offset)
        return Mutation(kind, path, node.lineno, start, end, new)

    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.If) and isinstance(node.body[0], ast.Raise):
            yield replace("guard", node.test, "False")
        if not isinstance(node, ast.FunctionDef):
            continue
        kind = _kind(node)
        for inner in ast.walk(node):
            if isinstance(inner, ast.expr):
                for new in _changes(inner) if kind else _decisions(inner):
                    yield replace(kind or "code", inner, new)


def _kind(function: ast.FunctionDef) -> str | None:
    arguments = [a.arg for a in function.args.args]
    # a rule is vjp_x(g, ...) in a record, or a function of the cotangent g beside it
    if function.name.startswith("vjp_") or arguments[:1] == ["g"]:
        return "vjp"
    return "body" if function.name in BODIES else None


def _changes(node: ast.expr) -> Iterator[str]:
    """What an expression of a rule or a body may wrongly be instead."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right = ast.unparse(node.left), ast.unparse(node.right)
        yield f"(({left}) {OPERATORS[type(node.op)]} ({right}))"
        if isinstance(node.op, ast.Mult | ast.Div):
            yield f"({left})"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        yield f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield f"({node.value!r} + 1)"


def _decisions(node: ast.expr) -> Iterator[str]:
    """What any other function may wrongly decide: a comparison, an `and`, a `not`, an offset."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        left, right = ast.unparse(node.left), ast.unparse(node.comparators[0])
        if type(node.ops[0]) in COMPARISONS:
            yield f"({left} {COMPARISONS[type(node.ops[0])]} {right})"
        elif isinstance(node.ops[0], ast.Is | ast.IsNot):
            yield f"({left} {'is' if isinstance(node.ops[0], ast.IsNot) else 'is not'} {right})"
    elif isinstance(node, ast.BoolOp):
        word = " or " if isinstance(node.op, ast.And) else " and "
        yield "(" + word.join(f"({ast.unparse(v)})" for v in node.values) + ")"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"({ast.unparse(node.operand)})"
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        if isinstance(node.right, ast.Constant):
            yield f"({ast.unparse(node.left)})"


def relevant(path: str, scratch: Path) -> list[str]:
    """The test files that concern a file of the package."""
    found: set[Path] = set()
    for prefix, patterns in TESTS.items():
        if path.startswith(prefix):
            for pattern in patterns:
                found |= set((scratch / "tests").glob(pattern))
            break
    chosen = found or set((scratch / "tests").glob("test_*.py"))
    return sorted(str(p.relative_to(scratch)) for p in chosen if p.name not in NEVER)


def run_tests(tests: list[str], scratch: Path, limit: float) -> str:
    """ "passed", "failed" or "hung" """
    environment = os.environ | {
        "PYTHONPATH": str(scratch),
        "LUCID_CACHE_DIR": str(scratch / "code-cache"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    process = subprocess.Popen(
        command, cwd=scratch, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    try:
        process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "hung"
    return "passed" if process.returncode == 0 else "failed"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=30, help="mutations to try (30)")
    parser.add_argument("--kinds", default="vjp,body,guard,code")
    parser.add_argument("--only", default="", help="files whose path contains one of these")
    parser.add_argument("--seed", type=int, default=None, help="which mutations; default: random")
    parser.add_argument("--minimum", type=float, default=0.0, help="fail below this kill rate")
    options = parser.parse_args()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    sources = {
        str(p.relative_to(ROOT)): p.read_text() for p in sorted((ROOT / "lucid").rglob("*.py"))
    }
    kinds = options.kinds.split(",")
    every = [
        m
        for path, text in sources.items()
        if any(only in path for only in options.only.split(","))
        for m in mutations(path, text)
        if m.kind in kinds
    ]
    chosen = random.Random(seed).sample(every, min(options.count, len(every)))
    print(f"{len(chosen)} of {len(every)} mutations, seed {seed}")
    with tempfile.TemporaryDirectory() as directory:
        scratch = Path(directory)
        for part in ("lucid", "tests"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, scratch / part, ignore=ignored)
        for extra in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / extra, scratch / extra)
        limits = {}
        for tests in {tuple(relevant(m.path, scratch)) for m in chosen}:
            start = time.monotonic()
            if run_tests(list(tests), scratch, 1800) != "passed":
                print(f"without a mutation these do not pass: {' '.join(tests)}")
                return 2
            limits[tests] = 60 + 3 * (time.monotonic() - start)
        return _report(chosen, sources, scratch, limits, options.minimum)


def _report(
    chosen: list[Mutation], sources: dict[str, str], scratch: Path, limits: dict, minimum: float
) -> int:
    killed = 0
    for number, m in enumerate(chosen, 1):
        tests = relevant(m.path, scratch)
        (scratch / m.path).write_text(m.apply(sources[m.path]))
        outcome = run_tests(tests, scratch, limits[tuple(tests)])
        (scratch / m.path).write_text(sources[m.path])
        killed += outcome != "passed"
        word = "SURVIVED" if outcome == "passed" else outcome
        print(f"{number:3} {word:8} {m.show(sources[m.path])}", flush=True)
    rate = killed / max(1, len(chosen))
    print(f"killed {killed} of {len(chosen)}: {rate:.0%}")
    return 0 if rate >= minimum else 1


if __name__ == "__main__":
    sys.exit(main())
