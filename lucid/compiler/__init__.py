"""`lucid.compile`: a function as one plan. A call reads guard -> trace -> plan -> run.

guard.py says whether a plan still holds, capture.py traces, replay.py repeats a trace for other
sizes, split.py cuts off the backward half, runner.py plans and runs. What cannot be traced runs in
Python between native segments, where that is asked for (pending.py).
"""

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from lucid.array import Array
from lucid.autograd.mode import is_grad_enabled
from lucid.compiler.capture import capture
from lucid.compiler.captured import Captured, history_of
from lucid.compiler.host import Replayed
from lucid.compiler.journal import facts_of
from lucid.compiler.pending import Ran, run_pending
from lucid.compiler.replay import Unfit, resized
from lucid.compiler.runner import Runner
from lucid.compiler.trace import InStep
from lucid.compiler.tree import flatten, names_of
from lucid.config import settings
from lucid.dtypes import get_default_dtype
from lucid.error import TraceError
from lucid.lazy import lazy, uncollected
from lucid.tensor import Tensor
from lucid.tracing import casting, tracing

MOST = 64  # plans of one function
TEMPLATES = 8  # traces of one function that are kept for other sizes
UNFIT = 16  # after so many of no use, sizes are no symbols any more

_threads = lazy("lucid.backend.cpu.threads")


def compile(
    function: Any = None,
    *,
    dynamic: bool | None = None,
    fullgraph: bool = True,
    fold_batch_norm: bool = False,
    prepack: bool = False,
) -> Any:
    """`function`, which may be a module, as one native plan: same results, to the bit.

    The first call traces the function without running it: what it computes, reads and changes,
    with `loss.backward()`, `optimizer.step()` and `optimizer.zero_grad()` inside as well. Later
    calls check that everything Python had looked at is the same (numbers, containers, code; see
    compiler/guard.py) and run the plan; where it is not, the function is traced again.

    Arguments and results are nests of tuples, lists, dicts and dataclasses. A value that is asked
    for while tracing (`.item()`, `if x > 0:`) raises TraceError with the line and what to write.
    With `fullgraph=False` such a function runs in Python at each call: what it computes waits, and
    runs as one native segment where a value is asked for, and at the end.

    The second call that differs in sizes alone is traced so that a third needs no trace: its plan
    is made from what was done with tensors, and from what was asked of sizes (`dynamic=None`).
    `dynamic=True` does so from the first call on, `dynamic=False` traces each size.

    `fold_batch_norm=True` changes the bits: where a call records no gradient, batch normalization
    by running statistics goes into the weight and bias of the convolution or linear layer before
    it. These are computed once, and again after a write to what they are made of.

    `prepack=True`, for inference: where a call records no gradient, weights of matrix products are
    packed once, and again after a write, and not in each product. The bits are the same.

    >>> import lucid
    >>> @lucid.compile
    ... def f(x):
    ...     return (x * 2 + 1).relu().sum()
    >>> f(lucid.tensor([1.0, -3.0])).item()
    3.0
    """
    if function is None:
        return functools.partial(
            compile,
            dynamic=dynamic,
            fullgraph=fullgraph,
            fold_batch_norm=fold_batch_norm,
            prepack=prepack,
        )
    if not callable(function):
        raise TypeError(f"compile: a function or module is needed, got {type(function).__name__}")
    for name, asked in (("fold_batch_norm", fold_batch_norm), ("prepack", prepack)):
        if asked and not fullgraph:
            raise ValueError(f"compile: {name}=True needs fullgraph=True")
    kind = CompiledModule if hasattr(function, "parameters") else Compiled
    return kind(function, fullgraph, dynamic, fold_batch_norm, prepack)


_OPTIONS = ("dynamic", "fullgraph", "fold_batch_norm", "prepack")
_OWN = (
    "function", *_OPTIONS, "broken", "plans", "traces", "reasons", "uncompiled", "_lock",
    "templates", "met", "unfit", "resizes",
)  # fmt: skip


class Untraceable(Exception):
    """The call cannot be traced as a whole, and need not be."""


