"""The disk cache of machine code: what it keeps, and what it refuses to trust."""

import os
import subprocess
import sys
import warnings

import pytest

from lucid.config import settings
from lucid.kernel import cache

NAME = "ab" * 20
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX owners and modes")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    place = tmp_path / "code"
    monkeypatch.setattr(settings, "cache_dir", str(place))
    monkeypatch.setattr(settings, "cache_mb", 256)
    for key, value in (("warned", False), ("bytes", None)):
        monkeypatch.setitem(cache._state, key, value)
    return place


def test_an_entry_comes_back(folder):
    assert cache.get(NAME) is None
    assert not folder.exists()  # looking makes nothing
    cache.put(NAME, b"code" * 1000)
    assert cache.get(NAME) == b"code" * 1000
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / NAME).stat().st_mode & 0o777 == 0o600
    cache.put(NAME, b"newer")
    assert cache.get(NAME) == b"newer"
    assert os.listdir(folder) == [NAME]
    cache.drop(NAME)
    assert cache.get(NAME) is None


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: _flip(data, 0),
        lambda data: _flip(data, len(cache.MAGIC) + 3),
        lambda data: _flip(data, len(data) - 1),
        lambda data: data[:-1],
        lambda data: data[:20],
        lambda data: b"",
        lambda data: data + b"x",
    ],
    ids=["magic", "checksum", "payload", "truncated", "header", "empty", "longer"],
)
def test_a_damaged_entry_is_dropped(folder, damage):
    cache.put(NAME, b"code" * 1000)
    file = folder / NAME
    file.write_bytes(damage(file.read_bytes()))
    assert cache.get(NAME) is None
    assert not file.exists()
    cache.put(NAME, b"again")
    assert cache.get(NAME) == b"again"


def test_an_entry_under_another_name_is_refused(folder):
    cache.put(NAME, b"code")
    os.rename(folder / NAME, folder / ("cd" * 20))
    assert cache.get("cd" * 20) is None


def test_a_link_is_not_followed(folder, tmp_path):
    cache.put(NAME, b"code")
    (folder / NAME).rename(tmp_path / "elsewhere")
    (folder / NAME).symlink_to(tmp_path / "elsewhere")
    assert cache.get(NAME) is None


def test_a_linked_directory_is_refused(folder, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "real")
    with pytest.warns(RuntimeWarning, match="is a link"):
        cache.put(NAME, b"code")
    assert cache.get(NAME) is None
    assert os.listdir(tmp_path / "real") == []


def test_a_directory_others_can_write_is_refused(folder):
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="written by others"):
        cache.put(NAME, b"code")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache.get(NAME) is None  # said once
    assert os.listdir(folder) == []


def test_a_directory_others_can_read_is_closed(folder):
    folder.mkdir()
    folder.chmod(0o755)
    cache.put(NAME, b"code")
    assert folder.stat().st_mode & 0o777 == 0o700
    assert cache.get(NAME) == b"code"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root gives files away")
def test_a_foreign_owner_is_refused(folder):
    cache.put(NAME, b"code")
    os.chown(folder / NAME, 12345, -1)
    assert cache.get(NAME) is None
    cache.put(NAME, b"code")
    os.chown(folder, 12345, -1)
    with pytest.warns(RuntimeWarning, match="belongs to user 12345"):
        assert cache.get(NAME) is None


def test_a_home_that_cannot_be_written_means_memory_only(tmp_path, monkeypatch):
    # A file where the directory should be made: refused even to root.
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(settings, "cache_dir", str(tmp_path / "file" / "code"))
    monkeypatch.setattr(settings, "cache_mb", 256)
    cache.put(NAME, b"code")
    assert cache.get(NAME) is None


def test_size_zero_turns_the_disk_off(folder, monkeypatch):
    cache.put(NAME, b"code")
    monkeypatch.setattr(settings, "cache_mb", 0)
    assert cache.get(NAME) is None
    cache.put("cd" * 20, b"code")
    assert os.listdir(folder) == [NAME]


def test_the_least_recently_used_entries_go(folder, monkeypatch):
    monkeypatch.setattr(settings, "cache_mb", 1)
    names = [f"{i:040x}" for i in range(12)]
    for age, name in enumerate(names[:9]):
        cache.put(name, bytes(100_000))
        os.utime(folder / name, (1e9 + age, 1e9 + age))
    assert cache.get(names[0]) is not None  # used now: the oldest is names[1]
    for name in names[9:]:
        cache.put(name, bytes(100_000))
    left = set(os.listdir(folder))
    assert sum((folder / n).stat().st_size for n in left) <= 1 << 20
    assert names[0] in left and names[11] in left
    assert names[1] not in left and names[2] not in left


def test_rubbish_of_dead_processes_is_removed(folder, monkeypatch):
    cache.put(NAME, b"code")
    for name, age in ((".1-old", 1e9), (".1-new", None)):
        (folder / name).write_bytes(b"half")
        if age:
            os.utime(folder / name, (age, age))
    monkeypatch.setitem(cache._state, "bytes", None)
    cache.put(NAME, b"code")
    assert set(os.listdir(folder)) == {NAME, ".1-new"}


def test_digest_separates_its_parts():
    made = {cache.digest(*p) for p in (("ab", "c"), ("a", "bc"), ("abc",), ("abc", ""))}
    assert len(made) == 4
    assert cache.digest("a") == cache.digest("a")


SCRIPT = """
import sys
from lucid.config import settings
from lucid.kernel import cache
seed = int(sys.argv[1])
bad = 0
for i in range(150):
    name = f"{i % 5:040x}"
    cache.put(name, bytes([seed]) * (5000 + i))
    image = cache.get(name)
    # The other process may have replaced it, whole, or evicted it.
    bad += image is not None and len(set(image)) != 1
print(bad)
"""


def test_two_processes_at_once(folder):
    environment = {**os.environ, "LUCID_CACHE_DIR": str(folder), "LUCID_CACHE_MB": "1"}
    command = [sys.executable, "-c", SCRIPT]
    running = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, env=environment)
        for i in (1, 2)
    ]
    assert [p.communicate(timeout=60)[0].strip() for p in running] == [b"0", b"0"]
    assert len(os.listdir(folder)) == 5
