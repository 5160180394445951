"""ML146."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Class, Function

COUNT = "num_items_in_batch"
# Names that came with the releases of transformers that give it, or shortly before.
PRESENT = frozenset({"processing_class", "eval_strategy", "compute_loss_func", "model_accepts_loss_kwargs", COUNT})


class ComputeLossSignature(SourceRule):
    """A `compute_loss` of a Trainer's subclass does not take the `num_items_in_batch` that the Trainer gives it.

    Why: since release 4.46 of transformers the Trainer tells how many labels the accumulated batches hold. A method without that
        parameter fails with a TypeError in the first step.
    Fix: `def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None)`, or take `**kwargs`.
    Ignore: when an older release of transformers is installed; it is only suspected where nothing in the file is newer.
    Reported: https://github.com/huggingface/transformers/issues/36331
    """

    code, severity, certain, topic = "ML146", Severity.ERROR, True, "gradients"
    words = (("def compute_loss", "Trainer", "transformers"),)
    bad = (
        """
        from transformers import Trainer, TrainingArguments

        class Weighted(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False):
                labels = inputs.pop("labels")
                outputs = model(**inputs)
                loss = F.cross_entropy(outputs.logits, labels, weight=self.weights)
                return (loss, outputs) if return_outputs else loss

        args = TrainingArguments("out", eval_strategy="epoch")
        """,
        """
        import transformers

        class Weighted(transformers.Trainer):
            def compute_loss(self, model, inputs, return_outputs=False):
                return F.cross_entropy(model(inputs["x"]), inputs["y"])
        """,
    )
    good = (
        """
        from transformers import Trainer, TrainingArguments

        class Weighted(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
                return F.cross_entropy(model(inputs["x"]), inputs["y"])

        args = TrainingArguments("out", eval_strategy="epoch")
        """,
        """
        from transformers import Trainer

        class Weighted(Trainer):
            def compute_loss(self, model, inputs, *args, **kwargs):
                return F.cross_entropy(model(inputs["x"]), inputs["y"])
        """,
        """
        from transformers import AutoModel
        from engine import Trainer

        class Own(Trainer):  # not that of transformers
            def compute_loss(self, model, inputs):
                return F.cross_entropy(model(inputs["x"]), inputs["y"])
        """,
        """
        from transformers import Trainer

        class Weighted(Trainer):
            def compute_loss(self, model, inputs, return_outputs=False):
                return F.cross_entropy(model(inputs["x"]), inputs["y"])

            def training_step(self, model, inputs, num_items_in_batch=None):
                loss = self.compute_loss(model, inputs)
                self.accelerator.backward(loss)
                return loss.detach()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        owners = {class_.name for class_ in script.classes if _is_trainer(class_)}
        own = [function for function in script.functions if function.owner in owners]
        steps = {function.owner for function in own if function.name.endswith(".training_step")}
        for function in own:
            if function.name.endswith(".compute_loss") and function.owner not in steps and not _takes(function):
                present = not (script.attributes | _parameters(script)).isdisjoint(PRESENT)
                yield self.at(function, f"does not take `{COUNT}`, which the Trainer gives it", certain=present)


def _is_trainer(class_: Class) -> bool:
    return any(base.name.startswith("transformers.") and base.method.endswith("Trainer") for base in class_.bases)


def _takes(function: Function) -> bool:
    return any(parameter.name == COUNT or parameter.name.startswith("**") for parameter in function.parameters)


def _parameters(script: Script) -> frozenset[str]:
    """The names of all keyword arguments that the file gives."""
    return frozenset(name for call in script.calls for name, _ in call.keywords)
