"""`lucid.autograd.graph`: what a graph keeps for backward, and hooks over several tensors.

Called by users, under PyTorch's names.
"""

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lucid.array import Array
from lucid.autograd import engine
from lucid.autograd.gradients import register_hook
from lucid.autograd.node import Handle, Node
from lucid.autograd.packing import packing, packs
from lucid.write import needs_gradient

__all__ = [
    "Node", "disable_saved_tensors_hooks", "increment_version", "register_multi_grad_hook",
    "save_on_cpu", "saved_tensors_hooks",
]  # fmt: skip

_refused: ContextVar[str | None] = ContextVar("lucid_hooks_refused", default=None)


class saved_tensors_hooks:
    """Within this block each tensor that an operation keeps for backward is kept as what
    `pack_hook(tensor)` gives, anything at all; backward takes `unpack_hook` of that in its place.

    What is unpacked must have the shape and dtype of what was packed. Hooks get tensors without
    history, run without gradients, and must not modify them. In nested blocks the innermost hooks
    are used. A tensor is packed for every operation that keeps it. `checkpoint`, and functions
    compiled by `lucid.compile`, keep what they keep in their own way.

    >>> import lucid
    >>> from lucid.autograd.graph import saved_tensors_hooks
    >>> x = lucid.tensor([3.0], requires_grad=True)
    >>> with saved_tensors_hooks(lambda t: t.numpy().copy(), lambda a: lucid.tensor(a)):
    ...     y = x * x
    >>> y.backward()
    >>> x.grad
    tensor([6.])
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        for name, hook in (("pack_hook", pack_hook), ("unpack_hook", unpack_hook)):
            if not callable(hook):
                raise TypeError(f"saved_tensors_hooks: {name} is not callable: {hook!r:.60}")
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook
        self._tokens: list[Any] = []

    def __enter__(self) -> None:
        message = _refused.get()
        if message is not None:
            raise RuntimeError(message)
        packs[:] = [True]
        self._tokens.append(packing.set((self.pack_hook, self.unpack_hook)))

    def __exit__(self, *error: object) -> None:
        packing.reset(self._tokens.pop())


class save_on_cpu(saved_tensors_hooks):
    """Within this block what operations keep for backward is kept on the CPU, and moved back to its
    device by backward. A tensor that is there already is kept as it is.

    pin_memory: in pinned memory, where a device needs it; on the CPU it is ordinary memory.

    >>> import lucid
    >>> x = lucid.ones(2, requires_grad=True)
    >>> with lucid.autograd.graph.save_on_cpu():
    ...     y = (x * x).sum()
    >>> y.backward()
    """

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        def pack(x: Any) -> tuple[Any, Any]:
            there = x.to("cpu")
            return x.device, there.pin_memory() if pin_memory else there

        def unpack(kept: tuple[Any, Any]) -> Any:
            device, x = kept
            return x.to(device)

        super().__init__(pack, unpack)


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Within this block `saved_tensors_hooks` raises RuntimeError with this message.

    >>> from lucid.autograd.graph import disable_saved_tensors_hooks
    >>> with disable_saved_tensors_hooks("not here"):
    ...     pass
    """
    token = _refused.set(error_message)
    try:
        yield
    finally:
        _refused.reset(token)


def increment_version(tensor: Any) -> None:
    """Say that the elements of a tensor, or of several, were modified where Lucid cannot see it (in
    a NumPy array of the same bytes): a backward pass that needs the old ones then raises.

    >>> import lucid
    >>> x = lucid.zeros(2)
    >>> lucid.autograd.graph.increment_version(x)
    >>> x._version
    1
    """
    for x in [tensor] if isinstance(tensor, Array) else tensor:
        if not isinstance(x, Array):
            raise TypeError(f"increment_version: {type(x).__name__} is not a tensor")
        if x._storage is None:
            raise RuntimeError("increment_version: a tensor in a trace or level has no version")
        x._storage.version += 1


class _Handles:
    """What `register_multi_grad_hook` returns: `remove()` takes all of its hooks out."""

    def __init__(self, handles: Sequence[Handle]):
        self.handles = list(handles)

    def remove(self) -> None:
        """Take the hook out again."""
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> "_Handles":
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()


def register_multi_grad_hook(
    tensors: Iterable[Any], fn: Callable[..., None], *, mode: str = "all"
) -> _Handles:
    """Call fn once in each backward pass: mode "all": when the gradients of all tensors that the
    pass reaches are known, with a list of them, None for the others; mode "any": at the first of
    them, with that gradient. What fn returns is not looked at. Returns a handle with `remove()`.

    >>> import lucid
    >>> x, w = lucid.ones(1, requires_grad=True), lucid.ones(1, requires_grad=True)
    >>> handle = lucid.autograd.graph.register_multi_grad_hook((x, w), lambda gs: print(len(gs)))
    >>> (x * w).backward()
    2
    """
    listed = list(tensors)
    if mode not in ("all", "any"):
        raise ValueError(f"register_multi_grad_hook: mode must be 'all' or 'any', got {mode!r}")
    wanted = [i for i, x in enumerate(listed) if needs_gradient(x)]
    if not wanted:
        raise RuntimeError("register_multi_grad_hook: none of the tensors requires a gradient")
    hook = _All(listed, fn) if mode == "all" else _Any(fn)
    return _Handles([register_hook(listed[i], hook.of(i)) for i in wanted])


class _Any:
    def __init__(self, fn: Callable[[Any], None]):
        self.fn = fn
        self.passes: weakref.WeakSet = weakref.WeakSet()  # in which fn was called
        self.lock = threading.Lock()

    def of(self, place: int) -> Callable[[Any], None]:
        def arrived(g: Any) -> None:
            now = engine.current()
            with self.lock:
                first = now not in self.passes
                self.passes.add(now)
            if first:
                self.fn(g)

        return arrived


class _All:
    def __init__(self, tensors: list[Any], fn: Callable[[list[Any]], None]):
        self.tensors, self.fn = tensors, fn
        self.lock = threading.Lock()
        # pass -> gradients so far, how many are still to come
        self.found: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()

    def of(self, place: int) -> Callable[[Any], None]:
        def arrived(g: Any) -> None:
            now = engine.current()
            with self.lock:
                if now not in self.found:
                    count = sum(needs_gradient(x) and now.reaches(x) for x in self.tensors)
                    self.found[now] = [None] * len(self.tensors), [count]
                gradients, left = self.found[now]
                gradients[place] = g
                left[0] -= 1
                if left[0]:
                    return
                del self.found[now]
            self.fn(gradients)

        return arrived
