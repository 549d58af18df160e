"""Optimizer: parameter groups, state, checkpoints and hooks; the base class of every optimizer.

sgd.py and adam.py subclass it and write only `update`; lr_scheduler.py reads its groups.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import chain
from typing import Any

import lucid
from lucid.nn.hooks import RemovableHandle, add_hook
from lucid.nn.transfer import forget_grad
from lucid.tracing import compiling, program

_global_step_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
_global_step_post_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()


class _Required:
    """The default of an option that every group has to give."""

    def __repr__(self) -> str:
        return "<required parameter>"


required = _Required()


def register_optimizer_step_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` before each step of every optimizer."""
    return add_hook(_global_step_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call `hook(optimizer, args, kwargs)` after each step of every optimizer."""
    return add_hook(_global_step_post_hooks, hook)


class Optimizer:
    """Base class of optimizers.

    `params`: parameters, (name, parameter) pairs, or dicts with "params" and options of that
    group; `defaults`: the options where a group gives none. A subclass defines `update(group)`,
    the formula, or `step` itself. Either way gradients are off in it and on in the closure.

    >>> import lucid
    >>> class Descent(lucid.optim.Optimizer):
    ...     def update(self, group):
    ...         for p in group["params"]:
    ...             p.sub_(p.grad * group["lr"])
    >>> p = lucid.nn.Parameter(lucid.tensor(3.0))
    >>> (p * p).backward()
    >>> Descent([p], {"lr": 0.5}).step()
    >>> p.item()
    0.0
    """

    _opt_called: bool  # set by the first step
    _stepping: bool  # set during a step

    def __init__(self, params: Any, defaults: dict[str, Any]) -> None:
        if isinstance(params, lucid.Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {type(params).__name__}"
            )
        self.defaults = defaults
        self.state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        self.param_groups: list[dict[str, Any]] = []
        self._make_hook_tables()
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _guarded(cls.__dict__["step"])  # type: ignore[method-assign]

    # ---- stepping -------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters from their gradients.

        A `closure` computes the loss, with its backward, first; its result is returned.
        """
        loss = None if closure is None else closure()
        for group in self.param_groups:
            self.update(group)
        return loss

    def update(self, group: dict[str, Any]) -> None:
        """The formula: change each parameter of `group` that has a gradient, in place."""
        raise NotImplementedError(f"{type(self).__name__} defines neither update() nor step()")

    def gradients(self, group: dict[str, Any]) -> list[tuple[Any, Any]]:
        """The parameters of `group` that have a gradient, with it; RuntimeError for a sparse one,
        before anything has changed."""
        found, sparse = self.dense_and_sparse(group)
        if sparse:
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients, please consider "
                "SparseAdam instead"
            )
        return found

    def dense_and_sparse(self, group: dict[str, Any]) -> tuple[list[tuple], list[tuple]]:
        """The parameters of `group` with a gradient and it, apart: the dense ones, the sparse."""
        found = [(p, g) for p in group["params"] if (g := p.grad) is not None]
        sparse = [row for row in found if row[1]._storage is None and row[1].is_sparse]
        if sparse and (tracer := program()) is not None:
            tracer.refuse("optimizer.step with sparse gradients", "call step() after the function")
        return [row for row in found if not row[1].is_sparse] if sparse else found, sparse

    def prepare(self, params: Iterable[Any]) -> Callable[[], None] | None:
        """Make the state of those of the parameters that have none, as a first step would, where
        it does not depend on the gradients: a compiled step does so while it is traced.

        Returns how to undo it, None where there was nothing to make.
        """
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget all gradients; with `set_to_none=False` fill them with zeros."""
        for group in self.param_groups:
            for parameter in group["params"]:
                forget_grad(parameter, set_to_none)

    # ---- groups ---------------------------------------------------------------------------

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group: a dict with "params" and any options that differ from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        group = param_group
        group["params"], names = _named_and_listed(group["params"])
        if names:
            group["param_names"] = names
        for parameter in group["params"]:
            if not isinstance(parameter, lucid.Tensor):
                raise TypeError(
                    "optimizer can only optimize Tensors, but one of the params is "
                    + type(parameter).__name__
                )
            if not (parameter.is_leaf or parameter.retains_grad):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in group:
                raise ValueError(
                    "parameter group didn't specify a value of required optimization parameter "
                    + name
                )
            group.setdefault(name, default)
        self._check_against_others(group)
        self.param_groups.append(group)

    def _check_against_others(self, group: dict[str, Any]) -> None:
        new = set(group["params"])
        if len(new) != len(group["params"]):
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, "
                "this will cause an error",
                stacklevel=4,
            )
        for other in self.param_groups:
            if ("param_names" in group) != ("param_names" in other):
                which = "with names" if "param_names" in group else "without names"
                raise ValueError(
                    "all optimizer param groups should be with/without names. "
                    f"cannot add param group {which} to the optimizer"
                )
            if not new.isdisjoint(other["params"]):
                raise ValueError("some parameters appear in more than one parameter group")

    # ---- checkpoints ----------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """{"state": ..., "param_groups": ...} with each parameter replaced by its number.

        PyTorch's optimizers read it, and the other way round.
        """
        for hook in self._optimizer_state_dict_pre_hooks.values():
            hook(self)
        numbers: dict[int, int] = {}
        groups = []
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            for parameter in group["params"]:
                numbers.setdefault(id(parameter), len(numbers))
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {
            numbers[id(k)] if isinstance(k, lucid.Tensor) else k: self._state_out(v)
            for k, v in self.state.items()
        }
        result = {"state": state, "param_groups": groups}
        for hook in self._optimizer_state_dict_post_hooks.values():
            replaced = hook(self, result)
            result = result if replaced is None else replaced
        return result

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over state and options; floating state is cast to its parameter's dtype and device.

        Raises ValueError where the number or the sizes of the groups differ.
        """
        state_dict = state_dict.copy()
        for hook in self._optimizer_load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        saved = deepcopy(state_dict["param_groups"])
        if len(saved) != len(self.param_groups):
            raise ValueError("loaded state dict has a different number of parameter groups")
        by_number: dict[int, lucid.Tensor] = {}
        for group, old in zip(self.param_groups, saved, strict=True):
            if len(group["params"]) != len(old["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of "
                    "optimizer's group"
                )
            by_number.update(zip(old["params"], group["params"], strict=True))
            old["params"] = group["params"]
            if "param_names" in group:
                old.setdefault("param_names", group["param_names"])
        state: defaultdict[Any, dict[str, Any]] = defaultdict(dict)
        for key, value in state_dict["state"].items():
            parameter = by_number.get(key)
            if parameter is None:
                state[key] = value
            else:
                state[parameter] = self._state_in(_cast_to(parameter, value))
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._optimizer_load_state_dict_post_hooks.values():
            hook(self)

    def _state_out(self, state: dict[str, Any]) -> dict[str, Any]:
        """One parameter's state as `state_dict` shows it."""
        return state

    def _state_in(self, state: dict[str, Any]) -> dict[str, Any]:
        """The reverse of `_state_out`."""
        return state

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if "_optimizer_step_pre_hooks" not in self.__dict__:
            self._make_hook_tables()
        for group in self.param_groups:
            for name, default in self.defaults.items():  # options newer than the checkpoint
                group.setdefault(name, default)

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"\nParameter Group {i}")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return type(self).__name__ + " (" + "\n".join(lines) + "\n)"

    # ---- hooks ----------------------------------------------------------------------------

    def _make_hook_tables(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict = OrderedDict()

    def register_step_pre_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` before each step; it may return new ones."""
        return add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable[..., Any]) -> RemovableHandle:
        """Call `hook(optimizer, args, kwargs)` after each step."""
        return add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` before `state_dict` gathers."""
        return add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend=prepend)

    def register_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` after; what it returns replaces the dict."""
        return add_hook(self._optimizer_state_dict_post_hooks, hook, prepend=prepend)

    def register_load_state_dict_pre_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer, state_dict)` before loading; a result replaces the dict."""
        return add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend=prepend)

    def register_load_state_dict_post_hook(
        self, hook: Callable[..., Any], prepend: bool = False
    ) -> RemovableHandle:
        """Call `hook(optimizer)` after loading."""
        return add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend=prepend)


def _guarded(step: Callable[..., Any]) -> Callable[..., Any]:
    """`step` with its hooks around it, gradients off inside it and on inside its closure."""

    @functools.wraps(step)
    def guarded(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        if self.__dict__.get("_stepping"):  # a subclass's step() has called its parent's
            return step(self, *args, **kwargs)
        if (tracer := compiling()) is not None:
            if args or kwargs:
                tracer.refuse("optimizer.step with arguments", "call step() without a closure")
            return tracer.host.optimizer(self, lambda: run(self), lambda: run(self))
        return run(self, *args, **kwargs)

    def run(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._stepping = True
        try:
            return hooked(self, *args, **kwargs)
        finally:
            del self._stepping

    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._opt_called = True  # schedulers ask
        for hook in chain(_global_step_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
            replaced = hook(self, args, kwargs)
            if replaced is not None:
                if not isinstance(replaced, tuple) or len(replaced) != 2:
                    raise RuntimeError(
                        f"{hook} must return None or a tuple of (new_args, new_kwargs), but got "
                        f"{replaced}."
                    )
                args, kwargs = replaced
        inner_args, inner_kwargs = args, kwargs
        if args and callable(args[0]):
            inner_args = (_recording(args[0]), *args[1:])
        elif callable(kwargs.get("closure")):
            inner_kwargs = {**kwargs, "closure": _recording(kwargs["closure"])}
        with lucid.no_grad():
            result = step(self, *inner_args, **inner_kwargs)
        for hook in chain(
            self._optimizer_step_post_hooks.values(), _global_step_post_hooks.values()
        ):
            hook(self, args, kwargs)
        return result

    return guarded


def _recording(closure: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(closure, assigned=("__doc__",), updated=())
    def recording(*args: Any, **kwargs: Any) -> Any:
        with lucid.enable_grad():
            return closure(*args, **kwargs)

    return recording


Optimizer.step = _guarded(Optimizer.step)  # type: ignore[method-assign]


def _named_and_listed(params: Any) -> tuple[list[Any], list[str]]:
    """The parameters as a list, and their names where they came as pairs."""
    if isinstance(params, lucid.Tensor):
        return [params], []
    if isinstance(params, set):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering "
            "of tensors in sets will change between runs. Please use a list instead."
        )
    listed = list(params)
    names = [pair[0] for pair in listed if isinstance(pair, tuple)]
    if names and len(names) != len(listed):
        raise ValueError(
            "all optimizer params should be with/without names. Some param names are missing"
        )
    return ([pair[1] for pair in listed] if names else listed), names


def _cast_to(parameter: lucid.Tensor, value: Any, key: Any = None) -> Any:
    """A copy of loaded state with its tensors made like `parameter`; counters stay as they are."""
    if isinstance(value, lucid.Tensor):
        if key == "step":
            return value
        if parameter.is_floating_point():
            return value.to(device=parameter.device, dtype=parameter.dtype)
        return value.to(device=parameter.device)
    if isinstance(value, dict):
        return {k: _cast_to(parameter, v, k) for k, v in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return type(value)(_cast_to(parameter, v) for v in value)  # type: ignore[call-arg]
    return value


def check_nonnegative(**values: Any) -> None:
    """Raise ValueError for an option below 0 (or NaN), or a tensor of several elements."""
    for name, value in values.items():
        if isinstance(value, lucid.Tensor) and value.numel() != 1:
            raise ValueError(
                f"Tensor {name} must be 1-element, got one of shape {tuple(value.shape)}"
            )
        if not 0.0 <= value:
            raise ValueError(f"Invalid {OPTION_NAMES.get(name, name + ' value')}: {value}")


def check_betas(betas: Any) -> None:
    """Raise ValueError for a decay rate outside of [0, 1)."""
    for i, beta in enumerate(betas):
        if not 0.0 <= beta < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {beta}")


OPTION_NAMES = {"lr": "learning rate", "eps": "epsilon value"}


def refuse(name: str, **options: Any) -> None:
    """Raise for each option that is set though this optimizer has no such form."""
    for option, value in options.items():
        if value:
            raise NotImplementedError(
                f"{name}: {option}={value!r} is not supported; leave it out or pass False"
            )
