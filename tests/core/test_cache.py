from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from modellint.core import cache
from modellint.core.cache import Cache


def test_what_was_put_is_there(tmp_path: Path) -> None:
    kept = Cache(tmp_path / ".modellint_cache" / "check")
    assert kept.get("a") is None
    kept.put("a", {"x": [1, "é", None]})
    assert Cache(tmp_path / ".modellint_cache" / "check").get("a") == {"x": [1, "é", None]}
    assert (tmp_path / ".modellint_cache" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000])
def test_damage_is_as_good_as_nothing(tmp_path: Path, content: bytes) -> None:
    kept = Cache(tmp_path)
    kept.put("a", 1)
    (tmp_path / "a.json").write_bytes(content)
    assert kept.get("a") is None
    kept.put("a", 2)
    assert kept.get("a") == 2


def test_a_place_where_nothing_can_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    kept = Cache(tmp_path / "file" / "check")
    kept.put("a", 1)
    assert kept.get("a") is None


def test_a_full_disk_keeps_no_drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, text: str, encoding: str) -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    kept = Cache(tmp_path / "cache")
    monkeypatch.setattr(Path, "write_text", write)
    kept.put("a", 1)
    assert list((tmp_path / "cache").iterdir()) == []


def test_the_oldest_make_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST", 3)
    kept = Cache(tmp_path)
    for age, key in enumerate("abcde"):
        kept.put(key, age)
        os.utime(tmp_path / f"{key}.json", (age, age))
    assert [kept.get(key) for key in "abcde"] == [None, None, 2, 3, 4]


def _put_often(folder: str) -> list[object]:
    kept = Cache(Path(folder))
    seen = []
    for number in range(200):
        kept.put("a", [number] * 1000)
        seen.append(kept.get("a"))
    return seen


def test_two_processes_never_see_half_of_a_value(tmp_path: Path) -> None:
    with ProcessPoolExecutor(2) as pool:
        for seen in pool.map(_put_often, [str(tmp_path)] * 2):
            assert all(isinstance(value, list) and len(set(value)) == 1 and len(value) == 1000 for value in seen)
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
