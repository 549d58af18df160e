"""The data sets: files in their formats, downloads that break, files that are damaged."""

import gzip
import io
import pickle
import random
import socket
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import dataset_cases as cases
import numpy as np
import pytest

import lucid
from lucid.data import DataLoader
from lucid.datasets import CIFAR10, CIFAR100, MNIST, DownloadError, FashionMNIST, fetch, read_idx
from lucid.datasets.images import ImageDataset

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr("lucid.datasets.download.PAUSE", 0.0)


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def sums(files):
    return {name: cases.digest(data) for name, data in files.items()}


# ---- formats ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_reads_every_type(tmp_path, kind, packed):
    array = (np.arange(24).reshape(2, 3, 4) - 12).astype(kind)
    data = cases.idx(array)
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(data) if packed else data)
    read = read_idx(path)
    assert read.dtype == array.dtype and read.dtype.isnative
    assert np.array_equal(read, array)


@pytest.mark.parametrize(
    "data, said",
    [
        (b"", "too early"),
        (b"\0\0\x08", "too early"),
        (b"\0\x01\x08\x01\0\0\0\x01\0", "no IDX"),
        (b"\0\0\x07\x01\0\0\0\x01\0", "no IDX"),
        (b"\0\0\x08\x02\0\0\0\x01", "too early"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "2 bytes too early"),
        (b"\0\0\x08\x01\0\0\0\x02abc", "goes on"),
        (b"\0\0\x0e\x02\xff\xff\xff\xff\xff\xff\xff\xff", "more than"),
        (b"\0\0\x08\xff" + b"\0\0\0\x01" * 255, "more than"),
        (b"\x1f\x8b", "damaged"),
        # No time in it: the names of tests have to be the same in every process.
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab", mtime=0)[:-3], "damaged"),
        (gzip.compress(b"\0\0\x08\x01\0\0\0\x02ab", mtime=0)[:-8] + b"12345678", "damaged"),
    ],
)
def test_idx_files_that_are_none(tmp_path, data, said):
    (tmp_path / "x").write_bytes(data)
    with pytest.raises(ValueError, match=said):
        read_idx(tmp_path / "x")


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST])
@pytest.mark.parametrize("place", ["{}/raw", "{}", "."])
def test_mnist_from_files(tmp_path, kind, place):
    write(tmp_path / place.format(kind.__name__), cases.mnist_files())
    for train, count in ((True, 7), (False, 3)):
        images, labels = cases.digits(count, count)
        data = kind(tmp_path, train=train)
        assert len(data) == count
        assert data.data.dtype is lucid.uint8 and np.array_equal(data.data.numpy(), images)
        assert data.targets.dtype is lucid.int64 and data.targets.tolist() == labels.tolist()
        image, label = data[2]
        assert image.shape == (1, 28, 28) and image.dtype is lucid.uint8
        assert np.array_equal(image.numpy()[0], images[2]) and label == int(labels[2])
        assert type(label) is int
    assert kind(tmp_path).classes[0] in ("0 - zero", "T-shirt/top")
    assert kind(tmp_path).class_to_idx[kind.classes[4]] == 4
    assert "7 images (train)" in repr(kind(tmp_path))


def test_mnist_from_unpacked_files(tmp_path):
    files = {name[:-3]: gzip.decompress(data) for name, data in cases.mnist_files().items()}
    write(tmp_path, files)
    assert len(MNIST(str(tmp_path))) == 7


def test_transforms_and_batches(tmp_path):
    write(tmp_path, cases.mnist_files())
    data = MNIST(tmp_path, transform=lambda x: x.float() / 255, target_transform=lambda n: n + 100)
    images, labels = next(iter(DataLoader(data, batch_size=7)))
    assert images.shape == (7, 1, 28, 28) and images.dtype is lucid.float32
    assert labels.tolist() == [n + 100 for n in cases.digits(7, 7)[1].tolist()]
    assert "transform: <function" in repr(data)


def test_what_is_done_to_a_sample_does_not_reach_the_data(tmp_path):
    write(tmp_path / "cifar-10-batches-py", cases.cifar_files())
    write(tmp_path, cases.mnist_files())
    for kind in (MNIST, CIFAR10):
        data = kind(tmp_path)
        image, _ = data[0]
        before = image.numpy().copy()
        image.zero_()
        assert np.array_equal(data[0][0].numpy(), before)


