"""ML107."""

from __future__ import annotations

import math
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.measure import clipping
from modellint.measure.step import Clip
from modellint.measure.trajectory import explosions
from modellint.source import lookup
from modellint.source.facts import Act


def _run(bound: float, *norms: float) -> Run:
    return Run(
        tuple(Step(i, loss=2.0, gradient_norm=n, clips=(Clip(bound=bound, norm=n),)) for i, n in enumerate(norms))
    )


class ClipThreshold(SourceRule):
    """The bound of a gradient clip cannot do what a clip is for.

    Why: a bound that no gradient reaches protects from nothing; a bound of zero takes every gradient away; a bound a
        thousand times below the gradients makes every step the same length, whatever the loss says.
    Fix: choose `max_norm` near the gradient norm of calm steps; 0.1 to 10 is usual.
    Ignore: when an infinite bound is a way to log the norm and the result of the call is used (not reported).
    Thresholds: from `largest` = 1000 on a bound is suspected: in twelve public training repositories every bound that
        can be read lies between 0.25 and 10. A run confirms it when gradients exploded and never reached the bound,
        or when the median norm at the clip was `binding` = 1000 times the bound.
    Reported: https://github.com/jongwook/onsets-and-frames/issues/24, https://github.com/wandb/senpai/pull/978
    """

    code, severity, topic = "ML107", Severity.WARNING, "gradients"
    explains, twins = ("exploding-gradients",), ("clip-never-binds", "clip-without-effect")
    remedy = "clip"
    words = ("clip_grad", ".backward(")
    largest = 1000.0
    binding = 1000.0
    bad = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm=1e9)
            optimizer.step()
        """,
        """
        MAX_NORM = float("inf")
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0)
            optimizer.step()
        """,
    )
    good = (
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            norm = torch.nn.utils.clip_grad_norm_(model.parameters(), float("inf"))
            log(norm)
            optimizer.step()
        """,
        """
        clip = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            if clip > 0:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
        """,
        """
        def clipped(parameters, bound):
            norm = torch.nn.utils.get_total_norm([p.grad for p in parameters])
            if bound != float("inf"):
                torch.nn.utils.clip_grads_with_norm_(parameters, bound, norm)
            return norm

        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            log(clipped(list(model.parameters()), float("inf")))
            optimizer.step()
        """,
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 40.0)
            optimizer.step()
        """,
    )
    confirmed_by = (_run(1e9, 0.5, 0.6, 0.5, 9e4, 1e5), _run(1e-3, 5.0, 6.0, 5.0))
    not_confirmed_by = (_run(1e9, 0.5, 0.6, 0.5, 0.4), _run(1.0, 0.5, 0.6, 2.0))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for clip in (clip for loop in script.training_loops for clip in loop.clips):
            if not clip.bound:
                continue
            smallest = min(clip.bound)
            if max(clip.bound) <= 0 and not _is_asked(clip):
                yield self.at(clip, f"clips the gradients to {smallest:g}: nothing is left of them", certain=True)
            elif smallest == math.inf and not _is_asked(clip) and not _serves_otherwise(clip):
                yield self.at(clip, "clips the gradients to infinity, and nothing reads the norm", certain=True)
            elif self.largest <= smallest < math.inf:
                yield self.at(clip, f"clips the gradients to {smallest:g}, a bound that hardly any gradient reaches")

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        for _, clip in lookup.acts(script, finding):
            bound = clip.call.argument(1, "max_norm") or clip.call.argument(1, "clip_value")
            if bound is not None:
                return Fix((edit.replace(bound, "1.0"),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        seen = [(c.norm, c.bound) for _, c in clipping.calls(run, finding.location) if c.norm is not None]
        pairs = [(norm, bound) for norm, bound in seen if bound and math.isfinite(norm)]
        if not pairs:
            return None
        norms = sorted(norm for norm, _ in pairs)
        bound, typical, highest = pairs[0][1], norms[len(norms) // 2], norms[-1]
        series = tuple(norm for norm, _ in pairs)
        if typical > self.binding * bound:
            return Evidence("gradient norm at the clip, of the median step", typical, bound, series=series)
        holds = highest <= bound and any(explosions(run))
        return Evidence("gradient norm at the clip", highest, bound, holds=holds, series=series)


def _is_asked(clip: Act) -> bool:
    """Whether a branching around it may ask for the bound: `if max_norm != inf`."""
    given = clip.call.argument(1, "max_norm") or clip.call.argument(1, "clip_value")
    named = given is not None and given.kind in ("name", "attribute")
    return named and any(str(given) in test or "#" in test for test, _ in clip.branches)  # "#": not readable


def _serves_otherwise(clip: Act) -> bool:
    """Whether an infinite bound is a way to learn the norm, or to stop at one that is not finite."""
    return clip.kept or clip.call.argument(None, "error_if_nonfinite") is not None
