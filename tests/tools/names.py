"""Writes the names of PyTorch that Lucid has not into docs/pytorch.md.

    python tests/tools/names.py [--check]

`--check` writes nothing and fails where the list is out of date.
"""

import argparse
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

import lucid  # noqa: E402
from lucid.compat import finder  # noqa: E402
from tests.surface import SURFACE  # noqa: E402

PAGE = ROOT / "docs" / "pytorch.md"
BEGIN, END = "<!-- names: tests/tools/names.py -->\n", "<!-- end of names -->\n"


def names() -> list[tuple[str, str]]:
    """(module, name) of all lists."""
    found = [(key.strip(), name) for key, text in SURFACE.items() for name in text.split()]
    return list(dict.fromkeys(found))


def is_there(module: str, name: str) -> bool:
    if module == "torch.Tensor":
        return hasattr(lucid.Tensor, name) or name in lucid.Tensor.__dict__
    return finder.exists(f"{module}.{name}")


def missing() -> dict[str, list[str]]:
    """What is not there, by module."""
    found: dict[str, list[str]] = {}
    for module, name in names():
        if not is_there(module, name):
            found.setdefault(module, []).append(name)
    return {module: sorted(found[module]) for module in sorted(found)}


def table(found: dict[str, list[str]]) -> str:
    count = sum(map(len, found.values()))
    lines = [f"Of {len(names())} names, {count} are missing:", ""]
    for module, absent in found.items():
        text = f"- `{module}`: " + " ".join(f"`{name}`" for name in absent)
        lines += textwrap.wrap(text, 100, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def documented() -> dict[str, list[str]]:
    """What the page says."""
    text = PAGE.read_text()
    block = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    found: dict[str, list[str]] = {}
    for item in block.split("\n- ")[1:]:
        module, *absent = (part for part in item.split("`")[1::2])
        found[module] = absent
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    now = missing()
    if parser.parse_args().check:
        if documented() != now:
            print("docs/pytorch.md is out of date: run python tests/tools/names.py")
            return 1
        return 0
    text = PAGE.read_text()
    start, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    PAGE.write_text(text[:start] + table(now) + text[end:])
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
