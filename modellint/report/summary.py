"""What a report says of itself: how many findings, what was watched, and the facts of the run."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from modellint.core.diagnostic import Report, Severity

from .numbers import count, duration, number
from .plain_text import one_line
from .tree import Finding

TARGETS = Path(__file__).parents[1] / "recorder" / "target.py"  # what trains `--target pkg.module:factory`
Facts = Mapping[str, Any]


def tally(report: Report, findings: Sequence[Finding]) -> str:
    """ "2 errors, 1 warning (1 cause, 2 symptoms)"; a folded symptom counts at its own level."""
    if not report.diagnostics:
        held = set(report.settings.get("rules") or ()) - {check.rule for check in report.unchecked}
        return f"No findings of {count(len(held), 'rule')}" if held else "No findings"
    levels = [diagnostic.level for diagnostic in report.diagnostics]
    counts = [count(levels.count(level), level) for level in reversed(Severity) if level in levels]
    causes = sum(finding.convicts for finding in findings)
    symptoms = len(levels) - len(findings)
    folded = f" ({count(causes, 'cause')}, {count(symptoms, 'symptom')})" if symptoms else ""
    return ", ".join(counts) + folded


def watched(run: Facts | None) -> str:
    """ "10 steps of train.py in 6.1 s"; empty where nothing ran."""
    if not run:
        return ""
    taken, asked = run.get("steps"), run.get("requested_steps")
    if not isinstance(taken, int):
        steps = "probe"
    else:
        steps = f"{taken} of {count(asked, 'step')}" if asked and taken < asked else count(taken, "step")
    seconds = run.get("seconds")
    total = seconds.get("total") if isinstance(seconds, Mapping) else seconds
    spent = f" in {duration(total)}" if isinstance(total, (int, float)) else ""
    return f"{steps} of {subject(run)}{spent}"


def subject(run: Facts | None) -> str:
    """The script or module that a command runs; "the model" where there was no command."""
    command = _command(run)
    module = next((name for flag, name in itertools.pairwise(command) if flag == "-m"), None)
    target = next((name for file, name in itertools.pairwise(command) if Path(file) == TARGETS), None)
    return one_line(target or script(run) or module or " ".join(command[:1]) or "the model")


def script(run: Facts | None) -> str | None:
    """The file that a command names, as it names it."""
    return next((word for word in _command(run) if word.endswith((".py", ".ipynb"))), None)


def facts(run: Facts | None) -> Iterator[tuple[str, str]]:
    """What is known of the run, as labels and texts; what is not known is left out."""
    run = run or {}
    lines = {
        "command": _code(shlex.join(_command(run))),
        "model": _model(run.get("model")),
        "loss": _loss(run.get("loss"), run.get("classes")),
        "optimizer": "; ".join(_optimizer(optimizer) for optimizer in run.get("optimizers") or ()),
        "status": "" if run.get("status") in (None, "completed") else str(run["status"]),
        "environment": ", ".join(f"{key} {text}" for key, text in (run.get("environment") or {}).items()),
        "files written": ", ".join(_code(path) for path in run.get("written") or ()),
        "thrown away": discarded(run),
        "invented data": ", ".join(_code(name) for name in run.get("invented") or ()),
        "network": ", ".join(_code(host) for host in run.get("network") or ()),
        "record": _code(run.get("folder") or ""),
    }
    yield from ((label, one_line(text)) for label, text in lines.items() if text)


def discarded(run: Facts) -> str:
    """What a sandbox kept from the user's files: "changed `model.pt`, deleted `old.txt`, created 2 files"."""
    found: Mapping[str, str] = run.get("discarded") or {}
    named = {what: [_code(path) for path in found if found[path] == what] for what in ("changed", "deleted")}
    created = list(found.values()).count("created")
    parts = [f"{what} {', '.join(paths)}" for what, paths in named.items() if paths]
    return ", ".join([*parts, f"created {count(created, 'file')}"] if created else parts)


def _command(run: Facts | None) -> list[str]:
    return [str(word) for word in (run or {}).get("command") or ()]


def _code(text: object) -> str:
    return f"`{text}`" if text else ""


def _model(model: Facts | None) -> str:
    if not model:
        return ""
    parameters = model.get("parameters")
    size = f"{parameters:,} parameters" if parameters else ""
    readout = f"readout `{model['readout']}`" if model.get("readout") else ""
    return ", ".join(part for part in (str(model.get("name") or ""), size, readout) if part)


def _loss(loss: Facts | str | None, classes: int | None) -> str:
    kind = str(loss.get("kind") or "") if isinstance(loss, Mapping) else str(loss or "")
    return f"{kind} over {classes:,} classes" if kind and classes else kind


def _optimizer(optimizer: Facts | str) -> str:
    if not isinstance(optimizer, Mapping):
        return str(optimizer)
    rate = optimizer.get("learning_rate")
    return f"{optimizer.get('name', 'optimizer')}{'' if rate is None else f' at learning rate {number(rate)}'}"
