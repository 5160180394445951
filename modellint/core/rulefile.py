"""Where rule files lie, and one file to the one Rule that it holds."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from .errors import UsageError
from .rule import Rule

_PACKAGE = Path(__file__).resolve().parent.parent
ENTRY_POINTS = "modellint.rules"


def builtin_folder() -> Path:
    """Where the shipped rules lie: inside the wheel, or beside the package in a checkout."""
    inside = _PACKAGE / "rules"
    return inside if inside.is_dir() else _PACKAGE.parent / "rules"


def places(paths: Iterable[Path] = ()) -> Iterator[Path]:
    """Where rules are: the built-in ones, those of the `modellint.rules` entry points, and `paths`."""
    for place in (builtin_folder(), *_installed(), *paths):
        if not place.exists():
            raise UsageError(f"{place}: no such rule file or folder")
        yield place


def find(paths: Iterable[Path] = ()) -> Iterator[Path]:
    """Each file once, also where a given path names what is found anyway."""
    seen: set[tuple[int, int]] = set()
    for place in places(paths):
        for file in sorted(_below(place)) if place.is_dir() else [str(place)]:
            found = os.stat(file)
            if not os.path.basename(file).startswith("_") and (found.st_dev, found.st_ino) not in seen:
                seen.add((found.st_dev, found.st_ino))
                yield Path(file)


def _below(folder: Path) -> Iterator[str]:
    for place, _, names in os.walk(folder):
        yield from (os.path.join(place, name) for name in names if name.endswith(".py"))


def only_measures(path: Path) -> bool:
    """Whether its text says that a rule does not read source; loading it with all it imports would cost far more."""
    text = path.read_bytes()
    deeper = b"(GraphRule)" in text or b"(RuntimeRule)" in text
    return deeper and b"SourceRule" not in text and b"def suspect" not in text


def rule_class(path: Path) -> type[Rule]:
    """Raises UsageError for a file that cannot be run or does not hold exactly one rule."""
    module = _module(path)
    kinds = [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, Rule) and kind.__module__ == module.__name__ and kind.code
    ]
    if len(kinds) != 1:
        raise UsageError(
            f"{path}: a rule file holds exactly one rule (a subclass with a code); this one holds {len(kinds)}"
        )
    kinds[0].name = path.stem.replace("_", "-")
    return kinds[0]


def _module(path: Path) -> ModuleType:
    name = f"modellint_rules.{path.parent.name}.{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path):
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UsageError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise UsageError(f"{path}: the rule cannot be loaded: {type(error).__name__}: {error}") from error
    return module


def _installed() -> Iterator[Path]:
    if not any(map(_names_the_group, sys.path)):
        return
    import importlib.metadata

    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        spec = importlib.util.find_spec(entry.module)
        if spec is None or spec.origin is None:
            raise UsageError(
                f"the entry point {entry.name} of {ENTRY_POINTS} names {entry.module}, which is not installed"
            )
        origin = Path(spec.origin)
        yield origin.parent if origin.name == "__init__.py" else origin


def _names_the_group(folder: str) -> bool:
    """Whether a distribution in the folder has rules: reading files costs a tenth of importing importlib.metadata."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith("-info")]
    except OSError:
        return False
    return any(ENTRY_POINTS.encode() in _content(os.path.join(folder, name, "entry_points.txt")) for name in names)


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
