"""ML421."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source import outputs
from modellint.source.facts import Decision


class DecisionOfScores(SourceRule):
    """Raw scores are compared with 0.5 as if they were probabilities, or one score is chosen from as if there were several.

    Why: `BCEWithLogitsLoss` takes raw scores, whose even chance is at 0; a threshold of 0.5, or `round()`, on them asks for
        a probability of 0.62, and rounding gives labels such as -3 and 2. The `argmax` over a single score is always 0,
        its softmax always 1: accuracy is then the share of the class 0, whatever the model has learned.
    Fix: `torch.sigmoid(scores) > 0.5` or `scores > 0`, for a single score too; `argmax` is for one score for each class.
    Ignore: a margin that is meant.
    Reported: https://github.com/dr-costas/dnd-sed/issues/1,
        https://github.com/FenTechSolutions/CausalDiscoveryToolbox/issues/38, https://github.com/meta-pytorch/captum/issues/1122
    """

    code, severity, certain, topic = "ML421", Severity.WARNING, True, "evaluation"
    words = (
        *((loss, decides) for loss in ("BCEWithLogitsLoss", "_with_logits") for decides in ("0.5", "round(", "argmax(", "max(")),
        *((half, "no_grad") for half in ("> 0.5", ">0.5", ">= 0.5", "threshold=0.5", "torch.round(", ".round()")),
        *((loss, "sigmoid", "0.5") for loss in ("CrossEntropyLoss", "cross_entropy")),
    )  # fmt: skip
    bad = (
        """
        net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            optimizer.zero_grad()
            out = net(x).squeeze(1)
            loss = criterion(out, y.float())
            loss.backward()
            optimizer.step()
            correct += ((out > 0.5).float() == y).sum()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(8, 32), nn.Linear(32, 1)

            def forward(self, x):
                return self.head(torch.relu(self.body(x)))

        def binary_accuracy(scores, y):
            return (torch.round(scores) == y).float().mean()

        def evaluate(model, loader):
            model.eval()
            with torch.no_grad():
                for x, y in loader:
                    total += binary_accuracy(model(x).squeeze(1), y)

        model = Net()
        optimizer = torch.optim.Adam(model.parameters())
        for epoch in range(3):
            for x, y in train_loader:
                optimizer.zero_grad()
                F.binary_cross_entropy_with_logits(model(x).squeeze(1), y).backward()
                optimizer.step()
            evaluate(model, val_loader)
        """,
        """
        net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            loss = criterion(net(x).squeeze(1), y.float())
            loss.backward()
        with torch.no_grad():
            for x, y in val_loader:
                _, predicted = torch.max(net(x), 1)
                correct += (predicted == y).sum()
        """,
        """
        model = torchvision.models.resnet18()
        model.fc = nn.Linear(512, 1)
        criterion = nn.BCEWithLogitsLoss()

        def evaluate(model, loader):
            with torch.no_grad():
                for x, y in loader:
                    correct += ((model(x).cpu().numpy() >= 0.5) == y.numpy()).sum()

        for x, y in loader:
            criterion(model(x).squeeze(), y).backward()
        evaluate(model, val_loader)
        """,
        """
        class Lit(L.LightningModule):
            def __init__(self):
                super().__init__()
                self.encoder = timm.create_model("resnet18", num_classes=1)

            def training_step(self, batch, batch_idx):
                x, y = batch
                logits = self.encoder(x).view(-1)
                self.log("acc", (logits.detach().gt(0.5) == y).float().mean())
                return F.binary_cross_entropy_with_logits(logits, y)
        """,
    )
    good = (
        """
        net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        criterion = nn.BCEWithLogitsLoss()
        for x, y in loader:
            out = net(x).squeeze(1)
            loss = criterion(out, y.float())
            correct += ((out > 0) == y).sum() + (torch.sigmoid(out) > 0.5).sum() + torch.round(out.sigmoid()).sum()
            out = torch.sigmoid(out)
            correct += (out > 0.5).sum()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(32, 1)

            def forward(self, x):
                return self.head(x)

        class Whole(nn.Module):
            def __init__(self):
                super().__init__()
                self.net = Net()

            def forward(self, x):
                x = self.net(x)
                if self.training:
                    return x
                return torch.sigmoid(x)

        net = Whole()
        for x, y in loader:
            F.binary_cross_entropy_with_logits(net(x), y).backward()
        net.eval()
        for x, y in val_loader:
            correct += ((net(x) > 0.5) == y).sum()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.head = nn.Linear(32, 1)

            def forward(self, x):
                scores = self.head(x)
                return scores, torch.sigmoid(scores)

        net = Net()
        for x, y in loader:
            scores, probabilities = net(x)
            F.binary_cross_entropy_with_logits(scores, y).backward()
            correct += ((probabilities > 0.5) == y).sum()
        """,
        """
        for x, y in loader:
            scores, probabilities = model(x)
            F.binary_cross_entropy_with_logits(scores, y).backward()
            correct += ((probabilities > 0.5) == y).sum()
        """,
        """
        regress = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        detect = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        for x, y in loader:
            loss = F.mse_loss(regress(x), y) + F.binary_cross_entropy_with_logits(detect(x), y > 0.5)
            close += (regress(x) > 0.5).sum() + (torch.round(regress(x)) == y).sum()
        """,
        """
        class Small(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))

            def forward(self, x):
                return self.layers(x)

        value, critic = Small(), Small()
        for x, y in loader:
            v = value(x)
            loss = F.mse_loss(v, y) + F.binary_cross_entropy_with_logits(critic(x), y > 0.5)
            high += (v > 0.5).sum()
        """,
        """
        class Pool(nn.Module):
            def __init__(self):
                super().__init__()
                self.score, self.head = nn.Linear(32, 1), nn.Linear(32, 2)

            def forward(self, x):
                return self.head((torch.softmax(self.score(x), dim=1) * x).sum(1))

        pool = Pool()
        for x, y in loader:
            scores = pool(x)
            F.binary_cross_entropy_with_logits(scores, y).backward()
            predicted = scores.argmax(1)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for decision in script.decisions:
            kinds = {loss.kind for loss in decision.losses}
            sure = all(loss.certain for loss in decision.losses)
            loss = decision.losses[0]
            line = f"the {loss.kind} of {outputs.place(loss.location, decision.location)}"
            if decision.kind in ("threshold", "round"):
                if kinds == {"BCEWithLogitsLoss"} and not decision.squashed:
                    asked = "compares with 0.5" if decision.kind == "threshold" else "rounds"
                    yield self.at(
                        decision, f"{asked} the raw scores that {line} takes: their even chance is 0", certain=sure
                    )
                elif kinds == {"CrossEntropyLoss"} and decision.squashed and decision.kind == "threshold":
                    message = f"decides by the sigmoid of each score, where {line} trains their softmax"
                    yield self.at(decision, message, certain=False)
            elif _is_over_it(decision):
                message = f"takes the `{decision.call.method}` over the one score that {line} takes: always the same"
                yield self.at(decision, message, certain=sure and (decision.flat or decision.axis == -1))


def _is_over_it(decision: Decision) -> bool:
    return not decision.squashed and decision.axis in (1, -1)
