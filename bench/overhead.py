"""What small calls cost: x + y on 10 elements, recorded and not, no_grad, views, writes, steps.

    python bench/overhead.py [--rounds 3] [--json FILE]

The budget: where the time of one `x + y` goes, from an empty call upwards.
"""

import statistics

from harness import array, case, labels, load, main, print_table, seconds_per_call


def add(x, y):
    return x + y


@case("x + y, 10 elements")
def plain(t):
    return add, (array(t, 10), array(t, 10, seed=1))


@case("x + y, recorded")
def recorded(t):
    return add, (array(t, 10, requires_grad=True), array(t, 10, seed=1))


@case("x + y under no_grad")
def under_no_grad(t):
    x, y = array(t, 10, requires_grad=True), array(t, 10, seed=1)

    def add_ten_times():
        with t.no_grad():
            for _ in range(10):
                x + y

    return add_ten_times, ()


@case("no_grad in and out")
def enter_and_leave(t):
    array(t, 1)  # a program without tensors has no use for the mode, and no machine code yet
    no_grad = t.no_grad

    def enter():
        with no_grad():
            pass

    return enter, ()


@case("x * 2.5")
def scalar(t):
    return (lambda x: x * 2.5), (array(t, 10),)


@case("x.sum()")
def total(t):
    return (lambda x: x.sum()), (array(t, 10),)


@case("(x * y).sum().backward()")
def backward(t):
    x, y = array(t, 10, requires_grad=True), array(t, 10, seed=1)

    def step():
        x.grad = None
        (x * y).sum().backward()

    return step, ()


# What stands between ops: views, in-place writes, creation, reading, and whole small steps.


def matrix(t, **options):
    return array(t, 8, 8, **options)


@case("backward through 20 nodes")
def chain(t):
    x, y = array(t, 10, requires_grad=True), array(t, 10, seed=1)
    ones = t.ones(10)
    z = x
    for _ in range(20):
        z = z * y

    def step():
        x.grad = None
        z.backward(ones, retain_graph=True)

    return step, ()


@case("x.add_(y)")
def add_in_place(t):
    return (lambda x, y: x.add_(y)), (array(t, 10), array(t, 10, seed=1))


@case("x.mul_(1.0)")
def multiply_in_place(t):
    return (lambda x: x.mul_(1.0)), (array(t, 10),)


@case("x += y")
def add_operator(t):
    def add(x, y):
        x += y

    return add, (array(t, 10), array(t, 10, seed=1))


@case("x.zero_()")
def zero_in_place(t):
    return (lambda x: x.zero_()), (array(t, 10),)


@case("x[2] = 1.0")
def assign(t):
    def put(x):
        x[2] = 1.0

    return put, (array(t, 10),)


@case("x[i] backward, i from 0 to 9")
def subscripts(t):
    x = array(t, 10, requires_grad=True)

    def step():
        x.grad = None
        for i in range(10):
            x[i].backward()

    return step, ()


@case("x.gather(0, i)")
def gather(t):
    i = labels(t, 4, 10)
    return (lambda x: x.gather(0, i)), (array(t, 10),)


@case("x[i], a tensor of places")
def take(t):
    i = labels(t, 4, 10)
    return (lambda x: x[i]), (array(t, 10),)


for text in (
    "x.view(4, 16)", "x.reshape(-1)", "x[2:5]", "x[:, 3]", "x[3]", "x.t()", "x.transpose(0, 1)",
    "x.unsqueeze(0)", "x.detach()", "x.shape", "x.flatten()", "x.expand(8, 8)",
):  # fmt: skip

    def view(t, text=text):
        return eval("lambda x: " + text), (matrix(t),)

    case(text)(view)
    if text in ("x.view(4, 16)", "x[2:5]", "x.t()"):

        def recorded_view(t, text=text):
            return eval("lambda x: " + text), (matrix(t, requires_grad=True),)

        case(f"{text}, recorded")(recorded_view)

for text in (
    "t.zeros(10)", "t.ones(2, 3)", "t.empty(10)", "t.full((2, 3), 1.5)", "t.zeros_like(x)",
    "t.tensor(1.0)", "t.arange(10)", "x.item()", "float(x)", "t.sum(x)", "t.cat([y, y])",
    "t.tensor([1.0, 2.0, 3.0])", "t.stack([y, y])",
):  # fmt: skip

    def creation(t, text=text):
        names = {"t": t, "x": t.zeros(1), "y": array(t, 10)}
        return eval("lambda: " + text, names), ()

    case(text)(creation)


def small_model(t):
    nn = t.nn
    return nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


def optimizer_step(name, **options):
    def make(t):
        model = small_model(t)
        for p in model.parameters():
            p.grad = t.zeros_like(p)
        return getattr(t.optim, name)(model.parameters(), lr=0.0, **options).step, ()

    return make


case("SGD.step, 784-256-10")(optimizer_step("SGD"))
case("Adam.step, 784-256-10")(optimizer_step("Adam"))


@case("zero_grad, 784-256-10")
def zero_grad(t):
    return t.optim.SGD(small_model(t).parameters(), lr=0.1).zero_grad, ()


@case("Identity()(x)")
def module_call(t):
    return t.nn.Identity(), (array(t, 10),)


@case("Linear(8, 8)(x) under no_grad")
def linear(t):
    model, no_grad = t.nn.Linear(8, 8), t.no_grad

    def call(x):
        with no_grad():
            model(x)

    return call, (array(t, 2, 8),)


@case("training step 8-8-4, batch 4, SGD")
def training_step(t):
    nn = t.nn
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    optimizer = t.optim.SGD(model.parameters(), lr=0.0)
    x, y = array(t, 4, 8), labels(t, 4, 4)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step, ()


@case("gradient accumulated, 784x256")
def accumulated(t):
    w = array(t, 784, 256, requires_grad=True)
    g = array(t, 784, 256, seed=1)
    (w * g).backward(g)
    return (lambda: (w * g).backward(g)), ()


def budget(options):
    """Each line adds one thing to the one above it."""
    t = load("lucid", 1)
    x, y = array(t, 10), array(t, 10, seed=1)
    recorded_x = array(t, 10, requires_grad=True)

    class Skeleton:
        def __add__(self, other):
            return self

    s = Skeleton()
    lines = {
        "an empty Python function": lambda: None,
        "a Python __add__ that returns": lambda: s + s,
        "making one empty tensor of 10": lambda: t.empty(10),
        "x + y": lambda: x + y,
        "x + y, recorded": lambda: recorded_x + y,
    }
    print("\nbudget of one small op, this process, 1 thread")
    table = []
    for name, call in lines.items():
        us = statistics.median(seconds_per_call(call) for _ in range(3)) * 1e6
        table.append({"component": name, "us": round(us, 3)})
    print_table(table)


if __name__ == "__main__":
    main(__doc__, budget)
