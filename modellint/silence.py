"""Findings to sources in which each is silenced by a comment of its own."""

from __future__ import annotations

import io
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from .core.diagnostic import Diagnostic
from .core.suppress import COMMENT


def silenced(findings: Iterable[Diagnostic]) -> Mapping[str, bytes]:
    """The files, by path, with the comments that they lack; what cannot carry a comment is left as it is."""
    by_file: dict[str, list[Diagnostic]] = defaultdict(list)
    for finding in findings:
        if finding.location.path and finding.location.line and not finding.location.in_notebook:
            by_file[finding.location.path].append(finding)
    changed = {path: (Path(path).read_bytes(), found) for path, found in by_file.items()}
    edited = {path: commented(data, found) for path, (data, found) in changed.items()}
    return {path: data for path, data in edited.items() if data != changed[path][0]}


def commented(data: bytes, findings: Iterable[Diagnostic]) -> bytes:
    """The source with a comment behind the first line of each finding that can carry one."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        lines = list(io.StringIO(data.decode(encoding), newline=""))
        free = set(_ends(lines))
    except (SyntaxError, UnicodeError, tokenize.TokenError):
        return data
    rules: dict[int, dict[str, None]] = defaultdict(dict)
    for finding in findings:
        first = finding.location.line or 1
        line = next((n for n in range(first, (finding.location.end_line or first) + 1) if n in free), None)
        if line is not None:
            rules[line][finding.rule] = None
    for line, names in rules.items():
        lines[line - 1] = _with(lines[line - 1], names)
    return "".join(lines).encode(encoding)


def _ends(lines: list[str]) -> Iterator[int]:
    """The lines that end outside of a string and of a continuation."""
    for token in tokenize.generate_tokens(iter(lines).__next__):
        if token.type in (tokenize.NEWLINE, tokenize.NL):
            yield token.start[0]


def _with(line: str, names: Iterable[str]) -> str:
    code = line.rstrip("\r\n")
    ending = line[len(code) :]
    there = COMMENT.search(code)
    if there is None:
        return f"{code.rstrip()}  # modellint: ignore[{', '.join(names)}]{ending}"
    if there.group(1) is None:
        return line
    known = dict.fromkeys(name.strip() for name in there.group(1).split(","))
    joined = ", ".join(name for name in {**known, **dict.fromkeys(names)} if name)
    return f"{code[: there.start(1)]}{joined}{code[there.end(1) :]}{ending}"
