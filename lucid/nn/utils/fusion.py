"""A batch norm in eval mode folded into the layer before it. Called by users before inference."""

from __future__ import annotations

import copy
from typing import Any

import lucid
from lucid.nn.module import Module
from lucid.nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights",
]  # fmt: skip


def _fuse_eval(layer: Module, norm: Module, transpose: bool) -> Any:
    if layer.training or norm.training:
        raise AssertionError("Fusion only for eval!")
    made: Any = copy.deepcopy(layer)
    if norm.running_mean is None or norm.running_var is None:
        raise AssertionError("fusion needs a batch norm with running statistics")
    made.weight, made.bias = fuse_conv_bn_weights(
        *(made.weight, made.bias, norm.running_mean, norm.running_var, norm.eps),
        *(norm.weight, norm.bias, transpose),
    )
    return made


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A convolution that computes bn(conv(x)); both in eval mode. `transpose`: a transposed one.

    >>> import lucid
    >>> conv, bn = lucid.nn.Conv2d(2, 3, 1).eval(), lucid.nn.BatchNorm2d(3).eval()
    >>> fused, x = lucid.nn.utils.fuse_conv_bn_eval(conv, bn), lucid.randn(1, 2, 4, 4)
    >>> lucid.allclose(fused(x), bn(conv(x)), atol=1e-5)
    True
    """
    return _fuse_eval(conv, bn, transpose)


def fuse_conv_bn_weights(
    conv_w: Any, conv_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """The weight and the bias of the fused layer.

    >>> import lucid
    >>> one, zero = lucid.ones(1), lucid.zeros(1)
    >>> w, b = lucid.nn.utils.fuse_conv_bn_weights(
    ...     lucid.ones(1, 1, 1), None, zero, one * 4, 0.0, None, one)
    >>> w.item(), b.item()
    (0.5, 1.0)
    """
    scale = (bn_rv + bn_eps).rsqrt()
    scale = scale if bn_w is None else scale * bn_w
    shape = [1] * conv_w.dim()
    shape[1 if transpose else 0] = -1
    bias = (bn_rm * 0 if conv_b is None else conv_b) - bn_rm
    bias = bias * scale if bn_b is None else bias * scale + bn_b
    weight = (conv_w * scale.reshape(shape)).to(conv_w.dtype)
    kept = conv_b.requires_grad if conv_b is not None else conv_w.requires_grad
    return (
        Parameter(weight.detach(), conv_w.requires_grad),
        Parameter(bias.detach().to(conv_w.dtype), kept),
    )


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A linear layer that computes bn(linear(x)); both in eval mode.

    >>> import lucid
    >>> linear, bn = lucid.nn.Linear(2, 3).eval(), lucid.nn.BatchNorm1d(3).eval()
    >>> fused, x = lucid.nn.utils.fuse_linear_bn_eval(linear, bn), lucid.randn(4, 2)
    >>> lucid.allclose(fused(x), bn(linear(x)), atol=1e-5)
    True
    """
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1"
        )
    return _fuse_eval(linear, bn, False)


def fuse_linear_bn_weights(
    linear_w: Any, linear_b: Any, bn_rm: Any, bn_rv: Any, bn_eps: float, bn_w: Any, bn_b: Any
) -> tuple[Parameter, Parameter]:
    """The weight and the bias of the fused layer.

    >>> import lucid
    >>> one, zero = lucid.ones(1), lucid.zeros(1)
    >>> lucid.nn.utils.fuse_linear_bn_weights(
    ...     lucid.ones(1, 1), None, zero, one * 4, 0.0, None, one)[0].item()
    0.5
    """
    return fuse_conv_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b)


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters hold whatever was in memory: for weights that are loaded next.

    >>> import lucid
    >>> lucid.nn.utils.skip_init(lucid.nn.Linear, 2, 3).weight.shape
    lucid.Size([3, 2])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    state = lucid.get_rng_state()  # as if nothing had been drawn
    made = module_cls(*args, **kwargs)
    lucid.set_rng_state(state)
    return made
