"""Lucid in miniature: a framework of some 300 lines of code, to be read in one sitting.

    python docs/tour.py

It has the parts of the real one, under the same names and in the same order: a kernel language and
its definition, a compiler, records of ops, the funnel, tensors, the tape, grad mode. Each section
says which files grow out of it. What it leaves out is size: here a tensor is one row of float64,
there is one family of ops besides the sum, and nothing is cached on disk.
"""

import ctypes
import inspect
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np

# 1. Expressions (lucid/kernel/expr.py)
#
# The meaning of an op is an expression of scalars. Operators build a tree; nothing is computed.


class Expr:
    """A node: an operation and its arguments, or a leaf ("load", name), ("const", number)."""

    def __init__(self, op, *args):
        self.op, self.args = op, args

    def __add__(self, other):
        return Expr("add", self, lift(other))

    def __sub__(self, other):
        return Expr("sub", self, lift(other))

    def __mul__(self, other):
        return Expr("mul", self, lift(other))

    def __lt__(self, other):
        return Expr("lt", self, lift(other))

    def __str__(self):
        if self.op in ("load", "const"):
            return str(self.args[0])
        return f"{self.op}({', '.join(map(str, self.args))})"


def lift(x):
    return x if isinstance(x, Expr) else Expr("const", float(x))


def where(condition, x, y):
    return Expr("where", condition, lift(x), lift(y))


# 2. Kernels (lucid/kernel/loops.py)
#
# A kernel is a loop nest with a scalar body. Ours has one loop, and either stores the value of
# every i or adds all values up, from the first to the last: the order is part of the meaning.


@dataclass(frozen=True)
class Kernel:
    inputs: tuple[str, ...]
    value: Expr
    fold: bool = False

    def __str__(self):
        left = "out[0] +=" if self.fold else "out[i] ="
        return f"kernel({', '.join(self.inputs)}): for i < n: {left} {self.value}"


# 3. The definition (lucid/kernel/interp.py)
#
# What a kernel computes is what this loop computes. It is slow and it is right; every compiled
# kernel is compared with it, bit by bit.

MEANING = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "lt": lambda a, b: a < b,
    "where": lambda c, a, b: a if c else b,
}


def interpret(kernel, out, arrays):
    buffers = dict(zip(kernel.inputs, arrays, strict=True))

    def value(x, i):
        if x.op == "load":
            return buffers[x.args[0]][i]
        if x.op == "const":
            return x.args[0]
        return MEANING[x.op](*[value(a, i) for a in x.args])

    if kernel.fold:
        out[0] = 0.0
    for i in range(len(arrays[0])):
        if kernel.fold:
            out[0] += value(kernel.value, i)
        else:
            out[i] = value(kernel.value, i)


# 4. The compiler (lucid/backend/cpu/)
#
# The same loop as LLVM text, which llvmlite turns into machine code. The real one chooses vectors,
# tiles and threads on the way, and never changes a bit by that.

INSTRUCTIONS = {
    "add": "fadd double {}, {}",
    "sub": "fsub double {}, {}",
    "mul": "fmul double {}, {}",
    "lt": "fcmp olt double {}, {}",
    "where": "select i1 {}, double {}, double {}",
}


def llvm_text(kernel, symbol):
    """`void symbol(n, out, x, w, ...)`"""
    body, count = [], 0

    def emit(instruction):
        nonlocal count
        count += 1
        body.append(f"  %v{count} = {instruction}")
        return f"%v{count}"

    def value(x):
        if x.op == "load":
            place = emit(f"getelementptr double, ptr %{x.args[0]}, i64 %i")
            return emit(f"load double, ptr {place}")
        if x.op == "const":
            bits = np.float64(x.args[0]).view(np.uint64)
            return f"0x{bits:016X}"  # how LLVM writes a double exactly
        return emit(INSTRUCTIONS[x.op].format(*[value(a) for a in x.args]))

    result = value(kernel.value)
    place = "%out" if kernel.fold else emit("getelementptr double, ptr %out, i64 %i")
    if kernel.fold:
        result = emit(f"fadd double {emit('load double, ptr %out')}, {result}")
    parameters = ", ".join(["i64 %n", "ptr %out", *[f"ptr %{name}" for name in kernel.inputs]])
    return "\n".join(
        [
            f"define void @{symbol}({parameters}) {{",
            "entry:",
            "  store double 0.0, ptr %out" if kernel.fold else "",
            "  br label %head",
            "head:",
            "  %i = phi i64 [0, %entry], [%next, %body]",
            "  %more = icmp slt i64 %i, %n",
            "  br i1 %more, label %body, label %end",
            "body:",
            *body,
            f"  store double {result}, ptr {place}",
            "  %next = add i64 %i, 1",
            "  br label %head",
            "end:",
            "  ret void",
            "}",
        ]
    )


