"""ML174."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function

GUARD = pattern(
    r"rank|main|master|primary|leader|zero|gpu|local|proc|world|dist|chief|saver|coordinator", re.IGNORECASE
)
# Where each process holds a part of the model, or a framework decides, all of them may have to save.
OTHERS = pattern(
    r"FullyShardedDataParallel|FSDP|fully_shard|deepspeed|accelerate|lightning|checkpoint_wrapper|DTensor|ZeroRedundancy"
)
WRAPPERS = ("DistributedDataParallel", "DDP")
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
    )
    good = (
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
        names = (*script.imports.values(), *script.attributes)
        if any(OTHERS.search(name) for name in names):
            return
        for function in script.functions:
            calls = list(function.calls)
            starts = [c for c in calls if c.method in WRAPPERS or c.method in STARTS]
            if starts and any(call.method in WRAPPERS for call in script.calls) and not _guards(function):
                for event in function.events:
                    if (
                        event.kind == "call"
                        and event.value is not None
                        and event.value.name == "torch.save"
                        and _same(function, event)
                    ):
                        yield self.at(event.value, "saves to one file from every process")


def _guards(function: Function) -> bool:
    """Whether any branching of the function asks which process it is."""
    tests = [block.value for block in function.blocks if block.kind in ("if", "else", "while")]
    given = [test for test in tests if test is not None]
    named = {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}
    parts = (part for test in given for value in (test, named.get(str(test), test)) for part in value.within())
    return any(GUARD.search(part.name) for part in parts)


def _same(function: Function, event: Event) -> bool:
    """Whether the path is the same for all processes, as far as it is written in the function."""
    path = event.value.argument(1, "f") if event.value is not None else None
    if path is None:
        return False
    bound = {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}
    waiting, seen = [path], set[str]()
    while waiting:
        for part in waiting.pop().within():
            if GUARD.search(part.name) or (isinstance(part.constant, str) and GUARD.search(part.constant)):
                return False
            if part.name in bound and part.name not in seen:
                seen.add(part.name)
                waiting.append(bound[part.name])
    return True
