"""Arrays and calls of native kernels, for the tests of the templates."""

import ctypes

import numpy as np


def buffer(shape, dtype, fill=0.0, offset=0):
    """An array whose data start `offset` elements after a 64-byte boundary."""
    size, item = int(np.prod(shape)), np.dtype(dtype).itemsize
    raw = np.zeros((size + offset) * item + 64, np.uint8)
    start = -raw.ctypes.data % 64 + offset * item
    made = raw[start : start + size * item].view(dtype).reshape(shape)
    made[...] = fill
    return made


def strides(x):
    return tuple(s // x.itemsize for s in x.strides)


def execute(call, **arrays):
    """Run a KernelCall on arrays by name, on more threads than it was planned for."""
    words = np.array(call.words, np.int64)
    error = np.zeros(4, np.int64)
    scratch = buffer(call.scratch + 64, np.uint8, 0xFF)  # float NaN: nothing unwritten is used
    words[0], words[1], words[2] = error.ctypes.data, scratch.ctypes.data, 4
    for name, place in call.pointers:
        words[place] = arrays[name].ctypes.data
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(call.address)(words.ctypes.data)
    assert not error.any()
    assert (scratch[call.scratch :] == 0xFF).all(), "a store beyond the scratch"
