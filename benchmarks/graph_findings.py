"""What the rules say of the graphs that benchmarks/graph.py kept: `graph_findings.py FOLDER [--as-own] [--rule NAME]`."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from modellint import Graph, GraphRule
from modellint.core import registry
from modellint.core.diagnostic import Diagnostic
from modellint.core.plain import from_plain
from modellint.correlate import correlate


def graphs(folder: Path, as_own: bool = False) -> Iterator[tuple[str, Graph]]:
    """`as_own`: as if the user had written the installed code, with no allowance for what he cannot mend."""
    kept = folder / "graphs"
    for file in sorted(kept.rglob("*.json.gz")):
        plain = json.loads(gzip.decompress(file.read_bytes()))
        for each in (*plain["nodes"], *plain["parameters"]) if as_own else ():
            each["foreign"] = False
        yield str(file.relative_to(kept)).removesuffix(".json.gz"), from_plain(Graph, plain)


def findings(graph: Graph) -> tuple[Diagnostic, ...]:
    rules = {rule.name: rule for rule in registry.load() if isinstance(rule, GraphRule)}
    found = (each for rule in rules.values() for each in rule.check(graph))
    return correlate((each for each in found if isinstance(each, Diagnostic)), None, rules)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--as-own", action="store_true", help="make no allowance for installed code")
    parser.add_argument("--rule", default="", help="findings of this rule alone, notes too")
    options = parser.parse_args()
    count: Counter[tuple[str, str]] = Counter()
    for name, graph in graphs(options.folder, options.as_own):
        for found in findings(graph):
            count[found.rule, str(found.level)] += 1
            if found.rule == options.rule or (not options.rule and str(found.level) != "note"):
                print(f"{name}: {found.level}[{found.rule}] {found.message}")
    print({f"{level}[{rule}]": number for (rule, level), number in sorted(count.items())})


if __name__ == "__main__":
    main()
