"""The whole data flow on one screen: scripts, graph and run in; rules over each; verdicts; a Report out."""

from __future__ import annotations

import fnmatch
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from . import elsewhere
from .core import own, registry, suite, suppress
from .core.config import Settings
from .core.diagnostic import Diagnostic, Location, Passed, Problem, Report, Severity, Unchecked, Verdict
from .core.effort import limited
from .core.errors import UsageError
from .core.plain import from_plain, to_plain
from .core.record import replace
from .core.rule import GraphRule, Rule, RuntimeRule
from .correlate import correlate, in_reading_order

if TYPE_CHECKING:
    from .measure.run import Run
    from .source.script import Script

Facts = TypeVar("Facts")
Found = Diagnostic | Passed | Unchecked


def check(paths: Sequence[Path], settings: Settings, edited: Mapping[str, bytes] = MappingProxyType({})) -> Report:
    """Read the scripts and report what reading finds. Nothing is executed.

    `edited` holds what some files (by the path that is shown) contain instead of what is on the disk.
    Raises UsageError for a setting that cannot be read.
    """
    return checked(paths, settings, edited)[0]


def checked(
    paths: Sequence[Path], settings: Settings, edited: Mapping[str, bytes] = MappingProxyType({})
) -> tuple[Report, frozenset[str]]:
    """The report, and the other files, there or not, that it depends on."""
    from .source.concern import concerned

    rules = reading(settings)
    scripts = read(paths, rules, edited)
    used = frozenset[str]().union(*(script.used for script in scripts))
    asked = concerned(rules, [*paths, *map(Path, used)], edited)
    found = noted_in_tests(scripts, asked, settings)
    return report(list(found), scripts, None, rules, settings), used


def judge(run: Run, settings: Settings, *, source: bool = True) -> Report:
    """Hold everything that a probe recorded, and the source files that it executed, against the rules."""
    rules = chosen(settings)
    there = [
        Path(name) for name in run.files if Path(name).is_file()
    ]  # some are made for one run, in a temporary folder
    scripts = read(there, rules) if source else []
    found = [*suspicions(scripts, rules), *structure(run, rules), *measurements(run, rules)]
    return report(found, scripts, run, rules, settings)


def together(reports: Sequence[Report]) -> Report:
    """One report of several, such as the sources and each target of one `check`."""
    if len(reports) == 1:
        return reports[0]
    runs = [r.run for r in reports if r.run]
    return Report(
        diagnostics=in_reading_order(d for r in reports for d in r.diagnostics),
        passed=tuple(p for r in reports for p in r.passed),
        unchecked=tuple(u for r in reports for u in r.unchecked),
        run=runs[0] if runs else None,
        settings=reports[0].settings,
        problem=next((r.problem for r in reports if r.problem), None),
    )


def known(settings: Settings) -> tuple[Rule, ...]:
    return registry.load(settings.rule_files, settings.rules)


def chosen(settings: Settings) -> tuple[Rule, ...]:
    return select(known(settings), settings)


def select(rules: Iterable[Rule], settings: Settings) -> tuple[Rule, ...]:
    """Raises UsageError for a rule that the settings name and that is none."""
    everything = tuple(rules)
    for level in settings.lineage:
        for name in {name for names in level.per_file_ignores.values() for name in names}:
            try:
                registry.matching(name, (*everything, *own.OWN))
            except UsageError as error:
                place = f"{level.root / 'pyproject.toml'}: [tool.modellint.per-file-ignores]"
                raise UsageError(f"{place} {error}") from error
    return registry.select(everything, settings.select, settings.ignore, settings.extend_select)


def reading(settings: Settings) -> tuple[Rule, ...]:
    """The chosen rules that read source; others are only loaded where the settings name what these do not know."""
    try:
        return tuple(readers(select(registry.reading(settings.rule_files, settings.rules), settings)))
    except UsageError:
        return tuple(readers(chosen(settings)))


def readers(rules: Iterable[Rule]) -> list[Rule]:
    return [rule for rule in rules if rule.reads]


def read(
    paths: Iterable[Path], rules: Iterable[Rule], edited: Mapping[str, bytes] = MappingProxyType({})
) -> list[Script]:
    """The scripts among `paths` that a rule may have something to say of."""
    from .source import parse
    from .source.words import Words

    words = [rule.words for rule in readers(rules)]
    wanted = Words(word for alternatives in words for word in alternatives) if all(words) else None
    return list(parse.read(paths, wanted, edited))


def suspicions(scripts: Iterable[Script], rules: Sequence[Rule]) -> Iterator[Found]:
    """What the rules that read source say of the scripts."""
    for script in scripts:
        yield from (unreadable(problem) for problem in (script.problem, *script.broken) if problem is not None)
        for rule in readers(rules):
            for found in guarded(rule, rule.suspect, script):
                yield from fixable(rule, found, script) if isinstance(found, Diagnostic) else (found,)


def noted_in_tests(scripts: Iterable[Script], rules: Sequence[Rule], settings: Settings) -> Iterator[Found]:
    """The same; the faults of a test suite are notes, and what is only suspected in a test is not told."""
    for script in scripts:
        is_test = suite.holds(script.path, script.imports.values(), settings.root)
        for found in suspicions([script], rules):
            if is_test and isinstance(found, Diagnostic) and found.rule not in own.NAMES:
                if found.verdict is Verdict.SUSPECTED and suite.tests(script.imports.values()):
                    continue
                found = replace(found, severity=Severity.NOTE)
            yield found


