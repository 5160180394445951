"""ML463."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern, used
from modellint.source import tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss

DEEPEST = 6  # names that one value is followed through
TEMPERATURE = pattern(r"(self\.)?(\w+_)?(temperature|temp|tau)(_\w+)?", re.IGNORECASE)
INVERSE = pattern(r"inv|scale|1_over|recip", re.IGNORECASE)
PRODUCTS = frozenset({"mm", "matmul"})
TURNS = frozenset({"t", "transpose", "permute", "adjoint"})
MASKS = frozenset({"masked_fill", "masked_fill_", "fill_diagonal_", "float"})
HIDES = frozenset(
    "eye fill_diagonal_ masked_fill masked_fill_ masked_select diag diagonal scatter scatter_ tril triu where diag_embed".split()
)
HIDING = pattern(r"mask|diag|eye|self_sim|inf", re.IGNORECASE)
HEAT = pattern(rb"temp(?!late|file|ora|dir)")


class ContrastiveScores(SourceRule):
    """The scores of a contrastive loss are not what it compares: flattened, of the wrong axis, or those of a sample with itself.

    Why: similarities of unit vectors lie between -1 and 1; divided by a temperature of 0.1 they are far enough apart for a softmax,
        multiplied by it they are all the same. Vectors that are normalised over the batch are no unit vectors. In the
        similarities of a batch with itself the largest of each row is that of the sample with itself, unless it is hidden.
    Fix: `similarity / temperature`, `F.normalize(x, dim=-1)`, `similarity.fill_diagonal_(float("-inf"))`.
    Ignore: where what is called a temperature is its inverse.
    Reported: https://github.com/Lightning-Universe/lightning-bolts/issues/695, https://github.com/Sara-Ahmed/SiT/issues/26
    """

    code, severity, certain, topic = "ML463", Severity.WARNING, True, "loss"
    words = tuple(
        (*loss, *word)
        for loss in (used("cross_entropy"), ("CrossEntropy",))
        for word in (("temp", HEAT), ("normalize(",), ("osine",), ("tau",))
    )
    bad = (
        """
        def info_nce(q, k, temperature=0.07):
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            logits = q @ k.t() * temperature
            return F.cross_entropy(logits, torch.arange(len(q)))
        """,
        """
        class NTXent(nn.Module):
            def __init__(self, temperature=0.5):
                super().__init__()
                self.temperature = temperature
                self.criterion = nn.CrossEntropyLoss()

            def forward(self, a, b):
                z = F.normalize(torch.cat([a, b]), dim=1)
                similarity = self.temperature * torch.mm(z, z.T)
                similarity.fill_diagonal_(float("-inf"))
                return self.criterion(similarity, partners(len(a)))
        """,
        """
        def nt_xent(a, b, temperature=0.5):
            n = len(a)
            z = F.normalize(torch.cat([a, b]), dim=1)
            similarity = z @ z.t() / temperature
            return F.cross_entropy(similarity, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))
        """,
        """
        def clip_loss(images, texts, scale):
            images = F.normalize(images, dim=0)
            texts = F.normalize(texts, dim=0)
            logits = scale * images @ texts.T
            return F.cross_entropy(logits, torch.arange(len(images)))
        """,
        """
        def in_batch(a, b, temperature=0.05):
            a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
            logits = torch.matmul(a, b.transpose(0, 1)) / temperature
            return F.cross_entropy(logits, torch.zeros(len(a), dtype=torch.long))
        """,
    )
    good = (
        """
        class Head(nn.Module):
            def __init__(self, temperature=0.1):
                super().__init__()
                self.weight = nn.Parameter(torch.randn(2, 64))
                self.temperature = temperature
            def forward(self, x):
                x = F.normalize(x, dim=1)
                logits = x @ F.normalize(self.weight, dim=1).t() / self.temperature
                return F.cross_entropy(logits, torch.zeros(len(x), dtype=torch.long))  # the domain of the source
        """,
        """
        def rank(query, docs, temperature=0.05):
            q = F.normalize(query, dim=-1)
            d = F.normalize(docs, dim=-1)
            scores = q @ d.t() / temperature
            return F.cross_entropy(scores, torch.zeros(1, dtype=torch.long))  # the first document is the right one
        """,
        """
        def info_nce(q, k, temperature=0.07):
            q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
            return F.cross_entropy(q @ k.t() / temperature, torch.arange(len(q)))
        """,
        """
        def clip_loss(a, b, temperature=20.0):
            a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
            return F.cross_entropy(a @ b.t() * temperature, torch.arange(len(a)))

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.temperature = nn.Parameter(torch.tensor(2.6))

            def forward(self, a, b):
                return F.cross_entropy(a @ b.t() * self.temperature.exp(), torch.arange(len(a)))
        """,
        """
        def nt_xent(a, b, temperature=0.5):
            n = len(a)
            z = F.normalize(torch.cat([a, b]), dim=1)
            similarity = z @ z.t() / temperature
            similarity = similarity - 1e9 * torch.eye(2 * n)
            return F.cross_entropy(similarity, torch.cat([torch.arange(n, 2 * n), torch.arange(n)]))
        """,
        """
        def decorrelated(a, b):
            a, b = F.normalize(a, dim=0), F.normalize(b, dim=0)
            cross = a.t() @ b  # of features
            return F.cross_entropy(cross, torch.arange(a.shape[1]))
        """,
        """
        def cosine_head(x, weight, y):
            logits = F.normalize(x, dim=1) @ F.normalize(weight, dim=0)  # a column for each class
            return F.cross_entropy(20 * logits, y)
        """,
        """
        def moco(q, k, queue, temperature=0.07):
            positive = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
            logits = torch.cat([positive, q @ queue.t()], dim=1) / temperature
            return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = {id(loss.call): loss for loss in script.losses if loss.kind == "CrossEntropyLoss" and loss.certain}
        for function in script.functions if losses else ():
            for call in function.calls:
                if id(call) in losses:
                    yield from self._judge(script, function, losses[id(call)])

    def _judge(self, script: Script, function: Function, loss: Loss) -> Iterator[Diagnostic]:
        given = loss.call.argument(0, "input")
        scores, scales = _scores(function, given) if given is not None else (None, [])
        sides = _compared(scores) if scores is not None else None
        if sides is not None:
            yield from self._scaled(script, function, scales)
            yield from self._paired(function, loss, *sides)

    def _scaled(self, script: Script, function: Function, scales: Sequence[Value]) -> Iterator[Diagnostic]:
        named = (scale for scale in scales if TEMPERATURE.fullmatch(scale.name) and not INVERSE.search(scale.name))
        factor = next(named, None)
        if factor is not None and (size := _number(script, function, factor)) is not None and 0 < size < 1:
            yield self.at(factor, f"multiplies the similarities by `{factor}`, {size:g}, where they are divided by it")

    def _paired(self, function: Function, loss: Loss, first: Value, second: Value) -> Iterator[Diagnostic]:
        """What is compared with what: samples with others of the batch, each with its partner on the diagonal."""
        over = next((side for side in (first, second) if _is_over_batch(function, side)), None)
        if over is not None and not _is_turned(first) and _is_turned(second):
            yield self.at(over, "normalises over the batch, and compares what is meant to be unit vectors")
        same = _unturned(first) == _unturned(second)
        if same and _is_joined(function, first) and not _hides(function):
            yield self.at(loss, "each sample is compared with itself as well, which wins: the diagonal is not hidden")
        target = loss.call.argument(1, "target")
        made = tensors.followed(function, target) if target is not None else None
        zeros = made is not None and made.name in ("torch.zeros", "torch.zeros_like")
        if zeros and made is not None and _is_turned(second) and not same and _is_of_batch(made, second):
            message = "takes the first of the batch for the partner of all: that of a sample is on the diagonal"
            yield self.at(loss, message)


