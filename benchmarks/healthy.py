"""False alarms on healthy scripts, by reading and by probing, three seeds each.

python benchmarks/healthy.py [--seeds 3] [--all]

The scripts of UNTOUCHED were written after all thresholds were set, and no rule was changed for their sake; those of
MENDED alarmed when they were first probed, and a rule was mended. The other scripts of fixtures/healthy, which `--all`
adds, were there while rules were written. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import forked

from modellint import Diagnostic, Severity, pipeline
from modellint.core import config

HEALTHY = Path(__file__).resolve().parents[1] / "fixtures" / "healthy"
UNTOUCHED = tuple(
    """
    arm_td3 face_triplets half_precision hidden_words joint_tasks logistic_news low_rank_adapter mean_teacher
    mixture_of_experts molecule_messages movie_factors noisy_autoencoder padded_translation paper_graph pole_ppo
    rare_alarms resumed_from_checkpoint ridge_by_hand rmsprop_dqn rmsprop_weather road_unet scaled_fp16_loop
    sharpness_aware two_at_a_time two_views vit_blocks
    """.split()
)
MENDED = ("char_gpt", "denoising_diffusion")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    forked.warm()
    scripts = sorted(HEALTHY.glob("*.py")) if arguments.all else [HEALTHY / f"{n}.py" for n in (*UNTOUCHED, *MENDED)]
    print("| script | read | probed: loud of seeds | notes |\n|---|---|---|---|")
    loud = [row(script, arguments.seeds) for script in scripts]
    print(f"\n{sum(loud)} of {len(scripts) * arguments.seeds} probes with a warning or an error")


def row(script: Path, seeds: int) -> int:
    reports = [forked.probe(script, seed) for seed in range(seeds)]
    read = names(alarms(pipeline.check([script], config.load(HEALTHY)).diagnostics))
    found = [list(alarms(report.diagnostics)) for report in reports]
    notes = names(d for report in reports for d in report.diagnostics if d.level is Severity.NOTE)
    told = names(d for each in found for d in each)
    print(f"| {script.stem} | {read or 'clean'} | {sum(map(bool, found))} of {seeds} {told} | {notes} |", flush=True)
    return sum(map(bool, found))


def alarms(findings: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    return (finding for finding in findings if finding.level.rank >= Severity.WARNING.rank)


def names(findings: Iterable[Diagnostic]) -> str:
    return ", ".join(sorted({finding.rule for finding in findings}))


if __name__ == "__main__":
    main()
