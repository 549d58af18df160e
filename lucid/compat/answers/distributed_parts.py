"""`torch.distributed.tensor` and `.fsdp`: their classes can be named; making one raises.

Called by finder.py. No tensor or module is one of them, which `isinstance` tells.
"""

import dataclasses

from lucid.compat.answers.refuse import refused, refused_class

_WHY = "Lucid has no tensors over several processes"
_FULL = "torch.distributed.tensor."


class Placement:
    """Where the parts of a tensor would be: descriptions, which libraries keep in tables."""


@dataclasses.dataclass(frozen=True)
class Shard(Placement):
    dim: int


@dataclasses.dataclass(frozen=True)
class Replicate(Placement):
    pass


@dataclasses.dataclass(frozen=True)
class Partial(Placement):
    reduce_op: str = "sum"


DTensor = refused_class(_FULL + "DTensor", _WHY)
DeviceMesh = refused_class("torch.distributed.device_mesh.DeviceMesh", _WHY)
_StridedShard = refused_class(_FULL + "placement_types._StridedShard", _WHY)
distribute_tensor = refused(_FULL + "distribute_tensor", _WHY)
distribute_module = refused(_FULL + "distribute_module", _WHY)
init_device_mesh = refused("torch.distributed.device_mesh.init_device_mesh", _WHY)
compute_local_shape_and_global_offset = refused(
    _FULL + "_utils.compute_local_shape_and_global_offset", _WHY
)
wait_tensor = refused("torch.distributed._functional_collectives.wait_tensor", _WHY)
all_to_all_single_autograd = refused(
    "torch.distributed._functional_collectives.all_to_all_single_autograd", _WHY
)
FullyShardedDataParallel = refused_class("torch.distributed.fsdp.FullyShardedDataParallel", _WHY)
FSDPModule = refused_class("torch.distributed.fsdp.FSDPModule", _WHY)
CPUOffloadPolicy = refused_class("torch.distributed.fsdp.CPUOffloadPolicy", _WHY)
MixedPrecisionPolicy = refused_class("torch.distributed.fsdp.MixedPrecisionPolicy", _WHY)
fully_shard = refused("torch.distributed.fsdp.fully_shard", _WHY)

_FILES = "Lucid saves no tensors over several processes; use torch.save on the state_dict()"
_SAVED = "torch.distributed.checkpoint."
HuggingFaceStorageReader = refused_class(_SAVED + "HuggingFaceStorageReader", _FILES)
HuggingFaceStorageWriter = refused_class(_SAVED + "HuggingFaceStorageWriter", _FILES)
DefaultLoadPlanner = refused_class(_SAVED + "DefaultLoadPlanner", _FILES)
StateDictOptions = refused_class(_SAVED + "state_dict.StateDictOptions", _FILES)
get_model_state_dict = refused(_SAVED + "state_dict.get_model_state_dict", _FILES)
set_model_state_dict = refused(_SAVED + "state_dict.set_model_state_dict", _FILES)
