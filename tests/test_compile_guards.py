"""Whatever a compiled function depends on is changed between calls: the result follows eager.

What cannot be guarded or replayed raises TraceError with the line, and changes nothing.
"""

import dataclasses
import datetime
import functools
import random
import time
import types

import numpy as np
import pytest

import lucid
from lucid import nn
from lucid.error import TraceError
from lucid.nn import functional as F

X = lucid.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]])


def same(a, b):
    return lucid.equal(a, b) and a.dtype is b.dtype and a.stride() == b.stride()


def follows(function, *changes, args=(X,), most=None):
    """The compiled function agrees with the function before, between and after the changes."""
    compiled = lucid.compile(function)
    for change in (lambda: None, *changes):
        change()
        for _ in range(2):
            assert same(compiled(*args), function(*args))
    assert compiled.traces <= (most or 1 + len(changes))
    return compiled


# ---- Python values -------------------------------------------------------------------------------

SCALE, TABLE, FLAG = 2.0, {"a": [1.0, {"deep": 2.0}]}, True


def set_global(name, value):
    globals()[name] = value


def test_globals():
    follows(lambda x: x * SCALE, lambda: set_global("SCALE", 3.0), lambda: set_global("SCALE", 3))
    set_global("SCALE", 2.0)


def test_containers_at_depth():
    def deepen():
        TABLE["a"][1]["deep"] = 5.0

    follows(lambda x: x * TABLE["a"][1]["deep"], deepen)

    numbers = [1.0, 2.0]
    follows(lambda x: sum(n * x for n in numbers), lambda: numbers.append(3.0), numbers.pop)
    chosen = {1, 2}
    follows(lambda x: x * len(chosen), lambda: chosen.add(3))


def test_closures_defaults_partials():
    factor = 2.0

    def set_factor():
        nonlocal factor
        factor = 7.0

    follows(lambda x: x * factor, set_factor)

    def scaled(x, by=2.0, *, plus=1.0):
        return x * by + plus

    def set_defaults():
        scaled.__defaults__ = (3.0,)

    def set_named():
        scaled.__kwdefaults__ = {"plus": 5.0}

    follows(lambda x: scaled(x), set_defaults, set_named)

    def other(x, by=2.0, plus=1.0):
        return x - by + plus

    holder = types.SimpleNamespace(call=functools.partial(scaled, by=4.0))
    follows(
        lambda x: holder.call(x),
        lambda: setattr(holder, "call", functools.partial(other, by=4.0)),
    )


class Config:
    size = 3.0

    def __init__(self):
        self.rate = 2.0
        self.inner = types.SimpleNamespace(values=[1.0])

    def apply(self, x):
        return x * self.rate


def test_objects_and_methods():
    c = Config()
    follows(
        lambda x: c.apply(x) * c.inner.values[0] + c.size,
        lambda: setattr(c, "rate", 4.0),
        lambda: c.inner.values.__setitem__(0, 9.0),
        lambda: setattr(Config, "size", 5.0),
        lambda: setattr(c, "size", 6.0),
        lambda: setattr(Config, "apply", lambda self, x: x - self.rate),
        lambda: setattr(c, "apply", lambda x: x + 100),
    )


def test_what_leads_to_itself():
    """Objects and functions that reach themselves are followed once."""
    box = types.SimpleNamespace(scale=2.0)
    box.me, box.others = box, [box]

    def even(n):
        return True if n == 0 else odd(n - 1)

    def odd(n):
        return False if n == 0 else even(n - 1)

    def change():
        box.scale = 3.0

    follows(lambda x: x * box.me.others[0].scale if even(4) else x, change)


@pytest.mark.parametrize("hold", [lambda y: {y}, lambda y: frozenset([y]), lambda y: [y, 1]])
def test_containers_of_what_is_traced_are_not_stored(hold):
    box = types.SimpleNamespace(kept=None)

    def f(x):
        box.kept = hold(x * 2)
        return x

    with pytest.raises(TraceError, match="only a tensor itself can be stored"):
        lucid.compile(f)(X)


