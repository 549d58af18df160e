"""Graphs of a million Nodes: run and let go of without deep recursion, also on small stacks."""

import gc
import threading
import weakref

import pytest

import lucid
from lucid.autograd import graph_report

# A graph of this size is what the warning about graphs that pile up is for.
pytestmark = pytest.mark.filterwarnings("ignore:about .* Nodes of graphs")


def in_small_thread(work):
    """`work()` in a thread with a stack of 256 KB; what it raised is raised here."""
    raised = []

    def run():
        try:
            work()
        except BaseException as error:
            raised.append(error)

    before = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(before)
    thread.join()
    if raised:
        raise raised[0]


def chain(length, x, y=None):
    """((x * y) * y) ...: every Node keeps what it was given."""
    z = x
    for _ in range(length):
        z = z * y if y is not None else -z
    return z


@pytest.fixture
def no_collector():
    """Without the collector; gives the number of Nodes that others hold, such as test arguments."""
    gc.collect()
    gc.disable()
    yield graph_report().nodes
    gc.enable()


def test_a_million_nodes_are_let_go_in_a_small_thread(no_collector):
    x = lucid.ones(1, requires_grad=True)
    box = [chain(1_000_000, x)]
    node = weakref.ref(box[0].grad_fn)
    first = weakref.ref(chain(1, x).grad_fn)
    assert node() is not None and first() is None
    in_small_thread(box.clear)
    assert node() is None


def test_backward_through_a_hundred_thousand_nodes_in_a_small_thread(no_collector):
    x, y = lucid.ones(1, requires_grad=True), lucid.ones(1)
    y[0] = -1.0
    box = [chain(100_000, x, y)]

    def work():
        box[0].backward()
        box.clear()

    in_small_thread(work)
    assert x.grad.item() == 1.0
    assert graph_report().nodes == no_collector


def test_after_an_exception_inside_backward_the_graph_is_let_go(no_collector):
    x, y = lucid.ones(1, requires_grad=True), lucid.ones(1)
    start = chain(20_000, x, y)

    def fail(g):
        raise ValueError("stop here")

    start.register_hook(fail)
    box = [chain(20_000, start, y)]
    del start

    def work():
        with pytest.raises(ValueError, match="stop here"):
            box[0].backward()
        box.clear()

    in_small_thread(work)
    assert x.grad is None
    assert graph_report().nodes == no_collector


def test_a_deep_chain_of_views_and_writes_is_let_go(no_collector):
    w = lucid.ones(4, requires_grad=True)
    z = w * 1.0
    for _ in range(2_000):
        z[1:3].mul_(1.0)
    box = [z]
    del z

    def work():
        box[0].sum().backward()
        box.clear()

    in_small_thread(work)
    assert w.grad.tolist() == [1.0] * 4
    assert graph_report().nodes == no_collector
