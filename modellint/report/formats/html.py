"""One offline page: the findings, charts of what was measured, what works, and the run; no script, no request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from modellint.core.diagnostic import Report

if TYPE_CHECKING:
    from modellint.measure.run import Run


def render(report: Report, *, run: Run | None = None, **_: Any) -> str:
    """`run` is what the report was made of: without it there are no charts."""
    from modellint.report.page import template, view

    return template.fill("page.html.jinja", view.of(report, run))
