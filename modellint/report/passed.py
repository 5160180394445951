"""What was checked and found healthy, and what could not be checked, in words."""

from __future__ import annotations

from collections.abc import Iterator

from modellint.core.diagnostic import Passed, Report

from .numbers import number
from .plain_text import one_line


def outcome(check: Passed) -> str:
    """ "0.97 (bound 1)"; empty for a check without a number."""
    value = "" if check.value is None else number(check.value)
    bound = "" if check.bound is None else f"bound {number(check.bound)}"
    return f"{value} ({bound})" if value and bound else value or bound


def reasons(report: Report) -> Iterator[tuple[str, list[str]]]:
    """Each reason once, with the checks that could not be made for it; one for all where the run failed before its first step."""
    if report.problem and report.run and report.run.get("steps") == 0:
        yield "no training step was made, so that nothing could be measured", []
        return
    grouped: dict[str, list[str]] = {}
    for check in report.unchecked:
        grouped.setdefault(one_line(check.reason), []).append(one_line(check.rule or check.check))
    yield from grouped.items()