def fixable(rule: Rule, finding: Diagnostic, script: Script) -> Iterator[Found]:
    """The finding with what `--fix` would do, in the file of the finding."""
    try:
        made = rule.fix(finding, script)
        beyond = made is not None and any(place.path != finding.location.path for place in made.places)
        yield replace(finding, rewrite=None if beyond else made)
    except Exception as error:
        yield finding
        yield Unchecked(rule.summary(), f"no fix: {type(error).__name__}: {error}", rule.name)


def structure(run: Run, rules: Iterable[Rule]) -> Iterator[Found]:
    """What the graph rules say of the recorded graph."""
    from .graph.graph import Graph

    graph = None if run.graph is None else from_plain(Graph, run.graph)
    for rule in (rule for rule in rules if isinstance(rule, GraphRule)):
        if graph is None:
            yield Unchecked(rule.summary(), "no graph of a training step was recorded", rule.name)
        else:
            yield from guarded(rule, rule.check, graph)


def measurements(run: Run, rules: Iterable[Rule]) -> Iterator[Found]:
    """What the runtime rules say of the run, and for each check that could not be made what it needs."""
    for rule in (rule for rule in rules if isinstance(rule, RuntimeRule)):
        if run.invented and rule.of_data:
            yield rule.unchecked("the data were invented")
            continue
        found = list(guarded(rule, rule.check, run))
        yield from found or [Unchecked(rule.summary(), f"needs {rule.needs}", rule.name)]


def guarded(rule: Rule, check: Callable[[Facts], Iterable[Found]], facts: Facts) -> Iterator[Found]:
    """The rule's findings; a rule that breaks is a check that could not be made, not a traceback."""
    try:
        with limited():
            yield from check(facts)
    except Exception as error:
        yield Unchecked(rule.summary(), f"the rule {rule.name} failed: {type(error).__name__}: {error}", rule.name)


def unreadable(problem: Problem) -> Diagnostic:
    return Diagnostic(
        rule="unreadable-file",
        code="ML000",
        severity=Severity.ERROR,
        message=problem.message,
        location=problem.location,
        verdict=Verdict.CERTAIN,
        help="The file (of a notebook: the cell) cannot be parsed, so nothing in it was checked.",
    )


def report(
    found: Sequence[Found], scripts: Iterable[Script], run: Run | None, rules: Sequence[Rule], settings: Settings
) -> Report:
    diagnostics = correlate((f for f in found if isinstance(f, Diagnostic)), run, {rule.name: rule for rule in rules})
    return Report(
        diagnostics=in_reading_order(heeded(diagnostics, scripts, rules, settings, probed=run is not None)),
        passed=tuple(f for f in found if isinstance(f, Passed)),
        unchecked=tuple(f for f in found if isinstance(f, Unchecked)),
        run=summary(run) if run else None,
        settings={"rules": [rule.name for rule in rules], "root": str(settings.root)},
        problem=run.problem if run else None,
    )


def heeded(
    found: Iterable[Diagnostic], scripts: Iterable[Script], rules: Iterable[Rule], settings: Settings, *, probed: bool
) -> tuple[Diagnostic, ...]:
    """The findings that neither a comment in their file nor `per-file-ignores` silences."""
    scripts = list(scripts)
    if not probed:
        found = elsewhere.heeded(found, {script.path for script in scripts}, settings)
    judged = [n for rule in rules if probed or rule.only_reads for n in (rule.name, rule.code)]
    marks = [mark for script in scripts for mark in script.ignores]
    named = {name for mark in marks for name in mark.rules}
    kept = suppress.apply(
        found, marks, judged, registry.strangers(named.difference(judged, own.NAMES), settings.rule_files)
    )
    loud = tuple(
        d for d in kept if not (_is_ours_and_ignored(d, settings) or _ignored_in_file(d.location, d, settings))
    )
    if not any(d.location.in_notebook for d in loud):
        return loud
    from .source import notebook

    return tuple(notebook.placed(loud))


def _is_ours_and_ignored(finding: Diagnostic, settings: Settings) -> bool:
    return finding.rule in own.NAMES and any(_names(selector, finding) for selector in settings.ignore)


def _names(selector: str, finding: Diagnostic) -> bool:
    return finding.rule == selector or finding.code.startswith(selector)


def _ignored_in_file(place: Location, finding: Diagnostic, settings: Settings) -> bool:
    if place.path is None:
        return False
    full = Path(place.path).resolve()
    return any(
        _names(name, finding)
        for level in settings.lineage
        for glob, names in level.per_file_ignores.items()
        if fnmatch.fnmatch(os.path.relpath(full, level.root), glob)
        for name in names
    )


def summary(run: Run) -> dict[str, Any]:
    """What a report says of the run itself; everything measured stays in `run.json`."""
    facts = ("command", "status", "requested_steps", "seconds", "model", "loss", "classes", "optimizers", "environment")
    plain: dict[str, Any] = to_plain(
        {
            name: getattr(run, name)
            for name in (*facts, "places", "files", "written", "discarded", "invented", "network", "folder")
        }
    )
    for optimizer in plain["optimizers"]:
        optimizer["parameters"] = len(optimizer["parameters"])
    return {**plain, "steps": max(Counter(step.optimizer for step in run.steps).values(), default=0)}
