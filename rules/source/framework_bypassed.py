"""ML161."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source.code import Value
from modellint.source.prepared import ENGINE, bound_anew, owners


class FrameworkBypassed(SourceRule):
    """The gradients are made past the framework that was given the model and the optimizer.

    Why: `accelerator.backward`, `fabric.backward` and DeepSpeed's `engine.backward` scale the loss for mixed precision and
        accumulation, and bring the gradients of all processes together. `loss.backward()` does none of it: the gradients of
        fp16 vanish or are divided by a scale that they never had, and a DeepSpeed engine steps without them.
    Fix: `accelerator.backward(loss)`, `fabric.backward(loss)`, `engine.backward(loss)`.
    Ignore: when the framework prepares the data alone, or never scales and never runs on more than one process.
    Reported: https://github.com/lucidrains/med-seg-diff-pytorch/pull/6
    """

    code, severity, certain, topic = "ML161", Severity.WARNING, True, "gradients"
    words = ((".backward(", "Accelerator("), (".backward(", "Fabric("), (".backward(", ENGINE))
    bad = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        """
        import deepspeed

        engine, optimizer, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=config)
        for x, y in loader:
            loss = F.cross_entropy(engine(x), y)
            loss.backward()
            engine.step()
        """,
        """
        from lightning.fabric import Fabric

        fabric = Fabric(precision="16-mixed")
        model, optimizer = fabric.setup(model, torch.optim.SGD(model.parameters(), lr=0.1))
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )
    fixed = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        model = nn.Linear(8, 2)
        optimizer = torch.optim.Adam(model.parameters())
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            accelerator.backward(loss)
            optimizer.step()
        """,
        """
        import deepspeed

        engine, optimizer, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=config)
        for x, y in loader:
            loss = F.cross_entropy(engine(x), y)
            engine.backward(loss)
            engine.step()
        """,
        None,
    )
    good = (
        """
        from accelerate import Accelerator

        accelerator = Accelerator()
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if distributed:
                accelerator.backward(loss)
            else:
                loss.backward()
            optimizer.step()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator()
        loader = accelerator.prepare(loader)
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        from accelerate import Accelerator

        def baseline(loader):
            accelerator = Accelerator()
            model, optimizer = build()
            model.to(accelerator.device)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        def prepared(loader):
            accelerator = Accelerator()
            model, optimizer = accelerator.prepare(*build())
            for x, y in loader:
                optimizer.zero_grad()
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
        """,
        """
        import deepspeed

        engine, optimizer, _, _ = deepspeed.initialize(model=net, model_parameters=net.parameters(), config=config)
        for x, y in loader:
            engine.backward(F.cross_entropy(engine(x), y))
            engine.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for owner, call in _bypassing(script):
            yield self.at(
                call, f"goes past `{owner}`, which was given the model: `{owner}.backward()` makes the gradients"
            )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A backward() of a named loss, without arguments."""
        for owner, call in _bypassing(script):
            named = call.base is None and not call.arguments and not call.keywords
            if call.location == finding.location and named:
                return Fix((edit.replace(call, owner + ".backward({receiver})"),), safe=False)
        return None


def _bypassing(script: Script) -> Iterator[tuple[str, Value]]:
    found = dict(owners(script))
    for loop in script.training_loops if found else ():
        backwards = list(loop.of("backward"))
        for owner, held in found.items():
            stepped = any(str(step.call.receiver) in held - bound_anew(script, loop.function) for step in loop.steps)
            if stepped and not any(act.owner or act.scaled for act in backwards):
                own = (act.call for act in backwards if act.call.method == "backward" and act.call.receiver is not None)
                yield from ((owner, call) for call in own if not call.name.startswith("torch."))
