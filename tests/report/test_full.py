"""What a person reads at a terminal."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import example_reports as examples
import pytest
from rich.cells import cell_len

from modellint.core.diagnostic import Diagnostic, Evidence, Location, Passed, Problem, Report, Unchecked, Verdict
from modellint.report import render


def full(report: Report, width: int = 100) -> str:
    return render(report, "full", color=False, width=width)


def block(text: str, start: str) -> str:
    """The block of `text` that begins with `start`."""
    return next(part for part in text.split("\n\n") if part.startswith(start))


def place_of(location: Location) -> str:
    return full(Report((replace(examples.LARGE_RATE, location=location),)))


def test_header_names_level_code_and_rule_and_ends_in_the_verdict():
    header = block(full(examples.AUDIT), "error[ML140").splitlines()[0]
    assert header.startswith("error[ML140 large-learning-rate] Adam with a learning rate of 1.5  ")
    assert header.endswith("  confirmed")
    assert len(header) == 100


def test_the_place_is_shown_and_underlined():
    lines = block(full(examples.AUDIT), "error[ML140").splitlines()
    assert lines[1] == "    --> train.py:16:17"
    assert lines[3] == "  15 | def train(model, loader, steps=10):"
    assert lines[4] == "  16 |     optimizer = torch.optim.Adam(model.parameters(), lr=1.5)"
    start = lines[4].index("torch.optim")
    assert lines[5] == "     |".ljust(start) + "^" * len("torch.optim.Adam(model.parameters(), lr=1.5)")


def test_measured_numbers_have_their_course_range_and_bound():
    cause = block(full(examples.AUDIT, 120), "warning[ML201")
    assert (
        "= measured: root mean square of the features at the readout  ▁▁▃▅█  18 .. 4,310, above 10 in 5 of 5" in cause
    )
    assert "normalization layers between the last two weight layers: 0, below 1" in cause


def test_a_symptom_is_folded_under_its_first_cause_with_its_own_numbers():
    text = full(examples.AUDIT, 120)
    assert not re.search(r"^\w+\[ML30[29]", text, re.MULTILINE)
    cause = block(text, "warning[ML201")
    assert "= explains: 3 symptoms" in cause
    assert (
        "- exploding-gradients (error): the gradient of the readout explodes  train.py:12:16 (module readout)" in cause
    )
    assert "0.45 .. 103,109, above 100 in 7 of 10 steps" in cause
    assert "distinct predictions: 3 of 10" in cause
    assert "train.py:12:29 (module representation)" in cause


def test_a_symptom_of_a_symptom_hangs_below_it():
    lines = full(examples.AUDIT).splitlines()
    outer, inner = (
        next(line for line in lines if f"- {name} " in line)
        for name in ("exploding-gradients", "collapsed-predictions")
    )
    assert lines.index(outer) < lines.index(inner)
    assert inner.index("- ") == outer.index("- ") + 2


def test_a_second_cause_points_to_what_is_listed_elsewhere():
    assert "= explains: exploding-gradients (shown under another cause)" in block(full(examples.AUDIT), "warning[ML308")


def test_fix_and_proof():
    cause = block(full(examples.AUDIT, 120), "warning[ML201")
    assert "= fix:      put `nn.LayerNorm(128)` between the representation and the readout" in cause
    assert "= proven:   10 steps again with the fix" in cause


def test_what_is_not_convicted_comes_last_as_a_note_and_shorter():
    text = full(examples.AUDIT)
    assert text.index("note[ML199") > text.index("warning[ML317")
    assert block(text, "note[ML199").splitlines()[0].endswith("suspected")
    assert "train(model" not in block(text, "note[ML199")
    assert block(text, "note[ML306").splitlines()[0].endswith("not observed")
    assert "loss.backward()" not in block(text, "note[ML306")


def test_what_works_lists_every_check_with_its_number():
    works = block(full(examples.HEALTHY), "What works").splitlines()
    assert works[1:] == [
        "  ✓ features differ between the samples of a batch  3.2 (bound 0)",
        "  ✓ logits are not identical                        38 (bound 0.05)",
        "  ✓ parameters that receive a gradient              6 of 6",
        "  ✓ accuracy rose within the probe                  0 % .. 40 %",
    ]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_long_check_does_not_run_into_its_number(width):
    long = "the scale of the features suits the readout (standard deviation)"
    works = block(full(Report(passed=(Passed(long, 0.999), *examples.PASSED)), width), "What works")
    assert re.search(r"\)(  +|\n +)0\.999$", works, re.MULTILINE)
    columns = {
        line.index(value) for line in works.splitlines() for value in ("3.2 (", "38 (", "6 of 6") if value in line
    }
    assert len(columns) == 1


def test_not_checked_names_each_reason_once():
    missing = block(full(examples.AUDIT), "Not checked").splitlines()
    assert missing[1] == "  · needs a gradient scaler: loss-scale-skips, scaler-bypassed"
    nameless = Report(unchecked=(Unchecked("the learning rate falls", "needs 100 steps"),))
    assert "needs 100 steps: the learning rate falls" in full(nameless)


def test_a_run_without_a_step_has_one_line_for_all_that_was_not_measured():
    unchecked = (Unchecked("non-finite", "needs a step"), Unchecked("clip", "needs a clip"))
    failed = Report(unchecked=unchecked, run={"steps": 0}, problem=Problem("no such file", Location(), ""))
    assert block(full(failed), "Not checked").splitlines()[1:] == [
        "  · no training step was made, so that nothing could be measured"
    ]
    assert "needs a clip: clip" in full(replace(failed, problem=None))


def test_closing_line_counts_levels_causes_and_symptoms():
    closing = full(examples.AUDIT).splitlines()[-2]
    assert closing == "3 errors, 4 warnings, 2 notes (4 causes, 3 symptoms); 10 steps of train.py in 6.1 s"


def test_without_findings_the_report_is_short_and_says_what_was_checked():
    text = full(examples.HEALTHY)
    assert text.splitlines()[-1] == "No findings of 1 rule; 10 steps of train.py in 6.1 s"
    assert full(examples.EMPTY) == "No findings\n"


def test_a_problem_is_shown_with_the_users_line_and_the_end_of_the_output():
    text = full(examples.BROKEN)
    problem = block(text, "error: the script raised ValueError")
    assert "--> train.py:19:16" in problem
    assert "loss = nn.functional.cross_entropy(model(features), labels)" in problem
    assert "ValueError: Expected" in problem.splitlines()[-1]
    assert "3 of 10 steps of train.py" in text
    assert "did not come to its end" in text


def test_a_check_says_how_to_measure_what_it_suspects():
    assert "`modellint probe train.py`" in full(examples.CHECKED)
    assert "modellint probe" not in full(examples.AUDIT)


@pytest.mark.parametrize(("seed", "width"), [*itertools.product(range(15), (40, 80, 120))])
def test_no_line_is_wider_than_the_terminal(seed, width):
    for text in (full(examples.random_report(seed), width), full(examples.AUDIT, width)):
        assert max(cell_len(line) for line in text.splitlines()) <= width
        assert not any(line.endswith(" ") for line in text.splitlines())


def test_the_width_comes_from_columns_within_reason(monkeypatch):
    def widest() -> int:
        return max(len(line) for line in render(examples.AUDIT, "full").splitlines())

    for columns, expected in (("80", 80), ("500", 120), ("3", 40)):
        monkeypatch.setenv("COLUMNS", columns)
        assert widest() == expected
    monkeypatch.delenv("COLUMNS")
    assert widest() == 100


@pytest.mark.parametrize(
    ("environment", "terminal", "colored"),
    [
        ({}, False, False),
        ({}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
    ],
)
def test_colour_follows_the_environment(environment, terminal, colored, monkeypatch):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    text = render(examples.AUDIT, "full", width=100)
    assert ("\x1b[" in text) == colored
    assert re.sub(r"\x1b\[[\d;]*m", "", text) == full(examples.AUDIT)


def test_what_is_not_convicted_is_faint():
    header = next(
        line for line in render(examples.AUDIT, "full", color=True, width=100).splitlines() if "missing-warm-up" in line
    )
    assert "\x1b[2m" in header
    assert "\x1b[1" not in header


def test_tabs_in_the_source_do_not_move_the_mark():
    Path("tabs.py").write_text("if True:\n\tx =\tclip(model)\n")
    lines = place_of(Location("tabs.py", 2, 6, 2, 17)).splitlines()
    shown = next(place for place, line in enumerate(lines) if "clip(" in line)
    assert "\t" not in lines[shown]
    assert lines[shown + 1].index("^") == lines[shown].index("clip")
    assert lines[shown + 1].count("^") == len("clip(model)")


def test_wide_characters_do_not_move_the_mark():
    Path("训练.py").write_text("损失 = 交叉(模型) + clip(norm)\n", encoding="utf-8")
    lines = place_of(Location("训练.py", 1, 15, 1, 25)).splitlines()
    assert "    --> 训练.py:1:15" in lines
    shown = next(place for place, line in enumerate(lines) if "clip(" in line)
    before = lines[shown].partition("clip")[0]
    assert lines[shown + 1].index("^") == cell_len(before)


@pytest.mark.parametrize(
    "location", [Location("gone.py", 3, 1), Location("train.py", 900, 1), Location("train.py", 0), Location(".", 1, 1)]
)
def test_a_file_or_line_that_is_gone_is_no_error(location):
    text = place_of(location)
    assert f"--> {location.path}:{location.line}" in text
    assert "^" not in text


def test_a_file_that_changed_is_read_again():
    Path("changing.py").write_text("old = 1\n")
    assert "old = 1" in place_of(Location("changing.py", 1, 1))
    Path("changing.py").write_text("new_and_longer = 1\n")
    assert "new_and_longer = 1" in place_of(Location("changing.py", 1, 1))


def test_a_file_elsewhere_on_the_import_path_is_not_taken_for_the_users():
    assert "^" not in place_of(Location("json/decoder.py", 1, 1))


def test_a_place_of_many_lines_is_cut_short():
    assert place_of(Location("train.py", 5, 1, 24, 1)).count("\n  ") < 12


def test_a_place_far_to_the_right_is_in_sight():
    Path("long.py").write_text("x = [" + "1, " * 200 + "clip(model)]\n")
    text = full(Report((replace(examples.LARGE_RATE, location=Location("long.py", 1, 606, 1, 617)),)), 80)
    shown, mark = text.splitlines()[3:5]
    assert mark.index("^") == shown.index("clip(model)")


def test_a_module_without_a_file():
    assert "--> module encoder.layers.0" in place_of(Location(module="encoder.layers.0"))
    assert "-->" not in place_of(Location())


def test_huge_and_broken_series_stay_on_one_line():
    nothing = float("nan")
    evidence = Evidence("norm", nothing, 1.0, series=(*map(float, range(100_000)), nothing, None))
    text = full(Report((replace(examples.LARGE_RATE, evidence=(evidence,)),)), 120)
    measured = next(line for line in text.splitlines() if "█" in line)
    assert "█!  nan" in measured
    assert "nan (0 .. 99,999), bound 1, not finite in 1 of 100,002 steps" in measured


def test_a_measured_symptom_is_not_hidden_under_a_suspicion():
    suspicion = replace(examples.CLIP, verdict=Verdict.SUSPECTED)
    symptom = Diagnostic(**{**_fields(examples.EXPLODING_BODY), "causes": ("clip-never-binds",)})
    assert "error[ML302 exploding-gradients]" in full(Report((suspicion, symptom)))


def _fields(diagnostic: Diagnostic) -> dict[str, object]:
    return {name: getattr(diagnostic, name) for name in Diagnostic.__dataclass_fields__}


def test_the_hint_names_the_first_cause_not_a_symptom():
    assert "`modellint explain readout-without-norm`" in full(Report((examples.EXPLODING_BODY, examples.WITHOUT_NORM)))
