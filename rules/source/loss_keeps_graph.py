"""ML123."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.measure import growth
from modellint.source import lookup
from modellint.source.facts import Act, TrainingLoop
from modellint.source.place import function_of

PARTS = pattern(r"accum|micro_?batch")
LOSSES = pattern(r"loss|kl(?:d|_|\b)|nll|elbo|penalt|regul|err", re.IGNORECASE)


class LossKeepsGraph(SourceRule):
    """Losses are summed or stored over the steps together with their graphs.

    Why: a tensor that needs gradients keeps the graph that made it, and a sum of such tensors the graphs of all steps:
        memory grows with every step until the process dies, hours later and in another line.
    Fix: add or store the number, `loss.item()`, or `loss.detach()` where it costs too much to wait for the GPU.
    Ignore: when `backward()` is called on the sum (not reported). Of several things that a model returns, one that is no
        more than a part of the loss, and is not called a loss, is only suspected.
    Reported: https://github.com/BatsResearch/labelmodels/issues/4, https://github.com/pai4451/ML2021/issues/2
    """

    code, severity, certain, topic = "ML123", Severity.WARNING, True, "memory"
    twins = ("memory-growth",)
    words = (".backward(",)
    bad = (
        """
        def train(model, config, loader, optimizer):
            running = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = config.loss(model(x), y)
                loss.backward()
                optimizer.step()
                running += loss
        """,
        """
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss * x.size(0)
        """,
        """
        class Trainer:
            def __init__(self):
                self.losses = []

            def update(self, x, y):
                self.optimizer.zero_grad()
                loss = F.mse_loss(self.net(x), y)
                loss.backward()
                self.optimizer.step()
                return loss

            def fit(self, epochs):
                for epoch in range(epochs):
                    for x, y in self.loader:
                        self.losses.append(self.update(x, y))
        """,
        """
        d_sum, g_sum = 0, 0
        for real in loader:
            d_loss = criterion(D(real), ones) + criterion(D(G(noise()).detach()), zeros)
            d_opt.zero_grad()
            d_loss.backward()
            d_opt.step()
            d_sum = d_sum + d_loss
        """,
        """
        total = 0
        for batch in data.split(50):
            loss = ((model(batch) - batch) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss
        """,
        """
        class Meter:
            def __init__(self):
                self.sum, self.count = 0, 0

            def update(self, value, n=1):
                self.sum += value * n
                self.count += n

        meter = Meter()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            meter.update(loss, len(x))
        """,
    )
    fixed = (
        """
        def train(model, config, loader, optimizer):
            running = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                loss = config.loss(model(x), y)
                loss.backward()
                optimizer.step()
                running += loss.detach()
        """,
        """
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += (loss * x.size(0)).detach()
        """,
    )
    good = (
        """
        def train_step(model, optimizer, data, args):
            losses = []
            for _ in range(args.gradient_accumulation_steps):
                loss = model(next(data)).pow(2).mean()
                losses.append(loss)
                loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return sum(losses).item()
        """,
        """
        class SemiLoss:
            def __call__(self, x, y, epoch):
                return F.cross_entropy(x, y), (x**2).mean(), 75 * ramp(epoch)

        def ramp(epoch):
            return float(min(epoch / 16, 1.0))

        criterion, weights = SemiLoss(), AverageMeter()
        for epoch in range(30):
            for x, y in loader:
                fit, size, weight = criterion(model(x), y, epoch)
                weights.update(weight)  # a number
                optimizer.zero_grad()
                (fit + weight * size).backward()
                optimizer.step()
        """,
        """
        def train(step_of, penalty, epochs):
            total = 0.0
            for x, y in loader:
                optimizer.zero_grad()
                weight = penalty(x)
                loss = config.loss(model(x), y) + weight
                loss.backward()
                optimizer.step()
                total += weight
        """,
        """
        total, losses = 0.0, []
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * x.size(0)
            losses.append(float(loss))
            losses.append(loss.detach().cpu())
        """,
        """
        class Meter:
            def __init__(self):
                self.sum, self.kept = 0, 0

            def update(self, value):
                self.sum += value.item()

            def add(self, value):
                if torch.is_tensor(value):
                    value = value.item()
                self.kept += value

            def gather(self, value):
                if isinstance(value, Variable):  # as each tensor is
                    value = value.data.sum()
                elif isinstance(value, torch.Tensor):
                    value = value.sum()
                self.kept += value

        meter = Meter()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            meter.update(loss)
            meter.add(loss)
            meter.gather(loss)
        """,
        """
        total = 0.0
        for x, y in loader:
            losses = criterion(model(x), y)
            optimizer.zero_grad()
            losses["loss"].backward()
            optimizer.step()
            for key, value in losses.items():
                losses[key] = value.item()
            total += losses["loss"]
        """,
        """
        recent = collections.deque(maxlen=10)  # what is old is forgotten
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            recent.append(loss)
        """,
        """
        for batch in loader:  # the sum is what backward() starts from
            total = 0
            for task in batch:
                loss = F.mse_loss(model(task), target)
                total += loss
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        """,
        """
        saved = []
        for step, (x, y) in enumerate(loader):
            saved.append(F.cross_entropy(model(x), y))
            if step % 8 == 7:
                optimizer.zero_grad()
                torch.stack(saved).mean().backward()
                optimizer.step()
                saved = []
        """,
        """
        for batch in loader:  # the sum begins anew with each batch
            penalty, total = 0, 0
            for task in batch:
                part = F.mse_loss(model(task), target)
                total += part
                penalty += 2 * (1 - part)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            log(penalty.item())
        """,
        """
        correct, words, total = 0, 0, 0
        for x, y in loader:
            optimizer.zero_grad()
            output = model(x)
            mask = y != 0
            loss = (F.cross_entropy(output, y, reduction="none") * mask).sum() / mask.sum()
            loss.backward()
            optimizer.step()
            correct += (output.argmax(1) == y).sum()
            words += mask.sum()
            loss = loss.item()
            total += loss
        """,
        """
        def update(x, y):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        total = 0.0
        for x, y in loader:
            total += update(x, y)
        """,
        """
        def update(x, y):
            parts = []  # the list ends with each call
            for half in x.chunk(2):
                part = F.mse_loss(model(half), y)
                part.backward()
                parts.append(part)
            optimizer.step()
            optimizer.zero_grad()
            return sum(part.item() for part in parts)

        for x, y in loader:
            print(update(x, y))
        """,
        """
        losses = []
        for x, y in loader:
            loss = 0
            if learning:
                loss = F.mse_loss(model(x), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            losses.append(loss.item() if isinstance(loss, torch.Tensor) else loss)
        """,
        """
        optimizer = torch.optim.LBFGS([pixels])
        while epoch < 300:

            def closure():
                total = 0  # anew with each evaluation
                optimizer.zero_grad()
                for layer in losses:
                    part = F.mse_loss(model(pixels), layer.target)
                    part.backward()
                    total += part
                return total.item()

            optimizer.step(closure)
        """,
    )
    suspected = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(3))

            def forward(self, x):
                used = 0.0
                for layer in self.layers:
                    x = layer(x)
                    used += 1e-12 * x.shape[0]
                return x, used

        net, total = Net(), 0.0
        optimizer = torch.optim.Adam(net.parameters())
        for x, y in loader:
            output, energy = net(x)
            loss = F.mse_loss(output, y) + 0.1 * energy
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += energy
        """,
    )
    confirmed_by = Run(tuple(Step(i, graphs_alive=1 + i) for i in range(10)))
    not_confirmed_by = Run(tuple(Step(i, graphs_alive=1) for i in range(10)))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            starts = [*loop.of("backward"), *(act for act in loop.outer if act.kind == "backward")]
            for act in loop.of("keep"):
                lasting = act.recorded and not _is_local(act, loop) and not _is_of_one_step(script, act, loop)
                freed = [backward for backward in loop.of("backward") if lasting and _frees(act, backward)]
                if freed and not any(origin is act.call for start in starts for origin in start.origins):
                    sure = any(_is_tensor(act, backward) for backward in freed)
                    yield self.at(act, f"adds to `{act.subjects[0]}` a loss with its graph", certain=sure)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """What is added or stored goes without its graph; not in the midst of a tuple or a dict."""
        for _, act in lookup.acts(script, finding):
            added = [value for value in act.call.arguments if str(value) != act.subjects[0]]
            if act.kind == "keep" and len(added) == 1 and added[0].kind in ("name", "call", "operation"):
                return Fix((edit.replace(added[0], "{whole}.detach()"),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        found = max(growth.held(run), key=lambda alive: alive[-1], default=None)
        if found is None:
            return None
        claim = "graphs of earlier steps that are still held"
        return Evidence(claim, found[-1], found[0], holds=growth.grows(found), series=found)


def _is_local(act: Act, loop: TrainingLoop) -> bool:
    """Whether the sum begins anew in each pass, or with each call of a helper or closure that the training loop calls."""
    if act.anew in (*act.loops, *loop.nest[-1:]):
        return True
    if not act.loops or not loop.nest or "." in act.subjects[0]:
        return False
    return function_of(act.loops[-1]) != function_of(loop.nest[-1])


def _is_of_one_step(script: Script, act: Act, loop: TrainingLoop) -> bool:
    """Whether a function gathers the losses of the parts of a batch, and begins with each call."""
    parts = PARTS.search(str(loop.over[-1])) is not None if loop.nest and loop.over else bool(act.loops)
    function = lookup.function(script, act.location) if parts and not (loop.nest and act.loops) else None
    return function is not None and any(e.kind == "assign" and e.name == act.subjects[0] for e in function.events)


def _is_tensor(act: Act, backward: Act) -> bool:
    """Not so one of the things that a model returns, if it is only a part of the loss and is called none: a number?"""
    whole = set(backward.terms) <= set(act.terms)
    return whole or LOSSES.search(str(act.call)) is not None or not all(term.endswith("]") for term in act.terms)


def _frees(act: Act, backward: Act) -> bool:
    """Whether what is kept is what a backward() starts from, and nothing can start from it again."""
    retained = backward.call.argument(1, "retain_graph")
    again = retained is not None and retained.constant is not False
    return not again and not act.excludes(backward) and not set(act.terms).isdisjoint(backward.terms)
