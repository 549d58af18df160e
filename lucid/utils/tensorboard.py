"""`SummaryWriter`: what a training writes for TensorBoard, through a library that the user has.

Called by users, and under `torch.utils.tensorboard` by programs for PyTorch. tensorboardX does it
all; with the library tensorboard alone, events.py writes scalars, histograms, images and texts.
"""

import importlib
import importlib.util
import os
import socket
from datetime import datetime
from typing import Any

import numpy as np

import lucid
from lucid.lazy import lazy

_events = lazy("lucid.utils.events")

MISSING = "SummaryWriter needs the library tensorboardX or tensorboard: pip install tensorboardX"


def library() -> str | None:
    """Which of the two libraries is installed, the abler one first."""
    for name in ("tensorboardX", "tensorboard"):
        if importlib.util.find_spec(name) is not None:
            return name
    return None


class SummaryWriter:
    """Writes scalars, histograms, images, texts and more into a folder that TensorBoard shows.

    log_dir: by default runs/DATE_HOST and `comment`. The methods are those of the library,
    `add_scalar(tag, value, global_step)` and its like; tensors may be given wherever it takes
    numbers or arrays. ImportError where neither library is installed, AttributeError for a method
    that the installed one has not, NotImplementedError for `add_graph`.

    >>> from lucid.utils.tensorboard import SummaryWriter
    >>> with SummaryWriter("runs/first") as writer:  # doctest: +SKIP
    ...     writer.add_scalar("loss", 0.5, global_step=1)
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ):
        name = library()
        if name is None:
            raise ImportError(MISSING, name="tensorboardX")
        if log_dir is None:
            now = datetime.now().strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{now}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        options = {
            "purge_step": purge_step, "max_queue": max_queue, "flush_secs": flush_secs,
            "filename_suffix": filename_suffix,
        }  # fmt: skip
        self._library = name
        if name == "tensorboardX":
            made = importlib.import_module(name).SummaryWriter(self.log_dir, **options)
        else:
            made = _events.EventWriter(self.log_dir, **options)
        self._writer: Any = made

    def get_logdir(self) -> str:
        """The folder that is written to."""
        return self.log_dir

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        """Refused: models here have no graph of TorchScript."""
        raise NotImplementedError(
            "SummaryWriter.add_graph: Lucid's models have no TorchScript graph; lucid.explain and "
            "lucid.models.summarize show what a model does"
        )

    def flush(self) -> None:
        """Write what is waiting."""
        self._writer.flush()

    def close(self) -> None:
        """Write what is waiting, and close the files."""
        self._writer.close()

    def __enter__(self) -> "SummaryWriter":
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("add_"):
            raise AttributeError(f"SummaryWriter has no attribute {name!r}")
        method = getattr(self._writer, name, None)
        if method is None:
            hint = "; tensorboardX may have it" if self._library == "tensorboard" else ""
            raise AttributeError(f"SummaryWriter.{name} is not in {self._library}{hint}")

        def call(*args: Any, **kwargs: Any) -> Any:
            return method(*map(plain, args), **{k: plain(x) for k, x in kwargs.items()})

        call.__name__ = name
        return call


def plain(value: Any) -> Any:
    """The value with arrays in place of tensors."""
    if isinstance(value, lucid.Tensor):
        array = value.detach().to_dense().numpy()
        wide = value.dtype in (lucid.bfloat16, lucid.float16)
        return array.astype(np.float32) if wide else array
    if isinstance(value, dict):
        return {key: plain(x) for key, x in value.items()}
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return type(value)(plain(x) for x in value)
    return value
