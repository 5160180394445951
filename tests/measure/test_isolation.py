"""Whatever a script does to itself, its processes and the machine: nothing is lost, nothing stays behind."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modellint.measure import vitals

GROUPS = Path("/sys/fs/cgroup")
LONG = {"start_seconds": 200, "max_seconds": 300}


def place(run):
    return run.problem.location.path, run.problem.location.line


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    assert condition()


@pytest.fixture
def starving(monkeypatch):
    """A shell's words after which all processes share 900 MB and the kernel kills for more, with either version of its
    control groups; and the script's words that take more. Where no group can be made, the script plays both parts.
    """
    home = next((home for home in (GROUPS / "memory", GROUPS) if (home / "cgroup.procs").exists()), None)
    if home is None or not os.access(home, os.W_OK):
        kills = itertools.count()
        monkeypatch.setattr(vitals, "_kills", lambda: next(kills))
        yield "exec", "os.kill(os.getpid(), 9)"
        return
    group = home / f"modellint-{os.getpid()}"
    group.mkdir()
    limit = next(name for name in ("memory.limit_in_bytes", "memory.max") if (group / name).exists())
    (group / limit).write_text(str(900 << 20))
    yield f"echo $$ > {group}/cgroup.procs; exec", "held.append(b'x' * (1 << 26))"
    group.rmdir()


@pytest.mark.parametrize("where", ["main", "worker"])
def test_the_kernel_kills_for_want_of_memory(project, starving, where):
    prefix, take = starving
    script = f"""
        import os, time
        import torch
        from common import train

        held = []

        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 1

            def __getitem__(self, index):
                while True:
                    {take}
                    time.sleep(0.05)

        def grow(step):
            if step:
                next(iter(torch.utils.data.DataLoader(Data(), num_workers={int(where == "worker")})))

        train(5, grow)
    """
    project.write("train.py", script)
    run = project.launch("sh", "-c", f"{prefix} {sys.executable} train.py", **LONG)
    assert (run.status, len(run.steps)) == ("failed", 2)
    assert "memory ran out (its processes held up to" in run.problem.message
    if where == "worker":
        assert place(run) == ("train.py", project.line("next(iter"))


def test_no_more_memory_is_given(project):
    script = """
        import resource
        from common import torch, train

        def grow(step):
            if step:
                resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33))
                held = torch.ones(1 << 33)

        train(5, grow)
    """
    run = project.probe(script, **LONG)
    assert (run.status, len(run.steps)) == ("failed", 2)
    assert "can't allocate memory" in run.problem.message
    assert place(run) == ("train.py", project.line("held ="))


def test_no_worker_of_a_worker_stays_behind(project):
    script = """
        import os, subprocess, time
        import torch
        from common import train

        class Data(torch.utils.data.Dataset):
            def __len__(self):
                return 4

            def __getitem__(self, index):
                for _ in range(5):
                    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
                    open("pids.txt", "a").write(f"{child.pid} ")
                open("pids.txt", "a").write(f"{os.getpid()} ")
                return index

        def work(step):
            for _ in torch.utils.data.DataLoader(Data(), num_workers=2):
                pass
            open("done.txt", "w").close()
            time.sleep(600)

        train(5, work)
    """
    run = project.probe(script, step_seconds=30, **LONG)
    assert (run.status, len(run.steps)) == ("hung", 1)
    pids = (project.folder / "pids.txt").read_text().split()
    assert len(pids) == 24
    assert not any(project.is_alive(int(pid)) for pid in pids)


def test_all_descriptors_closed_and_taken_again(project):
    script = """
        import os, sys

        os.closerange(0, 256)
        sys.stdout = sys.stderr = open(os.devnull, "w")
        from common import train

        mine = [open(f"mine-{number}", "w") for number in range(40)]
        train(5, lambda step: [file.write("mine ") and file.flush() for file in mine])
    """
    run = project.probe(script, **LONG)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
    assert {file.read_text() for file in project.folder.glob("mine-*")} == {"mine mine "}


def test_another_directory_and_bytes_that_are_no_text(project):
    script = """
        import os, sys
        from common import train

        os.makedirs("elsewhere", exist_ok=True)
        os.chdir("elsewhere")
        sys.stdout.buffer.write(b"caf\\xe9 \\xff\\xfe\\n")

        def fail(step):
            if step:
                raise RuntimeError("caf\\udce9")

        train(5, fail)
    """
    run = project.probe(script, **LONG)
    assert (run.status, len(run.steps)) == ("failed", 2)
    assert place(run) == ("train.py", project.line("raise"))
    assert run.places["step"].path == "common.py"
    assert (project.folder / run.folder / "output.log").read_bytes().startswith(b"caf\xe9 \xff\xfe\n")


def test_the_network_is_left_alone_and_named(project):
    script = """
        import socket

        for name in ("modellint.invalid", "localhost"):
            try:
                socket.create_connection((name, 9), timeout=0.1)
            except OSError:
                pass
        for address in ("192.0.2.1", "127.0.0.1"):
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex((address, 7))
    """
    run = project.probe(script)
    assert run.network == ("modellint.invalid:9", "192.0.2.1:7")


COMMAND = (
    sys.executable,
    "-m",
    "modellint",
    "probe",
    "--isolated",
    "--output-format",
    "json",
    "--start-seconds",
    "200",
)


def test_two_probes_at_once(project):
    project.write("both.py", "from common import train\ntrain(20)\n")
    probes = [
        subprocess.Popen([*COMMAND, "both.py"], cwd=project.folder, stdout=subprocess.PIPE, text=True) for _ in "ab"
    ]
    reports = [json.loads(probe.communicate()[0]) for probe in probes]
    assert [report["run"]["steps"] for report in reports] == [10, 10]
    assert len({report["run"]["folder"] for report in reports}) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_probe_that_is_told_to_end_ends_all_and_reports(project, number):
    script = """
        import os, time
        from common import train

        def wait(step):
            open("pid.txt", "w").write(f"{os.getpid()} ")
            time.sleep(600)

        train(5, wait)
    """
    project.write("waits.py", script)
    pid = project.folder / "pid.txt"
    pid.unlink(missing_ok=True)
    command = [*COMMAND, "--allow-writes", "waits.py"]
    probe = subprocess.Popen(command, cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: pid.exists() and pid.read_text())
    probe.send_signal(number)
    out, err = probe.communicate()
    assert probe.returncode == 2
    assert "interrupted after 1 training step" in err
    assert json.loads(out)["run"]["steps"] == 1
    assert not project.is_alive(int(pid.read_text()))


RANK = """
import os
import torch
from torch import distributed, nn

distributed.init_process_group("gloo")
model = nn.parallel.DistributedDataParallel(nn.Linear(4, 3))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
open(f"rank-{distributed.get_rank()}", "w").write(str(os.getpid()))
for step in range(50):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 1])).backward()
    optimizer.step()
    if step == 1 and distributed.get_rank() == 1:
        raise OSError(5)
"""


def test_a_rank_that_crashes(project):
    project.write("rank.py", RANK)
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "rank.py")
    run = project.launch(*command, environment={"OMP_NUM_THREADS": "1"}, steps=10, step_seconds=120, **LONG)
    assert run.status == "failed"
    assert "OSError: 5" in run.problem.message
    assert 2 <= len(run.steps) <= 3
    pids = [int((project.folder / f"rank-{rank}").read_text()) for rank in (0, 1)]
    assert not any(map(project.is_alive, pids))
    assert os.path.exists(project.folder / run.folder / "run.json")
