"""`modellint.watch` around the user's own loop: the same measurements as a probe, and nothing stays behind."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import optimizer as optimizers

import modellint

LABELS = torch.arange(40) % 4
INPUTS = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) + F.one_hot(LABELS, 8) * 2


def classifier() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.LayerNorm(32), nn.Dropout(0.1), nn.Linear(32, 4))
    return model, torch.optim.Adam(model.parameters(), lr=1e-3)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(INPUTS), LABELS).backward()
        optimizer.step()


LATE = """
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_


def train(model, optimizer, inputs, labels):
    for _ in range(4):
        optimizer.zero_grad()
        (F.cross_entropy(model(inputs), labels) * 1000).backward()
        optimizer.step()
        clip_grad_norm_(model.parameters(), 1.0)
"""


def traces() -> list[Any]:
    """All that a recorder changes in torch."""
    homes = (torch.autograd, torch.Tensor, torch.autograd.Function, torch.nn.utils, torch.nn.utils.clip_grad, F)
    more = (optimizers.Optimizer, nn.Module, torch.amp.GradScaler, torch.autograd.graph.saved_tensors_hooks)
    hooks = (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks)
    step_hooks = (optimizers._global_optimizer_pre_hooks, optimizers._global_optimizer_post_hooks)
    modes = torch._C._len_torch_function_stack()
    functions = [{name: value for name, value in vars(home).items() if callable(value)} for home in (*homes, *more)]
    return [*functions, *(list(h) for h in (*hooks, *step_hooks)), modes]


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    before = traces()
    yield
    assert traces() == before


def test_a_healthy_loop_is_quiet_and_its_report_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    model, optimizer = classifier()
    with modellint.watch(model, optimizer) as watched:
        train(model, optimizer, 12)
    watched.report().assert_clean()
    assert watched.report().run is not None
    assert watched.report().run["steps"] == 10
    assert "10 steps" in capsys.readouterr().out


def test_a_fault_is_read_and_measured_at_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "late_clip.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    model, optimizer = classifier()
    with modellint.watch(model, optimizer, show=False) as watched:
        importlib.import_module("late_clip").train(model, optimizer, INPUTS, LABELS)
    del sys.modules["late_clip"]
    found = next(d for d in watched.report().diagnostics if d.rule == "clip-after-step")
    assert (str(found.verdict), found.location.line) == ("confirmed", 11)


def test_usable_twice_and_the_weights_are_those_of_an_unwatched_loop() -> None:
    (bare, plain), (model, optimizer) = classifier(), classifier()
    torch.manual_seed(1)
    train(bare, plain, 16)
    torch.manual_seed(1)
    for _ in range(2):
        with modellint.watch(model, optimizer, steps=3, show=False) as watched:
            train(model, optimizer, 8)
        assert watched.report().run["steps"] == 3
    assert all(torch.equal(a, b) for a, b in zip(bare.parameters(), model.parameters(), strict=True))


def test_a_report_in_the_middle_of_the_loop() -> None:
    model, optimizer = classifier()
    with modellint.watch(model, optimizer, show=False) as watched:
        train(model, optimizer, 2)
        assert watched.report().run["steps"] == 2
        train(model, optimizer, 2)
    assert watched.report().run["steps"] == 4
    assert watched.report().run["model"]["name"] == "Sequential"


def test_an_optimizer_that_is_made_within_the_block() -> None:
    model, optimizer = classifier()
    other = copy.deepcopy(model)
    with modellint.watch(model, optimizer, show=False) as watched:
        train(model, optimizer, 2)
        train(other, torch.optim.SGD(other.parameters(), lr=0.1), 3)
    assert [made["name"] for made in watched.report().run["optimizers"]] == ["Adam", "SGD"]


def test_the_users_exception_passes_and_what_was_measured_is_kept() -> None:
    model, optimizer = classifier()
    watched = modellint.watch(model, optimizer, show=False)
    with pytest.raises(IndexError), watched:  # noqa: PT012
        train(model, optimizer, 2)
        [][0]
    report = watched.report()
    assert (report.run["steps"], report.run["status"]) == (2, "failed")
    assert report.problem.message == "IndexError: list index out of range"
    assert report.problem.location.path.endswith("test_recording.py")


@pytest.mark.parametrize("body", [lambda: None, lambda: F.relu(INPUTS)])
def test_a_block_without_a_step_says_so(body: Callable[[], Any]) -> None:
    with modellint.watch(*classifier(), show=False) as watched:
        body()
    assert "no training step seen" in watched.report().problem.message
