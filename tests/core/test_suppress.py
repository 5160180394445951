from __future__ import annotations

import pytest

from modellint.core import suppress
from modellint.core.diagnostic import Diagnostic, Location, Severity


def finding(line: int, end: int | None = None, rule: str = "clip-after-step", code: str = "ML104") -> Diagnostic:
    return Diagnostic(rule, code, Severity.ERROR, "m", Location("t.py", line, 1, end or line, 2))


def remaining(text: str, *findings: Diagnostic, judged: tuple[str, ...] = ("clip-after-step", "ML104")) -> list[str]:
    return [d.rule for d in suppress.apply(findings, suppress.ignores("t.py", text), judged)]


@pytest.mark.parametrize(
    "comment",
    [
        "# modellint: ignore[clip-after-step] known",
        "# modellint:ignore[ML104]",
        "# modellint: ignore",
        "# modellint: ignore[x, ML104]",
    ],
)
def test_a_comment_silences_its_line(comment: str) -> None:
    assert remaining(f"clip()  {comment}\n", finding(1)) == []


def test_a_comment_on_its_own_line_covers_the_next_statement() -> None:
    assert remaining("# modellint: ignore[ML104]\n\nclip()\nclip()\n", finding(3), finding(4)) == ["clip-after-step"]


def test_a_comment_inside_a_statement_of_several_lines_covers_it() -> None:
    assert remaining("clip(\n  a,  # modellint: ignore[ML104]\n)\n", finding(1, end=3)) == []


def test_other_rules_and_other_files_stay() -> None:
    text = "clip()  # modellint: ignore[other]\n"
    assert remaining(text, finding(1)) == ["clip-after-step"]
    assert not any(mark.silences(finding(1)) for mark in suppress.ignores("u.py", "x  # modellint: ignore[ML104]\n"))


def test_a_string_is_not_a_comment() -> None:
    assert remaining("clip('# modellint: ignore[ML104]')\n", finding(1)) == ["clip-after-step"]


def test_an_unused_ignore_is_reported_where_its_rule_was_run() -> None:
    text = "x = 1  # modellint: ignore[ML104]\ny = 2  # modellint: ignore[exploding-gradients]\n"
    assert remaining(text) == ["unused-ignore"]
    assert remaining(text, judged=("exploding-gradients", "ML104", "clip-after-step")) == ["unused-ignore"] * 2


def test_a_text_that_does_not_tokenize_keeps_its_findings() -> None:
    assert remaining("clip()  # modellint: ignore[other]\n(((\n", finding(1)) == ["clip-after-step"]


def test_a_comment_behind_another_comment_silences() -> None:
    assert remaining("clip()  # as in the paper  # modellint: ignore[ML104]\n", finding(1)) == []


def test_a_name_that_no_rule_has_is_reported() -> None:
    marks = suppress.ignores("t.py", "clip()  # modellint: ignore[clip-after-stp, ML104]\n")
    (note,) = suppress.apply([finding(1)], marks, ["clip-after-step", "ML104"], ["clip-after-stp"])
    assert (note.rule, note.location.line) == ("unused-ignore", 1)
    assert "clip-after-stp" in note.message
