"""Checkpoints in several files with an index, as Hugging Face's libraries write them.

Called by checkpoint.py when it is given an index, and by users: `lucid.io.save_sharded`.
"""

import json
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lucid
from lucid.io.atomic import replace_file
from lucid.io.container import parse_json, save_tensors

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
         "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}  # fmt: skip
MOST_INDEX = 100_000_000


def load_sharded(path: Path, load_one: Callable[[Path], Any]) -> dict[str, Any]:
    """The tensors of all files that the index at `path` names, each file read once."""
    if path.stat().st_size > MOST_INDEX:
        raise ValueError(f"lucid.load: {path} is too long for an index")
    index = parse_json(path.read_bytes())
    table = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(table, dict) or not all(isinstance(x, str) for x in table.values()):
        raise ValueError(f"lucid.load: {path} is no index: it has no weight_map of names")
    found: dict[str, Any] = {}
    for name in dict.fromkeys(table.values()):
        if not name or Path(name).name != name:  # a file beside the index, nowhere else
            raise ValueError(f"lucid.load: {path} refers to {name[:80]!r}, which is no file name")
        part = load_one(path.with_name(name))
        if not isinstance(part, Mapping):
            raise ValueError(f"lucid.load: {path.with_name(name)} holds no tensors by name")
        found.update({key: x for key, x in part.items() if table.get(key) == name})
    missing = [key for key in table if key not in found]
    if missing:
        raise ValueError(f"lucid.load: {path}: the files have no {', '.join(missing[:5])}")
    return {key: found[key] for key in table}


def save_sharded(
    state_dict: Mapping[str, Any],
    directory: str | os.PathLike,
    max_shard_size: int | str = "5GB",
    name: str = "model",
) -> list[Path]:
    """Write tensors by name as safetensors files of up to `max_shard_size`, with an index.

    One file is `model.safetensors`; several are `model-00001-of-00002.safetensors` and so on, with
    `model.safetensors.index.json` beside them, written last. Tensors that share memory are written
    as copies of their own. Returns the paths; `lucid.load` of the index, or of the one file, reads
    them.

    >>> import lucid, tempfile
    >>> state = {"a": lucid.ones(4), "b": lucid.zeros(4)}
    >>> paths = lucid.io.save_sharded(state, tempfile.mkdtemp(), max_shard_size=16)
    >>> [path.name for path in paths][::2]
    ['model-00001-of-00002.safetensors', 'model.safetensors.index.json']
    >>> sorted(lucid.load(paths[-1]))
    ['a', 'b']
    """
    limit = _bytes(max_shard_size)
    shards: list[dict[str, Any]] = [{}]
    sizes = [0]
    for key, x in state_dict.items():
        if not isinstance(key, str) or not isinstance(x, lucid.Tensor):
            raise TypeError(f"save_sharded: {key!r} is a {type(x).__name__}, not a tensor by name")
        size = x.numel() * x.dtype.itemsize
        if shards[-1] and sizes[-1] + size > limit:
            shards.append({})
            sizes.append(0)
        shards[-1][key] = x.detach()
        sizes[-1] += size
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    count = len(shards)
    if count == 1:
        paths = [folder / f"{name}.safetensors"]
    else:
        paths = [folder / f"{name}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    for path, shard in zip(paths, shards, strict=True):
        save_tensors(shard, path)
    if count == 1:
        return paths
    table = {key: path.name for path, shard in zip(paths, shards, strict=True) for key in shard}
    index = {"metadata": {"total_size": sum(sizes)}, "weight_map": table}
    path = folder / f"{name}.safetensors.index.json"
    replace_file(path, lambda file: file.write(json.dumps(index, indent=2).encode()))
    return [*paths, path]


def _bytes(size: int | str) -> int:
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if match is None or match[2].upper() not in UNITS:
        raise ValueError(f"save_sharded: max_shard_size={size!r} is no size, such as '5GB'")
    count = int(float(match[1]) * UNITS[match[2].upper()])
    if count < 1:
        raise ValueError(f"save_sharded: max_shard_size={size!r} is less than a byte")
    return count
