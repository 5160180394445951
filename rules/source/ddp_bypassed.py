"""ML178."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Value
from modellint.source.facts import TrainingLoop

REDUCES = frozenset({"reduce_gradients", "sync_gradients"})
BY_HAND = frozenset({"all_reduce", "grad"})
WRAPPERS = ("DistributedDataParallel", "DDP")


class DdpBypassed(SourceRule):
    """Training calls the model past the DistributedDataParallel that was made of it: the gradients stay local.

    Why: DistributedDataParallel brings the gradients of all processes together only after its own `forward`. Where the model
        inside is called, each process trains a model of its own on its own part of the data, and they drift apart.
    Fix: call the wrapped model in training; keep the one inside for saving and evaluation.
    Ignore: when the gradients are reduced by hand.
    Reported: https://github.com/k2-fsa/icefall/issues/226, https://github.com/OpenTSLM/OpenTSLM/pull/49,
        https://github.com/intel/e2eAIOK/pull/198
    """

    code, severity, certain, topic = "ML178", Severity.ERROR, True, "distributed"
    words = ((".backward(", "DistributedDataParallel("), (".backward(", "DDP("))
    bad = (
        """
        model = nn.parallel.DistributedDataParallel(Net().cuda(rank), device_ids=[rank])
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model.module(x), y).backward()
            optimizer.step()
        counts = torch.tensor([correct, total])
        torch.distributed.all_reduce(counts)
        """,
        """
        model = nn.parallel.DistributedDataParallel(Net().cuda(rank), device_ids=[rank])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model.module(x), y).backward()
            optimizer.step()
        with torch.no_grad():
            correct = (model(test_x).argmax(1) == test_y).sum()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP

        net = Net().cuda(rank)
        parallel = DDP(net, device_ids=[rank])
        optimizer = torch.optim.SGD(parallel.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        """,
        """
        model = nn.parallel.DistributedDataParallel(Net().cuda(rank), device_ids=[rank])
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model.module(x), y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        model = nn.parallel.DistributedDataParallel(Net().cuda(rank), device_ids=[rank])

        def train(model, loader):
            for x, y in loader:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x), y) + penalty(model.module(x, only_features=True))
                loss.backward()
                optimizer.step()
        """,
        """
        from torch.nn.parallel import DistributedDataParallel as DDP

        net = Net().cuda(rank)
        parallel = DDP(net, device_ids=[rank])
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(parallel(x), y).backward()
            optimizer.step()
            with torch.no_grad():
                accuracy = (net(x).argmax(1) == y).float().mean()
        """,
        """
        model = Net().cuda(rank)
        if distributed:
            model = nn.parallel.DistributedDataParallel(model, device_ids=[rank])
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
            shown = model.module(x).detach()
        """,
        """
        model = nn.parallel.DistributedDataParallel(Net().cuda(rank), device_ids=[rank])
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model.module(x), y).backward()
            for p in model.parameters():
                torch.distributed.all_reduce(p.grad)
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if not REDUCES.isdisjoint(script.attributes) or script.attributes >= BY_HAND:
            return
        wrapped = dict(_wrapped(script))
        for loop in script.training_loops if wrapped else ():
            calls = list(_trained(loop))
            for name, inside in wrapped.items():
                past = [
                    c for c in calls if c.name in (inside, f"{name}.module") or c.name.startswith(f"{name}.module.")
                ]
                # what is inside is named in training itself, and the model that is wrapped is called for other ends
                direct = any(c.name == f"{name}.module" for c in past) and not any(c.name == name for c in calls)
                if past and (direct or not _is_called(script, name)):
                    yield self.at(past[0], f"calls `{past[0].name}` past `{name}`, which brings the gradients together")


def _wrapped(script: Script) -> Iterator[tuple[str, str]]:
    """The names of wrapped models, each with that of the model inside, empty where it is the same or has none."""
    for function in script.functions:
        for event in function.events:
            value = event.value
            if event.kind == "assign" and value is not None and value.kind == "call" and value.method in WRAPPERS:
                given = value.argument(0, "module")
                named = given is not None and given.kind == "name" and given.name != event.name
                yield event.name, given.name if named and given is not None else ""


def _trained(loop: TrainingLoop) -> Iterator[Value]:
    """The calls of models whose result a backward() starts from."""
    for act in loop.of("backward"):
        yield from (origin for origin in act.origins if origin.kind == "call" and origin.base is None)


def _is_called(script: Script, name: str) -> bool:
    """Whether the wrapped model is called or handed on anywhere."""
    for function in script.functions:
        for event in function.events:
            parts = list(event.value.within()) if event.value is not None else []
            if any(part.name == name and part.kind in ("call", "name") for part in parts):
                return True
    return False
