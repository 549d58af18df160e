"""Runs the samples of PyTorch's own op tests on Lucid: results, dtypes, gradients, errors.

    python tests/tools/opinfo.py [--only REGEX] [--part 1/4] [--dtypes float64,float32,int64,...]
                                 [--json FILE] [--verbose]

Needs torch and expecttest. PyTorch's package carries a table of its ops (`op_db`) with sample
inputs, which its own tests read. Each sample is called on PyTorch and on Lucid: what PyTorch
computes has to come out, and what it refuses has to be refused. A line is printed for each op and
dtype that differs; random ops are compared by shape and dtype alone.
"""

import argparse
import dataclasses
import json
import re
import signal
import sys
import types
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.testing._internal.common_methods_invocations import op_db  # noqa: E402

import lucid  # noqa: E402
from lucid.compat import finder  # noqa: E402

RANDOM = re.compile(
    r"^(bernoulli|multinomial|normal|uniform|cauchy|exponential|geometric|log_normal|rand|empty"
    r"|new_empty|.*dropout|nn\.functional\.(rrelu|fractional).*|svd_lowrank|pca_lowrank|randint.*)"
)
# The signs or the order of these are free: what is compared is left out.
FREE = re.compile(r"^(linalg\.)?(svd|eig|eigh|qr|lu_factor|geqrf|eigvals)\b")
MODULES = ["torch", "torch.nn.functional", "torch.linalg", "torch.fft", "torch.special"]
MODULES += ["torch.signal.windows", "torch.masked", "torch.sparse"]
SECONDS = 60
TOLERANCE = {"float64": 1e-7, "float32": 2e-4, "complex128": 1e-7, "complex64": 2e-4}


class TooLong(Exception):
    """One op took more than SECONDS."""


