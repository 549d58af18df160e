"""The documentation in the code: each example runs, each public name has a docstring."""

import doctest
import importlib
import inspect
import pkgutil

import numpy as np
import pytest

import lucid
from lucid.op import records
from lucid.ops.methods import creators, functions

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PUBLIC = (
    "lucid",
    "lucid.amp",
    "lucid.autograd",
    "lucid.data",
    "lucid.datasets",
    "lucid.einops",
    "lucid.distributions",
    "lucid.distributions.constraints",
    "lucid.distributions.kl",
    "lucid.distributions.transforms",
    "lucid.io",
    "lucid.memory",
    "lucid.models",
    "lucid.nn",
    "lucid.nn.functional",
    "lucid.nn.init",
    "lucid.nn.utils",
    "lucid.nn.utils.parametrizations",
    "lucid.nn.utils.parametrize",
    "lucid.nn.utils.prune",
    "lucid.nn.utils.rnn",
    "lucid.optim",
    "lucid.optim.lr_scheduler",
    "lucid.optim.swa_utils",
    "lucid.random",
    "lucid.sparse",
    "lucid.transforms",
    "lucid.transforms.functional",
)
MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(lucid.__path__, "lucid.")
    # Importing the second has an effect: from then on `torch` is Lucid.
    if m.name not in ("lucid.__main__", "lucid.compat.torch")
)


def _examples(name):
    module = importlib.import_module(name)
    return [t for t in doctest.DocTestFinder(exclude_empty=True).find(module) if t.examples]


@pytest.mark.parametrize("name", ["lucid", *MODULES])
def test_examples_run(name):
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    said = []
    for test in _examples(name):
        with lucid.enable_grad():
            runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_examples_of_records_and_methods_run():
    parser, runner = doctest.DocTestParser(), doctest.DocTestRunner(optionflags=OPTIONS)
    texts = {r.__doc__: name for name, r in records().items() if ">>>" in (r.__doc__ or "")}
    made = {**functions, **creators, **vars(lucid.Tensor)}
    texts |= {f.__doc__: name for name, f in made.items() if ">>>" in (f.__doc__ or "")}
    assert len(texts) > 60
    said = []
    for text, name in texts.items():
        runner.run(parser.get_doctest(text, {}, name, None, 0), out=said.append)
    assert not runner.failures, "".join(said)


def test_a_wrong_example_fails():
    test = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, 0)
    runner = doctest.DocTestRunner(optionflags=OPTIONS)
    runner.run(test, out=lambda _: None)
    assert runner.failures == 1


def _public(module):
    names = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
    for name in names:
        value = getattr(module, name)
        if callable(value) and not inspect.ismodule(value):
            yield name, value


def _documentation(value):
    record = getattr(value, "record", value)
    own = vars(record).get("__doc__") if inspect.isclass(record) else record.__doc__
    return own or ""


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    module = importlib.import_module(name)
    bare = [n for n, value in _public(module) if not _documentation(value).strip()]
    assert not bare, f"{name}: no docstring on {', '.join(bare)}"


def test_methods_of_tensors_are_documented():
    for name in list(vars(lucid.Tensor)):
        getattr(lucid.Tensor, name, None)  # what is made on first use is there from now on
    bare = [
        n
        for n, value in vars(lucid.Tensor).items()
        if n[0] != "_"
        and (inspect.isfunction(value) or isinstance(value, property))
        and not (value.__doc__ or getattr(value, "record", None))
    ]
    assert not bare, f"no docstring on {', '.join(bare)}"


@pytest.mark.parametrize("name", ["lucid.nn", "lucid.nn.functional", "lucid.optim"])
def test_what_networks_are_made_of_has_an_example(name):
    module = importlib.import_module(name)
    bare = [
        n
        for n, value in _public(module)
        if ">>>" not in _documentation(value)
        and not (getattr(value, "record", None) and ">>>" in _documentation(value.record))
    ]
    assert not bare, f"{name}: no example for {', '.join(bare)}"


def test_every_function_of_tensors_has_an_example():
    functions.load()
    creators.load()
    every = {**functions, **creators}
    bare = [n for n, value in every.items() if ">>>" not in _documentation(value)]
    assert not bare, f"no example for {', '.join(bare)}"


def test_functions_are_not_hidden_by_modules_of_their_name():
    for name in MODULES:
        importlib.import_module(name)
    x = lucid.tensor([3.0], requires_grad=True)
    (x * x).sum().backward()
    for name in PUBLIC:
        module = importlib.import_module(name)
        table = getattr(module, "__all__", ())
        hidden = [
            n for n in table if inspect.ismodule(getattr(module, n)) and f"{name}.{n}" not in PUBLIC
        ]
        assert not hidden, f"{name}: a module stands for {', '.join(hidden)}"
    assert callable(lucid.autograd.backward)
    lucid.autograd.backward((x * x).sum())
    assert np.array_equal(x.grad.numpy(), [12.0])
