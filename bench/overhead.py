"""What one small op costs: x + y on 10 elements, recorded and not, and no_grad in and out.

    python bench/overhead.py [--rounds 3] [--json FILE]

The budget: where the time of one `x + y` goes, from an empty call upwards.
"""

import statistics

from harness import array, case, load, main, print_table, seconds_per_call


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
                x + y  # noqa: B018

    return add_ten_times, ()


@case("no_grad in and out")
def enter_and_leave(t):
    no_grad = t.no_grad

    def enter():
        with no_grad():
            pass

    return enter, ()


@case("x * 2.5")
def scalar(t):
    return (lambda x: x * 2.5), (array(t, 10),)


@case("x[3]")
def index(t):
    return (lambda x: x[3]), (array(t, 10),)


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