def test_data_may_be_replaced(tmp_path):
    write(tmp_path, cases.cifar_files())
    data = CIFAR10(tmp_path)
    data.data, data.targets = data.data[3:5], data.targets[3:5]
    assert len(data) == 2
    expected = cases.pixels(2, 1)[1].reshape(3, 32, 32)
    assert np.array_equal(data[0][0].numpy(), expected)


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("hundred", [True, False])
def test_cifar_from_files(tmp_path, old, packed, hundred):
    kind = CIFAR100 if hundred else CIFAR10
    files = cases.cifar_files(old, hundred)
    if packed:
        name = kind.archives[0].name
        write(tmp_path, {name: cases.archive(files, kind.folder)})
    else:
        write(tmp_path / kind.folder, files)
    batches = [0] if hundred else range(5)
    data = kind(tmp_path)
    assert data.data.shape == (2 * len(batches), 32, 32, 3) and data.data.dtype == np.uint8
    expected = np.concatenate([cases.pixels(2, i, 256 if i % 2 else 128) for i in batches])
    many = 100 if hundred else 10
    assert data.targets == [(i * 3 + j) % many for i in batches for j in range(2)]
    for i, row in enumerate(expected):
        image, label = data[i]
        assert np.array_equal(image.numpy(), row.reshape(3, 32, 32))
        assert label == data.targets[i]
    assert data.classes == [f"class {i}" for i in range(many)]
    assert len(kind(tmp_path, train=False)) == 2


def test_pil_images(tmp_path):
    pytest.importorskip("PIL")
    write(tmp_path, cases.cifar_files())
    write(tmp_path, cases.mnist_files())
    gray, _ = MNIST(tmp_path, pil=True)[0]
    assert gray.mode == "L" and gray.size == (28, 28)
    assert np.array_equal(np.asarray(gray), cases.digits(7, 7)[0][0])
    colour, _ = CIFAR10(tmp_path, pil=True)[0]
    planes = cases.pixels(2, 0, 128)[0].reshape(3, 32, 32)
    assert colour.mode == "RGB"
    assert np.array_equal(np.asarray(colour), planes.transpose(1, 2, 0))


# ---- files that are missing or wrong ------------------------------------------------------------


@pytest.mark.parametrize("kind", [MNIST, FashionMNIST, CIFAR10, CIFAR100])
def test_missing_files_are_named_with_the_places(tmp_path, kind):
    with pytest.raises(FileNotFoundError) as error:
        kind(tmp_path)
    assert kind.archives[0].name in str(error.value)
    assert str(tmp_path) in str(error.value) and "mirror=" in str(error.value)
    with pytest.raises(ValueError, match="download=True needs mirror="):
        kind(tmp_path, download=True)
    assert not list(tmp_path.iterdir())


def test_files_that_do_not_belong_together(tmp_path):
    files = cases.mnist_files()
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(cases.idx(np.zeros(5, np.uint8)))
    write(tmp_path, files)
    with pytest.raises(ValueError, match="7 images stand beside 5 labels"):
        MNIST(tmp_path)
    files["train-labels-idx1-ubyte.gz"] = gzip.compress(cases.idx(np.full(7, 10, np.uint8)))
    write(tmp_path, files)
    with pytest.raises(ValueError, match="label 10 is above 9"):
        MNIST(tmp_path)
    files["train-images-idx3-ubyte.gz"] = gzip.compress(cases.idx(np.zeros(7, np.uint8)))
    write(tmp_path, files)
    with pytest.raises(ValueError, match="not bytes in 3 dimensions"):
        MNIST(tmp_path)


