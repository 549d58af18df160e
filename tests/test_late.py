"""Families of ops that load on first use: `import lucid` leaves them out, and nobody can tell."""

import json
import os
import subprocess
import sys
import threading
from typing import Any

import pytest

import lucid
from lucid.op import find, records
from lucid.ops import creators, functions, tables
from lucid.ops.late import Late, Member
from lucid.tensor import Tensor


def fresh(code: str) -> str:
    """What a fresh process prints that runs this code."""
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert made.returncode == 0, made.stderr
    return made.stdout


def test_import_leaves_them_out():
    loaded = json.loads(fresh("import lucid, sys, json; print(json.dumps(list(sys.modules)))"))
    for module in ("sort", "linalg", "fft", "complex", "numeric", "parts", "calculus", "attention"):
        assert f"lucid.ops.{module}" not in loaded
    assert "lucid.ops.contract" in loaded


def test_every_name_is_found():
    for table in (functions, creators):
        table.load()
        for name in table.late:
            assert callable(table[name]) and getattr(lucid, name) is table[name], name
    for name in (*functions.late, *tables.only_methods, *(f"{n}_" for n in tables.in_place)):
        assert callable(getattr(Tensor, name)), name
        assert not isinstance(vars(Tensor)[name], Member), name  # the method itself from now on
    assert isinstance(Tensor.real, property)
    assert not {*functions.late} & {*creators.late}


def test_public_names_of_a_package():
    code = (
        "import lucid; before = set(dir(lucid)); lucid.sort; lucid.ops.functions.load();"
        "lucid.ops.creators.load(); print(before == set(dir(lucid)), 'sort' in before)"
    )
    assert fresh(code).split() == ["True", "True"]


@pytest.mark.parametrize(
    "expression",
    [
        "lucid.tensor([3.0, 1.0]).sort()[0].tolist() == [1.0, 3.0]",
        "lucid.Tensor.sort(lucid.tensor([3.0, 1.0]))[1].tolist() == [1, 0]",
        "lucid.ones(2).digamma_().shape == (2,)",
        "(lucid.tensor([1 + 2j]) * 1j).imag.tolist() == [1.0]",
        "lucid.linalg.det(lucid.eye(3)).item() == 1.0",
        "lucid.special.gammaln(lucid.ones(1)).item() == 0.0",
        "lucid.gcd(lucid.tensor([6]), 4, out=lucid.empty(1, dtype=lucid.int64)).item() == 2",
        "isinstance(lucid.ones(1), lucid.FloatTensor)",
        "lucid.compile(lambda x: x.sort()[0] * 2)(lucid.tensor([3.0, 1.0])).tolist() == [2.0, 6.0]",
        "lucid.randn(2, dtype=lucid.complex64).is_complex()",
    ],
)
def test_first_use(expression):
    assert fresh(f"import lucid; print({expression})").strip() == "True"


def test_properties_cannot_be_set():
    code = """
import lucid
try:
    lucid.ones(1).real = 1
except AttributeError as error:
    print(error)
"""
    assert "no setter" in fresh(code)


def test_import_of_everything():
    code = "from lucid import *\nprint(sort(tensor([3.0, 1.0]))[0].tolist(), 'nn' in globals())"
    assert fresh(code) == "[1.0, 3.0] False\n"


def test_records_by_name():
    assert fresh("from lucid.op import find; import lucid; print(find('sinc').name)") == "sinc\n"
    assert "sinc" in records()
    with pytest.raises(KeyError, match="no_such_op"):
        find("no_such_op")


def test_first_use_in_a_compiled_function():
    code = """
import lucid
f = lucid.compile(lambda x: lucid.cummax(x, 0)[0] + x.diff().sum())
for n in range(3): f(lucid.ones(4))
report = lucid.explain(f, lucid.ones(4))
print(report.traces, report.reasons)
"""
    assert fresh(code).strip() == "1 ()"  # to find a function is no change of what was traced


def test_members_of_threads_at_once():
    Owner: Any = type("Owner", (), {})
    made: list[object] = []
    start = threading.Barrier(4)
    Owner.member = Member(Owner, "member", lambda: lambda self: 5)

    def read() -> None:
        start.wait(10)
        made.append(Owner().member())

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert made == [5] * 4


def test_late_attributes():
    assert Late("sort", "sort")() is Late("sort", "sort")()
    with pytest.raises(AttributeError, match="absent"):
        Late("sort", "absent")()
    with pytest.raises(ModuleNotFoundError, match="absent"):
        Late("absent", "sort")()
