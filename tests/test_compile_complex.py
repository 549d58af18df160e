"""Compiled functions of complex tensors: the bits of eager, gradients included."""

import pytest

import lucid
from lucid.func import vmap

F = lucid.nn.functional


def complex_of(*shape: int, seed: int = 0, grad: bool = False) -> lucid.Tensor:
    g = lucid.Generator().manual_seed(seed)
    z = lucid.complex(lucid.randn(*shape, generator=g), lucid.randn(*shape, generator=g))
    return z.requires_grad_() if grad else z


W = complex_of(3, 4, seed=1)
ANGLES = lucid.polar(lucid.ones(5, 4), lucid.arange(20.0).reshape(5, 4))


def rotary(x):
    """Positions as rotations of pairs (Su et al., 2021), with angles from outside."""
    pairs = lucid.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return lucid.view_as_real(pairs * ANGLES).flatten(-2)


PROGRAMS = {
    "product": lambda z: (z * z.conj()).real.sum(),
    "with one from outside": lambda z: z * W + W,
    "with a real one": lambda z: z.real * W.abs() + z.imag,
    "numbers": lambda z: z * 2j + (1 - 1j),
    "from data": lambda z: z * lucid.tensor([1j, 2.0, 3 + 1j, 4]),
    "functions": lambda z: (z.exp(), z.abs(), z.angle(), 1 / z),
    "transposed": lambda z: z.t() * 2,
    "a part of what is transposed": lambda z: (z.t() * W.t())[0],
    "parts": lambda z: z[1] * z[0, 1] + z[:, 1:].sum(),
    "expanded": lambda z: z[:, None].expand(3, 2, 4) * 2,
    "joined": lambda z: lucid.cat([z, W]),
    "matrix product": lambda z: z @ W.t(),
    "reshaped": lambda z: (z.reshape(2, 6) * 1j).flatten(),
    "chosen": lambda z: lucid.where(z.abs() > 1, z, z * 0),
    "converted": lambda z: z.to(lucid.complex128) * 2,
    "transforms": lambda z: lucid.fft.ifft(lucid.fft.fft(z) * W),
    "in place": lambda z: z.mul_(2j) + 1,
    "itself": lambda z: z,
    "a view": lambda z: z[0],
    "real part": lambda z: z.real,
    "detached": lambda z: z.detach() * z,
    "a map": lambda z: vmap(lambda row: row * row)(z),
}


def same(a: lucid.Tensor, b: lucid.Tensor) -> bool:
    assert a.dtype is b.dtype and a.requires_grad == b.requires_grad
    a, b = (lucid.view_as_real(x.detach()) if x.is_complex() else x.detach() for x in (a, b))
    return lucid.equal(a, b)


def many(made) -> tuple:
    return made if isinstance(made, tuple) else (made,)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("turned", [False, True])
def test_values(name, turned):
    function = PROGRAMS[name]
    compiled = lucid.compile(function)
    for seed in (2, 3):
        z = complex_of(4, 3, seed=seed).t() if turned else complex_of(3, 4, seed=seed)
        a, b = z.clone(), z.clone()
        eager = many(function(a))
        for x, y in zip(eager, many(compiled(b)), strict=True):
            assert same(x, y)
        assert same(a, b)
    assert compiled.traces == 1


@pytest.mark.parametrize("name", [n for n in PROGRAMS if n != "in place"])
def test_gradients(name):
    function = PROGRAMS[name]
    grads = []
    for f in (function, lucid.compile(function)):
        z = complex_of(3, 4, seed=2, grad=True)
        sum((y.abs() ** 2).sum() for y in many(f(z))).backward()
        assert z.grad is not None and z.grad.dtype is lucid.complex64
        grads.append(lucid.view_as_real(z.grad))
    assert lucid.allclose(*grads, rtol=1e-5, atol=1e-6)  # whose sums are in another order


