"""lucid.save and lucid.load: everything comes back, files are replaced whole, bad files raise."""

import io
import json
import math
import os
import random
import stat
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

import lucid
from lucid.io import container

EVERY_DTYPE = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64"
]  # fmt: skip


def round_trip(value):
    file = io.BytesIO()
    lucid.save(value, file)
    file.seek(0)
    return lucid.load(file)


def same(x, y):
    return (
        x.dtype == y.dtype
        and tuple(x.shape) == tuple(y.shape)
        and np.array_equal(x.detach().numpy(), y.detach().numpy())
    )


@pytest.mark.parametrize("name", EVERY_DTYPE)
def test_dtypes(name):
    x = lucid.from_numpy(np.array([[0, 1, 3], [100, 5, 7]])).to(getattr(lucid, name))
    assert same(round_trip({"x": x})["x"], x)
    scalar = x[1, 0]
    assert same(round_trip(scalar), scalar)
    empty = x[:0]
    assert same(round_trip([empty])[0], empty)


def test_special_values_survive():
    x = np.array([math.nan, math.inf, -math.inf, -0.0, 1e-45], np.float32)
    assert round_trip(lucid.from_numpy(x)).numpy().tobytes() == x.tobytes()


def test_nested_structure():
    value = {
        "step": 3, "big": 10**40, "rate": 0.1, "flag": True, "none": None, "name": "naïve \0 text",
        "list": [1, [2, (3, ())], {}], 5: "int key", (1, "a"): "tuple key", "$": "dollar",
        "infinite": math.inf, "raw": b"\x00\xff", "z": 1 + 2j, "dtype": lucid.float32,
    }  # fmt: skip
    back = round_trip(value)
    assert back == value and list(map(repr, back)) == list(map(repr, value))
    assert type(back["flag"]) is bool and type(back["list"][1][1]) is tuple
    assert math.isnan(round_trip(math.nan))
    ordered = round_trip(OrderedDict(b=1, a=2))
    assert type(ordered) is OrderedDict and list(ordered) == ["b", "a"]
    arrays = round_trip({"a": np.arange(6).reshape(2, 3), "s": np.float64(2.5)})
    assert isinstance(arrays["a"], np.ndarray) and arrays["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(arrays["s"]) is np.float64 and arrays["s"] == 2.5


def test_views_store_what_they_show():
    x = lucid.from_numpy(np.arange(10_000, dtype=np.float32).reshape(100, 100))
    for view in (x.t(), x[3], x[:, 2], x[::7, 5:9], x[0, 0]):
        file = io.BytesIO()
        lucid.save(view, file)
        assert len(file.getvalue()) < 1000 + 4 * view.numel()
        file.seek(0)
        assert same(lucid.load(file), view)
    expanded = lucid.ones(1, 3).expand(4, 3)
    assert same(round_trip(expanded), expanded)


def test_tied_tensors_are_stored_once_and_tied_again():
    w = lucid.from_numpy(np.arange(4096, dtype=np.float32))
    file = io.BytesIO()
    lucid.save({"embedding": w, "head": w, "detached": w.detach()}, file)
    assert len(file.getvalue()) < 4096 * 4 + 1000
    file.seek(0)
    back = lucid.load(file)
    with lucid.no_grad():
        back["embedding"][0] = 42.0
    assert back["head"][0].item() == 42.0 and back["detached"][0].item() == 42.0
    assert same(back["head"][1:], w[1:])


def test_overlapping_views_share_memory_again():
    x = lucid.from_numpy(np.arange(12, dtype=np.float32).reshape(3, 4))
    back = round_trip({"x": x, "transposed": x.t(), "row": x[1], "corner": x[1:, 1::2]})
    for name, view in {"x": x, "transposed": x.t(), "row": x[1], "corner": x[1:, 1::2]}.items():
        assert same(back[name], view), name
    back["x"][1, 1] = -1.0
    assert back["transposed"][1, 1].item() == -1.0
    assert back["row"][1].item() == -1.0 and back["corner"][0, 0].item() == -1.0


def test_requires_grad_and_parameters_come_back():
    back = round_trip({"w": lucid.ones(2, requires_grad=True), "x": lucid.ones(2)})
    assert back["w"].requires_grad and back["w"].is_leaf and not back["x"].requires_grad
    parameter = lucid.nn.Parameter(lucid.ones(3))
    frozen = lucid.nn.Parameter(lucid.ones(3), requires_grad=False)
    back = round_trip({"p": parameter, "f": frozen, "again": parameter})
    assert isinstance(back["p"], lucid.nn.Parameter) and back["p"].requires_grad
    assert isinstance(back["f"], lucid.nn.Parameter) and not back["f"].requires_grad
    assert back["again"] is back["p"]


def test_state_dict_of_a_model_with_tied_weights():
    model = lucid.nn.Sequential(lucid.nn.Linear(3, 3), lucid.nn.ReLU(), lucid.nn.Linear(3, 3))
    model[2].weight = model[0].weight
    back = round_trip(model.state_dict())
    assert list(back) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    other = lucid.nn.Sequential(lucid.nn.Linear(3, 3), lucid.nn.ReLU(), lucid.nn.Linear(3, 3))
    other.load_state_dict(back)
    assert same(other[2].weight, model[0].weight) and same(other[0].bias, model[0].bias)


def test_works_from_any_grad_mode():
    with lucid.no_grad():
        assert round_trip({"w": lucid.ones(2, requires_grad=True)})["w"].requires_grad


Pair = namedtuple("Pair", "a b")


def cyclic():
    value = [1]
    value.append(value)
    return value


def deep():
    value = 0
    for _ in range(300):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ({"a": [object()]}, TypeError, r"a\.0 is a object"),
        ({"f": print}, TypeError, "f is a builtin_function"),
        (cyclic(), ValueError, "contains itself"),
        (deep(), ValueError, "nested more than"),
        (Pair(1, 2), TypeError, "named tuple"),
        (np.array(["s"]), TypeError, "NumPy array of"),
        ({1, 2}, TypeError, "set"),
    ],
)
def test_what_cannot_be_saved_is_named_and_nothing_written(tmp_path, value, error, message):
    with pytest.raises(error, match=message):
        lucid.save(value, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_saving_a_module_names_state_dict(tmp_path):
    with pytest.raises(TypeError, match="state_dict"):
        lucid.save(lucid.nn.Linear(1, 1), tmp_path / "x")


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    lucid.save({"v": 1}, path)
    os.chmod(path, 0o640)
    lucid.save({"v": 2}, path)
    assert lucid.load(path) == {"v": 2} and stat.S_IMODE(path.stat().st_mode) == 0o640

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        lucid.save({"v": 3}, path)
    assert lucid.load(path) == {"v": 2} and os.listdir(tmp_path) == [path.name]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "file")
    lucid.save(1, link)
    assert link.is_symlink() and lucid.load(tmp_path / "real" / "file") == 1


