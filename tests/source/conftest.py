from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from modellint.source import parse
from modellint.source.script import Script


@pytest.fixture
def read() -> Callable[[str], Script]:
    def script(text: str) -> Script:
        found = parse.script("example.py", inspect.cleandoc(text))
        assert found.problem is None
        return found

    return script


@pytest.fixture
def project(tmp_path: Path) -> Callable[..., dict[str, Script]]:
    """Writes files and reads some of them (all, if none are named): their scripts by file name."""

    def write(files: dict[str, str], *paths: str) -> dict[str, Script]:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(inspect.cleandoc(text), encoding="utf-8")
        scripts = parse.read([tmp_path / name for name in paths or files])
        return {Path(script.path).relative_to(tmp_path).as_posix(): script for script in scripts}

    return write
