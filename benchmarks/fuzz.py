"""Broken, strange and deep sources through the whole of `check` and `--fix`: no exception, and no file takes long.

python benchmarks/fuzz.py [--minutes 10] [--seed 0] [--limit 10] [--keep FOLDER]

Sources are the fixtures and the examples of all rules, changed byte by byte, line by line, token by token and statement
by statement, two of them linked with each other, some as notebooks. What is asked of each: reading it raises nothing and
breaks no rule, its fixes compile if it did, and a second pass of fixes has nothing to do. A source that fails is printed
and kept.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import inspect
import io
import json
import os
import random
import re
import signal
import sys
import tempfile
import time
import tokenize
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from growth import KINDS, grown

from modellint import pipeline, repair
from modellint.core import registry
from modellint.core.config import Settings
from modellint.selftest import examples
from modellint.source.fix import compiled

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
MAIN, OTHER, NOTEBOOK = "main.py", "other.py", "main.ipynb"
MAGICS = ("%matplotlib inline\n", "!pip install x\n", "%%time\n", "%%bash\n", "?x\n", "    %time ", "x = !ls \\\n", "")
ODD = (
    "\0",
    "\ufeff",
    "\r",
    "\x0c",
    "\t",
    "\\\n",
    "\u2028",
    "é",
    "😀",
    "\ud800",
    "'''",
    "#",
    "# coding: latin-1\n",
    "# modellint: ignore[",
)
PIECES = """
( ) [ ] { } : , . = == += := -> ** * @ lambda yield await async def class for while if else elif try except with in is not
return break continue global nonlocal del import from as pass 0 1e999 '' f'{x}' None self x y loss model optimizer ...
""".split()
HEADS = (
    "if x:", "while True:", "for x, y in loader:", "with torch.no_grad():", "def f(x, *args, **kwargs):", "class A:",
    "try:\n    pass\nfinally:", "async def g(model):", "if x:\n    pass\nelif y:", "for i in range(3):\n    pass\nelse:",
    "match x:\n  case [model, *_]:", "@torch.no_grad()\ndef h(self, optimizer=None):", "while (n := n - 1):",
)  # fmt: skip
Mutation = Callable[[str, random.Random], str]


def seeds() -> list[str]:
    written = [path.read_text(encoding="utf-8") for path in sorted(FIXTURES.rglob("*.py"))]
    shown = (e for rule in registry.load() for e in (*examples(rule.bad), *examples(rule.good)) if isinstance(e, str))
    return [*written, *map(inspect.cleandoc, shown)]


def by_characters(text: str, random: random.Random) -> str:
    place = random.randrange(len(text) + 1)
    return random.choice((text[:place], text[place:], text[:place] + random.choice(ODD) + text[place:]))


def by_lines(text: str, random: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, other = random.randrange(len(lines)), random.randrange(len(lines))
    how = random.randrange(5)
    if how == 0:
        del lines[one]
    elif how == 1:
        lines.insert(other, lines[one])
    elif how == 2:
        lines[one], lines[other] = lines[other], lines[one]
    elif how == 3:
        lines[one] = " " * random.randrange(9) + lines[one].lstrip()
    else:
        lines[one] = lines[one].rstrip("\n") + random.choice(("; ", " \\\n", " # x\n", "\r\n"))
    return "".join(lines)


def by_tokens(text: str, random: random.Random) -> str:
    words = re.findall(r"\s+|\w+|[^\w\s]", text) or [""]
    for _ in range(random.randrange(1, 5)):
        place = random.randrange(len(words))
        words[place] = random.choice(("", words[place] * 2, random.choice(PIECES), random.choice(words)))
    return "".join(words)


def by_names(text: str, random: random.Random) -> str:
    """Two names become one, everywhere."""
    names = sorted(set(re.findall(r"\b[a-z_]\w+\b", text))) or ["x"]
    return re.sub(rf"\b{random.choice(names)}\b", random.choice(names), text)


def by_statements(text: str, random: random.Random) -> str:
    tree = ast.parse(text)
    suites = [
        s
        for n in ast.walk(tree)
        for s in (getattr(n, "body", None), getattr(n, "orelse", None))
        if isinstance(s, list) and s
    ]
    for _ in range(random.randrange(1, 4)):
        one, other = random.choice(suites), random.choice(suites)
        statement = copy.deepcopy(random.choice(one))
        if random.random() < 0.4:
            one.pop(random.randrange(len(one)))
            one or one.append(ast.Pass())
        other.insert(random.randrange(len(other) + 1), statement)
    return ast.unparse(ast.fix_missing_locations(tree))


def by_expressions(text: str, random: random.Random) -> str:
    """Expressions of the source in each other's places."""
    tree = ast.parse(text)
    there = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and isinstance(getattr(node, "ctx", ast.Load()), ast.Load)
    ]
    for _ in range(random.randrange(1, 6)):
        holder = random.choice(list(ast.walk(tree)))
        for name, value in ast.iter_fields(holder):
            if isinstance(value, ast.expr) and value in there and random.random() < 0.5:
                setattr(holder, name, copy.deepcopy(random.choice(there)))
    return ast.unparse(ast.fix_missing_locations(tree))


