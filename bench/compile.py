"""Compiled programs: training steps and models as one plan, against PyTorch eager and compiled.

python bench/compile.py [--rounds 3] [--threads 1,2] [--only GPT]

After the table: the share of time that each kernel family of Lucid's plans takes (lucid.explain),
of one program alone with `--shares "CIFAR step" --threads 1`.
"""

import statistics
import sys

from harness import CASES, array, case, labels, load, main, run_process
from models import encoder, gpt, resnet

ALL = ("lucid+compiled", "lucid", "torch", "torch+compiled")
SETTINGS = {"frameworks": ALL, "unit": "ms"}


def training(t, model, optimizer, loss_of):
    """One step: forget the gradients, forward, backward, update."""

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


@case("MLP step 784-256-10, batch 64, Adam", target=1 / 0.6, **SETTINGS)
def mlp(t):
    t.manual_seed(0)
    model = t.nn.Sequential(t.nn.Linear(784, 256), t.nn.ReLU(), t.nn.Linear(256, 10))
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    step = training(t, model, optimizer, t.nn.functional.cross_entropy)
    return step, (array(t, 64, 784), labels(t, 64, 10))


@case("GPT step 6 x 384, 4 x 128, AdamW", target=1 / 0.8, **SETTINGS)
def gpt_step(t):
    t.manual_seed(0)
    model = gpt(t)
    optimizer = t.optim.AdamW(model.parameters(), lr=1e-3)

    def loss_of(y, target):
        return t.nn.functional.cross_entropy(y.view(-1, 512), target.view(-1))

    step = training(t, model, optimizer, loss_of)
    tokens, targets = (labels(t, 512, 512, seed=s).view(4, 128) for s in (0, 1))
    return step, (tokens, targets)


@case("encoder forward 6 x 384, 8 x 128", target=1 / 0.8, **SETTINGS)
def encode(t):
    t.manual_seed(0)
    model = encoder(t).eval()

    def forward(x):
        with t.no_grad():
            return model(x)

    return forward, (array(t, 8, 128, 384),)


@case("x*sigmoid(1.702*x)+tanh(x)*0.5 on 4M", target=1 / 0.7, **SETTINGS)
def chain(t):
    def f(x):
        return x * t.sigmoid(1.702 * x) + t.tanh(x) * 0.5

    return f, (array(t, 4_000_000),)


@case("ResNet-18 forward, 1 x 224 x 224", **SETTINGS)
def image(t):
    t.manual_seed(0)
    model = resnet(t).eval()

    def forward(x):
        with t.no_grad():
            return model(x)

    return forward, (array(t, 1, 3, 224, 224),)


@case("CIFAR step ResNet-18, batch 16, SGD", **SETTINGS)
def cifar(t):
    t.manual_seed(0)
    model = resnet(t, small=True, classes=10)
    optimizer = t.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = training(t, model, optimizer, t.nn.functional.cross_entropy)
    return step, (array(t, 16, 3, 32, 32), labels(t, 16, 10))


def shares(options):
    """The families' shares of each chosen case, each in a process of its own."""
    for count in options.threads.split(","):
        for name in [n for n in CASES if options.only in n]:
            print(run_process([__file__, "--shares", name, "--threads", count], int(count)), end="")


def print_shares(name, count):
    """The family's time in five reports of a program: medians."""
    lucid = load("lucid", count)
    f, arguments = CASES[name].make(lucid)
    compiled = lucid.compile(f)
    reports = [lucid.explain(compiled, *arguments).families() for _ in range(5)]
    times = {f.name: (f.kernels, []) for f in reports[0]}
    for families in reports:
        for f in families:
            times[f.name][1].append(f.seconds)
    medians = {n: (k, statistics.median(found)) for n, (k, found) in times.items()}
    total = sum(t for _, t in medians.values())
    print(f"{name}, {count} threads: {total * 1e3:.2f} ms in kernels")
    for n, (k, t) in sorted(medians.items(), key=lambda item: -item[1][1]):
        print(f"  {n:<26} {k:>4} kernels {t * 1e3:>9.3f} ms {t / total:>6.1%}")


if __name__ == "__main__":
    if "--shares" in sys.argv:
        found = dict(zip(sys.argv[1::2], sys.argv[2::2], strict=True))
        print_shares(found["--shares"], int(found.get("--threads", 1)))
    else:
        main(__doc__, extra=shares, slices=5)
