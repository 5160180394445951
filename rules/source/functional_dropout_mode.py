"""ML120."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.measure import examined
from modellint.source import lookup
from modellint.source.code import Function, Value

FUNCTIONAL = "torch.nn.functional."
ON = frozenset({"dropout", "dropout1d", "dropout2d", "dropout3d"})  # `training` defaults to True
OFF = frozenset({"alpha_dropout", "feature_alpha_dropout"})  # to False
LAYERS = pattern(r"torch\.nn\.(Feature)?(Alpha)?Dropout([123]d)?")
MEANT = pattern(r"mc|monte|bayes|uncertain|prenet|stochastic|augment|always", re.IGNORECASE)


class FunctionalDropoutMode(SourceRule):
    """A functional dropout is not told whether the model is training.

    Why: `F.dropout` drops by default, and `model.eval()` does not reach it: the model keeps dropping units when it is
        evaluated, so that its predictions are noisy and worse than what it has learned. `F.dropout(x, self.training)` gives
        the mode in the place of the probability: 1 in training, and nothing is left. A `nn.Dropout` that is made
        within `forward` is new, and so in training mode, at every call. `F.alpha_dropout` never drops by default.
    Fix: pass `training=self.training`, or make a `nn.Dropout` in `__init__`.
    Ignore: when dropout is meant to stay active, as in Monte Carlo dropout; `training=True` says so.
    Reported: https://github.com/rixwew/pytorch-fm/issues/21, https://github.com/pytorch/pytorch/issues/26338
    """

    code, severity, certain, topic = "ML120", Severity.WARNING, True, "structure"
    twins = ("nondeterministic-eval",)
    words = (
        (
            "dropout",
            pattern(
                rb"dropout(?<!self\.dropout)(?<!def dropout)(?<![a-zA-Z]dropout)(?<!(?<!alpha)_dropout)(?:[123]d)?\("
                rb"(?!(?:[^()]|\((?:[^()]|\([^()]*\))*\))*?\btraining\s*=)"
            ),
        ),
        ("Dropout", pattern(rb"Dropout\w*\((?:[^()]|\([^()]*\))*\)\(")),
        ("dropout_p", pattern(rb"dropout_p\s*=(?!\s*(?:0(?:\.0*)?|None)\s*[,)]|[^\n,)]*train)")),
    )
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(8, 64), nn.Linear(64, 2)

            def forward(self, x):
                x = F.dropout(F.relu(self.fc1(x)), 0.5)
                return self.fc2(x)
        """,
        """
        from torch.nn.functional import dropout2d

        class Block(nn.Module):
            def forward(self, image):
                return dropout2d(self.conv(image), p=self.p)
        """,
        """
        class Net(nn.Module):
            def forward(self, x):
                return nn.Dropout(0.5)(self.fc(x))
        """,
        """
        class Attention(nn.Module):
            def forward(self, query, key, value):
                return F.scaled_dot_product_attention(query, key, value, dropout_p=0.1)
        """,
        """
        class Selu(nn.Module):
            def forward(self, x):
                return F.alpha_dropout(F.selu(self.fc(x)), 0.1)
        """,
        """
        class Net(nn.Module):
            def forward(self, x):
                return self.fc(F.dropout(x, self.training))
        """,
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self, rate):
                super().__init__()
                self.fc1, self.fc2, self.rate = nn.Linear(8, 64), nn.Linear(64, 2), rate

            def forward(self, inputs):
                x, switch = inputs
                x = self.fc1(x)
                if self.rate > 0 and switch:  # the caller decides
                    x = F.dropout(x, self.rate)
                return self.fc2(x)
        """,
        """
        class Net(nn.Module):
            def forward(self, x):
                x = F.dropout(F.relu(self.fc1(x)), training=self.training)
                return F.dropout(self.fc2(x), self.p, self.training)
        """,
        """
        class Net(nn.Module):
            def forward(self, x):
                if self.training:
                    x = F.dropout(x, 0.5)
                return self.fc(x)
        """,
        """
        class Net(nn.Module):
            def forward(self, x):
                if not self.training:
                    return self.fc(x)
                return self.fc(F.dropout(x, 0.5))
        """,
        """
        class Attention(nn.Module):
            def forward(self, query, key, value):
                p = self.dropout if self.training else 0.0
                return F.scaled_dot_product_attention(query, key, value, dropout_p=p)
        """,
        """
        class MonteCarloNet(nn.Module):
            def forward(self, x):
                return self.fc(F.dropout(x, 0.5))

        class Prenet(nn.Module):
            def forward(self, x):
                return F.dropout(self.fc(x), 0.5, training=True)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.drop = nn.Dropout(0.5)

            def forward(self, x, options):
                return F.dropout(self.drop(x), **options)
        """,
        """
        class Sampler(nn.Module):
            def sample(self, noise, noise_dropout=0.0):
                return self.net(F.dropout(noise, p=noise_dropout))  # as its caller likes

            def forward(self, x):
                return self.net(x)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        models = {model.name for model in script.models}
        for function in script.functions:
            yield from (self._mistaken(call) for call in function.calls if _is_mistaken(call))
            if function.owner in models and not MEANT.search(function.name) and not _knows_mode(function):
                forward = function.name.endswith(".forward")
                given = {parameter.name for parameter in function.parameters}
                events = (e for e in function.events if e.kind == "call" and not _is_switched(function, e.block))
                calls = (e.value for e in events if e.value is not None and _probability(e.value) not in given)
                yield from (found for call in calls for found in self._judge(call, forward))

    def _mistaken(self, call: Value) -> Diagnostic:
        what = "the second argument is the probability, so that all is dropped in training"
        return self.at(call, f"gives `{call.method}` `{call.arguments[1]}` as its probability: {what}")

    def _judge(self, call: Value, forward: bool) -> Iterator[Diagnostic]:
        name = call.name.removeprefix(FUNCTIONAL)
        if name == call.name:
            if forward and LAYERS.fullmatch(call.name):
                yield self.at(call, f"makes a new `{call.method}` at every call, which `eval()` does not reach")
        elif call.unpacks:
            return
        elif name == "scaled_dot_product_attention":
            yield from self._judge_attention(call, forward)
        elif name in ON | OFF and call.argument(2, "training") is None and not _is_zero(call.argument(1, "p")):
            what = "drops in evaluation too" if name in ON else "never drops"
            yield self.at(call, f"`{name}` without `training=` {what}", certain=forward)

    def _judge_attention(self, call: Value, forward: bool) -> Iterator[Diagnostic]:
        given = call.argument(4, "dropout_p")
        if given is not None and not _is_zero(given):
            message = "the attention's `dropout_p` drops in evaluation too"
            yield self.at(given, message, certain=forward and given.kind == "constant")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        """Two evaluations that differ, where this very line draws; a model that is not this one says nothing."""
        drawn = {(draw.location.path, draw.location.line) for draw in run.examined("determinism").draws}
        here = (finding.location.path, finding.location.line)
        return examined.randomness(run) if here in drawn else None

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        function = lookup.function(script, finding.location)
        call = next((call for call in script.calls if call.location == finding.location), None)
        if (
            function is None
            or call is None
            or _is_mistaken(call)
            or not call.name.startswith(FUNCTIONAL)
            or not function.parameters
        ):
            return None
        return Fix((edit.add(call, "training", f"{function.parameters[0].name}.training"),))


