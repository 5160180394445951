"""ML198."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source.code import Value

NORMS = frozenset(
    f"torch.nn.{name}" for name in ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm", "LazyBatchNorm2d")
)


class BatchnormMomentum(SourceRule):
    """The momentum of a batch norm is that of another library, or zero.

    Why: in PyTorch it is the weight of the new batch, 1 minus the momentum of TensorFlow and Keras. With 0.99 the running
        statistics are those of the last training batch; with 0 they stay what they were made as, a mean of 0 and a variance of
        1. Training looks well, because it does not use them, and every evaluation is wrong.
    Fix: `momentum=0.01` for what Keras calls 0.99; leave it out for the default of 0.1.
    Ignore: when statistics of the last batch alone are meant: `momentum=1.0` says so and is silent, as is
        `track_running_stats=False`.
    Thresholds: a number from `largest` = 0.9 up to, and without, 1; or 0.
    Reported: https://github.com/pytorch/vision/issues/8250, https://github.com/pytorch/pytorch/issues/15298
    """

    code, severity, certain, topic = "ML198", Severity.WARNING, True, "structure"
    words = (("BatchNorm", "momentum", pattern(rb"momentum[\"']?\s*[=:]\s*[\d.]")),)
    largest = 0.9
    bad = (
        "norm = nn.BatchNorm2d(64, eps=1e-3, momentum=0.99)",
        "block = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64, momentum=0), nn.ReLU())",
        """
        from functools import partial
        Norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.9)
        """,
    )
    fixed = (
        "norm = nn.BatchNorm2d(64, eps=1e-3, momentum=0.01)",
        None,
        """
        from functools import partial
        Norm = partial(nn.BatchNorm2d, eps=1e-3, momentum=0.1)
        """,
    )
    good = (
        "norm = nn.BatchNorm2d(64, momentum=0.01)",
        "norm = nn.BatchNorm2d(64, momentum=1.0)  # the statistics of the task at hand, as in few-shot learning",
        "norm = nn.BatchNorm2d(64, momentum=None)",
        "norm = nn.BatchNorm2d(64, momentum=0.0, track_running_stats=False)",
        "norm = nn.BatchNorm2d(64, momentum=1 - 0.99)",
        "norm = nn.BatchNorm2d(64, momentum=bn_momentum)",
        "optimizer = torch.optim.SGD(nn.BatchNorm2d(64).parameters(), lr=0.1, momentum=0.9)",
        """
        from tensorflow.keras.layers import BatchNormalization
        norm = BatchNormalization(momentum=0.99)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for call in script.calls:
            momentum = call.argument(None, "momentum") if _makes_norm(call) else None
            if (
                momentum is not None
                and self._is_foreign(momentum)
                and call.argument(None, "track_running_stats") is None
            ):
                how = "never updates its running statistics" if not momentum.constant else "keeps only the last batch's"
                yield self.at(momentum, f"momentum={momentum.constant} {how}: PyTorch's is the weight of the new batch")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for call in script.calls:
            momentum = call.argument(None, "momentum")
            if momentum is not None and momentum.location == finding.location and momentum.constant:
                return Fix((edit.replace(momentum, f"{1 - float(momentum.constant):.3g}"),), safe=False)
        return None

    def _is_foreign(self, momentum: Value) -> bool:
        number = momentum.number
        return number is not None and (number == 0 or self.largest <= number < 1)


def _makes_norm(call: Value) -> bool:
    """Also a partial one."""
    partial = call.method == "partial" and bool(call.arguments) and call.arguments[0].name in NORMS
    return call.name in NORMS or partial
