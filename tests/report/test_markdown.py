"""The audit as Markdown, read back with a CommonMark parser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import example_reports as examples
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from modellint.core.diagnostic import Evidence, Location, Passed, Report
from modellint.report import render
from modellint.report.markup import code, prose

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def audit(report: Report) -> str:
    return render(report, "markdown")


def headings(text: str) -> list[str]:
    tokens = PARSER.parse(text)
    return [shown(tokens[place + 1]) for place, token in enumerate(tokens) if token.type == "heading_open"]


def shown(token: Token) -> str:
    """What a reader sees of an inline token."""
    return "".join(child.content for child in token.children or ())


def inline(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield from token.children or ()


def test_sections_in_the_order_of_an_audit():
    assert headings(audit(examples.AUDIT)) == [
        "Training audit: train.py",
        "1. Adam with a learning rate of 1.5",
        "2. Nothing normalizes the features before the readout self.readout",
        "3. clip_grad_norm_ is called and never shortens a gradient",
        "4. The classes are imbalanced: the most frequent one is 31 % of the labels, 22 of 50 never occur",
        "Suspected or not observed",
        "What works",
        "Not checked",
        "The run",
    ]


def test_a_cause_has_issue_finding_impact_root_cause_fix_and_proof():
    text = audit(examples.AUDIT)
    section = text.partition("## 2. ")[2].partition("## 3. ")[0]
    parts = ("**Issue.**", "**Finding.**", "**Impact.**", "**Root cause**", "**Recommended fix.**", "**Proof.**")
    places = [section.index(part) for part in parts]
    assert places == sorted(places)
    assert "```python\ndef forward(self, features):\n    return self.readout" in section
    assert "1. Put `nn.LayerNorm(128)` between the representation and the readout" in section
    assert "2. If `exploding-gradients` stays: normalize before the readout" in section


def test_symptoms_stand_below_their_root_cause_with_their_numbers():
    section = audit(examples.AUDIT).partition("**Root cause**")[2].partition("**Recommended")[0]
    assert "- `exploding-gradients` at `train.py:12:16 (module readout)`" in section
    assert "0.45 .. 103,109, above 100 in 7 of 10 steps" in section
    assert "  - `collapsed-predictions` at `train.py:19:16`" in section
    assert "distinct predictions: 3 of 10" in section


def test_what_works_and_the_facts_of_the_run():
    text = audit(examples.AUDIT)
    assert "- parameters that receive a gradient: 6 of 6" in text
    assert "| command | `python train.py --lr 1.5` |" in text
    assert "| environment | python 3.11.2, torch 2.13.0, device cpu |" in text


def test_a_healthy_run_is_short():
    text = audit(examples.HEALTHY)
    assert "**No findings of 1 rule** from 10 steps of train.py in 6.1 s." in text
    assert headings(text) == ["Training audit: train.py", "What works", "The run"]
    assert audit(examples.EMPTY) == "# Training audit\n\n**No findings**.\n"


def test_a_probe_that_broke_says_so_first():
    text = audit(examples.BROKEN)
    assert text.index("did not come to its end") < text.index("## 1.")
    assert "ValueError: Expected" in text


@pytest.mark.parametrize(
    "text",
    [
        "*a* _b_ **c** ~~d~~ ~e~",
        "<script>alert(1)</script> &amp; <b>",
        "[link](http://example.org) ![image](x)",
        "snake_case and __init__ and *args",
        "1. not a list",
        "# not a heading",
        "- not a list",
        "> not a quote",
        r"back\slash \* and \`",
        "a lone ` backtick",
        "a | b",
    ],
)
def test_prose_shows_what_it_says_and_means_nothing(text):
    tokens = [token for token in PARSER.parse(prose(text)) if token.type not in ("paragraph_open", "paragraph_close")]
    assert [token.type for token in tokens] == ["inline"]
    assert {child.type for child in tokens[0].children or ()} <= {"text", "text_special"}
    assert shown(tokens[0]) == text


def test_nobody_is_notified_and_no_issue_is_linked():
    assert prose("(@torch.no_grad) of #12 and `@code #1`") == "(@&#8203;torch.no_grad) of #&#8203;12 and `@code #1`"
    untouched = "a @ b, me@example.org, https://example.org/@me/1#12, step # 3, C#"
    assert prose(untouched) == untouched
    assert "@&#8203;everyone" in audit(examples.with_message("ask @everyone"))


@pytest.mark.parametrize("text", ["plain", "a`b", "``", "`", "a ``b`` c", "*x*", "<b>"])
def test_code_cannot_be_left(text):
    (token,) = [child for child in inline(code(text)) if child.type == "code_inline"]
    assert token.content == text


def test_a_bar_does_not_break_the_table():
    evidence = Evidence("size of `a|b` | c", 1.0, 2.0)
    text = audit(Report((replace(examples.LARGE_RATE, evidence=(evidence,)),)))
    cells = [token for token in PARSER.parse(text) if token.type == "td_open"]
    assert len(cells) == 3
    assert any(child.content == "a|b" for child in inline(text))


def test_source_that_holds_a_fence_stays_inside_its_block(tmp_path):
    (tmp_path / "fence.py").write_text('x = """\n```\n# heading\n"""\n')
    text = audit(Report((replace(examples.LARGE_RATE, location=Location("fence.py", 1, 5, 4, 4)),)))
    assert headings(text) == ["Training audit", "1. Adam with a learning rate of 1.5"]


@pytest.mark.parametrize("seed", range(30))
def test_no_text_of_the_user_becomes_markup(seed):
    tokens = PARSER.parse(audit(examples.random_report(seed)))
    kinds = {token.type for token in tokens} | {child.type for token in tokens for child in token.children or ()}
    assert not kinds & {"html_block", "html_inline", "link_open", "image", "em_open", "s_open", "hr"}


def test_a_check_without_a_number():
    assert "- logits differ\n" in audit(Report(passed=(Passed("logits differ"),)))


def test_a_fix_that_cause_and_symptom_share_is_said_once():
    symptom = replace(examples.EXPLODING_READOUT, fix=examples.WITHOUT_NORM.fix)
    text = audit(Report((examples.WITHOUT_NORM, symptom)))
    assert text.count("nn.LayerNorm(128)") == 1
    assert "stays" not in text
