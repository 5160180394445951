"""What a mended script has become: before and after, in lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .table import table

if TYPE_CHECKING:
    from modellint.proof.mend import State


def after(first: State, last: State, *, applied: bool) -> Iterator[str]:
    from modellint.proof.comparison import compare

    proof = first.report.proof
    yield proof.summary if proof else "nothing to prove: no finding has a remedy that a re-run can try"
    if not last.made:
        yield "no fix was made: what cures has none" if proof and proof.root else "no fix was made"
        return
    found = compare(first.run, first.report, last.run, last.report)
    yield from table((f"at {found.steps} steps", "before", "after"), found.rows)
    yield from (f"{label}: {', '.join(rules)}" for label, rules in (("gone", found.gone), ("new", found.new)) if rules)
    left = ", ".join(dict.fromkeys(finding.rule for finding in last.left))
    yield f"after it, the probe finds {left or 'nothing'}"
    yield f"{'made' if applied else 'would make'} the {'fixes' if len(last.made) > 1 else 'fix'} of {', '.join(last.made)}"
