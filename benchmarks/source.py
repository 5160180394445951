"""What reading costs: CPU seconds and peak memory of `modellint check` beside other linters, interleaved, as ratios to ruff.

    python benchmarks/source.py [--rounds 5] [--peers ENVIRONMENT/bin] [--folder FOLDER] [--sample FILE] [PATH ...]

Without PATH it reads the Python files of the installed torch package. `--peers` names a folder with the commands `torchfix`
and `torch-preflight`, which take minutes for a package: torchfix is given a folder (by default `torch/optim`) and one file,
torch-preflight only the file (by default a shipped fixture). Compiled files are kept, as an installed package has them.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SAMPLE = ROOT / "fixtures" / "sick" / "seed_classifier.py"
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
NOTHING_FOUND, FOUND = 0, 1  # of all of these linters; anything else means that they did not run


class Cost(NamedTuple):
    cpu: float  # seconds, user and system
    memory: float  # MiB at the peak


def cost(command: Sequence[str], folder: str) -> Cost:
    """Of one process and its children; raises SystemExit if it did not run."""
    with open(os.devnull, "wb") as nowhere:
        process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, cwd=folder, env=ENVIRONMENT)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (NOTHING_FOUND, FOUND):
        raise SystemExit(f"{' '.join(command)} exited {process.returncode}")
    return Cost(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def linters(paths: list[str]) -> dict[str, list[str]]:
    modellint = [str(BIN / "modellint"), "check", *paths]
    return {
        "ruff --select ALL --no-cache": [str(BIN / "ruff"), "check", "--select", "ALL", "--no-cache", "-q", *paths],
        "modellint, cold": [*modellint, "--no-cache"],
        "modellint, warm": modellint,
    }


def torchfix(folder: Path, sample: str) -> dict[str, list[str]]:
    return _there({"torchfix --select ALL": [str(folder / "torchfix"), "--select", "ALL", sample]})


def preflight(folder: Path, sample: str) -> dict[str, list[str]]:
    return _there({"torch-preflight -j 1": [str(folder / "torch-preflight"), "check", "-j", "1", sample]})


def _there(commands: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: command for name, command in commands.items() if os.path.exists(command[0])}


def compared(commands: dict[str, list[str]], rounds: int) -> Iterator[tuple[str, Cost]]:
    """The medians of each, all run once before and then in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for command in commands.values():
            cost(command, folder)
        runs = [[cost(command, folder) for command in commands.values()] for _ in range(rounds)]
    for name, costs in zip(commands, zip(*runs, strict=True), strict=True):
        yield name, Cost(*(statistics.median(part) for part in zip(*costs, strict=True)))


def show(title: str, commands: dict[str, list[str]], rounds: int) -> None:
    print(f"{title}\n{'':32}{'CPU s':>9}{'ratio':>9}{'MiB':>9}{'ratio':>9}")
    costs = dict(compared(commands, rounds))
    first = next(iter(costs.values()))
    for name, found in costs.items():
        numbers = found.cpu, found.cpu / first.cpu, found.memory, found.memory / first.memory
        print(f"{name:32}" + "".join(f"{number:9.2f}" for number in numbers))
    if "torchfix --select ALL" in costs:
        share = costs["modellint, cold"].cpu / costs["torchfix --select ALL"].cpu
        print(f"modellint, cold, in units of torchfix: 1/{1 / share:.1f}")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=os.path.abspath)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--folder", type=os.path.abspath)
    parser.add_argument("--sample", type=os.path.abspath, default=str(SAMPLE))
    given = parser.parse_args()
    torch = importlib.util.find_spec("torch")
    places = torch.submodule_search_locations if torch else None
    paths = given.paths or list(places or [])
    if not paths or not shutil.which("ruff", path=str(BIN)):
        raise SystemExit("needs a PATH or torch, and ruff beside this Python")
    for path in paths:
        show(path, linters([path]), given.rounds)
    folder = given.folder or (os.path.join(places[0], "optim") if places else None)
    if given.peers and folder:
        show(folder, linters([folder]) | torchfix(given.peers, folder), given.rounds)
    beside = torchfix(given.peers, given.sample) | preflight(given.peers, given.sample) if given.peers else {}
    show(given.sample, linters([given.sample]) | beside, given.rounds)


if __name__ == "__main__":
    main()
