"""Random programs and what they are run on: arguments laid out in all ways, a model, an optimizer.

program_maker.py writes the programs, random_programs.py runs and compares them.
"""

import collections
import dataclasses

import numpy as np

import lucid
import lucid.nn.functional as F
from lucid import nn
from lucid.op import Elementwise, find, records

Pair = collections.namedtuple("Pair", ["first", "second"])


@dataclasses.dataclass
class Record:
    """A result with names."""

    value: object
    rest: object


def op(name, *xs):
    """The record of that name on these inputs, with its usual parameters."""
    record = find(name)
    return record.dispatch(record, xs, tuple(record.defaults.values()))


KINDS = ["float32"] * 6 + ["float64", "bfloat16", "float16", "int64", "int32", "bool", "uint8"]
SHAPES = [(3, 4), (4, 3), (4, 4), (2, 3, 4), (4,), (3,), (), (1, 4), (3, 1), (0, 4), (2, 3, 4, 4)]
UNARY = [
    r.name
    for r in records().values()
    if issubclass(r, Elementwise) and len(r.inputs) == 1 and not r.statics
]
BINARY = [
    r.name
    for r in records().values()
    if issubclass(r, Elementwise) and len(r.inputs) == 2 and not r.statics
]


def data(rng, kind, shape):
    """A tensor of small numbers, row-major."""
    values = rng.integers(-4, 5, shape) if "int" in kind else rng.standard_normal(shape)
    if kind == "bool":
        values = values > 0
    if kind == "uint8":
        values = np.abs(values)
    return (
        lucid.tensor(np.asarray(values).tolist(), dtype=getattr(lucid, kind))
        .reshape(shape)
        .detach()
    )


def argument(rng, seed, form, kind, shape, others):
    """An argument of a form: laid out so, or sharing bytes with another."""
    tensors = [x for x in others if isinstance(x, lucid.Tensor)]
    if form == "same" and tensors:
        return tensors[seed % len(tensors)]
    if form == "view" and tensors:
        x = tensors[seed % len(tensors)]
        if x.dim() and x.shape[0] > 1:
            return x.detach()[seed % 2 :]
        return x.detach()
    if form == "middle":  # of a larger storage, with gaps
        wide = data(rng, kind, (*[n + 2 for n in shape],))
        return wide[tuple([slice(1, n + 1) for n in shape])]
    if form == "steps" and shape:
        return data(rng, kind, (*shape[:-1], 2 * shape[-1]))[..., ::2]
    if form == "transposed" and len(shape) > 1:
        return data(rng, kind, shape[::-1]).permute(*range(len(shape))[::-1])
    if form == "expanded" and len(shape) > 1 and shape[0] > 1:
        return data(rng, kind, shape[1:]).expand(shape)
    x = data(rng, kind, shape)
    if form == "channels" and len(shape) == 4:
        return x.contiguous(memory_format=lucid.channels_last)
    if form in ("leaf", "history") and x.is_floating_point():
        x.requires_grad_()
        return x * 1.5 if form == "history" else x
    if form == "graded" and x.is_floating_point():
        x.requires_grad_()
        x.grad = lucid.ones_like(x)
        return x
    if form == "lookout" and x.is_floating_point() and len(shape) > 1:  # a view with history
        return (x.requires_grad_() * 2).transpose(0, 1)
    return x


FORMS = [
    "plain", "plain", "same", "view", "middle", "steps", "transposed", "expanded", "channels",
    "leaf", "leaf", "graded", "history", "history", "lookout",
]  # fmt: skip

