"""Passes: what is made simpler in a program's graph before it is planned, bits unchanged.

compiler/runner.py calls `improve`. Each pass is a file here and a name in PASSES;
`LUCID_PASSES=-same,-assemble` leaves some out. Fusion, memory and order come later, in lower.py.
batch_norm.py changes bits: it is no part of this, and runs only where it is asked for.
"""

from lucid.config import settings
from lucid.graph import Graph
from lucid.plan.passes.assemble import assemble
from lucid.plan.passes.identity import identity
from lucid.plan.passes.same import same

PASSES = {
    "identity": identity,  # copies and views that change nothing
    "same": same,  # what is computed twice is computed once
    "assemble": assemble,  # sums of parts that do not overlap are copied into their places
}


LATER = ("in_order", "epilogues", "bands", "regions")  # compiler/planned.py runs these


def left_out() -> set[str]:
    """The passes that are not to run."""
    off = {name.strip().lstrip("-") for name in settings.passes.split(",") if name.strip()}
    unknown = sorted(off - PASSES.keys() - set(LATER))
    if unknown:
        raise ValueError(
            f"LUCID_PASSES={settings.passes!r}: there is no {', '.join(unknown)}; passes are "
            f"{', '.join((*PASSES, *LATER))}"
        )
    return off


def improve(graph: Graph) -> Graph:
    """The graph after all passes, without what leads to no output."""
    off = left_out()
    for name, run in PASSES.items():
        if name not in off:
            run(graph.pruned())
    return graph.pruned()
