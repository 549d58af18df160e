"""`torch.hub` and `torch.utils.model_zoo`: refused, since Lucid fetches nothing and runs no code
of others. Directories are answered."""

import os

from lucid.compat.answers.refuse import refused

_WHY = "Lucid fetches nothing; download the file and use torch.load on its path"
_directory: list[str] = []

load = refused("torch.hub.load", _WHY)
list = refused("torch.hub.list", _WHY)
help = refused("torch.hub.help", _WHY)
load_state_dict_from_url = refused("torch.hub.load_state_dict_from_url", _WHY)
load_url = refused("torch.utils.model_zoo.load_url", _WHY)
download_url_to_file = refused("torch.hub.download_url_to_file", _WHY)


def set_dir(d: str | os.PathLike) -> None:
    """Where files would be kept."""
    _directory[:] = [os.path.expanduser(os.fspath(d))]


def get_dir() -> str:
    """Where files would be kept."""
    home = os.environ.get("TORCH_HOME", os.path.join("~", ".cache", "torch"))
    return _directory[0] if _directory else os.path.join(os.path.expanduser(home), "hub")
