from __future__ import annotations

import json
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from modellint.core.plain import to_plain
from modellint.source import parse
from modellint.source.script import Script
from modellint.source.words import Words

LOOP = """
import torch
for x, y in loader:
    optimizer.zero_grad()
    loss(model(x), y).backward()
    optimizer.step()
"""
DEEP = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x, scale):
"""


def _one(path: Path, data: bytes) -> Script:
    path.write_bytes(data)
    return next(parse.read([path]))


@pytest.mark.parametrize(
    ("data", "message", "line"),
    [
        (b"x = 1\ny = (\n", "syntax error", 2),
        (b"x = 1\x00\n", "null bytes", 1),
        (b"# coding: nonsense\nx = 1\n", "syntax error", 1),
        (b'x = "\xff"\n', "syntax error", 1),
    ],
)
def test_a_file_that_cannot_be_parsed_is_a_problem_with_a_place(
    tmp_path: Path, data: bytes, message: str, line: int
) -> None:
    script = _one(tmp_path / "broken.py", data)
    assert script.problem is not None
    assert message in script.problem.message
    assert script.problem.location.path == script.path
    assert (script.problem.location.line or 1) == line


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (script,) = parse.read([tmp_path / "missing.py"])
    assert script.problem is not None
    assert "cannot be read" in script.problem.message


def test_deep_nesting_ends_in_facts_or_a_problem(tmp_path: Path) -> None:
    for text in ("x = " + "-" * 20_000 + "1", "x = " + "(" * 150 + "1" + ")" * 150, "x = " + "[" * 5_000 + "]" * 5_000):
        script = _one(tmp_path / "deep.py", text.encode())
        assert script.problem is not None or script.functions


def test_a_closure_that_steps_with_itself_is_read(tmp_path: Path) -> None:
    text = "import torch\ndef closure():\n    loss.backward()\n    optimizer.step(closure)\noptimizer = torch.optim.LBFGS(p)\n"
    assert _one(tmp_path / "closure.py", text.encode()).problem is None


def test_functions_that_hand_an_optimizer_on_are_followed_a_bounded_way(tmp_path: Path) -> None:
    chain = "".join(f"def f{n}(opt):\n    f{n + 1}(opt)\n" for n in range(3_000))
    text = f"import torch\n{chain}optimizer = torch.optim.SGD(p, 0.1)\noptimizer.zero_grad()\nf0(optimizer)\n"
    assert _one(tmp_path / "chain.py", text.encode()).problem is None


def test_long_chains_are_read(tmp_path: Path) -> None:
    script = _one(tmp_path / "long.py", ("x = 1" + " + y" * 5_000 + "\n").encode())
    assert script.problem is None
    assert _one(tmp_path / "long.py", f"{LOOP}    y = y{' + y' * 5_000}\n".encode()).problem is None


def test_sums_of_sums_are_looked_at_a_bounded_number_of_times(tmp_path: Path) -> None:
    """Each branching multiplies the ways to the value; a sum may be one of lists, whose items are asked for."""
    branching = "        y = x * (1 + scale) if scale else scale + x\n        x = y + x\n" * 12
    start = time.process_time()
    script = _one(
        tmp_path / "deep.py",
        f"{DEEP}{branching}        a, b = x\n        return self.layer(a.chunk(2))\n{LOOP}".encode(),
    )
    assert script.models
    assert time.process_time() - start < 20  # without the bound it does not end


@pytest.mark.parametrize(("others", "told"), [(0, ["a.py", "b.py"]), (parse.FEW, ["a.py"])])
def test_only_files_that_hold_a_word_are_read_and_of_few_those_that_cannot_be_parsed(
    tmp_path: Path, others: int, told: list[str]
) -> None:
    (tmp_path / "a.py").write_text("import torch\noptimizer.step()\n")
    (tmp_path / "b.py").write_text("this is no Python (")
    for i in range(others):
        (tmp_path / f"c{i}.py").write_text("x = 1\n")
    found = list(parse.read(sorted(tmp_path.iterdir()), Words(["step"])))
    assert [Path(script.path).name for script in found] == told
    assert [script.problem is not None for script in found] == [name == "b.py" for name in told]


def test_a_script_knows_what_its_calls_are_called(tmp_path: Path) -> None:
    text = b"@cache()\ndef f(x=torch.ones(1)):\n    return [self.opt.step() for g in make()(lambda: h(k(1).item()))]\n"
    assert _one(tmp_path / "calls.py", text).called == {"cache", "ones", "step", "make", "", "h", "k", "item"}


def test_invalid_escapes_are_read_without_warnings(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert _one(tmp_path / "escape.py", b'x = "\\d"\n').problem is None


def test_columns_count_characters_from_one(tmp_path: Path) -> None:
    script = _one(tmp_path / "wide.py", 'x = "äöü"; f(x)\n'.encode())
    (call,) = script.calls
    assert (call.location.line, call.location.column, call.location.end_column) == (1, 12, 16)


def test_a_declared_encoding_is_respected(tmp_path: Path) -> None:
    script = _one(tmp_path / "latin.py", '# coding: latin-1\nx = "ä"; f(x)\n'.encode("latin-1"))
    (call,) = script.calls
    assert (script.problem, call.location.column) == (None, 10)


def test_scripts_are_plain_data(read: Callable[[str], Script]) -> None:
    script = read(LOOP)
    assert script.training_loops
    assert to_plain(pickle.loads(pickle.dumps(script))) == to_plain(script)
    json.dumps(to_plain(script), allow_nan=False)


def test_imported_names_are_written_in_full(read: Callable[[str], Script]) -> None:
    script = read("""
        import torch.nn.functional as F
        from torch import nn, optim as o

        def train(F):
            F(1)

        F.relu(x)
        nn.Linear(1, 2)
        o.Adam(p)
    """)
    assert [call.name for call in script.calls] == [
        "torch.nn.functional.relu",
        "torch.nn.Linear",
        "torch.optim.Adam",
        "F",
    ]
