"""What is known of rules that are not loaded."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from modellint.core import index, registry, rulefile
from modellint.core.index import Index, Unloaded
from modellint.core.rule import Rule

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
LOADED = """
import sys
from pathlib import Path
from modellint import pipeline
from modellint.core.config import Settings

report = pipeline.check([Path(sys.argv[1])], Settings())
print(*sorted(d.rule for d in report.diagnostics))
print(*{"dataclasses", "inspect", "tomllib"}.intersection(sys.modules))
print(*sorted(name.rpartition(".")[2] for name in sys.modules if name.startswith("modellint_rules.source.")))
"""


@pytest.fixture
def rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Copies of the built-in rules, so that no test writes beside them."""
    folder = tmp_path / "rules"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(rulefile.builtin_folder(), folder, ignore=ignored)
    monkeypatch.setattr(rulefile, "builtin_folder", lambda: folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    yield folder
    for name in [name for name, module in sys.modules.items() if str(folder) in str(getattr(module, "__file__", ""))]:
        del sys.modules[name]


def known(rule: Rule) -> list[object]:
    return [str(getattr(rule, name)) for name in ("name", "code", "reads", "only_reads")] + [len(rule.words)]


def test_the_index_says_what_the_rules_say(rules: Path) -> None:
    for _ in range(2):  # learnt, then remembered
        assert list(map(known, registry.reading())) == [known(rule) for rule in registry.load() if rule.reads]
    there = {rule.name: [index._plain(word) for word in rule.words] for rule in registry.load() if rule.reads}
    assert {rule.name: [index._plain(word) for word in rule.words] for rule in registry.reading()} == there


def test_a_rule_that_was_changed_is_read_anew(rules: Path) -> None:
    registry.reading()
    file = rules / "source" / "clip_after_step.py"
    file.write_text(file.read_text().replace('"ML104"', '"ML904"') + "\n")
    sys.modules.pop("modellint_rules.source.clip_after_step", None)
    assert "ML904" in {rule.code for rule in registry.reading()}
    assert "ML904" in {rule.code for rule in registry.reading()}


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"%s": 1}', '{"%s": {"age": 0}}', "null"])
def test_a_damaged_index_is_as_good_as_none(rules: Path, content: str) -> None:
    registry.reading()
    Index()._file.write_text(content.replace("%s", str(rules / "source" / "clip_after_step.py")))
    assert "ML104" in {rule.code for rule in registry.reading()}


def test_nothing_is_written_where_no_bytecode_is(rules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    registry.reading()
    assert not Index()._file.exists()


def test_options_are_held_against_the_rule_itself(rules: Path) -> None:
    registry.reading()
    rule = next(rule for rule in registry.reading(options={"clip-threshold": {}}) if rule.code == "ML107")
    assert isinstance(rule, Unloaded)
    with pytest.raises(registry.UsageError, match="has no option 'no_such'"):
        registry.reading(options={"clip-threshold": {"no_such": 1}})


def test_only_rules_whose_words_a_file_holds_are_loaded_and_no_slow_library(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        "for x, y in loader:\n    loss = F.mse_loss(net(x), y)\n    loss.backward()\n    optimizer.step()\n"
    )
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", LOADED, str(script)], env=ENVIRONMENT, capture_output=True, text=True, check=True
        )
    found, slow, loaded = done.stdout.splitlines()
    assert "missing-zero-grad" in found
    assert not slow
    assert "missing_zero_grad" in loaded
    assert "batch_first" not in loaded
    assert "sampler_set_epoch" not in loaded
