"""SummaryWriter through both libraries, read back; and what is said where there is none."""

import importlib.util
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

import lucid
from lucid.compat import finder
from lucid.utils import tensorboard
from lucid.utils.events import png
from lucid.utils.tensorboard import SummaryWriter

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(params=["tensorboardX", "tensorboard"])
def library(request, monkeypatch):
    """One of the libraries, as if the other were not there."""
    pytest.importorskip(request.param)
    monkeypatch.setattr(tensorboard, "library", lambda: request.param)
    return request.param


def fields(data):
    """The fields of a message of protobuf: (number, value), bytes where it has a length."""
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        kind = key & 7
        if kind == 0:
            yield key >> 3, varint()
            continue
        size = {1: 8, 5: 4}.get(kind) or varint()
        yield key >> 3, data[at : at + size]
        at += size


def written(folder):
    """(tag, step, the value's fields) of all events in a folder's files, in order."""
    found = []
    for path in sorted(Path(folder).glob("**/*tfevents*")):
        data = path.read_bytes()
        at = 0
        while at < len(data):
            (size,) = struct.unpack_from("<Q", data, at)
            event = dict(fields(data[at + 12 : at + 12 + size]))
            at += 16 + size
            if 5 in event:
                for _, value in fields(event[5]):
                    parts = dict(fields(value))
                    found.append((parts[1].decode(), event.get(2, 0), parts))
    return found


def number(parts):
    return struct.unpack("<f", parts[2])[0]


def pixels_of(data):
    """The image of an unfiltered PNG, or of any where PIL is."""
    image = pytest.importorskip("PIL.Image")
    return np.asarray(image.open(io.BytesIO(data)))


def test_scalars(library, tmp_path):
    with SummaryWriter(tmp_path, flush_secs=1) as writer:
        for step in range(3):
            writer.add_scalar("loss", lucid.tensor(step / 2, requires_grad=True), step)
        writer.add_scalar("plain", 2.5, global_step=7)
        writer.add_scalar("half", lucid.tensor([1.5], dtype=lucid.bfloat16), 1)
        assert writer.log_dir == writer.get_logdir() == str(tmp_path)
    found = [(tag, step, number(parts)) for tag, step, parts in written(tmp_path)]
    assert found == [
        ("loss", 0, 0.0), ("loss", 1, 0.5), ("loss", 2, 1.0), ("plain", 7, 2.5), ("half", 1, 1.5),
    ]  # fmt: skip


def test_several_scalars(library, tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_scalars("all", {"a": lucid.tensor(1.0), "b": 2.0}, 3)
    found = sorted(number(parts) for _, _, parts in written(tmp_path))
    assert found == [1.0, 2.0]
    folders = sorted(p.name for p in tmp_path.rglob("*") if p.is_dir())
    assert len(folders) >= 2, "each curve has a folder of its own"


@pytest.mark.parametrize("bins", ["tensorflow", "auto", 5])
def test_histograms(library, tmp_path, bins):
    values = lucid.randn(200)
    with SummaryWriter(tmp_path) as writer:
        if bins == 5 and library == "tensorboardX":
            pytest.skip("it takes names of rules alone")
        writer.add_histogram("weights", values, 2, bins=bins)
    ((tag, step, parts),) = written(tmp_path)
    histogram = dict(fields(parts[5]))
    low, high, count, total = (struct.unpack("<d", histogram[i])[0] for i in (1, 2, 3, 4))
    assert (tag, step, count) == ("weights", 2, 200)
    assert low == pytest.approx(values.min().item()) and high == pytest.approx(values.max().item())
    assert total == pytest.approx(values.sum().item(), abs=1e-4)
    limits, counts = (np.frombuffer(histogram[i], "<f8") for i in (6, 7))
    assert counts.sum() == 200 and np.all(np.diff(limits) > 0) and limits[-1] >= high * 0.999


def test_images(library, tmp_path):
    image = lucid.tensor(np.random.default_rng(0).integers(0, 256, (3, 4, 5)).astype(np.uint8))
    with SummaryWriter(tmp_path) as writer:
        writer.add_image("one", image, 1)
        writer.add_image("turned", image.permute(1, 2, 0), 1, dataformats="HWC")
        writer.add_image("gray", image[0].float() / 255, 1, dataformats="HW")
        writer.add_images("many", lucid.stack([image, image]), 1)
    found = {tag: dict(fields(parts[4])) for tag, _, parts in written(tmp_path)}
    expected = image.numpy().transpose(1, 2, 0)
    for tag in ("one", "turned"):
        assert (found[tag][1], found[tag][2]) == (4, 5)
        assert np.array_equal(pixels_of(found[tag][4]), expected)
    gray = pixels_of(found["gray"][4])
    gray = gray if gray.ndim == 2 else gray[..., 0]
    assert np.abs(gray.astype(int) - expected[..., 0]).max() <= 1
    assert found["many"][2] >= 10


def test_texts(library, tmp_path):
    with SummaryWriter(tmp_path) as writer:
        writer.add_text("notes", "a **word**", 4)
    ((tag, step, parts),) = written(tmp_path)
    assert tag == "notes/text_summary" and step == 4 and b"a **word**" in parts[8]
    assert b"text" in parts[9]


def test_what_is_refused(library, tmp_path):
    with SummaryWriter(tmp_path) as writer:
        with pytest.raises(NotImplementedError, match="add_graph"):
            writer.add_graph(lucid.nn.Linear(1, 1))
        with pytest.raises(AttributeError, match=f"add_nothing is not in {library}"):
            writer.add_nothing(1)
        with pytest.raises(AttributeError, match="no attribute 'other'"):
            writer.other  # noqa: B018
        with pytest.raises(Exception, match="."):
            writer.add_scalar("x", lucid.ones(2), 1)
        if library == "tensorboard":
            for wrong in (lucid.ones(2, 3, 3), lucid.ones(3, 3)):
                with pytest.raises(ValueError, match="add_image"):
                    writer.add_image("x", wrong)
            with pytest.raises(ValueError, match="finite"):
                writer.add_histogram("x", lucid.tensor([float("nan")]))


def test_png():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == (4, 2, 8, 2, 0, 0, 0)
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(2, 13)
    assert not rows[:, 0].any() and np.array_equal(rows[:, 1:].reshape(2, 4, 3), pixels)


def test_where_neither_is_installed(monkeypatch, tmp_path):
    real = importlib.util.find_spec
    gone = ("tensorboardX", "tensorboard")

    def find(name, *others):
        return None if name in gone else real(name, *others)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    assert tensorboard.library() is None
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        SummaryWriter(tmp_path)
    assert not list(tmp_path.iterdir())
    assert not finder.exists("torch.utils.tensorboard.SummaryWriter")
    with pytest.raises(ImportError, match="torch.utils.tensorboard: it needs tensorboardX or"):
        finder.Finder().find_spec("lucid.compat.torch.utils.tensorboard")


def test_programs_of_pytorch(tmp_path):
    if tensorboard.library() is None:
        pytest.skip("neither tensorboardX nor tensorboard is installed")
    script = tmp_path / "program.py"
    script.write_text(
        "import torch\nfrom torch.utils.tensorboard import SummaryWriter\n"
        "writer = SummaryWriter('logs')\n"
        "writer.add_scalar('loss', torch.tensor(0.5), 1)\nwriter.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "lucid", "run", str(script)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [(tag, step) for tag, step, _ in written(tmp_path / "logs")] == [("loss", 1)]
