"""Models looked at: `summarize` prints what layers a model has, with shapes and sizes.

Called by users as `lucid.models`; loaded on first use.
"""

from lucid.models.summary import Layer, Summary, describe, summarize

__all__ = ["Layer", "Summary", "describe", "summarize"]
