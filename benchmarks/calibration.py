"""False alarms of the runtime rules on healthy trainings, and how many injected faults they find.

python benchmarks/calibration.py [--seeds 3] [--first-seed 0] [--runs FOLDER] [--healthy-only] [--only NAME...]

Every training of families.py, and every script in fixtures/healthy, is probed for ten steps with each seed; then each
fault of families.py is injected into each family that can have it. Runs are kept in FOLDER and judged again, not run
again, when they are already there. Prints the two rates that thresholds are judged by, and for each bound what healthy runs
have measured. `--only` takes names of families, scripts and faults.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from modellint import Diagnostic, Passed, Run, RuntimeRule, Severity
from modellint.core import registry
from modellint.measure import launch, merge, nodes

HERE = Path(__file__).resolve().parent
HEALTHY = HERE.parent / "fixtures" / "healthy"
RULES = [rule for rule in registry.load() if isinstance(rule, RuntimeRule)]

CLASSIFIERS = ("plain_mlp", "small_batch_mlp", "normed_mlp", "batchnorm_cnn", "smoothed_cnn", "zero_gamma_resnet")
SEQUENCES = ("gru_classifier", "rmsprop_rnn", "tied_lm")
FAULTS = {  # which rules may convict it, and the families that it is injected into
    "large-learning-rate": (("update-too-large", "exploding-gradients", "non-finite"), CLASSIFIERS + SEQUENCES),
    "missing-zero-grad": (("stale-gradients",), (*CLASSIFIERS, *SEQUENCES, "regression", "accumulation")),
    "clip-after-step": (("clip-without-effect",), (*CLASSIFIERS, *SEQUENCES, "regression")),
    "clip-before-backward": (("clip-without-effect",), (*CLASSIFIERS, *SEQUENCES, "regression")),
    "huge-clip": (("clip-never-binds", "clip-without-effect"), (*CLASSIFIERS, *SEQUENCES, "regression")),
    "unscaled-inputs": (("unscaled-features", "bad-initial-loss", "collapsed-predictions"), CLASSIFIERS[:2]),
    "unscaled-features": (("unscaled-features", "bad-initial-loss"), ("plain_mlp", "normed_mlp", "zero_gamma_resnet")),
    "sign-flip": (("reversed-loss",), CLASSIFIERS),
    "not-a-number": (("non-finite",), (*CLASSIFIERS, *SEQUENCES, "regression")),
    "imbalance": (("class-imbalance",), CLASSIFIERS),
    "dead-units": (("dead-units", "zero-gradients", "identical-outputs"), ("plain_mlp", "small_batch_mlp")),
    "deep-sigmoid": (("vanishing-gradients",), ("plain_mlp", "normed_mlp", "batchnorm_cnn")),
    "tiny-learning-rate": (("update-too-small", "frozen-weights"), (*CLASSIFIERS, *SEQUENCES, "regression")),
    "zero-learning-rate": (("frozen-weights",), ("plain_mlp", "gru_classifier", "regression")),
    "epoch-schedule-each-batch": (("learning-rate-trajectory",), ("plain_mlp", "batchnorm_cnn", "gru_classifier")),
    "kept-graph": (("memory-growth",), ("plain_mlp", "batchnorm_cnn", "gru_classifier", "regression")),
    "evaluation-mode": (("trained-in-evaluation-mode",), ("batchnorm_cnn", "zero_gamma_resnet")),
    "large-weight-decay": (("weight-decay-dominates",), ("plain_mlp", "batchnorm_cnn", "gru_classifier", "regression")),
    "targets-of-255": (("label-range",), ("multi_label",)),
    "layer-after-optimizer": (("loose-parameters",), ("plain_mlp", "batchnorm_cnn", "regression")),
    "idle-optimizer": (("step-skipped",), ("plain_mlp", "batchnorm_cnn", "regression")),
    "huge-targets": (("unscaled-targets",), ("regression", "autoencoder")),
    "average-that-keeps-nothing": (("broken-average",), ("slow_average", "warm_average")),
    "trained-average": (("average-is-trained",), ("slow_average", "quick_average")),
    "teacher-that-drops-out": (("teacher-drops-out",), ("dropping_teacher",)),
    "momentum-of-keras": (("statistics-of-one-batch",), ("batchnorm_cnn", "zero_gamma_resnet")),
    "half-precision": (("rounded-away",), ("plain_mlp", "batchnorm_cnn", "regression", "normed_mlp")),
    "head-left-out": (("loose-parameters",), ("plain_mlp", "normed_mlp", "batchnorm_cnn", "regression")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path(tempfile.gettempdir()) / "modellint-calibration")
    parser.add_argument("--healthy-only", action="store_true")
    parser.add_argument("--only", nargs="+", metavar="NAME")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    runs = list(healthy(arguments.runs, seeds, arguments.only))
    print_false_alarms(runs)
    print_margins([run for _, run in runs])
    if not arguments.healthy_only:
        print_recall(arguments.runs, arguments.only)


def print_false_alarms(runs: list[tuple[str, Run]]) -> None:
    alarms = [(name, finding) for name, run in runs for finding in findings(run)]
    for name, finding in alarms:
        print(f"{finding.severity:8} {finding.rule:22} {name:28} {finding.message}")
    loud = {name for name, finding in alarms if finding.severity.rank >= Severity.WARNING.rank}
    noted = {name for name, _ in alarms} - loud
    print(f"\nfalse alarms: {len(loud)} of {len(runs)} healthy runs; notes alone on {len(noted)}\n")


def print_margins(runs: list[Run]) -> None:
    values = defaultdict(list)
    for passed in (
        passed for run in runs for rule in RULES for passed in rule.check(run) if isinstance(passed, Passed)
    ):
        if isinstance(passed.value, (int, float)) and passed.bound is not None:
            values[passed.rule, passed.bound].append(passed.value)
    for (rule, bound), found in sorted(values.items()):
        print(f"{rule:26} bound {bound:<10.4g} healthy {min(found):.4g} .. {max(found):.4g} ({len(found)} times)")


def print_recall(folder: Path, only: Sequence[str] | None) -> None:
    print()
    for fault, (rules, families) in FAULTS.items():
        if only is not None and fault not in only:
            continue
        found = defaultdict(list)
        for family in families:
            run = probe([str(HERE / "families.py"), family, "--fault", fault], folder / f"{family}-{fault}")
            found[any(finding.rule in rules for finding in findings(run))].append(family)
        missed = f"   missed on {', '.join(found[False])}" if found[False] else ""
        print(f"{fault:22} found {len(found[True]):2} of {len(families):2}{missed}")


def healthy(folder: Path, seeds: range, only: Sequence[str] | None) -> Iterator[tuple[str, Run]]:
    sys.path.insert(0, str(HERE))
    from families import FAMILIES

    for script in sorted(HEALTHY.glob("*.py")):
        if only is None or script.stem in only:
            yield script.stem, probe([str(script)], folder / script.stem)
    for family in FAMILIES:
        for seed in seeds if only is None or family in only else ():
            command = [str(HERE / "families.py"), family, "--seed", str(seed)]
            yield f"{family} seed {seed}", probe(command, folder / f"{family}-{seed}")


def probe(command: list[str], folder: Path) -> Run:
    if (folder / merge.RUN_FILE).exists():
        return nodes.load(folder)
    run = launch.launch(command, launch.Options(run_dir=folder))
    if not run.steps:
        raise SystemExit(f"{' '.join(command)}: {run.problem}")
    return run


def findings(run: Run) -> list[Diagnostic]:
    return [found for rule in RULES for found in rule.check(run) if isinstance(found, Diagnostic)]


if __name__ == "__main__":
    main()
