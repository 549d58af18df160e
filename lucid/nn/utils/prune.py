"""Pruning: parameters times masks, by a rule that chooses what to leave out. Called by users.

A pruned `weight` is weight_orig (a parameter) times weight_mask (a buffer), before each forward.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

import lucid
from lucid.nn.module import Module

__all__ = [
    "BasePruningMethod", "CustomFromMask", "Identity", "L1Unstructured", "LnStructured",
    "PruningContainer", "RandomStructured", "RandomUnstructured", "custom_from_mask",
    "global_unstructured", "identity", "is_pruned", "l1_unstructured", "ln_structured",
    "random_structured", "random_unstructured", "remove",
]  # fmt: skip


class BasePruningMethod:
    """A rule: `compute_mask(t, default_mask)` gives ones where elements stay.

    PRUNING_TYPE says what it chooses from: "unstructured" elements, "structured" slices along
    `dim`, or "global", elements of several tensors.
    """

    PRUNING_TYPE = "unstructured"
    _tensor_name: str

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        raise NotImplementedError

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    def apply_mask(self, module: Module) -> lucid.Tensor:
        """The tensor times its mask."""
        name = self._tensor_name
        original = getattr(module, name + "_orig")
        return getattr(module, name + "_mask").to(original.dtype) * original

    @classmethod
    def apply(
        cls,
        module: Module,
        name: str,
        *args: Any,
        importance_scores: lucid.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Prune `module.name` by this rule, after what was pruned before."""
        method: Any = cls(*args, **kwargs)
        method._tensor_name = name
        found = [
            (key, hook)
            for key, hook in module._forward_pre_hooks.items()
            if isinstance(hook, BasePruningMethod) and hook._tensor_name == name
        ]
        pruned = getattr(module, name)
        scores = pruned if importance_scores is None else importance_scores
        if scores.shape != pruned.shape:
            raise AssertionError(
                f"importance_scores of shape {tuple(scores.shape)} for {name!r} of shape "
                f"{tuple(pruned.shape)}"
            )
        if found:
            key, before = found[0]
            container: Any = before
            if not isinstance(before, PruningContainer):
                container = PruningContainer(before)
                container._tensor_name = name
            container.add_pruning_method(method)
            del module._forward_pre_hooks[key]
            mask = container.compute_mask(scores, getattr(module, name + "_mask"))
            method = container
            setattr(module, name + "_mask", mask.to(pruned.dtype))
        else:
            original = module._parameters[name]
            if original is None:
                raise ValueError(f"prune: the parameter {name!r} is None")
            mask = method.compute_mask(scores.detach(), lucid.ones_like(pruned))
            delattr(module, name)
            module.register_parameter(name + "_orig", original)
            module.register_buffer(name + "_mask", mask.to(original.dtype))
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(
        self,
        t: lucid.Tensor,
        default_mask: lucid.Tensor | None = None,
        importance_scores: lucid.Tensor | None = None,
    ) -> lucid.Tensor:
        """A tensor pruned by this rule, on its own."""
        scores = t if importance_scores is None else importance_scores
        mask = lucid.ones_like(t) if default_mask is None else default_mask
        return t * self.compute_mask(scores, mask)

    def remove(self, module: Module) -> None:
        """Make the pruned tensor the parameter."""
        name = self._tensor_name
        value = self.apply_mask(module).detach()
        if name in module.__dict__ or hasattr(module, name):
            delattr(module, name)
        original = module._parameters[name + "_orig"]
        assert original is not None
        original.data = value
        del module._parameters[name + "_orig"]
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several rules for one tensor, each on what those before it have left."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._methods = list(args)
        if args:
            self._tensor_name = args[0]._tensor_name

    def add_pruning_method(self, method: BasePruningMethod) -> None:
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if method._tensor_name != self._tensor_name:
            raise ValueError(
                "Can only add pruning methods acting on the parameter named "
                f"'{self._tensor_name}' to {self}. Found '{method._tensor_name}'"
            )
        self._methods.append(method)

    def __len__(self) -> int:
        return len(self._methods)

    def __iter__(self) -> Any:
        return iter(self._methods)

    def __getitem__(self, index: int) -> BasePruningMethod:
        return self._methods[index]

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        """The latest rule's mask, on the elements that are still there."""
        method, kept = self._methods[-1], default_mask.numpy() != 0
        if method.PRUNING_TYPE == "unstructured":
            chosen: Any = kept
        elif method.PRUNING_TYPE == "structured":
            dim = method.dim % t.dim()  # type: ignore[attr-defined]
            others = tuple(d for d in range(t.dim()) if d != dim)
            chosen = tuple(
                kept.any(others).nonzero()[0] if d == dim else slice(None) for d in range(t.dim())
            )
        else:
            chosen = (slice(None),) * t.dim()
        mask = default_mask.numpy().copy()
        part = lucid.from_numpy(np.ascontiguousarray(t.detach().numpy()[chosen]))
        before = lucid.from_numpy(np.ascontiguousarray(mask[chosen]))
        mask[chosen] = method.compute_mask(part, before).numpy()
        return lucid.from_numpy(mask)


