"""`torch.hub` and `torch.utils.model_zoo`: refused, since Lucid fetches nothing and runs no code
of others. Directories are answered."""

import importlib
import os
import re
from typing import Any
from urllib.parse import urlparse as urlparse

from lucid.compat.answers.refuse import refused

tqdm: Any
try:
    tqdm = importlib.import_module("tqdm").tqdm  # PyTorch's is the package's too, where it is
except ImportError:
    tqdm = refused("torch.hub.tqdm", "the package tqdm is not installed")

_WHY = "Lucid fetches nothing; download the file and use torch.load on its path"
_directory: list[str] = []
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # the part of a file's name that is its hash

load = refused("torch.hub.load", _WHY)
list = refused("torch.hub.list", _WHY)
help = refused("torch.hub.help", _WHY)
load_state_dict_from_url = refused("torch.hub.load_state_dict_from_url", _WHY)
load_url = refused("torch.utils.model_zoo.load_url", _WHY)
download_url_to_file = refused("torch.hub.download_url_to_file", _WHY)


def set_dir(d: str | os.PathLike) -> None:
    """Where files would be kept."""
    _directory[:] = [os.path.expanduser(os.fspath(d))]


def _get_torch_home() -> str:
    cache = os.environ.get("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    return os.path.expanduser(os.environ.get("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """Where files would be kept."""
    return _directory[0] if _directory else os.path.join(_get_torch_home(), "hub")
