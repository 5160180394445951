"""However a command ends, the Run says so, names the user's line, and holds what was measured until then."""

import sys
import time

import pytest

from modellint.measure.child import Ended
from modellint.measure.launch import Options
from modellint.measure.outcome import Outcome
from modellint.measure.records import Records


def problem_line(run):
    assert run.problem is not None, run.status
    return run.problem.location.path, run.problem.location.line


def test_crash(project):
    script = """
        from common import train

        def fail(step):
            if step == 1:
                raise RuntimeError("no more data")

        train(5, fail)
    """
    run = project.probe(script)
    assert run.status == "failed"
    assert problem_line(run) == ("train.py", project.line("raise"))
    assert run.problem.message == f"RuntimeError: no more data at train.py:{project.line('raise')}"
    assert "Traceback" in run.problem.detail
    assert len(run.steps) == 2
    assert run.model.name == "Net"


def test_hang(project):
    script = """
        import time
        from common import train

        train(5, lambda step: time.sleep(step * 60))
    """
    began = time.monotonic()
    run = project.probe(script, step_seconds=1)
    assert run.status == "hung"
    assert problem_line(run) == ("train.py", project.line("sleep"))
    assert len(run.steps) == 2
    assert time.monotonic() - began < 30


def test_exit_from_the_training_loop(project):
    script = """
        import sys
        from common import Net, nn, torch

        def train():
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(9):
                model(torch.ones(2, 8)).sum().backward()
                optimizer.step()
                if step == 1:
                    sys.exit()

        train()
    """
    run = project.probe(script)
    assert run.status == "failed"
    assert problem_line(run) == ("train.py", project.line("sys.exit"))
    assert len(run.steps) == 2


def test_swallowed_exception(project):
    script = """
        from common import Net, torch

        def train():
            model = Net()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for step in range(9):
                model(torch.ones(2, 8)).sum().backward()
                optimizer.step()
                if step == 1:
                    raise ValueError("lost")

        try:
            train()
        except BaseException:
            print("all is well")
    """
    run = project.probe(script)
    assert run.status == "failed"
    assert problem_line(run) == ("train.py", project.line("raise"))
    assert "swallowed" in run.problem.message
    assert len(run.steps) == 2


STEPPING = """
from common import Net, torch

model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def step():
    model(torch.ones(2, 8)).sum().backward()
    optimizer.step()


def fit():
    step()
    step()
"""


def test_exception_swallowed_far_from_the_step(project):
    project.write("stepping.py", STEPPING)
    script = """
        from stepping import step

        class Trainer:
            def fit(self):
                for number in range(9):
                    if number == 2:
                        raise OSError("disk lost")
                    step()

        try:
            Trainer().fit()
        except Exception as error:
            print(error)
    """
    run = project.probe(script)
    assert (run.status, problem_line(run)) == ("failed", ("train.py", project.line("raise")))
    assert "swallowed after 2 training steps" in run.problem.message


def test_exception_swallowed_around_the_loop(project):
    project.write("stepping.py", STEPPING)
    script = """
        from stepping import step

        try:
            for number in range(9):
                if number == 2:
                    raise OSError("disk lost")
                step()
        except BaseException as error:
            print(error)
    """
    run = project.probe(script)
    assert (run.status, problem_line(run)) == ("failed", ("train.py", project.line("except")))


def test_exit_after_the_training_is_complete(project):
    project.write("stepping.py", STEPPING)
    script = """
        import sys
        from stepping import fit

        def main():
            fit()
            {}

        main()
    """
    for leaving in ("sys.exit(0)", "raise SystemExit"):
        run = project.probe(script.format(leaving))
        assert (run.status, run.problem, len(run.steps)) == ("completed", None, 2)


def test_crash_of_the_training_thread(project):
    project.write("stepping.py", STEPPING)
    script = """
        import threading
        from stepping import step

        def work():
            for number in range(2):
                step()
            raise ValueError("no more data")

        def log():
            raise OSError("not the training")

        logging = threading.Thread(target=log)
        logging.start()
        logging.join()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    """
    run = project.probe(script)
    assert (run.status, problem_line(run)) == ("failed", ("train.py", project.line("raise")))
    assert run.problem.message.startswith("ValueError: no more data")
    assert len(run.steps) == 2


def test_step_that_always_fails_and_is_swallowed(project):
    script = """
        from common import Net, torch

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(3):
            try:
                model(torch.ones(2, 9)).sum().backward()
                optimizer.step()
            except BaseException:
                continue
    """
    run = project.probe(script)
    assert run.status == "no step"
    assert "swallowed" in run.problem.message
    assert run.problem.location.path == "common.py"


def test_the_end_of_the_probe_cannot_be_swallowed(project):
    script = """
        from common import train

        while True:
            try:
                train(100)
            except BaseException:
                pass
    """
    run = project.probe(script, max_seconds=60)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)


def test_no_step(project):
    script = """
        from common import Net, torch

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(200):
            model(torch.ones(2, 8)).sum().backward()
    """
    run = project.probe(script)
    assert run.status == "no step"
    assert "backward() ran but no parameter was updated" in run.problem.message
    assert problem_line(run) == ("train.py", project.line("backward"))


def test_short_script_is_complete(project):
    run = project.probe("from common import train\ntrain(2)\n")
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 2)
    assert set(run.files) == {"train.py", "common.py"}


def test_scripts_without_torch(project):
    assert "torch was never imported" in project.probe("print(1)").problem.message
    script = "import os\n\nos._exit(3)\n"
    run = project.probe(script)
    assert (run.status, problem_line(run)) == ("failed", ("train.py", 3))
    assert "exit code 3" in run.problem.message
    run = project.probe("import sys\nsys.exit('give me data')\n")
    assert "give me data" in run.problem.message
    assert problem_line(run) == ("train.py", 2)
    run = project.probe("raise SystemExit(0)\n")
    assert run.status == "no step"
    run = project.probe("import nothing_like_this\n")
    assert problem_line(run) == ("train.py", 1)
    run = project.probe("def f(:\n")
    assert problem_line(run) == ("train.py", 1)