def test_other_programs_read_and_write_the_same_format(tmp_path):
    library = pytest.importorskip("safetensors.numpy")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    lucid.save({"a": {"b": lucid.from_numpy(x)}}, tmp_path / "ours")
    found = library.load_file(tmp_path / "ours")
    assert list(found) == ["a.b"] and np.array_equal(found["a.b"], x)
    library.save_file({"w": x, "n": np.arange(3)}, tmp_path / "theirs")
    back = lucid.load(tmp_path / "theirs", map_location="cpu")
    assert np.array_equal(back["w"].numpy(), x) and back["n"].tolist() == [0, 1, 2]


def test_pickles_are_refused_by_name(tmp_path):
    import pickle

    for name, content in {"a pickle": pickle.dumps({}), "a zip": b"PK\x03\x04" + bytes(40)}.items():
        path = tmp_path / "x.pt"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=name):
            lucid.load(path)
    with pytest.raises(TypeError, match="weights_only"):
        lucid.load(path, weights_only="yes")


def sample_file():
    x = lucid.from_numpy(np.arange(12, dtype=np.float32).reshape(3, 4))
    value = {"x": x, "t": x.t(), "n": [1, (2.5, None)], "w": lucid.ones(2, requires_grad=True)}
    file = io.BytesIO()
    lucid.save(value | {"b": b"raw", "d": lucid.float32, 3: math.inf}, file)
    return file.getvalue()


