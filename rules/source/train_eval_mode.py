"""ML119."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.measure.quantities import Batch
from modellint.source import lookup, tensors
from modellint.source.code import Value
from modellint.source.facts import Act, Evaluation, TrainingLoop

EVALUATES = pattern(
    r"(.*[^a-z])?(test|val|valid|validation|validate|eval|evaluate|evaluation|dev|accuracy|perplexity)([^a-z].*)?", re.I
)
NAMED = pattern(  # a function, or what is looped over
    rb"\b(?:def\s+\w*?|for\s[^:\n]*?\sin\s[^:\n]*?)(?<![a-z])(?:test|val|valid(?:ation|ate)?|evaluat(?:e|ion)|dev|accuracy|perplexity|(?<!\.)eval)(?![a-z])",
    re.IGNORECASE,
)
SETS = pattern(r"mode|eval|infer|^map$", re.I)
DATA = pattern(rb"oader|ataset|atches|odel\(|net\(")
MEANT = pattern(r"mc_|monte|bayes|uncertain|dropout|bn|batch_?norm|calibrat|swa|adapt", re.I)


class TrainEvalMode(SourceRule):
    """A model with dropout or batch norm is evaluated in training mode, or trained in evaluation mode.

    Why: in training mode dropout drops units and batch norm normalises by the batch at hand, and updates its running
        statistics with the test data: the measured quality is that of another model. In evaluation mode dropout does
        nothing and batch norm no longer updates its running statistics: from the second epoch on another model is trained.
    Fix: call `model.eval()` before each evaluation and `model.train()` before each epoch of training.
    Ignore: when the mode is meant, as for Monte Carlo dropout, or for a fine-tuning that keeps batch statistics.
    Reported: https://github.com/pytorch/tutorials/issues/1624, https://github.com/udacity/deep-learning-v2-pytorch/issues/3,
        https://github.com/fartashf/vsepp/issues/4
    """

    code, severity, certain, topic = "ML119", Severity.WARNING, True, "evaluation"
    remedy = "train-mode"
    twins = ("trained-in-evaluation-mode", "evaluated-in-training-mode")
    words = (
        (".eval(", NAMED),
        *((hint, DATA, NAMED) for hint in ("no_grad():", "inference_mode():", "load_state_dict(")),
        ".backward(", (".eval(", ".step("),
    )  # fmt: skip
    bad = (
        """
        def validate(model, loader):
            with torch.no_grad():
                return sum((model(x).argmax(1) == y).sum() for x, y in loader)

        def main(args):
            model = timm.create_model(args.arch, num_classes=10)  # whatever it is, its training mode is asked for
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for epoch in range(10):
                model.train()
                for x, y in train_loader:
                    optimizer.zero_grad()
                    F.cross_entropy(model(x), y).backward()
                    optimizer.step()
                print(validate(model, val_loader))

        main(parser.parse_args())
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 2))

            def forward(self, x):
                return self.layers(x)

        def train(model, optimizer):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        def validate(model):
            model.eval()
            with torch.no_grad():
                for x, y in val_loader:
                    correct = (model(x).argmax(1) == y).sum()

        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            train(model, optimizer)
            validate(model)
        """,
        """
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        model.train()
        for epoch in range(10):
            for step, (x, y) in enumerate(train_loader):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x, y in val_loader:
                    correct += (model(x).argmax(1) == y).sum()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)

            def forward(self, x):
                return self.head(self.norm(self.conv(x)).mean((2, 3)))

        net = Net()

        @torch.no_grad()
        def test(loader):
            return sum((net(x).argmax(1) == y).sum() for x, y in loader)

        def measure():
            correct = 0
            with torch.no_grad():
                for x, y in test_loader:
                    correct += (net(x).argmax(1) == y).sum()
            return correct

        print(measure())
        """,
        """
        def accuracy(net, loader):
            right = total = 0
            with torch.no_grad():
                for x, y in loader:
                    right += (net(x).argmax(-1) == y).sum().item()
                    total += len(y)
            return right / total

        net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 6))
        optimizer = torch.optim.Adam(net.parameters())
        for epoch in range(4):
            net.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            print(accuracy(net, test_loader))
        """,
    )
    suspected = (
        """
    def test_attention():
        for shape in shapes:
            x = torch.randn(1, 32, 8)
            block = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1))
            with torch.no_grad():
                assert block(x).shape == x.shape

    test_attention()
    """,
        """
        from torchvision import models

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = models.densenet121(weights="IMAGENET1K_V1").features
                self.drop, self.head = nn.Dropout(0.2), nn.Linear(1024, 2)

            def forward(self, x):
                return self.head(self.drop(self.body(x).mean((2, 3))))

        model = Net()
        optimizer = torch.optim.Adam([{"params": model.body.parameters(), "lr": 1e-5}, {"params": model.head.parameters()}])
        model.train()
        for epoch in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x, y in test_loader:
                    correct += (model(x).argmax(1) == y).sum().item()
        """,
        """
        def load(paths):
            models = []
            for path in paths:
                model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
                model.load_state_dict(torch.load(path))
                model.train()  # to be sampled from
                models.append(model)
            return models

        def evaluate(models, x):
            passes = []
            for _ in range(20):
                for model in models:
                    with torch.no_grad():
                        passes.append(model(x))
            return torch.stack(passes).mean(0)

        print(evaluate(load(["a.pt", "b.pt"]), week))
        """,
    )
    good = (
        """
        class Runner:
            def __init__(self):
                self.restore()

            def restore(self):
                self.encoder = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5)).to("cuda").eval()
                self.head = nn.Sequential(nn.Linear(64, 64), nn.Dropout(0.5), nn.Linear(64, 2))
                self.head.eval()

            def validate(self):
                with torch.no_grad():
                    return sum((self.head(self.encoder(x)).argmax(1) == y).sum() for x, y in self.loader)

        Runner().validate()
        """,
        """
        class Ensemble:
            def __init__(self, paths):
                self.models = []
                for path in paths:
                    self.add(path)

            def add(self, path):
                model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
                model.load_state_dict(torch.load(path))
                model.eval()
                self.models.append(model)

            def evaluate(self, loader):
                with torch.no_grad():
                    return [sum((model(x).argmax(1) == y).sum() for model in self.models) for x, y in loader]

        print(Ensemble(["a.pt", "b.pt"]).evaluate(test_loader))
        """,
        """
        class Experiment:
            def run(self):
                for seed in range(3):
                    self.begin(seed)
                    self.train()

            def begin(self, seed):
                torch.manual_seed(seed)
                self.model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
                self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

            def train(self):
                for x, y in train_loader:
                    self.optimizer.zero_grad()
                    F.cross_entropy(self.model(x), y).backward()
                    self.optimizer.step()
                self.model.eval()
                with torch.no_grad():
                    for x, y in test_loader:
                        print((self.model(x).argmax(1) == y).sum().item())

        Experiment().run()
        """,
        """
        class Coach:
            def __init__(self):
                self.encoder = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5)).to("cuda").eval()

            def validate(self):
                with torch.no_grad():
                    return sum((self.encoder.forward(x) - y).abs().mean() for x, y in self.loader)
        """,
        """
        net, head = build(args), nn.Sequential(nn.Dropout(0.5), nn.Linear(10, 10))
        nets = nn.ModuleList()
        nets.append(net)
        nets.append(head)
        nets.eval()
        with torch.no_grad():
            for x, y in test_loader:
                print((head(net(x)).argmax(1) == y).sum())
        """,
        """
        from mylib import set_mode

        net, head = torchvision.models.resnet18(), nn.Sequential(nn.Dropout(0.5), nn.Linear(1000, 10))

        def evaluate(loader):
            set_mode([net, head], training=False)
            with torch.no_grad():
                return sum((head(net(x)).argmax(1) == y).sum() for x, y in loader)

        print(evaluate(test_loader))
        """,
        """
        from easydl import TrainingModeManager

        net, head = torchvision.models.resnet18(), nn.Sequential(nn.Dropout(0.5), nn.Linear(1000, 10))
        with TrainingModeManager([net, head], train=False), torch.no_grad():
            for x, y in test_loader:
                print((head.forward(net.forward(x)).argmax(1) == y).sum())
        """,
        """
        def train(loader, model, optimizer):
            model.eval()  # the statistics of the pretraining are to stay: only the head learns
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        def validate(loader, model):
            model.eval()
            with torch.no_grad():
                return sum((model(x).argmax(1) == y).sum() for x, y in loader)

        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
        optimizer = torch.optim.SGD(model[4].parameters(), lr=30.0)
        for epoch in range(100):
            train(train_loader, model, optimizer)
            validate(val_loader, model)
        """,
        """
        class Mlp(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.last = nn.Linear(8, 64), nn.Linear(64, 2)

            def forward(self, x):
                return self.last(torch.relu(self.first(x)))

        def validate(model, loader):
            with torch.no_grad():
                return sum((model(x).argmax(1) == y).sum() for x, y in loader)

        model = Mlp()  # all of it is known, and computes the same in both modes
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            print(validate(model, val_loader))
        """,
        """
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            model.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            with torch.no_grad():
                for x, y in val_loader:
                    correct += (model(x).argmax(1) == y).sum()
        """,
        """
        model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))  # computes the same in both modes
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                for x, y in val_loader:
                    correct += (model(x).argmax(1) == y).sum()
        """,
        """
        model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        model.eval()  # at the end
        for x, y in test_loader:
            correct += (model(x).argmax(1) == y).sum().item()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64))
                self.head = nn.Linear(64, 2)

            def forward(self, x):
                return self.head(self.body(x))

            def train(self, mode=True):  # does what torch's does, and keeps the statistics of the body
                super().train(mode)
                self.body.eval()

        net = Net()
        optimizer = torch.optim.SGD(net.head.parameters(), lr=0.1)
        for epoch in range(10):
            net.train()
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
            net.eval()
            for x, y in test_loader:
                correct += (net(x).argmax(1) == y).sum().item()
        net.train()
        with torch.no_grad():
            for x, y in test_loader:  # what it gives is not used: its statistics are learned anew
                net(x)
        """,
        """
        net = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.BatchNorm1d(64, track_running_stats=False))
        net.apply(lambda module: module.eval())
        sampled = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
        sampled.eval()
        for module in sampled.modules():
            if isinstance(module, nn.Dropout):
                module.train()
        with torch.no_grad():
            for x, y in test_loader:
                print(net(x), sampled(x))
        """,
        """
        for seed in range(3):  # a new model for each seed
            model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            model.eval()
            for x, y in test_loader:
                correct += (model(x).argmax(1) == y).sum().item()
        """,
        """
        class Pool(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv, self.norm = nn.Conv2d(3, width, 3), nn.BatchNorm2d(width)

            def forward(self, x):
                return self.norm(self.conv(x)).mean((2, 3))

        def test_sizes():
            pool = Pool(8)
            for size in [7, 14]:  # shapes are looked at, nothing is measured
                with torch.no_grad():
                    assert pool(torch.randn(2, 3, size, size)).shape == (2, 8)

        test_sizes()
        """,
        """
        teacher = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2))
        student = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.Linear(16, 2))
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        for epoch in range(3):
            teacher.eval()
            for x, y in train_loader:
                optimizer.zero_grad()
                with torch.no_grad():
                    target = teacher(x).softmax(-1)
                F.cross_entropy(student(x), target).backward()
                optimizer.step()
        """,
        """
        class Stack(nn.Module):
            def __init__(self, width, dropout=0.0):
                super().__init__()
                self.first, self.last, self.dropout = nn.Linear(8, width), nn.Linear(width, 2), nn.Dropout(p=dropout)

            def forward(self, x):
                return self.last(self.dropout(self.first(x).relu()))

        class Net(Stack):
            pass

        model = Net(64)  # nothing is dropped
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.no_grad():
                for x, y in val_loader:
                    correct += (model(x).argmax(1) == y).sum()
        """,
        """
        def adapted(model, loss):
            updated = {}
            for name, p in model.named_parameters():
                updated[name] = p - 0.4 * torch.autograd.grad(loss, p, create_graph=True)[0]
            return updated

        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
        optimizer = torch.optim.Adam(model.parameters())
        model.train()
        for (train_inputs, train_targets), (test_inputs, test_targets) in loader:
            loss = torch.tensor(0.0)
            for x, y, test_x, test_y in zip(train_inputs, train_targets, test_inputs, test_targets):  # meta-learning
                weights = adapted(model, F.cross_entropy(model(x), y))
                loss += F.cross_entropy(model(test_x, params=weights), test_y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )

    confirmed_by = Run(tuple(Step(i, batch=Batch(idle=("dropout",))) for i in range(3)))
    not_confirmed_by = Run(tuple(Step(i, batch=Batch()) for i in range(3)))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for found in script.evaluations:
            yield from self._evaluated(script, found)
        for loop in script.training_loops:
            yield from self._trained(script, loop)

    def _evaluated(self, script: Script, found: Evaluation) -> Iterator[Diagnostic]:
        asked = "asked" in found.modes  # `train()`, and nothing trained since: as for Monte Carlo dropout
        refreshed = not found.used and (asked or "train" in found.modes)  # the running statistics are what it is for
        name, message = found.call.name.removesuffix(".forward"), ""
        if found.modal and not refreshed and set(found.modes) <= {"", "train", "asked"} and _is_evaluation(found):
            message = f"evaluates `{name}` in training mode: its dropout or batch norm is at work, and `{name}.eval()` missing"
        elif found.modal is None and set(found.modes) in ({"train"}, {"", "train"}) and _is_named(found):
            message = f"evaluates `{name}` as `train()` has left it, and `eval()` is never called"
        still = set(found.modes) == {""} and lookup.made_still(script, name)
        if message and not still and not _is_managed(script, found, name):
            sure = found.recorded == (False,) * len(found.recorded) or _is_named(found)
            certain = bool(found.modal) and found.whole and sure and not asked and not _is_made_up(script, found)
            severity = self.severity if found.modal else Severity.NOTE
            yield self.at(found, message, severity=severity, certain=certain)

    def _trained(self, script: Script, loop: TrainingLoop) -> Iterator[Diagnostic]:
        left = list(_switched(script, loop))
        left = [] if any(_is_meant(script, loop, act) for act in left) else left
        steps = {step.subjects: step for step in loop.steps} if left else {}
        for step in steps.values():
            held = step.parameters or (_learning(loop) if len(steps) == 1 else ())
            called = [a for a in loop.of("model") if a.modal is not False and a.shares(held)]
            switched = next((a for a in left if a.shares(held)), None)
            if switched is not None and called:
                sure = bool(step.parameters) and _comes(switched, step) and any(a.modal for a in called)
                message = "is left in evaluation mode by this call when the next epoch trains it: `train()` is never called again"
                yield self.at(switched, f"`{switched.call.receiver}` {message}", certain=sure)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        if finding.message.startswith("evaluates"):
            found = next((e for e in run.evaluations if e.location.line == finding.location.line), None)
            active = len(found.active) if found else 0
            claim = "dropouts and batch norms in training mode at an evaluation"
            return Evidence(claim, active, 0, holds=active > 0) if found else None
        idle = [len(step.batch.idle) for step in run.steps if step.batch]
        if not idle:
            return None
        claim = "dropouts and batch norms in evaluation mode at a step"
        return Evidence(claim, max(idle), 0, holds=max(idle) > 0, series=tuple(idle))


