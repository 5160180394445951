"""ML116."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Value

NORMS = frozenset(f"torch.nn.{name}" for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"))


class BatchnormEpsPosition(SourceRule):
    """The second positional argument of a batch norm is its eps, not its momentum.

    Why: `BatchNorm2d(128, 0.8)` adds 0.8 to the variance of every channel, so that quiet channels are no longer
        normalised at all; the momentum that was meant keeps its default. In PyTorch it is the weight of the new batch
        besides, 1 minus the momentum of Keras, from where such calls are often carried over.
    Fix: name the argument: `momentum=0.2` for what Keras calls 0.8, or `eps=...` if eps is meant.
    Ignore: when an eps of that size is meant; write `eps=` and the rule is silent.
    Thresholds: `smallest` = 0.01: a tenth of the default momentum and ten times the largest eps in common use (1e-3).
    Reported: https://github.com/eriklindernoren/PyTorch-GAN/issues/116,
        https://github.com/weiaicunzai/pytorch-cifar100/pull/57
    """

    code, severity, certain, topic = "ML116", Severity.WARNING, True, "structure"
    words = (
        ("BatchNorm", pattern(rb"BatchNorm\dd\((?:[^(),]|\((?:[^()]|\([^()]*\))*\))+,\s*[\w.+-]+\s*[,)]")),
        ("BatchNorm", pattern(rb"BatchNorm\dd as ")),
    )
    smallest = 0.01
    bad = (
        "layers = [nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128, 0.8), nn.LeakyReLU(0.2)]",
        """
        from torch.nn import BatchNorm1d as Norm

        def block(width):
            return Norm(width, 0.99)
        """,
        "b3 = nn.Sequential(nn.Conv2d(64, 32, 5), nn.BatchNorm2d(32, 32))",
        """
        def block(width, bn_momentum=0.1):
            return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width, bn_momentum))
        """,
        """
        def branch(n5x5):
            return nn.Sequential(nn.Conv2d(3, n5x5, 3), nn.BatchNorm2d(n5x5, n5x5))
        """,
    )
    fixed = (
        "layers = [nn.Conv2d(64, 128, 3), nn.BatchNorm2d(128, momentum=0.2), nn.LeakyReLU(0.2)]",
        """
        from torch.nn import BatchNorm1d as Norm

        def block(width):
            return Norm(width, momentum=0.01)
        """,
        None,
        None,
        None,
    )
    good = (
        "norm = nn.BatchNorm2d(128, momentum=0.8)",
        "norm = nn.BatchNorm2d(128, 1e-3)",
        "norm = nn.BatchNorm2d(128, eps=0.8)",
        "norm = nn.BatchNorm2d(width, bn_eps, bn_momentum)",
        "norm = nn.GroupNorm(8, 32)",
        """
        from tensorflow.keras import layers as nn
        norm = nn.BatchNorm2d(128, 0.8)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for call in (call for call in script.calls if call.name in NORMS):
            eps = self._misplaced(call)
            if eps:
                yield self.at(
                    call, f"sets eps to {eps}: the second positional argument of {call.method} is no momentum"
                )

    def _misplaced(self, call: Value) -> str:
        """What the second position holds that cannot be meant as eps: a large number, a momentum, the width again."""
        width, given, eps = call.argument(0), call.argument(1), _second(call)
        if eps is not None:
            return f"{eps:g}" if eps >= self.smallest else ""
        if given is None or given.kind != "name":
            return ""
        same = width is not None and str(given) == str(width)
        return f"`{given}`" if same or "momentum" in given.method.lower() else ""

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """Names the momentum; one above a half is taken for that of Keras. Unsafe: it may not be what was meant."""
        for call in script.calls:
            given, meant = call.argument(1), _second(call) or 0.0
            if call.location == finding.location and given is not None and 0.0 < meant < 1.0:
                momentum = meant if meant <= 0.5 else round(1 - meant, 9)
                return Fix((edit.argument(given, "momentum", f"{momentum:g}"),), safe=False)
        return None


def _second(call: Value) -> float | None:
    given = call.argument(1)
    return given.number if given is not None else None
