"""The family of ops that NumPy computes: LAPACK's decompositions and Fourier transforms.

Each is listed with its reason in docs/notes/host-ops.md. Rules are public ops, as everywhere.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from lucid.dtypes import FLOATING, float32, float64
from lucid.error import LinAlgError
from lucid.op import Opaque
from lucid.ops.gather import side_by_side
from lucid.plan.host import host_step


class Host(Opaque, abstract=True):
    """`compute(*arrays, **static)` returns an array for each output; arrays are row-major."""

    public = False
    numbered: ClassVar[tuple[str, ...] | None] = ()  # the batch is one more dimension in front

    @classmethod
    def lower(cls, context, inputs, params, outputs):
        copies: list[Any] = []
        rows = []
        for x in inputs:
            steps, row = side_by_side(context, x)
            copies += steps
            rows.append(row)
        static = cls.static(params)
        compute: Callable = cls.compute

        def function(*arrays: np.ndarray) -> tuple:
            try:
                made = compute(*arrays, **static)
            except np.linalg.LinAlgError as error:
                raise LinAlgError(f"linalg.{cls.label}: {error}") from None
            return made if isinstance(made, tuple) else (made,)

        work = 1
        for x in rows:
            for n in x.shape:
                work *= max(n, 1)
        return [*copies, host_step(cls.label, function, rows, outputs, work)]


def check_floating(name: str, kind: Any) -> None:
    """float32 or float64, which LAPACK has."""
    if kind.category != FLOATING or kind not in (float32, float64):
        raise RuntimeError(f"{name}: float32 or float64 is needed, got {kind!r}")


def no_gradient(name: str) -> Any:
    """The rule of an input whose gradient is not built: it raises, naming the function."""

    def rule(g: Any) -> Any:
        raise NotImplementedError(f"{name}: its gradient is not supported yet")

    return rule


def check_matrix(name: str, types: Any, square: bool = True) -> tuple[tuple[int, ...], int, int]:
    """(batch, rows, columns) of the first input, a matrix or a batch of them."""
    shape, kind, _ = types[0]
    check_floating(f"linalg.{name}", kind)
    if len(shape) < 2:
        raise RuntimeError(f"linalg.{name}: a matrix or a batch of them is needed, got {shape}")
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(
            f"linalg.{name}: square matrices are needed, got {shape[-2]} x {shape[-1]}"
        )
    return tuple(shape[:-2]), shape[-2], shape[-1]
