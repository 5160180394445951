"""How many faults are found that are written into healthy scripts, kind by kind, within ten steps.

python benchmarks/recall.py [--kinds NAME ...]

Each fault is an edit of the text of scripts in fixtures/healthy that tuned no threshold (see healthy.py). It is found
when a rule that names it is certain or confirmed; `noted` counts those that are only noted. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import forked

from modellint import Diagnostic, Severity, pipeline
from modellint.core import config

HEALTHY = Path(__file__).resolve().parents[1] / "fixtures" / "healthy"
LOGITS = "        logits = model(centres[y] + 0.8 * torch.randn(64, 16))\n"
TRIPLE = "        optimizer.zero_grad()\n        loss.backward()\n        optimizer.step()\n"
CLIPPED = (
    "    loss.backward()\n    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    optimizer.step()\n",
    "    loss.backward()\n    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n    optimizer.step()\n",
)
MODEL = "    model, centres = Model(), torch.randn(8, 16)\n"
SIGMOIDS = "nn.Linear(30, 64), nn.Sigmoid(), " + "nn.Linear(64, 64), nn.Sigmoid(), " * 9 + "nn.Linear(64, 12)"
STACK = "nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 12)"
TOO_FAST = "update-too-large large-learning-rate exploding-gradients non-finite"

# What may convict each kind, and the edits: script, old text, new text.
KINDS: dict[str, tuple[str, list[tuple[str, str, str]]]] = {
    "missing-zero-grad": (
        "missing-zero-grad stale-gradients",
        [
            ("mixture_of_experts", TRIPLE, TRIPLE.partition("\n")[2]),
            ("hidden_words", "    optimizer.zero_grad()\n", ""),
            ("noisy_autoencoder", "        optimizer.zero_grad()\n", ""),
            ("half_precision", "        opt.zero_grad(set_to_none=True)\n", ""),
        ],
    ),
    "zero-grad-before-step": (
        "zero-grad-before-step frozen-weights zero-gradients",
        [
            (
                "mixture_of_experts",
                TRIPLE,
                "        loss.backward()\n        optimizer.zero_grad()\n        optimizer.step()\n",
            ),
            ("low_rank_adapter", "opt.step()\n        opt.zero_grad()", "opt.zero_grad()\n        opt.step()"),
        ],
    ),
    "clip-after-step": (
        "clip-after-step clip-without-effect",
        [
            ("hidden_words", CLIPPED[0], "".join(CLIPPED[0].splitlines(True)[i] for i in (0, 2, 1))),
            ("char_gpt", CLIPPED[1], "".join(CLIPPED[1].splitlines(True)[i] for i in (0, 2, 1))),
        ],
    ),
    "clip-before-backward": (
        "clip-before-backward clip-without-effect",
        [
            ("hidden_words", CLIPPED[0], "".join(CLIPPED[0].splitlines(True)[i] for i in (1, 0, 2))),
            ("char_gpt", CLIPPED[1], "".join(CLIPPED[1].splitlines(True)[i] for i in (1, 0, 2))),
        ],
    ),
    "huge-clip": (
        "clip-threshold clip-never-binds clip-without-effect",
        [
            ("hidden_words", "parameters(), 1.0)", "parameters(), 1e9)"),
            ("char_gpt", "parameters(), 1.0)", "parameters(), 1e6)"),
        ],
    ),
    "tiny-clip": (
        "clip-threshold update-too-small frozen-weights",
        [
            ("scaled_fp16_loop", "parameters(), 2.0)", "parameters(), 1e-7)"),
            ("molecule_messages", "parameters(), 5.0)", "parameters(), 1e-9)"),
        ],
    ),
    "softmax-into-cross-entropy": (
        "softmax-before-loss softmax-into-cross-entropy",
        [
            ("mixture_of_experts", "F.cross_entropy(logits, y)", "F.cross_entropy(logits.softmax(-1), y)"),
            ("vit_blocks", "return self.head(self.norm(x[:, 0]))", "return self.head(self.norm(x[:, 0])).softmax(-1)"),
            ("half_precision", "return self.fc(x.mean((2, 3)))", "return F.softmax(self.fc(x.mean((2, 3))), dim=1)"),
        ],
    ),
    "sigmoid-into-logits-loss": (
        "sigmoid-loss-mismatch softmax-before-loss",
        [
            (
                "road_unet",
                "binary_cross_entropy_with_logits(logits,",
                "binary_cross_entropy_with_logits(logits.sigmoid(),",
            )
        ],
    ),
    "large-learning-rate": (
        TOO_FAST,
        [
            ("half_precision", "default=2e-3", "default=2.0"),
            ("mixture_of_experts", "lr=1e-3", "lr=0.5"),
            ("noisy_autoencoder", "lr=2e-3", "lr=1.0"),
            ("hidden_words", "model.parameters(), 1e-3", "model.parameters(), 0.3"),
        ],
    ),
    "tiny-learning-rate": (
        "update-too-small frozen-weights",
        [
            ("mixture_of_experts", "lr=1e-3", "lr=1e-8"),
            ("hidden_words", "model.parameters(), 1e-3", "model.parameters(), 1e-9"),
            ("noisy_autoencoder", "lr=2e-3", "lr=2e-8"),
        ],
    ),
    "rate-falls-to-zero": (
        "learning-rate-trajectory scheduler-order update-too-small",
        [("scaled_fp16_loop", "OneCycleLR(optimizer, max_lr=0.1, total_steps=60)", "ExponentialLR(optimizer, 0.1)")],
    ),
    "scheduler-before-optimizer": (
        "scheduler-order",
        [
            (
                "vit_blocks",
                "            optimizer.step()\n            schedule.step()\n",
                "            schedule.step()\n            optimizer.step()\n",
            )
        ],
    ),
    "half-of-the-model-in-no-optimizer": (
        "optimizer-parameters loose-parameters",
        [
            ("mixture_of_experts", "Adam(model.parameters()", "Adam(model.stem.parameters()"),
            ("vit_blocks", "AdamW(model.parameters()", "AdamW(model.head.parameters()"),
            ("noisy_autoencoder", "Adam([*encoder.parameters(), *decoder.parameters()]", "Adam(decoder.parameters()"),
        ],
    ),
    "optimizer-of-another-model": (
        "optimizer-parameters loose-parameters frozen-weights zero-gradients missing-optimizer-step",
        [("mixture_of_experts", "Adam(model.parameters()", "Adam(Model().parameters()")],
    ),
    "frozen-fresh-layers": (
        "frozen-fresh-parameters frozen-at-random",
        [("mixture_of_experts", MODEL, MODEL + "    model.stem.requires_grad_(False)\n")],
    ),
    "trained-in-evaluation-mode": (
        "trained-in-evaluation-mode train-eval-mode",
        [
            ("rare_alarms", "    model.train()\n", "    model.eval()\n"),
            ("paper_graph", "    model.train()\n", "    model.eval()\n"),
            ("mean_teacher", "    student.train()\n", "    student.eval()\n"),
        ],
    ),
    "samples-mixed": (
        "batch-mixing batch-first identical-outputs",
        [
            ("vit_blocks", "(dim, heads, batch_first=True)", "(dim, heads)"),
            ("half_precision", "self.fc(x.mean((2, 3)))", "self.fc(x.mean((2, 3)).t().reshape(len(x), -1))"),
            (
                "mixture_of_experts",
                "probs = self.gate(x).softmax(-1)",
                "x = x.softmax(0); probs = self.gate(x).softmax(-1)",
            ),
        ],
    ),
    "no-causal-mask": (
        "missing-causal-mask",
        [("char_gpt", "is_causal=True", "is_causal=False")],
    ),
    "dropout-in-evaluation": (
        "functional-dropout-mode",
        [("paper_graph", ", training=self.training)", ")"), ("char_gpt", "self.p if self.training else 0.0", "self.p")],
    ),
    "cut-gradient": (
        "cut-gradient gradient-path-cut unused-parameter loose-parameters zero-gradients",
        [
            ("vit_blocks", "self.norm(x[:, 0])", "self.norm(x[:, 0].detach())"),
            ("mixture_of_experts", "h = F.relu(self.stem(x))", "h = F.relu(self.stem(x)).detach()"),
            ("noisy_autoencoder", "decoder(encoder(noisy))", "decoder(encoder(noisy).detach())"),
        ],
    ),
    "loss-keeps-graph": (
        "loss-keeps-graph memory-growth",
        [("noisy_autoencoder", "total += loss.item()", "total += loss")],
    ),
    "not-a-number": (
        "non-finite",
        [
            (
                "half_precision",
                "cross_entropy(logits, y)",
                "cross_entropy(logits, y) + (logits - logits.detach()).norm(2, 1).pow(0.5).mean()",
            ),
            ("mixture_of_experts", "0.01 * model.moe.balance", "0.01 * (model.moe.balance - model.moe.balance).sqrt()"),
        ],
    ),
    "unscaled-inputs": (
        "unscaled-inputs unscaled-features bad-initial-loss readout-without-norm",
        [
            (
                "low_rank_adapter",
                "return centres[y] + torch.randn(n, 24, generator=generator), y",
                "return 200 * (centres[y] + torch.randn(n, 24, generator=generator)), y",
            ),
            ("sharpness_aware", "x = centres[y] + torch.randn(64, 20)", "x = 200 * (centres[y] + torch.randn(64, 20))"),
        ],
    ),
    "imbalance": (
        "class-imbalance",
        [
            ("rare_alarms", "nn.CrossEntropyLoss(weight=weights)", "nn.CrossEntropyLoss()"),
            (
                "mixture_of_experts",
                "y = torch.randint(0, 8, (64,))",
                "y = torch.randint(0, 8, (64,)) * (torch.rand(64) < 0.05)",
            ),
        ],
    ),
    "one-class-only": (
        "label-range class-imbalance",
        [
            ("mixture_of_experts", "y = torch.randint(0, 8, (64,))", "y = torch.full((64,), 3)"),
            ("sharpness_aware", "y = torch.randint(0, 6, (64,))", "y = torch.zeros(64, dtype=torch.long)"),
        ],
    ),
    "loss-broadcast": (
        "loss-shape-broadcast",
        [
            ("molecule_messages", "[:, None]).squeeze(1)", "[:, None])"),
            ("movie_factors", "+ self.bias(f).squeeze(1)", "+ self.bias(f)"),
        ],
    ),
    "constant-initialisation": (
        "constant-initialisation identical-outputs",
        [
            (
                "mixture_of_experts",
                MODEL,
                MODEL + "    for p in model.parameters():\n        nn.init.constant_(p, 0.1)\n",
            ),
            ("sharpness_aware", "sam = SAM(", "for p in model.parameters():\n    nn.init.zeros_(p)\nsam = SAM("),
        ],
    ),
    "vanishing": ("vanishing-gradients saturating-stack", [("scaled_fp16_loop", STACK, SIGMOIDS)]),
    "weight-decay": (
        "weight-decay-dominates",
        [
            ("scaled_fp16_loop", "weight_decay=1e-4", "weight_decay=5.0"),
            ("two_views", "weight_decay=1e-6", "weight_decay=100.0"),
        ],
    ),
    "reversed-loss": (
        "reversed-loss loss-sign",
        [
            ("mixture_of_experts", "loss.backward()", "(-loss).backward()"),
            ("half_precision", "loss = F.cross_entropy(logits, y)", "loss = -F.cross_entropy(logits, y)"),
        ],
    ),
    "relu-on-the-output": (
        "activation-on-output",
        [
            (
                "mixture_of_experts",
                "return self.head(self.norm(h + self.moe(h)))",
                "return F.relu(self.head(self.norm(h + self.moe(h))))",
            ),
            ("half_precision", "self.fc(x.mean((2, 3)))", "F.relu(self.fc(x.mean((2, 3))))"),
        ],
    ),
    "no-nonlinearity": (
        "linear-without-nonlinearity",
        [("scaled_fp16_loop", STACK, STACK.replace("nn.ReLU(), ", "")), ("rare_alarms", "nn.ReLU(), ", "")],
    ),
    "dead-units": (
        "dead-units zero-gradients identical-outputs collapsed-features",
        [
            ("scaled_fp16_loop", "amp)\n", "amp)\nnn.init.constant_(model[2].bias, -50.0)\n"),
            ("sharpness_aware", "sam = SAM(", "nn.init.constant_(model[0].bias, -50.0)\nsam = SAM("),
        ],
    ),
    "input-ignored": (
        "identical-outputs",
        [
            ("mixture_of_experts", "self.stem(x)", "self.stem(x * 0)"),
            ("half_precision", "logits = model(x)", "logits = model(torch.ones_like(x))"),
        ],
    ),
    "labels-shuffled (a run cannot show it)": (
        "misaligned-inputs-labels",
        [("mixture_of_experts", LOGITS, LOGITS + "        y = y[torch.randperm(64)]\n")],
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    forked.warm()
    kinds = parser.parse_args().kinds
    print("| fault | found | noted | missed | by |\n|---|---|---|---|---|")
    whole = sum([row(kind) for kind in kinds])
    print(f"\n{whole} of {len(kinds)} kinds found in every script")


def row(kind: str) -> bool:
    names, edits = KINDS[kind]
    found = {edit[0]: named(diagnose(*edit), names.split()) for edit in edits}
    loud = [script for script, findings in found.items() if any(convicts(finding) for finding in findings)]
    noted = [script for script, findings in found.items() if findings and script not in loud]
    missed = [script for script, findings in found.items() if not findings]
    by = sorted({finding.rule for findings in found.values() for finding in findings})
    cells = (kind, f"{len(loud)} of {len(edits)}", ", ".join(noted), ", ".join(missed), ", ".join(by))
    print(f"| {' | '.join(cells)} |", flush=True)
    return len(loud) == len(edits)


def diagnose(script: str, old: str, new: str) -> tuple[Diagnostic, ...]:
    """What is found in the script with one piece of its text replaced; where no step was made, by reading alone."""
    text = (HEALTHY / f"{script}.py").read_text(encoding="utf-8")
    if old not in text:
        raise SystemExit(f"{script} does not hold {old!r}")
    with tempfile.TemporaryDirectory() as folder:
        edited = Path(shutil.copy(HEALTHY / f"{script}.py", folder))
        edited.write_text(text.replace(old, new), encoding="utf-8")
        try:
            return forked.probe(edited).diagnostics
        except RuntimeError as error:
            print(f"<!-- {script}: {str(error).strip().splitlines()[-1]} -->")
            return pipeline.check([edited], config.load(HEALTHY)).diagnostics


def named(findings: tuple[Diagnostic, ...], names: list[str]) -> list[Diagnostic]:
    return [finding for finding in findings if {finding.rule, *finding.twins} & set(names)]


def convicts(finding: Diagnostic) -> bool:
    return finding.level.rank >= Severity.WARNING.rank


if __name__ == "__main__":
    main()
