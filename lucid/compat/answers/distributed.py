"""`torch.distributed` in a single process: a group of one, in which every collective is a copy."""

import os
from typing import Any

import lucid
from lucid.compat.answers.refuse import refused

_group: list[str] = []  # the backend, while the group is there


class ReduceOp:
    """How values of several processes become one; with one process, each leaves it as it is."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR = range(8)


class Work:
    """A collective that is done."""

    def wait(self, timeout: Any = None) -> bool:
        return True

    def is_completed(self) -> bool:
        return True


class group:
    WORLD = None


def is_available() -> bool:
    return True


def is_initialized() -> bool:
    return bool(_group)


def is_nccl_available() -> bool:
    return False


def is_gloo_available() -> bool:
    return False


def is_mpi_available() -> bool:
    return False


def is_torchelastic_launched() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: Any = None,
    world_size: int = -1, rank: int = -1, store: Any = None, group_name: str = "",
    pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Make the group of this one process; more processes raise."""
    size = int(os.environ.get("WORLD_SIZE", "1")) if world_size == -1 else world_size
    if size != 1:
        raise NotImplementedError(
            f"init_process_group: world_size={size}: one process is supported"
        )
    if rank not in (-1, 0):
        raise ValueError(f"init_process_group: rank={rank} of a group of one")
    if _group:
        raise ValueError("trying to initialize the default process group twice!")
    _group[:] = [backend or "gloo"]


def destroy_process_group(group: Any = None) -> None:
    """End the group."""
    _group.clear()


def _check() -> None:
    if not _group:
        raise ValueError(
            "Default process group has not been initialized, please make sure to call "
            "init_process_group."
        )


def get_rank(group: Any = None) -> int:
    _check()
    return 0


def get_world_size(group: Any = None) -> int:
    _check()
    return 1


def get_backend(group: Any = None) -> str:
    _check()
    return _group[0]


def _done(async_op: bool) -> Work | None:
    _check()
    return Work() if async_op else None


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    return _done(async_op)


def all_reduce(
    tensor: Any, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    return _done(async_op)


def reduce(
    tensor: Any, dst: int = 0, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    return _done(async_op)


def broadcast(tensor: Any, src: int = 0, group: Any = None, async_op: bool = False) -> Work | None:
    return _done(async_op)


def all_gather(
    tensor_list: list[Any], tensor: Any, group: Any = None, async_op: bool = False
) -> Work | None:
    """Copy the tensor into the list's only one."""
    _check()
    with lucid.no_grad():
        tensor_list[0].copy_(tensor)
    return _done(async_op)


def all_gather_into_tensor(
    output_tensor: Any, input_tensor: Any, group: Any = None, async_op: bool = False
) -> Work | None:
    """Copy the tensor into the output of as many elements."""
    _check()
    with lucid.no_grad():
        output_tensor.copy_(input_tensor.view(output_tensor.shape))
    return _done(async_op)


def reduce_scatter_tensor(
    output: Any, input: Any, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    return all_gather_into_tensor(output, input, group, async_op)


def all_to_all_single(
    output: Any, input: Any, output_split_sizes: Any = None, input_split_sizes: Any = None,
    group: Any = None, async_op: bool = False,
) -> Work | None:  # fmt: skip
    return all_gather_into_tensor(output, input, group, async_op)


def get_process_group_ranks(group: Any = None) -> list[int]:
    _check()
    return [0]


def gather(
    tensor: Any, gather_list: list[Any] | None = None, dst: int = 0, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    return all_gather(gather_list or [tensor], tensor, group, async_op)


def scatter(
    tensor: Any, scatter_list: list[Any] | None = None, src: int = 0, group: Any = None,
    async_op: bool = False,
) -> Work | None:  # fmt: skip
    return all_gather([tensor], (scatter_list or [tensor])[0], group, async_op)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    _check()
    object_list[0] = obj


def broadcast_object_list(
    object_list: list[Any], src: int = 0, group: Any = None, device: Any = None
) -> None:
    _check()


def new_group(ranks: Any = None, *args: Any, **kwargs: Any) -> None:
    """The group of this process again."""
    _check()
    if ranks not in (None, [0]):
        raise ValueError(f"new_group: ranks {ranks} of a group of one")


_WHY = "there is one process, which has nobody to talk to"
send = refused("torch.distributed.send", _WHY)
recv = refused("torch.distributed.recv", _WHY)
isend = refused("torch.distributed.isend", _WHY)
irecv = refused("torch.distributed.irecv", _WHY)
