"""What would be read, and with which settings."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from modellint import pipeline
from modellint.core.config import Settings
from modellint.core.diagnostic import Report
from modellint.core.errors import UsageError
from modellint.core.plain import to_plain
from modellint.report.numbers import count
from modellint.unit import Unit

COUNTED = ("full", "concise", "json")  # the formats in which counts can be shown


def files(units: Iterable[Unit]) -> str:
    return "".join(f"{path}\n" for unit in units for path in unit.files)


def settings(units: Iterable[Unit]) -> str:
    """Of each project, in TOML."""
    return "\n".join("".join(f"{line}\n" for line in _settings(unit)) for unit in units)


def _settings(unit: Unit) -> Iterator[str]:
    for level in unit.settings.lineage:
        yield f"# {'extends ' if level is not unit.settings else ''}{_origin(level)}"
        plain: dict[str, Any] = to_plain(level)
        yield from (
            f"{name.replace('_', '-')} = {_toml(value)}"
            for name, value in plain.items()
            if name not in ("root", "extended") and value
        )
    asked = ", ".join(rule.name for rule in pipeline.reading(unit.settings))
    yield f"# {count(len(unit.files), 'file')}; rules that read: {asked}"


def _origin(level: Settings) -> Path:
    file = level.root / "pyproject.toml"
    return file if file.is_file() else level.root


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{json.dumps(key)} = {_toml(item)}' for key, item in value.items())} }}"
    return json.dumps(value)


def statistics(report: Report, style: str) -> str:
    """How often each rule was found, the most frequent first. Raises UsageError for a style that has no counts."""
    if style not in COUNTED:
        raise UsageError(f"--statistics goes with --output-format {', '.join(COUNTED[:-1])} or {COUNTED[-1]}")
    counts = Counter((finding.code, finding.rule, str(finding.level)) for finding in report.diagnostics)
    rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
    if style == "json":
        plain = [{"code": code, "rule": rule, "severity": level, "count": n} for (code, rule, level), n in rows]
        return json.dumps(plain, indent=2) + "\n"
    return "".join(f"{count:>6}  {code:<6} {rule} ({level})\n" for (code, rule, level), count in rows)
