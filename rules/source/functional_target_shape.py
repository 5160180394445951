"""ML132."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.source.code import Value


class FunctionalTargetShape(SourceRule):
    """The loss compares predictions [N, 1] with targets [N]: each prediction with every target.

    Why: both are broadcast to [N, N]. The best answer is then the mean of all targets for every sample: the loss falls to
        their variance and stays there. PyTorch warns once and goes on.
    Fix: `prediction.squeeze(-1)`, or `target.unsqueeze(-1)`.
    Ignore: when every pair is to be compared.
    Reported: https://github.com/pytorch/pytorch/issues/19699, https://github.com/pytorch/pytorch/pull/18349
    """

    code, severity, certain, topic = "ML132", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    words = tuple(
        (goes, squared)
        for goes in (".backward(", "manual_backward(")
        for squared in (
            *("mse_loss", "MSELoss", "l1_loss", "L1Loss", "uber"),
            *("** 2", "**2", "pow(2)", "square(", "abs("),
        )
    )
    bad = (
        """
        x = torch.randn(200, 3)
        y = x.sum(dim=1)
        model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(100):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y)
            loss.backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, TensorDataset

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 1)

            def forward(self, x):
                return self.fc2(torch.relu(self.fc1(x)))

        x = torch.rand(500, 4)
        y = 2 * x[:, 0] - x[:, 3] ** 2
        loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
        net, criterion = Net(), nn.SmoothL1Loss()
        optimizer = torch.optim.Adam(net.parameters())
        for features, target in loader:
            optimizer.zero_grad()
            criterion(net(features), target).backward()
            optimizer.step()
        """,
        """
        import numpy as np
        import pandas as pd
        from sklearn.model_selection import train_test_split
        from torch.utils.data import DataLoader, Dataset

        class Houses(Dataset):
            def __init__(self, X, y):
                self.X, self.y = torch.tensor(X), torch.tensor(y)

            def __len__(self):
                return len(self.y)

            def __getitem__(self, index):
                return self.X[index], self.y[index]

        frame = pd.read_csv("houses.csv")
        X, y = frame.drop(columns="price").values, np.log1p(frame["price"].values)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        model = nn.Sequential(nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for inputs, targets in DataLoader(Houses(X_train, y_train), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(inputs), targets).backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, TensorDataset

        x, y = torch.randn(500, 8), torch.randn(500)
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True):
            loss = ((net(inputs) - targets) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
    )
    fixed = (
        """
        x = torch.randn(200, 3)
        y = x.sum(dim=1)
        model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(100):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).squeeze(-1), y)
            loss.backward()
            optimizer.step()
        """,
        """
        from torch.utils.data import DataLoader, TensorDataset

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.fc1, self.fc2 = nn.Linear(4, 16), nn.Linear(16, 1)

            def forward(self, x):
                return self.fc2(torch.relu(self.fc1(x)))

        x = torch.rand(500, 4)
        y = 2 * x[:, 0] - x[:, 3] ** 2
        loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
        net, criterion = Net(), nn.SmoothL1Loss()
        optimizer = torch.optim.Adam(net.parameters())
        for features, target in loader:
            optimizer.zero_grad()
            criterion(net(features).squeeze(-1), target).backward()
            optimizer.step()
        """,
        """
        import numpy as np
        import pandas as pd
        from sklearn.model_selection import train_test_split
        from torch.utils.data import DataLoader, Dataset

        class Houses(Dataset):
            def __init__(self, X, y):
                self.X, self.y = torch.tensor(X), torch.tensor(y)

            def __len__(self):
                return len(self.y)

            def __getitem__(self, index):
                return self.X[index], self.y[index]

        frame = pd.read_csv("houses.csv")
        X, y = frame.drop(columns="price").values, np.log1p(frame["price"].values)
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2)
        model = nn.Sequential(nn.Linear(X.shape[1], 64), nn.ReLU(), nn.Linear(64, 1))
        optimizer = torch.optim.Adam(model.parameters())
        for inputs, targets in DataLoader(Houses(X_train, y_train), batch_size=64, shuffle=True):
            optimizer.zero_grad()
            F.mse_loss(model(inputs).squeeze(-1), targets).backward()
            optimizer.step()
        """,
    )
    suspected = """
    from torch.utils.data import DataLoader, TensorDataset

    x, y = torch.randn(500, 8), torch.randn(500)
    model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
    for inputs, targets in DataLoader(TensorDataset(x, y), shuffle=True):  # one sample at a time
        F.mse_loss(model(inputs), targets).backward()
    """
    good = (
        """
        import pandas as pd
        from torch.utils.data import DataLoader, TensorDataset

        frame = pd.read_csv("houses.csv")
        X, Y = torch.tensor(frame.drop(columns="price").values), torch.tensor(frame[["price"]].values)
        model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 1))
        for x, y in DataLoader(TensorDataset(X, Y), batch_size=64):
            F.mse_loss(model(x), y).backward()
        for x, y in DataLoader(TensorDataset(X, torch.tensor(frame["price"].values)), batch_size=64):
            F.mse_loss(model(x)[:, 0], y).backward()
            F.mse_loss(model(x).flatten(), y).backward()
            F.mse_loss(model(x), y.view(-1, 1)).backward()
        """,
        """
        from torch.utils.data import DataLoader, TensorDataset

        x, y = torch.randn(500, 8), torch.randn(500)
        net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
        for inputs, targets in DataLoader(TensorDataset(x, y), batch_size=50, shuffle=True):
            scores = net(inputs)
            loss = ((scores - targets[:, None]) ** 2).mean() + (scores.squeeze(1) - targets).abs().mean()
            spread = torch.square(scores - scores.mean()).mean()
            optimizer.zero_grad()
            (loss + spread).backward()
            optimizer.step()
        """,
        """
        x = torch.randn(200, 3)
        y = x.sum(dim=1)
        model = nn.Sequential(nn.Linear(3, 32), nn.ReLU(), nn.Linear(32, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(100):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x).squeeze(-1), y) + F.mse_loss(model(x), y.unsqueeze(1)) + F.mse_loss(model(x), y[:, None])
            loss.backward()
            optimizer.step()
        """,
        """
        x = torch.randn(200, 3)
        y = x.sum(dim=1, keepdim=True)
        w = torch.tensor([[1.0], [2.0], [3.0]])
        z = x @ w
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(100):
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y) + F.mse_loss(model(x), z)
            loss.backward()
            optimizer.step()
        """,
        """
        model = nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.mse_loss(model(x), y) + F.mse_loss(model(x), torch.tensor([1.0]))
            loss.backward()
            optimizer.step()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loss in script.losses:
            if loss.certain and len(loss.shapes) == 2 and all(shape is not None for shape in loss.shapes):
                given, target = (shape or () for shape in loss.shapes)
                longer, shorter = (given, target) if len(given) > len(target) else (target, given)
                if len(longer) == len(shorter) + 1 == 2 and longer[-1] == 1 and longer[0] != 1 and shorter[0] != 1:
                    shown = f"{_shown(given)} with {_shown(target)}"
                    yield self.at(
                        loss, f"compares {shown}, which is broadcast to [N, N]", certain=not _takes_one(script)
                    )

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A prediction that is called right there loses its last dimension."""
        for loss in script.losses:
            given, shape = loss.call.argument(0, "input"), loss.shapes[0] if loss.shapes else None
            if loss.location == finding.location and given is not None and given.kind == "call" and shape:
                return Fix((edit.replace(given, "{whole}.squeeze(-1)"),), safe=False) if shape[-1] == 1 else None
        return None


def _takes_one(script: Script) -> bool:
    """Whether every loader gives one sample at a time, of which the two shapes hold the same number."""
    loaders = [call for call in script.calls if call.method == "DataLoader"]
    sizes = [Value("unknown") if call.unpacks else call.argument(1, "batch_size") for call in loaders]
    return bool(sizes) and all(
        size is None or (size.kind == "constant" and size.constant in (1, None)) for size in sizes
    )


def _shown(shape: tuple[int | None, ...]) -> str:
    return f"[{', '.join('N' if size is None else str(size) for size in shape)}]"
