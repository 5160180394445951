"""An identity for each finding that survives edits elsewhere: what CI systems know it by."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

from modellint.core.diagnostic import Diagnostic

from .anchor import in_repository
from .excerpt import excerpt


def fingerprints(findings: Sequence[Diagnostic], path: str | None = None) -> list[str]:
    """For each finding the hash of its rule, its path, the text of its line, and which of several such it is.

    With `path` they are those that the findings would have if their file had that one.
    """
    identities = [_identity(finding, path or finding.location.path) for finding in findings]
    seen: Counter[tuple[str, ...]] = Counter()
    prints = [""] * len(findings)
    for place in sorted(range(len(findings)), key=lambda place: _reading_order(findings[place])):
        identity = identities[place]
        prints[place] = digest(*identity, str(seen[identity]))
        seen[identity] += 1
    return prints


def digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _identity(finding: Diagnostic, path: str | None) -> tuple[str, ...]:
    """Neither line number nor message, which holds measured numbers."""
    line = next(iter(excerpt(finding.location, before=0)), None)
    text = " ".join(line.text.split()) if line else finding.location.module or ""
    return finding.code, in_repository(path) if path else "", text


def _reading_order(finding: Diagnostic) -> tuple[int, int, str]:
    place = finding.location
    return place.line or 0, place.column or 0, place.module or ""
