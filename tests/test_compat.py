"""Programs for PyTorch on Lucid: what `import torch` answers, `lucid run` and its report."""

import importlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import lucid
from lucid.compat import finder, names, scan

PROGRAM = """
    import os, sys
    import torch
    import torch.nn as nn
    import torch.nn.functional as F
    import torch.optim as optim
    from torch import Tensor, autograd
    from torch.autograd import Variable
    from torch.backends import cudnn
    from torch.nn import Parameter, init
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.utils import _pair, _single, _triple
    from torch.nn.parallel import DataParallel, DistributedDataParallel
    from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, _LRScheduler
    from torch.utils.checkpoint import checkpoint
    from torch.utils.data import DataLoader, Dataset, TensorDataset, random_split
    from torch.utils.data.dataset import Subset
    from torch.utils.data.sampler import Sampler
    import torch.utils.data as data
    import torch.multiprocessing as mp
    import torch.distributed as dist
    import torch.cuda.amp as amp

    assert sys.argv[1:] == ["--epochs", "2"], sys.argv
    assert __name__ == "__main__" and os.path.basename(__file__) == "program.py"
    from beside import answer
    assert answer() == 3

    torch.manual_seed(0)
    cudnn.benchmark = True
    torch.backends.cudnn.deterministic = True
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_float32_matmul_precision("high")
    assert torch.get_float32_matmul_precision() == "high"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    assert str(device) == "cpu" and torch.cuda.device_count() == 0
    torch.cuda.manual_seed_all(0); torch.cuda.empty_cache()
    assert torch.cuda.max_memory_allocated() == 0
    assert not torch.backends.mps.is_available() and not torch.jit.is_scripting()
    assert tuple(int(x) for x in torch.__version__.split(".")[:2]) >= (2, 0)
    assert torch.version.cuda is None
    assert not hasattr(torch, "no_such_name") and hasattr(torch, "compile")

    class Net(nn.Module):
        scale: torch.jit.Final[float]

        def __init__(self):
            super().__init__()
            self.scale = 1.0
            self.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 2))

        @torch.jit.ignore
        def helper(self):
            return 1

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.body, x, use_reentrant=False) * self.scale

    x = torch.randn(64, 4)
    t = (x.sum(1) > 0).long()
    parts = random_split(TensorDataset(x, t), [48, 16])
    loader = DataLoader(parts[0], batch_size=16, shuffle=True, pin_memory=True)
    model = torch.compile(torch.jit.script(DataParallel(Net())))
    optimizer = optim.AdamW(model.parameters(), lr=0.05)
    scheduler = CosineAnnealingLR(optimizer, T_max=10)
    for epoch in range(10):
        for batch, target in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(batch.to(device)), target)
            loss.backward()
            optimizer.step()
        scheduler.step()
    assert loss.item() < 0.4, loss
    assert isinstance(Variable(x), Variable) and isinstance(x, torch.Tensor)
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, "saved.pt")
    saved = torch.load("saved.pt", map_location=device, weights_only=True)
    assert list(saved["model"])[0] == "_orig_mod.module.body.0.weight"
    model.load_state_dict(saved["model"]); optimizer.load_state_dict(saved["optimizer"])

    dist.init_process_group("gloo", rank=0, world_size=1)
    assert dist.get_rank() == 0 and dist.get_world_size() == 1
    dist.all_reduce(x); dist.barrier()
    wrapped = DistributedDataParallel(Net())
    dist.destroy_process_group()
    assert not dist.is_initialized()

    import warnings
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scaler = amp.GradScaler()
        with amp.autocast():
            y = model(x)
        assert y.dtype is torch.float32 and not scaler.is_enabled()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert nn.Linear(4, 4)(x).dtype is torch.bfloat16
    with torch.random.fork_rng():
        torch.rand(1)
    torch.testing.assert_close(x, x.clone())
    try:
        torch.testing.assert_close(x, x + 1)
    except AssertionError:
        pass
    else:
        raise SystemExit("assert_close")
    for call in (lambda: torch.jit.trace(model, x), lambda: torch.hub.load("a/b", "c"),
                 lambda: torch.hub.load_state_dict_from_url("https://example.com")):
        try:
            call()
        except NotImplementedError as error:
            assert "torch." in str(error)
        else:
            raise SystemExit("not refused")
    try:
        torch.cuda.synchronize()
    except AssertionError as error:
        assert "torch.cuda.synchronize" in str(error)
    try:
        from torch.utils.cpp_extension import load
    except ImportError as error:
        assert "torch.utils.cpp_extension" in str(error)
    try:
        from torch import never_there
    except ImportError as error:
        assert "never_there" in str(error)
    try:
        import torch.never_either
    except ModuleNotFoundError as error:
        assert "torch.never_either" in str(error)
    try:
        torch.nn.NeverThat
    except AttributeError as error:
        assert "torch.nn.NeverThat is not in Lucid" in str(error)
    print("finished")
    sys.exit(5)
"""


