"""A probe never destroys a file that existed before it; what it creates is listed and may be made anew."""

import os

import pytest

GUARDED = {
    "overwriting": "open('old.txt', 'w')",
    "deleting": "os.remove('old.txt')",
    "moving": "os.rename('old.txt', 'new.txt')",
    "truncating": "os.truncate('old.txt', 0)",
    "overwriting by os.replace": "open('new', 'w').close(); os.replace('new', 'old.txt')",
    "deleting a folder": "import shutil; shutil.rmtree('folder')",
}


@pytest.mark.parametrize("what", GUARDED)
def test_stops_before_an_existing_file_is_lost(project, what):
    old, inner = project.write("old.txt", "precious"), project.folder / "folder" / "inner.txt"
    inner.parent.mkdir(exist_ok=True)
    inner.write_text("precious")
    run = project.probe(f"import os\nprint('hello')\n{GUARDED[what]}\nprint('never')\n")
    assert run.status == "stopped"
    assert what.split()[0] in run.problem.message
    assert "--allow-writes" in run.problem.message
    assert (run.problem.location.path, run.problem.location.line) == ("train.py", 3)
    assert old.read_text() == inner.read_text() == "precious"
    assert project.output(run) == "hello\n"


def test_stops_within_training_and_keeps_what_was_measured(project):
    precious = project.write("model.pt", "precious")
    script = """
        from common import torch, train

        def save(step):
            torch.save({"step": step}, f"model-{step}.pt")
            torch.save({"step": step}, f"model-{step}.pt")
            if step:
                torch.save({"step": step}, "model.pt")

        train(5, save)
    """
    run = project.probe(script)
    assert run.status == "stopped"
    assert run.problem.location.line == project.line('"model.pt"')
    assert precious.read_text() == "precious"
    assert len(run.steps) == 2
    assert set(run.written) == {"model-0.pt", "model-1.pt"}
    again = project.launch("train.py")
    assert (len(again.steps), again.problem.location.line) == (2, project.line('"model.pt"'))


def test_what_is_no_loss_is_let_through(project):
    old = project.write("log.txt", "first\n")
    script = """
        import os, subprocess, sys, tempfile
        open('log.txt', 'a').write('second\\n')
        open('created.txt', 'w').close()
        os.makedirs('made/by/us')
        child = "open('made/by/child', 'w').write('x'); open('created.txt', 'w')"
        subprocess.run([sys.executable, '-c', child], check=True)
        open('made/by/child', 'w').close()
        os.rename('made/by/child', 'made/by/us/child')
        os.remove('made/by/us/child')
        os.symlink('log.txt', 'link')
        os.remove('link')
        open(os.devnull, 'w').close()
        tempfile.NamedTemporaryFile('w').close()
    """
    for _ in range(2):
        run = project.probe(script)
        assert "torch was never imported" in run.problem.message, run.problem
        assert run.written == ("created.txt",)
        os.removedirs(project.folder / "made/by/us")
    assert old.read_text() == "first\nsecond\nsecond\n"


def test_a_file_that_the_user_has_touched_since_is_the_users(project):
    script = "open('report.txt', 'w').write('x')\n"
    assert project.probe(script).status == "no step"
    (project.folder / "report.txt").write_text("my notes")
    assert project.probe(script).status == "stopped"
    run = project.probe(script, allow_writes=True)
    assert run.status == "no step"
