from __future__ import annotations

from collections.abc import Iterator

from modellint.core.diagnostic import Diagnostic, Location
from modellint.core.rule import SourceRule
from modellint.source.script import Script


class Looking(SourceRule):
    """Looks for calls of one name."""

    calls = ("step",)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        yield self.at(Location(script.path), "is asked")


def test_a_rule_is_not_asked_of_a_file_without_the_calls_that_it_looks_for() -> None:
    scripts = (
        Script("with.py", called=frozenset({"step", "print"})),
        Script("without.py", called=frozenset({"print"})),
    )
    assert [d.location.path for script in scripts for d in Looking().suspect(script)] == ["with.py"]
    assert "calls" not in Looking().options()
