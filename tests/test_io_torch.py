"""PyTorch's checkpoints, read and written without it; hostile ones; shards; mapped files."""

import io
import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import checkpoint_cases as cases
import numpy as np
import pytest

import lucid
from lucid.io import unpickle

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(Path(__file__).parent / "tools"))


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_recorded_files(name):
    assert cases.same(lucid.load(GOLDEN / name), cases.value(lucid))
    with open(GOLDEN / name, "rb") as file:
        assert cases.same(lucid.load(file, weights_only=False), cases.value(lucid))


def test_the_oldest_form():
    found = lucid.load(GOLDEN / "old.pt")
    assert found["w"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]] and found["step"] == 3
    assert found["n"].tolist() == [7, 8] and found["n"].dtype is lucid.int64
    assert found["tail"].tolist() == [2.0, 3.0, 4.0]
    found["w"][0, 2] = 9.0
    assert found["tail"][0].item() == 9.0  # the same memory
    assert (GOLDEN / "old.pt").read_bytes()[:8] == cases.old_tar()[:8]


@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt"])
def test_shared_memory_stays_shared(name):
    views = lucid.load(GOLDEN / name)["views"]
    views[0][1, 2] = -1.0
    assert views[1][2, 1].item() == views[2][2].item() == views[4][0, 0].item() == -1.0


def test_mapped_files_are_shared_with_nobody(tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes((GOLDEN / "zip.pt").read_bytes())
    before = path.read_bytes()
    found = lucid.load(path, mmap=True)
    assert cases.same(found, cases.value(lucid))
    found["views"][0].fill_(3.0)
    assert found["views"][1][0, 0].item() == 3.0 and path.read_bytes() == before
    native = tmp_path / "x.safetensors"
    lucid.save({"w": lucid.arange(1000.0), "half": lucid.ones(3, dtype=lucid.bfloat16)}, native)
    found = lucid.load(native, mmap=True)
    assert found["w"][999].item() == 999.0 and found["half"].tolist() == [1.0] * 3
    found["w"].mul_(2)
    assert lucid.load(native)["w"][999].item() == 999.0
    with pytest.raises(ValueError, match="needs the zip format"):
        lucid.load(GOLDEN / "legacy.pt", mmap=True)
    with pytest.raises(ValueError, match="needs a path"):
        lucid.load(io.BytesIO(before), mmap=True)


def test_what_is_written_in_that_format_comes_back(tmp_path):
    path = tmp_path / "x.pt"
    lucid.save(cases.value(lucid), path, format="torch")
    assert cases.same(lucid.load(path), cases.value(lucid))
    stream = io.BytesIO()
    lucid.save(cases.value(lucid), stream, format="torch")
    stream.seek(0)
    assert cases.same(lucid.load(stream), cases.value(lucid))
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        for entry in archive.infolist():
            start = entry.header_offset + 30 + len(entry.filename) + len(entry.extra)
            assert start % 64 == 0, entry.filename
    with pytest.raises(ValueError, match="format='pt'"):
        lucid.save(1, path, format="pt")
    with pytest.raises(TypeError, match=r"m is a Linear.*state_dict"):
        lucid.save({"m": lucid.nn.Linear(1, 1)}, path, format="torch")
    loop = []
    loop.append(loop)
    with pytest.raises(ValueError, match="contains itself"):
        lucid.save(loop, path, format="torch")
    assert cases.same(lucid.load(path), cases.value(lucid))  # the old file is still there


def test_pytorch_reads_what_is_written(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "x.pt"
    lucid.save(cases.value(lucid), path, format="torch")
    assert cases.same(torch.load(path, weights_only=False), cases.value(torch))
    value = cases.value(lucid)
    plain = {key: value[key] for key in ("dtypes", "views", "model", "parameter", "python", "size")}
    lucid.save(plain, path, format="torch")
    expected = {key: cases.value(torch)[key] for key in plain}
    assert cases.same(torch.load(path, weights_only=True), expected)
    assert cases.same(torch.load(path, weights_only=True, mmap=True), expected)


def test_pytorch_writes_what_is_read(tmp_path):
    torch = pytest.importorskip("torch")
    for zipped in (True, False):
        for protocol in (2, 4) if zipped else (2,):
            path = tmp_path / "x.pt"
            torch.save(
                cases.value(torch), path, pickle_protocol=protocol,
                _use_new_zipfile_serialization=zipped,
            )  # fmt: skip
            assert cases.same(lucid.load(path), cases.value(lucid))
    model = torch.nn.LSTM(3, 4)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 1, 3))[0].sum().backward()
    optimizer.step()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, path)
    found = lucid.load(path)
    assert list(found["model"]) == list(model.state_dict())
    assert found["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda torch: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "quantized"),
        (lambda torch: torch.nn.Linear(1, 1), "torch.nn.modules.linear.Linear"),
        (lambda torch: torch.ones(2, dtype=torch.uint16), "uint16|UInt16|storage|dtype"),
        (lambda torch: print, "builtin.*print"),
        (lambda torch: torch.ones(2, device="meta"), "without data"),
    ],
)
def test_what_is_no_data_is_named(make, message, tmp_path):
    torch = pytest.importorskip("torch")
    for zipped in (True, False):
        torch.save(make(torch), tmp_path / "x", _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=message):
            lucid.load(tmp_path / "x")


