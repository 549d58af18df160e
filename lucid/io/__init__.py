"""Reading and writing: `lucid.save` and `lucid.load`.

Called by users; loaded on first use.
"""

from lucid.io.atomic import replace_file
from lucid.io.checkpoint import load, save
from lucid.io.container import save_tensors
from lucid.io.sharded import save_sharded

__all__ = ["load", "replace_file", "save", "save_sharded", "save_tensors"]
