"""Transformations of functions: `vmap` maps one over a batch."""

from lucid.func.vmap import vmap

__all__ = ["vmap"]
