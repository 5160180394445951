from __future__ import annotations

import pytest

from modellint.report.wrap import cropped, text, wrapped


def rows(written: str, room: int) -> list[str]:
    return ["".join(character for character, _ in row) for row in wrapped(text(((written, ""),)), room)]


@pytest.mark.parametrize(
    ("written", "room", "expected"),
    [
        ("", 5, [""]),
        ("one two", 7, ["one two"]),
        ("one two", 6, ["one", "two"]),
        ("one  two   ", 4, ["one", "two"]),
        ("abcdefgh ij", 3, ["abc", "def", "gh", "ij"]),
        ("漢字漢字", 4, ["漢字", "漢字"]),
        ("漢字漢字", 3, ["漢", "字", "漢", "字"]),
    ],
)
def test_rows_break_at_spaces_and_within_words_that_are_too_wide(written: str, room: int, expected: list[str]) -> None:
    assert rows(written, room) == expected


def test_styles_go_with_their_characters() -> None:
    first, second = wrapped(text((("ab c", "strong"), ("d e", "faint"))), 4)
    assert first == [("a", "strong"), ("b", "strong")]
    assert second == [("c", "strong"), ("d", "faint"), (" ", "faint"), ("e", "faint")]


@pytest.mark.parametrize(("written", "room", "expected"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("漢字x", 4, "漢…")])
def test_what_is_cropped_ends_in_an_ellipsis(written: str, room: int, expected: str) -> None:
    assert "".join(character for character, _ in cropped(text(((written, ""),)), room)) == expected
