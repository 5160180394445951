"""Proof end to end on some of the fixtures; benchmarks/proof.py runs all of them."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modellint.measure.launch import Options, launch
from modellint.proof.outcome import outcome
from modellint.proof.schedule import REMEDY, SEED
from modellint.proof.verdict import end

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures"
SAMPLE = ("bike_rentals", "clusters", "fraud", "seed_classifier", "spirals")
LONGER = {  # how their scripts are made to go on for long enough
    "seed_classifier": ('"--epochs", type=int, default=1', '"--epochs", type=int, default=20'),
    "spirals": ("range(20)", "range(2000)"),
}


def benchmark() -> Any:
    spec = importlib.util.spec_from_file_location("benchmark_of_proof", ROOT / "benchmarks" / "proof.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def proven(name: str) -> dict[str, Any]:
    return benchmark().prove(Path("sick") / f"{name}.py")


@pytest.mark.parametrize("name", SAMPLE)
def test_the_root_cause_is_named(name):
    report = proven(name)
    assert report["proof"]["root"] in benchmark().ROOTS[name]
    assert report["diagnostics"][0]["rule"] == report["proof"]["root"]
    assert report["proof"]["noise"] == 0  # equal bit for bit, seeded by the script or not


def test_a_clip_bounds_the_norm_of_the_classifier_and_does_not_cure_it():
    proof = proven("seed_classifier")["proof"]
    clip = next(trial for trial in proof["trials"] if trial["remedies"][0]["name"] == "clip")
    norm = "largest gradient norm that is applied"
    assert proof["found"]["measures"][norm]["low"] > 1e4
    assert clip["measures"][norm]["high"] <= 1.01 * clip["remedies"][0]["bound"]
    assert clip["effect"] in ("no effect", "improved")
    assert next(t["effect"] for t in proof["trials"] if t["label"] == "learning rate / 100") == "cured"


@pytest.mark.parametrize("name", LONGER)
def test_a_cure_holds_in_a_run_ten_times_as_long(name, tmp_path):
    proof = proven(name)["proof"]
    steps = 10 * proof["steps"]
    cured = [trial["remedies"] for trial in proof["trials"] if trial["effect"] == "cured"]
    assert cured
    script = tmp_path / f"{name}.py"
    script.write_text((FIXTURES / "sick" / script.name).read_text().replace(*LONGER[name]))
    found, *others = (
        outcome(
            launch(
                [str(script)],
                Options(steps, run_dir=tmp_path / str(number), environment={SEED: "7", REMEDY: json.dumps(remedies)}),
            ),
            steps,
        )
        for number, remedies in enumerate([[], *cured])
    )
    assert len(found.losses) == steps
    for longer in others:
        assert len(longer.losses) == steps
        assert longer.finite
        assert end(longer.losses) < min(0.9 * found.losses[0], end(found.losses))


def test_proven_fixes_make_the_probe_clean(tmp_path):
    shutil.copy(FIXTURES / "sick" / "seed_classifier.py", tmp_path / "train.py")
    command = [sys.executable, "-m", "modellint", "fix", "--proven", "--apply", "train.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"--lr", type=float, default=1e-3' in (tmp_path / "train.py").read_text()
    assert "large-learning-rate is the root cause" in done.stdout
    assert "after it, the probe finds nothing" in done.stdout
    assert [file.name for file in tmp_path.iterdir() if file.suffix == ".py"] == ["train.py"]
    probe = [sys.executable, "-m", "modellint", "probe", "train.py"]
    assert subprocess.run(probe, cwd=tmp_path, capture_output=True).returncode == 0