def _is_mistaken(call: Value) -> bool:
    """`F.dropout(x, self.training)`."""
    is_one = call.name.startswith(FUNCTIONAL) and call.name.removeprefix(FUNCTIONAL) in ON | OFF
    return is_one and len(call.arguments) > 1 and call.arguments[1].method == "training"


def _knows_mode(function: Function) -> bool:
    """Whether the function asks in any way if the model is training, but for another dropout that it tells."""
    told = {id(call.argument(2, "training")) for call in function.calls if call.name.startswith(FUNCTIONAL)}
    written = [event.value for event in function.events] + [block.value for block in function.blocks]
    parts = (part for value in written if value is not None for part in value.within())
    names = (part.name for part in parts if id(part) not in told)
    return any("train" in name for name in (*names, *(p.name for p in function.parameters)))


def _is_switched(function: Function, block: int) -> bool:
    """Whether a plain variable turns it on: the caller decides, as by the probability itself."""
    tests = (function.blocks[b].value for b in function.enclosing(block) if function.blocks[b].kind == "if")
    parts = (
        p for test in tests if test is not None for p in (test, *(test.arguments if test.kind == "choice" else ()))
    )
    return any(part.kind == "name" and "." not in part.name for part in parts)


def _probability(call: Value) -> str:
    """The name that a functional dropout gets its probability by."""
    given = call.argument(1, "p") if call.name.removeprefix(FUNCTIONAL) in ON | OFF else None
    return given.name if given is not None and given.kind == "name" else ""


def _is_zero(given: Value | None) -> bool:
    return given is not None and given.kind == "constant" and given.constant in (0, None)
