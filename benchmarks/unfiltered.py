"""Every Python file of some folders through all facts and all rules, whether it holds a word of theirs or not.

python benchmarks/unfiltered.py FOLDER... [--limit 20]

Each file alone, not linked with others. What is asked: no exception, no rule that breaks, and no file that takes longer
than the limit (CPU seconds). What cannot be parsed must say where. Prints the slowest files, and how far it is on stderr.
"""

from __future__ import annotations

import argparse
import heapq
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from modellint import pipeline
from modellint.core.config import Settings
from modellint.core.diagnostic import Diagnostic
from modellint.core.rule import Rule
from modellint.source import parse

SHOWN = 5
TOLD = 200  # files


def files(folders: list[Path]) -> Iterator[Path]:
    for folder in folders:
        for root, _, names in os.walk(folder):
            yield from (Path(root, name) for name in sorted(names) if name.endswith(".py"))


def failures(path: Path, rules: tuple[Rule, ...]) -> Iterator[str]:
    try:
        script = parse.script(str(path), path.read_bytes())
        found = list(pipeline.suspicions([script], rules))
    except Exception:
        yield traceback.format_exc(limit=-6)
        return
    yield from (str(f) for f in found if not isinstance(f, Diagnostic))
    if script.problem is not None and not script.problem.message:
        yield "cannot be parsed, and does not say why"


def too_long(number: int, frame: FrameType | None) -> None:
    raise TimeoutError("longer than the limit")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--limit", type=float, default=20.0, help="CPU seconds that one file may take")
    options = parser.parse_args()
    signal.signal(signal.SIGVTALRM, too_long)
    rules, failed, lines, times = pipeline.reading(Settings()), 0, 0, []
    for path in files(options.folders):
        start = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, options.limit)
        for problem in failures(path, rules):
            failed += 1
            print(f"{path}: {problem}", flush=True)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        lines += path.read_bytes().count(b"\n")
        times.append((time.process_time() - start, str(path)))
        if len(times) % TOLD == 0:
            print(f"{len(times):,} files, {sum(t for t, _ in times):.0f} CPU seconds", file=sys.stderr, flush=True)
    print(
        f"{len(times):,} files, {lines:,} lines, {failed} failures, {sum(t for t, _ in times):.0f} CPU seconds; the slowest:"
    )
    for seconds, name in heapq.nlargest(SHOWN, times):
        print(f"  {seconds:6.2f}  {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
