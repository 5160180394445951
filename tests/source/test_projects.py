"""Faults that lie between the files of a project, and the ways to write them, are found; the healthy twins are let go.

Of each text the sick form lacks the lines that end with `# healthy`, the healthy form those with `# sick`; `# found` is
where the sick form is blamed.
"""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from modellint import pipeline
from modellint.core import config
from modellint.core.diagnostic import Diagnostic, Severity

MODEL = """
    import torch.nn as nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))

        def forward(self, x):
            return self.body(x)
"""
PROBABILITIES = """
    import torch.nn as nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
            self.act = nn.Softmax(dim=1)  # sick
            self.act = nn.Identity()  # healthy

        def forward(self, x):
            return self.act(self.body(x))
"""
USES = """
    import torch
    import torch.nn.functional as F
    {imports}

    net = {net}
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for x, y in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), y)  # found
        loss.backward()
        optimizer.step()
"""
STALE = """
    {head}
    for x, y in loader:
        {clear}  # healthy
        F.cross_entropy(net(x), y).backward()
        {step}  # found
"""


def uses(imports: str, net: str = "Net()") -> str:
    return inspect.cleandoc(USES).format(imports=imports, net=net)


PROJECTS: dict[str, tuple[str, dict[str, str]]] = {
    "second critic of an agent that another file trains": (
        "optimizer-parameters",
        {
            "agent.py": """
                import torch
                import torch.nn as nn
                import torch.nn.functional as F

                class Agent:
                    def __init__(self):
                        self.q1, self.q2 = nn.Linear(8, 1), nn.Linear(8, 1)
                        both = [*self.q1.parameters(), *self.q2.parameters()]  # healthy
                        both = list(self.q1.parameters())  # sick
                        self.scale = torch.zeros(1, requires_grad=True)
                        self.optimizer = torch.optim.Adam(both, lr=1e-3)
                        self.scaling = torch.optim.Adam([self.scale], lr=1e-3)

                    def update(self, states, goals):
                        loss = F.mse_loss(self.q1(states), goals)
                        loss = loss + F.mse_loss(self.q2(states), goals)  # found
                        self.optimizer.zero_grad()
                        loss.backward()
                        self.optimizer.step()
            """,
            "main.py": """
                from agent import Agent

                agent = Agent()
                for states, goals in memory:
                    agent.update(states, goals)
            """,
        },
    ),
    "clip in utils after step": (
        "clip-after-step",
        {
            "utils.py": """
                import torch

                def limit(net, most=1.0):
                    torch.nn.utils.clip_grad_norm_(net.parameters(), most)  # found
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from model import Net
                from utils import limit

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    limit(net)  # healthy
                    optimizer.step()
                    limit(net)  # sick
            """,
        },
    ),
    "training of a fold in another file": (
        "model-kept-over-folds",
        {
            "model.py": MODEL,
            "engine.py": """
                import torch.nn.functional as F

                def fit(net, optimizer, loader):
                    net.train()
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(net(x), y).backward()
                        optimizer.step()
            """,
            "train.py": """
                import torch
                from engine import fit
                from model import Net
                from sklearn.model_selection import KFold

                net = Net()
                for train_ids, val_ids in KFold(5).split(data):  # found
                    net = Net()  # healthy
                    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                    for epoch in range(10):
                        fit(net, optimizer, loader_of(train_ids))
            """,
        },
    ),
    "aliased clip module after step": (
        "clip-after-step",
        {
            "model.py": MODEL,
            "clip_lib.py": """
                from torch.nn.utils import clip_grad_norm_

                def clip(net, most):
                    clip_grad_norm_(net.parameters(), most)  # found
            """,
            "train.py": """
                import torch
                import torch.nn.functional as F
                import clip_lib
                from model import Net

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    clip_lib.clip(net, .1)  # healthy
                    optimizer.step()
                    clip_lib.clip(net, .1)  # sick
            """,
        },
    ),
    "helper that steps in another file": (
        "missing-zero-grad",
        {
            "steps.py": """
                def update(loss, opt):
                    opt.zero_grad()  # healthy
                    loss.backward()
                    opt.step()  # found
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from model import Net
                from steps import update

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    update(F.cross_entropy(net(x), y), optimizer)
            """,
        },
    ),
    "softmax of the imported model": (
        "softmax-into-cross-entropy",
        {"model.py": PROBABILITIES, "train.py": uses("from model import Net")},
    ),
    "softmax in the forward of the imported model": (
        "softmax-into-cross-entropy",
        {
            "model.py": """
                import torch.nn as nn
                import torch.nn.functional as F

                class Net(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.fc1 = nn.Linear(8, 32)
                        self.fc2 = nn.Linear(32, 4)

                    def forward(self, x):
                        x = F.relu(self.fc1(x))
                        return self.fc2(x)  # healthy
                        return F.softmax(self.fc2(x), dim=1)  # sick
            """,
            "train.py": uses("from model import Net"),
        },
    ),
    "softmax through a package that exports again": (
        "softmax-into-cross-entropy",
        {
            "nets/__init__.py": "from .small import Net\n__all__ = ['Net']",
            "nets/small.py": PROBABILITIES,
            "train.py": uses("from nets import Net"),
        },
    ),
    "softmax through a star": (
        "softmax-into-cross-entropy",
        {
            "nets/__init__.py": "from .small import *",
            "nets/small.py": PROBABILITIES,
            "train.py": uses("from nets import *"),
        },
    ),
    "softmax in a src layout": (
        "softmax-into-cross-entropy",
        {
            "pyproject.toml": "[project]\nname = 'plants'",
            "src/plants/__init__.py": "",
            "src/plants/models/__init__.py": "from plants.models.small import Net",
            "src/plants/models/small.py": PROBABILITIES,
            "scripts/train.py": uses("from plants.models import Net"),
        },
    ),
    "softmax in a module under another name": (
        "softmax-into-cross-entropy",
        {
            "lib/__init__.py": "",
            "lib/nets.py": PROBABILITIES,
            "train.py": uses("import lib.nets as zoo", "zoo.Net()"),
        },
    ),
    "softmax in a module of a package by its full name": (
        "softmax-into-cross-entropy",
        {
            "lib/__init__.py": "",
            "lib/nets.py": PROBABILITIES,
            "train.py": uses("import lib.nets", "lib.nets.Net()"),
        },
    ),
    "softmax in a package imported relatively": (
        "softmax-into-cross-entropy",
        {
            "pkg/__init__.py": "",
            "pkg/nets/__init__.py": "",
            "pkg/nets/small.py": PROBABILITIES,
            "pkg/engine/__init__.py": "",
            "pkg/engine/train.py": uses("from ..nets.small import Net"),
        },
    ),
    "softmax in a folder put on sys.path": (
        "softmax-into-cross-entropy",
        {
            "common/nets.py": PROBABILITIES,
            "experiments/train.py": uses("import sys\nsys.path.append('../common')\nfrom nets import Net"),
        },
    ),
    "softmax in the folder above, put on sys.path": (
        "softmax-into-cross-entropy",
        {
            "nets.py": PROBABILITIES,
            "experiments/first/train.py": uses(
                "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), '../..'))\nfrom nets import Net"
            ),
        },
    ),
    "softmax in files that import each other": (
        "softmax-into-cross-entropy",
        {
            "nets.py": "from train import CLASSES\n" + inspect.cleandoc(PROBABILITIES),
            "train.py": "CLASSES = 4\n" + uses("from nets import Net"),
        },
    ),
    "softmax of a model that a factory in another file builds": (
        "softmax-into-cross-entropy",
        {
            "nets.py": PROBABILITIES,
            "factory.py": """
                from nets import Net

                def build(device):
                    model = Net()
                    return model.to(device)
            """,
            "train.py": uses("from factory import build", "build('cpu')"),
        },
    ),
    "softmax of a model from a registry": (
        "softmax-into-cross-entropy",
        {
            "nets.py": PROBABILITIES,
            "train.py": uses("from nets import Net\nMODELS = {'small': Net}", "MODELS['small']()"),
        },
    ),
    "softmax meets a loss of another file": (
        "softmax-into-cross-entropy",
        {
            "nets.py": PROBABILITIES,
            "losses.py": """
                import torch.nn as nn

                criterion = nn.CrossEntropyLoss()

                def objective(output, target):
                    return criterion(output, target)  # found
            """,
            "train.py": """
                import torch
                from losses import objective
                from nets import Net

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    optimizer.zero_grad()
                    objective(net(x), y).backward()
                    optimizer.step()
            """,
        },
    ),
    "softmax of a model given to a trainer class": (
        "softmax-into-cross-entropy",
        {
            "nets.py": PROBABILITIES,
            "trainer.py": """
                import torch
                import torch.nn as nn

                class Trainer:
                    def __init__(self, model, loader):
                        self.model, self.loader = model, loader
                        self.criterion = nn.CrossEntropyLoss()
                        self.optimizer = torch.optim.Adam(model.parameters())

                    def fit(self):
                        for x, y in self.loader:
                            self.optimizer.zero_grad()
                            loss = self.criterion(self.model(x), y)  # found
                            loss.backward()
                            self.optimizer.step()
            """,
            "train.py": """
                from nets import Net
                from trainer import Trainer

                Trainer(Net(), loader).fit()
            """,
        },
    ),
    "option that is parsed and never used": (
        "missing-gradient-clip",
        {
            "options.py": """
                import argparse

                def options():
                    parser = argparse.ArgumentParser()
                    parser.add_argument("--lr", type=float, default=0.1)
                    parser.add_argument("--clip", type=float, default=1.0)  # found
                    return parser.parse_args()
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from model import Net
                from options import options

                args = options()
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=args.lr)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)  # healthy
                    optimizer.step()
            """,
        },
    ),
    "option that is parsed and never used, in one file": (
        "missing-gradient-clip",
        {
            "model.py": MODEL,
            "train.py": """
                import argparse
                import torch
                import torch.nn.functional as F
                from model import Net

                def main():
                    parser = argparse.ArgumentParser()
                    parser.add_argument("--lr", type=float, default=0.1)
                    parser.add_argument("--clip", type=float, default=1.0)  # found
                    args = parser.parse_args()
                    net = Net()
                    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr)
                    for x, y in loader:
                        optimizer.zero_grad()
                        F.cross_entropy(net(x), y).backward()
                        torch.nn.utils.clip_grad_norm_(net.parameters(), args.clip)  # healthy
                        optimizer.step()

                main()
            """,
        },
    ),
    "rate in a dictionary of another file": (
        "large-learning-rate",
        {
            "config.py": """
                CONFIG = {"lr": 0.5, "epochs": 3}  # sick
                CONFIG = {"lr": 1e-3, "epochs": 3}  # healthy
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from config import CONFIG
                from model import Net

                net = Net()
                optimizer = torch.optim.Adam(net.parameters(), lr=CONFIG["lr"])  # found
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
            """,
        },
    ),
    "rate in a dataclass of another file": (
        "large-learning-rate",
        {
            "config.py": """
                from dataclasses import dataclass

                @dataclass
                class Config:
                    lr: float = 0.5  # sick
                    lr: float = 1e-3  # healthy
                    clip: float = 1.0
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from config import Config
                from model import Net

                cfg = Config()
                net = Net()
                optimizer = torch.optim.Adam(net.parameters(), lr=cfg.lr)  # found
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
            """,
        },
    ),
    "rate in a dataclass that the trainer keeps": (
        "large-learning-rate",
        {
            "config.py": """
                from dataclasses import dataclass, field

                @dataclass
                class Config:
                    lr: float = field(default=0.5)  # sick
                    lr: float = field(default=1e-3)  # healthy
            """,
            "model.py": MODEL,
            "trainer.py": """
                import torch
                import torch.nn.functional as F

                class Trainer:
                    def __init__(self, config, net):
                        self.config, self.net = config, net
                        self.opt = torch.optim.Adam(net.parameters(), lr=self.config.lr)  # found

                    def fit(self, loader):
                        for x, y in loader:
                            self.opt.zero_grad()
                            F.cross_entropy(self.net(x), y).backward()
                            self.opt.step()
            """,
            "train.py": """
                from config import Config
                from model import Net
                from trainer import Trainer

                Trainer(Config(), Net()).fit(loader)
            """,
        },
    ),
    "threshold in a config of another file": (
        "clip-threshold",
        {
            "config.py": """
                clip = float("inf")  # sick
                clip = 1.0  # healthy
            """,
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                import config
                from model import Net

                net = Net()
                optimizer = torch.optim.Adam(net.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    torch.nn.utils.clip_grad_norm_(net.parameters(), config.clip)  # found
                    optimizer.step()
            """,
        },
    ),
    "clip in a context manager": (
        "clip-after-step",
        {
            "model.py": MODEL,
            "train.py": """
                from contextlib import contextmanager
                import torch
                import torch.nn.functional as F
                from model import Net

                @contextmanager
                def updating(net, optimizer):
                    optimizer.zero_grad()
                    yield
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # healthy
                    optimizer.step()
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # sick, found

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    with updating(net, optimizer):
                        loss = F.cross_entropy(net(x), y)
                        loss.backward()
            """,
        },
    ),
    "clip of a copy": (
        "clip-wrong-parameters",
        {
            "model.py": MODEL,
            "train.py": """
                import copy
                import torch
                import torch.nn.functional as F
                from model import Net

                net = Net()
                average = copy.deepcopy(net)
                optimizer = torch.optim.Adam(net.parameters())
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    torch.nn.utils.clip_grad_norm_(average.parameters(), 1.0)  # sick, found
                    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)  # healthy
                    optimizer.step()
            """,
        },
    ),
    "optimizer of a copy": (
        "optimizer-parameters",
        {
            "model.py": MODEL,
            "train.py": """
                import copy
                import torch
                import torch.nn.functional as F
                from model import Net

                net = Net()
                average = copy.deepcopy(net)
                optimizer = torch.optim.Adam(average.parameters())  # sick
                optimizer = torch.optim.Adam(net.parameters())  # healthy
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()  # found
                    optimizer.step()
            """,
        },
    ),
}
STYLES = {
    "self.optimizer": """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

            def batch(self, x, y):
                self.optimizer.zero_grad()  # healthy
                F.cross_entropy(self.net(x), y).backward()
                self.optimizer.step()  # found

            def fit(self, loader):
                for epoch in range(3):
                    for x, y in loader:
                        self.batch(x, y)

        Trainer(Net()).fit(loader)
    """,
    "optimizer of a base class": """
        class Base:
            def __init__(self, net):
                self.net = net
                self.optimizer = self.make_optimizer()

            def fit(self, loader):
                for batch in loader:
                    self.optimizer.zero_grad()  # healthy
                    self.objective(*batch).backward()
                    self.optimizer.step()  # found

        class Trainer(Base):
            def make_optimizer(self):
                return torch.optim.SGD(self.net.parameters(), lr=0.1)

            def objective(self, x, y):
                return F.cross_entropy(self.net(x), y)

        Trainer(Net()).fit(loader)
    """,
    "property": """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self._optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

            @property
            def opt(self):
                return self._optimizer

            def fit(self, loader):
                for x, y in loader:
                    self.opt.zero_grad()  # healthy
                    F.cross_entropy(self.net(x), y).backward()
                    self.opt.step()  # found

        Trainer(Net()).fit(loader)
    """,
    "LBFGS closure": """
        net = Net()
        optimizer = torch.optim.LBFGS(net.parameters())
        for x, y in loader:
            def closure():
                optimizer.zero_grad()  # healthy
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                return loss
            optimizer.step(closure)  # found
    """,
    "closure given by a factory": """
        def closure_of(net, optimizer, x, y):
            def closure():
                optimizer.zero_grad()  # healthy
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                return loss
            return closure

        net = Net()
        optimizer = torch.optim.LBFGS(net.parameters())
        for x, y in loader:
            optimizer.step(closure_of(net, optimizer, x, y))  # found
    """,
    "context manager of autocast": """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            with torch.autocast("cuda", dtype=torch.bfloat16):
                loss = F.cross_entropy(net(x), y)
            optimizer.zero_grad()  # healthy
            loss.backward()
            optimizer.step()  # found
    """,
    "context manager that clears": """
        from contextlib import contextmanager

        @contextmanager
        def updating(optimizer):
            optimizer.zero_grad()  # healthy
            yield
            optimizer.step()  # found

        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            with updating(optimizer):
                F.cross_entropy(net(x), y).backward()
    """,
    "context manager class that clears": """
        class Updating:
            def __init__(self, optimizer):
                self.optimizer = optimizer

            def __enter__(self):
                self.optimizer.zero_grad()  # healthy
                return self

            def __exit__(self, *error):
                self.optimizer.step()  # found

        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            with Updating(optimizer):
                F.cross_entropy(net(x), y).backward()
    """,
    "decorated helper": """
        import functools

        def timed(function):
            @functools.wraps(function)
            def inner(*args, **kwargs):
                return function(*args, **kwargs)
            return inner

        @timed
        def update(net, optimizer, x, y):
            optimizer.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found

        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            update(net, optimizer, x, y)
    """,
    "decorator that clears": """
        def fresh(function):
            def inner(net, optimizer, x, y):
                optimizer.zero_grad()  # healthy
                return function(net, optimizer, x, y)
            return inner

        @fresh
        def update(net, optimizer, x, y):
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found

        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for x, y in loader:
            update(net, optimizer, x, y)
    """,
    "while loop": """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        batches = iter(loader)
        step = 0
        while step < 100:
            x, y = next(batches)
            optimizer.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found
            step += 1
    """,
    "comprehension": """
        def update(x, y):
            optimizer.zero_grad()  # healthy
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            optimizer.step()  # found
            return loss.item()

        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        losses = [update(x, y) for x, y in loader]
    """,
    "generator": """
        def updates(net, optimizer, loader):
            for x, y in loader:
                optimizer.zero_grad()  # healthy
                loss = F.cross_entropy(net(x), y)
                loss.backward()
                optimizer.step()  # found
                yield loss.item()

        net = Net()
        for loss in updates(net, torch.optim.SGD(net.parameters(), lr=0.1), loader):
            print(loss)
    """,
    "alias": """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.opt = torch.optim.SGD(net.parameters(), lr=0.1)

            def fit(self, loader):
                opt, net = self.opt, self.net
                for x, y in loader:
                    opt.zero_grad()  # healthy
                    F.cross_entropy(net(x), y).backward()
                    opt.step()  # found

        Trainer(Net()).fit(loader)
    """,
    "partial": """
        from functools import partial

        make = partial(torch.optim.SGD, lr=0.1)
        net = Net()
        optimizer = make(net.parameters())
        for x, y in loader:
            optimizer.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found
    """,
    "partial of a helper": """
        from functools import partial

        def update(net, optimizer, x, y):
            optimizer.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found

        net = Net()
        train_one = partial(update, net, torch.optim.SGD(net.parameters(), lr=0.1))
        for x, y in loader:
            train_one(x, y)
    """,
    "tuple returned": """
        def build():
            net = Net()
            return net, torch.optim.SGD(net.parameters(), lr=0.1)

        net, o = build()
        for x, y in loader:
            o.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            o.step()  # found
    """,
    "dictionary returned": """
        def build():
            net = Net()
            return {"net": net, "opt": torch.optim.SGD(net.parameters(), lr=0.1)}

        state = build()
        for x, y in loader:
            state["opt"].zero_grad()  # healthy
            F.cross_entropy(state["net"](x), y).backward()
            state["opt"].step()  # found
    """,
    "getattr": """
        net = Net()
        o = getattr(torch.optim, name)(net.parameters(), lr=0.1)
        for x, y in loader:
            o.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            o.step()  # found
    """,
    "getattr over two lines": """
        net = Net()
        family = getattr(torch.optim, config["optimizer"])
        o = family(net.parameters(), lr=0.1)
        for x, y in loader:
            o.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            o.step()  # found
    """,
    "optimizers in a table": """
        OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
        net = Net()
        o = OPTIMIZERS[name](net.parameters(), lr=0.1)
        for x, y in loader:
            o.zero_grad()  # healthy
            F.cross_entropy(net(x), y).backward()
            o.step()  # found
    """,
    "several optimizers in a list": """
        nets = [Net(), Net()]
        optimizers = [torch.optim.SGD(net.parameters(), lr=0.1) for net in nets]
        for x, y in loader:
            for net, o in zip(nets, optimizers):
                o.zero_grad()  # healthy
                F.cross_entropy(net(x), y).backward()
                o.step()  # found
    """,
    "lambda": """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        clear = lambda: optimizer.zero_grad()
        for x, y in loader:
            clear()  # healthy
            F.cross_entropy(net(x), y).backward()
            optimizer.step()  # found
    """,
    "namedtuple": """
        from typing import NamedTuple

        class State(NamedTuple):
            net: Net
            opt: torch.optim.Optimizer

        def build():
            net = Net()
            return State(net, torch.optim.SGD(net.parameters(), lr=0.1))

        state = build()
        for x, y in loader:
            state.opt.zero_grad()  # healthy
            F.cross_entropy(state.net(x), y).backward()
            state.opt.step()  # found
    """,
    "dataclass that holds the optimizer": """
        from dataclasses import dataclass

        @dataclass
        class Trainer:
            net: Net
            opt: torch.optim.Optimizer

            def fit(self, loader):
                for x, y in loader:
                    self.opt.zero_grad()  # healthy
                    F.cross_entropy(self.net(x), y).backward()
                    self.opt.step()  # found

        net = Net()
        Trainer(net, torch.optim.SGD(net.parameters(), lr=0.1)).fit(loader)
    """,
    "global": """
        optimizer = None

        def setup(net):
            global optimizer
            optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

        def train(net):
            for x, y in loader:
                optimizer.zero_grad()  # healthy
                F.cross_entropy(net(x), y).backward()
                optimizer.step()  # found

        net = Net()
        setup(net)
        train(net)
    """,
    "constructor": """
        class Solver:
            def __init__(self, loader):
                self.net = Net()
                self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)
                self.train(loader)

            def train(self, loader):
                for x, y in loader:
                    self.optimizer.zero_grad()  # healthy
                    F.cross_entropy(self.net(x), y).backward()
                    self.optimizer.step()  # found

        Solver(loader)
    """,
    "walrus and try": """
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        while (batch := next(batches, None)) is not None:
            try:
                optimizer.zero_grad()  # healthy
                F.cross_entropy(net(batch[0]), batch[1]).backward()
                optimizer.step()  # found
            except RuntimeError:
                continue
    """,
}
PROJECTS["step of a derived class, started where no word of a rule is"] = (
    "missing-zero-grad",
    {
        "engine.py": """
            import torch
            import torch.nn.functional as F

            class Loop:
                def __init__(self, model, optimizer, loader):
                    self.model, self.optimizer, self.loader = model, optimizer, loader

                def run(self, epochs):
                    for _ in range(epochs):
                        for batch in self.loader:
                            self.update(batch)

                def update(self, batch):
                    raise NotImplementedError

            class Trainer(Loop):
                def update(self, batch):
                    self.optimizer.zero_grad()  # healthy
                    F.cross_entropy(self.model(batch[0]), batch[1]).backward()
                    self.optimizer.step()  # found
        """,
        "main.py": """
            from build import build
            from engine import Trainer

            if __name__ == "__main__":
                Trainer(*build()).run(3)
        """,
    },
)
HEAD = "import torch\nimport torch.nn.functional as F\nfrom model import Net\n\n"
PROJECTS |= {
    style: ("missing-zero-grad", {"model.py": MODEL, "train.py": HEAD + inspect.cleandoc(text)})
    for style, text in STYLES.items()
}


PROJECTS |= {
    "ignite's update function": (
        "missing-zero-grad",
        {
            "model.py": MODEL,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from ignite.engine import Engine
                from model import Net

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

                def update(engine, batch):
                    optimizer.zero_grad()  # healthy
                    F.cross_entropy(net(batch[0]), batch[1]).backward()
                    optimizer.step()  # found

                Engine(update).run(loader, max_epochs=3)
            """,
        },
    ),
    "partial of the clip before backward": (
        "clip-before-backward",
        {
            "model.py": MODEL,
            "train.py": """
                from functools import partial
                import torch
                import torch.nn.functional as F
                from model import Net

                shorten = partial(torch.nn.utils.clip_grad_norm_, max_norm=1.0)
                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    optimizer.zero_grad()
                    loss = F.cross_entropy(net(x), y)
                    shorten(net.parameters())  # sick found
                    loss.backward()
                    shorten(net.parameters())  # healthy
                    optimizer.step()
            """,
        },
    ),
    "model from the second of two star imports": (
        "softmax-into-cross-entropy",
        {
            "helpers.py": "\ndef name():\n    return 'net'",
            "model.py": PROBABILITIES,
            "train.py": """
                import torch
                import torch.nn.functional as F
                from helpers import *
                from model import *

                net = Net()
                optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()  # found
                    optimizer.step()
            """,
        },
    ),
    "metric that the module of another file logs": (
        "monitor-never-logged",
        {
            "base.py": """
                import lightning as L

                class Base(L.LightningModule):
                    def validation_step(self, batch, index):
                        self.log("val_loss", self.loss(batch))
            """,
            "model.py": """
                from base import Base

                class Net(Base):
                    def training_step(self, batch, index):
                        loss = self.loss(batch)
                        self.log("train_loss", loss)
                        return loss
            """,
            "train.py": """
                import lightning as L
                from lightning.pytorch.callbacks import EarlyStopping
                from model import Net

                stop = EarlyStopping(monitor="valid_loss")  # sick found
                stop = EarlyStopping(monitor="val_loss")  # healthy
                L.Trainer(callbacks=[stop]).fit(Net())
            """,
        },
    ),
    "mode that a decorator of another file sets around a method": (
        "train-eval-mode",
        {
            "around.py": """
                import functools

                def evaluating(method):
                    @functools.wraps(method)
                    def wrapped(self, *args, **kwargs):
                        self.net.eval()  # healthy
                        result = method(self, *args, **kwargs)
                        self.net.train()
                        return result
                    return wrapped
            """,
            "train.py": """
                import torch
                import torch.nn as nn
                import torch.nn.functional as F
                from around import evaluating

                class Trainer:
                    def __init__(self):
                        self.net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
                        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.1)

                    @evaluating
                    def evaluate(self, batches):
                        with torch.no_grad():
                            return sum((self.net(x).argmax(1) == y).sum().item() for x, y in batches)  # found

                    def fit(self, loader, held_out):
                        for epoch in range(3):
                            for x, y in loader:
                                self.optimizer.zero_grad()
                                F.cross_entropy(self.net(x), y).backward()
                                self.optimizer.step()
                            print(self.evaluate(held_out))

                Trainer().fit(loader, held_out)
            """,
        },
    ),
    "loss that the model of another file computes of unshifted targets": (
        "unshifted-targets",
        {
            "gpt.py": """
                import torch.nn as nn
                import torch.nn.functional as F

                class Block(nn.Module):
                    def __init__(self, d):
                        super().__init__()
                        self.norm, self.qkv = nn.LayerNorm(d), nn.Linear(d, 3 * d)

                    def forward(self, x):
                        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
                        return x + F.scaled_dot_product_attention(q, k, v, is_causal=True)

                class Gpt(nn.Module):
                    def __init__(self, words, d):
                        super().__init__()
                        self.embedding, self.head = nn.Embedding(words, d), nn.Linear(d, words)
                        self.blocks = nn.ModuleList([Block(d) for _ in range(4)])
                        self.norm = nn.LayerNorm(d)

                    def forward(self, idx, targets=None):
                        x = self.embedding(idx)
                        for block in self.blocks:
                            x = block(x)
                        logits = self.head(self.norm(x))
                        if targets is None:
                            return logits[:, [-1]], None
                        return logits, F.cross_entropy(logits.flatten(0, 1), targets.flatten())
            """,
            "train.py": """
                import torch
                from gpt import Gpt

                gpt = Gpt(500, 64)
                optimizer = torch.optim.AdamW(gpt.parameters())
                for x, y in batches():
                    _, loss = gpt(x, targets=x)  # sick found
                    _, loss = gpt(x, targets=y)  # healthy
                    optimizer.zero_grad(set_to_none=True)
                    loss.backward()
                    optimizer.step()
            """,
        },
    ),
    "mask that a helper in utils makes, through a parameter of forward": (
        "inverted-attention-mask",
        {
            "utils.py": """
                import torch

                def make_pad_mask(lengths, longest):
                    steps = torch.arange(longest, device=lengths.device)
                    return steps.unsqueeze(0).expand(len(lengths), -1) < lengths.unsqueeze(1)  # sick
                    return steps.unsqueeze(0).expand(len(lengths), -1) >= lengths.unsqueeze(1)  # healthy
            """,
            "model.py": """
                import torch.nn as nn

                class Encoder(nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.layers = nn.ModuleList([nn.TransformerEncoderLayer(64, 4) for _ in range(3)])

                    def forward(self, x, mask=None):
                        for layer in self.layers:
                            x = layer(x, src_key_padding_mask=mask)  # found
                        return x
            """,
            "train.py": """
                import torch
                from model import Encoder
                from utils import make_pad_mask

                encoder = Encoder()
                optimizer = torch.optim.AdamW(encoder.parameters())
                for x, lengths in loader:
                    hidden = encoder(x, mask=make_pad_mask(lengths, x.size(0)).to(x.device))
                    optimizer.zero_grad()
                    hidden.square().mean().backward()
                    optimizer.step()
            """,
        },
    ),
    "mask of an object, which an attention by hand fills its scores with": (
        "inverted-attention-mask",
        {
            "attention.py": """
                import math
                import torch

                def attention(query, key, value, mask=None):
                    scores = torch.matmul(query, key.transpose(-2, -1)) / math.sqrt(query.size(-1))
                    if mask is not None:
                        scores = scores.masked_fill(mask == 0, -1e9)  # found
                    return torch.matmul(scores.softmax(dim=-1), value)
            """,
            "batch.py": """
                import numpy as np
                import torch

                def subsequent_mask(size):
                    later = np.triu(np.ones((1, size, size)), k=1).astype("uint8")
                    return torch.from_numpy(later) != 0  # sick
                    return torch.from_numpy(later) == 0  # healthy

                class Batch:
                    def __init__(self, tgt, pad=0):
                        self.tgt_mask = (tgt != pad).unsqueeze(-2) & subsequent_mask(tgt.size(-1))
            """,
            "train.py": """
                import torch
                from attention import attention
                from batch import Batch

                net = torch.nn.Linear(64, 64)
                optimizer = torch.optim.AdamW(net.parameters())
                for tgt, x in loader:
                    batch = Batch(tgt)
                    optimizer.zero_grad()
                    attention(net(x), x, x, mask=batch.tgt_mask).square().mean().backward()
                    optimizer.step()
            """,
        },
    ),
    "optimizer from a table of classes": (
        "large-learning-rate",
        {
            "build.py": """
                import torch

                KINDS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}

                def build(name, net):
                    return KINDS[name](net.parameters(), lr=0.3)  # sick found
                    return KINDS[name](net.parameters(), lr=3e-4)  # healthy
            """,
            "model.py": MODEL,
            "train.py": """
                import torch.nn.functional as F
                from build import build
                from model import Net

                net = Net()
                optimizer = build("adam", net)
                for x, y in loader:
                    optimizer.zero_grad()
                    F.cross_entropy(net(x), y).backward()
                    optimizer.step()
            """,
        },
    ),
}


