"""The installed plugin, in pytest processes of its own and in this one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

LABELS = torch.arange(40) % 4
INPUTS = torch.randn(40, 8, generator=torch.Generator().manual_seed(0)) + nn.functional.one_hot(LABELS, 8) * 2


def classifier() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 4))


def test_a_healthy_step_passes_every_assertion(modellint: Any) -> None:
    model = classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    report = modellint.probe(model, (INPUTS, LABELS), nn.CrossEntropyLoss(), optimizer, steps=10)
    report.assert_clean()
    report.assert_gradients_healthy()
    report.assert_predictions_diverse()
    report.assert_no_structural_risks()


def test_the_failure_message_shows_the_measured_numbers(modellint: Any) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=1.0)
    report = modellint.probe(model, (INPUTS, LABELS), nn.CrossEntropyLoss(), optimizer)
    with pytest.raises(AssertionError, match=r"exploding-gradients[\s\S]*\d+ of 10 steps"):
        report.assert_gradients_healthy()
    with pytest.raises(AssertionError, match="expected no finding"):
        report.assert_clean()
    report.assert_clean(ignore=[d.rule for d in report.diagnostics])


def test_a_structural_risk_is_named_with_its_module(modellint: Any) -> None:
    model = nn.Sequential(classifier(), nn.Softmax(dim=-1))
    report = modellint.probe(model, (INPUTS, LABELS), nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))
    with pytest.raises(AssertionError, match="softmax-before-loss"):
        report.assert_no_structural_risks()


def test_what_could_not_be_checked_does_not_pass(modellint: Any) -> None:
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1))
    optimizer = torch.optim.Adam(model.parameters())
    report = modellint.probe(model, (INPUTS, INPUTS.sum(1, keepdim=True)), nn.MSELoss(), optimizer)
    with pytest.raises(AssertionError, match="could not be checked"):
        report.assert_predictions_diverse()


def test_an_unknown_rule_cannot_be_ignored(modellint: Any) -> None:
    model = classifier()
    report = modellint.probe(model, (INPUTS, LABELS), nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))
    with pytest.raises(modellint.UsageError, match="no-such-rule"):
        report.assert_clean(ignore=["no-such-rule"])


def test_model_optimizer_and_random_state_are_as_before(modellint: Any) -> None:
    model = nn.Sequential(classifier(), nn.BatchNorm1d(4), nn.Dropout(0.5))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(INPUTS), LABELS).backward()
    optimizer.step()
    model[0].eval()

    def state() -> list[Any]:
        tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters()), torch.get_rng_state()]
        steps = [value for s in optimizer.state.values() for value in s.values()]
        return [t.clone() for t in (*tensors, *steps)] + [module.training for module in model.modules()]

    before = state()
    modellint.probe(model, (INPUTS, LABELS), nn.CrossEntropyLoss(), optimizer, steps=3)
    after = state()
    assert len(before) == len(after)
    assert all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in zip(before, after, strict=True))


def test_a_broken_step_raises_the_users_error_and_leaves_no_hooks(modellint: Any) -> None:
    model = classifier()
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        modellint.probe(model, (INPUTS[:, :3], LABELS), nn.CrossEntropyLoss(), torch.optim.Adam(model.parameters()))
    hooks = nn.modules.module._global_forward_hooks
    assert not hooks


def test_pytest_starts_without_torch_and_libcst(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import sys\n\ndef test_start():\n"
        "    assert not {'torch', 'libcst', 'rich', 'modellint.pipeline'} & set(sys.modules)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_nothing.py"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout
    listed = subprocess.run([*command, "--fixtures"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert "modellint" in listed.stdout
