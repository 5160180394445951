"""Faults of the world that a script is run in, through the command line: exit code 2 and a message with the user's line, what
was measured is kept, no process is left. What a script may do without harm ends with exit code 0.
"""

import itertools
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "modellint", "probe", "--isolated", "--output-format", "json", "--steps", "3")
MARKS = itertools.count()
# The superuser may write everywhere, unless he gives that up.
ORDINARY = ("setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override") if os.geteuid() == 0 else ()
RANKS = ("--", sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
RANK = """
import common
from torch import distributed, nn

distributed.init_process_group("gloo")
common.Net = lambda make=common.Net: nn.parallel.DistributedDataParallel(make())
"""


@dataclass(frozen=True)
class Fault:
    """`act` is what the script does after each step; the message names the line of the last `#!`."""

    act: str
    said: str = ""
    steps: int = 2
    options: tuple[str, ...] = ()
    before: str = ""  # everything else
    code: int = 2


FAULTS = {
    "hang before the first step": Fault(
        "pass", "no training step within 8 s", 0, ("--start-seconds", "8"), "while True: pass  #!"
    ),
    "hang in a step": Fault(
        "step and time.sleep(600)  #!",
        "no further training step within 5 s, after 2 training steps",
        2,
        ("--step-seconds", "5"),
    ),
    "segmentation fault": Fault("step and ctypes.string_at(0)  #!", "SIGSEGV"),
    "abort": Fault("step and os.abort()  #!", "SIGABRT"),
    "exit past Python": Fault("step and os._exit(0)  #!", "left the training loop by exit()"),
    "exit past Python with a code": Fault("step and os._exit(7)  #!", "exit code 7"),
    "SIGKILL": Fault("step and os.kill(os.getpid(), 9)", "SIGKILL"),
    "SIGTERM": Fault("step and os.kill(os.getpid(), 15)", "SIGTERM"),
    "too much memory": Fault("hold(step)", "more than 1.5 GiB of memory", 2, ("--max-memory", "1.5")),
    "workers without end": Fault("step and breed()", "no further training step within 8 s", 2, ("--step-seconds", "8")),
    "a rank that dies": Fault(
        "step and rank() and os.kill(os.getpid(), 9)", "rank 1 was killed by SIGKILL", 2, RANKS, RANK
    ),
    "an output that is closed": Fault("(sys.stdout.close(), os.closerange(1, 3)) if step == 0 else 0", steps=3, code=0),
    "another directory": Fault("os.makedirs('deep', exist_ok=True); os.chdir('deep')", steps=3, code=0),
    "bytes that are no text": Fault("os.write(1, b'caf\\xe9 \\xff\\xfe')", steps=3, code=0),
}
SCRIPT = """
BEFORE
import ctypes, os, subprocess, sys, time
from common import torch, train

held = []

def hold(step):
    while step:
        held.append(b"x" * (1 << 26))
        time.sleep(0.05)

def breed():
    while True:
        subprocess.Popen([sys.executable, "-c", "import os, time; os.fork(); time.sleep(600)"], start_new_session=True)
        time.sleep(1)

def rank():
    return torch.distributed.get_rank()

def act(step):
    ACT

train(9, act)
"""


def alive(mark: str) -> list[str]:
    """The processes that carry `mark` in their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in entry.read_bytes():
                found.append(entry.parent.name)
        except OSError:  # it has just ended, or is another's
            continue
    return found


def probe(project, *command: str, through: tuple[str, ...] = (), folder: Path | None = None):
    """The ended command, its report, and the processes that it left behind."""
    mark = f"modellint-fault-{os.getpid()}-{next(MARKS)}"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MARK": mark}
    done = subprocess.run(
        (*through, *COMMAND, *command), cwd=folder or project.folder, env=environment, capture_output=True, text=True
    )
    return done, json.loads(done.stdout), alive(mark)


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_world(project, name):
    fault = FAULTS[name]
    script = project.write("world.py", SCRIPT.replace("ACT", fault.act).replace("BEFORE", fault.before))
    done, report, left = probe(project, *fault.options, "world.py")
    assert (done.returncode, report["run"]["steps"], left) == (fault.code, fault.steps, []), done.stderr
    assert (project.folder / report["run"]["folder"] / "run.json").exists()
    assert "Traceback" not in done.stderr
    if fault.code:
        assert fault.said in done.stderr
    marked = [number for number, line in enumerate(script.read_text().splitlines(), 1) if line.endswith("#!")]
    assert all(f"world.py:{number}" in done.stderr for number in marked)


def test_a_folder_that_may_not_be_written(project, tmp_path):
    for name in ("common.py", "train.py"):
        (tmp_path / name).write_text(
            (project.folder / "common.py").read_text() + "\nif __name__ == '__main__': train(5)\n"
        )
    tmp_path.chmod(0o555)
    done, report, left = probe(project, "train.py", through=ORDINARY, folder=tmp_path)
    tmp_path.chmod(0o755)
    assert (done.returncode, report["run"]["steps"], left) == (0, 3, []), done.stderr
    assert {entry.name for entry in tmp_path.iterdir()} == {"common.py", "train.py"}
    assert (tmp_path / Path(report["run"]["folder"]) / "run.json").exists()