def _scores(function: Function, value: Value) -> tuple[Value | None, list[Value]]:
    """The similarities that scores are made of, and what they are multiplied by on the way."""
    scales: list[Value] = []
    value = _peeled(function, value, len(function.events), scales)
    for at in range(len(function.events) - 1, -1, -1):
        event = function.events[at]
        if value.kind == "name" and event.kind == "assign" and event.name == value.name and event.value is not None:
            value = _peeled(function, event.value, at, scales)
    if value.name == "@" and value.arguments[0].name == "*":  # `scale * a @ b.t()`
        scales.append(value.arguments[0].arguments[0])
    return (value, scales) if _compared(value) is not None else (None, scales)


def _peeled(function: Function, value: Value, at: int, scales: list[Value]) -> Value:
    while value.kind in ("operation", "call") and (inner := _inner(function, value, at)) is not None:
        value, scale = inner
        scales += [scale] if scale is not None else []
    return value


def _inner(function: Function, value: Value, at: int) -> tuple[Value, Value | None] | None:
    """What is divided, multiplied or masked to give a value, and the factor of a product."""
    if value.kind == "call":
        return (value.receiver, None) if value.method in MASKS and value.receiver is not None else None
    if value.name == "/":
        return value.arguments[0], None
    if value.name == "*":
        first, second = value.arguments
        second_is = first.kind == "constant" or _is_product(function, second, at)
        return (second, first) if second_is else (first, second)
    return None


def _is_product(function: Function, value: Value, at: int) -> bool:
    made = tensors.bound(function, value.name, at) if value.kind == "name" else value
    return made is not None and (_compared(made) is not None or made.name in ("*", "/"))


def _compared(value: Value) -> tuple[Value, Value] | None:
    """The two matrices of a product, or the two sides of a table of cosines."""
    if value.kind == "operation" and value.name == "@":
        first, second = value.arguments
        return (first.arguments[1], second) if first.name == "*" and len(first.arguments) == 2 else (first, second)
    if value.kind == "call" and value.method in PRODUCTS:
        sides = value.arguments if value.name.startswith("torch.") else (value.receiver, *value.arguments)
        left, right = (*sides, None, None)[:2]
        return (left, right) if left is not None and right is not None else None
    if value.kind == "call" and "cos" in value.name.lower() and len(value.arguments) >= 2:
        return value.arguments[0], value.arguments[1]
    return None


def _is_turned(value: Value) -> bool:
    return value.method in TURNS if value.kind == "call" else value.method in ("T", "mT")


def _unturned(value: Value) -> str:
    """The name of what may be transposed, or given another axis."""
    turned = _is_turned(value) or value.method == "unsqueeze"
    return str(value.receiver if turned and value.receiver is not None else value)


def _is_over_batch(function: Function, side: Value) -> bool:
    name = _unturned(side)
    made = tensors.bound(function, name)
    made = side if made is None else made
    call = made if made.name == "torch.nn.functional.normalize" else None
    axis = call.argument(2, "dim") if call is not None else None
    return axis is not None and axis.constant == 0 and axis.kind == "constant"


def _is_joined(function: Function, side: Value) -> bool:
    """Whether it is made of two views, one below the other."""
    return any(part.method in ("cat", "vstack", "concat") for part in tensors.origins(function, side))


def _hides(function: Function) -> bool:
    """Whether anything is hidden in the function, or a diagonal is spoken of."""
    parts = list(function.values)
    named = any(HIDING.search(part.name) for part in parts if part.kind in ("name", "attribute"))
    return (
        named
        or any(part.kind == "call" and part.method in HIDES for part in parts)
        or any("[" in e.name for e in function.events)
    )


def _is_of_batch(target: Value, second: Value) -> bool:
    """Whether it is a target for each row, and what they are compared with is no weight of a class and no query's list."""
    single = any(part.constant == 1 for part in target.arguments)
    return not single and "(" not in _unturned(second) and not _unturned(second).startswith("self.")


def _number(script: Script, function: Function, value: Value) -> float | None:
    """The number that a parameter, an attribute or a constant is, as it is written."""
    for _ in range(DEEPEST):
        if value.number is not None:
            return value.number
        found = list(_written(script, function, value.name)) if value.kind == "name" else []
        if len(found) != 1:
            return None
        function, value = found[0]
    return None


def _written(script: Script, function: Function, name: str) -> Iterator[tuple[Function, Value]]:
    """The default of a parameter, else what a name is bound to in the function, the class or the module, and where."""
    default = next((p.default for p in function.parameters if p.name == name), None)
    if default is not None:
        yield function, default
        return
    own = [f for f in script.functions if f.owner == function.owner] if name.startswith("self.") else [function]
    for scope in dict.fromkeys((*own, script.functions[0])):
        bound = (e.value for e in scope.events if e.kind == "assign" and e.name == name)
        yield from ((scope, value) for value in bound if value is not None)
