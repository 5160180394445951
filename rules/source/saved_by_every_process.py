"""ML174."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Event, Function, Value
from modellint.source.prepared import PREPARES, PREPARING

GUARD = pattern(
    r"rank|main|master|primary|leader|zero|gpu|local|proc|world|dist|chief|saver|coordinator", re.IGNORECASE
)
# Where each process holds a part of the model, or a framework decides, all of them may have to save.
OTHERS = pattern(
    r"FullyShardedDataParallel|FSDP|fully_shard|deepspeed|accelerate|lightning|checkpoint_wrapper|DTensor|ZeroRedundancy"
)
WRAPPERS = ("DistributedDataParallel", "DDP")
DEEPEST = 5  # callers of callers
STARTS = ("init_process_group",)


class SavedByEveryProcess(SourceRule):
    """Every process of a distributed training saves the checkpoint to the same file.

    Why: the processes write over each other: the file is corrupt now and then (`storage has wrong size`, `invalid header`),
        and the file system carries the checkpoint once per GPU.
    Fix: save on one process alone, `if dist.get_rank() == 0:`, and let the others wait at a barrier before they load it.
    Ignore: when the path tells the processes apart in a way that is not seen here.
    Reported: https://github.com/bytedance/ibot/issues/15, https://github.com/NVIDIA/apex/issues/629,
        https://github.com/cybertronai/imagenet18_old/issues/16
    """

    code, severity, certain, topic = "ML174", Severity.WARNING, True, "distributed"
    calls = ("save",)
    words = (
        ("init_process_group", "torch.save(", "DistributedDataParallel"),
        ("init_process_group", "torch.save(", "DDP("),
        ("Accelerator(", "torch.save("),
        ("Fabric(", "torch.save("),
    )
    bad = (
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        def main(rank, world):
            dist.init_process_group("nccl", rank=rank, world_size=world)
            model = DDP(Net().to(rank), device_ids=[rank])
            for epoch in range(10):
                train(model)
                torch.save(model.module.state_dict(), f"epoch{epoch}.pt")
        """,
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        class Trainer:
            def __init__(self, model, rank, path):
                dist.init_process_group("nccl")
                self.rank, self.path = rank, path
                self.model = DDP(model.to(rank), device_ids=[rank])

            def save(self, epoch):
                torch.save({"model": self.model.module.state_dict(), "epoch": epoch}, self.path)

            def fit(self, epochs):
                for epoch in range(epochs):
                    self.train(epoch)
                    if self.rank == 0:
                        print(epoch)
                    if epoch % 10 == 0:
                        self.save(epoch)

        Trainer(Net(), get_rank(), "last.pt").fit(10)
        """,
        """
        import torch
        from accelerate import Accelerator

        def main(model, optimizer, loader):
            accelerator = Accelerator()
            model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
            for x, y in loader:
                optimizer.zero_grad()
                accelerator.backward(F.cross_entropy(model(x), y))
                optimizer.step()
            torch.save(accelerator.unwrap_model(model).state_dict(), "last.pt")
        """,
    )
    good = (
        """
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        dist.init_process_group("nccl")
        rank = dist.get_rank()
        model = DDP(nn.Linear(8, 2).cuda())
        train(model)
        rank == 0 and torch.save(model.module.state_dict(), "last.pt")
        """,
        """
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        def main():
            dist.init_process_group("nccl")
            os.chdir(f"run/{dist.get_rank()}")
            model = DDP(nn.Linear(8, 2).cuda())
            train(model)
            torch.save(model.module.state_dict(), "last.pt")
        """,
        """
        import torch
        from accelerate import Accelerator

        def main(model, optimizer, loader):
            accelerator = Accelerator()
            model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
            fit(accelerator, model, optimizer, loader)
            accelerator.save(model.state_dict(), "weights.pt")
            if accelerator.is_main_process:
                torch.save(accelerator.unwrap_model(model).state_dict(), "last.pt")
        """,
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        class Trainer:
            def __init__(self, model, rank, path):
                dist.init_process_group("nccl")
                self.rank, self.path, self.own = rank, path, f"{path}.{rank}"
                self.model = DDP(model.to(rank), device_ids=[rank])

            def save(self, epoch):
                torch.save({"model": self.model.module.state_dict(), "epoch": epoch}, self.path)

            def save_random(self):
                torch.save(torch.get_rng_state(), self.own)

            def last(self):
                if dist.get_rank() != 0:
                    return
                torch.save(self.model.module, self.path)

            def export(self):
                torch.save(self.model.module, self.path)

            def fit(self, epochs):
                for epoch in range(epochs):
                    self.train(epoch)
                    if self.rank == 0 and epoch % 10 == 0:
                        self.save(epoch)
                self.save_random()
                self.last()

        Trainer(Net(), get_rank(), "last.pt").fit(10)
        """,
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        def main(rank, world):
            dist.init_process_group("nccl", rank=rank, world_size=world)
            model = DDP(Net().to(rank), device_ids=[rank])
            for epoch in range(10):
                train(model)
                if rank == 0:
                    torch.save(model.module.state_dict(), "last.pt")
        """,
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        def save(model, path):
            torch.save(model.state_dict(), path)

        def main(rank, world):
            dist.init_process_group("nccl", rank=rank, world_size=world)
            model = DDP(Net().to(rank), device_ids=[rank])
            train(model)
            torch.save(optimizer.state_dict(), f"optimizer_{rank}.pt")
            if rank != 0:
                return
            save(model, "last.pt")
            torch.save(model.module.state_dict(), "copy.pt")
        """,
        """
        import torch
        import torch.distributed as dist
        from torch.nn.parallel import DistributedDataParallel as DDP

        def main(args):
            if args.distributed:
                dist.init_process_group("nccl")
                model = DDP(Net())
            is_best = train(model)
            if is_main_process() and is_best:
                torch.save(model.state_dict(), args.path)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        yield from self._prepared(script)
        names = (*script.imports.values(), *script.attributes)
        if "chdir" in script.called or any(OTHERS.search(name) for name in names):
            return
        for function in script.functions:
            calls = list(function.calls)
            starts = [c for c in calls if c.method in WRAPPERS or c.method in STARTS]
            guards = _guards(function)
            if starts and any(call.method in WRAPPERS for call in script.calls):
                for event in function.events:
                    if (
                        event.kind == "call"
                        and event.value is not None
                        and event.value.name == "torch.save"
                        and _same(function, event)
                        and not (guards and _is_guarded(function, event.block))
                    ):
                        yield self.at(event.value, "saves to one file from every process", certain=not guards)
        yield from self._methods(script)

    def _prepared(self, script: Script) -> Iterator[Diagnostic]:
        """What a function saves past the framework that it prepares its model with, without asking for the process."""
        for function in script.functions if script.called.isdisjoint(WRAPPERS) else ():
            owners = {e.name for e in function.events if e.kind == "assign" and e.value and e.value.method in PREPARES}
            prepares = any(c.method in PREPARING and str(c.receiver) in owners for c in function.calls if owners)
            for event in function.events if prepares and not _guards(function) else ():
                call = event.value if event.kind == "call" else None
                if call is not None and call.name == "torch.save" and _same(function, event):
                    yield self.at(call, "saves to one file from every process", certain=False)

    def _methods(self, script: Script) -> Iterator[Diagnostic]:
        """What the methods of a class save that wraps its model, where no way that leads there asks for the process."""
        owners = {f.owner for f in script.functions if f.owner and any(c.method in WRAPPERS for c in f.calls)}
        for function in (f for f in script.functions if f.owner in owners and "." in f.name):
            if any(call.method in (*WRAPPERS, *STARTS) for call in function.calls):
                continue
            for event in function.events:
                call = event.value if event.kind == "call" else None
                shared = call is not None and call.name == "torch.save" and _same(function, event)
                shared = call is not None and shared and _is_for_all(script, function, call)
                if call is not None and shared and _leads(script, function, event.block, DEEPEST):
                    # attributes and callers may ask for the process by names that tell nothing
                    yield self.at(call, "saves to one file from every process", certain=False)


def _is_guarded(function: Function, block: int) -> bool:
    """Whether a test for the process is around a block, or leaves the function before it."""
    named = {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}
    asked = {index for index, b in enumerate(function.blocks) if b.value is not None and _asks(b.value, named)}
    siblings = {index for index, b in enumerate(function.blocks) if b.sibling in asked}
    left = any(e.kind in ("return", "leave") for index in asked for _, e in function.inside(index))
    return left or not (asked | siblings).isdisjoint(function.enclosing(block))


def _leads(script: Script, function: Function, block: int, depth: int) -> bool:
    """Whether every process comes to a block: through callers that are all known, and that ask for nothing of the kind."""
    named = tensors.named(function)
    asked = [index for index, b in enumerate(function.blocks) if b.value is not None and _asks(b.value, named)]
    left = any(e.kind in ("return", "leave") for index in asked for _, e in function.inside(index))
    if left or not depth or function.decorators or not set(asked).isdisjoint(function.enclosing(block)):
        return False
    if function.kind == "module":
        return True
    calls = [(f, e.block) for f in script.functions for e in f.events if _calls(e, function.name.rpartition(".")[2])]
    return all(_leads(script, f, b, depth - 1) for f, b in calls) and (bool(calls) or "spawn" in script.called)


def _calls(event: Event, method: str) -> bool:
    call = event.value if event.kind == "call" else None
    return call is not None and call.method == method and not call.name.startswith("torch.")


def _asks(test: Value, named: Mapping[str, Value]) -> bool:
    """Whether a test asks which process it is."""
    parts = (part for value in (test, named.get(str(test), test)) for part in value.within())
    return any(GUARD.search(part.name) for part in parts)


def _is_for_all(script: Script, function: Function, save: Value) -> bool:
    """Whether no attribute that a path is made of was set after the process."""
    path = save.argument(1, "f")
    parts = tensors.origins(function, path) if path is not None else ()
    names = {part.name for part in parts if part.name.startswith("self.")}
    made = (e.value for f in script.functions if f.owner == function.owner for e in f.events if e.name in names)
    inside = (part for value in made if value is not None for part in value.within())
    return not any(GUARD.search(part.name) or GUARD.search(str(part.constant)) for part in inside)


def _guards(function: Function) -> bool:
    """Whether any branching of the function asks which process it is."""
    tests = [block.value for block in function.blocks if block.kind in ("if", "else", "while")]
    named = tensors.named(function)
    return any(_asks(test, named) for test in tests if test is not None)


def _same(function: Function, event: Event) -> bool:
    """Whether the path is the same for all processes, as far as it is written in the function."""
    path = event.value.argument(1, "f") if event.value is not None else None
    if path is None:
        return False
    bound = tensors.named(function)
    waiting, seen = [path], set[str]()
    while waiting:
        for part in waiting.pop().within():
            if GUARD.search(part.name) or (isinstance(part.constant, str) and GUARD.search(part.constant)):
                return False
            if part.name in bound and part.name not in seen:
                seen.add(part.name)
                waiting.append(bound[part.name])
    return True