class Machine:
    """Machine code of kernels, each compiled once: its text is the key."""

    def __init__(self):
        import llvmlite.binding as llvm  # costs 50 ms, so it waits for the first kernel

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        self.llvm, self.code, self.alive = llvm, {}, []

    def run(self, kernel, out, arrays):
        text = str(kernel)
        if text not in self.code:
            self.code[text] = self.compile(kernel)
        self.code[text](len(arrays[0]), *[a.ctypes.data for a in (out, *arrays)])

    def compile(self, kernel):
        module = self.llvm.parse_assembly(llvm_text(kernel, "kernel"))
        module.verify()
        target = self.llvm.Target.from_default_triple().create_target_machine(opt=2)
        engine = self.llvm.create_mcjit_compiler(module, target)
        engine.finalize_object()
        self.alive.append(engine)  # the code goes when the engine goes
        pointers = [ctypes.c_void_p] * (1 + len(kernel.inputs))
        signature = ctypes.CFUNCTYPE(None, ctypes.c_int64, *pointers)
        return signature(engine.get_function_address("kernel"))


machine = None
executed = []  # the text of each kernel that has run: this tour's LUCID_DEBUG=1


def execute(kernel, arrays):
    global machine
    machine = machine or Machine()
    out = np.empty(1 if kernel.fold else len(arrays[0]))
    machine.run(kernel, out, arrays)
    executed.append(str(kernel))
    return out


# 5. Records (lucid/op.py, lucid/ops/)
#
# An op is defined in one place: its body, and for each input a rule that takes the cotangent of the
# output, `g`, to that of the input (a vector-Jacobian product). The parameters of a rule say what
# must be kept for it: an input by its name, the output as `y`. Rules call ops, as users do.


class Op:
    fold = False

    def __init_subclass__(cls):
        cls.inputs = tuple(inspect.signature(cls.body).parameters)
        cls.kernel = Kernel(cls.inputs, cls.body(*[Expr("load", n) for n in cls.inputs]), cls.fold)


class Add(Op):
    def body(x, w):
        return x + w

    def vjp_x(g):
        return g

    def vjp_w(g):
        return g


class Mul(Op):
    def body(x, w):
        return x * w

    def vjp_x(g, w):
        return g * w

    def vjp_w(g, x):
        return g * x


class Relu(Op):
    """max(x, 0); the gradient at 0 is 0, and NaN stays NaN."""

    def body(x):
        return where(x < 0.0, 0.0, x)

    def vjp_x(g, y):
        return apply(KeepPositive, g, y)


class KeepPositive(Op):
    """g where y > 0, else 0."""

    def body(g, y):
        return where(lift(0.0) < y, g, 0.0)

    def vjp_g(g, y):
        return apply(KeepPositive, g, y)


class Sum(Op):
    fold = True

    def body(x):
        return x

    def vjp_x(g, x):
        return apply(Spread, g, x)


class Spread(Op):
    """The single element of g, as often as x has elements. (Real views cost no kernel.)"""

    def body(g, x):
        return g

    def vjp_g(g):
        return g.sum()


# 6. The tape (lucid/autograd/node.py)
#
# A Node says how its output came about: the op, what its rules ask for, and where each input's
# cotangent goes. Nodes point backward only, so a graph that nobody holds is gone.


class Node:
    def __init__(self, op, inputs, output):
        self.edges = []  # (rule, what it is given besides g, where its result goes)
        named = dict(zip(op.inputs, inputs, strict=True), y=output.detach())
        for name, x in zip(op.inputs, inputs, strict=True):
            rule = getattr(op, f"vjp_{name}", None)
            if rule is not None and x.requires_grad:
                kept = [named[needed] for needed in list(inspect.signature(rule).parameters)[1:]]
                self.edges.append((rule, kept, x.node or x))


