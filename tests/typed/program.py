"""A user's program in strict types: mypy reads it, nobody runs it. `.ci/run` checks that it passes.

It uses the public names as users do; a name or a result type that goes missing is an error here.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import lucid
from lucid import Tensor, nn, optim
from lucid.data import DataLoader, Dataset, TensorDataset, random_split


class Squares(Dataset[int]):
    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> int:
        return index * index


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.second = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x).relu())
        return y


def arithmetic() -> float:
    x: Tensor = lucid.ones(2, 3)
    y: Tensor = (x * 2 + 1).exp().sum(dim=1)
    z: Tensor = lucid.where(y > 1, y, -y)
    n: int = z.numel() + z.dim() + len(z)
    n += x.size(0) + x.stride(1) + lucid.get_num_threads() + x.size().numel()
    parts: tuple[Tensor, ...] = x.split(1)
    z = z.mul_(2).clamp_(min=0).add_(parts[0].sum(), alpha=2)
    low, high = lucid.aminmax(z)
    z = z.lerp_(high, 0.5).masked_fill_(z > low, 0.0)
    array: np.ndarray = z.numpy()
    kind: lucid.dtype = lucid.float32
    assert x.dtype is kind and x.shape[0] == 2
    return float(z.mean()) + n + float(array.sum())


@lucid.no_grad()
def evaluate(model: nn.Module, x: Tensor) -> Tensor:
    y: Tensor = model(x)
    return y.argmax(1)


@lucid.no_grad
def bare(x: Tensor) -> Tensor:
    return x * 2


@lucid.inference_mode()
def batches(x: Tensor) -> Iterator[Tensor]:
    yield from x.split(2)


def train(path: Path) -> Tensor:
    model = Network()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    data = TensorDataset(lucid.randn(32, 4), lucid.randint(0, 2, (32,)))
    parts = random_split(data, [24, 8])
    for x, y in DataLoader(parts[0], batch_size=8, shuffle=True):
        optimizer.zero_grad()
        loss: Tensor = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    with lucid.no_grad():
        logits = model(data.tensors[0])
    with lucid.set_grad_enabled(False), lucid.inference_mode():
        assert not lucid.is_grad_enabled()
    lucid.save({"model": model.state_dict(), "step": 3}, path)
    model.load_state_dict(lucid.load(path)["model"])
    peak: int = lucid.memory.stats()["peak"]
    assert peak >= 0
    predicted: Tensor = evaluate(model, logits)
    return predicted
