"""The user's lines in tracebacks, stacks and loops."""

import textwrap

import pytest

from modellint.measure import lines

STACKS = """
Thread 0x1 (most recent call first):
  File "/home/me/other.py", line 3 in wait
Current thread 0x2 (most recent call first):
  File "/usr/lib/python3.11/socket.py", line 5 in recv
  File "/home/me/.venv/lib/python3.11/site-packages/torch/nn/functional.py", line 7 in linear
  File "/home/me/train.py", line 12 in fetch
  File "/home/me/train.py", line 40 in <module>
"""

SCRIPT = """
    def train(steps):
        for step in range(steps):
            forward()
            if bad():
                sys.exit(0)
        sys.exit(0)

    def guarded():
        try:
            for _ in range(3):
                step()
        except KeyError:
            pass
        except Exception as error:
            log(error)

    def honest():
        try:
            step()
        except Exception:
            raise
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(textwrap.dedent(SCRIPT).lstrip("\n"))
    return str(path)


def test_installed_code_is_not_the_users():
    found = lines.user_lines(lines.current_thread(STACKS))
    assert [(place.path, place.line) for place in found] == [("/home/me/train.py", 12), ("/home/me/train.py", 40)]


@pytest.mark.parametrize(("line", "within"), [(5, True), (6, False)])
def test_an_exit_in_the_loop_of_the_step(script, line, within):
    assert lines.same_loop([[script, 3]], [[script, line], [script, 99]]) is within


def test_handlers_that_swallow(script):
    assert lines.swallows(script, 11) == 14
    assert lines.swallows(script, 19) is None
    assert lines.swallows(script, 3) is None
    assert lines.swallows("no such file.py", 3) is None
