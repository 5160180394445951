"""ML199."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Function
from modellint.source.facts import Act, TrainingLoop, within


class FrozenModeUndone(SourceRule):
    """Parts of a model are put into evaluation mode, and `train()` of the whole model undoes it before any batch.

    Why: `model.train()` reaches every module below the model. The batch norms that were to keep the statistics of their
        pretraining take those of each batch and drift on, the dropouts of the frozen part drop: the fine-tuned model is not
        the one that its author thinks to train, and small batches ruin it.
    Fix: call `eval()` of the part after each `train()`, or override `train` in the model:
        `super().train(mode); self.backbone.eval()`.
    Ignore: where the part is to train after all.
    Reported: https://github.com/jfzhang95/pytorch-deeplab-xception/issues/140,
        https://github.com/poppinace/indexnet_matting/issues/35, https://github.com/pgniewko/gt-pyg/issues/112,
        https://github.com/kdexd/virtex/issues/16
    """

    code, severity, certain, topic = "ML199", Severity.WARNING, True, "structure"
    words = (("eval()", "train(", "modules()"), ("eval()", "train(", "requires_grad"))
    bad = (
        """
        model = torchvision.models.resnet50(weights="DEFAULT")
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for epoch in range(10):
            model.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
                self.head = nn.Conv2d(8, 2, 1)

            def forward(self, x):
                return self.head(self.backbone(x)).mean((2, 3))

            def freeze(self):
                for p in self.backbone.parameters():
                    p.requires_grad = False
                self.backbone.eval()

        def epoch(net, loader, optimizer):
            net.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()

        def main():
            net = Net()
            net.freeze()
            optimizer = torch.optim.SGD(net.head.parameters(), lr=0.01)
            for _ in range(10):
                epoch(net, loader, optimizer)
                net.eval()

        main()
        """,
    )
    good = (
        """
        net = torchvision.models.resnet50(weights="DEFAULT")
        head = nn.Sequential(nn.BatchNorm1d(net.features), nn.Linear(net.features, 10))
        head[1].weight.requires_grad = False
        optimizer = torch.optim.SGD([*net.parameters(), *head[0].parameters()], lr=0.01)
        for x in loader:
            net.eval()
            head.eval()
            with torch.no_grad():
                pseudo = head(net(x)).argmax(1)
            net.train()
            head.train()  # for the labels alone it was still
            optimizer.zero_grad()
            F.cross_entropy(head(net(x)), pseudo).backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
                self.head = nn.Conv2d(8, 2, 1)
                self.backbone.requires_grad_(False)
                self.backbone.eval()

            def forward(self, x):
                return self.head(self.backbone(x)).mean((2, 3))

            def train(self, mode=True):
                super().train(mode)
                self.backbone.eval()
                return self

        net = Net()
        optimizer = torch.optim.SGD(net.head.parameters(), lr=0.01)
        for _ in range(10):
            net.train()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
        """,
        """
        def keep(module):
            if isinstance(module, nn.BatchNorm2d):
                module.eval()

        model = torchvision.models.resnet50(weights="DEFAULT")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for module in model.modules():
            keep(module)
        for epoch in range(10):
            model.train()
            if epoch > 2:
                model.apply(keep)
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
        """
        model = torchvision.models.resnet50(weights="DEFAULT")
        model.layer1.requires_grad_(False)
        model.layer1.eval()
        for x in calibration:
            print(model.layer1(x).std())  # looked at before the training
        optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
        for epoch in range(10):
            model.train()
            model.layer1.eval()
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(x), y).backward()
                optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        told = set()
        for loop in script.training_loops:
            for still, undone in _undone(loop):
                if still.location not in told:
                    told.add(still.location)
                    sure = _matters(still, loop, script) and _always(undone, loop)
                    what = (
                        f"`{still.call.receiver}` into evaluation mode, and `{undone.call}` undoes it before it trains"
                    )
                    yield self.at(still, f"puts {what}", certain=sure)


def _undone(loop: TrainingLoop) -> Iterator[tuple[Act, Act]]:
    """What puts parts of a model into evaluation mode, and the train() that puts all of it back before it is called."""
    acts = [*loop.modes, *(act for act in loop.acts if act.kind in ("eval", "train", "mode", "model"))]
    for place, still in enumerate(acts):
        if not (still.kind == "eval" or still.stills) or not still.parameters:
            continue
        later = (act for act in acts[place + 1 :] if not act.excludes(still) and act.shares(still.parameters))
        undone = next(later, None)
        if undone is None or undone.kind != "train" or not _covers(undone, still):
            continue
        back, after = _until_used(later)
        meant = any(str(act.call.receiver) == str(still.call.receiver) for act in back)
        if after is not None and after.kind == "model" and not meant:
            yield still, undone


def _until_used(later: Iterator[Act]) -> tuple[list[Act], Act | None]:
    """The further calls of train(), and what comes after them."""
    back: list[Act] = []
    for act in later:
        if act.kind != "train":
            return back, act
        back.append(act)
    return back, None


def _covers(whole: Act, part: Act) -> bool:
    """Whether the train() is that of a module to which the still part belongs, not of that part alone."""
    return any(within(p, w) and (part.stills or p != w) for p in part.parameters for w in whole.parameters)


def _matters(still: Act, loop: TrainingLoop, script: Script) -> bool:
    """Whether what is still computes something else in training, and was meant to stay so: batch norms, frozen weights."""
    if still.stills:
        return any(act.modal for act in loop.of("model") if act.shares(still.parameters))
    line = still.location.line or 0
    holders = [f for f in script.functions if (f.location.line or 0) <= line <= (f.location.end_line or 0)]
    return still.modal is True and any(map(_freezes, holders))


def _freezes(function: Function) -> bool:
    """Whether a function takes weights out of the training."""
    assigned = (event for event in function.events if event.kind == "assign" and event.name.endswith(".requires_grad"))
    called = (call.argument(0, "requires_grad") for call in function.calls if call.method == "requires_grad_")
    values = (*(event.value for event in assigned), *called)
    return any(value is not None and value.constant is False for value in values)


def _always(undone: Act, loop: TrainingLoop) -> bool:
    """Whether each training comes by the train()."""
    return all(set(undone.branches) <= set(step.branches) for step in loop.steps)