class Harmful:
    def __reduce__(self):
        return (Path.touch, (Path(Harmful.target),))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"data": np.zeros((2, 3071), np.uint8)}, "instead of bytes"),
        ({"data": np.zeros((2, 3072), np.int16)}, "instead of bytes"),
        ({"data": [1, 2]}, "instead of bytes"),
        ({"labels": [0, 10]}, "no list of numbers from 0 to 9"),
        ({"labels": [0, -1]}, "no list of numbers"),
        ({"labels": [0, True]}, "no list of numbers"),
        ({"labels": None}, "no list of numbers"),
    ],
)
def test_pickles_with_other_contents(tmp_path, change, said):
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [1, 2]} | change
    write(tmp_path, cases.cifar_files() | {"test_batch": pickle.dumps(batch)})
    with pytest.raises(ValueError, match=said):
        CIFAR10(tmp_path, train=False)


def test_pickles_execute_nothing(tmp_path):
    Harmful.target = str(tmp_path / "touched")
    write(tmp_path, cases.cifar_files() | {"test_batch": pickle.dumps({"data": Harmful()})})
    with pytest.raises(ValueError, match="no pickle of data"):
        CIFAR10(tmp_path, train=False)
    assert not (tmp_path / "touched").exists()
    write(tmp_path, {"test_batch": pickle.dumps([1])})
    with pytest.raises(ValueError, match="instead of a dict"):
        CIFAR10(tmp_path, train=False)


def test_archives_that_are_damaged(tmp_path):
    files = cases.cifar_files()
    data = cases.archive(files, "cifar-10-batches-py")
    path = tmp_path / "cifar-10-python.tar.gz"
    for broken in (b"", b"no archive", data[: len(data) // 2], data[:200] + bytes(50) + data[250:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match="damaged|has no file"):
            CIFAR10(tmp_path)
    del files["data_batch_3"]
    path.write_bytes(cases.archive(files, "cifar-10-batches-py"))
    with pytest.raises(ValueError, match="has no file cifar-10-batches-py/data_batch_3"):
        CIFAR10(tmp_path)
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:  # a link in the place of a file
        entry = tarfile.TarInfo("cifar-10-batches-py/batches.meta")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(entry)
    path.write_bytes(target.getvalue())
    with pytest.raises(ValueError, match="has no file"):
        CIFAR10(tmp_path)


class InMemory(CIFAR10):
    """CIFAR10 whose files are given."""

    contents: dict[str, bytes]

    def _files(self, names):
        return {name: (name, self.contents[name]) for name in names}


def mutated(data, rng):
    """The file with one to five changes: bytes, bits, cuts, bytes put in."""
    data = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5))):
        edge = min(len(data), 400)
        at = rng.randrange(edge) if rng.random() < 0.8 else len(data) - 1 - rng.randrange(edge)
        action = rng.randrange(4)
        if action == 0:
            data[at] = rng.randrange(256)
        elif action == 1:
            del data[at:]
        elif action == 2:
            data[at:at] = rng.randbytes(rng.randrange(1, 9))
        else:
            data[at] ^= 1 << rng.randrange(8)
        data = data or bytearray(b"\0")
    return bytes(data)


def test_mutations_load_or_raise_value_errors(tmp_path):
    rng = random.Random(0)
    plain = gzip.decompress(cases.mnist_files()["t10k-labels-idx1-ubyte.gz"])
    old, new = cases.cifar_files(True), cases.cifar_files(False)
    seeds = {
        "idx": plain, "gz": gzip.compress(plain), "batches.meta": old["batches.meta"],
        "test_batch": old["test_batch"], "new": new["test_batch"],
    }  # fmt: skip
    outcomes = {"read": 0, "refused": 0}
    for _ in range(3000):
        kind = rng.choice(list(seeds))
        data = mutated(seeds[kind], rng)
        try:
            if kind in ("idx", "gz"):
                (tmp_path / "x").write_bytes(data)
                read_idx(tmp_path / "x")
            else:
                name = "test_batch" if kind == "new" else kind
                InMemory.contents = {**old, name: data}
                InMemory(tmp_path, train=False)
            outcomes["read"] += 1
        except ValueError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 100, outcomes


# ---- downloads ----------------------------------------------------------------------------------


def test_mnist_from_a_mirror(tmp_path):
    files = cases.mnist_files()
    with cases.serving(files) as mirror:
        options = {"download": True, "mirror": mirror.url + "/", "checksums": sums(files)}
        assert len(MNIST(tmp_path, **options)) == 7
        assert [name for name, _ in mirror.asked] == [file.name for file in MNIST.archives]
        assert len(MNIST(tmp_path, train=False, **options)) == 3
        assert len(mirror.asked) == 4, "files that are there are not asked for"
    folder = tmp_path / "MNIST" / "raw"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files