def converted(value: Any, grad: bool = False) -> Any:
    """A value of PyTorch as one of Lucid, in nests too."""
    if isinstance(value, torch.Tensor):
        if value.layout is not torch.strided:
            raise TooLong("not strided")
        plain = value.detach().resolve_conj().resolve_neg()
        y = lucid.from_numpy(plain.numpy()) if plain.dtype is not torch.bfloat16 else None
        assert y is not None
        return y.requires_grad_() if grad and value.requires_grad else y
    if isinstance(value, torch.dtype):
        return getattr(lucid, str(value).removeprefix("torch."))
    if isinstance(value, (torch.memory_format, torch.layout)):
        return getattr(lucid, str(value).removeprefix("torch."))
    if isinstance(value, torch.device):
        return lucid.device("cpu")
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, dict):
        return {k: converted(v, grad) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        made = [converted(v, grad) for v in value]
        return type(value)(made) if type(value) in (list, tuple) else tuple(made)
    if isinstance(value, types.FunctionType):
        return rebound(value)
    if isinstance(value, torch.nn.PairwiseDistance):
        return lucid.nn.PairwiseDistance(value.norm, value.eps, value.keepdim)
    if isinstance(value, torch.nn.LinearCrossEntropyOptions):
        fields = {f.name for f in dataclasses.fields(lucid.nn.LinearCrossEntropyOptions)}
        given = {k: converted(getattr(value, k)) for k in fields if hasattr(value, k)}
        return lucid.nn.LinearCrossEntropyOptions(**given)
    return value


def rebound(function: Any) -> Any:
    """A Python function of PyTorch's tests that finds Lucid where it says torch."""
    names = dict(function.__globals__)
    for name, value in list(names.items()):
        if isinstance(value, types.ModuleType) and value.__name__.partition(".")[0] == "torch":
            if finder.exists(value.__name__) or value.__name__ == "torch":
                names[name] = finder.answer(value.__name__)
    cells = tuple(
        types.CellType(answer(c.cell_contents) if callable(c.cell_contents) else c.cell_contents)
        for c in function.__closure__ or ()
    )
    defaults = tuple(converted(d) for d in function.__defaults__ or ())
    made = types.FunctionType(function.__code__, names, function.__name__, defaults, cells)
    made.__kwdefaults__ = {k: converted(v) for k, v in (function.__kwdefaults__ or {}).items()}
    return made


def answer(function: Any) -> Any:
    """Lucid's function for one of PyTorch's."""
    if isinstance(function, types.FunctionType) and "torch.testing" in function.__module__:
        return rebound(function)
    name = getattr(function, "__name__", "")
    owner = getattr(function, "__objclass__", None)
    if owner is not None and issubclass(torch.Tensor, owner):
        return getattr(lucid.Tensor, name)
    if getattr(torch.Tensor, name, None) is function:
        return getattr(lucid.Tensor, name)
    for prefix in MODULES:
        module = sys.modules[prefix]
        for known in (name.replace("_", ""), name):  # log_sigmoid, _threshold
            if getattr(module, known, None) is function:
                return getattr(finder.answer(prefix), known)
    for prefix in ("torch.linalg", "torch.fft", "torch.special"):
        short = name.partition("_")[2]
        if getattr(sys.modules[prefix], short, None) is function:
            return getattr(finder.answer(prefix), short)
    raise AttributeError(f"{function!r} has no counterpart")


def flat(value: Any) -> list:
    """The leaves of a result."""
    if isinstance(value, (tuple, list)):
        return [x for v in value for x in flat(v)]
    if isinstance(value, dict):
        return [x for v in value.values() for x in flat(v)]
    return [value]


def array(x: Any) -> np.ndarray:
    x = x.detach()
    if isinstance(x, torch.Tensor):
        x = x.resolve_conj().resolve_neg()
        x = x if x.layout is torch.strided else x.to_dense()
        return np.asarray(x.numpy(force=True))
    return np.asarray((x.to_dense() if x.is_sparse else x).numpy())


def difference(ours: Any, theirs: Any, values: bool = True) -> str:
    """What differs between two results; empty if nothing."""
    a, b = flat(ours), flat(theirs)
    if len(a) != len(b):
        return f"{len(a)} results instead of {len(b)}"
    for x, y in zip(a, b, strict=True):
        if isinstance(y, torch.Tensor):
            if not isinstance(x, lucid.Tensor):
                return f"{type(x).__name__} instead of a tensor"
            kind = str(y.dtype).removeprefix("torch.")
            if x.dtype.name != kind:
                return f"dtype {x.dtype.name} instead of {kind}"
            if tuple(x.shape) != tuple(y.shape):
                return f"shape {tuple(x.shape)} instead of {tuple(y.shape)}"
            if values and y.dtype is not torch.bfloat16:
                got, want = array(x), array(y)
                tol = TOLERANCE.get(kind, 2e-3 if kind == "float16" else 0)
                if not np.allclose(got, want, rtol=tol, atol=tol, equal_nan=True):
                    with np.errstate(all="ignore"):
                        off = np.abs(got.astype("complex128") - want.astype("complex128"))
                    place = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), off.shape)
                    return f"value {got[place]!r} instead of {want[place]!r}"
        elif isinstance(y, (torch.dtype, torch.device)):
            continue
        elif isinstance(y, (bool, int, float, complex)) and values:
            if x != y and not (x != x and y != y) and not np.allclose(x, y, rtol=1e-5):
                return f"{x!r} instead of {y!r}"
    return ""


def gradients(sample: Any, ours: Any, theirs: Any, given: tuple) -> str:
    """Gradients of all inputs that require one, for random cotangents."""
    mine = [x for x in flat(given) if isinstance(x, lucid.Tensor) and x.requires_grad]
    args = (sample.input, sample.args, sample.kwargs)
    its = [x for x in flat(args) if isinstance(x, torch.Tensor) and x.requires_grad]
    pairs = [
        (x, y)
        for x, y in zip(flat(ours), flat(theirs), strict=True)
        if isinstance(y, torch.Tensor) and y.requires_grad
    ]
    if not pairs or not its:
        return ""
    wrong = [x for x, _ in pairs if not x.requires_grad]
    if wrong:
        return "gradient: the result requires none"
    torch.manual_seed(0)
    gs = [torch.randn_like(y) for _, y in pairs]
    want = torch.autograd.grad([y for _, y in pairs], its, gs, allow_unused=True)
    got = lucid.autograd.grad(
        [x for x, _ in pairs], mine, [converted(g) for g in gs], allow_unused=True
    )
    for a, b in zip(got, want, strict=True):
        if a is None and b is None:
            continue
        if a is None or b is None:
            there = b if a is None else torch.from_numpy(array(a))
            if not bool((there == 0).all()):
                return f"gradient: {'none' if a is None else 'one'} where PyTorch has not"
            continue
        if found := difference(a, b):
            return f"gradient: {found}"
    return ""


