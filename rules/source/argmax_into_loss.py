"""ML157."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.facts import Operation

HARD = frozenset({"argmax", "argmin", "round", "sign", "floor", "ceil", ">", "<", ">=", "<="})
SHAPES = frozenset(
    "float double half long int to type cuda cpu view reshape squeeze unsqueeze flatten contiguous requires_grad_ "
    "type_as transpose permute".split()
)


class ArgmaxIntoLoss(SourceRule):
    """The loss is computed of decisions (`argmax`, `round`, a threshold), through which no gradient flows.

    Why: a decision does not change with a small change of the scores: its derivative is zero or does not exist.
        `backward()` fails, or, made to work by `requires_grad_(True)` or another loss, teaches nothing.
    Fix: give the loss the scores themselves; take decisions for the metrics only.
    Ignore: never; a straight-through estimator, which adds the scores again, is not reported.
    Reported: https://github.com/LZGMatrix/BOP19_CDPN_2019ICCV/issues/4,
        https://github.com/Ugenteraan/Deep_Hierarchical_Classification/issues/6
    """

    code, severity, certain, topic = "ML157", Severity.ERROR, True, "gradients"
    explains = ("zero-gradients", "loss-not-falling")
    words = tuple((".backward(", word) for word in ("argmax", "max(", "round(", "sign(", "> 0", ">0", ">="))
    bad = (
        """
        for x, y in loader:
            _, predicted = torch.max(model(x), 1)
            loss = F.mse_loss(predicted.float(), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            predicted = model(x).argmax(dim=1).float()
            loss = F.mse_loss(predicted.requires_grad_(True), y)
            loss.backward()
            optimizer.step()
        """,
        """
        criterion = nn.BCELoss()
        for x, y in loader:
            optimizer.zero_grad()
            output = (torch.sigmoid(model(x)) > 0.5).float()
            loss = criterion(output, y)
            loss.backward()
            optimizer.step()
        """,
    )
    good = (
        """
        for x, y in loader:
            scores = model(x)
            best, _ = scores.max(dim=1)
            loss = F.mse_loss(best, y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            scores = model(x)
            loss = F.cross_entropy(scores, y.argmax(1))
            correct = (scores.argmax(1) == y.argmax(1)).sum()
            loss.backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            soft = torch.sigmoid(model(x))
            hard = (soft > 0.5).float() + soft - soft.detach()
            F.mse_loss(hard, y).backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            scores = model(x)
            print(F.l1_loss(scores.argmax(1).float(), y.float()))
            optimizer.zero_grad()
            F.cross_entropy(scores, y).backward()
            optimizer.step()
        """,
        """
        for x, y in loader:
            keep = y.argmax(1) > 0
            optimizer.zero_grad()
            F.cross_entropy(model(x)[keep], y[keep]).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        origins = {id(o) for loop in script.training_loops for act in loop.of("backward") for o in act.origins}
        for loss in script.losses:
            hard = [_hard(path) for path in loss.inputs]
            if loss.certain and id(loss.call) in origins and hard and hard[0] is not None and all(hard):
                yield self.at(loss, f"is computed of what `{hard[0].short}` decides: no gradient passes it")


def _hard(path: Sequence[Operation]) -> Operation | None:
    """The decision that is the last thing done to the input; what only changes shape or type is passed by."""
    last = next((operation for operation in path if operation.short not in SHAPES), None)
    return last if last is not None and last.short in HARD and last.certain else None