def lucid_run(tmp_path, program, *arguments, options=()):
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(program))
    (tmp_path / "beside.py").write_text(
        "import torch\n\ndef answer():\n    return torch.tensor(3).item()\n"
    )
    return subprocess.run(
        [sys.executable, "-m", "lucid", "run", *options, str(path), *arguments],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
    )  # fmt: skip


def test_a_program_runs(tmp_path):
    done = lucid_run(tmp_path, PROGRAM, "--epochs", "2", options=("--report",))
    assert done.stdout == "finished\n", done.stderr
    assert done.returncode == 5
    have, lack = done.stderr.split("names are not in Lucid")
    for name in ("torch.nn.Linear", "torch.optim.AdamW", "torch.utils.data.DataLoader"):
        assert f"  {name}\n" in have, name
    for name in ("torch.utils.cpp_extension", "torch.never_there", "torch.never_either"):
        assert f"  {name} (asked for)" in lack, name
    assert "torch.nn.NeverThat" in lack and "torch.tensor\n" in have


def test_an_error_is_shown_from_the_program_on(tmp_path):
    done = lucid_run(tmp_path, "import torch\n\ndef f():\n    torch.not_there(1)\n\nf()\n")
    assert done.returncode == 1
    assert "torch.not_there is not in Lucid" in done.stderr
    assert 'program.py", line 6' in done.stderr and "compat/run.py" not in done.stderr
    missing = subprocess.run(
        [sys.executable, "-m", "lucid", "run", "no_such.py"], capture_output=True, text=True
    )
    assert missing.returncode == 2 and "no_such.py" in missing.stderr


