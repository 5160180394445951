"""Findings to mended files: fixes are made in memory and held against a new reading; the caller writes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from . import baseline, patch, pipeline
from .core.config import Settings
from .core.diagnostic import Diagnostic, Report
from .core.record import dataclass
from .source.parse import shown_path

PASSES = 100
UNNAMED = "the file is not among those that are checked"
CLOSED = "the file is read-only"
Edited = Mapping[str, bytes]  # what files hold instead of what is on the disk
Faults = Counter[tuple[str | None, str]]  # how many findings of a rule a file has


@dataclass(frozen=True, slots=True)
class Left:
    """A fix that was not made, and why."""

    finding: Diagnostic
    reason: str


@dataclass(frozen=True, slots=True)
class Trial:
    edited: Edited
    made: tuple[Diagnostic, ...] = ()
    left: tuple[Left, ...] = ()


@dataclass(frozen=True, slots=True)
class Repair:
    """What the fixes came to; `report` is what remains when the files hold what is in `edited`."""

    report: Report
    edited: Edited
    solved: int  # findings; one fix may solve several
    left: tuple[Left, ...]

    @property
    def unsafe(self) -> int:
        """How many of the remaining findings have a fix that was not asked for."""
        tried = [left.finding for left in self.left]
        return sum(d.mended_by == "--unsafe-fixes" and d not in tried for d in self.report.diagnostics)

    @property
    def in_notebooks(self) -> int:
        """How many of the remaining findings have a fix, and no file that can be mended."""
        return sum(d.rewrite is not None and d.location.in_notebook for d in self.report.diagnostics)


@dataclass(frozen=True, slots=True)
class Reading:
    edited: Edited
    report: Report
    faults: Faults


def repair(
    files: Sequence[Path],
    settings: Settings,
    *,
    unsafe: bool = False,
    given: Edited = MappingProxyType({}),
    known: baseline.Known | None = None,
    shown: bool = False,
) -> Repair:
    """Make the safe fixes (with `unsafe` all) of what reading finds, pass by pass until there is none left to make.

    A fix that leaves its finding, makes another one or gives no Python is taken back.
    `given` is what some files hold instead of what is on the disk; the findings that are `known` by their fingerprints
    stay as they are, and so do read-only files unless the result is only `shown`.
    Raises UsageError for a setting that cannot be read.
    """
    bench = Bench(files, settings)
    now = start = bench.read(given)
    new = baseline.new(start.report, known or baseline.Known()).diagnostics
    spared = {_key(d, given) for d in start.report.diagnostics if d not in new and d.mended_by}
    left: dict[object, Left] = {}
    for _ in range(PASSES):
        fixable = [d for d in now.report.diagnostics if d.mended_by == "--fix" or (unsafe and d.mended_by)]
        shut = ((d, _shut(str(d.location.path), bench.named, shown or d.location.path in given)) for d in fixable)
        left |= {_key(d, now.edited): Left(d, reason) for d, reason in shut if reason}
        wanted = [d for d in fixable if _key(d, now.edited) not in left.keys() | spared]
        after, trial = bench.settle(now, wanted)
        left |= {_key(failed.finding, now.edited): failed for failed in trial.left}
        now = after
        if not trial.made and not trial.left:
            break
    remaining = {_key(d, now.edited) for d in now.report.diagnostics if d.mended_by}
    solved = start.faults.total() - now.faults.total()
    changed = {path: data for path, data in now.edited.items() if data != given.get(path)}
    return Repair(now.report, changed, solved, tuple(left[key] for key in left if key in remaining))


class Bench:
    """Files that are read again and again while they are being mended."""

    def __init__(self, files: Sequence[Path], settings: Settings) -> None:
        self.settings = settings
        self.rules = pipeline.reading(settings)
        self.files = files
        self.named = {shown_path(file) for file in files}

    def read(self, edited: Edited) -> Reading:
        scripts = pipeline.read(self.files, self.rules, edited)
        found = list(pipeline.suspicions(scripts, self.rules))
        faults = Counter((d.location.path, d.rule) for d in found if isinstance(d, Diagnostic))
        return Reading(edited, pipeline.report(found, scripts, None, self.rules, self.settings), faults)

    def settle(self, now: Reading, wanted: Sequence[Diagnostic]) -> tuple[Reading, Trial]:
        """As many of the fixes as go together; when they make it worse, half of them, down to the one to blame."""
        trial = _tried(wanted, now.edited)
        if not trial.made:
            return now, trial
        after = self.read(trial.edited)
        reason = _worse(now.faults, after.faults, trial.made)
        if not reason:
            return after, trial
        if len(trial.made) > 1:
            return self.settle(now, trial.made[: len(trial.made) // 2])
        return now, Trial(now.edited, left=(*trial.left, Left(trial.made[0], reason)))


def _tried(wanted: Sequence[Diagnostic], edited: Edited) -> Trial:
    """The files with the fixes, as far as these fit the source and each other."""
    contents: dict[str, bytes] = {}
    made: list[Diagnostic] = []
    left: list[Left] = []
    for path in dict.fromkeys(d.location.path for d in wanted):
        trial = _file(str(path), [d for d in wanted if d.location.path == path], edited)
        contents |= trial.edited
        made += trial.made
        left += trial.left
    return Trial({**edited, **contents}, tuple(made), tuple(left))


def _file(path: str, findings: Sequence[Diagnostic], edited: Edited) -> Trial:
    from .source import fix  # importing LibCST takes longer than reading a file

    try:
        applied = fix.apply(_content(path, edited), [d.rewrite for d in findings if d.rewrite is not None])
    except fix.UnreadableError as error:
        return Trial({}, left=tuple(Left(finding, str(error)) for finding in findings))
    except fix.FixError as error:
        if len(findings) > 1:
            return _file(path, findings[: len(findings) // 2], edited)
        return Trial({}, left=(Left(findings[0], str(error)),))
    made = tuple(findings[number] for number in applied.made)
    left = tuple(Left(findings[number], reason) for number, reason in applied.refused.items())
    return Trial({path: applied.data} if made else {}, made, left)


def _shut(path: str, named: set[str], shown: bool) -> str:
    """Why a file is not to be changed; empty if it may be."""
    if path not in named:
        return UNNAMED
    return "" if shown or patch.writable(path) else CLOSED


def _worse(before: Faults, after: Faults, made: Sequence[Diagnostic]) -> str:
    """What speaks against the fixes: a finding that stays or comes; nothing if it is the empty text."""
    surplus = after - (before - Counter((d.location.path, d.rule) for d in made))
    path, rule = next(iter(surplus), (None, ""))
    if not rule:
        return ""
    if any((d.location.path, d.rule) == (path, rule) for d in made):
        return "it would still be found"
    return f"it would make a new finding ({rule} in {path})"


def _content(path: str, edited: Edited) -> bytes:
    return edited[path] if path in edited else Path(path).read_bytes()


def _key(finding: Diagnostic, edited: Edited) -> object:
    """What tells a finding from others while the lines above it come and go."""
    path, line = finding.location.path or "", finding.location.line or 1
    return path, finding.rule, tuple(_content(path, edited).splitlines()[line - 1 : line])
