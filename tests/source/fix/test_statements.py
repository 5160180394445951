"""Statements that move, go or come: with their comments, in any kind of suite, and never past what they depend on."""

from __future__ import annotations

import pytest

from modellint.core import edit
from modellint.source import fix

from .sources import applied, at, clean, refusal


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            """
            for x, y in loader:
                loss.backward()

                # now learn
                opt.step()  # one step
                # keep it calm
                clip(model)   # at most 1
                log( loss )
            """,
            """
            for x, y in loader:
                loss.backward()
                # keep it calm
                clip(model)   # at most 1

                # now learn
                opt.step()  # one step
                log( loss )
            """,
            id="comments go with their statement",
        ),
        pytest.param(
            "for x in y: loss.backward(); opt.step(); clip(model)",
            "for x in y: loss.backward(); clip(model); opt.step()",
            id="one-line suite",
        ),
        pytest.param(
            """
            for x in y:
                loss.backward()
                opt.step(); clip(model)
            """,
            """
            for x in y:
                loss.backward()
                clip(model); opt.step()
            """,
            id="within a line",
        ),
        pytest.param(
            """
            for x in y:
                loss.backward(); opt.step()
                clip(model)
            """,
            """
            for x in y:
                loss.backward(); clip(model); opt.step()
            """,
            id="into a line",
        ),
        pytest.param(
            """
            for x in y:
                opt.step()
                log(x); clip(model)
            """,
            """
            for x in y:
                clip(model)
                opt.step()
                log(x)
            """,
            id="out of a line",
        ),
        pytest.param(
            """
            def train():
                with amp:
                    opt.step()
                    if bound > 0:
                        clip(model)
                    elapsed()
            """,
            """
            def train():
                with amp:
                    if bound > 0:
                        clip(model)
                    opt.step()
                    elapsed()
            """,
            id="with the guard around it",
        ),
        pytest.param(
            """
            opt.step()
            clip(
                model,  # of all
                1.0,
            )
            """,
            """
            clip(
                model,  # of all
                1.0,
            )
            opt.step()
            """,
            id="over several lines, in the module",
        ),
        pytest.param(
            """
            if ready:
                pass
            else:
                opt.step()
                clip(model)
            """,
            """
            if ready:
                pass
            else:
                clip(model)
                opt.step()
            """,
            id="in an else",
        ),
        pytest.param(
            """
            if ready:
                pass
            elif (late := now()):
                opt.step()
                clip(model)
            """,
            """
            if ready:
                pass
            elif (late := now()):
                clip(model)
                opt.step()
            """,
            id="in an elif",
        ),
        pytest.param(
            """
            try:
                opt.step()
                clip(model)
            except Exception as error:
                print(f"{error!r:>{width}}")
            """,
            """
            try:
                clip(model)
                opt.step()
            except Exception as error:
                print(f"{error!r:>{width}}")
            """,
            id="in a try",
        ),
    ],
)
def test_a_statement_moves(before: str, after: str) -> None:
    source = clean(before)
    call = "clip(\n    model,  # of all\n    1.0,\n)" if "of all" in source else "clip(model)"
    assert applied(source, edit.move(at(source, call), before=at(source, "opt.step()"))) == clean(after)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("norm = opt.step()\nclip(norm)\n", "`norm`"),
        ("model = opt.step()\nclip(model.parts)\n", "`model`"),
        ("self.bound = opt.step()\nclip(self.bound.value)\n", "`self.bound`"),
        ("if (bound := opt.step()):\n    pass\nclip(bound)\n", ""),
        ("log = opt.step()\nlog = clip(model)\n", "`log`"),
        ("for x in y:\n    opt.step()\n    if bad: continue\n    clip(model)\n", "leave"),
        ("def f():\n    opt.step()\n    if bad:\n        return\n    clip(model)\n", "leave"),
        ("for x in y:\n    if ready:\n        opt.step()\n    clip(model)\n", "different suites"),
        ("opt.step()\nif bound:\n    clip(model)\n    log()\n", "different suites"),
        ("opt.step()\nif bound:\n    clip(model)\nelse:\n    log()\n", "different suites"),
        ("opt.step()\ndef limit():\n    clip(model)\n", "different suites"),
        ("a = 1; opt.step()\nif bound:\n    clip(model)\n", "does not fit"),
        ("clip(model)\nopt.step()\n", "already"),
    ],
)
def test_a_move_that_would_mean_something_else_is_refused(source: str, reason: str) -> None:
    calls = ("clip(norm)", "clip(bound)", "clip(self.bound.value)", "clip(model.parts)", "clip(model)")
    call = next(text for text in calls if text in source)
    assert reason in refusal(source, edit.move(at(source, call), before=at(source, "opt.step()")))