def test_the_alias_needs_no_run(tmp_path):
    code = """
        import sys
        import lucid.compat.torch as torch
        import lucid.compat.torch.nn as nn
        from lucid.compat.torch.utils.data import DataLoader
        import lucid
        assert nn.Linear is lucid.nn.Linear and DataLoader is lucid.data.DataLoader
        import torch as by_name
        import torch.nn.functional as F
        assert by_name is torch and by_name.nn is nn and F.relu is lucid.nn.functional.relu
        from lucid import compat
        compat.uninstall()
        assert "torch" not in sys.modules
        print("fine")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "fine\n", done.stderr


def test_pytorch_itself_is_left_alone():
    torch = pytest.importorskip("torch")
    importlib.import_module("lucid.compat.torch")
    assert sys.modules["torch"] is torch
    with pytest.raises(ImportError, match="imported already"):
        finder.install()


def test_every_answer_loads():
    """Each file of the answers, and each module of Lucid that names.py promises."""
    lacking = {
        "lucid.func", "lucid.linalg", "lucid.fft", "lucid.special",
        "lucid.signal", "lucid.signal.windows", "lucid.nn.utils.rnn", "lucid.nn.attention",
        "lucid.nn.utils.parametrize", "lucid.nn.utils.parametrizations", "lucid.nn.utils.prune",
        "lucid.autograd.graph",
    }  # fmt: skip
    for name, sources in names.MODULES.items():
        for source in filter(None, sources):
            if finder._loaded(source) is None:
                near = source.startswith(("lucid.nn.", "lucid.optim.", "lucid.distributions."))
                assert near or source in lacking, f"{name}: there is no {source}"
            else:
                assert not source.startswith("lucid.compat") or finder._loaded(source).__doc__
    assert not set(names.MODULES) & set(names.REFUSED)


def test_names_of_a_script(tmp_path):
    (tmp_path / "main.py").write_text(
        textwrap.dedent(
            """
            import torch, os.path
            import torch.nn as nn
            from torch.nn import functional as F, Linear as L
            from torch import *
            from other import thing
            x = F.relu(L(2, 3)(torch.randn(2).cuda()))
            nn.init.xavier_uniform_(x)
            os.path.join("torch")
            """
        )
    )
    (tmp_path / "other.py").write_text("import torch.optim.lr_scheduler\nthing = 1\n")
    assert scan.names_of(tmp_path / "main.py") == [
        "torch.nn.Linear", "torch.nn.functional.relu", "torch.nn.init.xavier_uniform_",
        "torch.optim.lr_scheduler", "torch.randn",
    ]  # fmt: skip


def test_what_exists():
    for name in (
        "torch", "torch.nn.functional.relu", "torch.Tensor.view", "torch.cuda.amp.autocast",
        "torch.optim.lr_scheduler.StepLR", "torch.utils.data.DataLoader",
    ):  # fmt: skip
        assert finder.exists(name), name
    for name in ("torch.none", "torch.nn.None_", "torch._C.x", "torch.Tensor.none", "numpy.zeros"):
        assert not finder.exists(name), name


def test_old_names():
    x = lucid.zeros(2, 2)
    assert finder.answer("torch.nn.init").constant(x, 3.0) is x and x[0, 0].item() == 3.0
    utils = finder.answer("torch.nn.utils")
    x.requires_grad_().grad = lucid.ones(2, 2)
    with pytest.warns(FutureWarning, match="clip_grad_norm_"):
        assert utils.clip_grad_norm([x], 1.0).item() == 2.0
    root = finder.answer("torch")
    assert root.result_type(lucid.ones(2, dtype=lucid.int32), 1.5) is lucid.float32
    assert root.can_cast(lucid.int64, lucid.float16) and not root.can_cast(
        lucid.float32, lucid.int8
    )
    assert root.is_nonzero(lucid.tensor([2])) and not root.is_nonzero(lucid.tensor(0.0))


def test_switches(tmp_path):
    root = finder.answer("torch")
    root.use_deterministic_algorithms(True, warn_only=True)
    assert root.are_deterministic_algorithms_enabled()
    root.use_deterministic_algorithms(False)
    with pytest.raises(RuntimeError, match="highest, high, medium"):
        root.set_float32_matmul_precision("low")
    root.set_default_tensor_type("torch.DoubleTensor")
    try:
        assert lucid.zeros(1).dtype is lucid.float64
    finally:
        root.set_default_tensor_type("torch.FloatTensor")
    with pytest.raises(TypeError, match="CUDA"):
        root.set_default_tensor_type("torch.cuda.FloatTensor")
    with pytest.raises(NotImplementedError, match="before 1.6"):
        root.save({}, tmp_path / "x", _use_new_zipfile_serialization=False)
    with pytest.raises(NotImplementedError, match="world_size=2"):
        finder.answer("torch.distributed").init_process_group(world_size=2)
    with pytest.raises(ValueError, match="not been initialized"):
        finder.answer("torch.distributed").get_rank()
    with pytest.raises(NotImplementedError, match="GPU"):
        finder.answer("torch.nn").DataParallel(lucid.nn.Linear(1, 1), device_ids=[0])


COMPILED = """
    import warnings
    import torch
    from torch import nn

    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
    model = torch.compile(inner)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(8, 4)
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()
    assert torch.equal(model(x), inner(x)) and isinstance(model, nn.Module)
    assert next(iter(model.state_dict())) == "_orig_mod.0.weight" and model._orig_mod is inner
    model.eval()
    assert not inner.training
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(x).dtype is torch.bfloat16
    assert model(x).dtype is torch.float32

    @torch.compile
    def branch(x):
        return x if x.sum() > 0 else -x

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert branch(torch.ones(2)).sum() == 2 and branch(-torch.ones(2)).sum() == 2
    assert len([w for w in said if "runs op by op" in str(w.message)]) == 1
    try:
        torch.compile(branch.function, fullgraph=True)(torch.ones(2))
    except RuntimeError as error:
        assert "not known while the function is traced" in str(error)
    else:
        raise SystemExit("not refused")
    print("finished")
