"""ML129."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.source.code import Value
from modellint.source.facts import Act, Model, Summand, TrainingLoop
from modellint.source.registration import WEIGHTED
from modellint.source.vocabulary import NO_MODELS

# Parts of a model that are not to be trained by its loss.
TERM = pattern(r"loss|penalty|(?<![a-z])(reg|kld?|nll|err)(?![a-z])", re.IGNORECASE)
MEANT = pattern(r"teacher|target|momentum|ema|frozen|random|fixed|prior|_k\b|key|old|reference", re.IGNORECASE)


def _run(encoder: float | None) -> Run:
    parameters = tuple(Parameter(f"{name}.weight", (8, 8), optimizer=0) for name in ("encoder", "head"))
    steps = (Step(i, gradients={"encoder.weight": encoder, "head.weight": 0.3}) for i in range(3))
    return Run(tuple(steps), parameters)


class GradientPathCut(SourceRule):
    """What an optimizer holds is cut off from the loss: no gradient comes to it, or a part of the loss has no effect.

    Why: `.detach()`, `.data`, `.item()`, `.numpy()`, `no_grad` and a tensor that is made anew of a loss all forget how the
        value was computed. `backward()` then fails, or, if anything else needs a gradient (which `requires_grad=True` on
        the new tensor pretends), trains the rest and leaves these weights as they are.
    Fix: keep the tensor itself in the loss, and take the number for the log from it.
    Ignore: when the part is meant to stay as it is; take it out of the optimizer then.
    Reported: https://github.com/bboylyg/NAD/issues/8, https://github.com/guopengf/FL-MRCM/issues/10
    """

    code, severity, topic = "ML129", Severity.ERROR, "gradients"
    explains = ("zero-gradients", "loss-not-falling", "cannot-overfit")
    twins = ("cut-gradient",)
    words = (".backward(",)
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            reg_loss = regularise(model, strength)
            loss = F.cross_entropy(model(x), y) + reg_loss.item()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss = torch.tensor(loss.item(), requires_grad=True)
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            features = student.features(x)
            likeness = F.mse_loss(features, teacher.features(x).detach()).item()
            loss = F.cross_entropy(student.head(features), y) + 0.5 * likeness
            loss.backward()
            optimizer.step()
        """,
        """
        encoder, head = nn.Sequential(nn.Linear(32, 64), nn.ReLU()), nn.Linear(64, 10)
        optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()])
        for x, y in loader:
            optimizer.zero_grad()
            features = encoder(x).detach()
            F.cross_entropy(head(features), y).backward()
            optimizer.step()
        """,
        """
        encoder, head = nn.Linear(32, 64), nn.Linear(64, 10)
        optimizer = torch.optim.Adam(list(encoder.parameters()) + list(head.parameters()))
        for x, y in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                features = encoder(x)
            loss = F.cross_entropy(head(features), y)
            loss.backward()
            optimizer.step()
        """,
        """
        def penalty(output, y):
            return Variable(((output - y) ** 2).mean().data, requires_grad=True)

        model = nn.Linear(32, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss = penalty(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Sequential(nn.Linear(32, 64), nn.ReLU()), nn.Linear(64, 10)

            @torch.no_grad()
            def features(self, x):
                return self.body(x)

            def forward(self, x):
                return self.head(self.features(x))

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Sequential(nn.Linear(32, 64), nn.ReLU()), nn.Linear(64, 10)

            def forward(self, x):
                z = self.body(x)
                z = z.detach()
                return self.head(z)

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            if half:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss = torch.tensor(loss.item(), requires_grad=True)
                loss.backward()
                optimizer.step()
        """,
        """
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            if deep:
                loss = sum(F.mse_loss(output, y) for output in model(x))
            else:
                output = model(x)
                loss = F.mse_loss(output.detach().requires_grad_(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def train(net, optimizer, loader):
            for x, target in loader:
                with torch.no_grad():
                    logits = net(x)
                loss = -torch.mean(torch.sum(F.log_softmax(logits, dim=1) * target, dim=1))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        """,
    )
    fixed = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            reg_loss = regularise(model, strength)
            loss = F.cross_entropy(model(x), y) + reg_loss
            loss.backward()
            optimizer.step()
        """,
        None,
        """
        for x, y in loader:
            optimizer.zero_grad()
            features = student.features(x)
            likeness = F.mse_loss(features, teacher.features(x).detach())
            loss = F.cross_entropy(student.head(features), y) + 0.5 * likeness
            loss.backward()
            optimizer.step()
        """,
    )
    good = (
        """
        decoder = nn.Sequential(nn.Linear(16, 4))
        optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-3)
        for x, y, lengths in loader:
            scores = nn.utils.rnn.pack_padded_sequence(decoder(x), lengths, batch_first=True).data
            loss = F.cross_entropy(scores, nn.utils.rnn.pack_padded_sequence(y, lengths, batch_first=True).data)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        def probe(net, classifier, optimizer, loader):
            for x, y in loader:
                with torch.no_grad():
                    features = net(x)
                loss = F.cross_entropy(classifier(features), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        """,
        """
        backbone, head = nn.Linear(8, 8), nn.Linear(8, 2)
        optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()])
        for step, (x, y) in enumerate(loader):
            if step < 100:  # the new head first
                features = backbone(x).detach()
            else:
                features = backbone(x)
            loss = F.cross_entropy(head(features), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:  # a loss that has had its backward() is added to what is logged
            optimizer.zero_grad()
            first = F.cross_entropy(model(x), y)
            first.backward()
            second = F.cross_entropy(model(mask(x)), y)
            loss = first.clone().detach() + second
            loss.backward()
            optimizer.step()
        """,
        """
        total = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            with torch.no_grad():
                goal = teacher(x)
            output = student(x)
            loss = F.cross_entropy(output, y) + F.mse_loss(output, goal.detach())
            loss.backward()
            optimizer.step()
            total += loss.item()
            shown = output.detach().numpy()
        """,
        """
        net, target = QNetwork(), QNetwork()
        optimizer = torch.optim.Adam(net.parameters())
        for state, action, reward, after in memory:
            optimizer.zero_grad()
            with torch.no_grad():
                best = net(after).argmax(1)
                goal = reward + 0.99 * target(after).gather(1, best)
            value = net(state).gather(1, action)
            F.mse_loss(value, goal + 0.1 * net(after).max(1)[0].detach()).backward()
            optimizer.step()
        """,
        """
        G, D = Generator(), Discriminator()
        g_opt, d_opt = torch.optim.Adam(G.parameters()), torch.optim.Adam(D.parameters())
        for real in loader:
            fake = G(noise())
            d_opt.zero_grad()
            (F.softplus(-D(real)).mean() + F.softplus(D(fake.detach())).mean()).backward()
            d_opt.step()
            g_opt.zero_grad()
            F.softplus(-D(fake)).mean().backward()
            g_opt.step()
        """,
        """
        model = nn.Linear(32, 64)
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            z = model(x)
            hard = z + (torch.round(z) - z).detach()  # straight through
            loss = F.mse_loss(hard, y) / F.mse_loss(z, y).detach()
            loss.backward()
            optimizer.step()
        """,
        """
        encoder, head = nn.Linear(32, 64), nn.Linear(64, 10)
        encoder_opt, head_opt = torch.optim.Adam(encoder.parameters()), torch.optim.Adam(head.parameters())
        for x, y in loader:
            encoder_opt.zero_grad()
            contrast(encoder(x), encoder(noisy(x))).backward()
            encoder_opt.step()
            head_opt.zero_grad()
            F.cross_entropy(head(encoder(x).detach()), y).backward()
            head_opt.step()
        """,
        """
        class Contrast(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.moving = nn.Linear(32, 64), nn.Linear(64, 64)
                for p in self.moving.parameters():
                    p.requires_grad = False

            def forward(self, x, noisy):
                with torch.no_grad():
                    goal = self.moving(noisy)
                return F.mse_loss(self.body(x), goal)

        model = Contrast()
        optimizer = torch.optim.Adam(model.parameters())
        for x, noisy in loader:
            optimizer.zero_grad()
            model(x, noisy).backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(32, 64), nn.Linear(64, 10)

            def forward(self, x):
                with torch.no_grad():
                    rough = self.head(self.body(x)).argmax(1)  # a first guess
                return self.head(self.body(x + rough[:, None]))

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head, self.probe = nn.Linear(32, 64), nn.Linear(64, 10), nn.Linear(64, 10)

            def forward(self, x):
                z = self.body(x)
                q = z + (torch.round(z) - z).detach()  # straight through
                return self.head(q), self.probe(z.detach())

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )
    confirmed_by = _run(None)
    not_confirmed_by = _run(0.2)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for backward in loop.of("backward"):
                yield from self._judge_sum(script, loop, backward)
                yield from self._judge_modules(script, loop, backward)
        for model in {model.name: model for optimizer in script.optimizers for model in optimizer.models}.values():
            yield from self._judge_layers(model)

    def _judge_sum(self, script: Script, loop: TrainingLoop, backward: Act) -> Iterator[Diagnostic]:
        """Losses that are summands, cut off; whatever is computed by a model if it is the only summand."""
        alone = len(backward.summands) == 1
        for part in backward.summands:
            computed = alone and any(value is act.call for act in loop.of("model") for value in backward.behind)
            cut = part.cut if computed or _is_loss(script, part.value) else None
            if cut is not None and not _has_its_own(loop, backward, part):
                effect = "no gradient passes it" if alone else "it has no effect on the training"
                # What a detach() in a model's forward is for, the loop does not tell.
                meant = cut.method == "detach" and cut.location.path != loop.location.path
                yield self.at(cut, f"cuts the loss off from how it was computed: {effect}", certain=not meant)
            elif not alone and part.cut is not None and part.cut.method == "item" and _sounds(part.cut.receiver):
                yield self.at(
                    part.cut, "adds a number to what is minimised: it has no effect on the training", certain=False
                )

    def _judge_modules(self, script: Script, loop: TrainingLoop, backward: Act) -> Iterator[Diagnostic]:
        """Modules that the optimizer holds, and of which no call comes to any loss but behind a cut."""
        if not backward.origins or backward.owner or any(part.cut is not None for part in backward.summands):
            return
        held = {name for step in loop.steps for name in step.parameters}
        behind = {id(value) for value in backward.behind}
        called = [act for act in loop.of("model") if id(act.call) in behind]
        cut = [act for act in called if act.parameters]
        others = script.training_loops if cut else ()
        trained = {name for other in others for act in _reaching(other) for name in act.parameters}
        origins = {id(value) for value in backward.origins}
        for act in cut:
            beside = any(id(o.call) in origins and not o.excludes(act) for o in loop.of("model"))  # on the same path
            if held.issuperset(act.parameters) and (trained.isdisjoint(act.parameters) or not beside):
                yield self.at(act, f"trains `{act.call.name}`, whose output is cut off before it comes to the loss")
        if called and not cut and not any(_may_learn(script, value) for value in backward.origins):
            yield self.at(called[-1], f"calls `{called[-1].call.name}`, and no graph leads from the loss to any model")

    def _judge_layers(self, model: Model) -> Iterator[Diagnostic]:
        """Fresh layers with weights that the model's own forward never computes but where autograd is off."""
        weighted = [layer for layer in model.layers if layer.made is not None and WEIGHTED.fullmatch(layer.name)]
        used = {layer.path.partition(".")[0] for layer in weighted if layer.cut is None}
        cut = [layer for layer in weighted if layer.path.partition(".")[0] not in used]
        if used and not any(MEANT.search(layer.path) for layer in cut):
            for call in dict.fromkeys(layer.cut for layer in cut if layer.cut is not None):
                yield self.at(call, f"computes a part of `{model.name}` without its graph: it is never trained")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        held = [p.name for p in run.parameters if p.optimizer is not None and p.requires_grad and p.is_weight]
        if not run.steps or not held:
            return None
        reached = {name for step in run.steps for name, gradient in step.gradients.items() if gradient}
        share = sum(name not in reached for name in held) / len(held)
        return Evidence("share of the optimizer's weight matrices without any gradient", share, 0.0, holds=share > 0)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Of a summand that `.item()` or `.detach()` cuts off, these go; unsafe where its value is used elsewhere."""
        for _, act in ((loop, act) for loop in script.training_loops for act in loop.of("backward")):
            for part in act.summands:
                cut = part.cut
                if cut is not None and cut.location == finding.location and cut.method in ("item", "detach"):
                    return Fix((edit.replace(cut, "{receiver}"),), safe=False)
        return None


def _reaching(loop: TrainingLoop) -> Iterator[Act]:
    """The calls of models from which a backward() starts."""
    origins = {id(origin) for act in (*loop.of("backward"), *loop.outer) for origin in act.origins}
    return (act for act in (*loop.of("model"), *loop.outer) if act.kind == "model" and id(act.call) in origins)


def _may_learn(script: Script, value: Value) -> bool:
    """Whether a value that a loss is computed from may be that of a model: what an object of the project gives when called."""
    bare = value.kind == "call" and (value.base is not None or value.name.rpartition(".")[0] in ("", "self"))
    return bare and value.method not in NO_MODELS and not any(loss.call is value for loss in script.losses)


def _sounds(term: Value | None) -> bool:
    return term is not None and TERM.search(str(term)) is not None


def _has_its_own(loop: TrainingLoop, backward: Act, part: Summand) -> bool:
    """Whether what is cut off has a backward() of its own, before it is added for show."""
    others = (act for act in loop.of("backward") if act.call is not backward.call and not act.excludes(backward))
    return any(origin is part.value for act in others for origin in act.origins)


def _is_loss(script: Script, value: Value) -> bool:
    return any(loss.call is value for loss in script.objectives)