def test_rotations_of_pairs():
    compiled = lucid.compile(rotary)
    x = lucid.randn(2, 5, 8, generator=lucid.Generator().manual_seed(3))
    a, b = (x.clone().requires_grad_() for _ in range(2))
    eager, made = rotary(a), compiled(b)
    assert same(eager, made)
    eager.sum().backward()
    made.sum().backward()
    assert lucid.equal(a.grad, b.grad)


def test_backward_inside():
    weight = lucid.nn.Parameter(complex_of(4))
    x = lucid.randn(3, 4, generator=lucid.Generator().manual_seed(4))

    def step(x):
        weight.grad = None
        loss = (x * weight).abs().sum()
        loss.backward()
        with lucid.no_grad():
            weight.sub_(0.1 * weight.grad)
        return loss

    first = weight.detach().clone()
    losses = [step(x).item() for _ in range(3)]
    after = weight.detach().clone()
    with lucid.no_grad():
        weight.copy_(first)
    compiled = lucid.compile(step)
    assert [compiled(x).item() for _ in range(3)] == losses
    assert same(weight.detach(), after) and compiled.traces == 1


def test_memory_that_is_shared_with_real_tensors():
    def f(pairs, z):
        pairs.mul_(2)
        return z * 1

    made = []
    for g in (f, lucid.compile(f)):
        pairs = lucid.arange(8.0).reshape(4, 2)
        made.append(g(pairs, lucid.view_as_complex(pairs)))
    assert same(*made)


def test_other_sizes_are_traced_anew():
    compiled = lucid.compile(lambda z: z * z + 1j)
    for n in (3, 5, 7, 3):
        z = complex_of(n, 2, seed=n)
        assert same(compiled(z), z * z + 1j)
    assert compiled.traces == 3
    assert any("complex" in reason for reason in compiled.reasons)


def test_what_backward_reads_is_not_overwritten():
    z = complex_of(3, grad=True)
    y = lucid.compile(lambda z: (z * z).abs().sum())(z)
    with lucid.no_grad():
        z.mul_(2)
    with pytest.raises(RuntimeError, match="modified in place"):
        y.backward()


def test_control_flow_takes_real_tensors():
    z = complex_of(2)

    def f(z):
        return lucid.cond(z.abs().sum() > 0, lambda a: a * 2, lambda a: a, (z,))

    with pytest.raises(NotImplementedError, match=r"complex tensor of shape \(2,\)"):
        lucid.compile(f)(z)


def test_pieces():
    compiled = lucid.compile(lambda z: z * z.sum().item(), fullgraph=False)
    z = complex_of(3)
    assert same(compiled(z), z * z.sum().item())


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_steps_of_optimizers(name, whole):
    x = lucid.randn(3, 4, generator=lucid.Generator().manual_seed(5))
    ends = []
    for compiled in (False, True):
        weight = lucid.nn.Parameter(complex_of(4))
        optimizer = getattr(lucid.optim, name)([weight], lr=0.1)

        def step(x, weight=weight, optimizer=optimizer):
            optimizer.zero_grad()
            loss = (x * weight).abs().sum()
            loss.backward()
            optimizer.step()
            return loss if whole else loss.mul(loss.item())

        run = lucid.compile(step, fullgraph=whole) if compiled else step
        ends.append(([run(x).item() for _ in range(4)], weight.detach()))
    assert ends[0][0] == ends[1][0] and same(ends[0][1], ends[1][1])


@pytest.mark.parametrize("shape", [(3, 0), (0, 3), (2, 0, 4)])
def test_strides_over_nothing(shape):
    compiled = lucid.compile(lambda x: (x * 1).as_strided((0,), (1,)) + 1)
    assert compiled(lucid.zeros(shape)).shape == (0,)


def test_strides_over_a_transposed_result():
    def f(x):
        return (x.t() * 2).as_strided((2, 2), (1, 3), 1)

    x = lucid.arange(12.0).reshape(3, 4)
    assert lucid.equal(lucid.compile(f)(x), f(x))
