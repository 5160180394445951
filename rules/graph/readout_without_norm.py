"""ML201."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Evidence, Fix, Graph, GraphRule, Passed, Run, Script, Severity, Step
from modellint.core import edit
from modellint.core.pattern import pattern, used
from modellint.graph.amplify import amplifiers, residual_additions
from modellint.graph.features import HIDDEN, feeding
from modellint.graph.node import Node, Role
from modellint.graph.walk import judges_classes, path, readouts
from modellint.graph.words import name, trail
from modellint.measure.cast import Parameter
from modellint.measure.quantities import Distribution, Features
from modellint.measure.readout import feature_size, gradient_norms, may_be_at
from modellint.measure.statistics import median
from modellint.measure.trajectory import LAST, explosions, reference
from modellint.source.facts import Operation

# The same by name, as operations are written in a script.
WRITTEN_HIDDEN = pattern(r"(Lazy)?(Linear|Conv(Transpose)?\dd)|Bilinear")
WRITTEN_OPEN = pattern(
    r"\w*(relu|gelu|silu|mish|hardswish|softplus|dropout|pool)(_|\dd)?|elu|celu|mean|sum|amax|max|flatten|view|reshape"
    r"|squeeze|unsqueeze|permute|transpose|contiguous|cat|stack|[+*]",
    re.IGNORECASE,
)
WRITTEN_NORM = pattern(r"\w*norm\w*|rsqrt|selu", re.IGNORECASE)
# A weight that is made of another one by weight norm or spectral norm, in torch's older and newer names.
NORMALISED = re.compile(r"\.weight_(g|orig)$|\.parametrizations\.weight\b")
WEIGHT = Parameter("readout.weight", role="readout", module="readout")


def _run(norms: Sequence[float], losses: Sequence[float], sizes: Sequence[float]) -> Run:
    steps = (
        Step(
            i, loss=loss, class_loss=loss, gradients={WEIGHT.name: norm}, features=Features(4, 8, Distribution(0, size))
        )
        for i, (norm, loss, size) in enumerate(zip(norms, losses, sizes, strict=True))
    )
    return Run(tuple(steps), (WEIGHT,), classes=50)


def _stream(weight: str) -> Graph:
    """Four branches, each added to a stream that ends in the readout."""
    branches = (
        line
        for i in range(4)
        for line in (f"linear branch{i} weight=branch{i}{weight} <- s{i}", f"add s{i + 1} <- s{i}, branch{i}")
    )
    return Graph.of("input x", "linear s0", *branches, "linear readout", "loss cross_entropy")


class ReadoutWithoutNorm(GraphRule):
    """The readout reads features that nothing normalises or bounds.

    Why: with cross entropy the gradient of the readout's weight is at most sqrt(2) times the size of its features, so
        that features that grow, by a large learning rate, large inputs or many residual additions, drive the gradients
        of the readout and of all that lies below it, and the logits with them.
    Fix: put a norm (LayerNorm, RMSNorm, BatchNorm) between the last hidden layer and the readout.
    Ignore: when the features are small by design (scaled residual branches, weight standardisation) and the probe shows
        steady gradients, or when a sum over nodes or tokens is what the model is meant to compute.
        Additions convict by reading alone only where what is added is made by plain weights: weight norm and spectral
        norm hold a branch as small as its gain says, and then the run decides.
        Where other layers of the model are normalised and nothing amplifies the features on their way, as in heads of
        two layers, the rule speaks only if a run convicts it.
    Thresholds: `growth` is that of exploding-gradients: 50 times the first steps, reached by no healthy run of 129.
        `excess` and `left` are those of bad-initial-loss: above 2 ln C at first and above 1.5 ln C at the end (0 of 198
        healthy runs). Both convict only if the root mean square of the features reaches `size` = 10; behind a
        LayerNorm it is 1.
        `additions`: four branches of unit variance double the scale of a stream, which is certain to matter only where
        a loss over classes turns size into confidence: a network that regresses noise trains well. `uses`,
        `input_std`: a weight applied three times in a chain, an input with a standard deviation above 10. `depth`: a
        script is suspected only if at least that many layers feed the readout.
    Reported: https://github.com/PaddlePaddle/PaddleNLP/pull/571
    """

    code, severity, topic = "ML201", Severity.WARNING, "structure"
    explains = ("exploding-gradients", "unscaled-features", "bad-initial-loss", "collapsed-predictions")
    twins = ("no-final-norm",)
    remedy = "normalize-readout"
    words = (used("cross_entropy"), "CrossEntropyLoss", used("nll_loss"), "NLLLoss")
    growth, size, excess, left = 50.0, 10.0, 2.0, 1.5
    additions, uses, input_std, depth = 4, 3, 10.0, 1
    bad = (
        Graph.of("input x", "linear body", "activation relu", "linear readout", "loss cross_entropy"),
        Graph.of("input x", "norm n", "conv a", "activation relu", "pool p", "linear readout", "loss cross_entropy"),
        _stream(""),
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
                self.readout = nn.Linear(128, 50)

            def forward(self, x):
                return self.readout(self.body(x))

        model = Net()
        for x, y in loader:
            F.cross_entropy(model(x), y).backward()
        """,
    )
    good = (
        Graph.of("input x", "linear body", "activation relu", "norm n", "linear readout", "loss cross_entropy"),
        Graph.of("input x", "linear body", "activation tanh", "linear readout", "loss cross_entropy"),
        Graph.of("input x", "recurrent lstm", "index getitem", "linear readout", "loss cross_entropy"),
        Graph.of("input x", "linear readout", "loss cross_entropy"),
        Graph.of(
            "input x",
            "conv stem",
            "conv branch",
            "norm n",
            "add sum <- stem, n",
            "activation relu",
            "linear readout",
            "loss cross_entropy",
        ),
        """
        body = nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        model = nn.Sequential(body, nn.Linear(128, 50))
        for x, y in loader:
            F.cross_entropy(model(x), y).backward()
        """,
    )
    suspected = _stream(".parametrizations")
    confirmed_by = (
        _run([9.0, 8.0, 9.0, 8.0, 9.0], [90.0, 80.0, 70.0, 60.0, 50.0], [45.0, 44.0, 43.0, 42.0, 41.0]),
        _run([0.5, 2e4, 1e4, 1e5, 7e4], [4.6, 6e5, 3e3, 3e4, 4e3], [2.4, 4e3, 6e3, 1e4, 9e3]),
        _run([0.5, 0.5, 0.6, 90.0, 95.0], [4.0, 4.1, 4.3, 9.0, 9.9], [2.4, 3.0, 4.0, 80.0, 90.0]),
    )
    not_confirmed_by = (
        _run([0.5, 0.5, 0.6, 0.7, 0.6], [3.9, 3.8, 3.6, 3.4, 3.2], [0.4, 0.4, 0.5, 0.5, 0.6]),
        _run([0.5, 0.5, 0.6, 90.0, 95.0], [4.0, 4.1, 4.3, 9.0, 9.9], [1.0, 1.1, 1.0, 1.2, 1.1]),
        _run([9.0, 8.0, 9.0, 8.0, 9.0], [90.0, 80.0, 70.0, 60.0, 50.0], [1.0, 1.1, 1.0, 1.2, 1.1]),
    )

    def check(self, graph: Graph) -> Iterator[Diagnostic | Passed]:
        for readout in {name(node): node for node in readouts(graph)}.values():
            between = feeding(graph, readout)
            hidden = next((node for node in between if node.role in HIDDEN), None)
            if hidden is not None and not any(node.role is Role.NORM for node in between):
                yield self._finding(graph, readout, hidden, between)
            elif any(node.bounded for node in between):
                yield self.passed(f"the features that enter `{name(readout)}` are normalised or bounded")

    def suspect(self, script: Script) -> Iterator[Diagnostic]:
        losses = (loss for loss in script.losses if loss.kind in self.words)
        found = {readout.location: readout for loss in losses for way in loss.inputs for readout in self._raw(way)}
        for readout in found.values():
            yield self.at(readout, "no norm between the readout and the layer that feeds it")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A LayerNorm in front of the layer where it is made: the names in its saved states change."""
        ways = [way for loss in script.losses for way in loss.inputs]
        for readout in (found for way in ways for found in self._raw(way) if found.location == finding.location):
            if readout.made.line and readout.made.path == script.path and readout.short == "Linear":
                norm = "{receiver}.Sequential({receiver}.LayerNorm({0|in_features}), {whole})"
                return Fix((edit.replace(readout.made, norm),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        measured = (self._explodes(run), self._starts(run)) if may_be_at(run, finding.location) else ()
        evidence = [each for each in measured if each is not None]
        return next((each for each in evidence if each.holds), next(iter(evidence), None))

    def _explodes(self, run: Run) -> Evidence | None:
        """The readout's gradient explodes together with the size of its features, while the loss does not fall."""
        series = gradient_norms(run)
        start, peak = reference(series), max((norm for norm in series if norm is not None), default=None)
        if not start:
            return None
        found = next((explosion for explosion in explosions(run, self.growth) if explosion.part == "readout"), None)
        if found is None or max(filter(None, map(feature_size, run.steps)), default=self.size) < self.size:
            return Evidence("gradient norm of the readout", peak, self.growth * start, holds=False, series=series)
        claim = "gradient norm of the readout, driven by the size of its features"
        return Evidence(claim, found.peak, self.growth * found.start, series=found.series)

    def _starts(self, run: Run) -> Evidence | None:
        """Features out of scale make the first logits large and wrong, and the loss does not recover."""
        losses = [step.class_loss for step in run.steps if step.class_loss is not None]
        size = feature_size(run.steps[0]) if losses else None
        if size is None or (run.classes or 0) < 2:
            return None
        guessing = math.log(run.classes or 2)
        lost = losses[0] > self.excess * guessing and median(losses[-LAST:]) > self.left * guessing
        claim = f"class loss of the first step, from features with a root mean square of {size:.3g}"
        return Evidence(
            claim, losses[0], self.excess * guessing, holds=lost and size >= self.size, series=tuple(losses)
        )

    def _finding(self, graph: Graph, readout: Node, hidden: Node, between: Sequence[Node]) -> Diagnostic:
        way = trail(path(graph, readout, hidden))
        sums = residual_additions(graph, between)
        growing = [f"{len(sums)} additions"] if len(sums) >= self.additions else []
        growing += dict.fromkeys(amplifiers(graph, between, self.input_std, self.uses))
        anywhere = "" if graph.of_role(Role.NORM) else ", nor anywhere in the model"
        message = f"no norm between the readout `{name(readout)}` and the layer that feeds it{anywhere} ({way})"
        amplified = f"; amplified by {', '.join(growing)}" if growing else ""
        return self.at(
            readout,
            message + amplified,
            certain=judges_classes(graph) and len(sums) >= self.additions and not _held(between),
            hint=not anywhere and not growing,
        )

    def _raw(self, way: Sequence[Operation]) -> Iterator[Operation]:
        """The readout of what made a loss's input, last operation first, if a deep stack without any norm feeds it."""
        layers = [i for i, operation in enumerate(way) if WRITTEN_HIDDEN.fullmatch(operation.short)]
        if len(layers) <= self.depth or any(WRITTEN_NORM.fullmatch(operation.short) for operation in way):
            return
        if all(WRITTEN_OPEN.fullmatch(operation.short) for operation in way[layers[0] + 1 : layers[1]]):
            yield way[layers[0]]


def _held(between: Sequence[Node]) -> bool:
    """Whether the size of a branch is that of a learned gain."""
    return any(NORMALISED.search(parameter) for node in between for parameter in node.parameters)
