"""ML468."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function

RATIO = pattern(r"(use_)?(teacher_?forcing|tf)(_?(ratio|rate|prob|p))?|teacher_?forc\w*")
MODEL = pattern(r"(self\.)?(\w+_)?(model|net|network|seq2seq|s2s)", re.IGNORECASE)


class TeacherForcingInEvaluation(SourceRule):
    """The evaluation leaves teacher forcing on: the decoder is shown the right answer for part of the steps.

    Why: with the default of the training, half of the tokens that the decoder goes on from are those of the target. The loss and
        the accuracy are better than they will ever be when the model has to go on from what it said itself, and as the choice is
        random they differ from one evaluation to the next.
    Fix: call the model with a ratio of 0, or ask `self.training` where the choice is made.
    Ignore: where the likelihood of the targets is what is measured: then give a ratio of 1.
    Reported: https://github.com/keon/seq2seq/issues/8, https://github.com/facebookresearch/grounded-video-description/issues/19
    """

    code, severity, certain, topic = "ML468", Severity.WARNING, True, "evaluation"
    words = (("teacher_forc", "no_grad"), ("teacher_forc", "eval()"), ("teacher_forc", "inference_mode"))
    bad = """
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                hidden, token, outputs = self.encoder(src), trg[0], []
                for t in range(1, len(trg)):
                    output, hidden = self.decoder(token, hidden)
                    outputs.append(output)
                    token = trg[t] if random.random() < teacher_forcing_ratio else output.argmax(1)
                return torch.stack(outputs)

        def evaluate(model, loader, criterion):
            model.eval()
            with torch.no_grad():
                for src, trg in loader:
                    total = criterion(model(src, trg).flatten(0, 1), trg[1:].flatten())
    """
    good = (
        """
        import random
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                if not torch.is_grad_enabled():
                    teacher_forcing_ratio = 0.0
                return self.decode(self.encoder(src), trg, teacher_forcing_ratio)
        def evaluate(model, loader, criterion):
            model.eval()
            with torch.no_grad():
                for src, trg in loader:
                    total = criterion(model(src, trg).flatten(0, 1), trg[1:].flatten())
        """,
        """
        import random
        class Decoder(nn.Module):
            def forward(self, state, trg, teacher_forcing_ratio):
                outs = []
                for t in range(trg.size(1)):
                    force = self.training and random.random() < teacher_forcing_ratio
                    outs.append(state)
                return torch.stack(outs)
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                return self.decoder(self.encoder(src), trg, teacher_forcing_ratio)
        def evaluate(model, loader, criterion):
            model.eval()
            with torch.no_grad():
                for src, trg in loader:
                    total = criterion(model(src, trg).flatten(0, 1), trg[1:].flatten())
        """,
        """
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                return self.decode(self.encoder(src), trg, teacher_forcing_ratio)

        def evaluate(model, loader, criterion):
            model.eval()
            with torch.no_grad():
                for src, trg in loader:
                    total = criterion(model(src, trg, 0).flatten(0, 1), trg[1:].flatten())
        """,
        """
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                ratio = teacher_forcing_ratio if self.training else 0.0
                return self.decode(self.encoder(src), trg, ratio)

        def evaluate(model, loader, criterion):
            model.eval()
            with torch.no_grad():
                for src, trg in loader:
                    total = criterion(model(src, trg).flatten(0, 1), trg[1:].flatten())
        """,
        """
        class Seq2Seq(nn.Module):
            def forward(self, src, trg, teacher_forcing_ratio=0.5):
                return self.decode(self.encoder(src), trg, teacher_forcing_ratio)

        def train(model, loader, criterion, optimizer):
            for src, trg in loader:
                optimizer.zero_grad()
                criterion(model(src, trg).flatten(0, 1), trg[1:].flatten()).backward()
                optimizer.step()

        def evaluate(model, loader):
            with torch.no_grad():
                return [model(src, None) for src, trg in loader]
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        forced = [found for f in script.functions if f.name.endswith(".forward") and (found := _forced(f)) is not None]
        if not forced or "is_grad_enabled" in script.called or any(map(_asks, script.functions)):
            return  # the decoder itself, or a helper
        for place, name, ratio in forced if len(forced) == 1 else ():
            for call in (evaluation.call for evaluation in script.evaluations):
                target = call.arguments[-1] if len(call.arguments) == place and not call.unpacks else None
                shown = target is not None and target.kind != "constant" and call.argument(None, name) is None
                if shown and MODEL.fullmatch(call.name):
                    yield self.at(call, f"leaves `{name}` at {ratio:g}: the decoder is shown what it is to say")


def _asks(function: Function) -> bool:
    """Whether the mode is asked for."""
    values = (*(e.value for e in function.events), *(block.value for block in function.blocks))
    return any(part.name == "self.training" for value in values if value is not None for part in value.within())


def _forced(forward: Function) -> tuple[int, str, float] | None:
    """The place, the name and the default of the share of forced steps."""
    for place, parameter in enumerate(forward.parameters[1:]):
        ratio = parameter.default.constant if parameter.default is not None else None
        if RATIO.fullmatch(parameter.name) and isinstance(ratio, float) and 0 < ratio < 1 and place:
            return place, parameter.name, ratio
    return None
