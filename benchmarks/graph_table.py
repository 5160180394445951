"""The results of benchmarks/graph.py as Markdown, with what the rules say: `python benchmarks/graph_table.py FOLDER > TABLE.md`."""

from __future__ import annotations

import json
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from graph_findings import findings, graphs

Result = dict[str, Any]


def main(folder: Path) -> None:
    rows = {row["name"]: row for row in map(json.loads, (folder / "results.jsonl").read_text().splitlines())}
    for name, graph in graphs(folder):  # a model that is being measured has no row yet
        rows.get(name, {})["findings"] = [[each.rule, str(each.level), each.message] for each in findings(graph)]
    print("\n".join(page(list(rows.values()))))


def page(rows: list[Result]) -> Iterator[str]:
    ran = [row for row in rows if row.get("eager") is not None]
    yield from (
        "## Totals",
        "",
        "| library | listed | run eagerly | captured | parameters as autograd |",
        "| --- | --: | --: | --: | --: |",
    )
    for library in [*dict.fromkeys(row["name"].partition("/")[0] for row in rows), ""]:
        own = [row for row in rows if row["name"].startswith(library)]
        alive = [row for row in own if row in ran]
        exact = [row for row in alive if captured(row) and not row["capture"]["differ"]]
        yield f"| {library or 'all'} | {len(own)} | {len(alive)} | {sum(map(captured, alive))} | {len(exact)} |"
    yield from ("", *peers(ran), "", *failures(rows), "", *told(ran), "", *table(rows))


def captured(row: Result) -> bool:
    return bool((row.get("capture") or {}).get("seconds"))


def peers(ran: list[Result]) -> Iterator[str]:
    tried = [row for row in ran if "export" in row]
    both = [row for row in tried if row["export"]["seconds"] and captured(row)]
    traced = [row for row in tried if row["symbolic_trace"]["seconds"]]
    ratios = [row["capture"]["seconds"] / row["export"]["seconds"] for row in both]
    yield from ("## Beside torch.export and torch.fx.symbolic_trace", "")
    yield f"On {len(tried)} of these models all three were run, one after the other in the same process:"
    yield f"capture recorded {sum(map(captured, tried))}, `torch.export.export(strict=False)` {len(both)},"
    yield f"`torch.fx.symbolic_trace` {len(traced)}. Where export worked, capture (with the step that it records, and with"
    yield f"lowering) needed {statistics.median(ratios):.2f} of its CPU time in the median, at most {max(ratios):.2f}."
    reasons = Counter(row["export"]["reason"].partition(":")[0] for row in tried if not row["export"]["seconds"])
    yield f"What export raised: {', '.join(f'{name} ({count})' for name, count in reasons.most_common()) or 'nothing'}."


def failures(rows: list[Result]) -> Iterator[str]:
    yield from ("## Models that do not run eagerly here, or are not captured", "")
    for row in rows:
        if row.get("eager") is None:
            yield f"- {row['name']}: does not run: {row.get('reason') or row.get('stopped')}"
        elif not captured(row):
            yield f"- {row['name']}: **not captured**: {(row.get('capture') or {}).get('reason') or row.get('stopped')}"


def told(ran: list[Result]) -> Iterator[str]:
    loud = [(row["name"], *found) for row in ran for found in row.get("findings", ()) if found[1] != "note"]
    notes = Counter(found[0] for row in ran for found in row.get("findings", ()) if found[1] == "note")
    yield from ("## Findings", "", f"Warnings and errors: {len(loud)}.", "")
    yield from (f"- {name}: {level}[{rule}] {message}" for name, rule, level, message in loud)
    yield from ("", "Notes: " + ", ".join(f"{rule} {count}" for rule, count in notes.most_common()) + ".")


def table(rows: list[Result]) -> Iterator[str]:
    yield from ("## Every model", "", "CPU seconds of one forward and loss, of capture, of its peers.", "")
    yield "| model | step | capture | nodes | export | symbolic_trace | notes |"
    yield "| --- | --: | --: | --: | --: | --- | --- |"
    for row in rows:
        if row.get("eager") is not None:
            own = row.get("capture") or {}
            notes = Counter(found[0] for found in row.get("findings", ()))
            said = ", ".join(f"{rule} {count}" if count > 1 else rule for rule, count in notes.items())
            traced = row.get("symbolic_trace", {})
            yes = "" if not traced else "yes" if traced["seconds"] else "no"
            numbers = f"{row['eager']:.2f} | {number(own)} | {own.get('nodes', '')} | {number(row.get('export'))}"
            name = ": ".join(filter(None, (row["name"], row.get("model"))))
            yield f"| {name} | {numbers} | {yes} | {said} |"


def number(found: Result | None) -> str:
    return "" if found is None else f"{found['seconds']:.2f}" if found.get("seconds") else "fails"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
