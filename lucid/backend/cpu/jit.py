"""`function`: the address of a kernel's machine code, from memory, from disk, or compiled now.

schedule.py and the templates (gemm, conv, attention) call it. Kernels may call `lucid_parallel`
and what compiler.PROCESS_SYMBOLS lists.
"""

from collections.abc import Callable

from lucid.backend.cpu import compiler, threads
from lucid.config import settings
from lucid.kernel.cache import blake2b

_addresses: dict[tuple[str, str], int] = {}
_names: dict[int, str] = {}


def function(key: str, build: Callable[[str], str]) -> int:
    """The address of the function that `build(symbol)` defines in LLVM IR text.

    `build` is called only when neither memory nor disk has the code; `key` must say everything
    that its text depends on, the target excepted. Any thread may call.
    """
    place = settings.target
    address = _addresses.get((place, key))
    if address is None:
        with compiler.lock:
            address = _addresses.get((place, key))
            if address is None:
                address = _make(key, build)
                _addresses[place, key] = address
    return address


def name(address: int) -> str:
    """The first line of the key of a function: what LUCID_DEBUG=1 prints."""
    return _names.get(address, hex(address))


def _make(key: str, build: Callable[[str], str]) -> int:
    symbol = "k" + blake2b(key.encode(), digest_size=12).hexdigest()
    pool = {"lucid_parallel": threads.addresses()["lucid_parallel"]}
    code = compiler.cached(f"kernel {symbol}\n{key}", [symbol], lambda: build(symbol), pool)
    _names[code[symbol]] = key.partition("\n")[0]
    return code[symbol]
