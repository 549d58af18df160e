"""A language model that reads letters: a small GPT trained on Python's own language reference.

    python examples/char_gpt.py              # about 0.8 million weights, a few minutes on 2 cores
    python examples/char_gpt.py --steps 300 --prompt "The for statement"

The text is `pydoc_data.topics`, what `help("for")` shows: 465,000 characters that come with every
CPython (PSF licence). A training step is one native plan by `lucid.compile`; at the end the model
writes. (Transformers: Vaswani et al., 2017; language models of this form: Radford et al., 2019)
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator
from pydoc_data.topics import topics

import numpy as np

import lucid
from lucid import Tensor, nn, optim
from lucid.nn import functional as F


class Block(nn.Module):
    """Attention to what came before, then a network of two layers; both added to their input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_attention = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.mixed = nn.Linear(width, width, bias=False)
        self.network = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        # [batch, length, 3 width] -> three of [batch, heads, length, width / heads]
        projected = self.queries_keys_values(self.before_attention(x))
        split = projected.view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4).unbind(0)
        dropped = self.dropout if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=dropped, is_causal=True)
        x = x + self.mixed(y.transpose(1, 2).reshape(batch, length, width))
        result: Tensor = x + self.network(x)
        return result


class GPT(nn.Module):
    """Logits of the next character at every place; `context` is the most that it looks at."""

    def __init__(
        self, letters: int, context: int, width: int, heads: int, layers: int, dropout: float
    ) -> None:
        super().__init__()
        self.context = context
        self.letters = nn.Embedding(letters, width)
        self.places = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads, dropout) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, letters, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:  # what is added to the stream starts smaller, as there are many
                many = name.endswith(("mixed.weight", "network.3.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * layers) if many else 0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.letters(tokens) + self.places(lucid.arange(tokens.shape[1]))
        logits: Tensor = self.out(self.norm(self.blocks(x)))
        return logits


class Text:
    """The text as numbers, one for each different character; its last tenth is kept for tests."""

    def __init__(self) -> None:
        whole = "\n".join(topics[name] for name in sorted(topics))
        self.alphabet = sorted(set(whole))
        numbers = np.array(self.encode(whole))
        cut = len(numbers) * 9 // 10
        self.train, self.test = numbers[:cut], numbers[cut:]

    def encode(self, text: str) -> list[int]:
        places = {letter: i for i, letter in enumerate(self.alphabet)}
        return [places[letter] for letter in text if letter in places]

    def decode(self, numbers: list[int]) -> str:
        return "".join(self.alphabet[i] for i in numbers)

    def batches(self, part: np.ndarray, size: int, length: int, seed: int) -> Iterator[Tensor]:
        """Random pieces of `length` + 1 characters, [size, length + 1], for ever."""
        random = np.random.default_rng(seed)
        while True:
            starts = random.integers(0, len(part) - length - 1, size)
            yield lucid.tensor(part[starts[:, None] + np.arange(length + 1)])


def loss_of(model: GPT, pieces: Tensor) -> Tensor:
    """Cross-entropy of each next character, in nats."""
    logits = model(pieces[:, :-1])
    loss: Tensor = F.cross_entropy(logits.flatten(0, 1), pieces[:, 1:].flatten())
    return loss


def training_step(model: GPT, optimizer: optim.Optimizer) -> Callable[[Tensor], Tensor]:
    """One native plan: forward, backward, clipping and the update."""

    def step(pieces: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(model, pieces)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.detach()

    compiled: Callable[[Tensor], Tensor] = lucid.compile(step)
    return compiled


@lucid.no_grad()
def write(model: GPT, text: Text, prompt: str, count: int, heat: float = 0.8) -> str:
    """The prompt and `count` characters after it; `heat` 0 would always take the likeliest."""
    model.eval()
    numbers = text.encode(prompt) or [0]
    for _ in range(count):
        logits = model(lucid.tensor([numbers[-model.context :]]))[0, -1]
        numbers.append(int(lucid.multinomial((logits / heat).softmax(0), 1).item()))
    return text.decode(numbers)


@lucid.no_grad()
def test_loss(model: GPT, text: Text, length: int, batches: int = 8) -> float:
    model.eval()
    pieces = text.batches(text.test, 16, length, seed=1)
    losses = [float(loss_of(model, next(pieces)).item()) for _ in range(batches)]
    model.train()
    return sum(losses) / batches


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--prompt", default="The with statement")
    parser.add_argument("--write", type=int, default=600, help="characters to write at the end")
    options = parser.parse_args()
    lucid.manual_seed(0)
    text = Text()
    model = GPT(
        len(text.alphabet), options.context, options.width, 4, options.layers, options.dropout
    )
    size = sum(p.numel() for p in model.parameters())
    print(f"{len(text.train)} characters of {len(text.alphabet)} kinds, {size} weights")
    optimizer = optim.AdamW(model.parameters(), options.rate, betas=(0.9, 0.95), weight_decay=0.1)
    schedule = optim.lr_scheduler.OneCycleLR(
        optimizer, options.rate, total_steps=options.steps + 1, pct_start=0.1, cycle_momentum=False
    )
    step = training_step(model, optimizer)
    pieces = text.batches(text.train, options.batch, options.context, seed=0)
    start = time.perf_counter()
    for i in range(options.steps):
        loss = step(next(pieces))
        schedule.step()
        if (i + 1) % 100 == 0 or i in (0, options.steps - 1):
            spent = time.perf_counter() - start
            tested = test_loss(model, text, options.context)
            print(f"step {i + 1}: loss {loss.item():.3f}, test {tested:.3f}, {spent:.0f} s")
    print(write(model, text, options.prompt, options.write))


if __name__ == "__main__":
    main()
