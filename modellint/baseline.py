"""The findings that were there when modellint was adopted: they are known, only others count."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from .core.diagnostic import Diagnostic, Report
from .core.errors import UsageError
from .core.record import replace
from .report.fingerprint import fingerprints

SCHEMA = "modellint-baseline/1"


def text(report: Report) -> str:
    """The findings as JSON, in an order that makes good diffs; rule and place are for people, the fingerprint counts."""
    findings = zip(report.diagnostics, fingerprints(report.diagnostics), strict=True)
    entries = [{"rule": d.rule, "path": Path(d.location.path or "").as_posix(), "fingerprint": f} for d, f in findings]
    entries.sort(key=lambda entry: (entry["path"], entry["rule"], entry["fingerprint"]))
    return json.dumps({"schema": SCHEMA, "findings": entries}, indent=1) + "\n"


def read(path: Path) -> Counter[str]:
    """The fingerprints of the known findings. Raises UsageError for a file that is no baseline."""
    try:
        entries: list[Any] = json.loads(path.read_bytes())["findings"]
        return Counter(str(entry["fingerprint"]) for entry in entries)
    except OSError as error:
        raise UsageError(f"{path}: no baseline: {error.strerror} (--write-baseline makes one)") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path}: this is no baseline of modellint") from error


def new(report: Report, known: Counter[str]) -> Report:
    """The report without the findings that are known; one that comes twice must be known twice."""
    left = known.copy()
    return replace(report, diagnostics=tuple(_unknown(report, left)))


def _unknown(report: Report, left: Counter[str]) -> list[Diagnostic]:
    found = []
    for finding, fingerprint in zip(report.diagnostics, fingerprints(report.diagnostics), strict=True):
        if left[fingerprint]:
            left[fingerprint] -= 1
        else:
            found.append(finding)
    return found
