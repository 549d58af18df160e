"""The device object and the errors that have names."""

import copy
import pickle

import pytest

from lucid import error
from lucid.device import device


def test_spellings():
    cpu, first = device("cpu"), device("cpu:0")
    assert (cpu.type, cpu.index, str(cpu), repr(cpu)) == ("cpu", None, "cpu", "device(type='cpu')")
    assert (first.index, str(first)) == (0, "cpu:0")
    assert repr(first) == "device(type='cpu', index=0)"
    assert device("cpu", 0) == first != cpu
    assert device(first) == first
    assert hash(device("cpu", 0)) == hash(first)
    assert cpu != "cpu"


@pytest.mark.parametrize(
    "bad", ["cuda", "cuda:0", "cpu:1", "cpu:-1", "cpu:", "CPU", "", "tpu", 0, None, "cpu:00", True]
)
def test_unknown(bad):
    with pytest.raises(error.UnknownDeviceError, match="what works here: 'cpu'") as e:
        device(bad)
    assert repr(bad) in str(e.value)


def test_wrong_index():
    with pytest.raises(error.UnknownDeviceError, match="twice"):
        device("cpu:0", 0)
    with pytest.raises(error.UnknownDeviceError, match="1"):
        device("cpu", 1)
    with pytest.raises(error.UnknownDeviceError):
        device("cpu", True)


def test_immutable_and_copied():
    cpu = device("cpu:0")
    with pytest.raises(AttributeError, match="type"):
        cpu.type = "cuda"
    assert pickle.loads(pickle.dumps(cpu)) == cpu == copy.deepcopy(cpu)


def test_errors_are_pythons_too():
    assert issubclass(error.UnknownDeviceError, RuntimeError)
    assert issubclass(error.DeviceMismatchError, RuntimeError)
    assert issubclass(error.BackwardError, RuntimeError)
    assert issubclass(error.OutOfMemoryError, MemoryError)
