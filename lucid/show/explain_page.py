"""The page of `lucid.explain`: one HTML file with its figures as inline SVG, and no script.

Called by `Report.html`.
"""

import html as escape
import os
import tempfile
from typing import Any

from lucid.show.page import STYLE

WIDTH, ROW = 860, 14
EXTRA = """
td, th { padding: .15rem .8rem .15rem 0; text-align: left; vertical-align: top; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; font-size: 12px; } summary { cursor: pointer; }
.bar { fill: var(--one); } .bar.b { fill: var(--two); } body { max-width: 1000px; }
"""


def write(report: Any, path: str) -> None:
    """Write the page, all of it or nothing."""
    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=".tmp", delete=False) as file:
        file.write(page(report))
    os.replace(file.name, path)


def page(report: Any) -> str:
    """The whole page."""
    name = escape.escape(report.name)
    facts = "".join(
        f"<tr><td>{escape.escape(key)}</td><td>{escape.escape(text).replace(chr(10), '<br>')}</td>"
        "</tr>"
        for key, text in report.facts().items()
    )
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>lucid.explain: {name}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}{EXTRA}</style></head><body>
<h1>{name}: {len(report.kernels)} kernels, {report.seconds * 1e3:.3f} ms</h1>
<table id="facts">{facts}</table>
<h2>Time</h2><figure>{times(report)}<figcaption>Each bar is a kernel, in the order in which they
run.</figcaption></figure>
{shares(report)}
<h2>Kernels</h2>{kernels(report)}
<h2>Memory</h2><figure>{memory(report)}<figcaption>Each block is a value between kernels: across,
the kernels while it lives; up, its place in the arena.</figcaption></figure>
<h2>Graph</h2>
<details><summary>as traced</summary><pre id="before">{escape.escape(report.before)}</pre></details>
<details><summary>as planned</summary><pre id="after">{escape.escape(report.after)}</pre></details>
</body></html>
"""


def shares(report: Any) -> str:
    """The time by kernel family."""
    rows = "".join(
        f'<tr><td>{escape.escape(f.name)}</td><td class="n">{f.kernels}</td>'
        f'<td class="n">{f.seconds * 1e3:.3f}</td><td class="n">{f.share:.1%}</td></tr>'
        for f in report.families()
    )
    return f'<table id="families"><tr><th>family<th>kernels<th>ms<th>share</tr>{rows}</table>'


def kernels(report: Any) -> str:
    """The kernels as a table; each opens to its loop nest."""
    rows = []
    for k in report.kernels:
        lines = escape.escape(", ".join(k.lines))
        rows.append(
            f"<tr><td><details><summary>{escape.escape(k.name)}</summary>"
            f"<pre>{escape.escape(k.text)}</pre></details></td>"
            f'<td class="n">{k.seconds * 1e3:.3f}</td><td class="n">{k.bytes / 1e6:.2f}</td>'
            f'<td class="n">{k.flops / 1e6:.2f}</td>'
            f'<td class="n">{k.share(report.limits):.0%}</td><td>{lines}</td></tr>'
        )
    head = "<tr><th>kernel<th>ms<th>MB<th>MFLOP<th>of the limit<th>lines</tr>"
    return f'<table id="kernels">{head}{"".join(rows)}</table>'


def times(report: Any) -> str:
    """A strip of all kernels, as wide as they take."""
    total, x, parts = report.seconds or 1.0, 0.0, []
    for i, k in enumerate(report.kernels):
        width = WIDTH * k.seconds / total
        parts.append(
            f'<rect class="bar{" b" * (i % 2)}" x="{x:.2f}" y="0" width="{max(width, 0.3):.2f}" '
            f'height="36"><title>{escape.escape(k.name)}: {k.seconds * 1e6:.1f} us</title></rect>'
        )
        x += width
    return f'<svg id="times" viewBox="0 0 {WIDTH} 36">{"".join(parts)}</svg>'


def memory(report: Any) -> str:
    """The arena over time."""
    height = 260
    steps, size = max(len(report.kernels), 1), max(report.arena, 1)
    parts = []
    for i, b in enumerate(report.blocks):
        x, width = WIDTH * b.first / steps, WIDTH * (b.last - b.first + 1) / steps
        y, tall = height * b.offset / size, height * b.bytes / size
        parts.append(
            f'<rect class="bar{" b" * (i % 2)}" x="{x:.2f}" y="{height - y - tall:.2f}" '
            f'width="{width:.2f}" height="{max(tall, 0.5):.2f}" fill-opacity=".7">'
            f"<title>{escape.escape(b.name)}: {b.bytes:,} bytes</title></rect>"
        )
    return f'<svg id="memory" viewBox="0 0 {WIDTH} {height}">{"".join(parts)}</svg>'
