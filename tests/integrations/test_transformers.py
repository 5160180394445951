"""A Hugging Face Trainer on a tiny random BERT, probed as it is: the Trainer owns the loop, the user only calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """\
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
result = Trainer(model=model, args=arguments, train_dataset=rows).train()
print("final", result.training_loss.hex(), sum(p.double().sum() for p in model.parameters()).item().hex())
"""


def final(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("final"))


@pytest.mark.heavy
def test_a_trainer_is_probed_unmodified_and_trains_the_same(tmp_path: Path) -> None:
    (tmp_path / "finetune.py").write_text(SCRIPT)
    bare = subprocess.run([sys.executable, "finetune.py"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert bare.returncode == 0, bare.stderr
    command = [sys.executable, "-m", "modellint", "probe", "--finish", "--output-format", "json", "finetune.py"]
    probed = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert probed.returncode == 0, probed.stdout + probed.stderr
    report = json.loads(probed.stdout)
    assert (report["run"]["steps"], report["run"]["classes"]) == (10, 3)
    assert report["run"]["model"]["readout"] == "classifier"
    assert report["run"]["places"]["step"]["path"] == "finetune.py"
    assert [d for d in report["diagnostics"] if d["severity"] != "note"] == []
    graph = json.loads((tmp_path / report["run"]["folder"] / "run.json").read_text())["graph"]
    places = {
        (node["location"]["path"], node["location"]["line"]) for node in graph["nodes"] if node["role"] == "linear"
    }
    called = next(number for number, line in enumerate(SCRIPT.splitlines(), 1) if ".train()" in line)
    assert places == {("finetune.py", called)}, "all else is installed code"
    assert final((tmp_path / report["run"]["folder"] / "output.log").read_text()) == final(bare.stdout)