def written(folder: Path, files: dict[str, str], other: str) -> list[Path]:
    """The form of a project without the lines of the `other`."""
    for name, text in files.items():
        lines = [line for line in inspect.cleandoc(text).splitlines() if f"# {other}" not in line]
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return sorted(folder.rglob("*.py"))


def check(folder: Path, files: dict[str, str], other: str) -> tuple[Diagnostic, ...]:
    return pipeline.check(written(folder, files, other), config.load(folder)).diagnostics


def marked(paths: list[Path]) -> set[tuple[str, int]]:
    lines = ((path, *row) for path in paths for row in enumerate(path.read_text("utf-8").splitlines(), 1))
    return {(path.name, number) for path, number, line in lines if "found" in line.partition("# ")[2]}


@pytest.mark.parametrize("name", PROJECTS)
def test_the_fault_is_found(tmp_path: Path, name: str) -> None:
    rule, files = PROJECTS[name]
    found = {(Path(d.location.path).name, d.location.line) for d in check(tmp_path, files, "healthy") if d.rule == rule}
    assert marked(sorted(tmp_path.rglob("*.py"))) <= found


@pytest.mark.parametrize("name", PROJECTS)
def test_its_healthy_twin_is_let_go(tmp_path: Path, name: str) -> None:
    rule, files = PROJECTS[name]
    found = check(tmp_path, files, "sick")
    assert [d for d in found if d.rule == rule or d.level.rank >= Severity.WARNING.rank] == []
