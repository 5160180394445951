"""ML177."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Function, Value

ARGUMENTS = ("TrainingArguments", "Seq2SeqTrainingArguments")
TRAINERS = ("Trainer", "Seq2SeqTrainer")
# What every evaluation reports besides.
ALWAYS = frozenset({"loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time"})


class TrainerMetricMissing(SourceRule):
    """The Trainer is to keep the best model by a metric that its evaluation does not report.

    Why: the name is only looked up when the first checkpoint is written: the run fails with a KeyError after the first epoch
        (or after `save_steps`), and nothing of it is kept.
    Fix: return the metric from `compute_metrics` by the name that `metric_for_best_model` asks for.
    Ignore: when a subclass of the Trainer adds the metric.
    Reported: https://github.com/huggingface/transformers/issues/40217,
        https://github.com/huggingface/transformers/issues/21659
    """

    code, severity, certain, topic = "ML177", Severity.ERROR, True, "evaluation"
    calls = ARGUMENTS
    words = ("metric_for_best_model",)
    bad = (
        """
        from transformers import Trainer, TrainingArguments

        def compute_metrics(prediction):
            scores, labels = prediction
            return {"accuracy": (scores.argmax(-1) == labels).mean(), "macro_f1": f1_score(labels, scores.argmax(-1))}

        args = TrainingArguments("out", eval_strategy="epoch", save_strategy="epoch", metric_for_best_model="f1")
        Trainer(model, args, train_dataset=data, eval_dataset=held_out, compute_metrics=compute_metrics).train()
        """,
        """
        from transformers import Trainer, TrainingArguments

        args = TrainingArguments("out", load_best_model_at_end=True, metric_for_best_model="accuracy")
        trainer = Trainer(model=model, args=args, train_dataset=data, eval_dataset=held_out)
        trainer.train()
        """,
    )
    good = (
        """
        from transformers import Trainer, TrainingArguments

        def compute_metrics(prediction):
            scores, labels = prediction
            return {"accuracy": (scores.argmax(-1) == labels).mean()}

        args = TrainingArguments("out", eval_strategy="epoch", save_strategy="epoch", metric_for_best_model="eval_accuracy")
        Trainer(model, args, train_dataset=data, eval_dataset=held_out, compute_metrics=compute_metrics).train()
        """,
        """
        from transformers import Trainer, TrainingArguments

        def compute_metrics(prediction):
            return metric.compute(predictions=prediction.predictions.argmax(-1), references=prediction.label_ids)

        args = TrainingArguments("out", metric_for_best_model="f1")
        Trainer(model, args, compute_metrics=compute_metrics).train()
        """,
        """
        from transformers import Trainer, TrainingArguments

        args = TrainingArguments("out", load_best_model_at_end=True, metric_for_best_model="loss")
        Trainer(model, args, train_dataset=data, eval_dataset=held_out).train()
        """,
        """
        from transformers import Trainer, TrainingArguments

        class Scoring(Trainer):
            def evaluate(self, *args, **kwargs):
                return {"eval_accuracy": score(self.model)}

        args = TrainingArguments("out", metric_for_best_model="accuracy")
        Scoring(model, args, train_dataset=data).train()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        reported = _reported(script)
        for call in script.calls if reported is not None else ():
            given = call.argument(None, "metric_for_best_model") if call.method in ARGUMENTS else None
            name = given.constant if given is not None else None
            if isinstance(name, str) and reported is not None and name.removeprefix("eval_") not in reported:
                listed = ", ".join(sorted(reported - ALWAYS)) or "only the loss"
                yield self.at(call, f"keeps the best model by `{name}`, and the evaluation reports {listed}")


def _reported(script: Script) -> frozenset[str] | None:
    """The metrics of the file's one Trainer; None if they cannot be read."""
    trainers = [call for call in script.calls if call.name.startswith("transformers.") and call.method in TRAINERS]
    if (
        len(trainers) != 1
        or trainers[0].unpacks
        or any(base.method.endswith("Trainer") for c in script.classes for base in c.bases)
    ):
        return None
    if (
        any(call.method == "add_callback" for call in script.calls)
        or trainers[0].argument(None, "callbacks") is not None
    ):
        return None
    given = trainers[0].argument(None, "compute_metrics")
    if given is None:
        return ALWAYS if len(trainers[0].arguments) <= 2 else None
    function = next((f for f in script.functions if given.kind == "name" and f.name == given.name), None)
    returned = list(_returned(function)) if function is not None else []
    keys = [_keys(value) for value in returned]
    known = [found for found in keys if found is not None]
    return ALWAYS.union(*known) if known and len(known) == len(keys) else None


def _returned(function: Function) -> Iterator[Value]:
    yield from (event.value for event in function.events if event.kind == "return" and event.value is not None)


def _keys(value: Value) -> frozenset[str] | None:
    """The keys of a dict whose keys are all written out."""
    written = value.kind == "dict" and not value.arguments and all(key != "**" for key, _ in value.keywords)
    return frozenset(key.removeprefix("eval_") for key, _ in value.keywords) if written else None