def sparse_values(library):
    x = library.sparse_coo_tensor(
        library.tensor([[0, 1, 0], [2, 0, 2]]), library.tensor([1.0, 2.0, 3.0]), (2, 3)
    )
    rows = library.sparse_coo_tensor(library.tensor([[1]]), library.ones(1, 2), (4, 2))
    return {"coo": x, "whole": x.coalesce(), "rows": rows, "csr": x.to_sparse_csr()}


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize("writer", ["lucid", "torch"])
def test_sparse_tensors(writer, tmp_path):
    given = sparse_values(lucid)
    if writer == "torch":
        torch = pytest.importorskip("torch")
        torch.save(sparse_values(torch), tmp_path / "x")
    else:
        lucid.save(given, tmp_path / "x", format="torch")
    found = lucid.load(tmp_path / "x")
    for name, x in given.items():
        y = found[name]
        assert y.layout == x.layout and y.shape == x.shape and y.dtype is x.dtype
        assert y.is_coalesced() == x.is_coalesced() or name == "rows"
        assert lucid.equal(y._values(), x._values())
        assert lucid.equal(y.to_dense(), x.to_dense())
    if writer == "lucid":
        torch = pytest.importorskip("torch")
        read = torch.load(tmp_path / "x", weights_only=True)
        for name, x in given.items():
            assert read[name].to_dense().tolist() == x.to_dense().tolist()


@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_that_do_not_fit(tmp_path):
    torch = pytest.importorskip("torch")

    class Wrong:
        def __init__(self, *parts):
            self.parts = parts

        def __reduce__(self):
            return torch._utils._rebuild_sparse_tensor, self.parts

    at, values = torch.tensor([[0, 5]]), torch.ones(2)
    large = torch.zeros(1, dtype=torch.int64).expand(1, 2**40)
    for parts, said in (
        ((torch.sparse_coo, (at, values, torch.Size([3]), False)), "place 5 lies outside"),
        ((torch.sparse_coo, (at, values, torch.Size([3]))), "made of tensors and a size"),
        ((torch.sparse_coo, (at, [1.0], torch.Size([9]), False)), "made of tensors and a size"),
        ((torch.sparse_coo, (large, values, torch.Size([9]), False)), "made of tensors and a size"),
        ((torch.sparse_coo, (at.flip(1), values, torch.Size([9]), True)), "repeat or go back"),
        ((torch.sparse_csr, (at[0], at[0], values, torch.Size([1, 9]))), "crow_indices"),
        ((torch.sparse_csc, (at[0], at[0], values, torch.Size([1, 9]))), "torch.sparse_csc"),
        ((torch.strided, (at, values, torch.Size([9]), False)), "has the layout"),
    ):
        torch.save(Wrong(*parts), tmp_path / "x")
        with pytest.raises(ValueError, match=said):
            lucid.load(tmp_path / "x")


