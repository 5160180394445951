"""ML404."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.diagnostic import Location
from modellint.source import lookup
from modellint.source.code import Event, Function, Value

SEEDS = frozenset(
    "torch.manual_seed torch.cuda.manual_seed torch.cuda.manual_seed_all torch.random.manual_seed numpy.random.seed random.seed "
    "transformers.set_seed accelerate.utils.set_seed lightning.seed_everything pytorch_lightning.seed_everything "
    "lightning.pytorch.seed_everything".split()
)
BACK = frozenset({"load_state_dict", "set_rng_state", "set_state", "setstate"})
OWN = frozenset({"set_seed", "seed_everything", "set_random_seed", "fix_seed", "setup_seed", "seed_torch"})


class SeedInTheLoop(SourceRule):
    """The random numbers begin anew in every pass of the training: each epoch or step draws what the one before drew.

    Why: with one seed set in each epoch the loader shuffles into the same order, each sample meets the same augmentation, the
        same units are dropped. Set in each step, every batch has the same noise. The training looks reproducible, and has
        lost its randomness.
    Fix: set the seed once, before the training; where each epoch needs its own, `seed + epoch`.
    Ignore: where each pass is an experiment of its own.
    Reported: https://github.com/k2-fsa/icefall/pull/221, https://github.com/EleutherAI/bergson/pull/352
    """

    code, severity, certain, topic = "ML404", Severity.WARNING, True, "data"
    words = tuple(
        (word, goes)
        for goes in (".backward(", "manual_backward(")
        for word in ("seed(", "seed_all(", "seed_everything(", "set_seed(")
    )
    bad = (
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            torch.manual_seed(0)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        import numpy as np
        import torch.nn.functional as F

        def train(model, loader, optimizer, args):
            for epoch in range(args.epochs):
                for x, y in loader:
                    np.random.seed(args.seed)
                    optimizer.zero_grad()
                    F.mse_loss(model(x + np.random.randn()), y).backward()
                    optimizer.step()
        """,
    )
    good = (
        """
        for rate in (0.1, 0.03, 0.01):
            torch.manual_seed(0)  # the same batches for each of them
            model.load_state_dict(start)
            optimizer.param_groups[0]["lr"] = rate
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        for epoch in range(20):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            state = torch.get_rng_state()
            torch.manual_seed(0)
            evaluate(model, noise=torch.randn(8))
            torch.set_rng_state(state)
        """,
        """
        torch.manual_seed(0)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            torch.manual_seed(1000 + epoch)
            for step, (x, y) in enumerate(loader):
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
                if step % 100 == 0:
                    torch.manual_seed(0)  # the same samples each time, to be looked at
                    show(model)
        """,
        """
        for fold in range(5):
            torch.manual_seed(0)  # each begins alike
            model = nn.Linear(4, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for x, y in parts[fold]:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for epoch in range(10):
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
            with torch.random.fork_rng():
                torch.manual_seed(0)
                show(model)
        """,
        """
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for seed in (1, 2, 3):
            torch.manual_seed(seed)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        def train(lr):
            model = nn.Linear(4, 2)
            optimizer = torch.optim.SGD(model.parameters(), lr=lr)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()

        for lr in (0.1, 0.01):
            torch.manual_seed(0)
            train(lr)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                call = event.value if event.kind == "call" else None
                if call is None or not (call.name in SEEDS or call.name in OWN):
                    continue
                loop = _loop(function, event)
                if loop is None or _comes_back(function, loop):
                    continue
                if _is_one(call, function, loop) and _is_pass(script, loop):
                    yield self.at(
                        call, f"sets the seed to `{call.arguments[0]}` in every pass of the loop of line {loop.line}"
                    )


def _is_pass(script: Script, place: Location) -> bool:
    """Whether it is a loop over epochs or batches, in which no optimizer is made anew."""
    loops = (loop for loop in script.training_loops if place in loop.places[-2:])
    stepped = ([subject for step in loop.steps for subject in step.subjects] for loop in loops)
    return any(not any(lookup.made_anew(script, s, place) for s in subjects) for subjects in stepped)


def _comes_back(function: Function, loop: Location) -> bool:
    """Whether each pass gives weights or random numbers back: it begins anew, or goes on as if nothing had been drawn."""
    return any(call.method in BACK and _within(call.location, loop) for call in function.calls)


def _loop(function: Function, event: Event) -> Location | None:
    """The loop in each of whose passes it is done."""
    block = function.blocks[event.block]
    return block.location if block.kind in ("for", "while") else None


def _within(place: Location, loop: Location) -> bool:
    """Whether something is made anew in each pass."""
    return place.path == loop.path and (loop.line or 0) <= (place.line or 0) <= (loop.end_line or 0)


def _is_one(call: Value, function: Function, loop: Location) -> bool:
    """Whether the seed is the same in each pass: a number, or a name that nothing binds in the loop."""
    if len(call.arguments) != 1 or call.keywords:
        return False
    seed = call.arguments[0]
    if seed.kind == "constant":
        return seed.constant is not None
    bound = {e.name for e in function.events if e.kind in ("assign", "augment") and _within(e.location, loop)}
    return seed.kind == "name" and seed.name not in bound and seed.name.partition(".")[0] not in bound
