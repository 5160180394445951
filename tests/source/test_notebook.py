from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from modellint.source import notebook


def written(*cells: str | list[str], kind: str = "code") -> bytes:
    return json.dumps({"cells": [{"cell_type": kind, "source": cell} for cell in cells], "nbformat": 4}).encode()


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("x = 1\ny = 2", "x = 1\ny = 2"),
        (["x = 1\n", "y = 2"], "x = 1\ny = 2"),
        ("%matplotlib inline\nx = 1", "pass\nx = 1"),
        ("if x:\n    !ls \\\n  -l\n    y()", "if x:\n    pass\n\n    y()"),
        ("files = !ls\nx?\n?x\nx.y??", "pass\npass\npass\npass"),
        ("%%bash\nls -l\ncd", "\n\n"),
        ("%%time\nx = 1", "pass\nx = 1"),
        ("for x in y:\n    %time optimizer.zero_grad()", "for x in y:\n    optimizer.zero_grad()"),
        ("%timeit -n 10 step()", "step()"),
        ("%timeit -n 10 \\\n  step()\nx = 1", "pass\n\nx = 1"),
        (" pairs = [\n     x\n ]\n for x in y:\n     z()", "pairs = [\n    x\n]\nfor x in y:\n    z()"),
        ('"""\n%d items\n"""', '"""\n%d items\n"""'),
        ("%matplotlib inline\nprint('%d'\n      %(x))", "pass\nprint('%d'\n      %(x))"),
        ("%matplotlib inline\nassert (x\n != y)", "pass\nassert (x\n != y)"),
        ("x = a %\\\n b", "x = a %\\\n b"),
    ],
)
def test_escapes_are_blanked_and_all_else_stays_on_its_line(cell: str | list[str], expected: str) -> None:
    assert notebook.script(written(cell)).decode() == expected


def test_only_code_counts_but_all_cells_are_numbered() -> None:
    cells = [{"cell_type": kind, "source": f"x{kind}\n"} for kind in ("markdown", "code", "raw", "code")]
    found = list(notebook.cells(json.dumps({"cells": cells}).encode()))
    assert [(cell.number, cell.first, cell.lines) for cell in found] == [(2, 1, 2), (4, 3, 2)]


def test_old_notebooks_keep_their_cells_in_worksheets() -> None:
    old = {"worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"]}]}]}
    assert notebook.script(json.dumps(old).encode()) == b"x = 1"


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"3", b'{"cells": 3}', b'{"worksheets": []}', b"\xff\xfe", b"[" * 9999]
)
def test_what_is_no_notebook_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        notebook.script(data)


TRAINING = [
    "import torch\n%matplotlib inline",
    "for x, y in loader:\n    optimizer.zero_grad()\n    loss(model(x), y).backward()\n    optimizer.step()\n"
    "    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # here",
]


def checked(folder: Path, *options: str) -> str:
    command = [sys.executable, "-m", "modellint", "check", "--select", "ML104", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60).stdout


def test_a_finding_is_placed_and_quoted_in_its_cell(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_bytes(written(*TRAINING))
    assert checked(tmp_path, "--output-format", "concise").startswith("train.ipynb:cell 2:5:5: error[ML104 ")
    assert "  5 |     torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # here" in checked(tmp_path)


def test_the_lines_that_a_message_names_are_those_of_their_cells(tmp_path: Path) -> None:
    head = "\n\nimport torch.nn as nn\nmodel = nn.Sequential(\n    nn.Linear(4, 2),\n    nn.Softmax(dim=1),\n)"
    loop = "for x, y in loader:\n    nn.CrossEntropyLoss()(model(x), y).backward()"
    for cells, place in ((head, loop), "line 6 of cell 2 ("), ((f"{head}\n{loop}",), "line 6 ("):
        (tmp_path / "train.ipynb").write_bytes(written("\n" * 9, *cells))
        assert place in checked(tmp_path, "--select", "ML111", "--output-format", "concise")


def test_a_broken_cell_is_named_and_the_others_are_checked(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_bytes(written(TRAINING[0], "x = 1\nfor x in:\n  pass", TRAINING[1]))
    found = checked(tmp_path, "--output-format", "concise").splitlines()
    assert [line.partition(" ")[0] for line in found] == ["train.ipynb:cell", "train.ipynb:cell"]
    assert found[0].startswith("train.ipynb:cell 2:2:9: error[ML000 ")
    assert found[1].startswith("train.ipynb:cell 3:5:5: error[ML104 ")


def test_a_notebook_of_broken_cells_is_broken(tmp_path: Path) -> None:
    (tmp_path / "train.ipynb").write_bytes(written("for x in:", "clip_grad_norm_((net.parameters(), 1)"))
    found = checked(tmp_path, "--output-format", "concise").splitlines()
    assert len(found) == 1
    assert found[0].startswith("train.ipynb:cell 1:1:9: error[ML000 ")


def test_a_comment_in_a_cell_silences(tmp_path: Path) -> None:
    silenced = [text.replace("# here", "# modellint: ignore[ML104] here") for text in TRAINING]
    (tmp_path / "train.ipynb").write_bytes(written(*silenced))
    assert checked(tmp_path, "--output-format", "concise") == ""
