"""ML168."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import tensors
from modellint.source.code import Function, Value
from modellint.source.pretrained import causal


class LabelsShiftedTwice(SourceRule):
    """The labels of a causal language model are shifted by hand, and the model shifts them once more.

    Why: the models of transformers compare the scores of position t with the label of position t + 1 by themselves. Labels
        that come shifted teach the model to predict the token after the next one, and the loss falls all the same.
    Fix: `model(ids, labels=ids)`, or take the logits and compute the loss of shifted targets yourself.
    Ignore: when the model's class computes its loss without a shift.
    Reported: https://github.com/huggingface/transformers/pull/44642, https://github.com/huggingface/transformers/issues/32944
    """

    code, severity, certain, topic = "ML168", Severity.ERROR, True, "sequences"
    words = tuple((given, name) for given in ("labels=", 'labels"] =') for name in ("ForCausalLM", "LMHead"))
    bad = (
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")

        def collate(rows):
            batch = tokenizer(rows, return_tensors="pt")
            labels = torch.roll(batch["input_ids"], -1, dims=1)
            batch["labels"] = labels
            return batch

        for batch in DataLoader(texts, 4, collate_fn=collate):
            model(**batch).loss.backward()
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for batch in loader:
            labels = batch["input_ids"].roll(-1, dims=1)
            model(input_ids=batch["input_ids"], labels=labels).loss.backward()
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2").to(device)
        for ids in loader:
            loss = model(ids[:, :-1], labels=ids[:, 1:]).loss
            loss.backward()
        """,
        """
        from transformers import GPT2LMHeadModel

        def train(batches, config):
            lm = GPT2LMHeadModel(config)
            for batch in batches:
                ids = batch["input_ids"]
                inputs, labels = ids[:, :-1].contiguous(), ids[:, 1:].contiguous()
                lm(input_ids=inputs, labels=labels).loss.backward()
        """,
    )
    good = (
        """
        from transformers import GPT2LMHeadModel

        lm = GPT2LMHeadModel.from_pretrained("gpt2")
        for batch in loader:
            labels = torch.roll(batch["input_ids"], 1, dims=1)
            outputs = lm(input_ids=batch["input_ids"])
            loss = F.cross_entropy(outputs.logits.flatten(0, 1), torch.roll(batch["input_ids"], -1, dims=1).flatten())
        """,
        """
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained("gpt2")
        for ids in loader:
            model(ids, labels=ids).loss.backward()
            logits = model(ids[:, :-1]).logits
            F.cross_entropy(logits.transpose(1, 2), ids[:, 1:]).backward()
        """,
        """
        from transformers import AutoModelForSeq2SeqLM

        model = AutoModelForSeq2SeqLM.from_pretrained("t5-small")
        for source, ids in loader:
            model(source, decoder_input_ids=ids[:, :-1], labels=ids[:, 1:]).loss.backward()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        names = causal(script)
        for function in script.functions if names else ():
            for at, event in enumerate(function.events):
                call = event.value if event.kind == "call" else None
                if call is not None and call.name in names and _is_shifted(function, call, at):
                    yield self.at(call, f"is given shifted labels, and `{call.name}` shifts them once more")
        given = next((call.name for call in script.calls if call.name in names and call.unpacks), "")
        for function in script.functions if given else ():
            for at, event in enumerate(function.events):
                if event.kind == "assign" and event.name.endswith("[labels]") and event.value is not None:
                    rolled = _rolled(tensors.made(function, event.value, at))
                    if rolled is not None and "input_ids" in str(rolled):
                        message = f"gives shifted labels, and `{given}` shifts them once more"
                        yield self.at(event.value, message, certain=False)  # they may be taken out again


def _is_shifted(function: Function, call: Value, at: int) -> bool:
    given, labels = call.argument(0, "input_ids"), call.argument(None, "labels")
    if given is None or labels is None:
        return False
    if (rolled := _rolled(tensors.made(function, labels, at))) is not None:
        return str(rolled) == str(tensors.made(function, given, at))
    ids = tensors.shifted(tensors.made(function, given, at), -1)
    targets = tensors.shifted(tensors.made(function, labels, at), 1)
    return ids is not None and targets is not None and str(ids) == str(targets)


def _rolled(labels: Value) -> Value | None:
    """What is rolled by one to the left: `ids.roll(-1, dims=1)`, `torch.roll(ids, -1, 1)`."""
    if labels.kind != "call" or labels.method != "roll":
        return None
    listed = labels.name.startswith("torch.")
    by = labels.argument(int(listed), "shifts")
    return (
        (labels.argument(0, "input") if listed else labels.receiver) if by is not None and by.constant == -1 else None
    )
