"""`modellint graph`, and what it is drawn from: a model recorded without a training step."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from torch import Tensor, nn

from modellint import Graph
from modellint.core.plain import from_plain
from modellint.graph.node import Role
from modellint.recorder import still
from modellint.recorder.frames import shown

FACTORIES = """\
import torch
from torch import nn

BATCH = (torch.randn(12, 8), torch.arange(12) % 4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.middle, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)
        self.extra = nn.Linear(3, 3)

    def forward(self, x):
        return self.head(self.middle(self.body(x)).relu())


def net():
    return {"model": Net(), "batch": BATCH, "loss": nn.CrossEntropyLoss()}


def broken():
    raise RuntimeError("no data here")


def stubborn():
    def loss(output, _):
        raise ValueError("no loss for this")

    return {"model": Net(), "batch": BATCH, "loss": loss}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    (folder / "factories.py").write_text(FACTORIES)
    return folder


def modellint(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modellint", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)


def test_text_names_nodes_lines_and_findings(folder: Path) -> None:
    drawn = modellint(folder, "graph", "--target", "factories:net")
    assert drawn.returncode == 0, drawn.stderr
    lines = drawn.stdout.splitlines()
    assert "`extra` is never called" in lines[0]
    middle = next(index for index, line in enumerate(lines) if " middle " in line)
    assert "factories.py:14" in lines[middle]
    assert "ML203 linear-without-nonlinearity" in lines[middle + 1]
    assert "torch.nn.functional.cross_entropy" in drawn.stdout, "torch.fx's own text follows"


def test_a_picture_holds_every_layer_and_finding(folder: Path) -> None:
    assert modellint(folder, "graph", "--target", "factories:net", "--output", "net.svg").returncode == 0
    picture = ElementTree.parse(folder / "net.svg").getroot()
    texts = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    for layer in ("body", "middle", "head"):
        assert sum(text.startswith(layer) for text in texts) == 1
    assert any("ML203" in text for text in texts)


def test_json_can_be_read_again(folder: Path) -> None:
    assert modellint(folder, "graph", "--target", "factories:net", "--output", "net.json").returncode == 0
    content = json.loads((folder / "net.json").read_text())
    graph = from_plain(Graph, content["graph"])
    assert [node.location.module for node in graph.of_role(Role.LINEAR)] == ["body", "middle", "head"]
    assert {found["rule"] for found in content["diagnostics"]} >= {"unused-parameter", "linear-without-nonlinearity"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--target", "factories:broken"], "no data here at factories.py:22"),
        (["--target", "factories:stubborn"], "no loss for this"),
        (["--target", "factories:absent"], "factories.py has no factory 'absent'"),
        (["--target", "factories:net", "--output", "net.png"], ".svg"),
        ([], "either a recorded run or a --target"),
        (["."], "run.json"),
    ],
)
def test_what_cannot_be_drawn_says_why(folder: Path, arguments: list[str], said: str) -> None:
    drawn = modellint(folder, "graph", *arguments)
    assert drawn.returncode == 2
    assert said in drawn.stderr
    assert "Traceback" not in drawn.stderr


def test_targets_are_checked_together_and_a_recorded_run_is_drawn(folder: Path) -> None:
    targets = ["--target", "factories:net", "--target", "factories:net", "--output-format", "json"]
    checked = modellint(folder, "check", *targets)
    report = json.loads(checked.stdout)
    assert checked.returncode == 1
    unused = [found for found in report["diagnostics"] if found["rule"] == "layer-without-effect"]
    assert [found["verdict"] for found in unused] == ["confirmed", "confirmed"]
    drawn = modellint(folder, "graph", report["run"]["folder"])
    assert "ML207 unused-parameter] confirmed" in drawn.stdout


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.body(x)).relu())


class Branching(Plain):
    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        return output * 2 if output.sum().item() > 1e9 else output


BATCH = (torch.randn(12, 8), torch.arange(12) % 4)
LAYERS = ["body.weight", "body.bias", "norm.weight", "norm.bias", "head.weight", "head.bias"]


@pytest.mark.parametrize(("kind", "way"), [(Plain, "meta"), (Branching, "cpu")])
def test_without_data_where_that_works(kind: type[nn.Module], way: str) -> None:
    model = kind()
    before = [tensor.clone() for tensor in (*model.parameters(), *model.buffers())]
    taken = still.take(model, BATCH, nn.CrossEntropyLoss())
    assert (taken.way, bool(taken.problems)) == (way, way != "meta")
    assert all(torch.equal(a, b) for a, b in zip(before, (*model.parameters(), *model.buffers()), strict=True))


def test_export_is_the_last_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("not this way")

    monkeypatch.setattr(still, "_on_meta", fail)
    monkeypatch.setattr(still, "_on_cpu", fail)
    taken = still.take(Plain(), BATCH, nn.CrossEntropyLoss())
    graph = from_plain(Graph, taken.plain)
    assert taken.way == "export"
    assert [node.role for node in graph if node.role is not Role.INPUT] == [
        Role.LINEAR,
        Role.NORM,
        Role.ACTIVATION,
        Role.LINEAR,
        Role.LOSS,
    ]
    assert [name for node in graph for name in node.parameters] == LAYERS
    line = Plain.forward.__code__.co_firstlineno + 1
    assert {(node.location.path, node.location.line) for node in graph if node.parameters} == {(shown(__file__), line)}


def test_the_result_is_a_module_of_torch_fx_that_computes_the_loss() -> None:
    model = Plain()
    taken = still.take(model, BATCH, nn.CrossEntropyLoss())
    taken.module.graph.lint()
    assert "batch_norm" in taken.module.print_readable(print_output=False)
    expected = nn.functional.cross_entropy(model(BATCH[0]), BATCH[1])
    assert torch.equal(taken.module(*BATCH), expected)


def test_a_model_that_returns_its_loss_or_no_loss_at_all() -> None:
    model = Plain()
    taken = still.take(model, {"x": BATCH[0]})
    assert from_plain(Graph, taken.plain).output.startswith("linear")
