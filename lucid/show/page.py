"""The page of the demo: loss curve, confusion matrix and digits, one HTML file of inline SVG.

Called by `demo.py`; it knows NumPy arrays and strings only.
"""

import html as escape
from collections.abc import Sequence

import numpy as np

STYLE = """
:root { --ink: #1c2430; --soft: #6b7686; --line: #d9dee6; --paper: #fff; --one: #2563eb;
        --two: #d9480f; color-scheme: light dark; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #98a3b3; --line: #343c48; --paper: #14181e; --one: #6ea0ff;
          --two: #ff9a66; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 880px; margin: 2.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; } td { padding: .2rem 1.2rem .2rem 0; }
td:first-child, figcaption { color: var(--soft); }
figure { margin: 0; } svg { max-width: 100%; height: auto; display: block; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; } svg .soft { fill: var(--soft); }
"""
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 860, 260, 46, 30, 14


def html(
    facts: dict[str, str],
    history: dict[str, list[float]],
    images: np.ndarray,
    truth: np.ndarray,
    predictions: np.ndarray,
) -> str:
    """The whole page. `images` (N, 8, 8) in 0..1, `truth` and `predictions` (N,) classes."""
    rows = "".join(
        f"<tr><td>{escape.escape(name)}</td><td>{escape.escape(value)}</td></tr>"
        for name, value in facts.items()
    )
    wrong = np.flatnonzero(truth != predictions)
    right = np.flatnonzero(truth == predictions)
    shown = [*wrong[:20], *right[: max(0, 60 - min(20, len(wrong)))]]
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>lucid demo: handwritten digits</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>
<body><h1>A convolutional network reads handwritten digits</h1>
<table>{rows}</table>
<h2>Loss and accuracy</h2>
<figure>{curves(history["loss"], history["accuracy"])}<figcaption>Blue: training loss of each step
and its mean over 15 steps, on a logarithmic scale. Orange: accuracy on the held-out digits after
each epoch.</figcaption></figure>
<h2>Confusion matrix</h2>
<figure>{confusion(truth, predictions)}<figcaption>Rows: the digit that was written. Columns: the
digit that the network read.</figcaption></figure>
<h2>Digits</h2>
<figure>{gallery(images[shown], truth[shown], predictions[shown])}<figcaption>{len(wrong)} of
{len(truth)} held-out digits were misread: at most 20 of them come first, framed, as
written&nbsp;&rarr;&nbsp;read.</figcaption></figure>
<p><small>Digits: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998, doi.org/10.24432/C50P49, CC BY 4.0.</small></p>
</body></html>
"""


def curves(loss: Sequence[float], accuracy: Sequence[float]) -> str:
    """Training loss by step (left axis, powers of ten) and accuracy by epoch (right axis)."""
    logs = np.log10(np.maximum(np.asarray(loss, dtype=np.float64), 1e-6))
    low, high = np.floor(logs.min()), max(np.ceil(logs.max()), np.floor(logs.min()) + 1)
    floor = min(0.9, np.floor(min(accuracy) * 10) / 10) if accuracy else 0.9
    wide, tall = WIDTH - 2 * LEFT, HEIGHT - TOP - BOTTOM

    def place(fraction_x: float, fraction_y: float) -> str:
        return f"{LEFT + fraction_x * wide:.1f},{TOP + (1 - fraction_y) * tall:.1f}"

    steps = max(1, len(logs) - 1)

    def line(values: np.ndarray) -> str:
        return " ".join(place(i / steps, (v - low) / (high - low)) for i, v in enumerate(values))

    window = np.ones(min(len(logs), 15))  # steps, centred; near the ends there are fewer
    weight = np.convolve(np.ones(len(logs)), window, "same")
    smooth = np.convolve(logs, window, "same") / weight
    epochs = max(1, len(accuracy))
    dots = [
        place((i + 1) / epochs, (v - floor) / (1 - floor)) for i, v in enumerate(accuracy)
    ]  # fmt: skip
    parts = [_open(WIDTH, HEIGHT, "Training loss by step and held-out accuracy by epoch")]
    for power in range(int(low), int(high) + 1):
        y = TOP + (1 - (power - low) / (high - low)) * tall
        parts.append(
            f'<path d="M{LEFT} {y:.1f}h{wide}" stroke="var(--line)"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>'
        )
    for fraction in (0.0, 0.5, 1.0):
        y = TOP + (1 - fraction) * tall
        value = floor + fraction * (1 - floor)
        parts.append(f'<text x="{WIDTH - LEFT + 6}" y="{y + 4:.1f}">{value:.0%}</text>')
    parts += [
        f'<polyline points="{line(logs)}" fill="none" stroke="var(--one)" opacity=".35"/>',
        f'<polyline points="{line(smooth)}" fill="none" stroke="var(--one)" stroke-width="2"/>',
        f'<polyline points="{" ".join(dots)}" fill="none" stroke="var(--two)" stroke-width="2"/>',
        *(
            f'<circle cx="{dot.split(",")[0]}" cy="{dot.split(",")[1]}" r="3" fill="var(--two)"/>'
            for dot in dots
        ),
        f'<text class="soft" x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{len(loss)} steps, {len(accuracy)} epochs</text></svg>",
    ]
    return "".join(parts)


def confusion(truth: np.ndarray, predictions: np.ndarray) -> str:
    """The 10x10 counts, darker for larger shares of a row; errors in orange."""
    counts = np.zeros((10, 10), np.int64)
    np.add.at(counts, (truth, predictions), 1)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    cell, edge = 34, 26
    side = edge + 10 * cell + 4
    parts = [_open(side, side, "Confusion matrix of the ten digits")]
    for i in range(10):
        middle = edge + i * cell + cell / 2
        parts.append(
            f'<text class="soft" x="{middle}" y="16" text-anchor="middle">{i}</text>'
            f'<text class="soft" x="10" y="{middle + 4}" text-anchor="middle">{i}</text>'
        )
        for j in range(10):
            x, y = edge + j * cell, edge + i * cell
            colour = "--one" if i == j else "--two"
            depth = 0.06 if counts[i, j] == 0 else 0.2 + 0.6 * share[i, j]
            parts.append(
                f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" rx="3" '
                f'fill="var({colour if counts[i, j] else "--soft"})" fill-opacity="{depth:.2f}"/>'
            )
            if counts[i, j]:
                parts.append(
                    f'<text x="{x + cell / 2 - 1}" y="{y + cell / 2 + 3}" text-anchor="middle">'
                    f"{counts[i, j]}</text>"
                )
    return "".join([*parts, "</svg>"])


def gallery(images: np.ndarray, truth: np.ndarray, predictions: np.ndarray) -> str:
    """Small digits in rows of 12, each with what was read below it; errors are framed."""
    pixel, columns = 6, 12
    wide, tall = 8 * pixel + 22, 8 * pixel + 30
    rows = -(-len(images) // columns)
    parts = [_open(columns * wide, rows * tall, "Held-out digits and what the network read")]
    for n, (image, t, p) in enumerate(zip(images, truth, predictions, strict=True)):
        x, y = n % columns * wide, n // columns * tall
        # one path for each of three depths: a rectangle for each pixel would be 10 times the text
        for depth, low, high in ((0.25, 0.1, 0.4), (0.6, 0.4, 0.7), (1.0, 0.7, 1.1)):
            spots = "".join(
                f"M{c * pixel} {r * pixel}h{pixel}v{pixel}h-{pixel}z"
                for r, c in np.argwhere((image >= low) & (image < high))
            )
            if spots:
                parts.append(
                    f'<path transform="translate({x + 8} {y + 4})" d="{spots}" fill="var(--ink)" '
                    f'fill-opacity="{depth}"/>'
                )
        label = str(p) if t == p else f"{t} → {p}"
        parts.append(
            f'<text x="{x + 8 + 4 * pixel}" y="{y + 8 * pixel + 18}" text-anchor="middle">{label}'
            "</text>"
        )
        if t != p:
            parts.append(
                f'<rect x="{x + 4}" y="{y + 1}" width="{8 * pixel + 8}" '
                f'height="{8 * pixel + 22}" rx="4" fill="none" stroke="var(--two)" '
                'stroke-width="2"/>'
            )
    return "".join([*parts, "</svg>"])


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'xmlns="http://www.w3.org/2000/svg"><title>{title}</title>'
    )
