"""`lucid.explain` and `lucid.profile`: what they report of a program that is known."""

import json
import shutil

import pytest

import lucid
from lucid import nn
from lucid.nn import functional as F


def step_of(m, opt):
    def step(x, t):
        opt.zero_grad()
        loss = F.cross_entropy(m(x), t)
        loss.backward()
        opt.step()
        return loss

    return step


@pytest.fixture(scope="module")
def report():
    lucid.manual_seed(0)
    m = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
    step = step_of(m, lucid.optim.Adam(m.parameters()))
    return lucid.explain(step, lucid.randn(8, 12), lucid.randint(0, 4, (8,)))


def test_the_report_names_kernels_and_lines(report):
    products = [k for k in report.kernels if k.name.startswith("gemm")]
    assert len(products) == 5  # forward 2, backward 3
    assert products[0].name == "gemm_relu" and "epilogue where(le(arg.0" in products[0].text
    assert products[0].flops == 2 * 8 * 12 * 16
    assert products[0].bytes == 4 * (8 * 12 + 12 * 16 + 8 * 16 + 16)
    assert any("test_explain.py" in line for k in report.kernels for line in k.lines)
    assert all(k.seconds > 0 for k in report.kernels)
    text = str(report)
    assert "gemm" in text and "of the limit" in text and "GFLOP/s" in text


def test_the_time_is_summed_up_by_family(report):
    found = {f.name: f for f in report.families()}
    assert set(found) == {"matrix products", "optimizers", "reductions", "elementwise"}
    assert found["matrix products"].kernels == 5
    assert sum(f.kernels for f in found.values()) == len(report.kernels)
    assert sum(f.seconds for f in found.values()) == pytest.approx(report.seconds)
    assert sum(f.share for f in found.values()) == pytest.approx(1.0)
    times = [f.seconds for f in report.families()]
    assert times == sorted(times, reverse=True)
    assert "time by kernel family" in str(report) and "matrix products" in str(report)


FAMILIES = {
    "convolutions": lambda x: F.conv2d(x, x[:, :, :3, :3]),
    "pooling": lambda x: F.max_pool2d(x, 2),
    "reductions": lambda x: (x * 2).softmax(-1),
    "elementwise": lambda x: (x * 2).sin(),
    "copies": lambda x: x.transpose(2, 3).contiguous(),
    "random numbers": lambda x: F.dropout(x, 0.5),
    "control flow": lambda x: lucid.cond(x.sum() > 0, lambda: x + 1, lambda: x),
    "sorting, scans and others": lambda x: x.sort().values,
}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_its_kernels(name):
    report = lucid.explain(FAMILIES[name], lucid.randn(2, 2, 8, 8))
    assert name in {f.name for f in report.families()}


def test_pooling_backward_is_pooling():
    def f(x):
        return lucid.autograd.grad(F.max_pool2d(x, 2).sum(), x)

    x = lucid.randn(1, 2, 8, 8, requires_grad=True)
    names = [k.family for k in lucid.explain(f, x).kernels]
    assert "pooling" in names and "sorting, scans and others" not in names


@pytest.mark.parametrize("fullgraph", [True, False])
def test_steps_of_optimizers_are_a_family(fullgraph):
    layer = nn.Linear(64, 64)
    optimizer = lucid.optim.AdamW(layer.parameters())

    def step(x):
        optimizer.zero_grad()
        loss = layer(x).square().mean()
        loss.backward()
        if not fullgraph and loss.item() < 0:  # which a graph cannot ask
            return None
        optimizer.step()
        return loss

    compiled = lucid.compile(step, fullgraph=fullgraph)
    report = lucid.explain(compiled, lucid.ones(8, 64))
    found = {f.name: f.kernels for f in report.families()}
    assert found["optimizers"] and found["matrix products"] and found["elementwise"]


def test_the_memory_plan_is_near_its_lower_bound(report):
    assert report.least <= report.arena
    for b in report.blocks:
        assert 0 <= b.offset and b.first <= b.last < len(report.kernels)
    for i, a in enumerate(report.blocks):
        for b in report.blocks[:i]:
            if a.first <= b.last and b.first <= a.last:
                assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset


def test_the_graph_is_shown_before_and_after(report):
    assert report.before.count(" = ") > report.after.count(" = ")
    assert "affine(" in report.before


def test_the_page_stands_alone(report, tmp_path):
    path = tmp_path / "report.html"
    report.html(str(path))
    page = path.read_text()
    assert page.count("<details>") >= len(report.kernels)
    assert "<script" not in page and "http" not in page


@pytest.mark.skipif(not shutil.which("chromium"), reason="chromium is not installed")
def test_the_page_in_a_browser(report, tmp_path):
    selenium = pytest.importorskip("selenium.webdriver")
    path = tmp_path / "report.html"
    report.html(str(path))
    options = selenium.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for option in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(option)
    service = selenium.ChromeService(executable_path=shutil.which("chromedriver"))
    browser = selenium.Chrome(options=options, service=service)
    try:
        browser.get(path.as_uri())
        rows = browser.find_elements("css selector", "#kernels tr")
        assert len(rows) == len(report.kernels) + 1
        bars = browser.find_elements("css selector", "#times rect")
        assert len(browser.find_elements("css selector", "#families tr")) == (
            len(report.families()) + 1
        )
        assert len(bars) == len(report.kernels)
        last = bars[-1].rect
        assert last["x"] + last["width"] <= browser.find_element("id", "times").rect["width"] + 200
        hidden = browser.find_element("id", "after")
        assert not hidden.is_displayed()
        hidden.find_element("xpath", "..").find_element("tag name", "summary").click()
        assert hidden.is_displayed() and "affine(" in hidden.text
        assert not browser.get_log("browser")
    finally:
        browser.quit()


def test_a_second_plan_is_said_why():
    scale = [2.0]

    def f(x):
        return x * scale[0]

    compiled = lucid.compile(f)
    compiled(lucid.ones(3))
    scale[0] = 3.0
    report = lucid.explain(compiled, lucid.ones(3))
    assert report.traces == 2 and "2.0" in report.reasons[0]


def test_profile_of_eager_and_compiled_code(tmp_path):
    f = lucid.compile(lambda x: (x * 2 + 1).relu())
    x = lucid.ones(100)
    f(x)
    with lucid.profile() as p:
        x.exp()
        x.add_(1)
        f(x)
    assert len(p.events) == 3 and "exp" in p.events[0].name
    assert all("test_explain.py" in e.line for e in p.events)
    path = tmp_path / "trace.json"
    p.export(str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert [e["ph"] for e in events] == ["X"] * 3 and events[0]["ts"] == 0
    assert "calls" in str(p)
    x.exp()
    assert len(p.events) == 3


def test_the_machine_has_limits():
    m = lucid.show.machine()
    assert m.flops > 1e9 and m.bandwidth > 1e8 and m is lucid.show.machine()