def test_code_and_functions_replaced():
    def inner(x):
        return x + 1

    def outer(x):
        return inner(x)

    def swap():
        inner.__code__ = (lambda x: x - 1).__code__

    follows(outer, swap)


def test_monkey_patched_lucid(monkeypatch):
    follows(
        lambda x: F.relu(x),
        lambda: monkeypatch.setattr(F, "relu", lambda x: x * 0.5),
        monkeypatch.undo,
    )
    m = nn.Linear(3, 3)
    follows(
        lambda x: m(x).detach(),
        lambda: monkeypatch.setattr(nn.Linear, "forward", lambda self, x: x @ self.weight),
        monkeypatch.undo,
    )


def test_numpy_contents():
    a = np.array([1.0, 2.0, 3.0], np.float32)

    def write():
        a[0] = 9.0

    follows(lambda x: x * lucid.tensor(a.tolist()), write)


@dataclasses.dataclass
class Batch:
    x: object
    scale: float
    more: dict


def test_dataclass_arguments():
    @lucid.compile
    def f(b):
        return b.x * b.scale + b.more["y"]

    for scale in (1.0, 2.0, 2):
        for y in (X - 1, X + 1):
            assert same(f(Batch(X, scale, {"y": y})), X * scale + y)
    assert f.traces == 3


def test_constants_are_told_apart():
    f = lucid.compile(lambda x, k: x * k)
    x = lucid.tensor([1, 2, 3])
    for k in (1, 1.0, True, 2, 0.0, -0.0):
        assert same(f(x, k), x * k)
    for k in (0.0, -0.0, 0.0):
        assert str(f(lucid.ones(1), k).item()) == str(k)
    holder = types.SimpleNamespace(k=0.0)
    follows(lambda x: (x * holder.k).reciprocal(), lambda: setattr(holder, "k", -0.0))
    assert f(lucid.ones(1), float("nan")).isnan().item()


# ---- modules -------------------------------------------------------------------------------------


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 4)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(4)
        self.factor = 1.0
        self.steps = [1.0]

    def forward(self, x):
        y = self.norm(self.first(x)) * self.factor * self.steps[0]
        return self.drop(y) if self.factor < 5 else y.relu()


def both(make, change, steps=2):
    """The outputs and states of a model and of its compiled twin, after each change."""
    pairs = []
    for compiled in (False, True):
        lucid.manual_seed(3)
        m = make()
        call = lucid.compile(m) if compiled else m
        lucid.manual_seed(4)
        found = []
        for i in range(2):
            if i:
                change(m)
            for _ in range(steps):
                for p in m.parameters():
                    p.grad = None
                y = call(X)
                y.sum().backward() if y.requires_grad else None
                found += [y.detach(), *[b.clone() for b in m.buffers()]]
                found += [p.grad for p in m.parameters() if p.grad is not None]
                found.append(lucid.tensor(float(y.requires_grad)))
        pairs.append(found)
    assert len(pairs[0]) == len(pairs[1])
    assert all(same(a, b) for a, b in zip(*pairs, strict=True))
    return call


def freeze(m):
    for p in m.parameters():
        p.requires_grad_(False)


def assign_data(m):
    m.first.weight.data = lucid.ones(4, 3)


def transpose_data(m):
    m.first.weight.data = lucid.ones(3, 4).t()


def load(m):
    m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()})


def load_assigned(m):
    m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}, assign=True)


