"""`device`: where a tensor's bytes live and its operations run.

Called by every function that takes `device=`; backends are registered beside it, by type.
"""

import re
from typing import ClassVar

from lucid.error import UnknownDeviceError

_SPELLING = re.compile(r"([a-z]+)(?::(0|[1-9][0-9]*))?")


class device:
    """A device: `device("cpu")`, `device("cpu:0")`, `device("cpu", 0)` or `device(other)`.

    `type` is its kind, `index` its number or None where none was given. Two are equal if both
    agree, so `device("cpu") != device("cpu:0")`, though the same memory is meant.
    Raises UnknownDeviceError for anything that Lucid cannot compute on.

    >>> from lucid.device import device
    >>> device("cpu:0").index
    0
    >>> device("cpu")
    device(type='cpu')
    """

    __slots__ = ("type", "index", "_hash")
    known: ClassVar[dict[str, int]] = {"cpu": 1}  # type -> how many of it there are
    type: str
    index: int | None
    _hash: int

    def __new__(cls, type: "str | device", index: int | None = None) -> "device":
        if isinstance(type, device):
            if index is not None:
                raise UnknownDeviceError(f"device({type!r}, {index!r}): the first names an index")
            if type.type not in device.known:  # one that is only named
                raise UnknownDeviceError(f"Lucid has no {type.type!r} device; {_works()}")
            return type
        return _parse(cls, type, index)

    @classmethod
    def named(cls, type: str, index: int | None = None) -> "device":
        """A device that need not be there: it can be compared, and whatever is to use it raises.

        For programs that name another framework's devices before they ask whether there are any.
        """
        return _parse(cls, type, index, there=False)

    def __enter__(self) -> "device":
        """Tensors made inside are on this device: the CPU, where they are anyway."""
        return device(self)

    def __exit__(self, *error: object) -> None:
        pass

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a device does not change: cannot set {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self) -> tuple:
        return device, (str(self),)


def _parse(cls: type[device], text: str, index: int | None, there: bool = True) -> device:
    shown = repr(text) if index is None else f"{text!r}, {index!r}"
    if isinstance(text, bool) or not isinstance(text, str):
        raise UnknownDeviceError(f"device({shown}): a device is named by a string; {_works()}")
    match = _SPELLING.fullmatch(text)
    if match is None:
        raise UnknownDeviceError(f"device({shown}): not a device's name; {_works()}")
    kind, number = match.groups()
    if index is not None:
        if number is not None:
            raise UnknownDeviceError(f"device({shown}): the index is given twice")
        if isinstance(index, bool) or not isinstance(index, int) or index < 0:
            raise UnknownDeviceError(f"device({shown}): the index is a number from 0; {_works()}")
        number = index
    count = device.known.get(kind, 0)
    if there and not count:
        raise UnknownDeviceError(f"device({shown}): Lucid has no {kind!r} device; {_works()}")
    if there and number is not None and int(number) >= count:
        raise UnknownDeviceError(f"device({shown}): {kind!r} has {count} of them; {_works()}")
    self = object.__new__(cls)
    position = None if number is None else int(number)
    for name, value in (("type", kind), ("index", position), ("_hash", hash((kind, position)))):
        object.__setattr__(self, name, value)
    return self


def _works() -> str:
    names = [f"{kind}:{i}" for kind, count in device.known.items() for i in range(count)]
    return "what works here: " + ", ".join(repr(n) for n in [*device.known, *names])
