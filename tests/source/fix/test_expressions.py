"""Expressions and arguments in every form of call; what cannot be read is not touched."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from modellint import Fix
from modellint.core import edit
from modellint.core.diagnostic import Edit
from modellint.source import fix

from .sources import applied, at, refusal


@pytest.mark.parametrize(
    ("source", "place", "text", "after"),
    [
        ("ce(model(x).softmax(-1), y)", "model(x).softmax(-1)", "{receiver}", "ce(model(x), y)"),
        ("ce(F.softmax(model(x), dim=1), y)", "F.softmax(model(x), dim=1)", "{0|input}", "ce(model(x), y)"),
        ("ce(F.softmax(dim=1, input=x), y)", "F.softmax(dim=1, input=x)", "{0|input}", "ce(x, y)"),
        ("ce((a + b).softmax(-1), y)", "(a + b).softmax(-1)", "{receiver}", "ce((a + b), y)"),
        ("z = F.softmax(a + b, -1).view(-1)", "F.softmax(a + b, -1)", "{0}", "z = (a + b).view(-1)"),
        ("z = F.softmax(-a, -1) ** 2", "F.softmax(-a, -1)", "{0}", "z = (-a) ** 2"),
        (
            "z = F.softmax(\n    a\n    + b,\n    -1,\n)",
            "F.softmax(\n    a\n    + b,\n    -1,\n)",
            "{0}",
            "z = (a\n    + b)",
        ),
        ("ce(F.softmax(x := f(), -1), y)", "F.softmax(x := f(), -1)", "{0}", "ce((x := f()), y)"),
        ("z = (F.softmax(x, 1))", "F.softmax(x, 1)", "{0}", "z = x"),
        ("loss = -ce(x, y)", "-ce(x, y)", "{0}", "loss = ce(x, y)"),
        ("s += loss", "loss", "{whole}.item()", "s += loss.item()"),
        ("s += a * b", "a * b", "{whole}.item()", "s += (a * b).item()"),
        (
            "m = [f(i) for i in n]",
            "[f(i) for i in n]",
            "nn.ModuleList({whole})",
            "m = nn.ModuleList([f(i) for i in n])",
        ),
        ("print(f'{F.softmax(x, 1)}')", "F.softmax(x, 1)", "{0}", "print(f'{x}')"),
    ],
)
def test_an_expression_is_replaced(source: str, place: str, text: str, after: str) -> None:
    assert applied(source, edit.replace(at(source, place), text)) == after


@pytest.mark.parametrize(
    ("source", "place", "text"),
    [
        ("ce(F.softmax(*parts), y)", "F.softmax(*parts)", "{0|input}"),
        ("ce(F.softmax(**parts), y)", "F.softmax(**parts)", "{0|input}"),
        ("ce(softmax(x), y)", "softmax(x)", "{receiver}"),
        ("ce(F.softmax(x, axis()), y)", "F.softmax(x, axis())", "{0}"),
        ("ce(x.softmax(axis()), y)", "x.softmax(axis())", "{receiver}"),
        ("ce(nn.Softmax(axis())(x), y)", "nn.Softmax(axis())(x)", "{0}"),
        ("ce(x.softmax(-1), y)", "x.softmax", "{receiver}"),
    ],
)
def test_a_replacement_that_would_drop_more_is_refused(source: str, place: str, text: str) -> None:
    assert refusal(source, edit.replace(at(source, place), text))


@pytest.mark.parametrize(
    ("one", "source", "after"),
    [
        (lambda s: edit.rename(at(s, "utils.clip(p, 1)"), "clip_"), "utils.clip(p, 1)", "utils.clip_(p, 1)"),
        (lambda s: edit.rename(at(s, "clip(p)"), "nn.utils.clip_"), "clip(p)", "nn.utils.clip_(p)"),
        (lambda s: edit.argument(at(s, "0.8"), "momentum"), "bn(8, 0.8)", "bn(8, momentum=0.8)"),
        (lambda s: edit.argument(at(s, "0.8"), "momentum", "0.2"), "bn(8, 0.8, **k)", None),
        (
            lambda s: edit.argument(at(s, "0.8"), "momentum", "0.2"),
            "bn(8, 0.8, affine=no)",
            "bn(8, momentum=0.2, affine=no)",
        ),
        (lambda s: edit.argument(at(s, "0.8"), "momentum"), "bn(8, 0.8, 0.1)", None),
        (lambda s: edit.argument(at(s, "0.8"), "momentum"), "bn(8, 0.8, momentum=0.1)", None),
        (
            lambda s: edit.argument(at(s, "True"), "reduction", "'mean'"),
            "loss(a, size_average = True)",
            "loss(a, reduction = 'mean')",
        ),
        (lambda s: edit.add(at(s, s), "dim", "-1"), "F.softmax(x)", "F.softmax(x, dim=-1)"),
        (lambda s: edit.add(at(s, s), "dim", "-1"), "F.softmax()", "F.softmax(dim=-1)"),
        (
            lambda s: edit.add(at(s, s), "dim", "-1"),
            "F.softmax(\n    x,\n    y,\n)",
            "F.softmax(\n    x,\n    y,\n    dim=-1,\n)",
        ),
        (lambda s: edit.add(at(s, s), "dim", "-1"), "F.softmax(\n    x\n)", "F.softmax(\n    x,\n    dim=-1\n)"),
        (lambda s: edit.add(at(s, s), "dim", "-1"), "F.softmax(x, **options)", None),
        (lambda s: edit.add(at(s, s), "dim", "-1"), "F.softmax(x, dim=1)", None),
        (lambda s: edit.swap(at(s, "p"), at(s, "q.log()")), "kl(p, q.log())", "kl(q.log(), p)"),
        (lambda s: edit.swap(at(s, "p"), at(s, "q")), "kl(p, *q)", None),
        (lambda s: edit.remove(at(s, "b()")), "seq(a(), b())", "seq(a())"),
        (lambda s: edit.remove(at(s, "b()")), "seq(\n    a(),\n    b(),\n)", "seq(\n    a(),\n)"),
        (lambda s: edit.remove(at(s, "b()")), "seq([b(), c])", "seq([c])"),
        (lambda s: edit.remove(at(s, "b()")), "seq(b())", None),
        (lambda s: edit.delete(at(s, "b()")), "a()\nb()\nc()\n", "a()\nc()\n"),
        (lambda s: edit.delete(at(s, "b()")), "if a:\n    b()\nc()\n", "if a:\n    pass\nc()\n"),
        (lambda s: edit.delete(at(s, "b()")), "if a: b()\n", "if a: pass\n"),
        (lambda s: edit.delete(at(s, "b()")), "if a: c(); b() ;\n", "if a: c()\n"),
    ],
)
def test_calls_and_their_arguments(one: Callable[[str], Edit], source: str, after: str | None) -> None:
    if after is None:
        assert refusal(source, one(source))
    else:
        assert applied(source, one(source)) == after


def test_edits_of_one_pass_do_not_meet_and_the_rest_waits() -> None:
    source = "bn(8, 0.8); bn(9, 0.9)\nopt.step()\nclip(bn(7, 0.7))\n"
    fixes = [
        Fix((edit.argument(at(source, "0.8"), "momentum"),)),
        Fix((edit.move(at(source, "clip(bn(7, 0.7))"), before=at(source, "opt.step()")),)),
        Fix((edit.argument(at(source, "0.9"), "momentum"),)),
        Fix((edit.argument(at(source, "0.7"), "momentum"),)),
    ]
    result = fix.apply(source.encode(), fixes)
    assert result.made == (0, 1, 2)
    assert not result.refused
    assert result.data == b"bn(8, momentum=0.8); bn(9, momentum=0.9)\nclip(bn(7, 0.7))\nopt.step()\n"


@pytest.mark.parametrize(
    ("source", "after"),
    [
        ("p = soft(z)\nce(p, y)\n", "p = z\nce(p, y)\n"),
        ("p = soft(z).view(-1)[0]\nce(p, y)\n", "p = z.view(-1)[0]\nce(p, y)\n"),
        ("p = soft(z)\np = p * 2\nce(p, y)\n", None),
        ("p = soft(z)\nce(p, p)\n", None),
        ("p = soft(z)\ndel p\nce(p, y)\n", None),
        ("def f(p):\n    p = soft(z)\n    ce(p, y)\n", None),
        ("def f():\n    global p\n    p = soft(z)\n    ce(p, y)\n", None),
        ("p = soft(z)\ndef f():\n    ce(p, y)\n", None),
        ("p, q = soft(z)\nce(p, y)\n", None),
        ("self.p = soft(z)\nce(self.p, y)\n", None),
        ("p = [soft(z)]\nce(p, y)\n", None),
        ("p = log(soft(z))\nce(p, y)\n", None),
        ("p = soft(z)\nce(p, y)\nsave(p)\n", "p = soft(z)\nce(z, y)\nsave(p)\n"),
        ("p = soft(f(z))\nce(p, y)\nsave(p)\n", None),
        ("p = soft(z)\nfor z in q:\n    ce(p, y)\nsave(p)\n", None),
        ("for q in z:\n    ce(p, y)\n    p = soft(z)\nsave(p)\n", None),
        ("ce(soft(z).view(-1), y)\n", "ce(z.view(-1), y)\n"),
        ("ce(log(soft(z)), y)\n", None),
        ("ce(-soft(z), y)\n", None),
    ],
)
def test_a_value_is_replaced_only_for_the_call_that_uses_it(source: str, after: str | None) -> None:
    call = next(text for text in ("soft(z)", "soft(f(z))") if text in source)
    user = source[source.index("ce(") :].partition("\n")[0]
    one = edit.replace(at(source, call), "{0}", into=at(source, user))
    if after is None:
        assert refusal(source, one)
    else:
        assert applied(source, one) == after