def _learning(loop: TrainingLoop) -> tuple[str, ...]:
    """The models from whose calls a backward() starts, where it cannot be read what the optimizer holds."""
    origins = {id(origin) for backward in loop.of("backward") for origin in backward.origins}
    return tuple(name for act in loop.of("model") if id(act.call) in origins for name in act.parameters)


def _is_meant(script: Script, loop: TrainingLoop, switched: Act) -> bool:
    """Whether the function that trains begins with it, and evaluates nothing before: the statistics are to stay."""
    place = next((place for place, act in enumerate(loop.ahead) if act.call is switched.call), None)
    if place is None or not lookup.share_function(script, switched, loop):
        return False
    return not any(act.kind == "model" for act in loop.ahead[place:])


def _comes(switched: Act, step: Act) -> bool:
    """Whether the training comes to the call, be it after some epochs."""
    return all(branch in step.branches or "%" in branch[0] for branch in switched.branches)


def _is_evaluation(found: Evaluation) -> bool:
    """Named so, and over data, not sizes that are tried; neither dropout nor batch statistics are what it is about."""
    if found.over is not None and found.over.kind in ("list", "tuple"):
        return False
    names = [found.function.rpartition(".")[2], *(part.name for part in found.over.within())] if found.over else []
    return any(EVALUATES.fullmatch(name) for name in names) and not any(MEANT.search(name) for name in names)


