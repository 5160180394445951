"""Commands that wrap the training script: the recorder comes through, or the report says who has dropped it."""

import sys

import pytest

from modellint.measure import child, unwatched

PYTHON = sys.executable
LASTING = "import time\ntime.sleep(3)\n"
TAKEN = "torch was never imported"


@pytest.mark.parametrize(
    "command",
    [
        ("env", "A=b", "PYTHONPATH=src", PYTHON, "said.py"),
        ("make", "--silent", "train"),
        ("sh", "wrapper.sh", PYTHON, "said.py"),
        ("sh", "-c", f"PYTHONPATH=src:$PYTHONPATH {PYTHON} said.py"),
    ],
    ids=lambda command: command[0],
)
def test_the_recorder_comes_through(project, command):
    project.write("said.py", "import os, sys\nprint(any(path.endswith('/src') for path in sys.path))\n")
    project.write("Makefile", f"train:\n\tPYTHONPATH=src:$$PYTHONPATH {PYTHON} said.py\n")
    project.write("wrapper.sh", 'export PYTHONPATH="src:$PYTHONPATH"\nexec "$@"\n')
    run = project.launch(*command)
    assert TAKEN in run.problem.message
    assert project.output(run) == "True\n"
    assert run.command == command


def test_arguments_of_the_script_are_left_alone(project):
    project.write("said.py", "import sys\nprint(sys.argv[1:])\n")
    run = project.launch("said.py", "PYTHONPATH=src")
    assert project.output(run) == "['PYTHONPATH=src']\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("sh", "-c", f"PYTHONPATH=src {PYTHON} last.py; true"), "write PYTHONPATH=src:$PYTHONPATH"),
        (("sh", "-c", f"unset PYTHONPATH; {PYTHON} last.py; true"), "leave it as it is"),
        (("env", "-i", PYTHON, "last.py"), "leave it as it is"),
        ((PYTHON, "-u", "-W", "error", "-I", "last.py"), "-I keeps Python from loading the recorder"),
        ((PYTHON, "-uE", "last.py"), "-uE keeps Python"),
        ((PYTHON, "-S", "-m", "last"), "-S keeps Python"),
    ],
)
def test_who_has_dropped_the_recorder_is_named(project, command, said):
    project.write("last.py", LASTING)
    run = project.launch(*command)
    assert run.status == "no step"
    assert said in run.problem.message
    assert "last" in run.problem.message


def test_it_does_not_wait_for_what_it_cannot_see(project, monkeypatch):
    monkeypatch.setattr(child, "UNWATCHED", 1.0)
    project.write("last.py", "import time\ntime.sleep(600)\n")
    run = project.launch(PYTHON, "-I", "last.py")
    assert run.status == "hung"
    assert "-I keeps Python from loading the recorder" in run.problem.message


@pytest.mark.parametrize(
    ("words", "letters"),
    [
        ("python -u -m train -I", ["u", "m"]),
        ("python -Werror -X dev -I -c 1", ["", "", "I", "c"]),
        ("python train.py -E", []),
    ],
)
def test_only_the_interpreters_own_options_count(words, letters):
    assert list(unwatched.options(words.split())) == letters


def test_packages_in_a_folder_of_their_own_are_not_the_users(project):
    """As `pip install --target` puts them."""
    for folder in ("packages", "packages/helper-1.0.dist-info", "mine"):
        (project.folder / folder).mkdir()
    project.write("packages/helper.py", "from common import train")
    project.write("mine/started.py", "import helper\nhelper.train(4)")
    project.write("started_by.py", "import started")
    run = project.launch("env", "PYTHONPATH=packages:mine", PYTHON, "started_by.py")
    assert set(run.files) == {"started_by.py", "mine/started.py", "common.py"}
