"""ML192."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Value


class Setting(NamedTuple):
    """What options of some names are meant for: an argument of some calls."""

    names: re.Pattern[str]
    calls: re.Pattern[str]  # their full names
    keyword: str
    position: int | None = None


OPTIM = pattern(rb"optim(?<!\woptim)(?!\w)")
OPTIMIZERS = r"torch\.optim\.[A-Z]\w+"
SETTINGS = (
    Setting(pattern(r"(base_|init_|initial_)?(lr|learning_rate)"), pattern(OPTIMIZERS), "lr", 1),
    Setting(pattern(r"weight_?decay|wd"), pattern(OPTIMIZERS), "weight_decay"),
    Setting(pattern(r"momentum"), pattern(r"torch\.optim\.SGD"), "momentum", 2),
    Setting(pattern(r"label_?smoothing"), pattern(r"torch\.nn\.CrossEntropyLoss"), "label_smoothing"),
    Setting(pattern(r"(train_)?batch_?size|bs"), pattern(r"torch\.utils\.data\.DataLoader"), "batch_size", 1),
    Setting(pattern(r"drop_?out(_?(p|rate|prob))?"), pattern(r"torch\.nn\.Dropout\w*"), "p", 0),
    Setting(
        pattern(r"max_?(grad_?)?norm|(grad(ient)?_?)?clip(ping)?(_?(grad(ient)?|norm))*"),
        pattern(r"torch\.nn\.utils\.clip_grad_norm_"),
        "max_norm",
        1,
    ),
    Setting(pattern(r"(random_|manual_)?seed"), pattern(r"torch\.manual_seed"), "seed", 0),
)


class UnreadOption(SourceRule):
    """An option of the command line is parsed, nothing reads it, and the call that it is meant for has a value of its own.

    Why: every run trains with the fixed value, whatever is asked for: a search over the option compares equal runs, and
        the table that comes of it is noise.
    Fix: give the call the option, or delete the option.
    Ignore: hardly ever. Options that are handed on as a whole, to where it cannot be seen which are read, are not reported.
    Reported: https://github.com/facebookresearch/ParlAI/issues/1084
    """

    code, severity, certain, topic = "ML192", Severity.WARNING, True, "configuration"
    words = (("add_argument", OPTIM), ("add_argument", "DataLoader"), ("add_argument", "manual_seed"))
    bad = (
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--lr", type=float, default=1e-3)
        parser.add_argument("--weight-decay", type=float, default=1e-2)
        args = parser.parse_args()
        optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
        """,
        """
        def options():
            parser = argparse.ArgumentParser()
            parser.add_argument("--batch_size", "-b", type=int, default=64)
            parser.add_argument("--epochs", type=int, default=10)
            return parser.parse_args()

        def main():
            opt = options()
            loader = torch.utils.data.DataLoader(data, batch_size=32, shuffle=True)
            for epoch in range(opt.epochs):
                train(loader)
        """,
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--seed", type=int, default=0)
        args = parser.parse_args()
        torch.manual_seed(42)
        """,
    )
    good = (
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--weight-decay", type=float, default=1e-2)
        args = parser.parse_args()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=args.weight_decay)
        """,
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--weight-decay", type=float, default=1e-2)
        args = parser.parse_args()
        train(args)  # it is not seen what is read there
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        """,
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--batch-size", type=int, default=64)
        args = parser.parse_args()
        train_loader = torch.utils.data.DataLoader(data, batch_size=getattr(args, "batch_size"), shuffle=True)
        test_loader = torch.utils.data.DataLoader(held_out, batch_size=1)
        """,
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--dropout", type=float, default=0.1)
        args = parser.parse_args()
        model = Net()  # that may be an option of something that is not there any more
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for option in script.options:
            setting = next((setting for setting in SETTINGS if setting.names.fullmatch(option.name)), None)
            if setting is not None and not option.used and option.location.path == script.path:
                calls = [call for call in script.calls if setting.calls.fullmatch(call.name)]
                own = [_given(call, setting) for call in calls]
                if calls and all(own):
                    message = f"parses `{option.name}`, and nothing reads it: the {calls[0].method} of line"
                    yield self.at(option, f"{message} {calls[0].location.line} has {own[0]}")


def _given(call: Value, setting: Setting) -> str:
    """What a call has in place of the option, in words; empty if that is not known."""
    value = call.argument(setting.position, setting.keyword)
    if call.unpacks or (value is None and setting.position is None and len(call.arguments) > 2):
        return ""
    if value is not None:
        return str(value) if value.kind == "constant" else ""
    return "its default" if setting.keyword != "seed" else ""
