"""`torch.version`: the version of PyTorch whose names Lucid follows."""

__version__ = "2.13.0"
git_version = "lucid"
debug = False
cuda = None
hip = None
xpu = None
rocm = None
