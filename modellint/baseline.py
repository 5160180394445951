"""The findings that were there when modellint was adopted: they are known, only others count."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from .core.diagnostic import Diagnostic, Report
from .core.errors import UsageError
from .core.record import dataclass, field, replace
from .report.fingerprint import fingerprints

SCHEMA = "modellint-baseline/1"


def text(report: Report) -> str:
    """The findings as JSON, in an order that makes good diffs; rule and place are for people, the fingerprint counts."""
    findings = zip(report.diagnostics, fingerprints(report.diagnostics), strict=True)
    entries = [{"rule": d.rule, "path": Path(d.location.path or "").as_posix(), "fingerprint": f} for d, f in findings]
    entries.sort(key=lambda entry: (entry["path"], entry["rule"], entry["fingerprint"]))
    return json.dumps({"schema": SCHEMA, "findings": entries}, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Known:
    """The fingerprints of known findings, and the files of some that are not there any more: deleted or renamed."""

    prints: Counter[str] = field(default_factory=Counter)
    gone: tuple[str, ...] = ()


def read(path: Path) -> Known:
    """Raises UsageError for a file that is no baseline."""
    try:
        entries: list[Any] = json.loads(path.read_bytes())["findings"]
        files = dict.fromkeys(str(entry.get("path") or "") for entry in entries)
        prints = Counter(str(entry["fingerprint"]) for entry in entries)
    except OSError as error:
        raise UsageError(f"{path}: no baseline: {error.strerror} (--write-baseline makes one)") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path}: this is no baseline of modellint; --write-baseline makes one") from error
    return Known(prints, tuple(file for file in files if file and not os.path.exists(file)))


def new(report: Report, known: Known) -> Report:
    """The report without the findings that are known; one that comes twice must be known twice."""
    left, silent = known.prints.copy(), set[int]()
    by_file = defaultdict[str | None, list[Diagnostic]](list)
    for finding in report.diagnostics:
        by_file[finding.location.path].append(finding)
    for path in (None, *known.gone):  # as it is called now, then as what was renamed was called
        for found in by_file.values():
            for finding, fingerprint in zip(found, fingerprints(found, path), strict=True):
                if left[fingerprint] and id(finding) not in silent:
                    left[fingerprint] -= 1
                    silent.add(id(finding))
    return replace(report, diagnostics=tuple(d for d in report.diagnostics if id(d) not in silent))