def by_depth(text: str, random: random.Random) -> str:
    depth = random.choice((3, 20, 90, 300, 2000))
    head = random.choice(HEADS)
    first, *rest = head.split("\n")
    if random.random() < 0.5:
        levels = min(depth, 95)  # Python allows 100 levels of indentation
        step = max((len(line) - len(line.lstrip()) for line in rest[-1:]), default=0) + 1
        opening = ("\n".join(" " * (level * step) + line for line in (first, *rest)) for level in range(levels))
        return "\n".join((*opening, *(" " * (levels * step) + line for line in text.splitlines())))
    name = random.choice(re.findall(r"\b[a-z_]\w+\b", text) or ["x"])
    deep = random.choice((
        "(" * depth + name + ")" * depth, "-" * depth + name, f"{name}" + ".a" * depth, f"{name}" + "(x)" * depth,
        " + ".join([name] * depth), " if x else ".join([name] * depth), "[" * depth + name + "]" * depth,
        f"{name}" + "[0]" * depth, "lambda: " * depth + name, f"f({name}, " * depth + "0" + ")" * depth,
        " and ".join([name] * depth), f"{name}.view(" * depth + "1" + ")" * depth, f"{name}" + ".relu()" * depth,
    ))  # fmt: skip
    chain = "\n".join(f"{name}{i} = {name}{i - 1}" for i in range(1, depth))
    branches = "".join(f"{'el' if i else ''}if x == {i}:\n    {name} = f{i}({name})\n" for i in range(depth))
    calls = "\n".join(f"def f{i}(x):\n    return f{i + 1}(f{i + 1}(x))" for i in range(depth))
    return f"{random.choice((f'{name} = {deep}', chain, branches, calls, f'{name} = ' * depth + name))}\n{text}"


def by_growth(text: str, random: random.Random) -> str:
    """Each name is computed from itself, again and again."""
    return grown(text, random.choice(tuple(KINDS)), random.choice((1, 2, 8, 30)))


def by_encoding(text: str, random: random.Random) -> str:
    return (
        random.choice(("# coding: latin-1\n", "# coding: utf-16\n", "# coding: nonsense\n", "\ufeff", "#!/bin/sh\n"))
        + text
    )


def by_newlines(text: str, random: random.Random) -> str:
    return text.replace("\n", random.choice(("\r\n", "\r", "\n\n", "\n\x0c")))


MUTATIONS: tuple[Mutation, ...] = (
    by_characters, by_lines, by_lines, by_tokens, by_tokens, by_names, by_names, by_statements, by_statements,
    by_statements, by_expressions, by_expressions, by_depth, by_growth, by_encoding, by_newlines,
)  # fmt: skip


