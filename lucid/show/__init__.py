"""What Lucid shows: the demo and its page, what compiled functions became, and where time goes.

`lucid.explain` and `lucid.profile` stand here; loaded on first use.
"""

from lucid.lazy import exports

__getattr__, __dir__ = exports(__name__, {"machine": "lucid.show.limits"})
