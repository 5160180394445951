"""Is the root cause that `--prove` names the right one? Every sick fixture with a remedy, and healthy ones: docs/proof.md.

    python benchmarks/proof.py [--json FOLDER] [--write docs/proof.md] [NAME ...]

The root cause of a fixture is the fault that was written into it: the first `# expect:` mark of its script, or where
it has several, the one in ROOTS, decided when the script was written and its healthy twin showed what mends it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parents[1] / "fixtures"
# Rules that mean the fault: the one of the script, and of deeper layers those that see the same fault.
ROOTS: Mapping[str, tuple[str, ...]] = {
    "adding_problem": ("missing-gradient-clip", "exploding-gradients"),
    "bike_rentals": ("functional-target-shape", "loss-shape-broadcast"),
    "bird_calls": ("optimizer-parameters",),
    "bracket_transformer": ("scaler-bypassed",),
    "cell_masks": ("clip-scaled-gradients",),
    "char_tagger": ("clip-after-step",),
    "clusters": ("large-learning-rate", "update-too-large"),
    "curve_fitting": ("gradient-path-cut",),
    "digits_cnn": ("softmax-into-cross-entropy", "softmax-before-loss"),
    "distilled_student": ("kl-div-input-not-log",),
    "face_vae": ("loss-sign",),
    "fraud": ("class-imbalance",),
    "grid_dqn": ("clip-wrong-parameters",),
    "house_prices": ("clip-before-backward",),
    "keyword_spotter": ("train-eval-mode",),
    "leaf_species": ("train-eval-mode",),
    "log_lines": ("same-batch-every-step",),
    "moons_gan": ("optimizer-parameters",),
    "photo_tags": ("sigmoid-loss-mismatch",),
    "price_range": ("loss-sign",),
    "residual_tower": ("readout-without-norm", "unscaled-features"),
    "reverse_words": ("missing-gradient-clip",),
    "rock_samples": ("frozen-fresh-parameters",),
    "scan_autoencoder": ("gradient-path-cut",),
    "seed_classifier": ("large-learning-rate",),
    "siamese": ("non-finite",),
    "sonar": ("constant-initialisation",),
    "spirals": ("missing-zero-grad", "stale-gradients"),
    "stroke_digits": ("nll-input-not-log-probabilities",),
    "weather_station": ("zero-grad-before-step",),
    "wine_quality": ("softmax-dimension",),
    "wrist_activity": ("batch-first",),
}


def script(name: str, folder: str = "sick") -> Path:
    single = Path(folder) / f"{name}.py"
    return single if (FIXTURES / single).exists() else Path(folder) / name / "train.py"


def prove(path: Path, *options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "modellint", "probe", "--prove", "--output-format", "json", *options, str(path)]
    done = subprocess.run(command, cwd=FIXTURES, capture_output=True, text=True)
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def leads(report: Mapping[str, Any]) -> str:
    """The rule that the report names first: the proven root, else the first finding."""
    proof, findings = report["proof"], report["diagnostics"]
    return (proof and proof["root"]) or (findings[0]["rule"] if findings else "")


def rows(names: list[str], keep: Path | None) -> Iterator[tuple[str, ...]]:
    for name in names:
        report = prove(script(name))
        if keep:
            (keep / f"{name}.json").write_text(json.dumps(report))
        proof = report["proof"] or {"trials": [], "seconds": 0.0, "root": None, "summary": "no remedy to try"}
        right = "yes" if leads(report) in ROOTS[name] else "NO"
        cures = "; ".join(t["label"] for t in proof["trials"] if t["effect"] == "cured")
        runs = sum(t["seeds"] for t in proof["trials"]) + proof.get("seeds", 0)
        proven = "proven" if proof["root"] else "first finding"
        yield name, ROOTS[name][0], leads(report), right, proven, cures, str(runs), f"{proof['seconds']:.0f}"


def proposals(names: list[str], keep: Path | None) -> Iterator[tuple[str, ...]]:
    """Of healthy scripts: what is found, and what `--prove` proposes, which should be nothing."""
    for name in names:
        report = prove(script(name, "healthy"))
        if keep:
            (keep / f"healthy-{name}.json").write_text(json.dumps(report))
        loud = sum(finding["severity"] != "note" for finding in report["diagnostics"])
        trials = report["proof"]["trials"] if report["proof"] else []
        cures = [trial["label"] for trial in trials if trial["effect"] == "cured"]
        yield name, str(loud), str(len(trials)), "; ".join(cures)


HEALTHY = (
    *("adding_problem", "bandit", "bike_rentals", "char_tagger", "clusters", "digits_cnn", "dqn", "face_vae", "fraud"),
    *("gan", "gradient_accumulation", "house_prices", "lbfgs_fit", "moons_gan", "price_range", "residual_tower"),
    *("rock_samples", "seed_classifier", "spirals", "stroke_digits", "tiny_lm", "vae", "weather_station", "wgan"),
)
HEALTHY_TITLES = ("healthy script", "loud findings", "remedies tried", "remedies proposed")
TITLES = ("fixture", "root cause", "named first", "right", "by", "remedies that cure", "re-runs", "seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    lines: list[str] = []
    found = list(_table(TITLES, rows(given.names or list(ROOTS), given.json), lines))
    right, proven = sum(row[3] == "yes" for row in found), [row for row in found if row[4] == "proven"]
    lines += [
        "",
        f"{right} of {len(found)} root causes are named first; of the {len(proven)} that a re-run has proven,",
    ]
    lines += [f"{sum(row[3] == 'yes' for row in proven)} are right.", ""]
    healthy = [] if given.names else list(_table(HEALTHY_TITLES, proposals(list(HEALTHY), given.json), lines))
    lines += ["", f"Of {len(healthy)} healthy scripts, {sum(bool(row[3]) for row in healthy)} get a proposal."]
    print(*lines[-5:], sep="\n")
    if given.write:
        given.write.write_text("\n".join(lines) + "\n")


def _table(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]], lines: list[str]) -> Iterator[tuple[str, ...]]:
    lines += [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for row in rows:
        lines.append(f"| {' | '.join(row)} |")
        print(lines[-1], flush=True)
        yield row


if __name__ == "__main__":
    main()