def mutated(texts: list[str], random: random.Random) -> str:
    text = random.choice(texts)
    for _ in range(random.choice((1, 1, 2, 3, 6))):
        with (
            contextlib.suppress(SyntaxError, ValueError, RecursionError, IndexError, MemoryError),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            text = random.choice(MUTATIONS)(text, random)
    return text


def encoded(text: str, random: random.Random) -> bytes:
    encoding = random.choice(("utf-8",) * 8 + ("latin-1", "utf-16", "utf-8-sig"))
    return text.encode(encoding, "surrogatepass" if encoding == "utf-8" else "replace")


def as_notebook(text: str, random: random.Random) -> bytes:
    """The text in cells, some of them with magics; at times what is written is no notebook."""
    lines = text.splitlines(keepends=True)
    cuts = sorted(random.randrange(len(lines) + 1) for _ in range(random.randrange(5)))
    parts = ([random.choice(MAGICS), *lines[a:b]] for a, b in zip([0, *cuts], [*cuts, len(lines)], strict=True))
    kinds = ("code", "code", "code", "markdown", "raw", None)
    cells = [{"cell_type": random.choice(kinds), "source": random.choice((list, "".join))(part)} for part in parts]
    written = json.dumps({"cells": cells, "nbformat": 4}, ensure_ascii=random.random() < 0.5)
    return encoded(by_characters(written, random) if random.random() < 0.2 else written, random)


def sources(texts: list[str], number: int) -> dict[str, bytes]:
    """The files of one trial."""
    chance = random.Random(number)
    if chance.random() < 0.15:
        return {NOTEBOOK: as_notebook(mutated(texts, chance), chance)}
    main = encoded(mutated(texts, chance), chance)
    if chance.random() < 0.3:
        head = b"from other import *\nimport other\nfrom other import Net, train, main, step\n"
        return {MAIN: head + main, OTHER: encoded(mutated(texts, chance), chance)}
    return {MAIN: main}


class Case:
    def __init__(self, rules: tuple, settings: Settings) -> None:
        self._rules, self._settings = rules, settings

    def problems(self, files: dict[str, bytes]) -> Iterator[str]:
        for name, data in files.items():
            Path(name).write_bytes(data)
        paths = [Path(name) for name in files]
        scripts = pipeline.read(paths, self._rules)
        found = list(pipeline.suspicions(scripts, self._rules))
        report = pipeline.report(found, scripts, None, self._rules, self._settings)
        yield from (f"{u.rule}: {u.reason}" for u in report.unchecked)
        if any(d.rewrite for d in report.diagnostics):
            yield from self._fixes(paths, files)

    def _fixes(self, paths: list[Path], files: dict[str, bytes]) -> Iterator[str]:
        first = repair.repair(paths, self._settings, unsafe=True)
        for name, data in first.edited.items():
            if compiled.problem(data) and not compiled.problem(files[name]):
                yield f"the fixed {name} does not compile"
            if _comments(data) != _comments(files[name]):
                yield f"the fixed {name} has other comments"
        again = repair.repair(paths, self._settings, unsafe=True, given=first.edited)
        if again.edited:
            yield f"a second pass changes {', '.join(again.edited)}"


def _comments(data: bytes) -> list[str]:
    lines = io.BytesIO(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n"))  # tokenize ends lines at "\n" alone
    try:
        return sorted(t.string.strip() for t in tokenize.tokenize(lines.readline) if t.type == tokenize.COMMENT)
    except (SyntaxError, ValueError, tokenize.TokenError):
        return []


class TooLong(BaseException):
    """No `except Exception` of what is tested stops it."""


def too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong


def failures(case: Case, files: dict[str, bytes], limit: float) -> list[str]:
    signal.setitimer(signal.ITIMER_VIRTUAL, limit)
    try:
        return list(case.problems(files))
    except TooLong:
        return [f"takes more than {limit:g} CPU seconds:\n{traceback.format_exc(limit=-12)}"]
    except Exception:
        return [traceback.format_exc(limit=-8)]
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="CPU seconds that one source may take")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "modellint-fuzz"))
    options = parser.parse_args()
    signal.signal(signal.SIGVTALRM, too_long)
    keep = options.keep.resolve()
    texts, end, number, failed, slowest = seeds(), time.monotonic() + 60 * options.minutes, options.seed, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path(".git").mkdir()  # the root of this project
        settings = Settings(root=Path().resolve())
        case = Case(pipeline.reading(settings), settings)
        while time.monotonic() < end:
            files = sources(texts, number)
            start = time.process_time()
            for problem in failures(case, files, options.limit):
                failed += 1
                keep.mkdir(parents=True, exist_ok=True)
                for name, data in files.items():
                    (keep / f"{number}_{name}").write_bytes(data)
                print(f"seed {number}: {problem}\n  kept as {keep}/{number}_*", flush=True)
            slowest = max(slowest, time.process_time() - start)
            for name in files:
                Path(name).unlink(missing_ok=True)
            number += 1
        os.chdir("/")
    print(f"{number - options.seed} sources, {failed} failures, the slowest took {slowest:.2f} CPU seconds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