MODELS = {
    "linear": lambda: nn.Linear(4, 4),
    "mlp": lambda: nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Dropout(0.4), nn.Linear(8, 4)),
    "norm": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU()),
    "layers": lambda: nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4, bias=False), nn.Tanh()),
}
OPTIMIZERS = {
    "sgd": lambda ps: lucid.optim.SGD(ps, lr=0.1),
    "momentum": lambda ps: lucid.optim.SGD(ps, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda ps: lucid.optim.Adam(ps, lr=0.01),
    "adamw": lambda ps: lucid.optim.AdamW(ps, lr=0.01, amsgrad=True),
    "rmsprop": lambda ps: lucid.optim.RMSprop(ps, lr=0.01),
}


class World:
    """Arguments and globals of a program, the same for each World of the same program."""

    def __init__(self, program):
        self.program = program
        lucid.manual_seed(program.seed)
        self.space = {
            "lucid": lucid, "F": F, "nn": nn, "op": op, "Pair": Pair, "Record": Record,
            "flat": flat, "FLAG": True, "NUMBER": 2,
        }  # fmt: skip
        self.space["p"] = nn.Parameter(lucid.randn(4, 4))
        self.space["q"] = nn.Parameter(lucid.randn(4))
        self.space["buffer"] = lucid.zeros(3, 4)
        model = self.space["m"] = MODELS[program.model]()
        parameters = [self.space["p"], self.space["q"], *model.parameters()]
        self.space["opt"] = OPTIMIZERS[program.optimizer](parameters)
        self.arguments = self.fresh(0)
        self.last = ()

    def fresh(self, call):
        """The arguments of a call: laid out as for every call, a 3 being `sizes[call]`."""
        program, made = self.program, []
        rng = np.random.default_rng(program.seed + call)
        for seed, form, kind, shape in program.arguments:
            if program.sizes:
                shape = tuple([program.sizes[call] if n == 3 else n for n in shape])
            if form == "parameter":
                made.append(self.space["p"])
            else:
                made.append(argument(rng, seed, form, kind, shape, made))
        return made

    def tensors(self, result):
        """Everything that can be seen: path -> tensor or number."""
        found = {}

        def walk(path, x):
            if isinstance(x, lucid.Tensor):
                found[path] = x
                if x.is_leaf and x.grad is not None:
                    found[path + ".grad"] = x.grad
            elif dataclasses.is_dataclass(x):
                found[path] = type(x)
                for f in dataclasses.fields(x):
                    walk(f"{path}.{f.name}", getattr(x, f.name))
            elif isinstance(x, (list, tuple)):
                found[path] = type(x)
                for i, y in enumerate(x):
                    walk(f"{path}[{i}]", y)
            elif isinstance(x, dict):
                found[path] = type(x)
                for k, y in x.items():
                    walk(f"{path}[{k!r}]", y)
            else:
                found[path] = x

        walk("result", result)
        walk("last", self.last)
        walk("argument", self.arguments)
        for name in ("p", "q", "buffer"):
            walk(name, self.space[name])
        for name, x in (*self.space["m"].named_parameters(), *self.space["m"].named_buffers()):
            walk(f"m.{name}", x)
        walk("opt", self.space["opt"].state_dict())
        return found


@dataclasses.dataclass
class Program:
    """The statements, and what they are run on."""

    seed: int
    arguments: list
    model: str
    optimizer: str
    lines: list
    result: str
    after: list = dataclasses.field(default_factory=list)  # run by the caller, on `out`
    calls: int = 3
    sizes: tuple = ()  # what a size of 3 is in each call

    def source(self):
        names = ", ".join(f"a{i}" for i in range(len(self.arguments)))
        body = [f"    {part}" for line in self.lines for part in line.split("\n")]
        return "\n".join([f"def f({names}):", *body, f"    return {self.result}"])

    def __str__(self):
        kinds = [f"a{i}: {form} {kind}{shape}" for i, (_, form, kind, shape) in
                 enumerate(self.arguments)]  # fmt: skip
        head = f"# seed {self.seed}; {'; '.join(kinds)}; m: {self.model}; opt: {self.optimizer}"
        head += f"; 3 becomes {', '.join(map(str, self.sizes))}" if self.sizes else ""
        after = [f"# after: {line}" for line in self.after]
        return "\n".join([head, self.source(), *after])


def flat(x):
    """The tensors of a result."""
    if isinstance(x, lucid.Tensor):
        return [x]
    if dataclasses.is_dataclass(x):
        x = [getattr(x, f.name) for f in dataclasses.fields(x)]
    if isinstance(x, dict):
        x = list(x.values())
    return [t for y in x for t in flat(y)] if isinstance(x, (list, tuple)) else []
