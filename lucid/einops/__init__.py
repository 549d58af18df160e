"""Tensors rearranged by patterns of named axes: `rearrange`, `reduce`, `repeat`.

Called by users and by nn.Rearrange. The notation is that of einops (Rogozhnikov, 2022); whoever has
that library may use it on Lucid's tensors too, see library.py.
"""

from collections.abc import Callable, Sequence

from lucid.einops.pattern import transform
from lucid.tensor import Tensor

__all__ = ["rearrange", "reduce", "repeat"]


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """The axes of `tensor` in another order, put together or taken apart.

    pattern: "axes of the input -> axes of the result": names, (names) for one dimension made of
    several, 1 or () for a dimension of size 1, ... for any others. axes_lengths: sizes that the
    shape does not tell. A list of tensors is stacked along a new first dimension. ValueError says
    what does not fit.

    >>> import lucid
    >>> from lucid.einops import rearrange
    >>> rearrange(lucid.zeros(2, 3, 4, 6), "b c (h p) (w q) -> b (h w) (p q c)", p=2, q=2).shape
    lucid.Size([2, 6, 12])
    """
    return transform("rearrange", tensor, pattern, None, axes_lengths)


def reduce(
    tensor: Tensor | Sequence[Tensor],
    pattern: str,
    reduction: str | Callable[[Tensor, tuple[int, ...]], Tensor],
    **axes_lengths: int,
) -> Tensor:
    """`rearrange`, with the axes that the result has not reduced.

    reduction: "sum", "mean", "max", "min", "prod", "any", "all", or a function of a tensor and a
    tuple of dimensions.

    >>> import lucid
    >>> from lucid.einops import reduce
    >>> reduce(lucid.arange(8.0).reshape(1, 2, 4), "b h (w 2) -> b w", "max")
    tensor([[5., 7.]])
    """
    return transform("reduce", tensor, pattern, reduction, axes_lengths)


def repeat(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """`rearrange`, with copies along the axes that the input has not.

    >>> import lucid
    >>> from lucid.einops import repeat
    >>> repeat(lucid.tensor([1, 2]), "w -> h (w n)", h=2, n=2).tolist()
    [[1, 1, 2, 2], [1, 1, 2, 2]]
    """
    return transform("repeat", tensor, pattern, None, axes_lengths)