def _is_managed(script: Script, found: Evaluation, model: str) -> bool:
    """Whether something else may set the mode: a `with` or a helper that is given the model, or what holds it."""
    for function in script.functions:
        block = next((event.block for event in function.events if event.value is found.call), None)
        if block is not None:
            around = (function.blocks[i] for i in function.enclosing(block))
            helpers = [call for call in function.calls if SETS.search(call.name)]
            given = (value for call in helpers for value in (*call.arguments, *(value for _, value in call.keywords)))
            managers = (block.value for block in around if block.kind == "with")
            wholes = {str(call.receiver) for call in function.calls if call.method in ("eval", "train")} - {model}
            return any(_names(value, model) for value in (*managers, *given)) or _holds(script, wholes, model)
    return False


def _holds(script: Script, wholes: Collection[str], model: str) -> bool:
    """Whether one of some objects is made with a model, or is given it: `nets.append(model)`, `nets.model = model`."""
    for event in (event for function in script.functions for event in function.events if wholes):
        if event.kind in ("assign", "call") and event.value is not None and _names(event.value, model):
            whole = event.name if event.kind == "assign" else str(event.value.receiver)
            if whole in wholes or (event.value.name == model and whole.rpartition(".")[0] in wholes):
                return True
    return False


def _names(value: Value | None, name: str) -> bool:
    return value is not None and any(part.name == name for part in value.within())


