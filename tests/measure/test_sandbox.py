"""In a sandbox a script may write what it likes: the user's files stay as they were, and what would have changed is said."""

import os
import subprocess
import sys

import pytest

from modellint.core.errors import UsageError
from modellint.measure import layer, sandbox

# A superuser without the right to mount is as anyone else: the sandbox then needs a user namespace.
ORDINARY = ("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin") if os.geteuid() == 0 else ()
NO_NAMESPACES = "echo 0 > /proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-sys_admin"
OLD = ("changed.txt", "by-c.txt", "by-shell.txt", "deleted.txt", "moved.txt", "folder/inner.txt", "read.txt")
SCRIPT = """
    import ctypes, os, shutil, subprocess

    open("changed.txt", "w").write("new")
    c = ctypes.CDLL(None)
    number = c.open(b"by-c.txt", os.O_WRONLY | os.O_TRUNC)
    c.write(number, b"new", 3)
    subprocess.run("echo new > by-shell.txt", shell=True, check=True)
    os.remove("deleted.txt")
    os.rename("moved.txt", "moved-to.txt")
    shutil.rmtree("folder")
    os.makedirs("folder/deep")
    open("folder/deep/created.txt", "w").close()
    open("read.txt", "r+").close()
    open("/dev/null", "w").write("new")
    print(sorted(os.listdir()), open("changed.txt").read())
"""


@pytest.fixture
def precious(project):
    for name in OLD:
        (project.folder / name).parent.mkdir(exist_ok=True)
        (project.folder / name).write_text("old")
    yield project
    assert {name: (project.folder / name).read_text() for name in OLD} == dict.fromkeys(OLD, "old")
    assert not (project.folder / "moved-to.txt").exists()


def test_everything_is_as_before_and_what_would_have_changed_is_listed(precious):
    before = {*precious.folder.iterdir()}
    run = precious.probe(SCRIPT, sandbox=True)
    assert "torch was never imported" in run.problem.message, precious.output(run)
    assert "deleted.txt" not in precious.output(run)
    assert "'moved-to.txt'" in precious.output(run)
    assert precious.output(run).endswith(" new\n")
    assert run.discarded == {
        "by-c.txt": "changed",
        "by-shell.txt": "changed",
        "changed.txt": "changed",
        "deleted.txt": "deleted",
        "folder/deep/created.txt": "created",
        "folder/inner.txt": "deleted",
        "moved-to.txt": "created",
        "moved.txt": "deleted",
    }
    assert {*precious.folder.iterdir()} - before <= {
        precious.folder / name for name in ("train.py", ".modellint_cache")
    }


def test_who_may_not_mount_is_given_a_user_namespace(precious):
    precious.write("train.py", SCRIPT)
    command = (*ORDINARY, sys.executable, "-m", "modellint", "probe", "--isolated", "--sandbox", "train.py")
    done = subprocess.run(command, cwd=precious.folder, capture_output=True, text=True)
    assert done.returncode == 2
    assert "torch was never imported" in " ".join(done.stdout.split())
    assert "changed `by-c.txt`, `by-shell.txt`, `changed.txt`" in " ".join(done.stdout.split())


def test_what_is_measured_comes_out(precious):
    script = """
        from common import torch, train

        def save(step):
            torch.save({"step": step}, "changed.txt")

        train(20, save)
    """
    run = precious.probe(script, sandbox=True)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
    assert run.discarded == {"changed.txt": "changed"}
    assert (precious.folder / run.folder / "run.json").exists()


def test_a_command_that_is_not_there(project):
    run = project.launch("no-such-command", sandbox=True)
    assert run.problem.message == "command not found: no-such-command"


def test_where_the_kernel_does_not_allow_it_one_line_says_so(project):
    project.write("train.py", "print('never')")
    asked = f"{NO_NAMESPACES} {sys.executable} -m modellint probe --isolated --sandbox train.py"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", asked], cwd=project.folder, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "--sandbox: this system does not allow it (user namespaces: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_elsewhere_than_on_linux(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UsageError, match="--sandbox needs Linux"):
        sandbox.Sandbox(())


def test_nothing_stays_behind(project, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    project.launch("echo", "hello", sandbox=True)
    assert list(tmp_path.iterdir()) == []


def test_a_link_that_points_elsewhere_is_a_change(tmp_path):
    upper, below = tmp_path / "upper", tmp_path / "below"
    for folder, aim in ((upper, "new"), (below, "old")):
        folder.mkdir()
        (folder / "link").symlink_to(aim)
    assert list(layer.changes(upper, below)) == [(str(below / "link"), "changed")]
