"""ML405."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source.code import Value


class BoolOption(SourceRule):
    """An option of the command line is of `type=bool`: whatever is given, `False` too, makes it true.

    Why: argparse calls `bool("False")`, and every text but the empty one is true. `--amp False` or `--pretrained False` runs
        the training with what it was to do without, and no log shows it.
    Fix: `action=argparse.BooleanOptionalAction` (`--amp`, `--no-amp`), or a function that reads the text.
    Ignore: never; it is a note, because a run that does not name the option is not hurt. 80 such options were found in 60 public
        repositories.
    Reported: https://github.com/ACEsuit/mace/issues/429, https://github.com/jakezhaojb/ARAE/issues/13,
        https://github.com/LeeDoYup/FixMatch-pytorch/issues/13
    """

    code, severity, certain, topic = "ML405", Severity.NOTE, True, "structure"
    words = (("add_argument", "type=bool", "torch"),)
    bad = (
        """
        import argparse
        import torch

        parser = argparse.ArgumentParser()
        parser.add_argument("--amp", type=bool, default=True)
        args = parser.parse_args()
        scaler = torch.amp.GradScaler(enabled=args.amp)
        """,
    )
    good = (
        """
        import argparse
        import torch

        parser = argparse.ArgumentParser()
        parser.add_argument("--amp", type=int, choices=(0, 1), default=1)
        scaler = torch.amp.GradScaler(enabled=bool(parser.parse_args().amp))
        """,
        """
        import argparse
        import torch

        def bool_of(text):
            return text.lower() in ("1", "true", "yes")

        parser = argparse.ArgumentParser()
        parser.add_argument("--amp", type=bool_of, default=True)
        args = parser.parse_args()
        scaler = torch.amp.GradScaler(enabled=args.amp)
        """,
        """
        import argparse
        import torch

        parser = argparse.ArgumentParser()
        parser.add_argument("--compile", action=argparse.BooleanOptionalAction, type=bool)
        parser.add_argument("--half", action="store_true")
        args = parser.parse_args()
        scaler = torch.amp.GradScaler(enabled=args.amp)
        """,
        """
        import argparse
        import torch

        parser = argparse.ArgumentParser()
        parser.add_argument("--amp", type=bool, nargs="?", const=True, choices=[True])  # there is no other value
        args = parser.parse_args()
        scaler = torch.amp.GradScaler(enabled=args.half)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for option in script.options:
            given = option.call.argument(None, "type")
            if option.used and given is not None and given.name == "bool" and not _is_switch(option.call):
                yield self.at(
                    given, f"`--{option.name} False` sets `{option.name}` to True: any text is true to `bool`"
                )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for option in script.options:
            given = option.call.argument(None, "type")
            if given is not None and given.location == finding.location:
                return Fix((edit.replace(given, 'lambda text: text.lower() in ("1", "true", "yes")'),), safe=False)
        return None


def _is_switch(call: Value) -> bool:
    """Whether no text comes to `bool`, or only what is true."""
    return call.argument(None, "action") is not None or call.argument(None, "choices") is not None