class Compiled:
    """A function with the plans of its calls so far."""

    def __init__(
        self,
        function: Callable,
        fullgraph: bool = True,
        dynamic: bool | None = None,
        fold_batch_norm: bool = False,
        prepack: bool = False,
    ):
        own = self.__dict__
        own["function"] = function
        own["fullgraph"] = fullgraph
        own["dynamic"] = dynamic
        own["fold_batch_norm"] = fold_batch_norm
        own["prepack"] = prepack
        own["templates"] = {}  # what calls have in common but for sizes -> captures with templates
        own["met"] = {}  # the same -> the key of the first call
        own["unfit"] = {}  # the same -> how often a template was of no use
        own["resizes"] = 0  # plans that were made for other sizes without a trace
        own["broken"] = {}  # key -> why such a call cannot be traced, where it need not be
        own["plans"] = {}  # key -> the runners, the latest first
        own["traces"] = 0
        own["reasons"] = []  # why it was traced again
        own["uncompiled"] = False  # whether the latest call ran op by op
        own["_lock"] = threading.RLock()
        if not hasattr(function, "parameters"):
            names = [n for n in functools.WRAPPER_ASSIGNMENTS if hasattr(function, n)]
            own.update({n: getattr(function, n) for n in names}, __wrapped__=function)

    function: Callable
    fullgraph: bool
    dynamic: bool | None
    fold_batch_norm: bool
    prepack: bool
    templates: dict[tuple, list[Captured]]
    met: dict[tuple, tuple]
    unfit: dict[tuple, int]
    resizes: int
    broken: dict[tuple, str]
    plans: dict[tuple, list[Runner]]
    traces: int
    reasons: list[str]
    uncompiled: bool
    _lock: Any

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if (trace := tracing()) is not None:
            if trace.whole and trace.pending:  # between the pieces of another one: on its own
                return trace.at_once(lambda: self(*args, **kwargs))
            # A part of another one, of a map, or of a derivative forward.
            return self.function(*args, **kwargs)
        leaves, form = flatten((args, kwargs))
        key = (*_surroundings(), form, *[_kind(x) for x in leaves])
        if key in self.broken:
            return self.in_pieces(args, kwargs)[0]
        try:
            return self._run(key, leaves, args, kwargs)
        except Untraceable:
            return self.in_pieces(args, kwargs)[0]
        except InStep:
            if self.uncompiled:
                raise
        # Op by op, once: an optimizer has yet to make its state.
        self.__dict__["uncompiled"] = True
        return self.function(*args, **kwargs)

    def _run(self, key: tuple, leaves: Sequence[Any], args: tuple, kwargs: dict) -> Any:
        try:
            found = self._known(key, leaves)
            if found is None:
                with self._lock:  # another thread may have traced it meanwhile
                    found = self._known(key, leaves) or self._traced(key, leaves, args, kwargs)
            return found.run(leaves)
        except Replayed:
            with self._lock:
                found = self._traced(key, leaves, args, kwargs)
        try:
            return found.run(leaves)
        except Replayed:
            raise TraceError(
                "compile: an optimizer's step() does something else when it is repeated than "
                "while it was traced; call it after the compiled function"
            ) from None

    def _known(self, key: tuple, leaves: Sequence[Any]) -> Runner | None:
        for runner in self.plans.get(key, ()):
            if runner.matches(leaves):
                return runner
        return None

    def in_pieces(self, args: tuple, kwargs: dict, timed: bool = False) -> tuple[Any, Ran]:
        """The call in Python, with what it computes in native segments."""
        name = getattr(self.function, "__name__", "module")
        return run_pending(self.function, args, kwargs, name, timed)

    def find(self, args: tuple, kwargs: dict) -> tuple[Runner | None, list[Any]]:
        """The plan that a call with these arguments takes, if there is one, and their leaves."""
        leaves, form = flatten((args, kwargs))
        key = (*_surroundings(), form, *[_kind(x) for x in leaves])
        return self._known(key, leaves), leaves

    @uncollected()
    def _traced(self, key: tuple, leaves: Sequence[Any], args: tuple, kwargs: dict) -> Runner:
        """Trace and plan, and keep the plan."""
        for runner in self.plans.get(key, ())[:1]:
            self.reasons.append(runner.mismatch(leaves))
        name = getattr(self.function, "__name__", "module")
        alike = _but_for_sizes(key, leaves)
        resized = self._resized(alike, leaves, name)
        if resized is not None:
            self.__dict__["resizes"] = self.resizes + 1
            return self._keep(key, resized)
        try:
            captured = self._captured(key, alike, leaves, args, kwargs)
            try:
                runner = Runner(captured, name, self.fold_batch_norm, self.prepack)
            except BaseException:
                captured.forget()
                raise
        except (TraceError, NotImplementedError) as error:
            if self.fullgraph or (isinstance(error, InStep) and not self.uncompiled):
                raise
            if len(self.broken) >= MOST:
                self.broken.clear()
            self.broken[key] = str(error)
            self.reasons.append(str(error))
            raise Untraceable from error
        self.__dict__["traces"] = self.traces + 1
        self.__dict__["uncompiled"] = False
        return self._keep(key, runner)

    def _captured(
        self, key: tuple, alike: tuple, leaves: Sequence[Any], args: tuple, kwargs: dict
    ) -> Captured:
        """A trace, for other sizes too from the second one on."""
        sizes = self.dynamic
        if sizes is None:
            first = self.met.setdefault(alike, key)
            sizes = first != key and self.unfit.get(alike, 0) < UNFIT
            while len(self.met) > MOST:
                del self.met[next(iter(self.met))]
        if not sizes:
            return capture(self.function, args, kwargs)
        try:
            captured = capture(self.function, args, kwargs, names_of(args, kwargs))
        except Exception as error:
            captured = capture(self.function, args, kwargs)  # if it is not that, it raises again
            captured.static = f"{type(error).__name__}: {error}"
        if captured.template is None:
            self.unfit[alike] = UNFIT
            self.reasons.append(f"its sizes are no symbols: {captured.static}")
        else:
            known = self.templates.setdefault(alike, [])
            known.insert(0, captured)
            del known[TEMPLATES:]
            while len(self.templates) > TEMPLATES:
                del self.templates[next(iter(self.templates))]
        return captured

    def _resized(self, alike: tuple, leaves: Sequence[Any], name: str) -> Runner | None:
        """A plan for these sizes from the trace of others."""
        for i, captured in enumerate(self.templates.get(alike, ())):
            if not captured.check.holds():
                continue
            try:
                runner = Runner(resized(captured, leaves), name, self.fold_batch_norm, self.prepack)
            except Unfit as unfit:
                if not i:
                    self.reasons.append(str(unfit))
                self.unfit[alike] = self.unfit.get(alike, 0) + 1
                continue
            if runner.matches(leaves):
                return runner
        return None

    def _keep(self, key: tuple, runner: Runner) -> Runner:
        plans = {k: list(known) for k, known in self.plans.items()}
        plans.setdefault(key, []).insert(0, runner)
        while sum(map(len, plans.values())) > MOST:
            oldest = next(iter(plans))
            plans[oldest].pop()
            if not plans[oldest]:
                del plans[oldest]
        self.__dict__["plans"] = plans
        return runner

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __getattr__(self, name: str) -> Any:
        if name in _OWN:
            raise AttributeError(name)
        return getattr(self.function, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.function, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.function, name)

    def __dir__(self) -> list[str]:
        return sorted({*_OWN, *dir(self.function)})

    def __repr__(self) -> str:
        return f"compile({self.function!r})"

    def __reduce__(self) -> tuple:
        options: dict[str, Any] = {n: getattr(self, n) for n in _OPTIONS}
        return functools.partial(compile, **options), (self.function,)


