"""ML176."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Optimizer, TrainingLoop
from modellint.source.prepared import bound_anew, owners

PARTED = frozenset(
    {
        "DistributedSampler",
        "split_dataset_by_node",
        "shard",
        "num_processes",
        "process_index",
        "split_between_processes",
    }
)  # words of those who give each process its part of the data themselves
WRAPS = ("enumerate", "tqdm", "iter", "track", "cycle")
ALL = ("prepare", "setup", "setup_dataloaders", "prepare_data_loader", "prepare_model", "prepare_optimizer")


class NotPrepared(SourceRule):
    """A part of the training was not given to the framework that prepares the rest of it.

    Why: a loader that `accelerator.prepare` has not seen gives every process all the data, in the same order if the seed is the
        same, and leaves it on the CPU. An optimizer that it has not seen steps gradients that are still scaled, and steps in the
        middle of an accumulation.
    Fix: give model, optimizer, loader and scheduler to `prepare` and go on with what it returns.
    Ignore: when each process is meant to see all the data.
    Reported: https://github.com/lucidrains/denoising-diffusion-pytorch/issues/69
    """

    code, severity, certain, topic = "ML176", Severity.WARNING, True, "distributed"
    words = (("Accelerator(", ".backward("), ("Fabric(", ".backward("))
    bad = (
        """
        from accelerate import Accelerator
        from torch.utils.data import DataLoader

        accelerator = Accelerator()
        loader = DataLoader(data, batch_size=32, shuffle=True)
        optimizer = torch.optim.AdamW(model.parameters())
        model, optimizer = accelerator.prepare(model, optimizer)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator(mixed_precision="fp16")
        optimizer = torch.optim.AdamW(model.parameters())
        model, loader = accelerator.prepare(model, loader)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        """,
    )
    good = (
        """
        accelerator = Accelerator()
        optimizer = torch.optim.Adam(model.parameters())
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        probe = nn.Linear(8, 2).to(accelerator.device)
        beside = torch.optim.Adam(probe.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            z = model(x)
            accelerator.backward(F.cross_entropy(z, y))
            optimizer.step()
            beside.zero_grad()
            F.cross_entropy(probe(z.detach()), y).backward()
            beside.step()
        """,
        """
        from accelerate import Accelerator
        from torch.utils.data import DataLoader

        accelerator = Accelerator()
        train_loader = DataLoader(data, batch_size=32, shuffle=True)
        test_loader = DataLoader(held_out, batch_size=32)
        model, optimizer, train_loader = accelerator.prepare(model, torch.optim.AdamW(model.parameters()), train_loader)
        for x, y in train_loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        for x, y in test_loader:
            print(model(x))
        """,
        """
        from accelerate import Accelerator
        from torch.utils.data import DataLoader, DistributedSampler

        accelerator = Accelerator()
        sampler = DistributedSampler(data, accelerator.num_processes, accelerator.process_index)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model, optimizer = accelerator.prepare(model, optimizer)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        """,
        """
        import deepspeed
        from torch.utils.data import DataLoader, RandomSampler
        from torch.utils.data.distributed import DistributedSampler

        sampler = RandomSampler(data) if args.local_rank == -1 else DistributedSampler(data)
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        model, optimizer, _, _ = deepspeed.initialize(model=model, optimizer=optimizer)
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            model.backward(loss)
            model.step()
        """,
        """
        from accelerate import Accelerator

        accelerator = Accelerator()
        parts = [model, optimizer, loader]
        model, optimizer, loader = accelerator.prepare(*parts)
        for x, y in loader:
            optimizer.zero_grad()
            accelerator.backward(F.cross_entropy(model(x), y))
            optimizer.step()
        """,
        """
        from accelerate import Accelerator
        from torch.utils.data import DataLoader

        accelerator = Accelerator()
        loader = accelerator.prepare(DataLoader(data, batch_size=32))
        model.to(accelerator.device)
        optimizer = torch.optim.AdamW(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        found = dict(owners(script)) if script.training_loops else {}
        if not found or any(
            argument.kind == "starred" for call in script.calls if call.method in ALL for argument in call.arguments
        ):
            return
        for loop in script.training_loops if len(found) == 1 else ():
            owner, held = next(iter(found.items()))
            function = lookup.function(script, loop.location)
            if (
                function is not None
                and any(act.owner for act in loop.of("backward"))
                and not bound_anew(script, function.name)
            ):
                yield from self._loader(script, function, loop, owner, held)
                yield from self._optimizer(script, loop, owner, held)

    def _loader(
        self, script: Script, function: Function, loop: TrainingLoop, owner: str, held: set[str]
    ) -> Iterator[Diagnostic]:
        over = _bare(loop.over[-1]) if loop.over else None
        made = tensors.bound(function, over.name) if over is not None and over.kind == "name" else None
        made = _returned(script, made) if made is not None else None
        stepped = any(str(step.call.receiver) in held for step in loop.steps)
        plain = (
            made is not None
            and made.kind == "call"
            and made.method == "DataLoader"
            and made.argument(None, "sampler") is None
            and made.argument(None, "batch_sampler") is None
            and script.attributes.isdisjoint(PARTED)
        )
        if over is not None and made is not None and plain and stepped and over.name not in held:
            message = (
                f"is not given to `{owner}`, which prepares the optimizer: every process goes through all the data"
            )
            yield self.at(made, message)

    def _optimizer(self, script: Script, loop: TrainingLoop, owner: str, held: set[str]) -> Iterator[Diagnostic]:
        called = any(origin.name in held for act in loop.of("backward") for origin in act.origins)
        for step in {step.subjects: step for step in loop.steps}.values():
            made = next((optimizer for optimizer in script.optimizers if optimizer.made(step)), None)
            named = step.call.receiver is not None and step.call.receiver.kind == "name"
            bare = named and str(step.call.receiver) not in held and not step.owner
            if made is not None and called and bare and not _of_others(made, held):
                yield self.at(made, f"is not given to `{owner}`, which prepares the model and makes its gradients")


def _returned(script: Script, made: Value) -> Value:
    """What a function of the file makes, alone or as one of several."""
    call = made.base if made.kind == "item" and made.base is not None else made
    helper = next((f for f in script.functions if f.name == call.name and f.kind == "function"), None)
    given = [e.value for e in helper.events if e.kind == "return" and e.value is not None] if helper is not None else []
    if len(given) != 1 or helper is None:
        return made
    at = made.arguments[0].constant if made.kind == "item" else None
    part = (
        given[0].arguments[at]
        if isinstance(at, int) and given[0].kind == "tuple" and at < len(given[0].arguments)
        else given[0]
    )
    return tensors.followed(helper, part)


def _of_others(made: Optimizer, held: set[str]) -> bool:
    """Whether it trains modules that are not prepared either: a probe beside the model."""
    given = made.call.argument(0, "params")
    parts = given.within() if given is not None else ()
    trained = {str(part.receiver) for part in parts if part.kind == "call" and part.method == "parameters"}
    return bool(trained) and trained.isdisjoint(held)


def _bare(value: Value | None) -> Value | None:
    while value is not None and value.kind == "call" and value.method in WRAPS and value.arguments:
        value = value.arguments[0]
    return value
