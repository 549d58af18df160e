"""Models of ordinary size, as programs of either framework: bench/compile.py times them."""

from typing import Any


def gpt(t: Any, vocabulary=512, context=128, width=384, heads=6, layers=6) -> Any:
    """A decoder with learned positions (Radford et al., 2019)."""
    nn, F = t.nn, t.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            n, length, _ = x.shape
            parts = self.qkv(self.norm1(x)).split(width, 2)
            q, k, v = (p.view(n, length, heads, width // heads).transpose(1, 2) for p in parts)
            a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(a.transpose(1, 2).reshape(n, length, width))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, i):
            x = self.token(i) + self.place(t.arange(i.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return GPT()


def encoder(t: Any, width=384, heads=12, layers=6, inner=1536) -> Any:
    """The body of a sentence encoder of MiniLM's shape: post-norm blocks (Vaswani et al., 2017)."""
    nn, F = t.nn, t.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, inner), nn.Linear(inner, width)
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x):
            n, length, _ = x.shape
            q, k, v = (
                f(x).view(n, length, heads, width // heads).transpose(1, 2)
                for f in (self.q, self.k, self.v)
            )
            a = F.scaled_dot_product_attention(q, k, v)
            x = self.norm1(x + self.out(a.transpose(1, 2).reshape(n, length, width)))
            return self.norm2(x + self.down(F.gelu(self.up(x))))

    return nn.Sequential(*[Block() for _ in range(layers)])


def resnet(t: Any, small: bool = False, classes: int = 1000) -> Any:
    """ResNet-18 (He et al., 2016); `small` has the first layers of its form for CIFAR."""
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, inside, outside, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(outside)
            self.conv2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(outside)
            self.short = nn.Sequential()
            if stride != 1 or inside != outside:
                self.short = nn.Sequential(
                    nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
                )

        def forward(self, x):
            y = self.norm1(self.conv1(x)).relu()
            return (self.norm2(self.conv2(y)) + self.short(x)).relu()

    first = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    first.append(nn.MaxPool2d(3, 2, 1))
    if small:
        first = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    blocks, inside = [], 64
    for outside, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        blocks += [Block(inside, outside, stride), Block(outside, outside, 1)]
        inside = outside
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes)]
    return nn.Sequential(*first, *blocks, *tail)
