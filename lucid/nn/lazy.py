"""Parameters and buffers whose shapes the first input tells: what lazy modules are made of.

lazy_layers.py has the layers; users' own modules may take `LazyModuleMixin` too.
"""

from __future__ import annotations

from typing import Any

import lucid
from lucid.nn.module import Module
from lucid.nn.parameter import Buffer, Parameter


class UninitializedTensorMixin:
    """A tensor without a shape until `materialize` gives it one."""

    cls_to_become: type = lucid.Tensor

    def materialize(self: Any, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give it memory of this shape; from now on it is an ordinary parameter or buffer."""
        kind = self.dtype if dtype is None else dtype
        made = lucid.empty(tuple(shape), device=device, dtype=kind)
        self.__class__ = self.cls_to_become
        self.data = made

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "an uninitialized parameter or buffer has no shape yet: call the module on an input "
            "first, or materialize() it"
        )

    def detach(self) -> Any:
        """Itself: state_dict() saves it as it is."""
        return self

    def __deepcopy__(self: Any, memo: dict[int, Any]) -> Any:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, None, self.dtype)
        return memo[id(self)]

    def __reduce_ex__(self: Any, protocol: Any) -> tuple:
        return type(self), (self.requires_grad, None, self.dtype)


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter without a shape: what lazy modules have before their first call.

    >>> import lucid
    >>> from lucid.nn.lazy import UninitializedParameter
    >>> w = UninitializedParameter()
    >>> w.materialize((2, 3))
    >>> w.shape, type(w) is lucid.nn.Parameter
    (lucid.Size([2, 3]), True)
    """

    cls_to_become = Parameter

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        data = lucid.empty(0, device=device, dtype=dtype)
        return lucid.Tensor._make_subclass(cls, data, requires_grad)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        pass

    def __repr__(self) -> str:  # type: ignore[override]
        return "<UninitializedParameter>"


class UninitializedBuffer(UninitializedTensorMixin, Buffer):
    """A buffer without a shape: what lazy modules have before their first call.

    >>> import lucid
    >>> b = lucid.nn.UninitializedBuffer()
    >>> b.materialize((4,))
    >>> b.shape
    lucid.Size([4])
    """

    cls_to_become = Buffer

    def __new__(
        cls,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> UninitializedBuffer:
        data = lucid.empty(0, device=device, dtype=dtype)
        buffer = lucid.Tensor._make_subclass(cls, data, requires_grad)
        buffer.persistent = persistent
        return buffer

    def __init__(
        self,
        requires_grad: bool = False,
        device: Any = None,
        dtype: Any = None,
        persistent: bool = True,
    ) -> None:
        pass

    def __repr__(self) -> str:  # type: ignore[override]
        return "<UninitializedBuffer>"


def is_lazy(tensor: object) -> bool:
    """Whether it is a parameter or buffer without a shape."""
    return isinstance(tensor, UninitializedTensorMixin)


class LazyModuleMixin(Module):
    """A module that makes its parameters at the first call, by `initialize_parameters(*inputs)`.

    Take it before the layer's own class; `cls_to_become`, if any, is the module's class from then
    on. A state dict of an initialized module loads into an uninitialized one.
    """

    cls_to_become: type | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(
            self._infer_parameters, with_kwargs=True
        )

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Materialize what has no shape, from the arguments of the first call."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def has_uninitialized_params(self) -> bool:
        """Whether any parameter or buffer of its own has no shape yet."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        self.initialize_parameters(*args, **kwargs)
        if self.has_uninitialized_params():
            raise RuntimeError(
                f"{type(self).__name__}: initialize_parameters left a parameter without a shape"
            )
        self._initialize_hook.remove()
        self._load_hook.remove()
        del self._initialize_hook, self._load_hook
        if self.cls_to_become is not None:
            self.__class__ = self.cls_to_become

    def _lazy_load_hook(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Materialize what the state dict has a shape for."""
        for name, own in (*self._parameters.items(), *self._buffers.items()):
            given = state_dict.get(prefix + name)
            if isinstance(own, UninitializedTensorMixin) and given is not None:
                if not is_lazy(given):
                    with lucid.no_grad():
                        own.materialize(given.shape)

    def _load_one(
        self, name: str, own: Any, key: str, given: Any, assign: bool, errors: list[str]
    ) -> None:
        if is_lazy(given) and is_lazy(own):
            return
        if is_lazy(given):
            errors.append(f'the parameter named "{key}" has no shape in the checkpoint')
            return
        super()._load_one(name, own, key, given, assign, errors)