def _pickle(*parts):
    """A zip checkpoint with this pickle and a storage of 16 bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"\x80\x02" + b"".join(parts))
        archive.writestr("a/data/0", bytes(range(16)))
        archive.writestr("a/version", "3\n")
    file.seek(0)
    return file


def _storage(kind=b"Float", count=4, location=b"cpu"):
    location = b"X" + len(location).to_bytes(4, "little") + location
    return (
        b"(X\x07\0\0\0storagectorch\n" + kind + b"Storage\nX\x01\0\0\x000" + location
        + b"J" + count.to_bytes(4, "little") + b"tQ"
    )  # fmt: skip


def _tensor(storage, offset=0, shape=(4,), stride=(1,)):
    def numbers(values):
        return b"(" + b"".join(b"L%dL\n" % v for v in values) + b"t"

    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"L%dL\n" % offset + numbers(shape)
        + numbers(stride) + b"\x89ccollections\nOrderedDict\n)RtR."
    )  # fmt: skip


def test_a_pickle_by_hand():
    found = lucid.load(_pickle(_tensor(_storage(b"Int"))))
    assert found.dtype is lucid.int32 and found[0].item() == 0x03020100


def _old(location):
    return _pickle(_tensor(_storage(b"Int", location=location)))


def test_devices_of_the_file():
    with pytest.raises(RuntimeError, match="map_location='cpu'"):
        lucid.load(_old(b"cuda:0"))
    for location in ("cpu", lucid.device("cpu"), {"cuda:0": "cpu"}, lambda storage, name: storage):
        assert lucid.load(_old(b"cuda:0"), location)[1].item() == 0x07060504
    with pytest.raises(RuntimeError, match="cuda:0"):
        lucid.load(_old(b"cuda:0"), lambda storage, name: None)
    with pytest.raises(NotImplementedError, match="map_location function"):
        lucid.load(_old(b"cuda:0"), lambda storage, name: "cpu")
    device = _pickle(b"ctorch\ndevice\n(X\x04\0\0\0cudaK\x00tR.")
    with pytest.raises(ValueError, match="map_location"):
        lucid.load(device)
    device.seek(0)
    assert lucid.load(device, "cpu") == lucid.device("cpu")


HOSTILE = {
    "a call": b"cos\nsystem\nX\x02\0\0\0ls\x85R.",
    "a call of a builtin": b"cbuiltins\neval\nX\x01\0\0\x001\x85R.",
    "an import by name": b"\x8c\x02os\x8c\x06system\x93.",
    "an instance": b"(cos\nsystem\no.",
    "an instruction of protocol 1": b"(ios\nsystem\n.",
    "an extension": b"\x82\x01.",
    "a call of data": b"]K\x01\x85R.",
    "a call of a dtype": b"ctorch\nfloat32\n)R.",
    "a new object": b"cos\nPathLike\n)\x81.",
    "a long string": b"X\xff\xff\xff\xffa.",
    "a long bytes": b"\x8e" + b"\xff" * 8 + b".",
    "a long integer": b"\x8b\xff\xff\xff\x7f1.",
    "a negative length": b"\x8b\xff\xff\xff\xff.",
    "a long frame": b"\x95" + b"\xff" * 8 + b".",
    "bytes of a length": b"cbuiltins\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
    "a memo far away": b"Nr\xff\xff\xff\xff.",
    "a memo that is not there": b"h\x05.",
    "an empty stack": b".",
    "a mark as the value": b"(.",
    "no mark": b"Nt.",
    "a list as a key": b"}]Ns.",
    "an odd number of items": b"}(Nu.",
    "no end": b"N",
    "a state for a list": b"]}b.",
    "attributes of a dict": b"ccollections\nOrderedDict\n)R}X\x05\0\0\0itemsNsb.",
    "an int of many digits": b"L" + b"9" * 100_000 + b"L\n.",
    "nested keys": b"}K\x01\x85" + b"2\x86" * 60 + b"Ns.",
    "a factory": b"ccollections\ndefaultdict\ncbuiltins\neval\n\x85R.",
    "a view beyond": _tensor(_storage(), 1),
    "a stride beyond": _tensor(_storage(), 0, (2,), (4,)),
    "a huge shape": _tensor(_storage(), 0, (2**40, 2**40), (0, 0)),
    "a negative size": _tensor(_storage(), 0, (-1,)),
    "a negative stride": _tensor(_storage(), 3, (4,), (-1,)),
    "a large offset": _tensor(_storage(), 2**70),
    "a wrong rank": _tensor(_storage(), 0, (2, 2), (1,)),
    "a large storage": _tensor(_storage(count=2**30)),
    "an unknown dtype": _tensor(_storage(b"Quint8")),
    "booleans of 2": _tensor(_storage(b"Bool")),
    "many booleans of 2": _tensor(_storage(b"Bool", 3), 2, (2**40,), (0,)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name):
    with pytest.raises(ValueError, match="malformed"):
        lucid.load(_pickle(HOSTILE[name]))


def test_nothing_is_executed(tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    for protocol in range(6):
        data = pickle.dumps(Bomb(), protocol)
        source = unpickle.Source(io.BytesIO(data), len(data))
        with pytest.raises(unpickle.Malformed, match=r"posix.mkdir|nt.mkdir"):
            unpickle.load(source, lucid.io.allowed.find)
        file = _pickle(data)
        with pytest.raises(ValueError, match="never executes"):
            lucid.load(file, weights_only=False)
    assert not (tmp_path / "made").exists()


def test_a_wrong_checksum_is_noticed():
    data = bytearray((GOLDEN / "zip.pt").read_bytes())
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        entry = max(archive.infolist(), key=lambda e: e.file_size if "data/" in e.filename else 0)
    name, extra = struct.unpack("<HH", data[entry.header_offset + 26 : entry.header_offset + 30])
    data[entry.header_offset + 30 + name + extra] ^= 1
    with pytest.raises(ValueError, match="checksum"):
        lucid.load(io.BytesIO(bytes(data)))


def test_compressed_archives_are_refused():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", b"\x80\x02N.")
    file.seek(0)
    with pytest.raises(ValueError, match="compressed"):
        lucid.load(file)


def test_every_protocol_of_pickle():
    value = {"a": [1, 2.5, None, True, (1, 2, 3, 4), "é", b"\0\xff" * 200, 10**30], "b": {1, 2}}
    value["again"] = value["a"]
    for protocol in range(6):
        data = pickle.dumps(value, protocol)
        found = unpickle.load(unpickle.Source(io.BytesIO(data), len(data)), lucid.io.allowed.find)
        assert found == value and found["again"] is found["a"]


def test_shards(tmp_path):
    state = {f"layer.{i}": lucid.full((10,), float(i)) for i in range(5)}
    state["half"] = lucid.ones(4, dtype=lucid.bfloat16)
    paths = lucid.io.save_sharded(state, tmp_path, max_shard_size=100)
    assert [p.name for p in paths[:2]] == [
        "model-00001-of-00003.safetensors", "model-00002-of-00003.safetensors",
    ]  # fmt: skip
    index = json.loads(paths[-1].read_text())
    assert index["metadata"]["total_size"] == 208
    for mmap in (None, True):
        found = lucid.load(tmp_path / "model.safetensors.index.json", mmap=mmap)
        assert list(found) == list(state)
        assert all(found[k].tolist() == state[k].tolist() for k in state)
    assert lucid.io.save_sharded(state, tmp_path / "one") == [tmp_path / "one/model.safetensors"]
    with pytest.raises(ValueError, match="no size"):
        lucid.io.save_sharded(state, tmp_path, max_shard_size="much")
    for table in ({"a": "../x"}, {"a": "/x"}, {"a": ""}, {"a": 1}, []):
        (tmp_path / "bad.index.json").write_text(json.dumps({"weight_map": table}))
        with pytest.raises(ValueError, match="no file name|no index"):
            lucid.load(tmp_path / "bad.index.json")
    index["weight_map"]["lost"] = paths[0].name
    paths[-1].write_text(json.dumps(index))
    with pytest.raises(ValueError, match="lost"):
        lucid.load(paths[-1])


def test_shards_of_pytorch(tmp_path):
    parts = {"a.bin": {"w": lucid.ones(2)}, "b.bin": {"v": lucid.zeros(3)}}
    for name, part in parts.items():
        lucid.save(part, tmp_path / name, format="torch")
    table = {key: name for name, part in parts.items() for key in part}
    path = tmp_path / "pytorch_model.bin.index.json"
    path.write_text(json.dumps({"weight_map": table}))
    assert {k: x.tolist() for k, x in lucid.load(path).items()} == {"w": [1, 1], "v": [0, 0, 0]}


def test_assigning_a_mapped_state(tmp_path):
    path = tmp_path / "m.pt"
    lucid.save(lucid.nn.Linear(3, 2).state_dict(), path, format="torch")
    model = lucid.nn.Linear(3, 2)
    state = lucid.load(path, mmap=True)
    model.load_state_dict(state, assign=True)
    assert isinstance(model.weight, lucid.nn.Parameter) and model.weight.requires_grad
    assert model.weight.data_ptr() == state["weight"].data_ptr()
    y = model(lucid.ones(1, 3)).sum()
    y.backward()
    assert model.weight.grad.shape == (2, 3)


def test_mutated_files_load_or_raise():
    fuzz = pytest.importorskip("fuzz_checkpoints")
    seed = int(np.random.SeedSequence().entropy % 2**32)
    print(f"seed {seed}")
    outcomes = fuzz.run(600, seed, fuzz.seeds())
    assert sum(outcomes.values()) == 600
    assert any(key.endswith("loads") for key in outcomes)


def test_complex_tensors():
    for dtype in (np.complex64, np.complex128):
        x = lucid.tensor(np.array([1 + 2j, -3.5j], dtype))
        for form in ("safetensors", "torch"):
            file = io.BytesIO()
            if form == "safetensors" and dtype is np.complex128:
                with pytest.raises(TypeError, match="x is complex128.*format='torch'"):
                    lucid.save({"x": x}, file)
                continue
            lucid.save({"x": x}, file, format=form)
            file.seek(0)
            found = lucid.load(file)["x"]
            assert found.dtype is x.dtype and found.tolist() == x.tolist()
