"""A training step of a perceptron 784-256-10, batch 64, Adam: forward, loss, backward, update.

python bench/mlp.py [--rounds 3] [--threads 1,2] [--frameworks lucid,torch,torch+compiled]
"""

from harness import array, case, labels, main


def network(t):
    t.manual_seed(0)
    return t.nn.Sequential(t.nn.Linear(784, 256), t.nn.ReLU(), t.nn.Linear(256, 10))


@case("training step")
def training(t):
    model = network(t)
    optimizer = t.optim.Adam(model.parameters(), lr=1e-3)
    loss_function = t.nn.CrossEntropyLoss()

    def step(x, y):
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()

    return step, (array(t, 64, 784), labels(t, 64, 10))


@case("forward and backward")
def gradients(t):
    model = network(t)
    loss_function = t.nn.CrossEntropyLoss()

    def step(x, y):
        model.zero_grad()
        loss_function(model(x), y).backward()

    return step, (array(t, 64, 784), labels(t, 64, 10))


@case("forward under no_grad, batch 64")
def inference(t):
    model = network(t)

    def forward(x):
        with t.no_grad():
            return model(x)

    return forward, (array(t, 64, 784),)


@case("forward under no_grad, batch 1")
def request(t):
    model = network(t)

    def forward(x):
        with t.no_grad():
            return model(x)

    return forward, (array(t, 1, 784),)


if __name__ == "__main__":
    main(__doc__)
