"""ML118."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.diagnostic import Location
from modellint.core.pattern import pattern
from modellint.measure.run import Evaluation
from modellint.source import gradient, lookup
from modellint.source.code import Function, Value

# Calls that differentiate with respect to inputs.
DIFFERENTIATES = pattern(
    r"grad|backward|jacobian|hessian|jac(rev|fwd)|[vj][vj]p|\w*(attribut|attack|perturb|adversar|pgd|fgsm|salien|craft|cam)\w*",
    re.I,
)


class EvalWithoutNoGrad(SourceRule):
    """An evaluation loop builds a graph of every batch, for gradients that nobody asks for.

    Why: without `torch.no_grad()` every activation of the batch is kept for a backward pass that never comes: evaluation
        needs the memory of training, and where outputs or losses are collected, that of all batches together.
    Fix: put the loop into `with torch.no_grad():` (or `torch.inference_mode()`), or decorate the function with it.
    Ignore: when gradients of the inputs are wanted.
    Reported: https://github.com/hszhao/semseg/issues/60, https://github.com/OpenNMT/OpenNMT-py/issues/1141
    """

    code, severity, certain, topic = "ML118", Severity.WARNING, True, "evaluation"
    words = (".eval(",)
    bad = (
        """
        import torch

        model = Net()
        model.eval()
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        """,
        """
        class Trainer:
            def __init__(self, model):
                self.model = model

            def validate(self):
                self.model.eval()
                losses = []
                for x, y in self.loader:
                    losses.append(self.criterion(self.model(x), y))
                return sum(losses) / len(losses)

        Trainer(Net()).validate()
        """,
        """
        def evaluate(net, batches):
            net.eval()
            for batch in batches:
                yield net(batch)

        def main():
            net = Net()
            for epoch in range(3):
                for x, y in loader:
                    optimizer.zero_grad()
                    loss(net(x), y).backward()
                    optimizer.step()
                print(list(evaluate(net, test_batches)))

        main()
        """,
        """
        model.load_state_dict(torch.load(path))
        model.eval()
        for batch in batches:
            outputs = model.forward(input_ids=batch, labels=batch)
            total += outputs[0].item()
        """,
        """
        for epoch in range(30):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            for x, y in val_loader:
                total += F.cross_entropy(model(x), y).item()
        """,
    )
    fixed = """
        import torch

        model = Net()
        model.eval()
        with torch.no_grad():
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        """
    good = (
        """
        @torch.no_grad()
        def evaluate(model, loader):
            model.eval()
            return sum((model(x).argmax(1) == y).sum() for x, y in loader)

        evaluate(model, loader)
        """,
        """
        def run(model, loader):
            model.eval()
            for x, y in loader:
                model(x)

        def main():
            with torch.inference_mode():
                run(model, loader)

        main()
        """,
        """
        model.eval()
        for x, y in loader:  # saliency: the gradient of the input is what is asked for
            x.requires_grad_()
            model(x).max().backward()
            maps.append(x.grad)
        """,
        """
        def epoch(model, loader, train):
            model.train(train)
            for x, y in loader:
                with torch.set_grad_enabled(train):
                    loss = criterion(model(x), y)
                    if train:
                        loss.backward()
                        optimizer.step()
                        optimizer.zero_grad()

        epoch(model, loader, False)
        """,
        """
        def robustness(model, loader, adversary):
            model.eval()
            for x, y in loader:
                clean, worst = model(x), model(adversary.perturb(x, y))

        robustness(model, loader, LinfPGDAttack(model))
        """,
        """
        extractor.eval()
        for p in extractor.parameters():
            p.requires_grad = False
        for x, y in loader:
            features.append(extractor(x))
        """,
        """
        class Centers(nn.Module):  # nothing in it learns, so that there is no graph
            def __init__(self, bounds):
                super().__init__()
                self.table = nn.Embedding.from_pretrained(bounds, freeze=True)

            def forward(self, x):
                return self.table(x).squeeze(-1)

        centers = Centers(bounds)
        centers.eval()
        for x in loader:
            print(centers(x))
        """,
        """
        class Decoder(nn.Module):
            def decode(self, token):
                for _ in range(9):
                    token = self.cell(token)
                return token

        decoder = Decoder()
        decoder.eval()
        decoder.decode(start)
        """,
        """
        def activations(model, x):
            seen = []
            for layer in model.net:  # goes through one batch
                x = layer(x)
                seen.append(x.detach())
            return seen

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))

            def forward(self, x):
                return self.net(x)

        def train(model, loader):
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        net = Net()
        train(net, loader)
        net.eval()
        first = activations(net, x_test)
        """,
        """
        class Adapted(nn.Module):  # learns from what it predicts
            def __init__(self, model, optimizer):
                super().__init__()
                self.model, self.optimizer = model, optimizer

            def forward(self, x):
                return learn(self.model, x, self.optimizer)

        def learn(model, x, optimizer):
            output = model(x)
            output.softmax(1).square().sum().neg().backward()
            optimizer.step()
            optimizer.zero_grad()
            return output

        net = nn.Linear(8, 2)
        net.eval()
        model = Adapted(net, torch.optim.SGD(net.parameters(), lr=1e-3))
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        """,
        """
        model = frozen(torchvision.models.resnet18(weights="DEFAULT"))
        model.eval()
        for x in loader:
            features.append(model(x))
        """,
        """
        model.eval()
        energies = 0
        for x in batches:
            energies = energies + model(x)
        energies.sum().backward()
        """,
    )

    confirmed_by = Run(evaluations=(Evaluation(step=20, graphs=True),))
    not_confirmed_by = Run(evaluations=(Evaluation(step=20, graphs=False),))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        models = {model.name for model in script.models}
        first = {found.loop: found for found in reversed(script.evaluations)}  # of each loop
        for found in () if gradient.handled(script) else reversed(first.values()):
            function = lookup.function(script, found.location)
            if set(found.modes) != {"eval"} or set(found.recorded) != {True} or function is None:
                continue
            inside = function.owner in models  # a model's own loop: whoever calls it decides
            if (
                not inside
                and not _goes_through_layers(function, found.call)
                and not any(_differentiates(call, found.loop) for call in function.calls)
            ):
                message = f"evaluates `{found.call.name}` without `no_grad()`: a graph is built of every batch"
                yield self.at(found, message, certain=found.whole)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The loop goes into a context of its own."""
        torch = _torch(script)
        for found in script.evaluations if torch else ():
            if found.location == finding.location and found.loop.path == script.path:
                return Fix((edit.wrap(found.loop, f"{torch}.no_grad()"),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        found = next((e for e in run.evaluations if e.location.line == finding.location.line), None)
        return Evidence("evaluations that build graphs", int(found.graphs), 0, holds=found.graphs) if found else None


def _torch(script: Script) -> str:
    """What the file calls torch; empty if it does not import it whole."""
    return next((name for name, full in script.imports.items() if full == "torch"), "")


def _goes_through_layers(function: Function, call: Value) -> bool:
    """Whether a loop over modules gives each what the one before it gave: `for layer in net: x = layer(x)`."""
    handed = {argument.name for argument in call.arguments}
    return any(e.value is call and e.kind == "assign" and e.name in handed for e in function.events) and any(
        e.kind == "assign" and e.name == call.name and e.value is not None and e.value.kind == "element"
        for e in function.events
    )


def _differentiates(call: Value, loop: Location) -> bool:
    """A backward() outside the loop is that of the training before it."""
    line = call.location.line or 0
    outside = not (loop.line or 0) <= line <= (loop.end_line or line)
    return DIFFERENTIATES.fullmatch(call.method) is not None and not (call.method == "backward" and outside)
