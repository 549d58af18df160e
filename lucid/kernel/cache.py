"""Machine code kept on disk between runs. compiler.py of the CPU backend reads and writes it.

The directory is trusted only if it is ours, closed to everybody else, and no link; all access goes
through its descriptor. An entry is written beside its place and renamed into it, read once, and
taken only if its checksum holds. What cannot be written is not kept: the program runs on.
"""

import contextlib
import os
import stat
import time
import warnings

from lucid.config import VERSION, settings

try:  # hashlib would load OpenSSL for it
    from _blake2 import blake2b
except ImportError:
    from hashlib import blake2b

MAGIC = b"lucid code 1\n"
_CHECKSUM = 32
_HEADER = len(MAGIC) + _CHECKSUM
_FRESH = 3600.0  # seconds within which the time of use of an entry is not written again
_STALE = 3600.0  # seconds after which a half-written entry of another process is rubbish

_state: dict = {"warned": False, "bytes": None, "stamp": None}


def digest(*parts: str) -> str:
    """The name of an entry: a hash of the parts, of Lucid's version and of the emitters' files."""
    if _state["stamp"] is None:
        _state["stamp"] = _stamp()
    made = blake2b(digest_size=20)
    for part in (VERSION, _state["stamp"], *parts):
        data = part.encode()
        made.update(len(data).to_bytes(8, "little"))
        made.update(data)
    return made.hexdigest()


def directory() -> str:
    """`settings.cache_dir`, or lucid/ in the user's cache directory."""
    if settings.cache_dir:
        return settings.cache_dir
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
        if not os.path.isabs(base):
            raise FileNotFoundError("there is no home directory to keep machine code in")
    return os.path.join(base, "lucid")


def get(name: str) -> bytes | None:
    """The entry, or None. A damaged entry is removed."""
    with _opened(create=False) as folder:
        if folder is None:
            return None
        data = _read(name, folder)
        if data is None:
            return None
        image = data[_HEADER:]
        if data[: len(MAGIC)] != MAGIC or data[len(MAGIC) : _HEADER] != _checksum(name, image):
            _unlink(name, folder)
            return None
        return image


def put(name: str, image: bytes) -> None:
    """Keep an entry, and remove the least recently used ones above `settings.cache_mb`."""
    with _opened(create=True) as folder:
        if folder is None:
            return
        temporary = f".{os.getpid()}-{os.urandom(8).hex()}"
        data = MAGIC + _checksum(name, image) + image
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(temporary, flags, 0o600, dir_fd=folder)
            with os.fdopen(file, "wb") as stream:
                stream.write(data)
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:  # a full or read-only disk: the code stays in memory
            _unlink(temporary, folder)
            return
        cap = settings.cache_mb << 20
        if _state["bytes"] is None:
            _state["bytes"] = sum(size for _, size, _ in _entries(folder))
        else:
            _state["bytes"] += len(data)
        if _state["bytes"] > cap:
            _state["bytes"] = _evict(folder, cap)


def drop(name: str) -> None:
    """Remove an entry."""
    with _opened(create=False) as folder:
        if folder is not None:
            _unlink(name, folder)


@contextlib.contextmanager
def _opened(create: bool):
    """A descriptor of the directory, or None where there is none to be trusted."""
    folder = None
    if settings.cache_mb > 0:
        try:
            folder = _open(directory(), create)
        except OSError:  # read-only, absent, or a link
            folder = None
    try:
        yield folder
    finally:
        if folder is not None:
            os.close(folder)


def _open(path: str, create: bool) -> int | None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(path, flags)
    except FileNotFoundError:
        if not create:
            return None
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
        folder = os.open(path, flags)
    except OSError:
        if os.path.islink(path):
            _warn(f"{path} is a link")
        raise
    status = os.fstat(folder)
    if status.st_uid != os.geteuid():
        _warn(f"{path} belongs to user {status.st_uid}, not to this one ({os.geteuid()})")
    elif status.st_mode & 0o022:
        _warn(f"{path} can be written by others (mode {stat.S_IMODE(status.st_mode):o})")
    else:
        if stat.S_IMODE(status.st_mode) != 0o700:
            with contextlib.suppress(OSError):
                os.fchmod(folder, 0o700)
        return folder
    os.close(folder)
    return None


def _warn(reason: str) -> None:
    if not _state["warned"]:
        _state["warned"] = True
        warnings.warn(
            f"machine code is not kept on disk: {reason}. Remove it, or set LUCID_CACHE_DIR to a "
            "directory of your own with mode 700",
            RuntimeWarning,
            stacklevel=3,
        )


def _read(name: str, folder: int) -> bytes | None:
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(file, "rb") as stream:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
            return None
        now = time.time()
        if now - status.st_mtime > _FRESH:
            with contextlib.suppress(OSError):
                os.utime(file, (now, now))
        return stream.read()


def _checksum(name: str, image: bytes) -> bytes:
    return blake2b(image, digest_size=_CHECKSUM, person=name[:16].encode()).digest()


def _unlink(name: str, folder: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _entries(folder: int) -> list[tuple[float, int, str]]:
    """(time of use, bytes, name) of each entry; other processes' half-written ones excepted."""
    found = []
    now = time.time()
    for name in os.listdir(folder):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue
        if name.startswith("."):
            if now - status.st_mtime > _STALE:
                _unlink(name, folder)
        elif stat.S_ISREG(status.st_mode):
            found.append((status.st_mtime, status.st_size, name))
    return found


def _evict(folder: int, cap: int) -> int:
    """Remove the oldest entries until three quarters of the cap are left; give their bytes."""
    entries = sorted(_entries(folder))
    total = sum(size for _, size, _ in entries)
    for _, size, name in entries:
        if total <= cap * 3 // 4:
            break
        _unlink(name, folder)
        total -= size
    return total


def _stamp() -> str:
    """Of the files that emit code: an edited emitter makes other keys."""
    return marks("kernel", "backend/cpu", "backend/cpu/math")


def marks(*folders: str) -> str:
    """Sizes and times of the files in folders of Lucid."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    found = []
    for folder in folders:
        with os.scandir(os.path.join(root, folder)) as items:
            for item in items:
                if item.name.endswith(".py"):
                    status = item.stat()
                    found.append(f"{folder}/{item.name} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(sorted(found))
