"""`summarize` and `describe`: a model's layers in the order of their calls, with shapes and sizes.

Called by users. The model is run once on zeros, with hooks that note what goes in and comes out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

import lucid
from lucid.nn import Module

MEGA = 2**20


@dataclass
class Layer:
    """One call of a module: its path, how deep it stands, its shapes, its own parameters."""

    path: str
    kind: str
    depth: int
    inputs: Any
    outputs: Any
    parameters: int
    layers: int  # modules below it
    shared: bool  # whether an earlier row has the same module


@dataclass(frozen=True)
class Summary:
    """What `describe` found: print it, or read its fields."""

    name: str
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    buffers: int
    bytes: int
    flops: int

    def table(self, limit: int | None = None) -> Table:
        """The layers, the first `limit` of them, as a table of rich."""
        made = Table(title=f"Summary of {self.name}")
        for title in ("layer", "input", "output"):
            made.add_column(title, overflow="fold")
        for title in ("parameters", "layers inside"):
            made.add_column(title, justify="right")
        for layer in self.layers[:limit]:
            name = "  " * layer.depth + layer.kind
            name += f" ({layer.path.rpartition('.')[2]})" if layer.path else ""
            count = "again" if layer.shared else f"{layer.parameters:,}"
            shapes = shown(layer.inputs), shown(layer.outputs)
            made.add_row(name, *shapes, count, f"{layer.layers or '-'}")
        return made

    def facts(self, limit: int | None = None) -> list[str]:
        """The totals, in lines."""
        rest = 0 if limit is None else max(len(self.layers) - limit, 0)
        lines = [f"{rest} more layers"] if rest else []
        fixed = self.parameters - self.trainable
        return [
            *lines,
            f"parameters: {self.parameters:,}" + (f", {fixed:,} of them fixed" if fixed else ""),
            f"buffers: {self.buffers:,} elements; all together {self.bytes / MEGA:.2f} MiB",
            f"forward: {self.flops:,} floating-point operations",
        ]

    def print(self, limit: int | None = None, console: Console | None = None) -> None:
        """Print the table and the totals."""
        target = console or Console()
        target.print(self.table(limit))
        for line in self.facts(limit):
            target.print(line, highlight=False, markup=False)

    def __str__(self) -> str:
        console = Console(width=120, no_color=True)
        with console.capture() as caught:
            self.print(console=console)
        return caught.get()


def summarize(
    model: Module,
    input_shape: Sequence[Any],
    recurse: bool = True,
    truncate_from: int | None = None,
    *,
    dtype: lucid.dtype | None = None,
    **model_kwargs: Any,
) -> None:
    """Print a table of the model's layers: input and output shapes, parameters, layers inside.

    input_shape: one shape, or a list of shapes for a model with several inputs; the model is run
    on zeros of `dtype` (the default floating type), in eval mode and without gradients, so that
    nothing of it changes. recurse: layers inside of layers too. truncate_from: print so many rows.
    model_kwargs go to the model's forward. `describe` returns the same as an object.

    >>> import lucid
    >>> lucid.models.summarize(lucid.nn.Linear(10, 5), (1, 10))  # doctest: +SKIP
    """
    describe(model, input_shape, recurse, dtype=dtype, **model_kwargs).print(truncate_from)


def describe(
    model: Module,
    input_shape: Sequence[Any],
    recurse: bool = True,
    *,
    dtype: lucid.dtype | None = None,
    **model_kwargs: Any,
) -> Summary:
    """What `summarize` prints, as an object.

    >>> import lucid
    >>> found = lucid.models.describe(lucid.nn.Linear(10, 5), (1, 10))
    >>> found.parameters, found.flops, found.layers[0].outputs
    (55, 100, (1, 5))
    """
    if not isinstance(model, Module):
        raise TypeError(f"summarize: expected a Module, got {type(model).__name__}")
    several = bool(input_shape) and all(isinstance(n, list | tuple) for n in input_shape)
    shapes = list(input_shape) if several else [input_shape]
    inputs = [lucid.zeros(*shape, dtype=dtype) for shape in shapes]
    rows: list[Layer] = []
    modes = [(module, module.training) for module in model.modules()]
    handles = _hooks(model, recurse, rows)
    try:
        model.eval()
        with lucid.no_grad(), lucid.count_flops() as count:
            model(*inputs, **model_kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes:
            module.training = mode
    parameters, buffers = list(model.parameters()), list(model.buffers())
    return Summary(
        name=type(model).__name__,
        layers=tuple(rows),
        parameters=sum(p.numel() for p in parameters),
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        buffers=sum(b.numel() for b in buffers),
        bytes=sum(x.numel() * x.element_size() for x in (*parameters, *buffers)),
        flops=count.total,
    )


def _hooks(model: Module, recurse: bool, rows: list[Layer]) -> list[Any]:
    """Hooks that add a row when a module is called, and its output when it returns."""
    chosen = list(model.named_modules()) if recurse else [("", model), *model.named_children()]
    open_: list[Layer] = []
    seen: set[int] = set()
    handles = []
    for path, module in chosen:

        def enter(module: Module, args: Any, kwargs: Any, path: str = path) -> None:
            row = Layer(
                path, type(module).__name__, len(open_), shapes_of(args), None,
                module.count_parameters(), sum(1 for _ in module.modules()) - 1,
                id(module) in seen,
            )  # fmt: skip
            seen.add(id(module))
            open_.append(row)
            rows.append(row)

        def leave(module: Module, args: Any, output: Any) -> None:
            open_.pop().outputs = shapes_of(output)

        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(module.register_forward_hook(leave))
    return handles


def shapes_of(value: Any) -> Any:
    """The shapes of the tensors in a value: a tuple of numbers for one, a list for several."""
    if isinstance(value, lucid.Tensor):
        return tuple(int(n) for n in value.shape)
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        found = [shapes_of(x) for x in value]
        found = [shape for shape in found if shape is not None]
        return found[0] if len(found) == 1 else found or None
    return None


def shown(shapes: Any) -> str:
    """Shapes as text: 2 x 3, several of them in parentheses."""
    if shapes is None:
        return "-"
    if isinstance(shapes, tuple):
        return " x ".join(map(str, shapes)) or "a number"
    return ", ".join(f"({shown(shape)})" for shape in shapes)
