"""Hooks of modules: registration, the hooked form of a call, and the global hooks of all modules.

module.py mixes `Hooked` into Module and takes `call_with_hooks` when a module has any hook;
optim/optimizer.py uses `RemovableHandle` too.
"""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import lucid
from lucid.tracing import change, tracing

_ids = count()

Hook = Callable[..., Any]


class RemovableHandle:
    """What every `register_*hook` returns: `remove()` takes the hook away; works with `with` too.

    It holds no hook and no module, only weak references to the tables in which the hook stands.
    """

    def __init__(self, table: OrderedDict, *, extra_dict: Any = None) -> None:
        self.id = next(_ids)
        extras = extra_dict if isinstance(extra_dict, list | tuple) else [extra_dict]
        self._tables = [weakref.ref(t) for t in (table, *extras) if t is not None]

    def remove(self) -> None:
        for reference in self._tables:
            table = reference()
            if table is not None:
                table.pop(self.id, None)
        change()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple:
        return self.id, [reference() for reference in self._tables]

    def __setstate__(self, state: tuple) -> None:
        self.id, tables = state
        self._tables = [weakref.ref(t) for t in tables if t is not None]


def add_hook(
    table: OrderedDict, hook: Hook, *, prepend: bool = False, flags: tuple[OrderedDict, ...] = ()
) -> RemovableHandle:
    """Put `hook` into `table`, at the front if `prepend`, and its id into each table of `flags`."""
    handle = RemovableHandle(table, extra_dict=flags)
    table[handle.id] = hook
    change()
    for flag in flags:
        flag[handle.id] = True
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


# Tables of the hooks of all modules. An id stands in `global_calls` while any hook that concerns
# calls is registered: the one thing that the unhooked path of Module.__call__ looks at.
global_calls: OrderedDict[int, bool] = OrderedDict()
_global_forward_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
_global_forward_hooks: OrderedDict[int, Hook] = OrderedDict()
_global_forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
_global_forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
_global_backward_pre_hooks: OrderedDict[int, Hook] = OrderedDict()
_global_backward_hooks: OrderedDict[int, Hook] = OrderedDict()
_global_plain_backward_hooks: OrderedDict[int, Hook] = OrderedDict()
global_parameter_registration: OrderedDict[int, Hook] = OrderedDict()
global_buffer_registration: OrderedDict[int, Hook] = OrderedDict()
global_module_registration: OrderedDict[int, Hook] = OrderedDict()


def register_module_forward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, args)` before the forward of every module."""
    return add_hook(_global_forward_pre_hooks, hook, flags=(global_calls,))


def register_module_forward_hook(
    hook: Hook, *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Call `hook(module, args, output)` after the forward of every module."""
    flags = [global_calls]
    flags += [_global_forward_hooks_with_kwargs] if with_kwargs else []
    flags += [_global_forward_hooks_always_called] if always_call else []
    return add_hook(_global_forward_hooks, hook, flags=tuple(flags))


def register_module_full_backward_pre_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_output)` when the gradients of a module's outputs are known."""
    return add_hook(_global_backward_pre_hooks, hook, flags=(global_calls,))


def register_module_full_backward_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, grad_input, grad_output)` when those of a module's inputs are known."""
    if _global_plain_backward_hooks:
        raise RuntimeError(_MIXED_GLOBAL)
    return add_hook(_global_backward_hooks, hook, flags=(global_calls,))


def register_module_backward_hook(hook: Hook) -> RemovableHandle:
    """The older form: gradients of the last operation of a module only. Prefer the full form."""
    if _global_backward_hooks:
        raise RuntimeError(_MIXED_GLOBAL)
    return add_hook(_global_plain_backward_hooks, hook, flags=(global_calls,))


def register_module_parameter_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, parameter)` when a parameter is registered; it may replace it."""
    return add_hook(global_parameter_registration, hook)


def register_module_buffer_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, buffer)` when a buffer is registered; it may replace it."""
    return add_hook(global_buffer_registration, hook)


