"""Scripts that may share objects are told from those that only lie in the same folder."""

from __future__ import annotations

import pytest

from modellint.source.project import Project
from modellint.source.relations import Relations
from modellint.source.script import Script

MODEL = Script("a/model.py", imports={"nn": "torch.nn"})
TRAIN = Script("a/train.py", imports={"Net": "model.Net", "torch": "torch"})
OTHER = Script("a/other.py", imports={"data": "torch.utils.data", "nn": "torch.nn"})
DATA = Script("a/data.py", imports={"torch": "torch"})
NAMESAKE = Script("b/model.py")
PACKAGE = Script("b/nets/__init__.py", imports={"Net": "..model.Net"})
USER = Script("b/run.py", imports={"nets": "nets"})
LOADER = Script("b/loader.py", imports={"nets": "nets", "importlib": "importlib"})


@pytest.mark.parametrize(
    ("scripts", "of", "related"),
    [
        ((MODEL, TRAIN, OTHER), MODEL, {"a/model.py", "a/train.py"}),
        ((MODEL, TRAIN, OTHER), OTHER, {"a/other.py"}),
        ((OTHER, DATA), DATA, {"a/data.py"}),
        ((MODEL, TRAIN, NAMESAKE), TRAIN, {"a/model.py", "a/train.py"}),
        ((NAMESAKE, TRAIN), TRAIN, {"b/model.py", "a/train.py"}),
        ((NAMESAKE, PACKAGE, USER, OTHER), NAMESAKE, {"b/model.py", "b/nets/__init__.py", "b/run.py"}),
        ((PACKAGE, LOADER, OTHER), PACKAGE, {"b/nets/__init__.py", "b/loader.py", "a/other.py"}),
    ],
    ids=["importer", "same folder", "name in a library", "namesake elsewhere", "other folder", "package", "by string"],
)
def test_imports_relate_scripts(scripts: tuple[Script, ...], of: Script, related: set[str]) -> None:
    relations = Relations(Project(scripts, lambda *_: None))
    assert {script.path for script in relations.of(of)} == related
