"""ML102."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.diagnostic import Fix
from modellint.core.edit import move
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop


def _run(applied: float) -> Run:
    return Run(tuple(Step(i, gradient_norm=2.0, gradient_norm_at_step=applied) for i in range(3)))


FILLING = ("copy_", "add_", "set_", "fill_")


class ZeroGradBeforeStep(SourceRule):
    """Gradients are cleared between `backward()` and `step()`.

    Why: the optimizer then steps with empty gradients: nothing is learned, and the loss stays where it began without
        any error.
    Fix: clear the gradients before `backward()` or after `step()`.
    Ignore: never.
    Thresholds: a run confirms it when `backward()` made gradients and every step applied a norm of exactly 0.
    Reported: https://github.com/lucidrains/byol-pytorch/issues/93, https://github.com/sacmehta/EdgeNets/issues/14
    """

    code, severity, certain, topic = "ML102", Severity.ERROR, True, "gradients"
    explains, twins = ("loss-not-falling",), ("zero-gradients",)
    remedy = "keep-gradients"
    words = ("zero_grad(", (".grad = None", ".backward("))
    bad = (
        """
        for x, y in loader:
            output = loss(model(x), y)
            output.backward()
            optimizer.zero_grad()
            optimizer.step()
        """,
        """
        class Trainer:
            def __init__(self, net):
                self.optim = torch.optim.SGD(net.parameters(), lr=0.1)

            def step(self):
                self.optim.zero_grad()
                self.optim.step()

            def fit(self, batches):
                for batch in batches:
                    self.loss(batch).backward()
                    self.step()
        """,
        """
        for x, y in loader:
            output = loss(model(x), y)
            optimizer.zero_grad()
            optimizer.step()
            output.backward()
        """,
        """
        for i, (x, y) in enumerate(loader):
            loss(model(x), y).backward()
            if (i + 1) % 4 == 0:
                for p in model.parameters():
                    p.grad = None
                optimizer.step()
        """,
    )
    fixed = (
        """
        for x, y in loader:
            output = loss(model(x), y)
            output.backward()
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        class Trainer:
            def __init__(self, net):
                self.optim = torch.optim.SGD(net.parameters(), lr=0.1)

            def step(self):
                self.optim.step()
                self.optim.zero_grad()

            def fit(self, batches):
                for batch in batches:
                    self.loss(batch).backward()
                    self.step()
        """,
        """
        for x, y in loader:
            output = loss(model(x), y)
            optimizer.step()
            optimizer.zero_grad()
            output.backward()
        """,
        None,
    )
    suspected = (
        """
        for x, y in loader:
            delta = torch.zeros_like(x, requires_grad=True)
            for k in range(7):
                net.zero_grad()
                F.cross_entropy(net(x + delta), y).backward()
                delta.data += 0.01 * delta.grad.sign()
                delta.grad.zero_()
            optimizer.step()
        """,
    )
    good = (
        """
        for x, y in loader:
            loss(model(x), y).backward()
            saved = [p.grad.clone() for p in model.parameters()]
            optimizer.zero_grad()
            for p, gradient in zip(model.parameters(), saved):
                p.grad.copy_(gradient / gradient.norm())
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
            model.zero_grad()
        """,
        """
        generator, discriminator = Generator(), Discriminator()
        optimizer_g = torch.optim.Adam(generator.parameters())
        for real in loader:
            g_loss(discriminator(generator(noise))).backward()
            discriminator.zero_grad()  # what the generator's loss left in the other model
            optimizer_g.step()
            optimizer_g.zero_grad()
        """,
        """
        for batch in loader:
            actor_loss(batch).backward()
            critic_optimizer.zero_grad()
            critic_loss(batch).backward()
            critic_optimizer.step()
            actor_optimizer.step()
            actor_optimizer.zero_grad()
        """,
        """
        for i, batch in enumerate(loader):
            loss(batch).backward()
            if skip(batch):
                optimizer.zero_grad()
                continue
            optimizer.step()
            optimizer.zero_grad()
        """,
        """
        for batch in loader:
            kept = []
            for sample in batch:
                loss(model(sample)).backward()
                kept.append([p.grad.clone() for p in model.parameters()])
            for p, *grads in zip(model.parameters(), *kept):  # the gradients are put together by hand
                p.grad.zero_()
                for grad in grads:
                    p.grad += grad.clamp(-1, 1)
            optimizer.step()
        """,
    )
    confirmed_by = _run(0.0)
    not_confirmed_by = _run(2.0)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for step in loop.steps:
                clear = _cleared(loop, step)
                if clear is not None and not _refilled(script, clear, step):
                    sure = (
                        lookup.share_function(script, clear, step) and clear.call.method != "zero_"
                    )  # `delta.grad.zero_()`
                    message = "clears the gradients that `backward()` has made before `step()` uses them"
                    yield self.at(clear, message, certain=sure)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        pairs = [(s.gradient_norm, s.gradient_norm_at_step) for s in run.steps if s.gradient_norm]
        applied = [at for _, at in pairs if at is not None]
        if not applied:
            return None
        return Evidence("largest gradient norm that a step applied", max(applied), 0.0, holds=max(applied) == 0)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for loop in script.training_loops:
            for step in loop.steps:
                clear = _cleared(loop, step)
                if clear is not None and clear.location == finding.location:
                    return Fix((move(clear, after=step),))
        return None


def _cleared(loop: TrainingLoop, step: Act) -> Act | None:
    """The call that takes away the gradients of a backward() of the same pass before the step has used them."""
    before = [act for act in loop.before(step) if act.kind in ("clear", "backward", "step", "unknown")]
    clear = before[0] if before and before[0].kind == "clear" else None
    if clear is None or clear.owner or step.owner or not _always(clear, step) or not clear.concerns(step):
        return None
    earlier = [act.kind for act in (*before[1:], *_passed(loop, step)) if act.kind != "clear"]
    return clear if earlier[:1] == ["backward"] else None


def _passed(loop: TrainingLoop, step: Act) -> Iterator[Act]:
    """What the pass before ended with: only a backward() that comes after the step, as often as it, and nothing unknown."""
    after = [act for act in loop.after(step) if act.kind in ("clear", "backward", "step", "unknown")]
    backwards = [act for act in after if act.kind == "backward"]
    if loop.whole and len(after) == len(backwards) and all(_always(act, step) and not act.loops for act in backwards):
        yield from backwards


def _refilled(script: Script, clear: Act, step: Act) -> bool:
    """Whether gradients are written by hand between the two: `p.grad += buffer[p]`, `p.grad.copy_(saved)`."""
    events = (e for f in script.functions for e in f.events if e.kind in ("assign", "augment"))
    written = (e.location for e in events if e.name.endswith((".grad", ".grad.data")) and e.value is not None)
    filled = (call.location for call in script.calls if call.method in FILLING and ".grad" in str(call.receiver))
    places = (*written, *filled)
    start, end = clear.location, step.location
    return any(p.path == start.path and (start.line or 0) < (p.line or 0) < (end.line or 0) for p in places)


def _always(clear: Act, step: Act) -> bool:
    """Whether each step follows the clear: it lies in no branch or loop that does not hold the step too."""
    return set(clear.branches) <= set(step.branches)
