"""Modules over several devices, in a single process on one: wrappers that call what they wrap.

Called by programs written for several; compat/answers/parallel.py shows them to those of PyTorch.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from lucid.nn.module import Module


class DataParallel(Module):
    """`module` on its one device, under the name "module" in state dicts.

    >>> import lucid
    >>> list(lucid.nn.DataParallel(lucid.nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids:
            raise NotImplementedError(f"DataParallel: device_ids={device_ids}: there are no GPUs")
        self.dim = dim
        self.module = module
        self.device_ids: list[int] = []

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)


class DistributedDataParallel(Module):
    """`module` in a group of one process, whose gradients need no averaging."""

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        process_group: Any = None,
        bucket_cap_mb: float | None = None,
        find_unused_parameters: bool = False,
        check_reduction: bool = False,
        gradient_as_bucket_view: bool = False,
        static_graph: bool = False,
    ) -> None:
        super().__init__()
        if device_ids:
            raise NotImplementedError(
                f"DistributedDataParallel: device_ids={device_ids}: there are no GPUs"
            )
        self.dim = dim
        self.module = module
        self.require_backward_grad_sync = True

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Gradients of one process are never synchronised."""
        yield


def data_parallel(
    module: Module, inputs: Any, device_ids: Any = None, output_device: Any = None,
    dim: int = 0, module_kwargs: dict | None = None,
) -> Any:  # fmt: skip
    """`module` called with the inputs, on its one device."""
    given = inputs if isinstance(inputs, tuple) else (inputs,)
    return DataParallel(module, device_ids, output_device, dim)(*given, **(module_kwargs or {}))
