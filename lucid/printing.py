"""How tensors print: as PyTorch's do, 4 digits, large ones in part."""

from typing import Any

import numpy as np

from lucid.dtypes import BOOL, COMPLEX, FLOATING, INTEGER, bool_, get_default_dtype, int64


class Options:
    """What `set_printoptions` changes."""

    precision = 4
    threshold = 1000
    edgeitems = 3
    linewidth = 80
    sci_mode: bool | None = None


def set_printoptions(
    precision: int | None = None,
    threshold: int | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Change how tensors print; profile is "default", "short" or "full"."""
    if profile is not None:
        if profile not in ("default", "short", "full"):
            raise ValueError(f"set_printoptions: no profile {profile!r}")
        Options.precision = 2 if profile == "short" else 4
        Options.threshold = 10**18 if profile == "full" else 1000
        Options.edgeitems = 2 if profile == "short" else 3
        Options.linewidth = 80
    for name, value in (
        ("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems),
        ("linewidth", linewidth), ("sci_mode", sci_mode),
    ):  # fmt: skip
        if value is not None:
            setattr(Options, name, value)


class _Complex:
    """Both parts, each with a width and notation of its own."""

    def __init__(self, values: np.ndarray):
        self.real = _Formatter(values.real, FLOATING)
        self.imag = _Formatter(np.abs(values.imag), FLOATING)
        self.width = self.real.width + self.imag.width + 2

    def __call__(self, v: Any) -> str:
        sign = "-" if np.signbit(v.imag) else "+"
        return f"{self.real(v.real)}{sign}{self.imag(abs(v.imag))}j"


class _Formatter:
    """One width and notation for all elements shown."""

    def __init__(self, values: np.ndarray, category: int):
        self.category = category
        self.scientific = self.whole = False
        shown = values.ravel()
        if category == FLOATING:
            finite = np.abs(shown[np.isfinite(shown) & (shown != 0)].astype(np.float64))
            self.whole = bool(finite.size == 0 or np.all(finite == np.ceil(finite)))
            if finite.size:
                high, low = finite.max(), finite.min()
                large = high / low > 1000.0 or high > 1e8
                self.scientific = large if self.whole else large or low < 1e-4
            if Options.sci_mode is not None:
                self.scientific = Options.sci_mode
        self.width = max((len(self._text(v)) for v in shown), default=0)

    def _text(self, v: Any) -> str:
        if self.category == BOOL:
            return "True" if v else "False"
        if self.category == INTEGER:
            return str(int(v))
        number = float(v)
        if self.scientific:
            return f"{number:.{Options.precision}e}"
        if not np.isfinite(number):
            return str(number)
        return f"{number:.0f}." if self.whole else f"{number:.{Options.precision}f}"

    def __call__(self, v: Any) -> str:
        return self._text(v).rjust(self.width)


def _summary(array: np.ndarray) -> np.ndarray:
    """The elements that a shortened print shows."""
    n = Options.edgeitems
    for d, size in enumerate(array.shape):
        if size > 2 * n:
            places = [*range(n), *range(size - n, size)]
            array = array.take(places, axis=d)
    return array


def _lines(array: np.ndarray, show: Any, short: bool, indent: int) -> str:
    n = Options.edgeitems
    if array.ndim == 0:
        return show(array[()])
    size = array.shape[0]
    cut = short and size > 2 * n
    if array.ndim == 1:
        places = [*range(n), *range(size - n, size)] if cut else range(size)
        items = [show(array[i]) for i in places]
        if cut:
            items.insert(n, " ...")
        per_line = max(1, (Options.linewidth - indent) // max(show.width + 2, 1))
        rows = [items[i : i + per_line] for i in range(0, len(items), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(r) for r in rows) + "]"
    places = [*range(n), *range(size - n, size)] if cut else range(size)
    parts = [_lines(array[i], show, short, indent + 1) for i in places]
    if cut:
        parts.insert(n, "...")
    gap = ",\n" + "\n" * (array.ndim - 2) + " " * (indent + 1)
    return "[" + gap.join(parts) + "]"


def render(x: Any, contents: str | None = None) -> str:
    """repr(x); `contents` is what stands in place of the elements."""
    head = "Parameter containing:\n" if type(x).__name__ == "Parameter" else ""
    return head + _tensor(x, contents)


def _tensor(x: Any, contents: str | None) -> str:
    kind, indent = x.dtype, len("tensor(")
    if x._value is not None:
        return f"tensor(<traced {x._value.type}>)"
    suffixes = []
    if contents is not None:
        body = contents
        if kind is not get_default_dtype():
            suffixes.append(f"dtype={kind!r}")
    elif x.numel() == 0:
        body = "[]"
        if tuple(x.shape) != (0,):
            suffixes.append(f"size={tuple(x.shape)}")
        if kind is not get_default_dtype():
            suffixes.append(f"dtype={kind!r}")
    else:
        array = x.detach()._as_numpy("repr")
        if kind.category == FLOATING and kind.itemsize == 2:
            array = array.astype(np.float32)
        short = x.numel() > Options.threshold
        shown = _summary(array) if short else array
        show: Any = _Complex(shown) if kind.category == COMPLEX else None
        show = show or _Formatter(shown, kind.category)
        body = _lines(array, show, short, indent)
        if kind not in (get_default_dtype(), get_default_dtype().to_complex(), int64, bool_):
            suffixes.append(f"dtype={kind!r}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn={x.grad_fn!r}")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    return f"tensor({', '.join([body, *suffixes])})"
