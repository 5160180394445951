"""How many faults reading finds that a program writes into training code of others, kind by kind.

python benchmarks/mutants.py FOLDER... [--half held-out] [--sample 25] [--kinds WORD ...] [--missed FOLDER]

Each folder is one repository. A fault is an edit of the text of one file (benchmarks/mutation); it is found when a rule that
names it has a finding that it did not have before: loud (certain, at warning or above) or suspected. The repositories
fall into two halves by the hash of their names: rules are mended by the first only. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path

from mutation import ask, data, evaluation, graphs, losses, models, schedules, steps  # noqa: F401
from mutation.text import FAULTS, Mutant, Source, edited, mutants

from modellint import Diagnostic, Severity, pipeline
from modellint.core.config import Settings
from modellint.source import parse

EDITED, READ = 20, 9  # files of a repository that may be edited; files that are read for one edit
HALVES = ("open", "held-out")
SKIPPED = {"test", "tests", ".git"}
LONGEST = 100_000  # bytes
HINTS = (b".backward(", b"nn.Module)", b"DataLoader(", b"no_grad", b"training_step")


@dataclass(frozen=True)
class Case:
    repository: Path
    path: Path
    mutant: Mutant

    @property
    def text(self) -> bytes | None:
        return edited(self.path.read_bytes(), self.mutant.edits)


def half(repository: Path) -> str:
    return HALVES[_hash(repository.name) % 2]


def _hash(text: str) -> int:
    return int(hashlib.md5(text.encode()).hexdigest(), 16)


def cases(repository: Path) -> Iterator[Case]:
    bound, files = project_losses(repository), list(_hinting(repository))
    for path in sorted(files, key=lambda path: (not _trains(path), _hash(str(path.relative_to(repository)))))[:EDITED]:
        try:
            source = Source(path.read_bytes(), bound)
        except (SyntaxError, ValueError):
            continue
        for mutant in mutants(source):
            yield Case(repository, path, mutant)


def _trains(path: Path) -> bool:
    return b".backward(" in path.read_bytes()


def _hinting(repository: Path) -> Iterator[Path]:
    for path in repository.rglob("*.py"):
        if path.is_file() and not SKIPPED & set(path.relative_to(repository).parts):
            text = path.read_bytes()
            if len(text) < LONGEST and any(hint in text for hint in HINTS):
                yield path


def project_losses(repository: Path) -> dict[str, str]:
    """What `criterion` computes in every file of a repository, where one file says so and none says otherwise."""
    kinds = defaultdict(set)
    for path in repository.rglob("*.py"):
        text = path.read_text(errors="replace") if path.is_file() else ""
        for name, loss in re.findall(r"([\w.]+) = (?:\w+\.)*(\w+Loss)\(", text):
            kinds[name].add(ask.LOSSES.get(loss, ""))
    return {name: kind for name, found in kinds.items() if len(found) == 1 and (kind := next(iter(found)))}


def sampled(repositories: Iterable[Path], most: int, words: list[str]) -> dict[str, list[Case]]:
    """Of each kind so many, from as many repositories as there are."""
    by_kind: dict[str, dict[Path, list[Case]]] = defaultdict(lambda: defaultdict(list))
    for repository in repositories:
        for case in cases(repository):
            if not words or any(word in case.mutant.fault for word in words):
                by_kind[case.mutant.fault][repository].append(case)
    return {kind: list(_spread(by_kind[kind].values(), most)) for kind in FAULTS if kind in by_kind}


def _spread(groups: Iterable[list[Case]], most: int) -> Iterator[Case]:
    ordered = [sorted(group, key=lambda c: _hash(f"{c.path.name}{c.mutant.line}{c.mutant.fault}")) for group in groups]
    ordered.sort(key=lambda group: _hash(group[0].repository.name + group[0].mutant.fault))
    turns = (group[turn] for turn in range(2) for group in ordered if turn < len(group))
    yield from islice((case for case in turns if case.text is not None), most)


@cache
def readers(repository: Path, path: Path) -> tuple[Path, ...]:
    """The file, and those of its repository that name its module or package and may import it, the nearest first."""
    package = {path.parent.name} if (path.parent / "__init__.py").is_file() else set()
    names = "|".join(map(re.escape, ({path.stem} - {"__init__"}) | package))
    name = re.compile(rf"\b(import|from)\b.*\b({names})\b")
    files = (p for p in repository.rglob("*.py") if p.is_file() and p != path and not SKIPPED & set(p.parts))
    naming = (p for p in files if name.search(p.read_text(errors="replace")))
    return (path, *sorted(naming, key=lambda p: -len(Path(os.path.commonpath([p, path])).parts))[: READ - 1])


def loud(finding: Diagnostic) -> bool:
    return finding.verdict.name == "CERTAIN" and finding.severity is not Severity.NOTE


Key = tuple[str, bool, str]


def findings(case: Case, changed: dict[str, bytes]) -> Counter[Key]:
    """What the rules that name the fault say, each finding with its line of code; other lines may have moved."""
    os.chdir(case.repository)
    settings, every = Settings(root=case.repository), pipeline.reading(Settings())
    rules = [rule for rule in every if rule.name in FAULTS[case.mutant.fault][0]]
    scripts = pipeline.read(readers(case.repository, case.path), every, changed)
    report = pipeline.report(list(pipeline.noted_in_tests(scripts, rules, settings)), scripts, None, rules, settings)
    lines = cache(lambda path: (changed.get(path) or Path(path).read_bytes()).decode(errors="replace").split("\n"))
    return Counter(
        (finding.rule, loud(finding), f"{place.path}: {lines(place.path)[(place.line or 1) - 1].strip()}")
        for finding in report.diagnostics
        if (place := finding.location).path
    )


def judged(case: Case) -> str:
    new = findings(case, {os.path.relpath(case.path, case.repository): case.text or b""}) - findings(case, {})
    return "loud" if any(key[1] for key in new) else "suspected" if new else "missed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--half", choices=HALVES)
    parser.add_argument("--sample", type=int, default=25)
    parser.add_argument("--kinds", nargs="*", default=[], help="only kinds whose names hold one of these words")
    parser.add_argument("--missed", type=Path, help="a folder for the edited files that were missed, with their list")
    options = parser.parse_args()
    parse._parsed = cache(parse._parsed)  # the files that are not edited are parsed once
    repositories = [f.resolve() for f in options.folders if f.is_dir() and options.half in (None, half(f))]
    missed = options.missed and options.missed.resolve()
    totals, missing = Counter[str](), []
    print("| fault | written | loud | suspected | missed |\n|---|---|---|---|---|", flush=True)
    for kind, chosen in sampled(repositories, options.sample, options.kinds).items():
        row = Counter[str]()
        for case in chosen:
            verdict = judged(case)
            row[verdict] += 1
            missing += [case] if verdict == "missed" else []
        totals += row
        print(f"| {kind} | {row.total()} | {row['loud']} | {row['suspected']} | {row['missed']} |", flush=True)
    print(f"| all | {totals.total()} | {totals['loud']} | {totals['suspected']} | {totals['missed']} |")
    if missed:
        keep(missed, missing)


def keep(folder: Path, missing: list[Case]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "list.txt").open("w") as listed:
        for number, case in enumerate(missing):
            (folder / f"{number}.py").write_bytes(case.text or b"")
            print(number, case.mutant.fault, f"{case.path}:{case.mutant.line}", sep="  ", file=listed)


if __name__ == "__main__":
    main()
