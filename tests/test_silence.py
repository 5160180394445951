from __future__ import annotations

from pathlib import Path

import pytest

from modellint.core import suppress
from modellint.core.diagnostic import Diagnostic, Location, Severity
from modellint.silence import commented, silenced


def finding(line: int, end: int | None = None, rule: str = "clip-after-step") -> Diagnostic:
    return Diagnostic(rule, "ML104", Severity.ERROR, "m", Location("t.py", line, 1, end or line, 2))


@pytest.mark.parametrize(
    ("source", "found", "expected"),
    [
        ("a()\nb()\n", [finding(2)], "a()\nb()  # modellint: ignore[clip-after-step]\n"),
        ("a()", [finding(1)], "a()  # modellint: ignore[clip-after-step]"),
        ("a()  # why\r\n", [finding(1)], "a()  # why  # modellint: ignore[clip-after-step]\r\n"),
        ("a()\n", [finding(1), finding(1, rule="b"), finding(1)], "a()  # modellint: ignore[clip-after-step, b]\n"),
        ("a()  # modellint: ignore[b] c\n", [finding(1)], "a()  # modellint: ignore[b, clip-after-step] c\n"),
        ("a()  # modellint: ignore\n", [finding(1)], "a()  # modellint: ignore\n"),
        ("a(\n  1,\n)\n", [finding(1, 3)], "a(  # modellint: ignore[clip-after-step]\n  1,\n)\n"),
        ('a("""\n\n""")\n', [finding(1, 3)], 'a("""\n\n""")  # modellint: ignore[clip-after-step]\n'),
        ("a = 1 \\\n  + 2\n", [finding(1, 2)], "a = 1 \\\n  + 2  # modellint: ignore[clip-after-step]\n"),
        ("a = 1 \\\n  + 2\n", [finding(1)], "a = 1 \\\n  + 2\n"),
        ("a = '\x0c'; b()\nc()\n", [finding(2)], "a = '\x0c'; b()\nc()  # modellint: ignore[clip-after-step]\n"),
    ],
)
def test_a_comment_goes_where_it_silences(source: str, found: list[Diagnostic], expected: str) -> None:
    data = commented(source.encode(), found)
    assert data.decode() == expected
    assert commented(data, found) == data
    if data != source.encode():
        marks = suppress.ignores("t.py", data.decode().replace("\r\n", "\n"))
        assert suppress.apply(found, marks, ()) == ()


@pytest.mark.parametrize("data", [b"a(\n", b"\xff\n", b"# coding: klingon\na()\n", b"'''\n"])
def test_what_cannot_be_read_is_left_alone(data: bytes) -> None:
    assert commented(data, [finding(1)]) == data


def test_an_encoding_is_kept() -> None:
    source = "# coding: latin-1\nbär()\n".encode("latin-1")
    assert commented(source, [finding(2)]) == source.rstrip() + b"  # modellint: ignore[clip-after-step]\n"


def test_files_are_told_apart_and_notebooks_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.py").write_text("a()\n")
    Path("n.ipynb").write_text("{}\n")
    elsewhere = Diagnostic("b", "ML1", Severity.NOTE, "m", Location("n.ipynb", 1, 1, module="cell 1"))
    assert dict(silenced([finding(1), elsewhere])) == {"t.py": b"a()  # modellint: ignore[clip-after-step]\n"}
