"""Data sets, transforms, sparse matrices and the founding framework's names, as types see them."""

import lucid
from lucid import datasets, einops, models, nn, sparse, transforms
from lucid.utils.data import DataLoader
from lucid.utils.tensorboard import SummaryWriter

steps = transforms.Compose([transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
data = datasets.MNIST("data", transform=steps, download=True, mirror="https://example.org")
loader = DataLoader(data, batch_size=4)
for images, _ in loader:
    y: lucid.Tensor = einops.rearrange(images, "b c h w -> b (c h w)")
    z: lucid.Tensor = nn.Rearrange("b c -> c b")(y)
a: lucid.Tensor = lucid.sparse_coo_tensor([[0], [1]], [1.0], (2, 2))
b: lucid.Tensor = lucid.spmm(a, lucid.eye(2)) + sparse.mm(a, lucid.eye(2))
c: lucid.Tensor = a @ lucid.eye(2)
d: lucid.Tensor = lucid.eye(2).to_sparse().coalesce().values()
n: int = a._nnz()
with lucid.count_flops() as count:
    total: int = count.total
models.summarize(nn.Linear(2, 3), (1, 2))
lucid.random.seed(3)
u: lucid.Tensor = lucid.random.uniform(0, 1, (2, 3))
e: type[RuntimeError] = lucid.error.BackwardError
w = SummaryWriter("x")
w.add_scalar("loss", 1.0, 2)
w.close()
k: lucid.Tensor = lucid.clip(lucid.ones(2), min_value=0, max_value=1)
p: lucid.Tensor = lucid.ones(2).astype(lucid.Int8)
q: bool = lucid.ones(2).is_free