CHANGES = {
    "eval": lambda m: m.eval(),
    "attribute": lambda m: setattr(m, "factor", 3.0),
    "branch": lambda m: setattr(m, "factor", 6.0),
    "list": lambda m: m.steps.__setitem__(0, 4.0),
    "forward hook": lambda m: m.first.register_forward_hook(lambda mod, args, y: y * 2),
    "pre-hook": lambda m: m.first.register_forward_pre_hook(lambda mod, args: (args[0] * 2,)),
    "parameter": lambda m: setattr(m.first, "weight", nn.Parameter(lucid.ones(4, 3))),
    "no bias": lambda m: setattr(m.first, "bias", None),
    "data": assign_data,
    "strides": transpose_data,
    "frozen": freeze,
    "submodule": lambda m: setattr(m, "first", nn.Linear(3, 4, bias=False)),
    "another kind": lambda m: setattr(m, "norm", nn.LayerNorm(4)),
    "monkey-patched": lambda m: setattr(m.first, "forward", lambda x: x @ lucid.ones(3, 4)),
    "state": load,
    "state assigned": load_assigned,
    "buffer": lambda m: setattr(m.norm, "running_mean", lucid.ones(4)),
    "momentum": lambda m: setattr(m.norm, "momentum", 0.5),
    "probability": lambda m: setattr(m.drop, "p", 0.1),
    "in place": lambda m: m.first.weight.data.mul_(2),
    "double": lambda m: m.float(),
    "deleted": lambda m: m.first.register_parameter("bias", None),
}


@pytest.mark.parametrize("name", CHANGES)
def test_modules(name):
    call = both(Net, CHANGES[name])
    assert call.traces <= 3


def test_hooks_come_and_go():
    m = Net().eval()
    compiled = lucid.compile(m)
    plain = m(X)
    handle = m.first.register_forward_hook(lambda mod, args, y: y + 1)
    hooked = compiled(X)
    assert same(hooked, m(X)) and not lucid.equal(hooked, plain)
    handle.remove()
    assert same(compiled(X), plain)
    with nn.modules_hook(lambda mod, args, y: y * 2) if hasattr(nn, "modules_hook") else _global():
        assert same(compiled(X), m(X))
    assert same(compiled(X), plain)


def _global():
    from lucid.nn import hooks

    return hooks.register_module_forward_hook(lambda mod, args, y: y * 2)


def test_train_and_eval_in_turn_trace_twice():
    m = Net()
    compiled = lucid.compile(m)
    for _ in range(4):
        m.train()
        compiled(X)
        m.eval()
        assert same(compiled(X), m(X))
    assert compiled.traces == 2


# ---- surroundings and tensors --------------------------------------------------------------------


def test_modes_and_settings():
    w = lucid.randn(3, 3, requires_grad=True)
    compiled = lucid.compile(lambda x: (x @ w) * 0.1)
    assert compiled(X).requires_grad
    with lucid.no_grad():
        assert not compiled(X).requires_grad
    assert compiled(X).requires_grad
    threads = lucid.get_num_threads()
    expected = compiled(X)
    lucid.set_num_threads(1)
    assert same(compiled(X), expected)
    lucid.set_num_threads(threads)
    made = lucid.compile(lambda n: lucid.ones(n) * 0.5)
    assert made(3).dtype is lucid.float32
    lucid.set_default_dtype(lucid.float64)
    assert made(3).dtype is lucid.float64
    lucid.set_default_dtype(lucid.float32)


@pytest.mark.parametrize(
    "y",
    [
        X.double(), X.t().contiguous().t(), lucid.ones(3), X[:1], lucid.ones(2, 1), X.bfloat16(),
        X.clone().requires_grad_(), (X.clone().requires_grad_() * 2), X.long(), X > 0,
        X[:, :1].expand(2, 3), X[0, 0], nn.Parameter(X.clone()),
    ],
)  # fmt: skip
def test_layouts_of_arguments(y):
    def f(x, y):
        return (x + y) * 2

    compiled = lucid.compile(f)
    for b in (X, y, X, y):
        a, c = compiled(X, b), f(X, b)
        assert same(a, c) and a.requires_grad == c.requires_grad
    assert compiled.traces <= 2


def test_autocast():
    m = nn.Linear(3, 3)
    compiled = lucid.compile(m)
    for _ in range(2):
        assert same(compiled(X).detach(), m(X).detach())
        with lucid.autocast("cpu"):
            y = compiled(X)
            assert same(y.detach(), m(X).detach()) and y.dtype is lucid.bfloat16
            assert same(m(X).detach(), compiled(X).detach())
    assert compiled.traces == 2


