from __future__ import annotations

import pytest

from modellint.source.fix import compiled


def _nested(depth: int) -> str:
    levels = range(depth)
    return "".join(f"{' ' * n}try:\n{' ' * n} pass\n{' ' * n}finally:\n" for n in levels) + " " * depth + "pass\n"


@pytest.mark.parametrize(
    "text",
    ["x = 1", _nested(60), "try:\n    x\nexcept E:\n    y\nelse:\n    z\nfinally:\n    w\n"],
)
def test_what_compiles_has_no_problem(text: str) -> None:
    assert not compiled.problem(text.encode())


@pytest.mark.parametrize("text", ["x =", "return 1", "try:\n    x\nfinally:\n    break\n", "x = 1\0", "(" * 300])
def test_what_does_not_compile_has_one(text: str) -> None:
    assert compiled.problem(text.encode())
