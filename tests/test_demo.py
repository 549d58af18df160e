"""The main job from the outside: `lucid demo` in a process of its own, finished and interrupted."""

import re
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser

import numpy as np
import pytest

import lucid
from lucid.show import page
from lucid.show.digits import FILE, digits, split


def demo(*arguments):
    return [sys.executable, "-m", "lucid", "demo", "--quiet", *arguments]


class Balanced(HTMLParser):
    """Checks that every element is closed, and that nothing is fetched from elsewhere."""

    VOID = {"meta", "path", "rect", "circle", "polyline", "br", "link", "img"}

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        assert tag not in ("script", "link", "img", "iframe")
        assert not {"src", "href"} & dict(attributes).keys()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def check_page(text):
    parser = Balanced()
    parser.feed(text)
    parser.close()
    assert not parser.open and parser.seen.count("svg") == 3
    assert "nan" not in "".join(re.findall(r'points="([^"]*)"', text))


def test_the_main_job(tmp_path):
    done = subprocess.run(
        demo("--output", str(tmp_path)), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    accuracy = float(re.search(r"accuracy of the checkpoint ([\d.]+)%", done.stdout)[1])
    assert accuracy >= 98.0
    assert "no_grad" in done.stdout and "gradients on" in done.stdout
    check_page((tmp_path / "digits.html").read_text())
    saved = lucid.load(tmp_path / "digits.safetensors")
    assert set(saved) == {"model", "optimizer", "history"}
    assert saved["history"]["accuracy"][-1] * 100 == pytest.approx(accuracy, abs=0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
def test_interrupt_leaves_a_checkpoint(tmp_path):
    checkpoint = tmp_path / "digits.safetensors"
    process = subprocess.Popen(
        demo("--epochs", "100000", "--output", str(tmp_path)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not checkpoint.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors
    assert "interrupted" in output and checkpoint.name in output.replace("\n", "")
    saved = lucid.load(checkpoint)
    assert saved["history"]["loss"] and all(
        np.isfinite(x.numpy()).all() for x in saved["model"].values()
    )
    assert [path.name for path in tmp_path.iterdir()] == [checkpoint.name]


def test_the_digits_are_all_there_and_credited():
    data = digits()
    images, labels = data.tensors
    assert tuple(images.shape) == (1797, 1, 8, 8) and images.dtype == lucid.float32
    assert float(images.min()) == 0.0 and float(images.max()) == 1.0
    assert np.bincount(labels.numpy()).tolist() == [
        178, 182, 177, 183, 181, 182, 181, 179, 174, 180
    ]  # fmt: skip
    with np.load(FILE) as stored:
        assert "Alpaydin" in str(stored["credit"])
    assert FILE.stat().st_size < 100_000
    learn, held_out = split(0)
    assert not set(learn.indices) & set(held_out.indices)


@pytest.mark.parametrize("steps", [1, 2, 40])
def test_the_page_of_any_history(steps):
    history = {"loss": list(np.linspace(2, 1e-3, steps)), "accuracy": [0.1] * (steps // 2)}
    truth = np.arange(30) % 10
    text = page.html({"a<b": "<&>"}, history, np.zeros((30, 8, 8)), truth, truth[::-1].copy())
    check_page(text)
    assert "a&lt;b" in text


def test_command_line():
    version = subprocess.run(
        [sys.executable, "-m", "lucid", "--version"], capture_output=True, text=True, check=True
    )
    assert version.stdout.strip() == f"lucid {lucid.__version__}"
    bad = subprocess.run(demo("--epochs", "0"), capture_output=True, text=True)
    assert bad.returncode == 2 and "at least 1" in bad.stderr
