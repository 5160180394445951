"""Frameworks that own the loop or parts of it, probed as they are: healthy, at the user's lines, and trained the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TRAINER = """\
import torch
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed

set_seed(0)
config = BertConfig(
    vocab_size=64, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, num_labels=3
)
model = BertForSequenceClassification(config)
labels = torch.arange(96) % 3
ids = torch.randint(3, 64, (96, 12))
ids[:, 0] = labels + 3
rows = [{"input_ids": i, "attention_mask": torch.ones(12, dtype=torch.long), "labels": y} for i, y in zip(ids, labels)]
arguments = TrainingArguments(
    "out", per_device_train_batch_size=8, max_steps=12, report_to=[], disable_tqdm=True, save_strategy="no", use_cpu=True
)
Trainer(model=model, args=arguments, train_dataset=rows).train()
"""

DATA = """\
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.LayerNorm(32), nn.Linear(32, 3))
labels = torch.arange(96) % 3
inputs = torch.randn(96, 8) + 2 * nn.functional.one_hot(labels, 8)
loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, labels), batch_size=8)
"""

ACCELERATE = f"""\
{DATA}
from accelerate import Accelerator

accelerator = Accelerator(cpu=True, gradient_accumulation_steps=1)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
for x, y in loader:
    with accelerator.accumulate(model):
        optimizer.zero_grad()
        accelerator.backward(nn.functional.cross_entropy(model(x), y))
        accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
"""

FABRIC = f"""\
{DATA}
from lightning.fabric import Fabric

fabric = Fabric(accelerator="cpu", devices=1)
model, optimizer = fabric.setup(model, torch.optim.AdamW(model.parameters(), lr=1e-2))
for x, y in fabric.setup_dataloaders(loader):
    optimizer.zero_grad()
    fabric.backward(nn.functional.cross_entropy(model(x), y))
    fabric.clip_gradients(model, optimizer, max_norm=1.0)
    optimizer.step()
"""

LIGHTNING = f"""\
{DATA}
import lightning


class Classifier(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = model

    def training_step(self, batch, index):
        x, y = batch
        return nn.functional.cross_entropy(self.model(x), y)

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=1e-2)


quiet = dict(logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
lightning.Trainer(accelerator="cpu", max_epochs=1, gradient_clip_val=1.0, **quiet).fit(Classifier(), loader)
"""

FINAL = """
print("final", sum(p.double().sum() for p in model.parameters()).item().hex())
"""

SCRIPTS = {
    "trainer": (TRAINER, "classifier", ".train()"),
    "accelerate": (ACCELERATE, "3", "(model(x), y)"),
    "fabric": (FABRIC, "3", "(model(x), y)"),
    "lightning": (LIGHTNING, "3", "self.model(x)"),
}


def final(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("final"))


@pytest.mark.heavy
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_framework_is_probed_unmodified_and_trains_the_same(tmp_path: Path, name: str) -> None:
    script, readout, calling = SCRIPTS[name]
    (tmp_path / "finetune.py").write_text(script + FINAL)
    bare = subprocess.run([sys.executable, "finetune.py"], cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert bare.returncode == 0, bare.stderr
    command = [sys.executable, "-m", "modellint", "probe", "--finish", "--output-format", "json", "finetune.py"]
    probed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert probed.returncode == 0, probed.stdout + probed.stderr
    report = json.loads(probed.stdout)
    assert (report["run"]["steps"], report["run"]["classes"]) == (10, 3)
    assert report["run"]["model"]["readout"].endswith(readout)
    assert report["run"]["places"]["step"]["path"] == "finetune.py"
    assert [d for d in report["diagnostics"] if d["severity"] != "note"] == []
    graph = json.loads((tmp_path / report["run"]["folder"] / "run.json").read_text())["graph"]
    places = {
        (node["location"]["path"], node["location"]["line"]) for node in graph["nodes"] if node["role"] == "linear"
    }
    called = next(number for number, line in enumerate(script.splitlines(), 1) if calling in line)
    assert places == {("finetune.py", called)}, "all else is installed code"
    assert final((tmp_path / report["run"]["folder"] / "output.log").read_text()) == final(bare.stdout)
