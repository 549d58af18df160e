"""nn.Module: registration, traversal, state, hooks, modes, printing, containers."""

import copy
import gc
import pickle
import weakref
from collections import OrderedDict

import numpy as np
import pytest

import lucid
from lucid import nn, tracing
from lucid.nn import hooks


def block(nn=nn):
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))


def array(tensor):
    return tensor.detach().numpy()


class Nested(nn.Module):
    """Two children, a parameter, a persistent and a transient buffer."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(lucid.ones(2))
        self.register_buffer("total", lucid.zeros(2))
        self.register_buffer("scratch", lucid.zeros(1), persistent=False)
        self.inner = nn.Linear(3, 2)
        self.layers = nn.ModuleList([nn.Linear(2, 2), nn.ReLU()])

    def forward(self, x):
        x = self.inner(x)
        for layer in self.layers:
            x = layer(x)
        return x * self.scale


# ---- registration ------------------------------------------------------------------------------


def test_attributes_are_registered_by_their_kind():
    m = Nested()
    assert list(dict(m.named_parameters())) == [
        "scale",
        "inner.weight",
        "inner.bias",
        "layers.0.weight",
        "layers.0.bias",
    ]
    assert list(dict(m.named_buffers())) == ["total", "scratch"]
    assert list(dict(m.named_children())) == ["inner", "layers"]
    assert [n for n, _ in m.named_modules()] == ["", "inner", "layers", "layers.0", "layers.1"]
    assert "scale" not in m.__dict__


def test_reassignment_moves_a_name_between_the_tables():
    m = nn.Module()
    m.x = 3
    m.x = nn.Parameter(lucid.zeros(1))
    assert "x" not in m.__dict__ and list(m._parameters) == ["x"]
    m.x = nn.Linear(1, 1)
    assert list(m._modules) == ["x"] and not m._parameters
    m.x = nn.Buffer(lucid.zeros(1), persistent=False)
    assert list(m._buffers) == ["x"] and not m._modules
    assert m._non_persistent_buffers_set == {"x"} and not m.state_dict()
    m.x = lucid.ones(1)  # an existing buffer takes any tensor, and stays transient
    assert list(m._buffers) == ["x"] and not m.state_dict()
    del m.x
    assert not hasattr(m, "x") and not m._non_persistent_buffers_set


def test_a_plain_tensor_is_an_ordinary_attribute():
    m = nn.Module()
    m.x = lucid.zeros(1)
    assert not list(m.buffers()) and not m.state_dict() and "x" in m.__dict__


def test_buffer_persistence():
    m = nn.Module()
    m.a = nn.Buffer(lucid.zeros(1))
    m.b = nn.Buffer(lucid.zeros(1), persistent=False)
    assert list(m.state_dict()) == ["a"]
    assert type(m.a) is nn.Buffer and not m.a.requires_grad


def test_none_keeps_a_place():
    m = nn.Linear(2, 1, bias=False)
    assert m.bias is None and list(m.state_dict()) == ["weight"]
    m.bias = nn.Parameter(lucid.zeros(1))
    assert list(m.state_dict()) == ["weight", "bias"]
    m.bias = None
    assert list(m.state_dict()) == ["weight"]


def register(what):
    def run(m):
        return getattr(m, f"register_{what[0]}")(*what[1:])

    return run


class Late(nn.Module):
    def __init__(self, value):
        self.x = value


@pytest.mark.parametrize(
    "action, error, message",
    [
        (register(("parameter", 3, None)), TypeError, "parameter name should be a string"),
        (register(("parameter", "a.b", None)), KeyError, "t contain"),
        (register(("parameter", "", None)), KeyError, "t be empty string"),
        (register(("parameter", "forward", None)), KeyError, "attribute 'forward' already exists"),
        (register(("buffer", "inner", None)), KeyError, "attribute 'inner' already exists"),
        (register(("buffer", "q", 3)), TypeError, "cannot assign 'int' object to buffer 'q'"),
        (register(("parameter", "q", 3)), TypeError, "cannot assign 'int' object to parameter"),
        (register(("module", "q", 3)), TypeError, "int is not a Module subclass"),
        (register(("module", "a.b", None)), KeyError, "t contain"),
        (lambda m: setattr(m, "scale", lucid.ones(2)), TypeError, "as parameter 'scale'"),
        (lambda m: setattr(m, "inner", 3), TypeError, "as child module 'inner'"),
        (lambda m: setattr(m, "total", 3), TypeError, "as buffer 'total'"),
        (
            lambda m: m.register_parameter("q", nn.Parameter(lucid.ones(1)) * 2),
            TypeError,
            "nn.Parameter or None required",
        ),
        (lambda m: Late(nn.Parameter(lucid.ones(1))), AttributeError, "before Module.__init__"),
        (lambda m: Late(nn.Linear(1, 1)), AttributeError, "before Module.__init__"),
        (lambda m: Late(nn.Buffer(lucid.ones(1))), AttributeError, "before Module.__init__"),
        (lambda m: m.missing, AttributeError, "'Nested' object has no attribute 'missing'"),
        (lambda m: delattr(m, "missing"), AttributeError, "missing"),
        (lambda m: m(1, 2), TypeError, "positional arguments"),
        (lambda m: nn.Module(3), TypeError, "takes 1 positional argument but 2 were given"),
        (lambda m: nn.Module(a=3), TypeError, "unexpected keyword argument 'a'"),
        (lambda m: nn.Module()(3), NotImplementedError, 'missing the required "forward"'),
        (lambda m: m.train(1), ValueError, "boolean"),
        (lambda m: m.share_memory(), NotImplementedError, "share_memory"),
        (lambda m: nn.Parameter([1.0]), TypeError, "expected a tensor"),
    ],
)
def test_mistakes_are_named(action, error, message):
    with pytest.raises(error, match=message):
        action(Nested())


def test_dir_lists_members():
    names = dir(Nested())
    assert {"scale", "inner", "total", "forward", "training"} <= set(names)
    assert not any(n[0].isdigit() for n in dir(block()))


def test_tied_parameters_and_modules_are_visited_once():
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    m[1].weight = m[0].weight
    assert len(list(m.parameters())) == 3
    assert len(list(m.named_parameters(remove_duplicate=False))) == 4
    assert list(m.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    shared = nn.Linear(1, 1)
    twice = nn.Sequential(shared, shared)
    assert len(list(twice.children())) == 1
    assert [n for n, _ in twice.named_modules()] == ["", "0"]
    assert [n for n, _ in twice.named_modules(remove_duplicate=False)] == ["", "0", "1"]


def test_prefix_and_recurse():
    m = Nested()
    assert [n for n, _ in m.named_parameters("p", recurse=False)] == ["p.scale"]
    assert len(list(m.parameters(recurse=False))) == 1
    assert m.count_parameters(recurse=False) == 2
    assert m.count_parameters() == m.parameter_size == 2 + 8 + 6


def test_look_up_by_path():
    m = Nested()
    assert m.get_submodule("layers.0") is m.layers[0] and m.get_submodule("") is m
    assert m.get_parameter("layers.0.weight") is m.layers[0].weight
    assert m.get_buffer("total") is m.total
    m.set_submodule("layers.1", nn.Tanh())
    assert isinstance(m.layers[1], nn.Tanh)
    for path, message in [("nothing", "has no attribute"), ("scale", "is not an nn.Module")]:
        with pytest.raises(AttributeError, match=message):
            m.get_submodule(path)
    with pytest.raises(AttributeError, match="not an nn.Parameter"):
        m.get_parameter("total")
    with pytest.raises(AttributeError, match="not a buffer"):
        m.get_buffer("scale")


def test_changes_are_counted():
    m = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    seen = []
    for change in (
        lambda: setattr(m, "x", 1),
        lambda: m.eval(),
        lambda: setattr(m, "weight", nn.Parameter(lucid.zeros(2, 2))),
        lambda: delattr(m, "x"),
        lambda: m.register_buffer("b", None),
    ):
        before = m._changed, other._changed
        change()
        assert m._changed > before[0] and other._changed == before[1]
        assert m._changed == tracing.latest_change()
        seen.append(m._changed)
    before = tracing.latest_change()
    m(lucid.zeros(1, 2))
    assert tracing.latest_change() == before
    assert seen == sorted(set(seen))


# ---- modes and conversion ----------------------------------------------------------------------


def test_train_eval_and_apply():
    m = Nested()
    assert m.eval() is m and not any(k.training for k in m.modules())
    m.train()
    assert all(k.training for k in m.modules())
    order = []
    assert m.apply(order.append) is m
    assert order[-1] is m and order[0] is m.inner


def test_zero_grad_and_requires_grad():
    m = nn.Linear(2, 1)
    m(lucid.ones(1, 2)).sum().backward()
    m.zero_grad(set_to_none=False)
    assert not array(m.weight.grad).any()
    m.zero_grad()
    assert m.weight.grad is None
    assert not any(p.requires_grad for p in m.requires_grad_(False).parameters())


def test_casts_keep_parameters_and_integer_buffers():
    m = block()
    weight = m[0].weight
    m(lucid.ones(2, 3)).sum().backward()
    assert m.double() is m
    assert m[0].weight is weight and weight.dtype is lucid.float64
    assert weight.grad.dtype is lucid.float64
    assert m[1].running_mean.dtype is lucid.float64
    assert m[1].num_batches_tracked.dtype is lucid.int64
    for method, dtype in [
        ("float", lucid.float32),
        ("half", lucid.float16),
        ("bfloat16", lucid.bfloat16),
    ]:
        assert getattr(m, method)()[0].bias.dtype is dtype


@pytest.mark.parametrize(
    "arguments",
    [
        lambda: ((lucid.float64,), {}),
        lambda: ((), {"dtype": lucid.float64}),
        lambda: (("cpu", lucid.float64), {}),
        lambda: ((lucid.device("cpu"), lucid.float64, True), {}),
        lambda: ((lucid.zeros(1, dtype=lucid.float64),), {}),
    ],
)
def test_to(arguments):
    args, kwargs = arguments()
    m = nn.Linear(2, 1)
    assert m.to(*args, **kwargs) is m
    assert m.weight.dtype is lucid.float64 and m.weight.requires_grad and m.weight.is_leaf


def test_to_refuses():
    m = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="floating point"):
        m.to(lucid.int64)
    with pytest.raises(TypeError, match="dict"):
        m.to({})
    with pytest.raises(TypeError, match="keyword"):
        m.to(dtypes=lucid.float64)


def test_cast_of_a_parameter_under_an_optimizer():
    m = nn.Linear(2, 1)
    optimizer = lucid.optim.SGD(m.parameters(), lr=1.0)
    m.double()
    m(lucid.ones(1, 2, dtype=lucid.float64)).sum().backward()
    before = array(m.weight).copy()
    optimizer.step()
    np.testing.assert_allclose(array(m.weight), before - 1)


# ---- copies ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_copies_are_independent(copied):
    m = Nested()
    m.inner.weight.requires_grad_(False)
    m.inner.weight.no_decay = True
    twin = copied(m)
    assert repr(twin) == repr(m)
    for (name, a), (_, b) in zip(m.named_parameters(), twin.named_parameters(), strict=True):
        assert a is not b and type(b) is nn.Parameter, name
        np.testing.assert_array_equal(array(a), array(b))
        assert a.requires_grad == b.requires_grad and b.is_leaf
    assert twin.inner.weight.no_decay
    with lucid.no_grad():
        twin.inner.bias.fill_(7)
    assert not (array(m.inner.bias) == 7).any()
    x = lucid.ones(1, 3)
    with lucid.no_grad():
        m.inner.bias.fill_(7)
    np.testing.assert_array_equal(array(m(x)), array(twin(x)))


def test_deepcopy_keeps_ties():
    m = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    m[1].weight = m[0].weight
    twin = copy.deepcopy(m)
    assert twin[0].weight is twin[1].weight is not m[0].weight


def test_modules_die_by_reference_count():
    gc.disable()
    try:
        m = block()
        gone = [weakref.ref(k) for k in m.modules()]
        m(lucid.ones(2, 3)).sum().backward()
        del m
        assert all(reference() is None for reference in gone)
    finally:
        gc.enable()


# ---- state -------------------------------------------------------------------------------------


def test_state_dict_shares_storage_and_is_detached():
    m = Nested()
    state = m.state_dict()
    assert list(state) == [
        "scale",
        "total",
        "inner.weight",
        "inner.bias",
        "layers.0.weight",
        "layers.0.bias",
    ]
    assert not state["scale"].requires_grad
    state["scale"].fill_(5)
    assert (array(m.scale) == 5).all()
    assert m.state_dict(keep_vars=True)["scale"] is m.scale
    assert list(m.state_dict(prefix="p."))[0] == "p.scale"
    assert state._metadata[""] == {"version": 1} and "layers.0" in state._metadata


@pytest.mark.parametrize("mode", [lucid.no_grad, lucid.enable_grad])
def test_load_copies(mode):
    a, b = Nested(), Nested()
    weight = b.inner.weight
    with mode():
        result = b.load_state_dict(a.state_dict())
    assert str(result) == "<All keys matched successfully>"
    assert b.inner.weight is weight and weight.requires_grad and weight.is_leaf
    np.testing.assert_array_equal(array(a.inner.weight), array(b.inner.weight))


def test_load_with_assign():
    a, b = Nested().double(), Nested()
    b.inner.weight.requires_grad_(False)
    b.load_state_dict(a.state_dict(), assign=True)
    assert b.inner.weight.dtype is lucid.float64 and type(b.inner.weight) is nn.Parameter
    assert not b.inner.weight.requires_grad and b.inner.bias.requires_grad
    with lucid.no_grad():
        a.inner.weight.fill_(3)
    assert (array(b.inner.weight) == 3).all()


def test_load_mistakes():
    m = Nested()
    state = m.state_dict()
    del state["scale"], state["inner.bias"]
    state["extra"] = state["inner.other"] = lucid.zeros(1)
    state["inner.weight"] = lucid.zeros(5, 5)
    with pytest.raises(RuntimeError) as caught:
        m.load_state_dict(state)
    message = str(caught.value)
    assert message.startswith("Error(s) in loading state_dict for Nested:\n\t")
    assert 'Missing key(s) in state_dict: "scale", "inner.bias". ' in message
    assert 'Unexpected key(s) in state_dict: "extra", "inner.other". ' in message
    assert "size mismatch for inner.weight: copying a param with shape" in message
    del state["inner.weight"]
    result = m.load_state_dict(state, strict=False)
    assert result.missing_keys == ["scale", "inner.weight", "inner.bias"]
    assert result.unexpected_keys == ["extra", "inner.other"]
    with pytest.raises(TypeError, match="dict-like"):
        m.load_state_dict(3)
    with pytest.raises(RuntimeError, match='parameter named "scale", expected'):
        m.load_state_dict({"scale": [1.0, 2.0]}, strict=False)


def test_transient_buffers_and_scalars():
    m = Nested()
    with pytest.raises(RuntimeError, match='Unexpected key.*"scratch"'):
        m.load_state_dict({**m.state_dict(), "scratch": lucid.zeros(1)})
    s = nn.Module()
    s.x = nn.Parameter(lucid.tensor(0.0))
    s.load_state_dict({"x": lucid.tensor([2.0])})  # as old checkpoints have it
    assert s.x.item() == 2.0


class Extra(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def get_extra_state(self):
        return {"value": self.value}

    def set_extra_state(self, state):
        self.value = state["value"]


def test_extra_state():
    a, b = nn.Sequential(Extra(1)), nn.Sequential(Extra(2))
    assert list(a.state_dict()) == ["0._extra_state"]
    b.load_state_dict(a.state_dict())
    assert b[0].value == 1
    with pytest.raises(RuntimeError, match='Missing key.*"0._extra_state"'):
        b.load_state_dict({})
    with pytest.raises(RuntimeError, match='Unexpected key.*"_extra_state"'):
        nn.Identity().load_state_dict({"_extra_state": 3})


class Renamed(nn.Module):
    _version = 2

    def __init__(self):
        super().__init__()
        self.new = nn.Parameter(lucid.zeros(1))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
        self.loaded_version = local_metadata.get("version")
        if prefix + "old" in state_dict:
            state_dict[prefix + "new"] = state_dict.pop(prefix + "old")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


def test_versions_and_conversion():
    m = nn.Sequential(Renamed())
    old = OrderedDict({"0.old": lucid.ones(1)})
    m.load_state_dict(old)
    assert m[0].new.item() == 1 and m[0].loaded_version is None and list(old) == ["0.old"]
    m.load_state_dict(m.state_dict())
    assert m[0].loaded_version == 2


def test_batch_norm_reads_files_without_a_counter():
    m = nn.BatchNorm1d(2)
    state = {k: v for k, v in m.state_dict().items() if k != "num_batches_tracked"}
    m.load_state_dict(state)
    metadata = OrderedDict({"": {"version": 2}})
    state = OrderedDict(state)
    state._metadata = metadata
    with pytest.raises(RuntimeError, match="num_batches_tracked"):
        m.load_state_dict(state)


def test_state_hooks():
    m, log = Nested(), []
    m.register_state_dict_pre_hook(lambda mod, prefix, keep: log.append(("pre", prefix, keep)))
    m.register_state_dict_post_hook(lambda mod, state, prefix, meta: drop(state, "total"))
    assert "total" not in m.state_dict() and log == [("pre", "", False)]
    m.register_load_state_dict_pre_hook(
        lambda mod, state, prefix, *rest: state.update(total=lucid.ones(2))
    )
    m.register_load_state_dict_post_hook(lambda mod, keys: keys.missing_keys.remove("scale"))
    state = m.state_dict()
    del state["scale"]
    m.load_state_dict(state)
    assert (array(m.total) == 1).all()
    twin = copy.deepcopy(m)
    twin.load_state_dict(state)


def drop(state, key):
    del state[key]


def test_old_state_hook_replaces():
    m = nn.Linear(1, 1)
    m._register_state_dict_hook(lambda mod, state, prefix, meta: {"only": 1})
    assert m.state_dict() == {"only": 1}


# ---- hooks -------------------------------------------------------------------------------------


class Add(nn.Module):
    def forward(self, a, b=0):
        return a + b


def test_forward_hooks():
    m, log = Add(), []
    handles = [
        m.register_forward_pre_hook(lambda mod, args: (args[0] * 2,)),
        m.register_forward_pre_hook(lambda mod, args: args[0] + 1, prepend=True),
        m.register_forward_pre_hook(
            lambda mod, args, kwargs: (args, {"b": kwargs["b"] * 10}), with_kwargs=True
        ),
        m.register_forward_hook(lambda mod, args, out: log.append((args, out))),
        m.register_forward_hook(lambda mod, args, kwargs, out: out + kwargs["b"], with_kwargs=True),
    ]
    assert m(1, b=1) == (1 + 1) * 2 + 10 + 10
    assert log == [((4,), 14)]
    for handle in handles:
        handle.remove()
    assert m(1, b=1) == 2 and not m._hooked
    with m.register_forward_hook(lambda mod, args, out: -out):
        assert m(1) == -1
    assert m(1) == 1


def test_forward_pre_hook_with_kwargs_must_return_a_pair():
    m = Add()
    m.register_forward_pre_hook(lambda mod, args, kwargs: 3, with_kwargs=True)
    with pytest.raises(RuntimeError, match="new_args, new_kwargs"):
        m(1)


def test_always_called_hooks():
    m, log = Add(), []
    m.register_forward_hook(lambda *a: log.append("plain"))
    m.register_forward_hook(lambda *a: log.append(a[2]), always_call=True)
    with pytest.raises(TypeError):
        m(1, "x")
    assert log == [None]

    def fails(*a):
        raise ValueError("in hook")

    m.register_forward_hook(fails, always_call=True)
    with pytest.warns(UserWarning, match="silenced"), pytest.raises(TypeError):
        m(1, "x")


def test_global_hooks():
    log = []
    handles = [
        hooks.register_module_forward_pre_hook(lambda m, a: log.append(("pre", type(m)))),
        hooks.register_module_forward_hook(lambda m, a, o: log.append(("post", type(m)))),
    ]
    try:
        nn.Sequential(nn.Identity())(1)
    finally:
        for handle in handles:
            handle.remove()
    both = (nn.Sequential, nn.Identity)
    assert log == [("pre", both[0]), ("pre", both[1]), ("post", both[1]), ("post", both[0])]
    assert not hooks.global_calls


def test_registration_hooks():
    log = []
    handles = [
        hooks.register_module_parameter_registration_hook(lambda m, n, p: log.append(n)),
        hooks.register_module_buffer_registration_hook(lambda m, n, p: log.append(n)),
        hooks.register_module_module_registration_hook(lambda m, n, p: log.append(n)),
    ]
    try:
        nn.Sequential(nn.BatchNorm1d(1, affine=False), nn.Linear(1, 1))
    finally:
        for handle in handles:
            handle.remove()
    assert set(log) >= {"weight", "bias", "running_mean", "0", "1"}


def test_full_backward_hooks():
    m, log = nn.Linear(2, 1, bias=False), []
    with lucid.no_grad():
        m.weight.copy_(lucid.tensor([[3.0, 5.0]]))

    def pre(mod, grad_output):
        log.append(("pre", grad_output[0].item()))
        return (grad_output[0] * 10,)

    def hook(mod, grad_input, grad_output):
        log.append(("full", array(grad_input[0]).tolist(), grad_output[0].item()))
        return (grad_input[0] + 1,)

    m.register_full_backward_pre_hook(pre)
    m.register_full_backward_hook(hook)
    x = lucid.ones(1, 2, requires_grad=True)
    m(x).sum().backward()
    assert log == [("pre", 1.0), ("full", [[30.0, 50.0]], 10.0)]
    np.testing.assert_allclose(array(x.grad), [[31.0, 51.0]])
    np.testing.assert_allclose(array(m.weight.grad), [[10.0, 10.0]])


def test_full_backward_hook_without_input_gradient():
    m, log = nn.Linear(2, 1), []
    m.register_full_backward_hook(lambda mod, gi, go: log.append((gi, go[0].item())))
    m(lucid.ones(1, 2)).sum().backward()
    assert log == [((None,), 1.0)]
    with lucid.no_grad():
        m(lucid.ones(1, 2))
    assert len(log) == 1


def test_full_backward_hook_and_a_write_to_what_it_gave():
    class Doubled(nn.Module):
        def forward(self, x):
            return x.mul_(2)

    m = Doubled()
    m.register_full_backward_hook(lambda mod, gi, go: None)
    h = lucid.ones(2, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="mul_: a view of an input.*FullBackwardHook.*clone"):
        m(h)


class Two(nn.Module):
    def forward(self, a, b):
        return a * b, a + b, "label"


def test_full_backward_hook_with_several_tensors():
    m, log = Two(), []
    m.register_full_backward_hook(lambda mod, gi, go: log.append((gi, go)))
    a = lucid.tensor([2.0], requires_grad=True)
    b = lucid.tensor([3.0])
    product, total, label = m(a, b)
    assert label == "label"
    (product * 5 + total).sum().backward()
    ((ga, gb), (gp, gt, gl)) = log[0]
    assert (ga.item(), gb, gp.item(), gt.item(), gl) == (16.0, None, 5.0, 1.0, None)
    assert a.grad.item() == 16.0


def test_full_backward_hook_in_two_calls_and_nested_modules():
    m, log = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1)), []
    for i, layer in enumerate(m):
        layer.register_full_backward_hook(lambda mod, gi, go, i=i: log.append(i))
    x = lucid.ones(1, 1, requires_grad=True)
    (m(x) + m(x)).sum().backward()
    assert log == [1, 0, 1, 0] or log == [1, 1, 0, 0]


def test_global_backward_hooks():
    log = []
    handles = [
        hooks.register_module_full_backward_pre_hook(lambda m, go: log.append("pre")),
        hooks.register_module_full_backward_hook(lambda m, gi, go: log.append("full")),
    ]
    try:
        nn.Linear(1, 1)(lucid.ones(1, 1)).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
    assert log == ["pre", "full"]


def test_plain_backward_hook():
    m, log = nn.Linear(2, 1), []
    m.register_backward_hook(lambda mod, gi, go: log.append(go[0].item()))
    m(lucid.ones(1, 2)).sum().backward()
    assert log == [1.0]
    with pytest.raises(RuntimeError, match="both regular backward hooks and full"):
        m.register_full_backward_hook(print)


def test_backward_hooks_return_the_right_number():
    m = Add()
    m.register_full_backward_hook(lambda mod, gi, go: (None, None, None))
    with pytest.raises(RuntimeError, match="got 3, but expected 1"):
        m(lucid.ones(1, requires_grad=True)).sum().backward()


def test_hooks_survive_copies():
    m = Add()
    m.register_forward_hook(negative)
    assert copy.deepcopy(m)(1) == -1 and pickle.loads(pickle.dumps(m))(1) == -1


def negative(module, args, output):
    return -output


# ---- the path of an error ----------------------------------------------------------------------


class Fails(nn.Module):
    def forward(self, x):
        raise ValueError("no")


def notes_of(call):
    with pytest.raises(ValueError, match="no") as caught:
        call()
    return caught.value.__notes__


def test_an_error_says_which_module_raised_it():
    m = nn.Sequential(nn.Identity(), nn.ModuleDict({"a": nn.Sequential(Fails())})["a"])
    assert notes_of(lambda: m(1)) == ["raised in module Sequential.1.0 (Fails)"]
    assert notes_of(lambda: Fails()(1)) == ["raised in module Fails"]


def test_the_path_crosses_a_module_without_a_call():
    class Holder(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.Sequential(Fails())])

        def forward(self, x):
            return self.layers[0](x)

    assert notes_of(lambda: Holder()(1)) == ["raised in module Holder.layers.0.0 (Fails)"]


def test_an_error_with_a_path_pickles_and_pins_nothing():
    m = nn.Sequential(Fails())
    gone = weakref.ref(m)
    try:
        m(1)
    except ValueError as error:
        kept = error.with_traceback(None)
    copied = pickle.loads(pickle.dumps(kept))
    assert copied.__notes__ == kept.__notes__
    del m
    gc.collect()
    assert gone() is None


# ---- containers --------------------------------------------------------------------------------


def test_sequential_is_a_list():
    a, b, c, d = (nn.Linear(i + 1, i + 1) for i in range(4))
    s = nn.Sequential(a, b)
    s.append(c).extend([d])
    assert list(s) == [a, b, c, d] and s[-1] is d and len(s) == 4
    assert list(s[1:3]) == [b, c] and list(s[1:3]._modules) == ["1", "2"]
    assert s.pop(1) is b and list(s._modules) == ["0", "1", "2"]
    s.insert(1, b)
    assert list(s) == [a, b, c, d]
    del s[::2]
    assert list(s) == [b, d] and list(s._modules) == ["0", "1"]
    s[0] = a
    assert list(s) == [a, d]
    assert list(s + nn.Sequential(b)) == [a, d, b]
    assert list(nn.Sequential(a) * 2) == [a, a] == list(2 * nn.Sequential(a))
    s *= 2
    s += nn.Sequential(c)
    assert list(s) == [a, d, a, d, c]
    with pytest.raises(IndexError, match="index 9 is out of range"):
        s[9]
    with pytest.raises(ValueError, match="Non-positive"):
        s * 0
    with pytest.raises(ValueError, match="Sequential class"):
        s + [a]
    with pytest.raises(TypeError, match="not a Module subclass"):
        s.insert(0, 3)
    named = nn.Sequential(OrderedDict(x=a, y=b))
    assert named.x is a and list(named[:1]._modules) == ["x"]


def test_module_list():
    a, b, c = (nn.Linear(1, 1) for _ in range(3))
    m = nn.ModuleList([a, b])
    m += [c]
    assert list(m) == [a, b, c] and list(m[1:]._modules) == ["0", "1"]
    m.insert(0, c)
    assert m.pop(-1) is c and list(m) == [c, a, b]
    assert list(m + [a]) == [c, a, b, a]
    with pytest.raises(TypeError, match="iterable"):
        m.extend(a)
    with pytest.raises(NotImplementedError):
        m(1)


def test_module_dict():
    a, b = nn.Linear(1, 1), nn.ReLU()
    m = nn.ModuleDict([("a", a)])
    m.update({"b": b})
    m["c"] = a
    assert list(m) == ["a", "b", "c"] and "b" in m and len(m) == 3
    assert list(m.values()) == [a, b, a] and dict(m.items())["b"] is b
    assert m.pop("a") is a and list(m.keys()) == ["b", "c"]
    m.clear()
    assert not len(m)
    with pytest.raises(ValueError, match="length 3; 2 is required"):
        m.update([("a", a, b)])
    with pytest.raises(TypeError, match="key/value"):
        m.update(3)


def test_parameter_containers():
    values = [lucid.zeros(i + 1) for i in range(3)]
    p = nn.ParameterList(values[:2])
    p.append(values[2]).extend(["text"])
    assert len(p) == 4 and p[3] == "text" and isinstance(p[-2], nn.Parameter)
    assert [n for n, _ in p.named_parameters()] == ["0", "1", "2"]
    assert len(p[1:3]) == 2
    p[0] = lucid.ones(5)
    assert p[0].shape == (5,) and type(p[0]) is nn.Parameter
    d = nn.ParameterDict({"a": values[0]})
    d["b"] = values[1]
    assert list(d) == ["a", "b"] and list(reversed(d)) == ["b", "a"] and "a" in d
    assert d.get("z") is None and d.setdefault("a") is d["a"]
    merged = d | nn.ParameterDict({"c": values[2]})
    assert list(merged.keys()) == ["a", "b", "c"] and merged["a"] is d["a"]
    assert d.popitem()[0] == "b" and d.pop("a").shape == (1,) and len(d) == 0
    assert list(nn.ParameterDict().fromkeys(["x"], 3).items()) == [("x", 3)]
    for container in (p, d):
        with pytest.raises(RuntimeError, match="should not be called"):
            container()


def test_repr_by_hand():
    assert repr(nn.Sequential(nn.Linear(2, 1), nn.Sequential())) == (
        "Sequential(\n  (0): Linear(in_features=2, out_features=1, bias=True)\n"
        "  (1): Sequential()\n)"
    )
    assert repr(nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])) == (
        "ModuleList(\n  (0-1): 2 x ReLU()\n  (2): Tanh()\n)"
    )


# ---- against PyTorch ---------------------------------------------------------------------------

REPRS = {
    "nested": lambda nn: nn.ModuleDict({"a": block(nn), "b": nn.ModuleList([block(nn)] * 3)}),
    "empty": lambda nn: nn.Sequential(nn.ModuleList(), nn.ModuleDict(), nn.Module()),
    "parameters": lambda nn: nn.ParameterList([nn.Linear(3, 2).weight, 7]),
    "parameter dict": lambda nn: nn.ParameterDict({"w": nn.Linear(3, 2).weight}),
}


@pytest.mark.parametrize("build", REPRS.values(), ids=REPRS)
def test_repr_equals_pytorch(build):
    torch = pytest.importorskip("torch")
    assert repr(build(nn)) == repr(build(torch.nn)).replace("torch.", "lucid.")


def test_state_keys_and_messages_equal_pytorch():
    torch = pytest.importorskip("torch")
    ours, theirs = block(), block(torch.nn)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert dict(ours.state_dict()._metadata) == dict(theirs.state_dict()._metadata)

    def failure(model, library):
        state = model.state_dict()
        del state["0.weight"]
        state["9.x"] = state["z"] = library.zeros(1)
        state["3.weight"] = library.zeros(1, 1)
        with pytest.raises(RuntimeError) as caught:
            model.load_state_dict(state)
        return str(caught.value).replace("torch.", "lucid.").replace("lucid.Size", "Size")

    assert failure(ours, lucid) == failure(theirs, torch)
