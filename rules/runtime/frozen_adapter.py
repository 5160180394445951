"""ML349."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Passed, Run, RuntimeRule, Severity, Step
from modellint.measure.cast import Parameter


def _adapter(path: str, *, trained: bool = False, zero: bool = True) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(path + name, (8, 8), requires_grad=trained, zero_initialised=zero and name == "lora_B")
        for name in ("lora_A", "lora_B")
    )


def _run(*adapters: Parameter) -> Run:
    return Run(steps=(Step(),), parameters=(*adapters, Parameter("head.weight", (4, 8), optimizer=0)))


_BIAS = Parameter("up.lora_B.bias", (8,), requires_grad=False, zero_initialised=True)
_EXPLORATION = Parameter("exploration.weight", (8, 8), requires_grad=False, zero_initialised=True)


class FrozenAdapter(RuntimeRule):
    """All LoRA matrices of the model are frozen, and at zero: the adapters add nothing and never learn.

    Why: the second matrix of a fresh adapter is zero, so that it begins without an effect. Frozen with the model that it was put
        into, it keeps none: only the head is trained, and the run looks like a fine-tuning.
    Fix: freeze the model before the adapters are put in, or set `requires_grad` of their parameters afterwards; compare their names
        with the pattern that chooses what is trained. Adapters of peft that are loaded need `is_trainable=True`.
    Ignore: where a head is trained first, and the adapters in a later stage.
    Thresholds: of the parameters of which a part of the name begins with `lora` none is trained, and each adapter, whose matrices
        have one path up to there, has a matrix that is all zeros. In an adapter that was trained and loaded a bias may be zero,
        and so may the matrix of a layer that was never used.
    Reported: https://github.com/huggingface/transformers/issues/26098, https://github.com/ai4colonoscopy/IntelliScope/issues/2
    """

    code, severity, topic = "ML349", Severity.WARNING, "structure"
    explains = ("loss-not-falling", "frozen-at-random")
    needs = "parameters of adapters, by their names"
    mark = "lora"
    bad = (_run(*_adapter("up.")), _run(*_adapter("up."), *_adapter("down.")))
    good = (
        _run(*_adapter("up.", trained=True)),
        _run(*_adapter("up.", zero=False), _BIAS),
        _run(*_adapter("up.", zero=False), *_adapter("down.")),
        _run(_EXPLORATION),
        Run(),
    )

    def check(self, run: Run) -> Iterator[Diagnostic | Passed]:
        marked = re.compile(rf"(?<![^\W_]){self.mark}", re.IGNORECASE)
        found = [(match.start(), each) for each in run.parameters if (match := marked.search(each.name))]
        silent = [(start, each) for start, each in found if each.zero_initialised and len(each.shape) > 1]
        if any(each.requires_grad for _, each in found):
            yield self.passed("the adapters are trained")
        elif silent and run.steps and _paths(silent) == _paths(found):
            first = silent[0][1]
            evidence = Evidence("matrices of adapters that are zero and frozen", len(silent), 0, unit="count")
            message = f"the adapters are frozen, and at zero, from `{first.name}` on"
            yield self.convict(first.location, message, evidence)


def _paths(found: list[tuple[int, Parameter]]) -> set[str]:
    """Of the adapters: the name of each parameter up to the mark."""
    return {each.name[:start] for start, each in found}
