"""Event files by the library tensorboard: scalars, histograms, images, texts.

Called by tensorboard.py where tensorboardX is not installed. Arrays come in; the library's messages
and its queue of a writer go out.
"""

import importlib
import os
import struct
import time
import zlib
from typing import Any

import numpy as np

# The edges of "tensorflow": powers of 1.1 on both sides of zero.
POWERS = 1e-12 * 1.1 ** np.arange(774)
EDGES = np.concatenate([-POWERS[::-1], [0.0], POWERS])


class EventWriter:
    """The part of a SummaryWriter that programs use most."""

    def __init__(
        self,
        log_dir: str,
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: int = 120,
        filename_suffix: str = "",
    ):
        self.log_dir = log_dir
        self._queue = (max_queue, flush_secs, filename_suffix)
        self._event: Any = importlib.import_module("tensorboard.compat.proto.event_pb2")
        self._summary: Any = importlib.import_module("tensorboard.compat.proto.summary_pb2")
        self._tensor: Any = importlib.import_module("tensorboard.compat.proto.tensor_pb2")
        self._files: dict[str, Any] = {}
        self._file(log_dir)
        if purge_step is not None:
            made = self._event.Event(wall_time=time.time(), step=int(purge_step))
            made.session_log.status = self._event.SessionLog.START
            self._file(log_dir).add_event(made)

    def _file(self, folder: str) -> Any:
        if folder not in self._files:
            module = importlib.import_module("tensorboard.summary.writer.event_file_writer")
            self._files[folder] = module.EventFileWriter(folder, *self._queue)
        return self._files[folder]

    def _add(self, step: Any, walltime: float | None, folder: str = "", **value: Any) -> None:
        summary = self._summary.Summary(value=[self._summary.Summary.Value(**value)])
        now = time.time() if walltime is None else walltime
        made = self._event.Event(wall_time=now, summary=summary)
        if step is not None:
            made.step = int(step)
        self._file(folder or self.log_dir).add_event(made)

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """One number of a curve."""
        self._add(global_step, walltime, tag=tag, simple_value=_number(tag, scalar_value))

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: dict[str, Any], global_step: Any = None,
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """One number of each of several curves, each in a folder of its own."""
        for tag, value in tag_scalar_dict.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            number = _number(tag, value)
            self._add(global_step, walltime, folder, tag=main_tag, simple_value=number)

    def add_histogram(
        self, tag: str, values: Any, global_step: Any = None, bins: Any = "tensorflow",
        walltime: float | None = None,
    ) -> None:  # fmt: skip
        """How often numbers lie where. bins: edges, a count, a rule of NumPy's, or "tensorflow"."""
        x = np.asarray(values, np.float64).ravel()
        if not x.size or not np.isfinite(x).all():
            raise ValueError(f"add_histogram: {tag!r} has {x.size} values, not all of them finite")
        edges = EDGES if isinstance(bins, str) and bins == "tensorflow" else bins
        counts, limits = np.histogram(x, edges)
        there = np.flatnonzero(counts)
        first, last = (there[0], there[-1]) if there.size else (0, 0)
        first = max(first - 1, 0)  # an empty one at the left says where the first begins
        histogram = self._summary.HistogramProto(
            min=float(x.min()), max=float(x.max()), num=float(x.size), sum=float(x.sum()),
            sum_squares=float((x * x).sum()), bucket=counts[first : last + 1].tolist(),
            bucket_limit=limits[first + 1 : last + 2].tolist(),
        )  # fmt: skip
        self._add(global_step, walltime, tag=tag, histo=histogram)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:  # fmt: skip
        """An image of bytes, or of numbers from 0 to 1, in the order that dataformats names."""
        self._image(tag, _pixels(np.asarray(img_tensor), dataformats), global_step, walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: Any = None, walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:  # fmt: skip
        """Several images side by side."""
        array = np.asarray(img_tensor)
        if sorted(dataformats) != sorted("NCHW") or array.ndim != 4:
            raise ValueError(f"add_images: {array.shape} is not in the order {dataformats!r}")
        one = dataformats.replace("N", "")
        rows = [_pixels(x, one) for x in np.moveaxis(array, dataformats.index("N"), 0)]
        self._image(tag, np.concatenate(rows, 1), global_step, walltime)

    def _image(self, tag: str, pixels: np.ndarray, step: Any, walltime: float | None) -> None:
        height, width, channels = pixels.shape
        image = self._summary.Summary.Image(
            height=height, width=width, colorspace=channels, encoded_image_string=png(pixels)
        )
        self._add(step, walltime, tag=tag, image=image)

    def add_text(
        self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None
    ) -> None:
        """A text, which may be Markdown."""
        shape_module = importlib.import_module("tensorboard.compat.proto.tensor_shape_pb2")
        shape = shape_module.TensorShapeProto(dim=[shape_module.TensorShapeProto.Dim(size=1)])
        tensor = self._tensor.TensorProto(
            dtype="DT_STRING", string_val=[text_string.encode()], tensor_shape=shape
        )
        data = self._summary.SummaryMetadata.PluginData(plugin_name="text")
        metadata = self._summary.SummaryMetadata(plugin_data=data)
        name = f"{tag}/text_summary"
        self._add(global_step, walltime, tag=name, metadata=metadata, tensor=tensor)

    def flush(self) -> None:
        """Write what is waiting."""
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        """Write what is waiting, and close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()


def _number(tag: str, value: Any) -> float:
    array = np.asarray(value)
    if array.size != 1:
        raise ValueError(f"{tag!r}: one number is expected, got shape {array.shape}")
    return float(array.reshape(()))


def _pixels(array: np.ndarray, order: str) -> np.ndarray:
    """Bytes (height, width, channels), with 1, 3 or 4 channels."""
    if sorted(order) not in (sorted("CHW"), sorted("HW")) or array.ndim != len(order):
        raise ValueError(f"add_image: shape {array.shape} is not in the order {order!r}")
    if "C" not in order:
        array, order = array[..., None], order + "C"
    array = array.transpose([order.index(axis) for axis in "HWC"])
    if array.shape[2] not in (1, 3, 4):
        raise ValueError(f"add_image: {array.shape[2]} channels; of 1, 3 and 4")
    if array.dtype != np.uint8:
        array = (array.astype(np.float64) * 255).clip(0, 255).astype(np.uint8)
    return array


def png(pixels: np.ndarray) -> bytes:
    """Bytes (height, width, channels) as a PNG file (ISO/IEC 15948), unfiltered."""
    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with its filter, none
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")