@pytest.mark.parametrize("kind", [CIFAR10, CIFAR100])
def test_cifar_from_a_folder_of_files(tmp_path, kind):
    name = kind.archives[0].name
    data = cases.archive(cases.cifar_files(hundred=kind is CIFAR100), kind.folder)
    mirror = write(tmp_path / "a mirror", {name: data})
    made = kind(
        tmp_path / "root", download=True, mirror=mirror.as_uri(),
        checksums={name: cases.digest(data, "md5")},
    )  # fmt: skip
    assert len(made) == (2 if kind is CIFAR100 else 10)
    assert [p.name for p in (tmp_path / "root").iterdir()] == [name]


def test_files_other_than_the_original_ones_are_refused(tmp_path):
    files = cases.mnist_files()
    with cases.serving(files) as mirror:
        with pytest.raises(DownloadError, match="where 9912422 are expected"):
            MNIST(tmp_path, download=True, mirror=mirror.url)
        with pytest.raises(ValueError, match=r"checksums names \['x'\]"):
            MNIST(tmp_path, download=True, mirror=mirror.url, checksums={"x": "0"})
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


DATA = random.Random(1).randbytes(300_000)


def get(mirror, target, data=DATA, **options):
    fetch(f"{mirror.url}/x", target, cases.digest(data), **options)