def _count(amount: Any, size: int) -> int:
    """A number, or a fraction of `size`, of what is left out; raises what cannot be."""
    if not isinstance(amount, (int, float)):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if isinstance(amount, float) and not 0.0 <= amount <= 1.0 or amount < 0:
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a non-negative "
            "integer"
        )
    if isinstance(amount, int) and amount > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters {size}")
    return round(float(amount) * size) if isinstance(amount, float) else int(amount)


class Identity(BasePruningMethod):
    """Leaves everything as it is."""

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        return default_mask


class _ByAmount(BasePruningMethod):
    def __init__(self, amount: Any) -> None:
        _count(amount, 2**62)
        self.amount = amount


class RandomUnstructured(_ByAmount):
    """Leaves out elements chosen at random."""

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        count = _count(self.amount, t.numel())
        return _without(default_mask, lucid.randperm(t.numel()).numpy()[:count])


class L1Unstructured(_ByAmount):
    """Leaves out the elements of the smallest magnitude."""

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        count = _count(self.amount, t.numel())
        order = np.argsort(np.abs(t.detach().numpy()).reshape(-1), kind="stable")
        return _without(default_mask, order[:count])


def _without(mask: lucid.Tensor, places: np.ndarray) -> lucid.Tensor:
    made = mask.numpy().copy()
    made.reshape(-1)[places] = 0
    return lucid.from_numpy(made)


class _Slices(_ByAmount):
    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def order(self, t: lucid.Tensor) -> np.ndarray:
        raise NotImplementedError

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        if t.dim() <= 1:
            raise ValueError(
                "Structured pruning can only be applied to multidimensional tensors. Found tensor "
                f"of shape {tuple(t.shape)} with {t.dim()} dims"
            )
        if not -t.dim() <= self.dim < t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {tuple(t.shape)}")
        dim = self.dim % t.dim()
        places = self.order(t)[: _count(self.amount, t.shape[dim])]
        made = default_mask.numpy().copy()
        made[tuple(places if d == dim else slice(None) for d in range(t.dim()))] = 0
        return lucid.from_numpy(made)


class RandomStructured(_Slices):
    """Leaves out slices along `dim` chosen at random."""

    def order(self, t: lucid.Tensor) -> np.ndarray:
        return lucid.randperm(t.shape[self.dim]).numpy()


