"""What the README shows works as it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from modellint import selftest
from modellint.core import rulefile

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_rule_it_shows_passes_its_own_examples(tmp_path: Path) -> None:
    shown = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "(SourceRule)" in block)
    file = tmp_path / "late_clip.py"
    file.write_text(shown, encoding="utf-8")
    rule = rulefile.rule_class(file)()
    assert list(selftest.failures(rule)) == []


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(([\w./-]+)\)", README))))
def test_what_it_links_to_is_there(path: str) -> None:
    assert (Path(__file__).parents[1] / path).exists()