def left(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_broken_connection_is_resumed(tmp_path):
    with cases.serving({"x": DATA}) as mirror:
        mirror.cut = [1000, 50_000]
        get(mirror, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]
    assert [r for _, r in mirror.asked] == [None, "bytes=1000-", "bytes=51000-"]


def test_another_call_goes_on_where_one_ended(tmp_path):
    with cases.serving({"x": DATA}) as mirror:
        mirror.cut = [70_000]
        with pytest.raises(DownloadError, match="70000 bytes are kept"):
            get(mirror, tmp_path / "x", attempts=1)
        assert left(tmp_path) == [".x.part"]
        get(mirror, tmp_path / "x")
    assert mirror.asked[-1] == ("x", "bytes=70000-")
    assert (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]


def test_a_server_without_ranges_sends_it_all_again(tmp_path):
    with cases.serving({"x": DATA}) as mirror:
        mirror.cut, mirror.ranges = [1000], False
        get(mirror, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]


def test_a_wrong_part_is_not_put_in(tmp_path):
    with cases.serving({"x": DATA}) as mirror:
        mirror.cut, mirror.lie = [1000], 5
        get(mirror, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA
    assert [r for _, r in mirror.asked] == [None, "bytes=1000-", None]


@pytest.mark.parametrize("kept", [b"other", DATA + b"more", DATA[:500] + b"!", DATA])
def test_what_was_there_before_is_not_trusted(tmp_path, kept):
    (tmp_path / ".x.part").write_bytes(kept)
    with cases.serving({"x": DATA}) as mirror:
        get(mirror, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]
    assert len(mirror.asked) <= 3


@pytest.mark.parametrize("data", [DATA[:-1] + b"?", DATA[:-1], b"", DATA + b"?"])
def test_a_wrong_file_is_never_put_in_place(tmp_path, data):
    with cases.serving({"x": data}) as mirror:
        with pytest.raises(DownloadError, match="checksum is"):
            get(mirror, tmp_path / "x")
        assert left(tmp_path) == []
        with pytest.raises(DownloadError, match="bytes"):
            get(mirror, tmp_path / "x", size=len(DATA) + 10)
    assert left(tmp_path) == []


def test_answers_of_the_server(tmp_path):
    with cases.serving({"x": DATA}) as mirror:
        mirror.status = [503, 500]
        get(mirror, tmp_path / "x")
        assert len(mirror.asked) == 3
        mirror.status = [503] * 3
        with pytest.raises(DownloadError, match="503"):
            get(mirror, tmp_path / "y", attempts=3)
        for status in (404, 403):
            mirror.asked, mirror.status = [], [status]
            with pytest.raises(DownloadError, match=str(status)):
                get(mirror, tmp_path / "y")
            assert len(mirror.asked) == 1, "this answer does not change by asking again"
    assert left(tmp_path) == ["x"]
    with pytest.raises(DownloadError, match="refused"):
        get(mirror, tmp_path / "y", attempts=2)


def test_a_server_that_falls_silent(tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    try:
        with pytest.raises(DownloadError, match="timed out"):
            url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
            fetch(url, tmp_path / "x", "0" * 64, timeout=0.05, attempts=2)
    finally:
        server.close()
    assert left(tmp_path) == []


def test_arguments_of_fetch(tmp_path):
    for url in ("ftp://a/b", "/a/b", "data:x", "a"):
        with pytest.raises(ValueError, match="begins with none of"):
            fetch(url, tmp_path / "x", "0" * 64)
    for checksum in ("", "0" * 63, "g" * 64):
        with pytest.raises(ValueError, match="is no SHA-256"):
            fetch("http://127.0.0.1/x", tmp_path / "x", checksum)
    with pytest.raises(DownloadError, match="is on this machine"):
        fetch("file://elsewhere/x", tmp_path / "x", "0" * 64)
    with pytest.raises(DownloadError, match="cannot be read"):
        fetch((tmp_path / "none").as_uri(), tmp_path / "x", "0" * 64)
    assert left(tmp_path) == []


def test_a_file_beside_is_resumed_too(tmp_path):
    (tmp_path / "source").write_bytes(DATA)
    (tmp_path / ".x.part").write_bytes(DATA[:1234])
    fetch((tmp_path / "source").as_uri(), tmp_path / "x", cases.digest(DATA, "sha1"))
    assert (tmp_path / "x").read_bytes() == DATA


def test_threads_that_fetch_at_once(tmp_path):
    errors = []
    with cases.serving({"x": DATA}) as mirror:

        def run():
            try:
                get(mirror, tmp_path / "x")
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert not errors and (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]
    assert len(mirror.asked) == 1, "one of them downloads, the others wait"


def test_processes_that_fetch_at_once(tmp_path):
    code = (
        "import sys; from lucid.datasets import fetch; fetch(*sys.argv[1:4])\n"
        "import pathlib; assert len(pathlib.Path(sys.argv[2]).read_bytes()) == 300000"
    )
    with cases.serving({"x": DATA}) as mirror:
        mirror.cut = [100_000]  # the first one has to resume meanwhile
        arguments = [f"{mirror.url}/x", str(tmp_path / "x"), cases.digest(DATA)]
        command = [sys.executable, "-c", code, *arguments]
        running = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
        try:
            assert [p.wait(60) for p in running] == [0, 0, 0]
        finally:
            for process in running:
                process.kill()
                process.wait(10)
    assert (tmp_path / "x").read_bytes() == DATA and left(tmp_path) == ["x"]
    assert len(mirror.asked) == 2


def test_a_killed_download_leaves_nothing_in_place(tmp_path):
    server = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{server.getsockname()[1]}/x"
    code = "import sys; from lucid.datasets import fetch; fetch(*sys.argv[1:4])"
    arguments = [url, str(tmp_path / "x"), cases.digest(DATA)]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], cwd=ROOT)
    try:
        server.settimeout(60)
        connection, _ = server.accept()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
        connection.sendall(head + DATA[:200_000])
        for _ in range(600):
            part = tmp_path / ".x.part"
            if part.exists() and part.stat().st_size >= 131_072:
                break
            threading.Event().wait(0.05)
        process.kill()
        process.wait(10)
        connection.close()
        assert left(tmp_path) == [".x.part"]
        kept = part.read_bytes()
        assert 131_072 <= len(kept) < len(DATA) and DATA.startswith(kept)
    finally:
        process.kill()
        process.wait(10)
        server.close()
    with cases.serving({"x": DATA}) as mirror:
        get(mirror, tmp_path / "x")
    assert mirror.asked == [("x", f"bytes={len(kept)}-")]
    assert (tmp_path / "x").read_bytes() == DATA


def test_the_base_says_nothing_of_its_own(tmp_path):
    with pytest.raises(NotImplementedError):
        ImageDataset(tmp_path)
