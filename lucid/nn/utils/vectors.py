"""All parameters as one vector, and back. Called by users, for example for line searches."""

from __future__ import annotations

from collections.abc import Iterable

import lucid


def parameters_to_vector(parameters: Iterable[lucid.Tensor]) -> lucid.Tensor:
    """The elements of all parameters, one after the other, differentiable.

    >>> import lucid
    >>> lucid.nn.utils.parameters_to_vector([lucid.zeros(2), lucid.ones(1, 1)]).tolist()
    [0.0, 0.0, 1.0]
    """
    return lucid.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: lucid.Tensor, parameters: Iterable[lucid.Tensor]) -> None:
    """Make slices of `vec`, sharing its storage, the data of `parameters`.

    Raises TypeError unless `vec` is a tensor, ValueError where its length does not match.
    """
    if not isinstance(vec, lucid.Tensor):
        raise TypeError(f"expected lucid.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    needed = sum(parameter.numel() for parameter in parameters)
    if vec.numel() < needed:
        raise ValueError(
            f"vector_to_parameters: the parameters have {needed} elements, the vector only "
            f"{vec.numel()}"
        )
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].view(parameter.shape).detach()
        start = end