def register_module_module_registration_hook(hook: Hook) -> RemovableHandle:
    """Call `hook(module, name, submodule)` when a submodule is registered; it may replace it."""
    return add_hook(global_module_registration, hook)


_MIXED_GLOBAL = (
    "Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
    "Please use only one of them."
)
_MIXED = (
    "Cannot use both regular backward hooks and full backward hooks on a single Module. "
    "Please use only one of them."
)


class Hooked:
    """The `register_*hook` methods of Module; module.py makes the tables."""

    _hooked: bool  # True once any hook that concerns calls was registered here
    _forward_pre_hooks: OrderedDict[int, Hook]
    _forward_pre_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks: OrderedDict[int, Hook]
    _forward_hooks_with_kwargs: OrderedDict[int, bool]
    _forward_hooks_always_called: OrderedDict[int, bool]
    _backward_pre_hooks: OrderedDict[int, Hook]
    _backward_hooks: OrderedDict[int, Hook]
    _is_full_backward_hook: bool | None

    def register_forward_pre_hook(
        self, hook: Hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call `hook(module, args)` before each forward; what it returns replaces the arguments.

        With `with_kwargs`, `hook(module, args, kwargs)`, which returns None or (args, kwargs).
        """
        self.__dict__["_hooked"] = True
        flags = (self._forward_pre_hooks_with_kwargs,) if with_kwargs else ()
        return add_hook(self._forward_pre_hooks, hook, prepend=prepend, flags=flags)

    def register_forward_hook(
        self,
        hook: Hook,
        *,
        prepend: bool = False,
        with_kwargs: bool = False,
        always_call: bool = False,
    ) -> RemovableHandle:
        """Call `hook(module, args, output)` after each forward; a result replaces the output.

        With `with_kwargs`, `hook(module, args, kwargs, output)`. With `always_call` it runs when
        the forward raised too.
        """
        self.__dict__["_hooked"] = True
        flags = [self._forward_hooks_with_kwargs] if with_kwargs else []
        flags += [self._forward_hooks_always_called] if always_call else []
        return add_hook(self._forward_hooks, hook, prepend=prepend, flags=tuple(flags))

    def register_full_backward_pre_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_output)` in backward, before the module's own gradients.

        What it returns, a tensor or tuple, replaces `grad_output`.
        """
        self.__dict__["_hooked"] = True
        return add_hook(self._backward_pre_hooks, hook, prepend=prepend)

    def register_full_backward_hook(self, hook: Hook, prepend: bool = False) -> RemovableHandle:
        """Call `hook(module, grad_input, grad_output)` in backward, once both are known.

        What it returns, a tensor or tuple, replaces `grad_input`. Entries that belong to no
        tensor, or to one without gradient, are None.
        """
        return self._add_backward_hook(hook, True, prepend)

    def register_backward_hook(self, hook: Hook) -> RemovableHandle:
        """The older form: sees the last operation of the forward only. Prefer the full form."""
        return self._add_backward_hook(hook, False, False)

    def _add_backward_hook(self, hook: Hook, full: bool, prepend: bool) -> RemovableHandle:
        if self._is_full_backward_hook is (not full) and self._backward_hooks:
            raise RuntimeError(_MIXED)
        self.__dict__.update(_is_full_backward_hook=full, _hooked=True)
        return add_hook(self._backward_hooks, hook, prepend=prepend)


def call_with_hooks(module: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`module.forward(*args, **kwargs)` with every hook that applies, in the order of PyTorch."""
    compiled = module.__dict__.get("_compiled")
    if compiled is not None and tracing() is None:
        return compiled(*args, **kwargs)
    if compiled is None and not _has_hooks(module):  # all were removed: back to the short way
        module.__dict__["_hooked"] = False
        return module.forward(*args, **kwargs)
    done: set[int] = set()
    result = None
    try:
        args, kwargs = _before(module, args, kwargs)
        full = module._is_full_backward_hook is not False
        backward = [*_global_backward_hooks.values()]
        backward += module._backward_hooks.values() if full else ()
        backward_pre = [*_global_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
        boundary = Boundary(module, backward, backward_pre) if backward or backward_pre else None
        if boundary is not None:
            args = boundary.enter(args)
        result = module.forward(*args, **kwargs)
        for key, hook, with_kwargs, _ in _after(module):
            done.add(key)
            result = _call_after(module, hook, with_kwargs, args, kwargs, result)
        if boundary is not None:
            result = boundary.leave(result)
        _attach_plain_backward(module, result)
        return result
    except Exception:
        for key, hook, with_kwargs, always in _after(module):
            if not always or key in done:
                continue
            try:
                result = _call_after(module, hook, with_kwargs, args, kwargs, result)
            except Exception as error:
                warnings.warn(
                    "module forward hook with ``always_call=True`` raised an exception that was "
                    f"silenced as another error was raised in forward: {error!s}",
                    stacklevel=3,
                )
        raise


def _call_after(
    module: Any, hook: Hook, with_kwargs: bool, args: tuple, kwargs: dict[str, Any], result: Any
) -> Any:
    if with_kwargs:
        replaced = hook(module, args, kwargs, result)
    else:
        replaced = hook(module, args, result)
    return result if replaced is None else replaced


def _has_hooks(module: Any) -> bool:
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or global_calls
    )


def _before(module: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments after the forward pre-hooks, the global ones first."""
    for hook in list(_global_forward_pre_hooks.values()):
        args = _replaced(hook(module, args), args)
    for key, hook in list(module._forward_pre_hooks.items()):
        if key not in module._forward_pre_hooks_with_kwargs:
            args = _replaced(hook(module, args), args)
            continue
        pair = hook(module, args, kwargs)
        if pair is None:
            continue
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise RuntimeError(
                "forward pre-hook must return None or a tuple of (new_args, new_kwargs), "
                f"but got {pair}."
            )
        args, kwargs = pair
    return args, kwargs


def _replaced(result: Any, args: tuple) -> tuple:
    if result is None:
        return args
    return result if isinstance(result, tuple) else (result,)


def _after(module: Any) -> list[tuple[int, Hook, bool, bool]]:
    """(id, hook, with_kwargs, always_call) of the forward hooks, the global ones first."""
    tables = (
        (
            _global_forward_hooks,
            _global_forward_hooks_with_kwargs,
            _global_forward_hooks_always_called,
        ),
        (
            module._forward_hooks,
            module._forward_hooks_with_kwargs,
            module._forward_hooks_always_called,
        ),
    )
    return [
        (key, hook, key in with_kwargs, key in always)
        for hooks, with_kwargs, always in tables
        for key, hook in hooks.items()
    ]


class FullBackwardHook(lucid.autograd.Function):
    """The identity on several tensors at once; in backward their gradients pass `callback`."""

    @staticmethod
    def forward(ctx: Any, callback: Hook, *tensors: lucid.Tensor) -> tuple[lucid.Tensor, ...]:
        ctx.callback = callback
        ctx.set_materialize_grads(False)
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: lucid.Tensor | None) -> tuple[lucid.Tensor | None, ...]:
        return (None, *ctx.callback(grads))


class Boundary:
    """Full backward hooks of one call: gates around the forward catch all gradients together."""

    def __init__(self, module: Any, hooks: list[Hook], pre_hooks: list[Hook]) -> None:
        self.module = module
        self.hooks = hooks
        self.pre_hooks = pre_hooks
        self.grad_output: tuple | None = None
        self.has_input_gate = False
        self.inputs: list[int] = []
        self.outputs: list[int] = []
        self.input_count = 0
        self.output_count = 0

    def enter(self, args: tuple) -> tuple:
        """Arguments whose gradients pass `input_gradients`."""
        self.inputs = _recorded(args)
        self.input_count = len(args)
        self.has_input_gate = bool(self.inputs and self.hooks)
        return _gated(args, self.inputs, self.input_gradients) if self.has_input_gate else args

    def leave(self, result: Any) -> Any:
        """The result, its gradients passing `output_gradients`; not a tensor or tuple: as is."""
        outputs = result if isinstance(result, tuple) else (result,)
        self.outputs = _recorded(outputs)
        self.output_count = len(outputs)
        if not self.outputs:
            return result
        gated = _gated(outputs, self.outputs, self.output_gradients)
        return gated if isinstance(result, tuple) else gated[0]

    def output_gradients(self, grads: tuple) -> tuple:
        grad_output = _spread(grads, self.outputs, self.output_count)
        for hook in self.pre_hooks:
            replaced = hook(self.module, grad_output)
            if replaced is not None:
                grad_output = _checked("Backward pre hook", replaced, self.output_count)
        self.grad_output = grad_output
        if not self.has_input_gate and self.hooks:  # no input needs a gradient: now or never
            nothing = (None,) * self.input_count
            for hook in self.hooks:
                replaced = hook(self.module, nothing, grad_output)
                if replaced is not None and any(g is not None for g in _as_tuple(replaced)):
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should "
                        "always return None or None for all gradients."
                    )
        return tuple(grad_output[i] for i in self.outputs)

    def input_gradients(self, grads: tuple) -> tuple:
        if self.grad_output is None:
            return grads  # the output took no part in this backward pass
        grad_input = _spread(grads, self.inputs, self.input_count)
        for hook in self.hooks:
            replaced = hook(self.module, grad_input, self.grad_output)
            if replaced is not None:
                grad_input = _checked("Backward hook", replaced, self.input_count)
        self.grad_output = None
        return tuple(grad_input[i] for i in self.inputs)