"""


def test_compile(tmp_path):
    done = lucid_run(tmp_path, COMPILED)
    assert done.stdout == "finished\n", done.stderr


LIBRARIES = """
    # What libraries write while they are imported; none of it is used.
    import torch
    import torch.fx, torch.onnx, torch.library, torch._C, torch._dynamo, torch.ao.quantization
    from torch import Tensor
    from torch.fx.graph_module import _CodeOnlyModule
    from torch.onnx.symbolic_helper import parse_args
    from torch.jit.annotations import BroadcastingList2
    from torch.nn.attention.flex_attention import BlockMask
    from torch.distributed.tensor import DTensor, Replicate, Shard
    from torch.distributed.fsdp import FullyShardedDataParallel
    from torch.autograd.graph import save_on_cpu
    from torch.utils.checkpoint import get_device_states
    from torch.utils._pytree import tree_flatten, tree_unflatten, tree_map_only

    @torch.fx.wrap
    def helper(size: BroadcastingList2[int], graph: torch.cuda.CUDAGraph | None = None):
        return 3

    class Leaves(torch.fx.Tracer):
        pass

    @torch.library.register_fake("other::op")
    def shapes(x):
        return x

    assert helper([1, 2]) == 3 and shapes(4) == 4
    assert Replicate() == Replicate() and Shard(0) != Shard(1)
    x = torch.ones(2)
    assert not isinstance(x, (DTensor, BlockMask, torch.cuda.FloatTensor))
    assert get_device_states(x) == ([], [])
    with save_on_cpu(), torch.device("cpu"):
        pass
    assert x.dtype != torch.uint16 and torch.finfo(torch.float8_e4m3fn).max == 448.0
    gpu = torch.device("cuda", 1)
    assert isinstance(gpu, torch.device) and str(gpu) == "cuda:1" and gpu.type == "cuda"
    assert isinstance(x.device, torch.device) and x.device != gpu and torch.device(gpu) == gpu
    for call, word in (
        (Leaves, "torch.fx.Tracer"), (lambda: torch.fx.symbolic_trace(helper), "symbolic_trace"),
        (lambda: torch.onnx.export(None, x, "file"), "torch.onnx.export"),
        (torch.ao.quantization.QuantStub, "QuantStub"), (torch.cuda.CUDAGraph, "CUDAGraph"),
        (lambda: torch.ops.load_library("some.so"), "some.so"),
        (lambda: torch.ops.other.absent(x), "torch.ops.other.absent"), (BlockMask, "BlockMask"),
        (lambda: x.to(gpu), "cuda"), (lambda: torch.zeros(2, device=gpu), "cuda"),
        (lambda: torch.nn.Linear(2, 2).to(gpu), "cuda"), (lambda: DTensor(x), "DTensor"),
        (lambda: torch.zeros(2, dtype=torch.uint16), "torch.uint16"),
        (lambda: x.to(torch.float8_e5m2), "torch.float8_e5m2"),
    ):
        try:
            call()
        except (NotImplementedError, OSError, AttributeError, AssertionError, RuntimeError,
                TypeError) as error:
            assert word in str(error), (word, error)
        else:
            raise SystemExit(f"not refused: {word}")
    leaves, form = tree_flatten({"a": [x, 1], "b": (2, None)})
    assert len(leaves) == 4 and form.num_leaves == 4
    again = tree_unflatten(leaves, form)
    assert again["a"][0] is x and again["b"] == (2, None)
    assert tree_map_only(int, lambda n: n + 1, again)["b"] == (3, None)
    import importlib.metadata
    assert importlib.metadata.version("torch") == torch.__version__
    print("finished")
