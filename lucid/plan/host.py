"""Host calls: steps of a plan that run a Python function on NumPy arrays over the plan's memory.

ops/host.py makes them, for what NumPy's LAPACK and pocketfft do. To the plan such a step is native
code like any other: one C callback for all of them, which finds what to do by a number in its
words. BLAS runs on one thread meanwhile, so that bits do not depend on how many there are.
"""

import contextlib
import ctypes
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from lucid.op import ERROR_HOST
from lucid.plan.steps import HEAD, Bound, Operand, Step

_numbers = itertools.count(1)
_failures: dict[int, BaseException] = {}


class Called:
    """What one step calls: `run` with the addresses of its operands. Lives as long as its plan."""

    __slots__ = ("number", "operands", "__weakref__")

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.operands = 0
        _calls[self.number] = self

    def run(self, addresses: list[int]) -> None:
        raise NotImplementedError


class HostCall(Called):
    """A function of arrays, and the arrays that it gets and fills."""

    __slots__ = ("function", "inputs", "outputs")

    def __init__(self, function: Callable, inputs: Sequence[Operand], outputs: Sequence[Operand]):
        super().__init__()
        self.function = function
        self.inputs = [(o.shape, o.dtype.numpy) for o in inputs]
        self.outputs = [(o.shape, o.dtype.numpy) for o in outputs]

    def run(self, addresses: list[int]) -> None:
        arrays = [
            _array(address, *what)
            for address, what in zip(addresses, [*self.outputs, *self.inputs], strict=True)
        ]
        n = len(self.outputs)
        with np.errstate(all="ignore"), one_blas_thread():
            made = self.function(*arrays[n:])
        for target, value in zip(arrays[:n], made, strict=True):
            target[...] = value


_calls: WeakValueDictionary[int, Called] = WeakValueDictionary()


def _array(address: int, shape: tuple[int, ...], kind: np.dtype) -> np.ndarray:
    size = kind.itemsize
    for n in shape:
        size *= n
    if size == 0:
        return np.empty(shape, kind)
    found = memoryview((ctypes.c_char * size).from_address(address))
    return np.frombuffer(found, kind).reshape(shape)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def _callback(words: int) -> None:
    """`void host(ptr words)`: the number of the call, then the addresses of its arrays."""
    try:
        call = _calls[ctypes.c_int64.from_address(words + 8 * HEAD).value]
        addresses = (ctypes.c_int64 * call.operands).from_address(words + 8 * (HEAD + 1))
        call.run(list(addresses))
    except BaseException as error:
        number = next(_numbers)
        _failures[number] = error
        slot = (ctypes.c_int64 * 2).from_address(ctypes.c_int64.from_address(words).value)
        slot[0], slot[1] = ERROR_HOST, number


def failure(number: int) -> BaseException:
    """The error that a host call reported under this number; it is given once."""
    return _failures.pop(number)


def host_step(
    name: str, function: Callable, inputs: Sequence[Operand], outputs: Sequence[Operand], work: int
) -> Step:
    """outputs[:] = function(*inputs), all row-major."""
    return call_step(name, HostCall(function, inputs, outputs), [*outputs, *inputs], work)


def _entry() -> int:
    """The address of the callback."""
    address = ctypes.cast(_callback, ctypes.c_void_p).value
    assert address is not None
    return address


def called(call: Any) -> Called | None:
    """What a native call of a segment calls in Python, if it does."""
    return _calls.get(call.words[HEAD]) if call.address == _entry() else None


def address_of(call: Called, words: list[int]) -> int:
    """Make the words of such a call, which come from the disk, those of another one; its address.
    The one who has the words holds `call`."""
    words[HEAD] = call.number
    call.operands = len(words) - HEAD - 1
    return _entry()


def call_step(name: str, call: Called, operands: list[Operand], work: int) -> Step:
    """A step that runs `call` with the addresses of these operands."""
    call.operands = len(operands)
    address = _entry()

    def bind(threads: int) -> list[Bound]:
        pointers = [(HEAD + 1 + i, operand) for i, operand in enumerate(operands)]
        return [Bound(address, [call.number] + [0] * len(operands), pointers)]

    return Step(name, operands, bind, work=work)


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """NumPy's OpenBLAS on one thread; elsewhere, as the library was set up."""
    setters = _setters()
    before = [get() for get, _ in setters]
    for _, put in setters:
        put(1)
    try:
        yield
    finally:
        for (_, put), n in zip(setters, before, strict=True):
            put(n)


@cache
def _setters() -> list[tuple[Any, Any]]:
    """(get, set) of the number of threads of the OpenBLAS libraries that NumPy and SciPy bring."""
    found = []
    root = os.path.dirname(os.path.dirname(np.__file__))
    for folder in (f"{root}/numpy.libs", f"{root}/scipy.libs"):
        names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
        for name in [n for n in names if "openblas" in n]:
            with contextlib.suppress(OSError, AttributeError):
                library = ctypes.CDLL(f"{folder}/{name}")
                for prefix, suffix in (("scipy_", "64_"), ("scipy_", ""), ("", "64_"), ("", "")):
                    get = getattr(library, f"{prefix}openblas_get_num_threads{suffix}", None)
                    put = getattr(library, f"{prefix}openblas_set_num_threads{suffix}", None)
                    if get is not None and put is not None:
                        found.append((get, put))
                        break
    return found