def _is_made_up(script: Script, found: Evaluation) -> bool:
    """Whether what the model is given is drawn there: its shapes are tried, or it generates."""
    function = lookup.function(script, found.location) if found.location.path == script.path else None
    given = found.call.argument(0)
    return (
        function is not None
        and given is not None
        and tensors.made(function, given).name in ("torch.randn", "torch.rand")
    )


def _is_named(found: Evaluation) -> bool:
    """Whether the function is called so, not only the data that it goes over."""
    return EVALUATES.fullmatch(found.function.rpartition(".")[2]) is not None


def _switched(script: Script, loop: TrainingLoop) -> Iterator[Act]:
    """The calls of eval() in a loop around the training that no train() undoes before the next pass."""
    inside = [(act, (*loop.nest, *act.loops)) for act in loop.acts]
    acts = [*((act, act.loops) for act in loop.outer), *inside]
    for act, loops in ((act, loops) for act, loops in acts if act.kind == "eval" and act.parameters):
        shared = [own for own, other in zip(loop.nest, loops, strict=False) if own == other]
        undone = any(
            other.kind in ("train", "mode") and other.concerns(act) and around[: len(shared)] == tuple(shared)
            for other, around in acts
        )
        fresh = shared and any(
            lookup.made_anew(script, place, loop.places[len(shared) - 1]) for place in act.parameters
        )
        if shared and not undone and not fresh:
            yield act
