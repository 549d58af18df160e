"""The main job, `lucid demo`: digits from training to a checkpoint to a page to look at.

Called by `lucid/__main__.py`. Reads top to bottom: `main` is the whole story.
"""

import argparse
import contextlib
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import lucid
from lucid import memory, nn, optim
from lucid.data import DataLoader
from lucid.io import load, save
from lucid.lazy import lazy
from lucid.show import page
from lucid.show.digits import split

console = lazy("rich.console")
progress = lazy("rich.progress")
table = lazy("rich.table")

BATCH = 64
INTERRUPTED = 130  # the shell's status of a program that Ctrl-C ended


def main(options: argparse.Namespace) -> int:
    """Train, save, reload, evaluate, measure, write the page. Returns the exit status."""
    out = console.Console(highlight=False)
    output = Path(options.output)
    output.mkdir(parents=True, exist_ok=True)
    checkpoint = output / "digits.safetensors"
    lucid.manual_seed(options.seed)
    learn, held_out = split(options.seed)
    model = network()
    out.print(
        f"{len(learn)} digits to learn from, {len(held_out)} held out, "
        f"{sum(p.numel() for p in model.parameters()):,} parameters"
    )
    start = time.perf_counter()
    history, finished = train(model, learn, held_out, checkpoint, options, out)
    seconds = time.perf_counter() - start
    if not finished:
        epochs = len(history["accuracy"])
        out.print(f"interrupted after {epochs} epochs; the checkpoint is {checkpoint}")
        return INTERRUPTED

    reloaded = network()
    reloaded.load_state_dict(load(checkpoint)["model"])
    images, labels = next(iter(DataLoader(held_out, len(held_out))))
    logits = evaluate(reloaded, images)
    predictions, truth = logits.argmax(1).numpy(), labels.numpy()
    accuracy = float((predictions == truth).mean())
    costs = [cost(reloaded, images, gradients) for gradients in (True, False)]
    report(out, accuracy, seconds, costs)

    facts = {
        "accuracy": f"{accuracy:.2%} of {len(truth)} held-out digits",
        "training": f"{options.epochs} epochs in {seconds:.1f} s",
        "with gradients": f"{costs[0][0] * 1e3:.2f} ms, {costs[0][1] / 2**20:.2f} MiB at the peak",
        "under no_grad": f"{costs[1][0] * 1e3:.2f} ms, {costs[1][1] / 2**20:.2f} MiB at the peak",
    }
    target = output / "digits.html"
    text = page.html(facts, history, images.numpy()[:, 0], truth, predictions)
    target.write_text(text, encoding="utf-8")
    out.print(f"checkpoint {checkpoint}\npage       {target}")
    return 0


def network() -> Any:
    """Three convolutions for images (N, 1, 8, 8); logits (N, 10)."""
    return nn.Sequential(
        *block(1, 32),  # (N, 32, 8, 8)
        *block(32, 32),
        nn.MaxPool2d(2),  # (N, 32, 4, 4)
        *block(32, 64),
        nn.MaxPool2d(2),  # (N, 64, 2, 2)
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(256, 10),
    )


def block(inputs: int, outputs: int) -> list[Any]:
    """A 3x3 convolution, normalised over the batch; its bias would be subtracted again."""
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU()]


def train(
    model: Any, learn: Any, held_out: Any, checkpoint: Path, options: argparse.Namespace, out: Any
) -> tuple[dict[str, list[float]], bool]:
    """Train with Adam, saving after every epoch; the history, and whether all epochs were done.

    After Ctrl-C the step under way is completed and saved. A second Ctrl-C ends the program at
    once; the checkpoint on disk is whole then too.
    """
    loader = DataLoader(learn, BATCH, shuffle=True)
    optimizer = optim.Adam(model.parameters(), lr=1e-2)
    scheduler = optim.lr_scheduler.CosineAnnealingLR(optimizer, options.epochs * len(loader))
    images, labels = next(iter(DataLoader(held_out, len(held_out))))
    history: dict[str, list[float]] = {"loss": [], "accuracy": []}

    def keep() -> None:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        save(state | {"history": history}, checkpoint)

    with stop_at_interrupt() as stop, bar(options.quiet, out) as steps:
        task = steps.add_task("training", total=options.epochs * len(loader), note="")
        for _ in range(options.epochs):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                scheduler.step()
                history["loss"].append(loss.item())
                steps.advance(task)
                if stop.is_set():
                    keep()
                    return history, False
            correct = evaluate(model, images).argmax(1) == labels
            history["accuracy"].append(correct.sum().item() / len(labels))
            note = f"loss {loss.item():.4f}, held-out {history['accuracy'][-1]:.2%}"
            steps.update(task, note=note)
            keep()
    return history, True


@lucid.no_grad()
def evaluate(model: Any, images: Any) -> Any:
    """The logits of all images; nothing is kept for a backward pass."""
    model.eval()
    return model(images)


def cost(model: Any, images: Any, gradients: bool) -> tuple[float, int]:
    """The seconds of one forward pass (median of 15) and the most bytes live beyond its input."""
    times = []
    before = peak = 0
    model.eval()
    with lucid.set_grad_enabled(gradients):
        for _ in range(15):
            before = memory.stats()["live"]
            memory.reset_peak()
            start = time.perf_counter()
            y = model(images)
            times.append(time.perf_counter() - start)
            peak = max(peak, memory.stats()["peak"] - before)
            del y
    return statistics.median(times), peak


def report(out: Any, accuracy: float, seconds: float, costs: list[tuple[float, int]]) -> None:
    """Accuracy, and a table of time and memory with and without gradients."""
    out.print(f"trained in {seconds:.1f} s; held-out accuracy of the checkpoint {accuracy:.2%}")
    grid = table.Table("forward pass of the held-out digits", "time", "peak memory")
    for name, (time_taken, bytes_held) in zip(("gradients on", "no_grad"), costs, strict=True):
        grid.add_row(name, f"{time_taken * 1e3:.2f} ms", f"{bytes_held / 2**20:.2f} MiB")
    faster, smaller = (np.array(costs[0]) / np.maximum(costs[1], 1e-9)).tolist()
    grid.add_row("ratio", f"{faster:.2f}", f"{smaller:.2f}")
    out.print(grid)


def bar(quiet: bool, out: Any) -> Any:
    """The progress bar; without a terminal, or with --quiet, it draws nothing."""
    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        progress.TextColumn("{task.fields[note]}"),
        console=out,
        disable=quiet,
    )


@contextlib.contextmanager
def stop_at_interrupt() -> Iterator[threading.Event]:
    """Within the block the first Ctrl-C sets the event; a second one interrupts as usual."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread can be told of signals
        return
    previous = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, previous)

    signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, previous)