def test_what_a_command_said_before_it_gave_up(project):
    assert "can't open file" in project.launch("nothing.py").problem.message
    run = project.probe("import argparse\nargparse.ArgumentParser().error('give me data')\n")
    assert (run.status, problem_line(run)) == ("failed", ("train.py", 2))
    assert "train.py: error: give me data" in run.problem.message


def test_commands_that_cannot_be_watched(project):
    assert project.launch("no-such-command").problem.message == "command not found: no-such-command"
    project.write("train.py", "print(1)")
    for flag in ("-I", "-S"):
        run = project.launch(sys.executable, flag, "train.py")
        assert run.status == "no step"
        assert "no Python process took up the recorder" in run.problem.message


def test_python_without_torch(project):
    run = project.probe(
        "import sys\nsys.path[:] = [path for path in sys.path if 'site-packages' not in path]\nimport torch\n"
    )
    assert "no torch in the Python that runs this" in run.problem.message


def test_interrupt_ends_the_command_and_keeps_what_was_measured(project):
    script = """
        import os, subprocess, sys, time
        from common import train

        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
        print(os.getpid(), worker.pid)
        train(9, lambda step: time.sleep(30))
    """

    def interrupt(progress):
        if progress.steps:
            raise KeyboardInterrupt

    run = project.probe(script, progress=interrupt)
    assert run.status == "failed"
    assert "interrupted after 1 training step" in run.problem.message
    assert len(run.steps) == 1
    assert [project.is_alive(int(pid)) for pid in project.output(run).split()] == [False, False]


def test_the_rest_between_two_windows_has_no_limit_of_its_own(project):
    script = "from common import train\nimport time\ntrain(8, between=lambda step: time.sleep(3 * (step == 5)))\n"
    run = project.probe(script, windows=2, step_seconds=2)
    assert (run.status, run.problem, len(run.steps), len(run.windows)) == ("completed", None, 3, 1)


def test_an_evaluation_does_not_end_the_rest(project):
    script = """
        import time
        from common import Net, nn, torch

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(8):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randn(4, 8)), torch.arange(4)).backward()
            optimizer.step()
            if step == 4:
                model.eval()
                with torch.no_grad():
                    for _ in range(4):
                        model(torch.randn(4, 8))
                model.train()
                time.sleep(8)
    """
    run = project.probe(script, windows=3, step_seconds=5)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
    assert [window.phase for window in run.windows] == ["start", "evaluation"]


@pytest.mark.parametrize(("kinds", "status"), [(("step", "rest"), "completed"), (("step",), "hung")])
def test_a_rest_that_the_whole_limit_ends_was_a_complete_run(tmp_path, kinds, status):
    journal = Records({"kind": kind, "optimizer": 0, "at": at} for at, kind in enumerate(kinds))
    assert Outcome([journal], Ended(hung="total"), tmp_path, Options(windows=2)).status == status


ASSERTED = {
    "kind": "exception",
    "at": 2.0,
    "type": "AcceleratorError",
    "message": "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported at some other call",
    "location": {"path": "train.py", "line": 9},
    "traceback": "",
}
REFUSED = {
    "kind": "refused",
    "at": 1.0,
    "message": "a label is 11, and there are 10 classes",
    "location": {"path": "train.py", "line": 8},
}


@pytest.mark.parametrize(
    ("refused", "line", "said"),
    [([REFUSED], 8, "a label is 11, and there are 10 classes"), ([], 9, "CUDA_LAUNCH_BLOCKING=1")],
    ids=["seen", "unseen"],
)
def test_a_failure_of_a_gpu_is_told_with_its_cause(tmp_path, refused, line, said):
    problem = Outcome([Records([*refused, ASSERTED])], Ended(code=1), tmp_path, Options()).problem
    assert problem.location.line == line
    assert said in problem.message


def test_a_crash_between_two_windows_is_told(project):
    run = project.probe("from common import train\ntrain(8)\nraise ValueError('evaluation')\n", windows=2)
    assert run.status == "failed"
    assert "ValueError: evaluation" in run.problem.message


def test_gradients_that_are_applied_by_hand(project):
    script = """
        from common import Net, torch

        model = Net()
        parameters = dict(model.named_parameters())

        def loss(parameters):
            return torch.func.functional_call(model, parameters, (torch.ones(2, 8),)).sum()

        for _ in range(5):
            slope = torch.func.grad(loss)(parameters)
            parameters = {name: (value - slope[name]).detach() for name, value in parameters.items()}
    """
    run = project.probe(script, steps=3)
    assert (run.status, len(run.steps), run.optimizers[0].name) == ("completed", 3, "by hand")
    run = project.probe(script.replace("parameters = {name: (v", "updated = {name: (v"), steps=3)
    assert (run.status, run.problem.location.line) == ("no step", project.line("func.grad"))
    assert "nothing that they were asked for has changed" in run.problem.message


@pytest.mark.parametrize(("end", "found"), [("", False), ("raise SystemExit(0)", False), ("raise OSError(5)", None)])
def test_what_ends_before_its_last_step_is_examined_at_its_end(project, end, found):
    """The model is a local of a function that has returned. After a crash nothing of the user's is run again."""
    run = project.probe(f"import sys\nfrom common import train\ntrain(4)\n{end}\n", steps=10)
    assert len(run.steps) == 4
    assert run.examined("determinism").found is found
    assert run.examined("batch-mixing").found is found
