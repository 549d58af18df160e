"""Downloading a file from where the user says: checked, resumed, and never half a file in place.

Called by images.py, and by users for files of their own. Bytes go to a hidden file beside the
target, which is locked while one process writes it and renamed once its checksum is right.
"""

import hashlib
import io
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from lucid.config import VERSION
from lucid.lazy import lazy

_fcntl = lazy("fcntl")
_request = lazy("urllib.request")
_http = lazy("http.client")
_error = lazy("urllib.error")
_parse = lazy("urllib.parse")

MOST = 1 << 30  # bytes of a file whose size is not known beforehand
BLOCK = 1 << 16
PAUSE = 0.1  # seconds before the second attempt, doubled before each later one
PROGRESS = 1 << 20  # so many new bytes are worth another row of attempts
SCHEMES = ("http", "https", "file")
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256"}  # by the number of hexadecimal digits


class DownloadError(RuntimeError):
    """A file could not be downloaded, or is not the file that its checksum names."""


class _Broken(Exception):
    """The transfer ended early: another attempt goes on where it ended."""


def fetch(
    url: str,
    target: str | os.PathLike[str],
    checksum: str,
    *,
    size: int | None = None,
    timeout: float = 30.0,
    attempts: int = 4,
) -> None:
    """Put the file at `url` (http, https or file) at the path `target`, if none is there yet.

    checksum: hexadecimal digits of SHA-256 (64), SHA-1 (40) or MD5 (32). `size` in bytes, where it
    is known; else at most 1 GiB. An interrupted download is resumed by the next call, where the
    server has ranges; connections that fail are tried again, `attempts` times. Processes that
    fetch the same file at once wait for the first. DownloadError says what went wrong; the target
    then does not exist.

    >>> import hashlib, pathlib, tempfile
    >>> from lucid.datasets import fetch
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> _ = (folder / "here").write_bytes(b"data")
    >>> fetch((folder / "here").as_uri(), folder / "there", hashlib.sha256(b"data").hexdigest())
    >>> (folder / "there").read_bytes()
    b'data'
    """
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in SCHEMES:
        raise ValueError(f"fetch: the URL {url!r} begins with none of {', '.join(SCHEMES)}://")
    if not re.fullmatch("[0-9a-fA-F]+", checksum) or len(checksum) not in ALGORITHMS:
        raise ValueError(f"fetch: {checksum!r} is no SHA-256, SHA-1 or MD5 in hexadecimal digits")
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        return
    with _partial(path) as file:
        if file is None:
            return  # another process was faster
        resumed = _transfer_all(url, file, size, timeout, attempts)
        found = _digest(file, checksum)
        if found != checksum.lower() and resumed:
            file.truncate(0)  # what was there before may have been of another file
            _transfer_all(url, file, size, timeout, attempts)
            found = _digest(file, checksum)
        if found != checksum.lower():
            file.truncate(0)
            raise DownloadError(
                f"{url} is not the file that was expected: its checksum is {found}, not {checksum}"
            )
        os.fsync(file.fileno())


@contextmanager
def _partial(path: Path) -> Iterator[BinaryIO | None]:
    """The hidden file beside `path`, open and locked, which then becomes `path`; None where that
    is there by now. After an error the hidden file stays, if it has bytes."""
    if os.name != "posix":  # without locks each download is on its own, and none is resumed
        part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        try:
            with open(part, "w+b") as file:
                yield file
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        return
    part = path.with_name(f".{path.name}.part")
    while True:
        with open(part, "a+b") as file:
            _fcntl.flock(file, _fcntl.LOCK_EX)
            if not _is_at(file, part):
                continue  # the process that had the lock has renamed or removed it
            try:
                if path.exists():
                    file.truncate(0)
                    yield None
                else:
                    yield file
                    os.replace(part, path)
            finally:
                if _is_at(file, part) and os.fstat(file.fileno()).st_size == 0:
                    part.unlink(missing_ok=True)
            return


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _digest(file: BinaryIO, like: str) -> str:
    file.seek(0)
    return hashlib.file_digest(file, ALGORITHMS[len(like)]).hexdigest()  # type: ignore[arg-type]


def _transfer_all(
    url: str, file: BinaryIO, size: int | None, timeout: float, attempts: int
) -> bool:
    """All bytes of the file; whether some of them were there before."""
    resumed = file.seek(0, os.SEEK_END) > 0
    left = attempts
    while True:
        before = file.seek(0, os.SEEK_END)
        try:
            _transfer(url, file, size, timeout)
            return resumed
        except (_Broken, ConnectionError, TimeoutError, _http.HTTPException) as error:
            file.flush()
            now = file.seek(0, os.SEEK_END)
            left = attempts if now - before >= PROGRESS else left - 1
            if left <= 0:
                raise DownloadError(
                    f"{url}: {error} ({now} bytes are kept; another call goes on from there)"
                ) from error
            time.sleep(PAUSE * 2 ** (attempts - left))


def _transfer(url: str, file: BinaryIO, size: int | None, timeout: float) -> None:
    """One connection: what it gives is added to the file."""
    have = file.seek(0, os.SEEK_END)
    opened = _open_file if url.lower().startswith("file:") else _open_http
    stream, start, total = opened(url, have, timeout)
    with stream:
        if size is not None and total is not None and total != size:
            raise DownloadError(f"{url} has {total} bytes, where {size} are expected")
        most = MOST if size is None else size
        if (total or 0) > most:
            raise DownloadError(f"{url} has {total} bytes, more than the limit of {most}")
        if start != have:
            file.truncate(start)
        done = start
        while block := _read(stream):
            done += len(block)
            if done > most:
                file.truncate(0)
                raise DownloadError(f"{url} goes on after {most} bytes, which is the limit")
            file.write(block)
        file.flush()
    if total is not None and done != total:
        raise _Broken(f"the connection ended after {done} of {total} bytes")


def _read(stream: Any) -> bytes:
    try:
        return stream.read(BLOCK)
    except OSError as error:
        raise _Broken(f"the connection broke: {error}") from error


def _open_file(url: str, have: int, timeout: float) -> tuple[Any, int, int | None]:
    """A stream, where in the file it begins, and the file's whole length."""
    parts = _parse.urlparse(url)
    if parts.netloc not in ("", "localhost"):
        raise DownloadError(f"{url} names the host {parts.netloc!r}; a file is on this machine")
    try:
        stream = open(_request.url2pathname(parts.path), "rb")
    except OSError as error:
        raise DownloadError(f"{url} cannot be read: {error.strerror}") from error
    total = stream.seek(0, os.SEEK_END)
    start = have if have <= total else 0
    stream.seek(start)
    return stream, start, total


def _open_http(url: str, have: int, timeout: float) -> tuple[Any, int, int | None]:
    headers = {"User-Agent": f"lucid/{VERSION}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        stream = _request.urlopen(_request.Request(url, headers=headers), timeout=timeout)
    except _error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # nothing comes after what is here, or that is too long
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return io.BytesIO(), have, have
            return _open_http(url, 0, timeout)
        if error.code >= 500:
            raise _Broken(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from error
    except _error.URLError as error:
        raise _Broken(str(error.reason)) from error
    if stream.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", stream.headers.get("Content-Range", ""))
        if found is None or int(found[1]) != have:
            stream.close()  # not the part that was asked for: the whole file, then
            if have:
                return _open_http(url, 0, timeout)
            raise DownloadError(f"{url}: the server sends a part that nobody asked for")
        return stream, have, None if found[2] == "*" else int(found[2])
    length = stream.headers.get("Content-Length", "")
    return stream, 0, int(length) if length.isdigit() else None
