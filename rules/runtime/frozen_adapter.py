"""ML349."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Parameter


def _run(*, trained: bool = False, zero: bool = True) -> Run:
    first, second = (
        Parameter(f"up.{name}", (8, 8), requires_grad=trained, zero_initialised=zero and name == "lora_B")
        for name in ("lora_A", "lora_B")
    )
    return Run(steps=(Step(),), parameters=(first, second, Parameter("head.weight", (4, 8), optimizer=0)))


class FrozenAdapter(RuntimeRule):
    """All LoRA matrices of the model are frozen, and at zero: the adapters add nothing and never learn.

    Why: the second matrix of a fresh adapter is zero, so that it begins without an effect. Frozen with the model that it was put
        into, it keeps none: only the head is trained, and the run looks like a fine-tuning.
    Fix: freeze the model before the adapters are put in, or set `requires_grad` of their parameters afterwards; compare their names
        with the pattern that chooses what is trained. Adapters of peft that are loaded need `is_trainable=True`.
    Ignore: nothing known.
    Thresholds: of the parameters whose names hold `lora` none is trained, and at least one is all zeros.
    Reported: https://github.com/huggingface/transformers/issues/26098, https://github.com/ai4colonoscopy/IntelliScope/issues/2
    """

    code, severity, topic = "ML349", Severity.WARNING, "structure"
    explains = ("loss-not-falling", "frozen-at-random")
    needs = "parameters of adapters, by their names"
    mark = "lora"
    bad = _run()
    good = (_run(trained=True), _run(zero=False), Run())

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        adapters = [each for each in run.parameters if self.mark in each.name.lower()]
        silent = [each for each in adapters if each.zero_initialised]
        if any(each.requires_grad for each in adapters):
            yield self.passed("the adapters are trained")
        elif silent and run.steps:
            evidence = Evidence("matrices of adapters that are zero and frozen", len(silent), 0, unit="count")
            message = f"the adapters are frozen, and at zero, from `{silent[0].name}` on"
            yield self.convict(silent[0].location, message, evidence)