def _recorded(values: tuple) -> list[int]:
    """Where the tensors stand that a gradient will reach."""
    if not lucid.is_grad_enabled():
        return []
    return [i for i, v in enumerate(values) if isinstance(v, lucid.Tensor) and v.requires_grad]


def _gated(values: tuple, places: list[int], callback: Hook) -> tuple:
    gated = list(values)
    passed = FullBackwardHook.apply(callback, *[values[i] for i in places])
    for i, tensor in zip(places, passed, strict=True):
        gated[i] = tensor
    # a named tuple is rebuilt field by field
    kind = type(values)
    return kind(*gated) if hasattr(kind, "_fields") else tuple(gated)


def _spread(grads: tuple, places: list[int], length: int) -> tuple:
    full: list[Any] = [None] * length
    for i, g in zip(places, grads, strict=True):
        full[i] = g
    return tuple(full)


def _as_tuple(value: Any) -> tuple:
    return value if isinstance(value, tuple) else (value,)


def _checked(what: str, value: Any, length: int) -> tuple:
    value = _as_tuple(value)
    if len(value) != length:
        raise RuntimeError(
            f"{what} returned an invalid number of grad_input or grad_output: "
            f"got {len(value)}, but expected {length}"
        )
    return value


def _attach_plain_backward(module: Any, result: Any) -> None:
    """The older backward hooks: on the Node that made the first tensor of the result."""
    hooks = [*_global_plain_backward_hooks.values()]
    if module._is_full_backward_hook is False:
        hooks += module._backward_hooks.values()
    if not hooks:
        return
    while not isinstance(result, lucid.Tensor):
        if isinstance(result, dict):
            result = next((v for v in result.values() if isinstance(v, lucid.Tensor)), None)
        elif isinstance(result, list | tuple) and result:
            result = result[0]
        else:
            return
    if result.grad_fn is not None:
        for hook in hooks:
            result.grad_fn.register_hook(partial(hook, module))
