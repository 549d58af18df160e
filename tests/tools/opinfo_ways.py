"""Runs the samples of PyTorch's own op tests in every way that Lucid has of calling an op.

    python tests/tools/opinfo_ways.py [--only REGEX] [--part 1/4] [--samples 2] [--ways WAY,...]

Each sample is called as a function first. Then: compiled (values, strides and gradients have to be
the same bits), under no_grad (the same bits), on inputs with gaps between their elements, in place
and into `out=` (what PyTorch does). Needs torch and expecttest, as opinfo.py does.
"""

import argparse
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import opinfo
import torch
from opinfo import TooLong, array, converted, flat

import lucid

# Asking for the state of the generator, as the wrappers of these do, is refused in a trace.
NOT_TRACED = re.compile("cannot be traced|not known while|asked (for )?at|size of the mask")


def replaced(nest: Any, tensors: Iterator) -> Any:
    """The nest with other tensors, in order."""
    if isinstance(nest, lucid.Tensor):
        return next(tensors)
    if isinstance(nest, dict):
        return {k: replaced(v, tensors) for k, v in nest.items()}
    if type(nest) in (list, tuple):
        return type(nest)([replaced(v, tensors) for v in nest])
    return nest


def same(ours: Any, eager: Any, exact: bool = True) -> str:
    """What differs between two results of Lucid; empty if nothing."""
    a, b = flat(ours), flat(eager)
    if len(a) != len(b):
        return f"{len(a)} results instead of {len(b)}"
    for x, y in zip(a, b, strict=True):
        if not isinstance(y, lucid.Tensor):
            continue
        if x.dtype is not y.dtype or tuple(x.shape) != tuple(y.shape):
            return f"{x.dtype} {tuple(x.shape)} instead of {y.dtype} {tuple(y.shape)}"
        got, want = array(x), array(y)
        number = want.dtype.kind in "fc"
        close = np.array_equal(got, want, equal_nan=number)
        if not close and not exact:
            close = np.allclose(got, want, rtol=1e-9, atol=1e-9, equal_nan=number)
        if not close:
            return "other values"
        if exact and y.numel() > 1 and x.stride() != y.stride():
            return f"strides {x.stride()} instead of {y.stride()}"
    return ""


def slopes(results: Any, tensors: list) -> list:
    """The gradients of the tensors for cotangents of 1; none where nothing requires one."""
    ends = [y for y in flat(results) if isinstance(y, lucid.Tensor) and y.requires_grad]
    leaves = [x for x in tensors if x.requires_grad]
    if not ends or not leaves:
        return []
    ones = [lucid.ones_like(y) for y in ends]
    found = lucid.autograd.grad(ends, leaves, ones, allow_unused=True)
    return [lucid.zeros_like(x) if g is None else g for g, x in zip(found, leaves, strict=True)]