def one(op: Any, function: Any, sample: Any, kind: str) -> str:
    """What differs for one sample; empty if nothing."""
    try:
        given = converted((sample.input, sample.args, sample.kwargs), True)
    except (TooLong, AttributeError, AssertionError) as error:
        return f"skipped: {error}"
    try:
        theirs = op.op(sample.input, *sample.args, **sample.kwargs)
    except Exception as error:  # noqa: BLE001 - whatever PyTorch says
        try:
            function(given[0], *given[1], **given[2])
        except Exception:  # noqa: BLE001
            return ""
        return f"accepted, PyTorch: {str(error).splitlines()[0][:90]}"
    try:
        ours = function(given[0], *given[1], **given[2])
    except TooLong:
        raise
    except Exception as error:  # noqa: BLE001
        return f"refused: {type(error).__name__}: {str(error).splitlines()[0][:150]}"
    free = bool(RANDOM.match(op.name) or FREE.match(op.name))
    if op.name.endswith("attention"):
        free = sample.kwargs.get("dropout_p", 0.0) > 0.0
    elif op.name.endswith("multi_head_attention_forward"):
        free = sample.args[9] > 0.0  # dropout_p
    if found := difference(ours, theirs, not free):
        return found
    if op.supports_autograd and not free and kind in ("float64", "complex128"):
        try:
            return gradients(sample, ours, theirs, given)
        except TooLong:
            raise
        except Exception as error:  # noqa: BLE001
            return f"gradient: {type(error).__name__}: {str(error).splitlines()[0][:150]}"
    return ""


def errors(op: Any, function: Any) -> Counter:
    """The inputs that PyTorch's tests say are wrong: each has to raise."""
    found: Counter = Counter()
    for wrong in op.error_inputs("cpu"):
        s = wrong.sample_input
        try:
            given = converted((s.input, s.args, s.kwargs))
            function(given[0], *given[1], **given[2])
        except TooLong:
            raise
        except Exception:  # noqa: BLE001
            continue
        found[f"accepted, PyTorch: {str(wrong.error_regex)[:110]}"] += 1
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--dtypes", default="float64,float32,int64,bool,complex128,uint8")
    parser.add_argument("--json", default="")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TooLong(f"{SECONDS} s")))
    part, of = map(int, options.part.split("/"))
    chosen = [o for o in op_db if re.search(options.only, o.name)][part - 1 :: of]
    report: dict[str, dict[str, int]] = {}
    samples = 0
    for op in chosen:
        title = f"{op.name}.{op.variant_test_name}" if op.variant_test_name else op.name
        found: Counter = Counter()
        try:
            function = answer(op.op)
        except Exception as error:  # noqa: BLE001
            report[title] = {f"missing: {str(error)[:100]}": 1}
            print(f"{title}: missing", flush=True)
            continue
        for kind in options.dtypes.split(","):
            dtype = getattr(torch, kind)
            if dtype not in op.dtypes:
                continue
            signal.alarm(SECONDS)
            try:
                grad = op.supports_autograd and dtype in op.supported_backward_dtypes("cpu")
                for sample in op.sample_inputs("cpu", dtype, requires_grad=grad):
                    samples += 1
                    if what := one(op, function, sample, kind):
                        found[f"{kind}: {what}"] += 1
                        if options.verbose:
                            print(f"  {kind}: {what}\n    {sample.summary()}"[:1500], flush=True)
            except TooLong as error:
                found[f"{kind}: skipped: {error}"] += 1
            except Exception as error:  # noqa: BLE001
                found[f"{kind}: sampling: {type(error).__name__}: {str(error)[:100]}"] += 1
            finally:
                signal.alarm(0)
        if op.error_inputs_func is not None:
            try:
                found += errors(op, function)
            except Exception as error:  # noqa: BLE001
                found[f"errors: {type(error).__name__}: {str(error)[:100]}"] += 1
        if found:
            report[title] = dict(found)
            print(title, flush=True)
            for what, count in found.most_common():
                print(f"    {count} x {what}", flush=True)
    print(f"{len(chosen)} ops, {samples} samples, {len(report)} ops with a difference")
    if options.json:
        Path(options.json).write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
