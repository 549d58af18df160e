"""`function`: the address of a kernel's machine code, from memory, from disk, or compiled now.

schedule.py and the templates (gemm, conv, attention) call it. Kernels may call `lucid_parallel`
and what compiler.PROCESS_SYMBOLS lists.
"""

from collections.abc import Callable

from lucid.backend.cpu import compiler, threads
from lucid.config import settings
from lucid.kernel import cache
from lucid.kernel.cache import blake2b

_addresses: dict[tuple[str, str], int] = {}
_names: dict[int, str] = {}
_stored: dict[int, tuple[str, str, str]] = {}  # address -> symbol, entry on disk, name
_loaded: dict[str, int] = {}  # entry on disk -> address


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


def stored(address: int) -> tuple[str, str, str] | None:
    """How another process finds a function: its symbol, its entry on disk and its name. None for
    an address that is no kernel's."""
    return _stored.get(address)


def restore(symbol: str, entry: str, name: str) -> int | None:
    """The address of what `stored` told of, None where the disk has it no more."""
    address = _loaded.get(entry)
    if address is not None:
        return address
    with compiler.lock:
        image = cache.get(entry)
        if image is None:
            return None
        try:
            address = compiler.load(image, [symbol], _pool())[symbol]
        except RuntimeError:
            cache.drop(entry)
            return None
        _keep(address, symbol, entry, name)
    return address


def _make(key: str, build: Callable[[str], str]) -> int:
    symbol = "k" + blake2b(key.encode(), digest_size=12).hexdigest()
    whole = f"kernel {symbol}\n{key}"
    entry = compiler.digest_of(whole)
    if entry not in _loaded:
        code = compiler.cached(whole, [symbol], lambda: build(symbol), _pool())
        _keep(code[symbol], symbol, entry, key.partition("\n")[0])
    return _loaded[entry]


def _keep(address: int, symbol: str, entry: str, name: str) -> None:
    _names[address] = name
    _stored[address] = (symbol, entry, name)
    _loaded[entry] = address


def _pool() -> dict[str, int]:
    return {"lucid_parallel": threads.addresses()["lucid_parallel"]}
