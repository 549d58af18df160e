"""lucid.fft and stft: values against NumPy, gradients by differences; PyTorch where installed."""

import numpy as np
import pytest

import lucid
from lucid import fft
from lucid.autograd import gradcheck

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(4, 6, 5))
COMPLEX = REAL + 1j * RNG.normal(size=(4, 6, 5))
OPTIONS = [{}, {"norm": "ortho"}, {"norm": "forward"}]
ONE = [*OPTIONS, {"n": 7}, {"n": 4, "dim": 1}]
MANY = [*OPTIONS, {"s": (4, 7), "dim": (-2, -1)}, {"dim": (0, 1)}]


def as_numpy(options):
    names = {"dim": "axis" if isinstance(options.get("dim"), int) else "axes"}
    return {names.get(k, k): v for k, v in options.items()}


def compare(name, a, options):
    got = getattr(fft, name)(lucid.tensor(a), **options)
    want = getattr(np.fft, name)(a, **as_numpy(options))
    np.testing.assert_allclose(got.numpy(), want, atol=1e-12)


@pytest.mark.parametrize("options", ONE, ids=str)
def test_one_dimension(options):
    for name in ("fft", "ifft", "hfft", "irfft"):
        for a in (REAL, COMPLEX):
            compare(name, a, options)
    for name in ("rfft", "ihfft"):
        compare(name, REAL, options)


@pytest.mark.parametrize("options", MANY, ids=str)
def test_several_dimensions(options):
    for name in ("fft2", "ifft2", "fftn", "ifftn"):
        compare(name, COMPLEX, options)
    for name in ("rfft2", "rfftn"):
        compare(name, REAL, options)
    if "s" not in options:
        for name in ("irfft2", "irfftn"):
            compare(name, COMPLEX, options)


def test_types_and_others():
    assert fft.fft(lucid.ones(4)).dtype is lucid.complex64
    assert fft.irfft(lucid.ones(4)).dtype is lucid.float32
    assert fft.fft(lucid.arange(4)).dtype is lucid.complex64
    compare("fftshift", REAL, {})
    compare("ifftshift", REAL, {})
    for n in (4, 5):
        np.testing.assert_allclose(fft.fftfreq(n, 0.5).numpy(), np.fft.fftfreq(n, 0.5))
        np.testing.assert_allclose(fft.rfftfreq(n).numpy(), np.fft.rfftfreq(n))
    x = lucid.tensor(REAL)
    np.testing.assert_allclose(fft.irfftn(fft.rfftn(x), s=x.shape).numpy(), REAL, atol=1e-13)
    np.testing.assert_allclose(fft.hfft(fft.ihfft(x), 5).numpy(), REAL, atol=1e-13)


def test_gradients():
    x = lucid.tensor(REAL[:2, :3], requires_grad=True)
    pairs = lucid.tensor(RNG.normal(size=(2, 3, 4, 2)), requires_grad=True)

    def real(y):
        return lucid.view_as_real(y) if y.is_complex() else y

    for name in ("fft", "ifft", "rfft", "irfft", "ihfft"):
        for options in ({}, {"norm": "ortho", "n": 3, "dim": 1}):
            assert gradcheck(lambda x, n=name, o=options: real(getattr(fft, n)(x, **o)), [x])
    for name in ("fft2", "ifftn", "irfft", "irfft2", "hfft"):
        assert gradcheck(lambda p, n=name: real(getattr(fft, n)(lucid.view_as_complex(p))), [pairs])
    assert gradcheck(lambda x: real(fft.rfft2(x)), [x])


@pytest.mark.parametrize(
    "options", [{}, {"hop_length": 3}, {"win_length": 6}, {"normalized": True},
                {"onesided": False}, {"center": False}], ids=str,
)  # fmt: skip
def test_stft_and_back(options):
    x = lucid.tensor(RNG.normal(size=(2, 50)), requires_grad=True)
    window = lucid.hann_window(options.get("win_length", 8), dtype=lucid.float64) + 0.1
    y = lucid.stft(x, 8, window=window, return_complex=True, **options)
    hop, size = options.get("hop_length", 2), 8
    signal, shape = x.detach().numpy(), np.zeros(8)
    left = (8 - len(window)) // 2
    shape[left : left + len(window)] = window.numpy()
    if options.get("center", True):
        signal = np.pad(signal, ((0, 0), (4, 4)), "reflect")
    starts = range(0, signal.shape[1] - size + 1, hop)
    frames = np.stack([signal[:, s : s + size] * shape for s in starts], 1)
    norm = "ortho" if options.get("normalized") else None
    run = np.fft.rfft if options.get("onesided", True) else np.fft.fft
    np.testing.assert_allclose(
        y.detach().numpy(), run(frames, norm=norm).swapaxes(1, 2), atol=1e-12
    )
    length = None if "center" in options else 50
    back = lucid.istft(y, 8, window=window, length=length, **options)
    np.testing.assert_allclose(
        back.detach().numpy(), x.detach().numpy()[:, : back.shape[1]], atol=1e-10
    )
    back.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.ones((2, 50)), atol=1e-10)


def test_one_dimension_as_a_number():
    x = lucid.tensor(REAL)
    for name in ("fftn", "ifft2", "rfftn", "hfft2", "irfftn", "ihfftn"):
        function = getattr(fft, name)
        assert function(x, dim=1).equal(function(x, dim=(1,)))
        assert function(x, s=4, dim=0).equal(function(x, s=(4,), dim=(0,)))


def test_errors():
    x = lucid.ones(4)
    for call, said in (
        (lambda: fft.fft(x, norm="none"), "norm"), (lambda: fft.fft(x, 0), "positive"),
        (lambda: fft.rfft(x * 1j), "real numbers"), (lambda: fft.fft(x.half()), "float32"),
        (lambda: fft.fft2(lucid.ones(2, 2), dim=(0, 0)), "more than once"),
        (lambda: lucid.stft(x, 8), "return_complex"),
        (lambda: lucid.stft(x, 16, return_complex=True), "reflected"),
        (lambda: lucid.istft(lucid.ones(5, 3), 8), "complex"),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=said):
            call()


def test_pytorch_agrees():
    torch = pytest.importorskip("torch")
    for name, a, options in (
        ("fft", COMPLEX, {"n": 7}), ("rfft", REAL, {"n": 4}), ("irfft", COMPLEX, {}),
        ("fft2", REAL, {"norm": "ortho"}), ("ihfftn", REAL, {}), ("hfft2", COMPLEX, {}),
    ):  # fmt: skip
        x, t = lucid.tensor(a, requires_grad=True), torch.tensor(a, requires_grad=True)
        ours, theirs = getattr(fft, name)(x, **options), getattr(torch.fft, name)(t, **options)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().resolve_conj().numpy())
        ours.abs().sum().backward()
        theirs.abs().sum().backward()
        np.testing.assert_allclose(x.grad.numpy(), t.grad.resolve_conj().numpy(), atol=1e-12)


def test_windows_of_no_length_and_wrong_types():
    windows = lucid.signal.windows
    assert windows.cosine(0).shape == windows.cosine(0, sym=False).shape == (0,)
    with pytest.raises(RuntimeError, match="floating dtype"):
        windows.hann(4, dtype=lucid.int64)
    with pytest.raises(ValueError, match="at least one factor"):
        windows.general_cosine(4, a=[])