# 7. Grad mode (lucid/autograd/mode.py)
#
# Whether calls are recorded: a setting of the present context, not of the process.

recording = ContextVar("recording", default=True)


class no_grad:
    """Within it, no Node is made and nothing is kept: memory is free at its last use."""

    def __enter__(self):
        self.token = recording.set(False)

    def __exit__(self, *error):
        recording.reset(self.token)


# 8. The funnel (lucid/apply.py)
#
# The only way into an op: run its kernel, and record the call if someone will want its gradient.


def apply(op, *inputs):
    inputs = [x if isinstance(x, Tensor) else Tensor([x]) for x in inputs]
    n = max(len(x.data) for x in inputs)
    for x in inputs:
        if len(x.data) not in (1, n):
            raise RuntimeError(f"{op.__name__}: {len(x.data)} elements do not broadcast to {n}")
    if op is not Spread:  # a single element broadcasts: by an op, whose rule sums the gradient
        inputs = [broadcast(x, n) for x in inputs]
    arrays = [np.ascontiguousarray(np.broadcast_to(x.data, n)) for x in inputs]
    output = Tensor(execute(op.kernel, arrays))
    if recording.get() and any(x.requires_grad for x in inputs):
        output.requires_grad = True
        output.node = Node(op, inputs, output)
    return output


def broadcast(x, n):
    return x if len(x.data) == n else apply(Spread, x, Tensor(np.empty(n)))


# 9. Tensors (lucid/tensor.py)


class Tensor:
    """Data, and what autograd needs to know of it."""

    def __init__(self, data, requires_grad=False):
        self.data = np.asarray(data, np.float64)
        self.requires_grad = requires_grad
        self.node = self.grad = None

    def __add__(self, other):
        return apply(Add, self, other)

    def __mul__(self, other):
        return apply(Mul, self, other)

    def __sub__(self, other):
        return self + other * -1.0

    def relu(self):
        return apply(Relu, self)

    def sum(self):
        return apply(Sum, self)

    def detach(self):
        """The same numbers, not a copy of them, without a history."""
        return Tensor(self.data)

    def backward(self):
        backward(self)


# 10. Backward (lucid/autograd/backward.py)
#
# A Node runs when all that read its output have run. The rules are ordinary ops: under no_grad they
# leave no trace; recorded, they could be differentiated again.


def backward(root):
    readers, stack = {}, [root.node]  # how many edges lead to each Node
    while stack:
        for _, _, to in stack.pop().edges:
            if isinstance(to, Node):
                readers[to] = readers.get(to, 0) + 1
                if readers[to] == 1:
                    stack.append(to)
    cotangents, ready = {root.node: Tensor(np.ones(1))}, [root.node]
    with no_grad():
        while ready:
            node = ready.pop()
            g = cotangents.pop(node)
            for rule, kept, to in node.edges:
                made = rule(g, *kept)
                if isinstance(to, Tensor):  # a leaf: gradients add up in it
                    to.grad = made if to.grad is None else to.grad + made
                    continue
                cotangents[to] = made if to not in cotangents else cotangents[to] + made
                readers[to] -= 1
                if readers[to] == 0:
                    ready.append(to)


# 11. Use it: fit y = relu(2x - 1) by gradient descent.


def main(steps=300):
    x = Tensor(np.linspace(-1.0, 2.0, 60))
    target = (x * 2.0 - 1.0).relu()
    w, b = Tensor([0.5], requires_grad=True), Tensor([0.5], requires_grad=True)
    for _ in range(steps):
        error = (x * w + b).relu() - target
        loss = (error * error).sum() * (1 / 60)
        w.grad = b.grad = None
        loss.backward()
        with no_grad():
            for p in (w, b):
                p.data[:] = (p - p.grad * 0.3).data
    print(f"w = {w.data[0]:.4f}, b = {b.data[0]:.4f}, loss = {loss.data[0]:.2e}")
    print("kernels, each compiled once:", *sorted(set(executed)), sep="\n  ")
    return w.data[0], b.data[0]


if __name__ == "__main__":
    main()
