from __future__ import annotations

import html.parser
import math
from dataclasses import replace

import pytest
from example_reports import AUDIT, BROKEN, CHECKED, EMPTY, HEALTHY

from modellint.core.diagnostic import Location, Report
from modellint.core.plain import to_plain
from modellint.core.proof import Effect, Proof, Spread, Trial
from modellint.graph.graph import Graph
from modellint.measure.cast import Optimizer, Parameter
from modellint.measure.quantities import Distribution, Features
from modellint.measure.run import Run
from modellint.measure.step import Step
from modellint.report import render
from modellint.report.page.classes import histogram
from modellint.report.page.curve import curve, curves
from modellint.report.page.heatmap import MOST_ROWS, gradients, updates
from modellint.report.page.scale import Scale
from modellint.report.page.way import way

VOID = {"meta", "link", "line", "rect", "circle", "polyline", "br"}


class Balanced(html.parser.HTMLParser):
    """Raises AssertionError for a tag that is closed out of turn; keeps the ids, the links and the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.ids += [value or "" for name, value in attrs if name == "id"]
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(text: str) -> Balanced:
    page = Balanced()
    page.feed(text)
    assert page.open == []
    return page


def step(index: int, scale: float = 1.0, clipped: float | None = None) -> Step:
    norms = {"body.weight": 3.0 * scale, "body.bias": 4.0 * scale, "readout.weight": 0.5 * scale}
    return Step(
        index=index,
        loss=2.0 / (index + 1),
        class_loss=2.0 / (index + 1),
        predictions=(0, 0, 2),
        labels=(0, 1, 2),
        features=Features(3, 8, Distribution(std=0.5), rank=2.0),
        gradients=norms,
        gradients_at_step={name: norm * (clipped or 1.0) for name, norm in norms.items()},
        updates={"body.weight": 0.01, "body.bias": None, "readout.weight": 0.02},
    )


PARAMETERS = tuple(Parameter(name, module=name.partition(".")[0]) for name in step(0).gradients)
RUN = Run(
    steps=(step(0), step(1, 10.0), step(2, 1000.0)),
    parameters=PARAMETERS,
    optimizers=(Optimizer("Adam"),),
    classes=3,
)


CURED = Trial("learning rate / 10", (), ("large-learning-rate",), Effect.CURED, "", Spread(0.1, 0.1, 0.2), (4.0, 0.1))
PROOF = Proof(
    50,
    3,
    0.0,
    found=Trial(loss=Spread(9.0, 9.0, 9.0), losses=(4.0, 9.0)),
    trials=(CURED,),
    summary="only a lower rate cures",
)
GRAPH = to_plain(
    Graph.of("input x", "linear body", "norm n", "activation relu", "linear readout", "loss cross_entropy")
)


PAGES: dict[str, tuple[Report, Run | None]] = {
    "audit": (AUDIT, RUN),
    "healthy": (HEALTHY, RUN),
    "broken": (BROKEN, replace(RUN, steps=(step(0), replace(step(1), loss=math.nan)))),
    "proven": (replace(AUDIT, proof=PROOF), replace(RUN, graph=GRAPH)),
    "reading": (CHECKED, None),
    "empty": (EMPTY, None),
}


@pytest.mark.parametrize("name", PAGES)
def test_each_report_is_a_whole_page(name: str) -> None:
    report, run = PAGES[name]
    page = parsed(render(report, "html", run=run))
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert [link for link in page.links if not link.startswith(("#", "data:"))] == []
    assert "script" not in page.tags


def test_what_the_user_wrote_means_nothing_in_the_page() -> None:
    finding = replace(AUDIT.diagnostics[0], message="<script>alert(1)</script> & `<b>`", fix="\x1b[31mred")
    text = render(replace(AUDIT, diagnostics=(finding,)), "html")
    assert "<script>" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; <code>&lt;b&gt;</code>" in text
    assert "\x1b" not in text


def test_a_page_of_a_long_run_of_a_large_model_stays_small() -> None:
    names = [f"layers.{layer}.{part}.weight" for layer in range(100) for part in ("query", "key", "value", "out")]
    steps = tuple(Step(index=i, loss=1.0, gradients=dict.fromkeys(names, 0.1 * (i + 1))) for i in range(200))
    run = Run(steps, tuple(Parameter(n, module=n.removesuffix(".weight")) for n in names), (Optimizer(),))
    text = render(AUDIT, "html", run=run)
    assert len(text.encode()) < 1_000_000
    (chart,) = gradients(run, 0)
    assert len(chart.rows) <= MOST_ROWS
    assert chart.rows[0][0] == "layers.0.query .. layers.2.key"
    assert chart.rows[0][1][-1].text == "63.2"


def test_gradients_are_joined_by_module_and_shown_again_where_the_clip_changed_them() -> None:
    before, after = gradients(replace(RUN, steps=(step(0, 2.0, clipped=0.1),)), 0)
    assert [(name, cells[0].text) for name, cells in before.rows] == [("body", "10"), ("readout", "1")]
    assert [(name, cells[0].text) for name, cells in after.rows] == [("body", "1"), ("readout", "0.1")]
    assert len(gradients(RUN, 0)) == 1


def test_what_is_not_finite_is_marked_and_what_was_not_measured_is_empty() -> None:
    bad = replace(step(1), gradients={"body.weight": math.nan, "body.bias": 1.0, "readout.weight": None})
    rows = dict(gradients(replace(RUN, steps=(step(0), bad)), 0)[0].rows)
    assert (rows["body"][1].text, rows["body"][1].tint) == ("nan", "bad")
    assert (rows["readout"][1].text, rows["readout"][1].tint) == ("not measured", "")


def test_the_way_to_the_loss_names_the_readout_and_what_was_found_there() -> None:
    drawn = way(replace(RUN, graph=GRAPH), [("readout-without-norm", Location(module="readout"))])
    assert drawn is not None
    assert [(stop.name, stop.kind) for stop in drawn.stops] == [
        ("x", ""),
        ("body", ""),
        ("n", "norm"),
        ("relu", ""),
        ("readout", "readout"),
        ("cross_entropy", "loss"),
    ]
    assert drawn.stops[4].rules == ("readout-without-norm",)
    assert way(Run(), []) is None


def test_only_the_last_part_of_a_long_way_is_drawn() -> None:
    graph = Graph.of("input x", *(f"linear l{index}" for index in range(40)), "loss mse")
    drawn = way(replace(RUN, graph=to_plain(graph)), [])
    assert drawn is not None
    assert (len(drawn.stops), drawn.before) == (16, 26)


def test_the_proof_is_a_table_with_the_loss_of_each_trial() -> None:
    page = render(PAGES["proven"][0], "html", run=RUN)
    parsed(page)
    assert "Only a lower rate cures." in page
    assert page.count("<figcaption>Loss ") == 2
    assert '<tr class="cured">' in page


def test_updates_take_the_largest_of_a_module() -> None:
    (chart,) = updates(RUN, 0)
    assert {name: cells[0].text for name, cells in chart.rows} == {"body": "0.01", "readout": "0.02"}


def test_curves_show_what_was_measured() -> None:
    titles = [chart.title for chart in curves(RUN, 0)]
    assert titles[:2] == ["Loss", "Accuracy in the batch"]
    assert "Learning rate" not in titles
    assert next(curves(RUN, 0)).bound_text == "guessing, ln C"


def test_a_curve_is_cut_where_a_number_is_missing_or_not_finite() -> None:
    chart = curve("loss", range(5), [1.0, 2.0, None, math.inf, 3.0])
    assert [len(part) for part in chart.parts] == [2, 1]
    assert chart.breaks == (450.0,)


def test_the_most_frequent_classes_are_drawn() -> None:
    bars = histogram(RUN)
    assert bars is not None
    assert bars.table == ((0, 6, 3), (1, 0, 3), (2, 3, 3))
    assert histogram(Run()) is None


@pytest.mark.parametrize(
    ("numbers", "logarithmic", "ends"),
    [([1.0, 5000.0], True, (1.0, 5000.0)), ([2.0, 3.0], False, (0.0, 3.0)), ([-1.0, 3.0], False, (-1.0, 3.0))],
)
def test_a_scale_fits_its_numbers(numbers: list[float | None], logarithmic: bool, ends: tuple[float, float]) -> None:
    scale = Scale.of(numbers)
    assert scale is not None
    assert (scale.logarithmic, (scale.low, scale.high)) == (logarithmic, ends)
    assert all(-1e-9 <= place <= 1 + 1e-9 for place, _ in scale.ticks())
    assert 2 <= len(list(scale.ticks())) <= 6


@pytest.mark.parametrize("numbers", [[5e-324, 1e308], [0.0], [1e308, -1e308], [3.0, 3.0]])
def test_extreme_numbers_have_a_place(numbers: list[float | None]) -> None:
    scale = Scale.of(numbers)
    assert scale is not None
    assert all(0 <= scale.place(n) <= 1 for n in numbers if n is not None)
