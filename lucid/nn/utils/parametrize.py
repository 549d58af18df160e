"""Parametrizations: a parameter as a function of another tensor, which is the one that is learned.

`register_parametrization` puts the function in place; parametrizations.py has common ones.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from typing import Any

import lucid
from lucid.nn.container import ModuleDict, ModuleList
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization",
    "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip

_kept: dict[tuple[int, str], Any] = {}
_keeping = 0


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Within this block each parametrized tensor is computed once.

    >>> import lucid
    >>> from lucid.nn.utils import parametrize
    >>> with parametrize.cached():
    ...     y = lucid.nn.Linear(2, 1)(lucid.zeros(1, 2))
    """
    global _keeping
    _keeping += 1
    try:
        yield
    finally:
        _keeping -= 1
        if not _keeping:
            _kept.clear()


class ParametrizationList(ModuleList):
    """The functions of one tensor, in order, and what they start from: `original`, or `original0`,
    `original1`, .. where the first function takes several."""

    original: lucid.Tensor
    unsafe: bool

    def __init__(self, modules: Sequence[Module], original: lucid.Tensor, unsafe: bool = False):
        if not modules:
            raise ValueError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        new: Any = original
        with lucid.no_grad():
            for module in reversed(self):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):
                        new = module.right_inverse(new)
        self.is_tensor = isinstance(new, lucid.Tensor)
        self.ntensors = 1 if self.is_tensor else len(new)
        trained = isinstance(original, Parameter)
        if self.is_tensor and trained and not unsafe and new.dtype is not original.dtype:
            raise ValueError(
                f"right_inverse must give the dtype {original.dtype!r}, it gave {new.dtype!r}"
            )
        for name, value in zip(self._names(), [new] if self.is_tensor else new, strict=True):
            value = value.detach()
            if value is original or (self.is_tensor and new is original):
                value = original
            if trained:
                kept = isinstance(value, Parameter)
                made = value if kept else Parameter(value, original.requires_grad)
                self.register_parameter(name, made)
            else:
                self.register_buffer(name, value)
        if not unsafe:
            self._check(original)

    def _names(self) -> list[str]:
        return ["original"] if self.is_tensor else [f"original{i}" for i in range(self.ntensors)]

    def _check(self, original: lucid.Tensor) -> None:
        made = self()
        if not isinstance(made, lucid.Tensor):
            raise ValueError(f"A parametrization must return a tensor, got {type(made).__name__}.")
        if made.dtype is not original.dtype or made.shape != original.shape:
            raise ValueError(
                "Registering a parametrization may not change the tensor: it was "
                f"{original.dtype!r} of shape {tuple(original.shape)}, it would be {made.dtype!r} "
                f"of shape {tuple(made.shape)}; pass unsafe=True to do so anyway"
            )

    def right_inverse(self, value: lucid.Tensor) -> None:
        """Set the original so that the parametrized tensor is `value`, as far as it can be."""
        with lucid.no_grad():
            made: Any = value
            for module in reversed(self):
                if not hasattr(module, "right_inverse"):
                    raise RuntimeError(
                        f"parametrization {type(module).__name__} does not implement right_inverse."
                    )
                made = module.right_inverse(made)
            parts = [made] if self.is_tensor else list(made)
            if len(parts) != self.ntensors:
                raise ValueError(f"right_inverse gave {len(parts)} tensors, not {self.ntensors}")
            for name, part in zip(self._names(), parts, strict=True):
                target = getattr(self, name)
                if target.shape == part.shape and target.dtype is part.dtype:
                    target.copy_(part)
                else:
                    target.data = part

    def forward(self) -> Any:
        first, *rest = self
        value = first(*(getattr(self, name) for name in self._names()))
        for module in rest:
            value = module(value)
        return value


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        if not _keeping:
            return self.parametrizations[name]()
        key = (id(self), name)
        if key not in _kept:
            _kept[key] = self.parametrizations[name]()
        return _kept[key]

    def write(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(read, write)


_classes: dict[tuple[type, tuple[str, ...]], type] = {}


class _Parametrized:
    """What the class of a parametrized module has besides its own."""

    def __getstate__(self) -> Any:
        raise RuntimeError(
            "Serialization of parametrized modules is only supported through state_dict()."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        return made


def _set_class(module: Module, names: Sequence[str]) -> None:
    """The module's class, with a property for each name."""
    base = type_before_parametrizations(module)
    key = (base, tuple(sorted(names)))
    if key not in _classes:
        members = {name: _property(name) for name in key[1]}
        members |= {"_before": base, "__module__": base.__module__}  # type: ignore[dict-item]
        _classes[key] = type(f"Parametrized{base.__name__}", (_Parametrized, base), members)
    module.__class__ = _classes[key] if names else base


def type_before_parametrizations(module: Module) -> type:
    """The module's class as it was before any parametrization.

    >>> import lucid
    >>> m = lucid.nn.utils.parametrizations.weight_norm(lucid.nn.Linear(2, 3))
    >>> lucid.nn.utils.parametrize.type_before_parametrizations(m) is lucid.nn.Linear
    True
    """
    return getattr(type(module), "_before", type(module))


def is_parametrized(module: Module, tensor_name: str | None = None) -> bool:
    """Whether the module, or that tensor of it, has a parametrization.

    >>> import lucid
    >>> lucid.nn.utils.parametrize.is_parametrized(lucid.nn.Linear(2, 3))
    False
    """
    found = module._modules.get("parametrizations")
    if not isinstance(found, ModuleDict):
        return False
    return len(found) > 0 if tensor_name is None else tensor_name in found


def register_parametrization(
    module: Module, tensor_name: str, parametrization: Module, *, unsafe: bool = False
) -> Module:
    """Make `module.tensor_name` the result of `parametrization` on a learned tensor.

    That tensor is `module.parametrizations.tensor_name.original`; it starts from
    `parametrization.right_inverse(tensor)` where there is one. Several parametrizations of one
    tensor follow each other. Unless `unsafe`, shape and dtype must stay. Returns the module.

    >>> import lucid
    >>> class Symmetric(lucid.nn.Module):
    ...     def forward(self, x):
    ...         return x.triu() + x.triu(1).mT
    >>> m = lucid.nn.Linear(3, 3)
    >>> m = lucid.nn.utils.parametrize.register_parametrization(m, "weight", Symmetric())
    >>> lucid.equal(m.weight, m.weight.mT)
    True
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        made: Any = module.parametrizations[tensor_name]
        if not unsafe:
            before = getattr(module, tensor_name)
            after = parametrization(before)
            if after.shape != before.shape or after.dtype is not before.dtype:
                raise ValueError(
                    f"Registering a parametrization may not change the shape or dtype of "
                    f"{tensor_name!r}: {tuple(before.shape)} would become {tuple(after.shape)}; "
                    "pass unsafe=True to do so anyway"
                )
        made.append(parametrization)
        made.unsafe |= unsafe
        return module
    if tensor_name not in module._parameters and tensor_name not in module._buffers:
        raise ValueError(
            f"Module '{type(module).__name__}' does not have a parameter, a buffer, or a "
            f"parametrized element with name '{tensor_name}'"
        )
    original = getattr(module, tensor_name)
    made = ParametrizationList([parametrization], original, unsafe)
    delattr(module, tensor_name)
    if not is_parametrized(module):
        module.parametrizations = ModuleDict()
    module.parametrizations[tensor_name] = made
    _set_class(module, list(module.parametrizations.keys()))
    return module


def remove_parametrizations(
    module: Module, tensor_name: str, leave_parametrized: bool = True
) -> Module:
    """Make `module.tensor_name` a plain tensor again: its present value, or the original.

    >>> import lucid
    >>> nn = lucid.nn
    >>> m = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3))
    >>> list(nn.utils.parametrize.remove_parametrizations(m, "weight").state_dict())
    ['bias', 'weight']
    """
    if not is_parametrized(module, tensor_name):
        raise ValueError(f"Module {module} does not have a parametrization on {tensor_name}")
    made: Any = module.parametrizations[tensor_name]
    trained = bool(made._parameters)
    if leave_parametrized:
        with lucid.no_grad():
            value = getattr(module, tensor_name).detach().clone()
        if trained:
            value = Parameter(value, any(p.requires_grad for p in made._parameters.values()))
    elif made.is_tensor:
        value = made.original
    else:
        raise ValueError(
            "Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is "
            "parametrized in terms of a sequence of tensors."
        )
    del module.parametrizations[tensor_name]
    _set_class(module, list(module.parametrizations.keys()))
    if not len(module.parametrizations):
        del module.parametrizations
    if trained:
        module.register_parameter(tensor_name, value)
    else:
        module.register_buffer(tensor_name, value)
    return module


def transfer_parametrizations_and_params(
    from_module: Module, to_module: Module, tensor_name: str | None = None
) -> Module:
    """Give `to_module` the parametrizations of `from_module`, of one tensor or all, and values.

    >>> import lucid
    >>> nn = lucid.nn
    >>> a, b = nn.utils.parametrizations.weight_norm(nn.Linear(2, 3)), nn.Linear(2, 3)
    >>> b = nn.utils.parametrize.transfer_parametrizations_and_params(a, b)
    >>> lucid.equal(a.weight, b.weight)
    True
    """
    if not is_parametrized(from_module, tensor_name):
        raise AssertionError(
            f"transfer_parametrizations_and_params: {type(from_module).__name__} has no "
            f"parametrization{'' if tensor_name is None else f' of {tensor_name!r}'}"
        )
    names = list(from_module.parametrizations.keys()) if tensor_name is None else [tensor_name]
    for name in names:
        source: Any = from_module.parametrizations[name]
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach().clone()))
        for module in source:
            register_parametrization(to_module, name, copy.deepcopy(module), unsafe=True)
        target: Any = to_module.parametrizations[name]
        for part in source._names():
            value = getattr(source, part).detach().clone()
            if hasattr(target, part):
                getattr(target, part).data = value
    return to_module