def test_arguments_that_share_bytes():
    def f(x, y):
        x.add_(1)
        return x * y

    patterns = [
        lambda b: (b[:3], b[:3]),
        lambda b: (b[:3], b[3:6]),
        lambda b: (b[:3], b[1:4]),
        lambda b: (b[1:4], b[:3]),
        lambda b: (b[:3], b.clone()[:3]),
        lambda b: (b[:3], b[2:5]),
    ]
    compiled = lucid.compile(f)
    for pattern in patterns * 2:
        a, b = lucid.arange(6.0), lucid.arange(6.0)
        assert same(compiled(*pattern(a)), f(*pattern(b)))
        assert same(a, b)
    x = lucid.ones(3)
    assert compiled(x, x).tolist() == [4.0] * 3 and compiled(x, lucid.ones(3)).tolist() == [3.0] * 3


def test_windows_of_one_storage_slide():
    tokens = lucid.arange(20.0)
    f = lucid.compile(lambda x, y: (x * 2 - y, x[1:], y))
    for i in range(6):
        x, y = tokens[i : i + 4], tokens[i + 1 : i + 5]
        a, b, c = f(x, y)
        assert a.tolist() == (x * 2 - y).tolist() and b.tolist() == x[1:].tolist() and c is y
        assert b.data_ptr() == x[1:].data_ptr()
    assert f.traces == 1


def test_an_argument_that_is_a_global_or_not():
    p = lucid.ones(3)
    f = lucid.compile(lambda x: x + p)
    assert f(p).tolist() == [2.0] * 3
    assert f(lucid.zeros(3)).tolist() == [1.0] * 3
    assert f(p).tolist() == [2.0] * 3
    g = lucid.compile(lambda x, y: x - y)
    assert g(p, p).tolist() == [0.0] * 3 and g(p, lucid.zeros(3)).tolist() == [1.0] * 3


def test_only_the_flag_of_an_argument_is_read():
    f = lucid.compile(lambda x, y: x * 2 if y.requires_grad else (x * 3 if y.is_leaf else x))
    w = lucid.ones(2, requires_grad=True)
    assert f(X, w).tolist() == (X * 2).tolist()
    assert f(X, w.detach()).tolist() == (X * 3).tolist()
    g = lucid.compile(lambda x, y: x * 2 if y.is_leaf else x * 3)
    assert g(X, w).tolist() == (X * 2).tolist() and g(X, w * 1).tolist() == (X * 3).tolist()


# ---- optimizers ----------------------------------------------------------------------------------

OPTIONS = {
    "lr": lambda m, o: o.param_groups[0].update(lr=0.5),
    "weight decay": lambda m, o: o.param_groups[0].update(weight_decay=0.1),
    "betas": lambda m, o: o.param_groups[0].update(betas=(0.5, 0.6)),
    "amsgrad": lambda m, o: o.param_groups[0].update(weight_decay=0.3, maximize=True),
    "group": lambda m, o: o.add_param_group({"params": [m.extra], "lr": 0.7}),
    "no gradient": lambda m, o: [setattr(p, "grad", None) for p in m.parameters()],
    "zeros": lambda m, o: [setattr(p, "grad", lucid.ones_like(p)) for p in m.parameters()],
    "state": lambda m, o: o.load_state_dict(o.state_dict()),
    "frozen": lambda m, o: m.first.weight.requires_grad_(False),
    "model state": lambda m, o: load(m),
}


@pytest.mark.parametrize("clears", [True, False])
@pytest.mark.parametrize("name", OPTIONS)
def test_optimizers(name, clears):
    results = []
    for compiled in (False, True):
        lucid.manual_seed(0)
        m = Net()
        m.extra = nn.Parameter(lucid.ones(4))
        own = [p for n, p in m.named_parameters() if n != "extra"]
        o = lucid.optim.Adam(own, lr=0.1)

        def step(x, m=m, o=o):
            if clears:
                o.zero_grad()
            loss = (m(x) * m.extra).square().mean()
            loss.backward()
            o.step()
            return loss

        call = lucid.compile(step) if compiled else step
        found = []
        for i in range(6):
            if i == 3:
                OPTIONS[name](m, o)
            found.append(call(X).detach())
        found += [p.detach() for p in m.parameters()]
        found += [p.grad for p in m.parameters() if p.grad is not None]
        found += [lucid.tensor(float(o.state[p]["step"])) for p in own if o.state[p]]
        results.append(found)
    assert len(results[0]) == len(results[1])
    assert all(same(a, b) for a, b in zip(*results, strict=True))