def test_a_comment_is_never_lost() -> None:
    source = "a(); opt.step()\nclip(model)  # of all\n"
    with pytest.raises(fix.FixError, match="comment"):
        applied(source, edit.move(at(source, "clip(model)"), before=at(source, "opt.step()")))
    source = "loss = ce(F.softmax(x, dim=1  # classes\n), y)\n"
    with pytest.raises(fix.FixError, match="comment"):
        applied(source, edit.replace(at(source, "F.softmax(x, dim=1  # classes\n)"), "{0}"))


@pytest.mark.parametrize(
    "source",
    [
        "for x in y:\n\n    # learn\n+    {}.zero_grad()\n    go()\n    self.opt['a'].step()\n",
        "for x in y:+ {}.zero_grad();| go(); opt.step()\n",
        "while True:\n+\t{}.zero_grad()\n\tgo()\n\topt.step()",
        "for x in y:\n+  {}.zero_grad()\n  for z in x: go()\n  opt.step()\n",
        "@once\ndef f():\n+    {}.zero_grad()\n    with amp:\n        go()\n    opt.step()\n",
    ],
)
def test_a_statement_is_inserted_before_another(source: str) -> None:
    """What comes is written between `+` and the end of the line or `|`."""
    optimizer = "self.opt['a']" if "self" in source else "opt"
    start, _, rest = source.partition("+")
    new, end, rest = rest.partition("|" if "|" in rest else "\n")
    before = start + rest
    after = start + new.format(optimizer) + end.replace("|", "") + rest
    one = edit.insert("{receiver}.zero_grad()", of=at(before, f"{optimizer}.step()"), before=at(before, "go()"))
    assert applied(before, one) == after


def test_a_statement_is_inserted_after_another_or_first_in_a_loop() -> None:
    source = "for x in y:\n    # forward\n    go()\n    opt.step()  # learn\n"
    step = at(source, "opt.step()")
    after = edit.insert("{receiver}.zero_grad()", of=step, after=step)
    assert applied(source, after) == source + "    opt.zero_grad()\n"
    first = edit.insert(
        "{receiver}.zero_grad()", of=step, first_in=at(source, source.rstrip("\n")[: -len("  # learn")])
    )
    assert applied(source, first) == "for x in y:\n    opt.zero_grad()\n" + source.partition("\n")[2]


@pytest.mark.parametrize(
    "source",
    [
        "go()\nopt = build()\nopt.step()\n",
        "for x in y:\n    go()\n    if (i + 1) % 4: continue\n    opt.step()\n",
        "go()\nfor opt in many:\n    opt.step()\n",
        "go()\nbuild().opt.step()\n",
    ],
)
def test_an_insertion_that_would_mean_something_else_is_refused(source: str) -> None:
    step = source.splitlines()[-1].strip()
    assert refusal(source, edit.insert("{receiver}.zero_grad()", of=at(source, step), before=at(source, "go()")))


@pytest.mark.parametrize(
    ("source", "what", "text", "after"),
    [
        ("a(); x.clamp(0)  # c\n", "x.clamp(0)", "x = {whole}", "a(); x = x.clamp(0)  # c\n"),
        ("if y: x.clamp(0); b()\n", "x.clamp(0)", "x = {whole}", "if y: x = x.clamp(0); b()\n"),
        ("(x\n .clamp(0))\n", "x\n .clamp(0)", "x = {whole}", "x = (x\n .clamp(0))\n"),
        ("p.grad_ = False\n", "False", "p.grad = {whole}", "p.grad = False\n"),
        ("y = x.clamp(0)\n", "x", "x = {whole}", None),
        ("p.a = p.b = False\n", "False", "p.c = {whole}", None),
        ("f(x.clamp(0))\n", "x.clamp(0)", "x = {whole}", None),
        ("return_(x)\nx += 1\n", "1", "x = {whole}", None),
        ("if c:\n\x0c    x.clamp(0)\n", "x.clamp(0)", "x = {whole}", None),  # LibCST knows no such indent
    ],
)
def test_a_statement_is_written_anew(source: str, what: str, text: str, after: str | None) -> None:
    one = edit.restate(at(source, what), text)
    assert (applied(source, one) == after) if after is not None else refusal(source, one)


@pytest.mark.parametrize(
    ("source", "after"),
    [
        (
            "# all\nfor x in y:  # go\n    a()\n\n    # b\nb()\n",
            "# all\nwith c():\n    for x in y:  # go\n        a()\n\n        # b\nb()\n",
        ),
        ("def f():\n\tfor x in y: a()\n", "def f():\n\twith c():\n\t\tfor x in y: a()\n"),
        ('for x in y:\n  s = """\n a\n"""\n', 'with c():\n  for x in y:\n    s = """\n a\n"""\n'),
        ("for x in y:\n    yield x\n", None),
    ],
)
def test_a_statement_goes_into_a_context(source: str, after: str | None) -> None:
    loop = source[source.index("for") :].removesuffix("b()\n").removesuffix("\n\n    # b\n").rstrip("\n")
    one = edit.wrap(at(source, loop), "c()")
    assert (applied(source, one) == after) if after is not None else refusal(source, one)