class Calls:
    """One sample, and the ways of calling it."""

    def __init__(self, op: Any, function: Callable, sample: Any):
        self.op, self.sample = op, sample
        self.given = converted((sample.input, sample.args, sample.kwargs), True)
        self.tensors = [x for x in flat(self.given) if isinstance(x, lucid.Tensor)]
        self.function = function
        self.eager = self.run(*self.tensors)

    def run(self, *tensors: Any, **more: Any) -> Any:
        first, args, kwargs = replaced(self.given, iter(tensors))
        return self.function(first, *args, **kwargs, **more)

    def compiled(self) -> str:
        if len({id(x) for x in self.tensors}) < len(self.tensors):
            return ""
        try:
            made = lucid.compile(self.run)(*self.tensors)
        except (lucid.error.TraceError, NotImplementedError) as error:
            return "" if NOT_TRACED.search(str(error)) else f"refused: {str(error)[:120]}"
        if found := same(made, self.eager):
            return found
        try:
            want = slopes(self.eager, self.tensors)
        except NotImplementedError:
            return ""
        return same(slopes(made, self.tensors), want) and "other gradients"

    def no_grad(self) -> str:
        with lucid.no_grad():
            return same(self.run(*self.tensors), self.eager)

    def gaps(self) -> str:
        spread = []
        for x in self.tensors:
            if x.ndim == 0 or x.numel() == 0:
                spread.append(x)
                continue
            wide = lucid.zeros(*x.shape[:-1], 2 * x.shape[-1] + 1, dtype=x.dtype)
            wide[..., 1::2] = x.detach()
            spread.append(wide[..., 1::2].requires_grad_(x.requires_grad))
        if "as_strided" in self.op.name or "view" in self.op.name:
            return ""  # what it shows depends on the strides
        return same(self.run(*spread), self.eager, False)

    def in_place(self) -> str:
        variant = self.op.get_inplace()
        first = self.given[0]
        if variant is None or not isinstance(first, lucid.Tensor):
            return ""
        _, args, kwargs = self.given
        plain = replaced(args, (x.detach() for x in flat(args) if isinstance(x, lucid.Tensor)))
        try:
            with torch.no_grad():
                target = self.sample.input.detach().clone()
                want = variant(target, *self.sample.args, **self.sample.kwargs)
        except Exception:  # noqa: BLE001 - whatever PyTorch refuses
            return ""
        name = getattr(variant, "__name__", "<")
        if name.startswith("<"):
            return ""  # a function with inplace=True
        method = getattr(lucid.Tensor, name, None)
        if method is None:
            return f"{name} is missing"
        made = method(first.detach().clone(), *plain, **kwargs)
        return opinfo.difference(made, want)

    def out(self) -> str:
        if not self.op.supports_out or not isinstance(self.eager, lucid.Tensor):
            return ""
        target = lucid.empty_like(self.eager.detach())
        with lucid.no_grad():
            made = self.run(*self.tensors, out=target)
        return "another tensor" if made is not target else same(made, self.eager, False)


WAYS = ("compiled", "no_grad", "gaps", "in_place", "out")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(TooLong("too long")))
    part, of = map(int, options.part.split("/"))
    table = [o for o in opinfo.op_db if re.search(options.only, o.name)][part - 1 :: of]
    counts: Counter = Counter()
    for op in table:
        try:
            function = opinfo.answer(op.op)
        except Exception:  # noqa: BLE001 - opinfo.py lists what is missing
            continue
        kind = next((k for k in (torch.float64, torch.int64, torch.bool) if k in op.dtypes), None)
        if kind is None or opinfo.RANDOM.match(op.name):
            continue
        title = f"{op.name} {op.variant_test_name}".strip()
        found: Counter = Counter()
        signal.alarm(opinfo.SECONDS)
        try:
            grad = op.supports_autograd and kind in op.supported_backward_dtypes("cpu")
            samples = list(op.sample_inputs("cpu", kind, requires_grad=grad))
            for sample in samples[:: max(1, len(samples) // options.samples)][: options.samples]:
                try:
                    calls = Calls(op, function, sample)
                except TooLong:
                    raise
                except Exception:  # noqa: BLE001 - opinfo.py lists what is refused
                    continue
                for way in options.ways.split(","):
                    counts[way] += 1
                    try:
                        what = getattr(calls, way)()
                    except TooLong:
                        raise
                    except Exception as error:  # noqa: BLE001
                        what = f"{type(error).__name__}: {str(error).splitlines()[0][:130]}"
                    if what:
                        found[f"{way}: {what}"] += 1
        except TooLong:
            found["too long"] += 1
        except Exception as error:  # noqa: BLE001
            found[f"sampling: {type(error).__name__}: {str(error)[:100]}"] += 1
        finally:
            signal.alarm(0)
        for what, count in found.most_common():
            print(f"{title}: {count} x {what}", flush=True)
    print(dict(counts))


if __name__ == "__main__":
    main()
