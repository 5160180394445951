"""ML139."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.source.branches import arms
from modellint.source.code import Block, Event, Function, Value
from modellint.source.facts import Layer

FILLS = {"constant_": None, "constant": None, "fill_": None, "zeros_": 0.0, "zero_": 0.0, "ones_": 1.0}
INITIALISES = pattern(r"init|reset", re.IGNORECASE)  # a function of such a name may be applied in another file
WEIGHTS_FILLED = pattern(rb"weight(?<!\wweight)(?:\.data)?\.(?:zero|fill)_\(")
WEIGHTS_SET = pattern(rb"\b(?:constant|zeros|ones)_?\(\s*(?:tensor=)?[\w.]+\.weight\b")
WEIGHTS = pattern(r"(Lazy)?(Linear|Conv(Transpose)?([123]d)?|LSTM|GRU|RNN|Bilinear)")
PARAMETERS = ("parameters", "named_parameters")


def _run(*zero: bool) -> Run:
    parameters = (Parameter(f"w{i}", (4, 4), zero_initialised=yes) for i, yes in enumerate(zero))
    return Run(parameters=tuple(parameters))


class ConstantInitialisation(SourceRule):
    """All weights of a network's layers start at one and the same value.

    Why: units that start alike get the same gradient and stay alike: a layer of any width computes one feature. From
        zero it is worse: no gradient passes the first such layer.
    Fix: leave the initialisation to the layers, or use `nn.init.kaiming_normal_` or `nn.init.xavier_uniform_`; only
        biases and the last layer of a branch may start at zero.
    Ignore: when the weights are set by something else afterwards, or for a model of a single layer.
    Thresholds: a suspicion of zeros is confirmed if at least `share` = half of the weight matrices start at zero.
    Reported: https://blog.youkuaiyun.com/language_zcx/article/details/107282409
    """

    code, severity, certain, topic = "ML139", Severity.WARNING, True, "structure"
    explains = ("zero-gradients",)
    remedy = "re-initialise"
    words = (
        ("weight.", WEIGHTS_FILLED), ("init.", "_(", ".parameters()"),
        *((call, ".weight", WEIGHTS_SET) for call in ("constant_(", "zeros_(", "ones_(", "constant(")),
        (".fill_(", ".parameters()"), (".zero_(", ".parameters()", "optim"),
    )  # fmt: skip
    share = 0.5
    bad = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 2)
                for m in self.modules():
                    if isinstance(m, (nn.Conv2d, nn.Linear)):
                        nn.init.constant_(m.weight, 0.0)
                    elif isinstance(m, nn.BatchNorm2d):
                        nn.init.constant_(m.weight, 1)

            def forward(self, x):
                return self.head(self.norm(self.conv(x)).mean((2, 3)))
        """,
        """
        def init_weights(m):
            if isinstance(m, nn.Linear):
                nn.init.constant_(m.weight, 0.01)
                nn.init.zeros_(m.bias)

        model = Net()
        model.apply(init_weights)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(8, 64), nn.Linear(64, 2)
                for m in self.modules():
                    if isinstance(m, (nn.Conv2d, nn.Linear)):
                        m.weight.data.fill_(0.1)
                        m.bias.data.zero_()

            def forward(self, x):
                return self.fc2(torch.tanh(self.fc1(x)))
        """,
        """
        net = nn.Sequential(nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 2))
        for p in net.parameters():
            nn.init.zeros_(p)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        """,
        """
        def weights_init(m):
            classname = m.__class__.__name__
            if classname.find("Linear") != -1:
                m.weight.data.zero_()

        model.apply(weights_init)
        """,
    )
    good = (
        """
        def initialize(m):
            if isinstance(m, nn.ConvTranspose1d):  # each value is repeated
                nn.init.constant_(m.weight, 1.0)
            else:
                for name, p in m.named_parameters():
                    if "weight" in name and p.dim() > 1:
                        nn.init.xavier_uniform_(p)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.up, self.conv, self.last = nn.ConvTranspose1d(1, 1, 4, 4), nn.Conv1d(1, 8, 3), nn.Conv1d(8, 1, 3)

            def forward(self, x):
                return self.last(self.conv(self.up(x)).relu())

        net = Net()
        net.apply(initialize)
        optimizer = torch.optim.Adam(net.parameters())
        """,
        """
        def init_weights(m):
            if isinstance(m, nn.Linear):
                nn.init.xavier_uniform_(m.weight)
                nn.init.constant_(m.bias, 0.01)
            elif isinstance(m, nn.BatchNorm2d):
                nn.init.ones_(m.weight)

        model.apply(init_weights)
        """,
        """
        class Lora(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(8, 4, bias=False), nn.Linear(4, 8, bias=False)
                nn.init.zeros_(self.b.weight)  # one factor only
        """,
        """
        def init_weights(m):
            if isinstance(m, nn.ConvTranspose2d):
                m.weight.data.zero_()
                m.weight.data.copy_(bilinear(m.in_channels, m.out_channels))

        model.apply(init_weights)
        """,
        """
        for p in net.parameters():
            if p.dim() > 1:
                nn.init.xavier_uniform_(p)
            else:
                nn.init.zeros_(p)
        """,
        """
        for average, p in zip(ema.parameters(), net.parameters()):
            average.data.zero_()
        for p in net.parameters():
            p.grad.zero_()
            p.grad.data.fill_(0.1)
        """,
        """
        net = nn.Linear(2, 1)  # a single layer has nothing to break
        for p in net.parameters():
            p.data.fill_(0.0)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        """,
        """
        class Regression(nn.Module):
            def __init__(self):
                super().__init__()
                self.linear = nn.Linear(10, 3)
                for m in self.modules():
                    if isinstance(m, nn.Linear):
                        m.weight.data.fill_(0.5)

            def forward(self, x):
                return self.linear(x)
        """,
    )
    confirmed_by = _run(True, True, False)
    not_confirmed_by = _run(False, True, False)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                call = event.value
                value = _fills(call) if event.kind == "call" and call is not None else None
                if call is not None and value is not None:
                    yield from self._judge(script, function, event, call, value)

    def _judge(
        self, script: Script, function: Function, event: Event, call: Value, value: float
    ) -> Iterator[Diagnostic]:
        target = _target(call)
        layer, _, attribute = target.rpartition(".")
        whole = _walked(function, event, target) if not layer else ""
        if whole and f"{whole}.parameters" in _optimized(script) and _depth(script, whole) > 1:
            yield self.at(call, f"sets all parameters of `{whole}` to {value:g}: the units of a layer stay alike")
        elif (
            attribute == "weight" and _is_applied(script, function, event, layer) and _is_last(function, event, target)
        ):
            depth = max((len(_weights(model.layers)) for model in script.models), default=None)
            message = f"sets the weights of all layers to {value:g}: the units of a layer stay alike"
            if depth is None or depth > 1:
                yield self.at(
                    call, message, certain=value != 0 and depth is not None and _is_handed_over(script, function)
                )

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        weights = [p.zero_initialised for p in run.parameters if p.is_weight]
        if not weights or (finding.message and " to 0:" not in finding.message):  # the share that is zero is measured
            return None
        zero = sum(weights) / len(weights)
        return Evidence("share of the weight matrices that start at zero", zero, self.share, holds=zero >= self.share)


