"""Caches of plans: bounded, and emptied together when what plans are made for changes.

apply.py, write.py and the tracer keep theirs here; `set_num_threads` empties them.
"""

MOST_PLANS = 8192

_caches: list[dict] = []


def kept_plans(cache: dict) -> dict:
    """The cache, which `clear_plans` empties from now on."""
    _caches.append(cache)
    return cache


def clear_plans() -> None:
    """Forget every plan: after the number of threads or the target has changed."""
    for cache in _caches:
        cache.clear()


def trim(cache: dict) -> None:
    """Drop the older half of a full cache."""
    if len(cache) >= MOST_PLANS:
        for old in list(cache)[: MOST_PLANS // 2]:
            cache.pop(old, None)
