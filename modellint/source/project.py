"""The scripts of one project: which file an imported name lives in; files are loaded when a name is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from .code import Class, Function, Value
from .script import Script
from .words import Words

DEEPEST = 8  # folders above a script in which its absolute imports are looked for
# Never looked for beside a script: their meaning is known, and a checkout of them may lie there.
LIBRARIES = frozenset(
    {"torch", "numpy", "os", "sys", "math", "time", "random", "argparse", "json", "functools", "logging"}
)
STEPPING = Words([".step("])
Load = Callable[[Path, Words | None], Script | None]


class Project:
    def __init__(self, scripts: Iterable[Script], load: Load) -> None:
        self.given = list(scripts)
        self.callers: list[Script] = []  # not given, but they call what is
        self.scripts = list(self.given)  # all that are loaded by now
        self._scripts: dict[str, Script | None] = {os.path.abspath(script.path): script for script in self.scripts}
        self._given = frozenset(self._scripts)
        self._places: dict[str | None, list[int]] = {}  # of the scripts, by the paths that are shown
        self._shown = 0  # scripts whose places are known
        self._paths: dict[int, list[str]] = {}
        self._sought: set[str] = set()
        self._load = load
        self._without: set[str] = set()  # files in which no word of a step is
        self._files: dict[tuple[str, str], str | None] = {}
        self._folders = cache(_folders)
        self._heads: dict[tuple[str, str], bool] = {}  # whether a name may start in a folder
        self._imports: dict[int, tuple[frozenset[str], frozenset[str]]] = {}  # names in full, and their first parts
        self._complete: set[int] = set()
        self._functions: dict[int, dict[str, Function]] = {}
        self._classes: dict[int, dict[str, Class]] = {}

    @property
    def used(self) -> frozenset[str]:
        """The files that were looked for, there or not, besides those that were given."""
        return frozenset(self._sought - self._given)

    def at(self, paths: Iterable[str | None]) -> list[Script]:
        """Those of the loaded scripts that are shown by one of some paths, in the order in which they were loaded."""
        for place in range(self._shown, len(self.scripts)):
            self._places.setdefault(self.scripts[place].path, []).append(place)
        self._shown = len(self.scripts)
        return [self.scripts[place] for place in sorted(p for path in set(paths) for p in self._places.get(path, ()))]

    def load_caller(self, path: Path) -> None:
        script = self._script(os.path.abspath(path))
        self.callers += [script] if script is not None else []

    def function(self, script: Script, name: str) -> Function | None:
        table = self._functions.get(id(script))
        if table is None:
            table = self._functions[id(script)] = {f.name: f for f in script.functions if f.kind != "class"}
        return table.get(name)

    def class_(self, script: Script, name: str) -> Class | None:
        table = self._classes.get(id(script))
        if table is None:
            table = self._classes[id(script)] = {c.name: c for c in script.classes}
        return table.get(name)

    def imported(self, script: Script, name: str) -> bool:
        """Whether a dotted name starts with one that the file imports."""
        known = self._imports.get(id(script))
        if known is None:
            full = frozenset(script.imports.values())
            known = self._imports[id(script)] = full, frozenset(name.partition(".")[0] for name in full)
        full, heads = known
        if name.partition(".")[0] not in heads:
            return False
        return name in full or any(name[:i] in full for i, letter in enumerate(name) if letter == "." and i)

    def locate(self, script: Script, name: str, words: Words | None = None) -> tuple[Script, str] | None:
        """The script that an imported dotted name lives in, and the rest of the name within that script.

        With `words`, files that hold none of them are not loaded for it.
        """
        relative = name.lstrip(".")
        level, parts = len(name) - len(relative), relative.split(".")
        if not level and parts[0] in LIBRARIES:
            return None
        start = os.path.dirname(os.path.abspath(script.path))
        added = [] if level else self._added(script, start)
        for folder in (*self._folders(start, level), *added):
            if level or self._exists(folder, parts[0]):
                if not level and _is_installed(folder) and not start.startswith(os.path.join(folder, parts[0])):
                    return None
                found = self._longest(folder, parts, words)
                if found is not None and found[0] is not script:
                    return found
        return None

    def _added(self, script: Script, start: str) -> list[str]:
        """The folders that a script puts on sys.path, as far as their names are written."""
        if "sys" not in script.imports.values():
            return []
        if id(script) not in self._paths:
            parts = (_written(call) for call in script.calls if call.name in ("sys.path.append", "sys.path.insert"))
            folders = [
                os.path.normpath(os.path.join(f, *part)) for part in parts for f in self._folders(start, 0) if part
            ]
            self._paths[id(script)] = [folder for folder in dict.fromkeys(folders) if os.path.isdir(folder)]
        return self._paths[id(script)]

    def load_imports(self, script: Script) -> None:
        """Load the files that a script imports and that may step an optimizer, whether or not a name in them was asked for."""
        if id(script) not in self._complete:
            self._complete.add(id(script))
            for name in dict.fromkeys(script.imports.values()):
                self.locate(script, name, STEPPING)

    def _longest(self, folder: str, parts: list[str], words: Words | None) -> tuple[Script, str] | None:
        for count in range(len(parts), -1, -1):
            path = self._file(folder, "/".join(parts[:count]))
            script = self._script(path, words) if path else None
            if script is not None and count < len(parts):
                return script, ".".join(parts[count:])
        return None

    def _exists(self, folder: str, head: str) -> bool:
        if (folder, head) not in self._heads:
            there = self._file(folder, head) is not None or os.path.isdir(os.path.join(folder, head))
            self._heads[folder, head] = there
        return self._heads[folder, head]

    def _file(self, folder: str, module: str) -> str | None:
        key = folder, module
        if key not in self._files:
            base = os.path.join(folder, module) if module else folder
            candidates = (
                (f"{base}.py", os.path.join(base, "__init__.py")) if module else (os.path.join(base, "__init__.py"),)
            )
            self._sought.update(candidates)
            self._files[key] = next(
                (path for path in candidates if path in self._scripts or os.path.isfile(path)), None
            )
        return self._files[key]

    def _script(self, path: str, words: Words | None = None) -> Script | None:
        if path not in self._scripts and not (words is not None and path in self._without):
            script = self._load(Path(path), words)
            if script is None and words is not None:
                self._without.add(path)
                return None
            self._scripts[path] = None if script is None or script.problem else script
            self.scripts += filter(None, [self._scripts[path]])
        return self._scripts.get(path)


def _folders(start: str, level: int) -> list[str]:
    """Where a name may start: the package that the dots name, or the folder of the script and those above it."""
    if level:
        for _ in range(level - 1):
            start = os.path.dirname(start)
        return [start]
    folders = [start]
    while len(folders) < DEEPEST and not _is_root(folders[-1]) and os.path.dirname(folders[-1]) != folders[-1]:
        folders.append(os.path.dirname(folders[-1]))
    return [place for folder in folders for place in (folder, os.path.join(folder, "src"))]


def module_name(path: str) -> str:
    """The last word by which a file is imported."""
    name = os.path.basename(path).removesuffix(".py")
    return os.path.basename(os.path.dirname(path)) if name == "__init__" else name


def _written(call: Value) -> list[str]:
    return [value.constant for value in call.within() if isinstance(value.constant, str)]


def _is_installed(folder: str) -> bool:
    """Whether it holds installed packages, which are no part of each other."""
    return os.path.basename(folder) in ("site-packages", "dist-packages")


def _is_root(folder: str) -> bool:
    return any(os.path.exists(os.path.join(folder, name)) for name in (".git", "pyproject.toml", "setup.py"))
