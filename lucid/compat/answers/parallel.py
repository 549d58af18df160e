"""`torch.nn.parallel`: the wrappers of lucid.nn.parallel under its names."""

from lucid.nn.parallel import DataParallel, DistributedDataParallel, data_parallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]
