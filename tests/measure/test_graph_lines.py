"""The graph of a probed run names the lines of the user's model, loss and script, whoever runs the loop."""

from __future__ import annotations

import json
from typing import Any

import pytest

MODEL = """
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.attend, self.project = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.ln_2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        q, k, v = (part.unflatten(-1, (2, -1)).transpose(1, 2) for part in self.attend(self.ln_1(x)).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.ln_2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary=29, width=16, length=8):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks, self.ln_f = nn.ModuleList(Block(width) for _ in range(2)), nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.wte.weight = self.lm_head.weight

    def forward(self, idx, targets=None):
        x = self.wte(idx) + self.wpe(torch.arange(idx.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return logits, loss
"""

BY_HAND = """
import torch
from contextlib import nullcontext
from model import GPT

torch.manual_seed(0)
data = torch.randint(0, 29, (400,))


def get_batch():
    starts = torch.randint(0, 390, (6,))
    x = torch.stack([data[i : i + 8] for i in starts])
    y = torch.stack([data[i + 1 : i + 9] for i in starts])
    return x, y


model, accumulation = GPT(), 2
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
X, Y = get_batch()
for _ in range(4):
    for micro in range(accumulation):
        with nullcontext():
            logits, loss = model(X, Y)
            loss = loss / accumulation
        X, Y = get_batch()
        loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
"""

TRAINER = """
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

torch.manual_seed(0)


class Reader(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.norm, self.head = nn.Embedding(29, 16), nn.LayerNorm(16), nn.Linear(16, 3)

    def forward(self, ids, labels=None):
        pooled = self.words(ids).mean(1)
        return {"logits": self.head(self.norm(pooled))}


class Weighted(Trainer):
    def compute_loss(self, model, inputs, return_outputs=False, **others):
        labels = inputs.pop("labels")
        outputs = model(**inputs)
        loss = nn.functional.cross_entropy(outputs["logits"], labels, weight=torch.tensor([1.0, 2.0, 1.0]))
        return (loss, outputs) if return_outputs else loss


rows = [{"ids": torch.randint(0, 29, (8,)), "labels": torch.tensor(i % 3)} for i in range(64)]
arguments = TrainingArguments(
    "out", per_device_train_batch_size=8, max_steps=4, report_to=[], disable_tqdm=True, save_strategy="no",
    use_cpu=True, remove_unused_columns=False,
)
Weighted(model=Reader(), args=arguments, train_dataset=rows).train()
"""


def places(project: Any, run: Any) -> dict[str, set[tuple[str, int]]]:
    """Where the nodes of each operation are, of those that learn."""
    graph = json.loads((project.folder / run.folder / "run.json").read_text())["graph"]
    found: dict[str, set[tuple[str, int]]] = {}
    for node in graph["nodes"]:
        if node["gradient"]:
            found.setdefault(node["operation"], set()).add((node["location"]["path"], node["location"]["line"]))
    return found


def test_a_loop_of_ones_own_over_a_model_in_another_file(project: Any) -> None:
    project.write("model.py", MODEL)
    run = project.probe(BY_HAND, name="train_gpt.py")
    found = places(project, run)

    def at(text: str) -> tuple[str, int]:
        return "model.py", project.line(text, "model.py")

    assert found["cross_entropy"] == {at("loss = F.cross_entropy")}
    assert found["scaled_dot_product_attention"] == {at("mixed =")}
    assert found["linear"] == {at("q, k, v ="), at("x = x + self.project"), at("return x + self.down"), at("logits =")}
    assert found["embedding"] == {at("x = self.wte")}
    elsewhere = {place for places in found.values() for place in places if place[0] != "model.py"}
    assert elsewhere == {("train_gpt.py", project.line("loss = loss / accumulation", "train_gpt.py"))}


@pytest.mark.heavy
def test_a_trainer_with_a_model_and_a_loss_of_ones_own(project: Any) -> None:
    run = project.probe(TRAINER, name="finetune_own.py", start_seconds=300, step_seconds=300)
    found = places(project, run)

    def at(text: str) -> tuple[str, int]:
        return "finetune_own.py", project.line(text, "finetune_own.py")

    assert found["cross_entropy"] == {at("loss = nn.functional.cross_entropy")}
    assert found["linear"] == found["layer_norm"] == {at('return {"logits"')}
    assert found["embedding"] == {at("pooled =")}