"""


def test_what_libraries_touch(tmp_path):
    done = lucid_run(tmp_path, LIBRARIES)
    assert done.returncode == 0 and "finished" in done.stdout, done.stderr


def test_nests():
    tree = importlib.import_module("lucid.compat.torch").utils._pytree
    nest = {"b": [1, (2, 3)], "a": None, "c": {}}
    leaves, form = tree.tree_flatten(nest)
    assert leaves == [1, 2, 3, None] and form == tree.tree_structure(nest)
    assert tree.tree_unflatten(leaves, form) == nest
    assert tree.tree_map(lambda a, b: a + b, [1, (2,)], [3, (4,)]) == [4, (6,)]
    assert tree.tree_leaves(nest, is_leaf=lambda x: isinstance(x, list))[0] == [1, (2, 3)]

    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    tree.register_pytree_node(Pair, lambda p: ((p.a, p.b), None), lambda xs, _: Pair(*xs))
    doubled = tree.tree_map(lambda x: 2 * x, Pair(1, [2]))
    assert (doubled.a, doubled.b) == (2, [4])
    with pytest.raises(ValueError, match="already"):
        tree.register_pytree_node(Pair, None, None)
    with pytest.raises(ValueError, match="3 leaves"):
        tree.tree_unflatten([1, 2, 3], form)
    with pytest.raises(ValueError, match="differ"):
        tree.tree_map(max, [1], [1, 2])


def test_ops_that_libraries_register():
    torch = importlib.import_module("lucid.compat.torch")
    calls = []

    def cube(x, scale):
        calls.append(x.requires_grad)
        return x * x * x * scale

    op = torch.library.custom_op("testing_space::cube", cube, mutates_args=())
    assert torch.ops.testing_space.cube is op and not hasattr(torch.ops.testing_space, "other")
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    assert op(x, 2.0).tolist() == [2.0, 16.0] and not op(x, 2.0).requires_grad

    def setup(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])
        ctx.scale = inputs[1]

    def backward(ctx, grad):
        return 3 * grad * ctx.saved_tensors[0] ** 2 * ctx.scale, None

    torch.library.register_autograd("testing_space::cube", backward, setup_context=setup)
    torch.ops.testing_space.cube.default(x, scale=2.0).sum().backward()
    assert x.grad.tolist() == [6.0, 24.0] and calls
    library = torch.library.Library("testing_space", "FRAGMENT")
    library.define("twice(Tensor x) -> Tensor")
    with pytest.raises(NotImplementedError, match="testing_space::twice"):
        torch.ops.testing_space.twice(x)
    library.impl("twice", lambda x: x * 3, "CUDA")
    library.impl("twice", lambda x: x * 2, "CompositeImplicitAutograd")
    y = torch.ops.testing_space.twice(x)
    assert y.tolist() == [2.0, 4.0] and y.requires_grad


def test_functions_of_torch_that_are_methods_or_of_layers():
    torch = importlib.import_module("lucid.compat.torch")
    F = torch.nn.functional
    x = torch.randn(2, 6, 8, 8)
    w, b = torch.ones(6) * 2, torch.zeros(6)
    mean, variance = torch.zeros(6), torch.ones(6)
    for made, expected in (
        (torch.conv2d(x, torch.ones(3, 6, 3, 3), None, 2), F.conv2d(x, torch.ones(3, 6, 3, 3),
                                                                    stride=2)),
        (torch.layer_norm(x, (8, 8), None, None, 1e-5, False), F.layer_norm(x, (8, 8))),
        (torch.group_norm(x, 3, w, b, 1e-5, False), F.group_norm(x, 3, w, b)),
        (torch.batch_norm(x, w, b, mean, variance, False, 0.1, 1e-5, False),
         F.batch_norm(x, mean, variance, w, b)),
        (torch.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False),
         F.instance_norm(x, weight=w, bias=b)),
        (torch.pixel_shuffle(torch.ones(1, 4, 2, 2), 2), torch.ones(1, 1, 4, 4)),
        (torch.prelu(x, torch.tensor([0.5])), F.prelu(x, torch.tensor([0.5]))),
        (torch.dropout(x, 0.5, False), x), (torch.alpha_dropout(x, 0.5, False), x),
        (torch.feature_dropout(x, 0.5, False), x),
        (torch.embedding(torch.eye(3), torch.tensor([2])), torch.eye(3)[2:]),
        (torch.max_pool2d(x, 2), F.max_pool2d(x, 2)), (torch.threshold(x, 0, -1),
                                                       F.threshold(x, 0, -1)),
        (torch.adjoint(x), x.mH), (torch.ger(w, w), torch.outer(w, w)),
        (torch.frobenius_norm(w), w.norm()), (torch.nuclear_norm(torch.eye(3)), torch.tensor(3.0)),
        (torch.vander(torch.tensor([1.0, 2.0])), torch.tensor([[1.0, 1.0], [2.0, 1.0]])),
        (torch.frombuffer(bytearray(8), dtype=torch.float32, count=1, offset=4), torch.zeros(1)),
        (torch.frombuffer(bytes(4), dtype=torch.float32), torch.zeros(1)),
    ):  # fmt: skip
        assert torch.equal(made, expected)
    dropped = torch.feature_dropout(torch.ones(4, 50, 3), 0.5, True)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert bool((dropped[..., 0] == dropped[..., 1]).all())
    for name in ("relu", "exp", "sigmoid", "zero", "tanh", "arcsinh", "absolute"):
        y = torch.tensor([-0.5, 0.5])
        expected = getattr(y.clone(), f"{name}_")()
        assert getattr(torch, f"{name}_")(y) is y and torch.equal(y, expected)
    y = torch.zeros(3)
    assert torch.index_put_(y, (torch.tensor([1]),), torch.ones(1)) is y and y.tolist() == [0, 1, 0]
    assert torch.clamp_(y, 0.5).tolist() == [0.5, 1, 0.5] and torch.fill_(y, 2.0).sum() == 6
    assert torch.resize_as_(torch.ones(4), torch.ones(2, 2)).shape == (2, 2)
    assert not torch.is_conj(y) and not torch.is_neg(y) and not torch.is_inference(y)
    assert torch.is_signed(y) and torch.is_same_size(y, y) and torch.get_device(y) == -1
    array = np.zeros(2, np.float32)
    shared = torch.asarray(array)
    shared.fill_(3)
    assert array.tolist() == [3, 3] and torch.asarray(array, copy=True).data_ptr() != (
        shared.data_ptr()
    )
    assert torch.asarray([1, 2]).tolist() == [1, 2] and torch.asarray(y, copy=False) is not None
    assert torch.asarray([1.0], requires_grad=True).requires_grad
    with pytest.raises(ValueError, match="asarray"):
        torch.asarray([1.0], copy=False)


def test_choices_of_kernels_are_inert():
    torch = importlib.import_module("lucid.compat.torch")
    attention = importlib.import_module("lucid.compat.torch.nn.attention")
    q = torch.randn(1, 2, 4, 8)
    expected = torch.nn.functional.scaled_dot_product_attention(q, q, q)
    for chosen in (attention.SDPBackend.MATH, [attention.SDPBackend.FLASH_ATTENTION]):
        with attention.sdpa_kernel(chosen), torch.autograd.set_multithreading_enabled(False):
            made = torch.nn.functional.scaled_dot_product_attention(q, q, q)
        assert torch.equal(made, expected)
    with pytest.raises(TypeError, match="sdpa_kernel"), attention.sdpa_kernel("math"):
        pass
