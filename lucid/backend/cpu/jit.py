"""`function`: the address of a kernel's machine code, from memory, from disk, or compiled now.

schedule.py and the templates (gemm, conv, attention) call it. Kernels may call `lucid_parallel`,
`lucid_over` and what compiler.PROCESS_SYMBOLS lists.
"""

from collections.abc import Callable

from lucid.backend.cpu import compiler, threads
from lucid.config import settings
from lucid.kernel.cache import blake2b

_addresses: dict[tuple[str, str], int] = {}
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
    found = _stored.get(address)
    return hex(address) if found is None else found[2]


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
        code = compiler.loaded(entry, [symbol], _pool())
        return None if code is None else _keep(code[symbol], symbol, entry, name)


def _make(key: str, build: Callable[[str], str]) -> int:
    symbol = "k" + blake2b(key.encode(), digest_size=12).hexdigest()
    entry = compiler.digest_of(f"kernel {symbol}\n{key}")
    if entry in _loaded:
        return _loaded[entry]
    code = compiler.kept(entry, [symbol], lambda: build(symbol), _pool())
    return _keep(code[symbol], symbol, entry, key.partition("\n")[0])


def _keep(address: int, symbol: str, entry: str, name: str) -> int:
    _stored[address] = (symbol, entry, name)
    _loaded[entry] = address
    return address


def _pool() -> dict[str, int]:
    pool = threads.addresses()
    return {name: pool[name] for name in ("lucid_parallel", "lucid_over")}