class LnStructured(_Slices):
    """Leaves out the slices along `dim` of the smallest n-norm."""

    def __init__(self, amount: Any, n: float, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def order(self, t: lucid.Tensor) -> np.ndarray:
        rows = np.moveaxis(t.detach().numpy(), self.dim, 0).reshape(t.shape[self.dim], -1)
        return np.argsort(np.linalg.norm(rows, self.n, 1), kind="stable")


class CustomFromMask(BasePruningMethod):
    """Leaves out where a given mask is 0."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: lucid.Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: lucid.Tensor, default_mask: lucid.Tensor) -> lucid.Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"mask of shape {tuple(self.mask.shape)} for {tuple(default_mask.shape)}"
            )
        return default_mask * self.mask.to(default_mask.dtype)


def identity(module: Module, name: str) -> Module:
    """Put masks of ones in place.

    >>> import lucid
    >>> m = lucid.nn.utils.prune.identity(lucid.nn.Linear(2, 3), "bias")
    >>> m.bias_mask.tolist()
    [1.0, 1.0, 1.0]
    """
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Leave out `amount` elements (a number or a fraction) chosen at random.

    >>> import lucid
    >>> m = lucid.nn.utils.prune.random_unstructured(lucid.nn.Linear(2, 4), "bias", 0.5)
    >>> m.bias_mask.sum().item()
    2.0
    """
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(
    module: Module, name: str, amount: Any, importance_scores: lucid.Tensor | None = None
) -> Module:
    """Leave out the `amount` elements (a number or a fraction) of the smallest magnitude.

    >>> import lucid
    >>> m = lucid.nn.utils.prune.l1_unstructured(lucid.nn.Linear(2, 4), "weight", 3)
    >>> int((m.weight == 0).sum())
    3
    """
    L1Unstructured.apply(module, name, amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Leave out `amount` slices along `dim` chosen at random.

    >>> import lucid
    >>> m = lucid.nn.utils.prune.random_structured(lucid.nn.Linear(2, 4), "weight", 1, 0)
    >>> m.weight_mask.sum().item()
    6.0
    """
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(
    module: Module,
    name: str,
    amount: Any,
    n: float,
    dim: int,
    importance_scores: lucid.Tensor | None = None,
) -> Module:
    """Leave out the `amount` slices along `dim` of the smallest n-norm.

    >>> import lucid
    >>> m = lucid.nn.utils.prune.ln_structured(lucid.nn.Linear(2, 4), "weight", 0.5, 2, 0)
    >>> m.weight_mask.sum().item()
    4.0
    """
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def custom_from_mask(module: Module, name: str, mask: lucid.Tensor) -> Module:
    """Leave out where `mask` is 0.

    >>> import lucid
    >>> mask = lucid.tensor([0, 1])
    >>> m = lucid.nn.utils.prune.custom_from_mask(lucid.nn.Linear(3, 2), "bias", mask)
    >>> m.bias_mask.tolist()
    [0.0, 1.0]
    """
    CustomFromMask.apply(module, name, mask)
    return module


def global_unstructured(
    parameters: Iterable[tuple[Module, str]],
    pruning_method: type[BasePruningMethod],
    importance_scores: dict[tuple[Module, str], lucid.Tensor] | None = None,
    **kwargs: Any,
) -> None:
    """Prune several parameters by one rule over all their elements.

    >>> import lucid
    >>> prune = lucid.nn.utils.prune
    >>> m = lucid.nn.Linear(2, 4)
    >>> prune.global_unstructured([(m, "weight"), (m, "bias")], prune.L1Unstructured, amount=6)
    >>> int((m.weight == 0).sum() + (m.bias == 0).sum())
    6
    """
    listed = list(parameters)
    scores = importance_scores or {}
    method: Any = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    tensors = [getattr(module, name) for module, name in listed]
    ranked = [
        scores.get(key, tensor).detach().reshape(-1)
        for key, tensor in zip(listed, tensors, strict=True)
    ]
    masks = [
        getattr(module, name + "_mask", lucid.ones_like(tensor)).reshape(-1)
        for (module, name), tensor in zip(listed, tensors, strict=True)
    ]
    container = PruningContainer()
    container._tensor_name = method._tensor_name = "temp"
    container.add_pruning_method(method)
    final = container.compute_mask(lucid.cat(ranked), lucid.cat(masks))
    start = 0
    for (module, name), tensor in zip(listed, tensors, strict=True):
        part = final[start : start + tensor.numel()].reshape(tensor.shape)
        custom_from_mask(module, name, part)
        start += tensor.numel()


def is_pruned(module: Module) -> bool:
    """Whether the module, or one below it, is pruned.

    >>> import lucid
    >>> lucid.nn.utils.prune.is_pruned(lucid.nn.Linear(2, 3))
    False
    """
    return any(
        isinstance(hook, BasePruningMethod)
        for part in module.modules()
        for hook in part._forward_pre_hooks.values()
    )


def remove(module: Module, name: str) -> Module:
    """Make the pruned tensor the parameter; its zeros stay until they are trained.

    >>> import lucid
    >>> prune = lucid.nn.utils.prune
    >>> m = prune.remove(prune.l1_unstructured(lucid.nn.Linear(2, 3), "weight", 2), "weight")
    >>> sorted(m.state_dict())
    ['bias', 'weight']
    """
    for key, hook in list(module._forward_pre_hooks.items()):
        if isinstance(hook, BasePruningMethod) and hook._tensor_name == name:
            hook.remove(module)
            del module._forward_pre_hooks[key]
            return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )
