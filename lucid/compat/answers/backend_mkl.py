"""`torch.backends.mkl`: a library that Lucid does not use."""

enabled = False


def is_available() -> bool:
    return False
