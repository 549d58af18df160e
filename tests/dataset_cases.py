"""Small files in the formats of the data sets, and a server for them on this machine.

Used by test_datasets.py and tools/fuzz_datasets.py.
"""

import gzip
import hashlib
import http.server
import io
import pickle
import re
import struct
import tarfile
import threading
from contextlib import contextmanager

import numpy as np


def idx(array):
    """The bytes of an array in the IDX format."""
    codes = {"u1": 8, "i1": 9, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
    kind = array.dtype.str[1:]
    head = bytes([0, 0, codes[kind], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


def digits(count=7, seed=0):
    """Images and labels like those of MNIST."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(0, 256, (count, 28, 28)).astype(np.uint8),
        rng.integers(0, 10, count).astype(np.uint8),
    )


def mnist_files(seed=0):
    """Name -> bytes of the four files, gzipped."""
    made = {}
    for part, count in (("train", 7), ("t10k", 3)):
        images, labels = digits(count, seed + count)
        made[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(idx(images))
        made[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(idx(labels))
    return made


def old_string(data):
    """A string as Python 2 pickled it."""
    if len(data) < 256:
        return b"U" + bytes([len(data)]) + data
    return b"T" + struct.pack("<i", len(data)) + data


def old_pickle(items):
    """A dict as Python 2 pickled it: protocol 2, strings of bytes, numbers, lists and arrays."""
    parts = [b"\x80\x02}("]

    def put(value):
        if isinstance(value, bytes):
            parts.append(old_string(value))
        elif isinstance(value, int):
            parts.append(b"J" + struct.pack("<i", value))
        elif isinstance(value, list):
            parts.append(b"](")
            for item in value:
                put(item)
            parts.append(b"e")
        else:  # an array of bytes
            parts.append(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85")
            parts.append(old_string(b"b") + b"\x87R(K\x01")
            parts.extend(b"J" + struct.pack("<i", n) for n in value.shape)
            parts.append(bytes([0x84 + value.ndim]) + b"cnumpy\ndtype\n" + old_string(b"u1"))
            parts.append(b"K\x00K\x01\x87R(K\x03" + old_string(b"|") + b"NNNJ\xff\xff\xff\xff")
            parts.append(b"J\xff\xff\xff\xffK\x00tb\x89" + old_string(value.tobytes()) + b"tb")

    for key, value in items.items():
        put(key)
        put(value)
    return b"".join(parts) + b"u."


def pixels(count, seed, limit=256):
    return np.random.default_rng(seed).integers(0, limit, (count, 3072)).astype(np.uint8)


def cifar_files(old=True, hundred=False):
    """Name -> bytes of the pickles. Those of even batches hold bytes that are also text."""
    dump = old_pickle if old else lambda items: pickle.dumps(items, protocol=2)
    many, key = (100, b"fine_labels") if hundred else (10, b"labels")
    names = [f"class {i}".encode() for i in range(many)]
    meta = (b"fine_label_names", "meta") if hundred else (b"label_names", "batches.meta")
    batches = (
        ["train", "test"] if hundred else [*[f"data_batch_{i}" for i in range(1, 6)], "test_batch"]
    )
    made = {meta[1]: dump({meta[0]: names, b"num_vis": 3072})}
    for seed, name in enumerate(batches):
        labels = [(seed * 3 + i) % many for i in range(2)]
        batch = {b"batch_label": name.encode(), key: labels}
        batch[b"data"] = pixels(2, seed, 128 if seed % 2 == 0 else 256)
        batch[b"filenames"] = [b"a.png", b"b.png"]
        made[name] = dump(batch)
    return made


def archive(files, folder):
    """The files as a .tar.gz, in a folder."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz") as tar:
        for name, data in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return target.getvalue()


def digest(data, kind="sha256"):
    return hashlib.new(kind, data).hexdigest()


class Mirror:
    """What the server has, how it behaves, and what it was asked: (name, range) in order."""

    def __init__(self, files):
        self.files = dict(files)
        self.asked = []
        self.ranges = True  # whether it answers Range
        self.cut = []  # after how many bytes the next answers end, None: complete
        self.status = []  # the statuses of the next answers, None: as it should be
        self.lie = 0  # by how much Content-Range is wrong
        self.url = ""


@contextmanager
def serving(files):
    """A mirror on 127.0.0.1."""
    mirror = Mirror(files)

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            name = self.path.rpartition("/")[2]
            wanted = self.headers.get("Range")
            mirror.asked.append((name, wanted))
            status = mirror.status.pop(0) if mirror.status else None
            data = mirror.files.get(name)
            if status or data is None:
                self.send_error(status or 404)
                return
            start = 0
            if wanted and mirror.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1])
                if start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(data)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                first = start + mirror.lie
                span = f"bytes {first}-{len(data) - 1}/{len(data)}"
                self.send_header("Content-Range", span)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            cut = mirror.cut.pop(0) if mirror.cut else None
            self.wfile.write(data[start:] if cut is None else data[start : start + cut])

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}/files"
    try:
        yield mirror
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