# ---- what is stored in older objects -------------------------------------------------------------


class Cached(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("state", lucid.zeros(3))
        self.last = None

    def forward(self, x):
        self.state = self.state * 0.5 + x.sum(0)
        self.last = x * 2
        return x + self.state


def test_tensors_stored_on_modules():
    m, n = Cached(), Cached()
    compiled = lucid.compile(m)
    for _ in range(4):
        y = compiled(X)
        assert same(y, n(X)) and same(m.state, n.state) and same(m.last, n.last)
        assert m.state is m._buffers["state"] and "state" in m.state_dict()
    assert compiled.traces <= 2  # `last` was no tensor before the first call
    before = compiled(X)
    m.state = lucid.ones(3)
    n.state = lucid.ones(3)
    assert same(compiled(X), n(X)) and not lucid.equal(before, compiled(X))


def test_lazy_initialisation():
    class Lazy:
        mask = None

    holder, other = Lazy(), Lazy()

    def f(x, h):
        if h.mask is None:
            h.mask = lucid.tensor([1.0, 0.0, 1.0])
            return x * h.mask + 1
        return x * h.mask

    compiled = lucid.compile(f)
    for _ in range(3):
        assert same(compiled(X, holder), f(X, other))
    assert compiled.traces == 2


COUNT, LOG = 0, []


class Counter(nn.Module):
    def __init__(self):
        super().__init__()
        self.count, self.items, self.named = 0, [], {}
        self.array = np.zeros(2)

    def number(self, x):
        self.count += 1
        return x

    def append(self, x):
        self.items.append(x * 2)
        return x

    def nested(self, x):
        self.items = [x * 2]
        return x

    def item(self, x):
        self.array[0] += 1
        return x


def count_globally(x):
    global COUNT
    COUNT += 1
    return x


def log(x):
    LOG.append(x)
    return x


def counting_closure():
    count = 0

    def f(x):
        nonlocal count
        count += 1
        return x * 2

    return f


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: Counter().number, r"Counter\.count .*test_compile_guards.py:\d+"),
        (lambda: Counter().append, r"item of a list .*test_compile_guards.py:\d+"),
        (lambda: Counter().nested, r"Counter\.items .*test_compile_guards.py:\d+"),
        (lambda: Counter().item, r"item of a ndarray .*test_compile_guards.py:\d+"),
        (lambda: count_globally, r"global COUNT .*test_compile_guards.py:\d+"),
        (lambda: log, r"item of a list .*test_compile_guards.py:\d+"),
        (counting_closure, r"variable of an outer function .*test_compile_guards.py:\d+"),
    ],
)
def test_stores_that_cannot_be_replayed(make, said):
    f = make()
    owner = getattr(f, "__self__", None)
    with pytest.raises(TraceError, match=said):
        lucid.compile(f)(X)
    assert COUNT == 0 and not LOG
    if owner is not None:
        assert owner.count == 0 and owner.items == [] and owner.array[0] == 0


def test_stores_to_what_a_cached_property_made():
    class Model:
        @functools.cached_property
        def bank(self):
            return []

    model = Model()
    assert model.bank == []

    def f(x):  # whose code does not name the attribute
        getattr(model, "ba" + "nk").append(x)
        return x

    with pytest.raises(TraceError, match=r"item of a list .*test_compile_guards.py:\d+"):
        lucid.compile(f)(X)
    assert model.bank == []


def test_stores_to_arguments():
    def f(box):
        box["y"] = box["x"] * 2
        return box["x"]

    box = {"x": X}
    with pytest.raises(TraceError, match="argument that is a list, dict or dataclass"):
        lucid.compile(f)(box)
    assert list(box) == ["x"]


