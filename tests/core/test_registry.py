from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from modellint.core import registry
from modellint.core.errors import UsageError

RULE = '''
from modellint import Diagnostic, SourceRule, Script
from collections.abc import Iterator


class {name}(SourceRule):
    """A house rule.

    Why: because.
    """

    code = "{code}"
    limit = 3
    names = ("a", "b")

    def check(self, script: Script) -> Iterator[Diagnostic]:
        yield from ()
'''


def write(folder: Path, file: str, name: str = "HouseRule", code: str = "HR101") -> Path:
    path = folder / file
    path.write_text(RULE.format(name=name, code=code))
    return path


def test_a_user_rule_is_loaded_like_a_built_in_one(tmp_path: Path) -> None:
    write(tmp_path, "house_rule.py")
    (tmp_path / "_helpers.py").write_text("raise SystemError('a file that begins with _ is no rule')")
    rule = registry.find("house-rule", registry.load([tmp_path]))
    assert (rule.name, rule.code, rule.summary(), rule.section("Why")) == (
        "house-rule",
        "HR101",
        "A house rule.",
        "because.",
    )


def test_options_are_the_public_attributes(tmp_path: Path) -> None:
    path = write(tmp_path, "house_rule.py")
    rule = registry.find("HR101", registry.load([path], {"house-rule": {"limit": 5, "names": ["c"]}}))
    assert rule.options() == {"limit": 5, "names": ("c",)}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"house-rule": {"lmit": 5}}, "has no option 'lmit'; it has: limit, names"),
        ({"house-rule": {"limit": "5"}}, "must be int, not str"),
        ({"no-such-rule": {}}, "no rule is called .no-such-rule."),
    ],
)
def test_wrong_options_are_usage_errors(tmp_path: Path, options: dict[str, dict[str, object]], complaint: str) -> None:
    path = write(tmp_path, "house_rule.py")
    with pytest.raises(UsageError, match=complaint):
        registry.load([path], options)


def test_two_rules_cannot_share_a_code(tmp_path: Path) -> None:
    write(tmp_path, "one.py", "One"), write(tmp_path, "two.py", "Two")
    with pytest.raises(UsageError, match="has the name or code of one"):
        registry.load([tmp_path])


def test_a_rule_file_that_breaks_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("1 / 0")
    with pytest.raises(UsageError, match=r"broken\.py: the rule cannot be loaded: ZeroDivisionError"):
        registry.load([path])
    with pytest.raises(UsageError, match="no such rule file"):
        registry.load([tmp_path / "absent.py"])


def test_selectors_are_names_codes_and_starts_of_codes() -> None:
    rules = registry.load()
    one = next(rule for rule in rules if rule.name == "clip-after-step")
    assert registry.select(rules, chosen=["clip-after-step"]) == (one,) == registry.select(rules, chosen=["ML104"])
    assert {rule.code[:3] for rule in registry.select(rules, chosen=["ML1"])} == {"ML1"}
    assert one not in registry.select(rules, ignored=["ML1"])
    assert one in registry.select(rules, ignored=["ML1"], added=["ML104"])
    assert registry.select(rules, chosen=["ALL"]) == registry.select(rules) == rules
    with pytest.raises(UsageError, match="no rule is called 'ML999'"):
        registry.select(rules, chosen=["ML999"])


def test_a_near_name_is_proposed() -> None:
    with pytest.raises(UsageError, match="did you mean clip-after-step"):
        registry.find("clip-after-stp", registry.load())


def test_names_that_no_rule_has(tmp_path: Path) -> None:
    write(tmp_path, "house_rule.py")
    named = {"clip-after-step", "ML104", "ML301", "house-rule", "HR101", "clip-after-stp", "ML1"}
    assert registry.strangers(named, [tmp_path]) == {"clip-after-stp", "ML1"}


def test_a_file_that_is_named_twice_is_one_rule() -> None:
    given = Path(inspect.getfile(type(registry.find("clip-after-step", registry.load()))))
    assert registry.load([given, given.parent]) != ()
    assert len(registry.load([given, given.parent])) == len(registry.load())