def _fills(call: Value) -> float | None:
    """The value that a call fills a tensor with, as far as it is written there."""
    if call.method not in FILLS or not (call.name.startswith("torch.nn.init.") or call.method in ("fill_", "zero_")):
        return None
    known = FILLS[call.method]
    given = call.arguments[-1] if known is None and call.arguments else None
    number = given.constant if given is not None and given.kind == "constant" else known
    return float(number) if isinstance(number, int | float) else None


def _target(call: Value) -> str:
    """The name of what is filled, without `.data`."""
    given = call.argument(0, "tensor") if call.name.startswith("torch.nn.init.") else call.receiver
    return given.name.removesuffix(".data") if given is not None and given.kind == "name" else ""


def _is_last(function: Function, event: Event, target: str) -> bool:
    """Whether nothing else in the function touches the weights, but for layers of another kind, in another arm."""
    own = dict(arms(function, event.block))
    others = (e for e in function.events if e.kind == "call" and e.value is not event.value)
    shared = (e.value for e in others if all(own.get(place, arm) == arm for place, arm in arms(function, e.block)))
    return not any(part.name.startswith(target) for value in shared if value is not None for part in value.within())


def _walked(function: Function, event: Event, name: str) -> str:
    """The model over whose parameters, all of them, the loop around goes."""
    blocks = [function.blocks[b] for b in function.enclosing(event.block)]
    loop = blocks[0] if blocks and blocks[0].kind == "for" else None
    over = loop.value if loop is not None else None
    if over is None or over.kind != "call" or over.method not in PARAMETERS or over.receiver is None:
        return ""
    bound = any(e.kind == "assign" and e.name == name and e.block == event.block for e in function.events)
    return over.receiver.name if bound else ""


def _depth(script: Script, name: str) -> int:
    """How many layers with weights the model of this name has, as far as it is made and defined in the file."""
    made = [e.value for f in script.functions for e in f.events if e.kind == "assign" and e.name == name]
    called = {part.name for value in made if value is not None for part in value.within() if part.kind == "call"}
    inside = [part for value in made if value is not None for part in value.within() if WEIGHTS.fullmatch(part.method)]
    return max((len(_weights(model.layers)) for model in script.models if model.name in called), default=len(inside))


def _weights(layers: Iterable[Layer]) -> list[Layer]:
    return [layer for layer in layers if WEIGHTS.fullmatch(layer.short)]


def _optimized(script: Script) -> set[str]:
    return {part.name for optimizer in script.optimizers for part in optimizer.call.within()}


def _is_applied(script: Script, function: Function, event: Event, layer: str) -> bool:
    """Whether it is done to all layers of a kind with weights: by `apply`, or in a loop over `modules()`."""
    inner, *around = [function.blocks[b] for b in function.enclosing(event.block)]
    if inner.kind != "if" or inner.value is None or not _asks_for_weights(inner.value):
        return False
    if any(block.kind not in ("body", "for", "with") for block in around):
        return False
    if any(_over_modules(block) for block in around):
        return True
    known = _is_handed_over(script, function) or INITIALISES.search(function.name) is not None
    return any(p.name == layer for p in function.parameters) and known


def _is_handed_over(script: Script, function: Function) -> bool:
    """Whether something in the file does it to all modules of a model."""
    name = function.name.rpartition(".")[2]
    applied = (a for call in script.calls if call.method == "apply" for a in call.arguments)
    return any(a.method == name for a in applied) or any(_over_modules(block) for block in function.blocks)


def _over_modules(block: Block) -> bool:
    return block.kind == "for" and block.value is not None and block.value.method in ("modules", "named_modules")


def _asks_for_weights(test: Value) -> bool:
    """`isinstance(m, nn.Linear)`, `"Conv" in name`, `name.find("Linear") != -1`, and nothing else besides; what is only
    asked for transposed convolutions may fill up an enlarged signal."""
    if test.kind == "choice" and test.name == "and":
        return False
    asked = [part.method if part.kind == "name" else str(part.constant) for part in test.within()]
    weighty = [name for name in asked if WEIGHTS.fullmatch(name)]
    return not all("Transpose" in name for name in weighty) and not any("Norm" in name for name in asked)
