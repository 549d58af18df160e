"""`Maker` writes a random program, statement by statement, running it as it grows.

random_programs.py calls it.
"""

import random
import warnings

import lucid
from tests.program_worlds import (
    BINARY,
    FORMS,
    KINDS,
    MODELS,
    OPTIMIZERS,
    SHAPES,
    UNARY,
    Program,
    World,
)  # fmt: skip


class Maker:
    """Makes one program, running it as it grows; `asks`: it may look into tensors."""

    def __init__(self, seed, asks=False):
        self.asks = asks
        self.rng = random.Random(seed)
        rng = self.rng
        arguments = []
        for _ in range(rng.randint(1, 3)):
            shape = rng.choice(SHAPES[:4]) if rng.random() < 0.6 else rng.choice(SHAPES)
            form = rng.choice(FORMS)
            if rng.random() < 0.05:
                form, shape = "parameter", (4, 4)
            kind = rng.choice(KINDS) if rng.random() < 0.6 else "float32"
            arguments.append((rng.randint(0, 99), form, kind, shape))
        model, optimizer = rng.choice(list(MODELS)), rng.choice(list(OPTIMIZERS))
        self.program = Program(seed, arguments, model, optimizer, [], "None")
        self.count = 0

    def make(self):
        program, rng = self.program, self.rng
        world = World(program)
        self.space = dict(world.space)
        self.space.update({f"a{i}": x for i, x in enumerate(world.arguments)})
        self.names = [f"a{i}" for i in range(len(program.arguments))]
        training = rng.random() < 0.35
        wanted = rng.randint(2, 10)
        for _ in range(wanted * 4):
            if len(program.lines) >= wanted:
                break
            self.attempt(self.statement())
        if training:
            self.train()
        program.result = self.result()
        if rng.random() < 0.4:
            self.afterwards()
        program.calls = rng.choice([2, 3, 4])
        if any(3 in shape for *_, shape in program.arguments) and rng.random() < 0.3:
            program.calls = 4
            program.sizes = (3, *rng.choices([1, 2, 4, 5, 6, 7, 17], k=3))
        return program

    def attempt(self, line):
        if line is None:
            return False
        target = line.split(" = ")[0] if " = " in line else None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(line, self.space)
        except Exception:
            return False
        self.program.lines.append(line)
        for name in (target or "").split(", "):
            if name.isidentifier() and isinstance(self.space.get(name), lucid.Tensor):
                if name not in self.names:
                    self.names.append(name)
        return True

    def new(self):
        self.count += 1
        return f"v{self.count}"

    def pick(self, test=lambda x: True):
        """A name of a tensor with this property, rather a late one."""
        names = [n for n in self.names if test(self.space[n])]
        if not names:
            return None
        i = max(self.rng.randrange(len(names)), self.rng.randrange(len(names)))
        return names[i]

    def statement(self):
        kinds = {
            "unary": 3, "binary": 5, "view": 6, "inplace": 6, "reduce": 3, "product": 2, "cast": 2,
            "index": 3, "draw": 1, "create": 1, "branch": 1, "model": 1, "history": 1, "outer": 2,
            "join": 1, "gradient": 1, "quiet": 2, "image": 1,
            "flow": 1, "ask": 3 if self.asks else 0,
        }  # fmt: skip
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        return getattr(self, kind)()

    # Each gives a statement, or None where nothing fits.

    def unary(self):
        return f"{self.new()} = op({self.rng.choice(UNARY)!r}, {self.pick()})"

    def binary(self):
        x, y = self.pick(), self.pick()
        rng = self.rng
        if rng.random() < 0.3:
            y = rng.choice(["2", "0.5", "-1.5", "True", "NUMBER"])
        elif rng.random() < 0.1:
            y = rng.choice(["p", "q", "buffer"])
        if rng.random() < 0.5:
            return f"{self.new()} = {x} {rng.choice(['+', '-', '*', '/', '>', '<='])} {y}"
        return f"{self.new()} = op({rng.choice(BINARY)!r}, {x}, {y})"

    def viewed(self, x):
        t, rng = self.space[x], self.rng
        choices = [f"{x}.view(-1)", f"{x}.unsqueeze(0)", f"{x}.detach()", f"{x}.reshape(-1)",
                   f"{x}.squeeze()", f"{x}.view_as({x})", f"{x}.flatten()"]  # fmt: skip
        if t.dim():
            d = rng.randrange(t.dim())
            choices += [f"{x}[0]", f"{x}[-1:]", f"{x}[1:]", f"{x}[::2]", f"{x}[..., 0]",
                        f"{x}[..., 1:]", f"{x}[None]", f"{x}.narrow({d}, 0, 1)",
                        f"{x}.select({d}, 0)", f"{x}.unfold({d}, 2, 1).clone()",
                        f"{x}.chunk(2, {d})[0]", f"{x}.split(2, {d})[-1]",
                        f"{x}.unbind({d})[0]"]  # fmt: skip
        if t.dim() > 1:
            choices += [f"{x}.transpose(0, 1)", f"{x}.diagonal()", f"{x}.mT", f"{x}[:, 1]",
                        f"{x}.transpose(-1, -2)", f"{x}.flatten(0, 1)"] * 2  # fmt: skip
        if t.dim() > 2:
            choices += [f"{x}.permute(2, 0, 1)"] if t.dim() == 3 else [f"{x}.permute(0, 2, 3, 1)"]
        if t.dim() < 3:
            choices += [f"{x}.expand(2, {'*' + x + '.shape' if t.dim() else '3'})"]
        return rng.choice(choices)

    def view(self):
        return f"{self.new()} = {self.viewed(self.pick())}"

    def inplace(self):
        x, rng = self.pick(), self.rng
        y = self.pick() if rng.random() < 0.6 else rng.choice(["1.5", "2", "NUMBER"])
        target = self.viewed(x) if rng.random() < 0.3 else x
        t = self.space[x]
        simple = [f"{target}.add_({y})", f"{target}.mul_({y})", f"{target}.sub_({y})",
                  f"{target}.copy_({self.pick()})", f"{target}.zero_()", f"{target}.fill_(3)",
                  f"{target}.relu_()", f"{target}.clamp_(-1, 1)", f"{target}.neg_()",
                  f"{target}.masked_fill_({x} > 0, 2)", f"{x} += {y}", f"{x} *= {y}",
                  f"{target}.add_({y}).mul_(2)", f"{target}.tanh_()",
                  f"lucid.add({x}, {y}, out={self.pick()})"]  # fmt: skip
        if t.dim():
            simple += [f"{x}[0] = {y}", f"{x}[1:] += 1", f"{x}[..., 0] = {y}", f"{x}[::2] *= 2",
                       f"{x}[{x} > 0] = 1", f"{x}[lucid.tensor([0, 1])] = {y}",
                       f"{x}[1:] = {x}[:-1]", f"{x}[:-1].add_({x}[1:])"]  # fmt: skip
        line = rng.choice(simple)
        if rng.random() < 0.3:
            return f"with lucid.no_grad():\n    {line}"
        return line

    def reduce(self):
        x, rng = self.pick(), self.rng
        t = self.space[x]
        d = rng.randrange(t.dim()) if t.dim() else 0
        keep = rng.choice(["", ", keepdim=True"])
        return f"{self.new()} = " + rng.choice(
            [f"{x}.sum({d}{keep})", f"{x}.mean({d}{keep})", f"{x}.amax({d}{keep})", f"{x}.sum()",
             f"{x}.softmax({d})", f"{x}.log_softmax({d})", f"{x}.cumsum({d})", f"{x}.max({d})[0]",
             f"{x}.argmax({d})", f"{x}.var({d})", f"{x}.logsumexp({d})", f"{x}.prod({d})",
             f"{x}.mean()", f"{x}.sort({d})[0]", f"{x}.topk(2, {d})[1]", f"{x}.any({d})",
             f"F.layer_norm({x}, {x}.shape[-1:])", f"{x}.norm()"]
        )  # fmt: skip

    def product(self):
        x, y = self.pick(), self.rng.choice([self.pick(), self.pick(), "p"])
        return f"{self.new()} = " + self.rng.choice(
            [f"{x} @ {y}", f"F.linear({x}, p, q)", f"{x} @ {y}.transpose(-1, -2)",
             f"lucid.einsum('...i,...i->...', {x}, {y})", f"F.linear({x}, p)"]
        )  # fmt: skip

    def cast(self):
        x, kind = self.pick(), self.rng.choice(KINDS)
        return f"{self.new()} = " + self.rng.choice(
            [f"{x}.to(lucid.{kind})", f"{x}.float()", f"{x} != 0", f"{x}.double()",
             f"{x}.contiguous()", f"{x}.clone()"]
        )  # fmt: skip

    def index(self):
        x = self.pick()
        return f"{self.new()} = " + self.rng.choice(
            [f"{x}[lucid.tensor([0, 1, 0])]", f"{x}[:, lucid.tensor([1, 0])]",
             f"{x}.index_select(0, lucid.tensor([1, 0]))", f"{x}.gather(0, ({x} > 0).long())",
             f"lucid.where({x} > 0, {x}, {self.pick()})", f"{x}.flip(0)", f"{x}.roll(1, 0)",
             f"{x}.tril()", f"F.pad({x}, (1, 1))", f"{x}.repeat(2, *[1] * ({x}.dim() - 1))",
             f"lucid.zeros(4, 4).index_add(0, lucid.tensor([1, 0, 1]), {x})",
             f"F.embedding(({x} > 0).long(), p)", f"F.one_hot(({x} > 0).long(), 3)"]
        )  # fmt: skip

    def draw(self):
        x = self.pick()
        return f"{self.new()} = " + self.rng.choice(
            [f"F.dropout({x}, 0.4)", "lucid.rand(3, 4)", f"lucid.randn_like({x})",
             "lucid.randint(0, 4, (3,))", f"{x}.clone().uniform_()", "lucid.randperm(4)",
             f"{x}.bernoulli()", f"F.dropout({x}, 0.4, training=FLAG)"]
        )  # fmt: skip

    def create(self):
        x = self.pick()
        return f"{self.new()} = " + self.rng.choice(
            ["lucid.zeros(3, 4)", f"lucid.ones_like({x})", "lucid.arange(4)", "lucid.eye(4)",
             "lucid.tensor([1.0, 2.0, 3.0, 4.0])", f"lucid.full_like({x}, NUMBER)",
             "lucid.arange(12).reshape(3, 4)", f"lucid.empty_like({x}).fill_(1)",
             "lucid.tensor(2.0, requires_grad=True)", f"{x}.new_zeros(4)"]
        )  # fmt: skip

    def branch(self):
        x = self.pick()
        return f"{self.new()} = " + self.rng.choice(
            [f"({x} * 2 if FLAG else {x} - 1)", f"({x}.sum() if NUMBER == 2 else {x}.mean())",
             f"({x} if FLAG else {x}.clone())", f"({x} + 1 if {x}.dim() > 1 else {x})",
             f"({x} + 1 if m.training else {x} * 2)",
             f"({x} * 2 if {x}.requires_grad else {x} * 3)"]
        )  # fmt: skip

    def flow(self):
        """Control flow that depends on values. Both branches use what they use."""
        x, rng = self.pick(lambda t: t.is_floating_point()), self.rng
        if x is None:
            return None
        bodies = [
            "t * 2",
            "t.sin() * t",
            "t - t.mean()",
            "(t * q.sum()).tanh()",
            "t.clone().mul_(3)",
        ]
        a, b = rng.choice(bodies), rng.choice(bodies)
        if ("q" in a) != ("q" in b):
            a = b
        kinds = [f"{self.new()} = lucid.cond({x}.sum() > 0, lambda t: {a}, lambda t: {b}, ({x},))"]
        if self.space[x].dim():
            c = rng.choice([f"{x}[0]", f"{x}[-1].detach()", f"lucid.ones_like({x}[0])"])
            body = rng.choice(
                ["(c * 0.5 + t, c * t)", "((c * t).sin() * c, c)", "((c + t) * q.sum() * c, t)",
                 "(t, c.sum() * t)"]
            )  # fmt: skip
            back = rng.choice(["", ", reverse=True"])
            kinds.append(
                f"{self.new()}, {self.new()} = lucid.scan(lambda c, t: {body}, {c}, {x}{back})"
            )
        if self.space[x].numel():  # it ends: an error that leads to no result is not compiled
            kinds.append(
                f"{self.new()}, = lucid.while_loop(lambda t: t.abs().sum() < 50, "
                f"lambda t: (t.abs() * 2 + 1,), ({x}.detach(),), max_steps=30)"
            )
        return rng.choice(kinds)

    def ask(self):
        """Python looks into a tensor."""
        x, rng = self.pick(), self.rng
        return rng.choice(
            [f"{self.new()} = {x} * (2 if {x}.sum() > 0 else 3)", f"{x}.tolist()",
             f"{self.new()} = {x}[{x} > 0]", f"{self.new()} = lucid.tensor({x}.detach().tolist())",
             f"kept = {x}.detach().numpy()", "kept = buffer.numpy()",
             f"{self.new()} = {x} + float({x}.detach().numpy().sum())",
             f"{self.new()} = {x} * float(kept.sum())", f"{self.new()} = {x}.nonzero()",
             f"{self.new()} = lucid.from_numpy({x}.detach().numpy()) * 2", f"repr({x})",
             f"if {x}.sum() > 0:\n    {x}.detach().mul_(2)"]
        )  # fmt: skip

    def model(self):
        return f"{self.new()} = m({self.pick(lambda t: t.dim() and t.shape[-1] == 4)})"

    def history(self):
        x = self.pick()
        return f"{self.new()} = " + self.rng.choice(
            [f"{x}.detach()", f"{x}.detach().clone().requires_grad_()", f"{x}.data"]
        )

    def outer(self):
        """Something that outlives the call is used or written."""
        x = self.pick()
        return self.rng.choice(
            [f"{self.new()} = p", f"{self.new()} = q * 2", f"{self.new()} = buffer[1:]",
             f"with lucid.no_grad():\n    p.mul_(0.5).add_({x})", f"buffer.add_({x}.detach())",
             "buffer[0] = 1", f"buffer.copy_({x}.detach())", "buffer.t().mul_(2)",
             "q.data.mul_(0.5)", f"{self.new()} = m[0].weight.t()" if self.program.model != "linear"
             else f"{self.new()} = m.weight.t()"]
        )  # fmt: skip

    def join(self):
        x, y = self.pick(), self.pick()
        return f"{self.new()} = " + self.rng.choice(
            [f"lucid.cat([{x}, {y}])", f"lucid.stack([{x}, {y}])", f"lucid.cat([{x}, {x}], -1)"]
        )

    def quiet(self):
        """A statement without gradients."""
        inner = self.rng.choice([self.unary, self.binary, self.view])()
        name, _, value = inner.partition(" = ")
        return f"with lucid.no_grad():\n    {name} = {value}"

    def image(self):
        x = self.pick(lambda t: t.dim() == 4 and t.is_floating_point())
        if x is None:
            return None
        return f"{self.new()} = " + self.rng.choice(
            [f"F.conv2d({x}, lucid.ones(2, {x}.shape[1], 3, 3), padding=1)",
             f"F.max_pool2d({x}, 2)", f"F.avg_pool2d({x}, 2)",
             f"F.adaptive_avg_pool2d({x}, 1)"]
        )  # fmt: skip

    def gradient(self):
        x = self.pick(lambda t: t.requires_grad)
        if x is None:
            return None
        keep = self.rng.choice(["", "retain_graph=True"])
        y = self.pick(lambda t: t.requires_grad and t.is_leaf) or "p"
        comma = ", " if keep else ""
        return self.rng.choice(
            [f"{x}.sum().backward({keep})", f"{x}.mean().backward({keep})",
             f"{x}.backward(lucid.ones_like({x}){comma}{keep})",
             f"{self.new()}, = lucid.autograd.grad({x}.sum(), {y}{comma}{keep})",
             f"{self.new()} = {x}.grad", f"{x}.grad = None", f"{y}.grad.mul_(2)"]
        )  # fmt: skip

    def train(self):
        """A training step at the end."""
        rng = self.rng
        x = self.pick(lambda t: t.dim() == 2 and t.shape[-1] == 4 and t.is_floating_point())
        loss = f"m({x}.float()).square().mean()" if x else "(p * p).sum() + q.sum()"
        if rng.random() < 0.4:
            loss += " + (p @ q).sum()"
        lines = ["opt.zero_grad()" if rng.random() < 0.8 else "opt.zero_grad(set_to_none=False)"]
        lines += [f"loss = {loss}", "loss.backward()"]
        if rng.random() < 0.3:
            lines += ["nn.utils.clip_grad_norm_([p, q], 1.0)"]
        lines += ["opt.step()"] * (rng.random() < 0.8)
        if rng.random() < 0.2:
            lines += ["opt.zero_grad()"]
        for line in lines:
            self.attempt(line)

    def result(self):
        rng = self.rng
        names = [n for n in self.names if rng.random() < 0.5] or self.names[-1:]
        if rng.random() < 0.15:
            names.append(rng.choice(["p", "q", "buffer", "p.grad", "p.t()", "3", "'text'", "None"]))
        if len(names) == 1:
            return names[0]
        rest = f"[{', '.join(names[1:])}]"
        return rng.choice(
            [f"({', '.join(names)})", f"{{'first': {names[0]}, 'rest': {rest}}}",
             f"Pair({names[0]}, {rest})", f"Record({names[0]}, {rest})", f"[{', '.join(names)}]"]
        )  # fmt: skip

    def afterwards(self):
        """The caller's part: backward from what was returned."""
        self.program.after.append(
            self.rng.choice(
                [
                    "total = sum(x.float().sum() for x in new)\nif new: total.backward()",
                    "for x in new: x.backward(lucid.ones_like(x), retain_graph=True)",
                    "for x in new: x.mul_(2).sum().backward(retain_graph=True)",
                ]
            )
        )