# ---- what cannot be traced -----------------------------------------------------------------------

NUMPYS = np.random.default_rng(0)
np.random.rand()

REFUSED = {
    "item": lambda x: x.sum().item(),
    "float": lambda x: float(x.sum()),
    "bool": lambda x: x if x.sum() > 0 else -x,
    "tolist": lambda x: x.tolist(),
    "numpy": lambda x: x.numpy(),
    "nonzero": lambda x: x.nonzero(),
    "mask": lambda x: x[x > 0],
    "time": lambda x: x * time.time(),
    "clock": lambda x: x * time.perf_counter(),
    "now": lambda x: x * datetime.datetime.now().year,
    "random": lambda x: x * random.random(),
    "randint": lambda x: x * random.randint(1, 9),
    "numpy.random": lambda x: x * np.random.standard_normal(),
    "numpy's": lambda x: x * NUMPYS.standard_normal(),
    "seed": lambda x: lucid.manual_seed(0) and x,
    "print": lambda x: print(x) or x,
    "string": lambda x: f"{x}" and x,
    "set": lambda x: {x},
    "object": lambda x: types.SimpleNamespace(x=x),
    "generated": lambda x: (x for _ in range(2)),
    "requires_grad": lambda x: x.requires_grad_(),
    "data": lambda x: setattr(x, "data", x * 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, capsys):
    x = X.clone()
    state, version = lucid.get_rng_state(), x._version
    with pytest.raises(TraceError) as told:
        lucid.compile(REFUSED[name])(x)
    if name not in ("numpy's", "set", "object", "generated"):
        assert "test_compile_guards.py:" in str(told.value), str(told.value)
    assert not x.requires_grad and same(x, X) and x._version == version
    assert lucid.equal(state, lucid.get_rng_state())


def test_a_failed_trace_changes_nothing():
    lucid.manual_seed(0)
    m = Net()
    o = lucid.optim.Adam(m.parameters(), lr=0.1)
    m(X).sum().backward()
    o.step()
    m.last = None

    def step(x):
        o.zero_grad()
        loss = F.dropout(m(x), 0.5).sum()
        loss.backward()
        o.step()
        m.last = loss * 2
        m.first.weight.data.mul_(2)
        m.eval()
        return loss.item()

    tensors = [*m.parameters(), *m.buffers()]
    before = [t.detach().clone() for t in tensors], [t._version for t in tensors]
    grads = [p.grad for p in m.parameters()]
    state, rng = o.state_dict(), lucid.get_rng_state()
    with pytest.raises(TraceError, match="item"):
        lucid.compile(step)(X)
    assert all(lucid.equal(a, t) for a, t in zip(before[0], tensors, strict=True))
    assert before[1] == [t._version for t in tensors]
    assert all(a is p.grad for a, p in zip(grads, m.parameters(), strict=True))
    assert m.training and m.last is None and m.first.training
    assert state["param_groups"] == o.state_dict()["param_groups"]
    assert float(o.state[m.first.weight]["step"]) == 1
    assert lucid.equal(rng, lucid.get_rng_state())


class Scaled(lucid.autograd.Function):
    by = 2.0

    @staticmethod
    def forward(ctx, x):
        return x * 3

    @staticmethod
    def backward(ctx, g):
        return g * Scaled.by * SCALE


@pytest.mark.parametrize("inside", [True, False])
def test_what_a_backward_reads(inside):
    w = lucid.ones(3, requires_grad=True)

    def f(x):
        y = Scaled.apply(x * w).sum()
        if inside:
            y.backward()
        return y

    compiled = lucid.compile(f)
    for name, value in (("by", 2.0), ("by", 5.0), ("SCALE", 3.0), ("SCALE", 2.0)):
        set_global(name, value) if name == "SCALE" else setattr(Scaled, name, value)
        found = []
        for call in (f, compiled):
            w.grad = None
            y = call(X)
            if not inside:
                y.backward()
            found.append(w.grad)
        assert same(*found)
    Scaled.by = 2.0