class CompiledModule(Compiled):
    """A compiled module, which passes for the module: it has its attributes and items, and may
    stand where a module may."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.function)

    def __getitem__(self, key: Any) -> Any:
        return self.function[key]  # type: ignore[index]

    def __len__(self) -> int:
        return len(self.function)  # type: ignore[arg-type]

    def __iter__(self) -> Any:
        return iter(self.function)  # type: ignore[call-overload]

    def __bool__(self) -> bool:
        return True


def _surroundings() -> tuple:
    """What a trace depends on besides the function: modes and settings."""
    cast = casting.get()
    modes = (is_grad_enabled(), None if cast is None else cast.low)
    return (*modes, get_default_dtype(), _threads.get_num_threads(), settings.target)


def _kind(x: Any) -> Any:
    """Under what a leaf is looked up: tensors by layout, numbers by type and value."""
    if isinstance(x, Array):
        if x._requires_grad is False and type(x) is Tensor:
            return x._layout
        return (x._layout, type(x), history_of(x))
    if isinstance(x, (bool, int, float, str, bytes, type(None))):
        return (type(x), x if x or not isinstance(x, float) else str(x))  # -0.0 is not 0.0
    return id(x)


def _but_for_sizes(key: tuple, leaves: Sequence[Any]) -> tuple:
    """A key with what of layouts may decide how a trace goes instead of the layouts: ranks, types,
    orders, which sizes are 0 or 1, and which are equal."""
    found: list[Any] = list(key[: len(key) - len(leaves)])
    sizes: list[int] = []
    for x, kind in zip(leaves, key[len(found) :], strict=True):
        if isinstance(x, Array):
            kind = (facts_of(x._layout), *(kind[1:] if isinstance(kind, tuple) else ()))
            sizes += x._layout.shape
        found.append(kind)
    first: dict[int, int] = {}
    return *found, *[first.setdefault(n, i) for i, n in enumerate(sizes)]
