"""ML109."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.measure.trajectory import explosions
from modellint.source.facts import Layer, Model, TrainingLoop
from modellint.source.lightning import modules

OPTION = pattern(r"(grad(ient)?s?_?(norm_?)?clip\w*|clip_?(grad|norm|gradient)\w*|max_?grad_?norm|grad_?norm|clip)")
RECURRENT = frozenset({"LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"})
WEIGHTS = pattern(r"Linear|Conv(Transpose)?\dd|Bilinear")
NORM = pattern(r"\w*Norm\w*|\w*_norm|rsqrt|norm|SELU|selu|AlphaDropout")


def _run(losses: Sequence[float], norms: Sequence[float]) -> Run:
    pairs = enumerate(zip(losses, norms, strict=True))
    return Run(tuple(Step(i, loss=loss, gradient_norm=norm) for i, (loss, norm) in pairs))


class MissingGradientClip(SourceRule):
    """A network whose gradients are prone to explode is trained without a gradient clip.

    Why: through a recurrent layer, or through many layers that nothing normalises, the gradient is a product of many
        factors; one unlucky batch then makes a step that undoes the training so far.
    Fix: call `torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)` between `backward()` and `step()`; where the
        script has an option for it, use its value.
    Ignore: when the run shows calm gradients, and for optimizers with a line search (LBFGS is left out already). Only an
        option that is parsed and never read is certain.
    Thresholds: `depth` = 10 layers with weights and no normalisation, about where the default initialisation of
        PyTorch no longer carries a signal; a run confirms it when gradients grew 50-fold and the loss did not fall.
    Reported: https://github.com/asappresearch/sru/issues/2, https://github.com/msalhab96/SpeeQ/issues/50
    """

    code, severity, topic = "ML109", Severity.WARNING, "gradients"
    explains = ("exploding-gradients",)
    remedy = ("clip", "lower-lr")
    words = (".backward(", ("LightningModule", "Trainer("))
    depth = 10
    bad = (
        """
        import lightning as L

        class Tagger(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = nn.LSTM(32, 64), nn.Linear(64, 10)

            def training_step(self, batch, _):
                x, y = batch
                return F.cross_entropy(self.head(self.rnn(x)[0][-1]), y)

        L.Trainer(max_epochs=10).fit(Tagger(), loader)
        """,
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(100, 256)
                self.head = nn.Linear(256, 20)

            def forward(self, x):
                return self.head(self.rnn(x)[0])

        tagger = Tagger()
        optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss(tagger(x), y).backward()
            optimizer.step()
        """,
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--clip-grad", type=float, default=1.0)
        parser.add_argument("--lr", type=float, default=0.1)
        args = parser.parse_args()
        optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        import pytorch_lightning as pl

        class Tagger(pl.LightningModule):
            def __init__(self):
                super().__init__()
                self.rnn, self.head = nn.LSTM(32, 64), nn.Linear(64, 10)

            def training_step(self, batch, _):
                x, y = batch
                return F.cross_entropy(self.head(self.rnn(x)[0][-1]), y)

        trainer = pl.Trainer(max_epochs=10, gradient_clip_val=1.0)
        trainer.fit(Tagger(), loader)
        pl.Trainer(**vars(args)).fit(Tagger(), loader)
        """,
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.rnn = nn.LSTM(100, 256)

            def forward(self, x):
                return self.rnn(x)[0]

        tagger = Tagger()
        optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss(tagger(x), y).backward()
            nn.utils.clip_grad_norm_(tagger.parameters(), 0.25)
            optimizer.step()
        """,
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--max-grad-norm", type=float, default=1.0)
        args = parser.parse_args()
        trainer = Trainer(model, args)  # reads it elsewhere
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        class Mlp(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 2))

            def forward(self, x):
                return self.layers(x)

        mlp = Mlp()
        optimizer = torch.optim.Adam(mlp.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            loss(mlp(x), y).backward()
            optimizer.step()
        """,
    )
    confirmed_by = _run([2.0, 2.1, 2.0, 9.0, 90.0], [0.5, 0.6, 0.5, 80.0, 9e4])
    not_confirmed_by = _run([2.0, 1.8, 1.6, 1.5, 1.4], [0.5, 0.6, 0.5, 0.4, 0.6])

    def check(self, script: Script) -> Iterator[Diagnostic]:
        unclipped = [loop for loop in script.training_loops if not any(_may_clip(loop))]
        if script.training_loops and len(unclipped) == len(script.training_loops):
            for option in script.options:
                if not option.used and OPTION.fullmatch(option.name):
                    yield self.at(option, f"parses `{option.name}`, and no gradient is ever clipped", certain=True)
        yield from self._told_none(script)
        if "register_hook" not in script.attributes:
            yield from (finding for loop in unclipped for finding in self._prone(script, loop))

    def _told_none(self, script: Script) -> Iterator[Diagnostic]:
        """Trainers of Lightning without a clip, where a module of the file is recurrent and does not clip by itself."""
        calls = [(m.class_.name, call) for m in modules(script) for f in m.methods.values() for call in f.calls]
        layers = [
            (name, call.method)
            for name, call in calls
            if call.name.startswith("torch.nn.") and call.method in RECURRENT
        ]
        clips = any("clip" in call.method for _, call in calls)
        for call in script.calls if layers and not clips else ():
            told = call.unpacks or call.argument(None, "gradient_clip_val") is not None
            if call.method == "Trainer" and "lightning" in call.name and not told:
                name, layer = layers[0]
                yield self.at(call, f"trains the {layer} of `{name}`, and is told no `gradient_clip_val`")

    def _prone(self, script: Script, loop: TrainingLoop) -> Iterator[Diagnostic]:
        for step in {step.subjects: step for step in loop.steps}.values():
            made = (made for made in script.trainers if made.made(step) and made.family != "LBFGS")
            models = (model for optimizer in made for model in optimizer.models)
            reason = next((reason for model in models if (reason := self._reason(model))), None)
            if reason:
                yield self.at(step, f"trains {reason}, and no gradient is ever clipped")

    def _reason(self, model: Model) -> str:
        layers = model.layers or model.made
        recurrent = next((layer.short for layer in layers if layer.short in RECURRENT), "")
        deep = sum(1 for layer in layers if WEIGHTS.fullmatch(layer.short))
        if recurrent:
            return f"the {recurrent} of `{model.name}`"
        return f"the {deep} layers of `{model.name}` without normalisation" if self._is_raw(layers, deep) else ""

    def _is_raw(self, layers: Sequence[Layer], deep: int) -> bool:
        return deep >= self.depth and not any(not layer.name or NORM.fullmatch(layer.short) for layer in layers)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        norms = tuple(step.gradient_norm for step in run.steps)
        measured = [norm for norm in norms if norm is not None]
        if len(measured) < 3:
            return None
        return Evidence("gradient norm", max(measured), holds=any(explosions(run)), series=norms)


def _may_clip(loop: TrainingLoop) -> Iterator[bool]:
    yield from (act.kind in ("clip", "unknown") or bool(act.owner) for act in loop.acts)