def load_or_value_error(content):
    try:
        lucid.load(io.BytesIO(content))
    except ValueError as error:
        assert "malformed" in str(error) or "expected safetensors" in str(error), error


def test_random_damage_raises_value_error_or_nothing():
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when the test fails
    source, good = random.Random(seed), sample_file()
    for _ in range(400):
        damaged = bytearray(good)
        for _ in range(source.choice((1, 1, 2, 8))):
            kind = source.randrange(4)
            at = source.randrange(max(1, len(damaged)))
            if kind == 0 and damaged:
                damaged[at] = source.randrange(256)
            elif kind == 1:
                del damaged[at : at + source.randrange(1, 40)]
            elif kind == 2:
                damaged[at:at] = source.randbytes(source.randrange(1, 40))
            elif damaged:
                damaged[at] ^= 1 << source.randrange(8)
        load_or_value_error(bytes(damaged))


def test_damage_to_the_structure_raises_value_error_or_nothing():
    """Replaces single values in the header and the structure: the damage that parsers let by."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    source, good = random.Random(seed), sample_file()
    length = int.from_bytes(good[:8], "little")
    data = good[8 + length :]
    values = [
        None, True, -1, 0, 1, 2**70, 1.5, "", "x", "tensor", "tuple", "dict", "F32", "BF16", [],
        [1], [0, 2**60], {}, {"$": "tensor"}, {"$": "tensor", "name": "x"}, [[[]]],
    ]  # fmt: skip

    def mutate(node):
        places = []

        def collect(node):
            for key, child in node.items() if isinstance(node, dict) else enumerate(node):
                places.append((node, key))
                if isinstance(child, dict | list):
                    collect(child)

        collect(node)
        container, key = source.choice(places)
        if source.random() < 0.2:
            del container[key]
        else:
            container[key] = source.choice(values)

    for _ in range(400):
        header = json.loads(good[8 : 8 + length])
        tree = json.loads(header["__metadata__"]["lucid.structure"])
        mutate(tree if source.random() < 0.7 else header)
        if isinstance(header.get("__metadata__"), dict):
            header["__metadata__"]["lucid.structure"] = json.dumps(tree)
        text = json.dumps(header).encode()
        load_or_value_error(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(
    "text",
    [b"[" * 100_000, b"{}" * 3, b'{"a":1,"a":2}', b'{"__metadata__":{"lucid.structure":"%s"}}'
     % (b"[" * 50_000), b"\xff\xfe", b'{"__metadata__":{"lucid.structure":"NaN"}}'],
    ids=["deep", "twice", "duplicate", "deep structure", "encoding", "nan"],
)  # fmt: skip
def test_hostile_headers(text):
    content = len(text).to_bytes(8, "little") + text
    with pytest.raises(ValueError, match="malformed"):
        lucid.load(io.BytesIO(content))


GOOD_VIEW = {"dtype": "float32", "shape": [2, 2], "stride": [2, 1], "offset": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offset": 1}, "reaches beyond its 16 bytes"),
        ({"stride": [3, 1]}, "reaches beyond"),
        ({"shape": [2**40, 2]}, "reaches beyond"),
        ({"stride": [2]}, "malformed view"),
        ({"offset": -1}, "malformed view"),
        ({"offset": None}, "malformed view"),
        ({"dtype": "int64"}, "does not fit"),
        ({"dtype": "float31"}, "malformed view"),
    ],
)
def test_a_view_never_leaves_its_memory(change, message):
    def content(view):
        tree = {"$": "tensor", "name": "x", **view}
        file = io.BytesIO()
        arrays = {"x": np.arange(4, dtype=np.float32)}
        container.write(file, arrays, {"lucid.structure": json.dumps(tree)})
        file.seek(0)
        return file

    assert lucid.load(content(GOOD_VIEW)).tolist() == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match=message):
        lucid.load(content(GOOD_VIEW | change))


def test_bytes_after_the_last_array_are_refused():
    with pytest.raises(ValueError, match="not fully covered"):
        lucid.load(io.BytesIO(sample_file() + b"\0"))
