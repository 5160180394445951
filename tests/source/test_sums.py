"""Sums as they are written."""

import pytest

from modellint.source.sums import negated, terms


@pytest.mark.parametrize(
    ("text", "plus", "minus"),
    [
        ("a - b + c", ["a", "c"], ["b"]),
        ("a - (b - c)", ["a", "c"], ["b"]),
        ("-(a - b) - c", ["b"], ["a", "c"]),
        ("a * (b - c)", ["a * b - c"], []),
    ],
)
def test_each_term_has_its_sign(read, text, plus, minus):
    value = read(f"total = {text}").functions[0].events[0].value
    found = list(terms(value))
    assert [str(term) for term, sign in found if sign > 0] == plus
    assert [str(term) for term, sign in found if sign < 0] == minus


@pytest.mark.parametrize(("text", "inner"), [("-a", "a"), ("-(a + b)", "a + b"), ("b - a", "None"), ("a", "None")])
def test_only_a_minus_in_front_negates(read, text, inner):
    assert str(negated(read(f"total = {text}").functions[0].events[0].value)) == inner
