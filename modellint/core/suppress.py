"""`# modellint: ignore[name] reason` comments of a source text, and the diagnostics that they silence."""

from __future__ import annotations

import io
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator

from .diagnostic import Diagnostic, Location, Severity, Verdict
from .pattern import pattern
from .record import dataclass, replace

COMMENT = pattern(r"#\s*modellint:\s*ignore(?:\[([^\]]*)\])?\s*(.*)")


@dataclass(frozen=True, slots=True)
class Ignore:
    """One comment: the rules it names (all, if none) and the line it covers: its own, or the next statement's."""

    path: str
    line: int
    covers: int
    rules: tuple[str, ...]
    columns: tuple[int, int] | None = None  # of the comment, from 1

    def silences(self, diagnostic: Diagnostic) -> bool:
        place = diagnostic.location
        if (
            place.path != self.path
            or place.line is None
            or not place.line <= self.covers <= (place.end_line or place.line)
        ):
            return False
        return not self.rules or bool({diagnostic.rule, diagnostic.code, *diagnostic.twins} & set(self.rules))


def ignores(path: str, text: str) -> Iterator[Ignore]:
    """The ignore comments of a source text; a comment on a line of its own covers the next line of code."""
    if "modellint:" not in text:
        return
    waiting: list[Ignore] = []
    for token in _tokens(text):
        if token.type == tokenize.COMMENT and (found := COMMENT.search(token.string)):
            names = tuple(name.strip() for name in (found.group(1) or "").split(",") if name.strip())
            columns = token.start[1] + 1, token.end[1] + 1
            ignore = Ignore(path, token.start[0], token.start[0], names, columns)
            if token.line[: token.start[1]].strip():
                yield ignore
            else:
                waiting.append(ignore)
        elif token.type not in _BLANK:
            yield from (replace(ignore, covers=token.start[0]) for ignore in waiting)
            waiting = []


_BLANK = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


def _tokens(text: str) -> Iterator[tokenize.TokenInfo]:
    try:
        yield from tokenize.generate_tokens(io.StringIO(text).readline)
    except (tokenize.TokenError, SyntaxError):
        return


def apply(
    diagnostics: Iterable[Diagnostic], comments: Iterable[Ignore], judged: Iterable[str], unknown: Iterable[str] = ()
) -> tuple[Diagnostic, ...]:
    """The diagnostics that no comment silences, and a note for each comment that silences nothing or nothing known.

    `judged` are the names and codes of the rules that were run to their end: only an ignore of those can be unused.
    `unknown` are names that no rule has.
    """
    found, marks, names, strange = tuple(diagnostics), tuple(comments), set(judged), set(unknown)
    at: dict[str | None, list[Ignore]] = defaultdict(list)
    for mark in marks:
        at[mark.path].append(mark)
    silent = {id(d): [m for m in at[d.location.path] if m.silences(d)] for d in found if d.location.path in at}
    busy = {id(mark) for heard in silent.values() for mark in heard}
    unused = (m for m in marks if m.rules and names.issuperset(m.rules) and id(m) not in busy)
    strangers = ((mark, name) for mark in marks for name in mark.rules if name in strange)
    return (
        *(d for d in found if not silent.get(id(d))),
        *(_note(mark, f"`modellint: ignore[{', '.join(mark.rules)}]` silences nothing") for mark in unused),
        *(_note(mark, f"no rule is called {name!r}, which this comment ignores") for mark, name in strangers),
    )


def _note(mark: Ignore, message: str) -> Diagnostic:
    return Diagnostic(
        rule="unused-ignore",
        code="ML001",
        severity=Severity.NOTE,
        message=message,
        location=Location(mark.path, mark.line, *_extent(mark)),
        verdict=Verdict.CERTAIN,
        help="An ignore that outlives its finding hides the next one.",
        fix="delete the comment, or mend the name in it.",
    )


def _extent(mark: Ignore) -> tuple[int | None, int | None, int | None]:
    """Column, last line and last column."""
    return (mark.columns[0], mark.line, mark.columns[1]) if mark.columns else (None, None, None)
