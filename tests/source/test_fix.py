"""What the rules' fixes make of sources, and which ones they leave alone; a second run changes nothing."""

from __future__ import annotations

import inspect

import pytest

from modellint import SourceRule
from modellint.core import registry
from modellint.selftest import fixed

from .fix.sources import clean

RULES = {rule.name: rule for rule in registry.load() if isinstance(rule, SourceRule)}


def mended(rule: str, source: str) -> str:
    return fixed(RULES[rule], source)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("F.cross_entropy(model(x).softmax(-1), y)", "F.cross_entropy(model(x), y)"),
        ("F.cross_entropy(model(x).softmax(dim=-1).view(-1, 10), y)", "F.cross_entropy(model(x).view(-1, 10), y)"),
        ("F.cross_entropy(torch.softmax(model(x), 1), y)", "F.cross_entropy(model(x), y)"),
        ("F.cross_entropy(input=F.softmax(model(x), dim=1), target=y)", "F.cross_entropy(input=model(x), target=y)"),
        ("p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)", "p = model(x)\nloss = F.cross_entropy(p, y)"),
        (
            "z = model(x)\np = z.softmax(1)\nloss = F.cross_entropy(p, y)\nbest = p.argmax(1)",
            "z = model(x)\np = z.softmax(1)\nloss = F.cross_entropy(z, y)\nbest = p.argmax(1)",
        ),
        (
            "s = nn.Softmax(dim=1)\nloss = F.cross_entropy(s(model(x)), y)",
            "s = nn.Softmax(dim=1)\nloss = F.cross_entropy(model(x), y)",
        ),
        ("nn.CrossEntropyLoss()(nn.Softmax(dim=1)(model(x)), y)", "nn.CrossEntropyLoss()(model(x), y)"),
        ("F.cross_entropy(F.log_softmax(model(x), 1), y)", "F.cross_entropy(model(x), y)"),
    ],
)
def test_softmax_before_cross_entropy(before: str, after: str) -> None:
    assert mended("softmax-into-cross-entropy", before) == after


@pytest.mark.parametrize(
    "asked",
    [
        "best = p.argmax(1)",
        "best = torch.argmax(p.detach(), dim=-1)",
        "_, best = torch.max(p.data, 1)",
        "best = p.max(1)[1].cpu()",
        "best, five = p.max(dim=1).indices, p.topk(5)[1]",
        'print(f"{p.argmax(1)}")',
    ],
)
def test_what_asks_for_the_largest_alone_may_read_the_scores(asked: str) -> None:
    source = f"p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\n{asked}"
    assert mended("softmax-into-cross-entropy", source) == source.replace("F.softmax(model(x), dim=1)", "model(x)")


@pytest.mark.parametrize(
    "source",
    [
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nbest = p.argmax(1) if p.max() > 0.5 else None",
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nbest, _ = p.max(1)",
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nbest = p.argmax(0)",
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nbest = p.argmax()",
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nbest = p.mean(1).argmax(1)",
        "p = F.softmax(model(x), dim=1)\nloss = F.cross_entropy(p, y)\nlog(p.shape)",
        "x = model(x)\nx = F.softmax(x, dim=1)\nloss = F.cross_entropy(x, y)\nprint(x)",
        "z = model(x)\np = z.softmax(1)\nz = z * 2\nloss = F.cross_entropy(p, y)\nbest = p.argmax(1)",
        "z = model(x)\np = z.softmax(1)\nz.mul_(2)\nloss = F.cross_entropy(p, y)\nbest = p.argmax(1)",
        "p = q = model(x).softmax(1)\nloss = F.cross_entropy(p, y)",
        "loss = F.cross_entropy(p := model(x).softmax(1), y)",
        "loss = F.cross_entropy(model(x).softmax(axis(x)), y)",
        "loss = F.cross_entropy(F.softmax(*outputs), y)",
    ],
)
def test_a_softmax_whose_value_goes_elsewhere_too_stays(source: str) -> None:
    assert mended("softmax-into-cross-entropy", source) == source


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            """
            for i, x in enumerate(loader):
                (loss(model(x)) / 4).backward()
                if (i + 1) % 4 == 0:
                    opt.step()
            """,
            """
            for i, x in enumerate(loader):
                (loss(model(x)) / 4).backward()
                if (i + 1) % 4 == 0:
                    opt.step()
                    opt.zero_grad()
            """,
        ),
        (
            """
            for x in loader:
                scaler.scale(loss(model(x))).backward()
                scaler.step(self.opt)
                scaler.update()
            """,
            """
            for x in loader:
                self.opt.zero_grad()
                scaler.scale(loss(model(x))).backward()
                scaler.step(self.opt)
                scaler.update()
            """,
        ),
        (
            """
            for epoch in range(9):
                for x in loader:
                    for part in x.split(8):
                        loss(model(part)).backward()
                    opt.step()
            """,
            """
            for epoch in range(9):
                for x in loader:
                    opt.zero_grad()
                    for part in x.split(8):
                        loss(model(part)).backward()
                    opt.step()
            """,
        ),
        (
            """
            def train(loader, step):
                for x in loader: loss(model(x)).backward(); opt.step()
            """,
            """
            def train(loader, step):
                for x in loader: opt.zero_grad(); loss(model(x)).backward(); opt.step()
            """,
        ),
        (
            """
            for i, x in enumerate(loader):
                (loss(model(x)) / 4).backward()
                if (i + 1) % 4:
                    continue
                opt.step()
            """,
            """
            for i, x in enumerate(loader):
                (loss(model(x)) / 4).backward()
                if (i + 1) % 4:
                    continue
                opt.step()
                opt.zero_grad()
            """,
        ),
        (
            """
            for i, x in enumerate(loader):
                (loss(model(x)) / 4).backward()
                if (i + 1) % 4 == 0:
                    opt.step()
                log([p.grad.norm() for p in model.parameters()])
            """,
            None,
        ),
    ],
    ids=["accumulation", "scaler", "micro-batches", "one line", "continue", "gradients read afterwards"],
)
def test_missing_zero_grad(before: str, after: str | None) -> None:
    source = clean(before)
    assert mended("missing-zero-grad", source) == (source if after is None else clean(after))


def test_a_clip_under_a_scaler_is_moved_with_an_unscale() -> None:
    source = clean("""
        for x, y in loader:
            opt.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.step(opt)  # learn
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.update()
        """)
    after = clean("""
        for x, y in loader:
            opt.zero_grad()
            scaler.scale(loss(model(x), y)).backward()
            scaler.unscale_(opt)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(opt)  # learn
            scaler.update()
        """)
    assert mended("clip-after-step", source) == after


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.fixed])
def test_a_second_run_changes_nothing(name: str) -> None:
    for example in (e for e in RULES[name].fixed if isinstance(e, str)):
        assert mended(name, inspect.cleandoc(example)) == inspect.cleandoc(example)
