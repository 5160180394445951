"""What `modellint check` says of repositories that others wrote, for a person to judge: docs/precision.md is made of it.

python benchmarks/foreign.py FOLDER... [--notes 10]

Each folder is one repository. Prints every loud finding (certain, at warning or error) with its line of code, every tenth
note, and the rows of the table: repository, rule, findings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNREADABLE = "unreadable-file"  # no finding of a rule
Finding = dict[str, Any]


def findings(folder: Path) -> list[Finding]:
    script = str(Path(sys.executable).with_name("modellint"))  # `-m` would import the folder's own `warnings.py`
    command = (script, "check", "--isolated", "--no-cache", "--output-format", "json", ".")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        raise SystemExit(f"{folder}: {done.stderr}")
    return [d for d in json.loads(done.stdout)["diagnostics"] if d["rule"] != UNREADABLE]


def is_loud(finding: Finding) -> bool:
    return finding["verdict"] == "certain" and finding["severity"] != "note"


def written(folder: Path, finding: Finding) -> str:
    """The line of code; a cell's in a notebook."""
    place = finding["location"]
    text = (folder / place["path"]).read_text(encoding="utf-8", errors="replace")
    if place["path"].endswith(".ipynb"):
        notebook = json.loads(text)
        cells = notebook["cells"] if "cells" in notebook else notebook["worksheets"][0]["cells"]
        cell = cells[int(place["module"].split()[1]) - 1]
        text = "".join(cell.get("source", cell.get("input", "")))
    lines = text.split("\n")
    return lines[place["line"] - 1].strip() if place["line"] and place["line"] <= len(lines) else ""


def told(folder: Path, shown: list[Finding]) -> Iterator[str]:
    for finding in shown:
        place = finding["location"]
        where = f"{folder.name}/{place['path']}{' ' + place['module'] if place['module'] else ''}:{place['line']}"
        yield f"{finding['rule']}  {where}\n    {finding['message']}\n    {written(folder, finding)[:120]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--notes", type=int, default=10, help="one note of so many is shown")
    options = parser.parse_args()
    rows, notes = Counter[tuple[str, str]](), 0
    for folder in options.folders:
        found = findings(folder)
        loud, quiet = [d for d in found if is_loud(d)], [d for d in found if not is_loud(d)]
        rows.update((folder.name, d["rule"]) for d in loud)
        rows[folder.name, ""] += 0
        sampled = [d for number, d in enumerate(quiet, notes) if number % options.notes == options.notes - 1]
        notes += len(quiet)
        print(*told(folder, loud), *(f"note: {line}" for line in told(folder, sampled)), sep="\n", flush=True)
    for (name, rule), number in sorted(rows.items()):
        if number or not any(other == name and n for (other, _), n in rows.items()):
            print(f"| {name} | {rule} | {number} |")
    print(f"{rows.total()} loud findings, {notes} notes")


if __name__ == "__main__":
    main()
