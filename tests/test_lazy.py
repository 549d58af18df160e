"""lucid.lazy: nothing is imported before the first read, and what is missing says what helps."""

import gc
import subprocess
import sys

import pytest

from lucid.lazy import lazy, uncollected
from tests.programs import run_python


def test_nothing_is_loaded_before_the_first_read():
    code = (
        "import sys; from lucid.lazy import lazy; m = lazy('fractions');"
        "assert 'fractions' not in sys.modules; m.Fraction; assert 'fractions' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_attributes_are_those_of_the_module():
    import fractions

    stand_in = lazy("fractions")
    assert stand_in.Fraction is fractions.Fraction
    assert "Fraction" in dir(stand_in)
    with pytest.raises(AttributeError):
        stand_in.no_such_name  # noqa: B018


def test_missing_module_names_the_extra():
    with pytest.raises(ImportError, match=r"pip install lucid\[scipy\]"):
        lazy("module_that_nobody_has", extra="scipy").anything  # noqa: B018
    with pytest.raises(ModuleNotFoundError):
        lazy("module_that_nobody_has").anything  # noqa: B018


def test_exports_load_on_first_use(tmp_path, monkeypatch):
    package = tmp_path / "parcel"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from lucid.lazy import exports\n"
        "__getattr__, __dir__ = exports(__name__, {'sub': 'parcel.sub', 'thing': 'parcel.sub'})\n"
    )
    (package / "sub.py").write_text("thing = object()\n")
    monkeypatch.syspath_prepend(tmp_path)
    import parcel

    assert "parcel.sub" not in sys.modules
    assert {"sub", "thing"} <= set(dir(parcel))
    assert parcel.thing is parcel.sub.thing
    with pytest.raises(AttributeError, match="no attribute 'other'"):
        parcel.other  # noqa: B018


def test_the_collector_comes_back():
    @uncollected()
    def inside(wrong=False):
        assert not gc.isenabled()
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
        if wrong:
            raise ValueError

    inside()
    with pytest.raises(ValueError):
        inside(wrong=True)
    assert gc.isenabled()
    gc.disable()
    try:
        inside()
        assert not gc.isenabled()  # it was not theirs to enable
    finally:
        gc.enable()


def test_importing_lucid_loads_little():
    """What NumPy has not loaded already: `import lucid` is to cost less than 60 ms."""
    code = """
        import sys, numpy
        before = set(sys.modules)
        import lucid
        for name in ("llvmlite", "ml_dtypes", "pathlib", "importlib.resources", "tempfile", "rich"):
            assert name not in set(sys.modules) - before, name
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr
