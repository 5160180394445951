"""ML142."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.attention import Attention, attentions
from modellint.source.axes import axes
from modellint.source.code import Function, Value
from modellint.source.products import equation, factors

DIVIDES = frozenset({"/", "div", "div_", "normalize"})
MOVES = frozenset({"transpose", "swapaxes", "permute", "swapdims"})
CALLED = pattern(r"att|quer|keys?(?:$|_)|(?:^|[._])[qk](?:$|[_\d])|qk|head", re.IGNORECASE)
COMPETES = pattern(r"cluster|assign|slot|rout(?:e|ing)", re.IGNORECASE)  # for the keys


class AttentionSoftmaxAxis(SourceRule):
    """The weights of an attention are made by a softmax over another axis than that of the keys.

    Why: what meets the values is then no average of them: over the queries each key hands out its weight once, over the
        heads or the batch unrelated scores compete. In a causal model an earlier token depends on later ones. Nothing fails.
    Fix: take the softmax over the last axis of `q @ k.transpose(-2, -1)`, over that which the product with the values sums.
    Ignore: when queries are meant to compete for the keys; what is divided by its sum again is not reported.
    Reported: https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/146,
        https://github.com/fastnlp/fastNLP/issues/254
    """

    code, severity, certain, topic = "ML142", Severity.ERROR, True, "structure"
    twins = ("softmax-wrong-axis",)
    calls = ("softmax", "Softmax")
    words = tuple(
        ("oftmax(", word, pattern(rb"oftmax\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*(?<![-\w.])(?:0|1|2|-2|-3),?\s*\)"))
        for word in ("matmul", " @ ", "bmm(", "einsum(")
    )
    bad = (
        """
        class Attention(nn.Module):
            def forward(self, x):
                b, n, c = x.shape
                qkv = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
                q, k, v = qkv[0], qkv[1], qkv[2]
                attn = (q @ k.transpose(-2, -1)) * self.scale
                attn = attn.softmax(dim=1)
                return (attn @ v).transpose(1, 2).reshape(b, n, c)
        """,
        """
        class Head(nn.Module):
            def forward(self, x):
                b, t, d = x.shape
                q, k, v = (f(x).view(b, t, self.heads, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
                scores = q @ k.transpose(-2, -1) / math.sqrt(d)
                scores = scores.masked_fill(self.mask[:t, :t] == 0, float("-inf"))
                weights = self.dropout(F.softmax(scores, dim=-2))
                return (weights @ v).transpose(1, 2).reshape(b, t, d)
        """,
        """
        class Attention(nn.Module):
            def __init__(self, d):
                super().__init__()
                self.softmax = nn.Softmax(dim=1)

            def forward(self, q, k, v):
                q = q.view(q.size(0), -1, 8, 64).transpose(1, 2)
                attention = torch.matmul(q, k.transpose(2, 3))
                attention = self.softmax(attention / 8)
                return torch.matmul(attention, v)
        """,
        """
        class Attend(nn.Module):
            def __init__(self):
                super().__init__()
                self.attend = nn.Softmax(dim=2)

            def forward(self, x):
                qkv = self.to_qkv(x).chunk(3, dim=-1)
                q, k, v = map(lambda t: rearrange(t, "b n (h d) -> b h n d", h=8), qkv)
                return self.attend(q @ k.transpose(-1, -2)) @ v
        """,
        """
        def attend(q, k, v):
            weights = torch.bmm(q, k.transpose(1, 2)).softmax(1)
            return torch.bmm(weights, v)
        """,
        """
        def attend(q, k, v):
            weights = torch.einsum("bihd,bjhd->bijh", q, k).mul(0.125).softmax(dim=1)
            return torch.einsum("bijh,bjhd->bihd", weights, v)
        """,
        """
        def attend(q, k, v):
            weights = F.softmax(torch.matmul(q, k.transpose(1, 2)), dim=1)
            return torch.matmul(weights, v)
        """,
        """
        class Attention(nn.Module):
            def __init__(self, d):
                super().__init__()
                self.q, self.k, self.v = nn.Linear(d, d), nn.Linear(d, d), nn.Linear(d, d)

            def forward(self, x):
                b, t, d = x.size()
                scores = self.q(x) @ self.k(x).transpose(-2, -1) * d**-0.5
                return F.softmax(scores, dim=1) @ self.v(x)
        """,
    )
    good = (
        """
        def nearest(rows, others):  # each of the others goes to the row that it resembles most
            agreement = torch.einsum("mrc,nrc->nm", others, rows)
            cluster_assignment = F.softmax(1e3 * agreement, dim=0)
            return torch.einsum("nm,mrc->nrc", cluster_assignment, others)
        """,
        """
        def attend(q, k, v, heads):
            two = F.softmax(q @ k.t(), dim=1) @ v
            one = torch.softmax(k @ q, dim=0) @ v
            three = torch.softmax(torch.bmm(q, k.transpose(1, 2)), dim=2).bmm(v)
            q = q.view(4, 8, heads, 16).transpose(1, 2)
            four = torch.softmax(q @ k.transpose(2, 3), dim=3) @ v
            weights = torch.einsum("bihd,bjhd->bijh", q, k).softmax(dim=2)
            five, shown = torch.einsum("bijh,bjhd->bihd", weights, v), torch.einsum("bijh->hbij", weights)
            return one, two, three, four, five, shown
        """,
        """
        def remember(x, question, values):
            batch, time, width = x.shape
            weights = F.softmax(x @ question, dim=1)  # [batch, time]: one number a step
            return weights @ values
        """,
        """
        def slots(q, k, v):  # they compete for the inputs, and each takes an average of what it won
            dots = torch.bmm(q, k.transpose(1, 2))
            attention = dots.softmax(dim=1) + 1e-8
            attention = attention / attention.sum(dim=-1, keepdim=True)
            return torch.bmm(attention, v)
        """,
        """
        def both_ways(context, question):
            scores = torch.bmm(context, question.transpose(1, 2))
            to_question = torch.bmm(F.softmax(scores, dim=2), question)
            weights = F.softmax(scores, dim=1).transpose(1, 2)
            to_context = torch.bmm(weights, context)
            matched = F.softmax(scores, dim=1) * F.softmax(scores, dim=2)
            return to_question, to_context, torch.bmm(matched, question)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for found in () if any(COMPETES.search(e.name) for e in function.events) else attentions(script, function):
                if found.axis is not None and not any(map(_divides, found.after)):
                    wrong = _is_wrong(script, function, found)
                    message = (
                        f"makes the weights of an attention by a softmax over axis {found.axis}, not over the keys"
                    )
                    if wrong or (wrong is None and _looks_batched(found)):
                        yield self.at(found.softmax, message, certain=bool(wrong) and _is_called_so(function))


def _is_called_so(function: Function) -> bool:
    """Whether anything is called an attention, a query or a key: other products are weighted too."""
    names = (function.name, *(p.name for p in function.parameters), *(e.name for e in function.events))
    return any(CALLED.search(name) for name in names)


def _is_wrong(script: Script, function: Function, found: Attention) -> bool | None:
    """Whether the softmax runs over another axis than the one that meets the values; None: not known."""
    assert found.axis is not None
    if found.product.method == "einsum":
        letters = equation(found.product)
        if letters is None or not -len(letters[0][0]) <= found.axis < len(letters[0][0]):
            return False
        summed = (set(letters[0][0]) & set(letters[0][-1])) - set(letters[1])
        return letters[0][0][found.axis] not in summed
    if found.axis < 0:
        return found.axis < -1
    of_product = 3 if found.product.method == "bmm" else 0
    count = max(axes(script, function).of(found.scores, found.at) or 0, of_product)
    return None if found.axis >= count - 1 and not of_product else found.axis < count - 1


def _divides(step: Value) -> bool:
    """Whether the weights are divided by something, or multiplied with other weights."""
    softmaxes = [part for part in step.within() if part.kind == "call" and part.method == "softmax"]
    return step.name in DIVIDES or step.method in DIVIDES or len(softmaxes) > 1


def _looks_batched(found: Attention) -> bool:
    """Whether the keys are turned along other axes than the first two, and the softmax runs over one before the last."""
    turned = factors(found.scores)[-1] if found.scores.method != "einsum" else None
    moves = turned is not None and turned.kind == "call" and turned.method in MOVES and turned.receiver is not None
    places = [a.constant for a in turned.arguments] if turned is not None and moves else []
    return sorted(map(str, places)) in (["1", "2"], ["2", "3"]) and found.axis in (0, 1)
