"""Other libraries' names for Lucid: `lucid.compat.torch`, and what `lucid run` uses.

Called by users and by the command line; loaded on first use.
"""

from lucid.lazy import exports

__getattr__, __dir__ = exports(
    __name__,
    {
        "torch": "lucid.compat.torch",
        "install": "lucid.compat.finder",
        "uninstall": "lucid.compat.finder",
    },
)
