"""A user's command, unchanged, to a filled Run; and to the very same numbers as without a probe."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from modellint.measure import nodes
from modellint.measure.launch import Options, launch, target


@pytest.fixture(scope="module")
def run(project):
    return project.probe("from common import train\ntrain(20)\n", name="basic.py")


SHADOWED = """
import sys
from importlib.machinery import PathFinder


class Finder:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "torch":
            sys.meta_path.remove(Finder)
            print("found by another's finder")
            return PathFinder.find_spec(name, path, target)


print("shadowed")
sys.meta_path.insert(0, Finder)
"""


@pytest.fixture(scope="module")
def finished(project):
    """A script that runs to its own end under the probe, and its output without one."""
    script = "from common import sys, train\ntrain(int(sys.argv[1]))\n"
    (project.folder / "site").mkdir()
    project.write("site/sitecustomize.py", SHADOWED)
    found = {**os.environ, "PYTHONPATH": str(project.folder / "site")}
    project.write("finish.py", script)
    bare = subprocess.run(
        [sys.executable, "finish.py", "20"], cwd=project.folder, env=found, capture_output=True, text=True, check=True
    )
    probed = project.launch("finish.py", "20", finish=True, environment={"PYTHONPATH": found["PYTHONPATH"]})
    return probed, bare.stdout


def test_a_command_becomes_a_run(run):
    assert (run.status, run.problem) == ("completed", None)
    assert run.command[1:] == ("basic.py",)
    assert [step.index for step in run.steps] == [0, 1, 2]
    assert run.requested_steps == 3
    assert run.environment["python"].startswith(f"{sys.version_info.major}.")
    assert 0 < run.seconds["start"] <= run.seconds["total"]


def test_every_line_is_the_users(run, project):
    lines = {name: (place.path, place.line) for name, place in run.places.items()}
    line = lambda text: ("common.py", project.line(text, "common.py"))  # noqa: E731
    assert lines["model"] == lines["loss"] == line("cross_entropy(")
    assert lines["backward"] == line("backward()")
    assert lines["step"] == line("optimizer.step()")
    assert (run.optimizers[0].location.path, run.optimizers[0].location.line) == line("AdamW")
    assert (run.model.location.path, run.model.location.line) == line("class Net")
    assert (run.model.readout_location.path, run.model.readout_location.line) == line("self.head(self.body")
    clip = run.steps[0].clips[0].location
    assert (clip.path, clip.line, clip.column) == (*line("clip_grad_norm_"), 9)
    assert set(run.files) == {"basic.py", "common.py"}


def test_the_run_is_kept_in_its_folder(run, project):
    folder = project.folder / run.folder
    assert nodes.load(folder) == nodes.load(folder / "run.json") == run
    assert (project.folder / ".modellint_cache" / ".gitignore").read_text() == "*\n"


def test_the_script_ends_as_without_the_probe(finished, project):
    run, bare = finished
    assert "final" in bare
    assert project.output(run) == bare
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)


def test_a_shadowed_sitecustomize_still_runs(finished, project):
    run, _ = finished
    assert project.output(run).startswith("shadowed\nfound by another's finder\n")


def test_a_folder_that_cannot_be_written(project, monkeypatch, tmp_path):
    """The superuser may write everywhere: a file is in the place of the cache."""
    project.write("elsewhere.py", "print(1)")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".modellint_cache").touch()
    run = launch([str(project.folder / "elsewhere.py")])
    assert run.status == "no step"
    assert nodes.load(Path(run.folder)) == run


def test_the_parent_imports_no_torch(project):
    project.write("hello.py", "print('hello')\n")
    code = (
        "import sys; from modellint.measure import launch; launch.launch(['hello.py']); print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=project.folder, capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_output_is_shown_on_stderr(project, capfd):
    project.probe("import sys\nprint('to stdout')\nprint('to stderr', file=sys.stderr)\n", show_output=True)
    shown = capfd.readouterr()
    assert shown.out == ""
    assert "to stdout" in shown.err
    assert "to stderr" in shown.err


def test_every_rank_ends_and_none_is_left(project):
    script = """
        import os
        import torch
        from torch import distributed, nn

        distributed.init_process_group("gloo")
        model = nn.parallel.DistributedDataParallel(nn.Linear(4, 3))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        print("pid", os.getpid())
        while True:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 1])).backward()
            optimizer.step()
    """
    project.write("train.py", script)
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone", "train.py")
    run = project.launch(*command, environment={"OMP_NUM_THREADS": "1"}, max_seconds=120)
    assert (run.status, run.problem) == ("completed", None)
    assert [step.index for step in run.steps] == [0, 1, 2]
    assert run.optimizers[0].parameters == ("weight", "bias")
    ranks = [int(line.split()[-1]) for line in project.output(run).splitlines() if "pid" in line]
    assert [project.is_alive(pid) for pid in ranks] == [False, False]


TARGET = """
    import torch
    from torch import nn


    def factory():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
        batch = torch.randn(6, 4), torch.arange(6) % 3
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        return {"model": model, "batch": batch, "loss": nn.CrossEntropyLoss(), "optimizer": optimizer}


    class Parts:
        __slots__ = ("batch", "loss", "model", "optimizer")


    def without_optimizer():
        parts = Parts()
        for name, value in factory().items():
            setattr(parts, name, None if name == "optimizer" else value)
        return parts
"""


@pytest.mark.parametrize(("name", "steps"), [("factory", 3), ("without_optimizer", 1)])
def test_target(project, monkeypatch, name, steps):
    project.write("targets.py", TARGET)
    monkeypatch.chdir(project.folder)
    run = target(f"targets:{name}", Options(steps=3))
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, steps)
    assert run.places["backward"].path == "targets.py"
    assert run.graph is not None
    assert run.steps[0].gradients["0.weight"] > 0
    assert all(step.updates for step in run.steps) == (name == "factory")


def test_a_target_that_is_not_there(project, monkeypatch):
    project.write("targets.py", textwrap.dedent(TARGET).replace("import torch\n", "import nothing_there\n", 1))
    monkeypatch.chdir(project.folder)
    run = target("targets:factory", Options(steps=3))
    assert run.status == "failed"
    assert (run.problem.location.path, run.problem.location.line) == ("targets.py", 2)
    run = target("targets:absent", Options(steps=3))
    assert "No module named 'nothing_there'" in run.problem.message
    run = target("targets", Options(steps=3))
    assert "pkg.module:factory" in run.problem.message
    assert run.problem.location.path is None
