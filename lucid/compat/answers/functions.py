"""Functions of `torch` that are methods, or layers' functions, in `lucid`: `torch.relu_(x)`,
`torch.conv2d`, `torch.dropout(x, p, train)`.

Called by finder.py for names that root.py has not. Where PyTorch's order of arguments is not that
of `nn.functional`, the function is here.
"""

from typing import Any as _Any

import numpy as _np

import lucid as _lucid
from lucid import Tensor as _Tensor
from lucid.nn import functional as _F

_IN_PLACE = (
    "abs absolute acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh as_strided asin "
    "asinh atan atanh ceil clamp clamp_max clamp_min clip conj_physical cos cosh deg2rad detach "
    "erf erfc exp exp2 expm1 fill fix floor frac gcd i0 index_put lcm ldexp log log10 log1p log2 "
    "logit nan_to_num neg negative rad2deg reciprocal relu resize_as round rsqrt sigmoid sin sinc "
    "sinh sqrt square tan tanh trunc xlogy zero"
).split()
# With PyTorch's arguments, in its order.
_FUNCTIONAL = (
    "adaptive_avg_pool1d adaptive_max_pool1d avg_pool1d bilinear celu channel_shuffle conv1d "
    "conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity "
    "hardshrink max_pool1d max_pool2d max_pool3d pairwise_distance pdist pixel_shuffle "
    "pixel_unshuffle prelu rms_norm selu threshold"
).split()
_METHODS = "adjoint detach get_device is_conj is_neg is_same_size is_signed".split()


def _method(name: str) -> _Any:
    def function(input: _Any, *args: _Any, **kwargs: _Any) -> _Any:
        return getattr(input, name)(*args, **kwargs)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"`input.{name}(...)`"
    return function


def dropout(input: _Any, p: float, train: bool) -> _Tensor:
    """`nn.functional.dropout(input, p, train)`"""
    return _F.dropout(input, p, train)


def alpha_dropout(input: _Any, p: float, train: bool) -> _Tensor:
    """`nn.functional.alpha_dropout(input, p, train)`"""
    return _F.alpha_dropout(input, p, train)


def feature_dropout(input: _Any, p: float, train: bool) -> _Tensor:
    """`nn.functional.dropout2d(input, p, train)` for any number of dimensions from 2 on."""
    if not train or p == 0:
        return input
    kept = _lucid.ones((*input.shape[:2], *(1,) * (input.ndim - 2)), dtype=input.dtype)
    return input * _F.dropout(kept, p)


def layer_norm(
    input: _Any,
    normalized_shape: _Any,
    weight: _Any = None,
    bias: _Any = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> _Tensor:
    """`nn.functional.layer_norm`; `cudnn_enable` has no meaning here."""
    return _F.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(
    input: _Any,
    num_groups: int,
    weight: _Any = None,
    bias: _Any = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> _Tensor:
    """`nn.functional.group_norm`; `cudnn_enabled` has no meaning here."""
    return _F.group_norm(input, num_groups, weight, bias, eps)


def batch_norm(
    input: _Any,
    weight: _Any,
    bias: _Any,
    running_mean: _Any,
    running_var: _Any,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> _Tensor:
    """`nn.functional.batch_norm` with the weights first; `cudnn_enabled` has no meaning here."""
    return _F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: _Any,
    weight: _Any,
    bias: _Any,
    running_mean: _Any,
    running_var: _Any,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> _Tensor:
    """`nn.functional.instance_norm` with the weights first; `cudnn_enabled` has no meaning here."""
    return _F.instance_norm(
        input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps
    )


def embedding(
    weight: _Any,
    indices: _Any,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> _Tensor:
    """`nn.functional.embedding(indices, weight)`; padding_idx=-1 is none."""
    row = None if padding_idx < 0 else padding_idx
    return _F.embedding(indices, weight, row, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def asarray(
    obj: _Any,
    *,
    dtype: _Any = None,
    device: _Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> _Tensor:
    """A tensor of an array, a number, a nest of lists, or a tensor: the same memory where that is
    possible and `copy` is not True. With copy=False it must be: ValueError."""
    made = _lucid.as_tensor(obj, dtype=dtype, device=device)
    if isinstance(obj, _Tensor):
        shares = made.data_ptr() == obj.data_ptr()
    else:
        shares = isinstance(obj, _np.ndarray) and made.data_ptr() == obj.ctypes.data
    if copy and shares:
        made = made.clone()
    if copy is False and not shares:
        raise ValueError("asarray: the memory cannot be shared, and copy=False")
    if not requires_grad:
        return made.detach() if made.requires_grad else made
    return made.requires_grad_() if made.is_leaf else made


def frombuffer(
    buffer: _Any, *, dtype: _Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> _Tensor:
    """A row of elements over the bytes of a buffer from `offset` on; a copy of a read-only one."""
    array = _np.frombuffer(buffer, dtype.numpy, count, offset)
    made = _lucid.from_numpy(array if array.flags.writeable else array.copy())
    return made.requires_grad_() if requires_grad else made


def is_inference(input: _Any) -> bool:
    """False: no tensor is made so that it could never be recorded."""
    return False


def frobenius_norm(input: _Any, dim: _Any = None, keepdim: bool = False) -> _Tensor:
    """`linalg.vector_norm` over the dimensions, all by default."""
    return _lucid.linalg.vector_norm(input, 2, dim, keepdim)


def nuclear_norm(input: _Any, dim: _Any = None, keepdim: bool = False) -> _Tensor:
    """`linalg.matrix_norm(input, "nuc")`"""
    return _lucid.linalg.matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim)


def vander(x: _Any, N: int | None = None, increasing: bool = False) -> _Tensor:
    """Powers of the elements as columns, from the highest on unless `increasing`."""
    made = _lucid.linalg.vander(x, N=N)
    return made if increasing else made.flip(-1)


def orgqr(input: _Any, tau: _Any) -> _Tensor:
    """`linalg.householder_product`"""
    return _lucid.linalg.householder_product(input, tau)


ger = _lucid.outer
for _name in _IN_PLACE:
    globals()[f"{_name}_"] = _method(f"{_name}_")
for _name in _METHODS:
    globals()[_name] = _method(_name)
for _name in _FUNCTIONAL:
    globals()[_name] = getattr(_F, _name)
