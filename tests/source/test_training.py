from __future__ import annotations

from collections.abc import Callable

import pytest

from modellint.source.code import Value
from modellint.source.facts import Act
from modellint.source.script import Script
from modellint.source.trace import FEWEST, MOST, allowed

Read = Callable[[str], Script]


def acts(script: Script) -> list[list[str]]:
    """The kinds of what changes gradients or weights, of each training loop."""
    kinds = ("clear", "backward", "clip", "unscale", "step")
    return [[act.kind for act in loop.acts if act.kind in kinds] for loop in script.training_loops]


RITUAL = ["clear", "backward", "step"]


@pytest.mark.parametrize(
    "text",
    [
        """
        for x, y in loader:
            optimizer.zero_grad()
            loss(model(x), y).backward()
            optimizer.step()
        """,
        """
        while True:
            model.zero_grad(set_to_none=True)
            scaler.scale(loss(model(x), y)).backward()
            scaler.step(optimizer)
            scaler.update()
        """,
        """
        def step(batch, optimizer):
            optimizer.zero_grad()
            loss(batch).backward()
            optimizer.step()

        def main():
            sgd = torch.optim.SGD(model.parameters(), lr=0.1)
            for batch in loader:
                step(batch, sgd)

        main()
        """,
        """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.adam = torch.optim.Adam(net.parameters())

            def fit(self):
                for batch in self.batches:
                    self._update(self.net(batch))

            def _update(self, out):
                chosen = self.adam
                chosen.zero_grad()
                out.backward()
                chosen.step()

        Trainer(Net()).fit()
        """,
        """
        def build():
            net = Net()
            return net, torch.optim.Adam(net.parameters())

        net, a = build()
        for x in loader:
            a.zero_grad()
            net(x).backward()
            a.step()
        """,
        """
        import functools
        make = functools.partial(torch.optim.SGD, lr=0.1)
        o = make(net.parameters())
        for x in loader:
            o.zero_grad()
            net(x).backward()
            o.step()
        """,
        """
        o = getattr(torch.optim, name)(net.parameters())
        for x in loader:
            o.zero_grad()
            net(x).backward()
            o.step()
        """,
        """
        def closure():
            o.zero_grad()
            out = net(x)
            out.backward()
            return out

        o = torch.optim.LBFGS(net.parameters())
        for _ in range(10):
            o.step(closure)
        """,
        """
        class Noam:
            def __init__(self, inner):
                self.inner = inner

            def step_and_update(self):
                self.inner.step()

            def clear(self):
                self.inner.zero_grad()

        noam = Noam(torch.optim.Adam(net.parameters()))
        for x in loader:
            noam.clear()
            net(x).backward()
            noam.step_and_update()
        """,
        """
        both = [torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())]
        for x in loader:
            for one in both:
                one.zero_grad()
            net(x).backward()
            for one in both:
                one.step()
        """,
    ],
)
def test_the_ritual_is_seen_in_every_style(read: Read, text: str) -> None:
    assert acts(read(text)) == [RITUAL]


@pytest.mark.parametrize(
    "text",
    [
        """
        while True:
            obs, reward = env.step(action)
            loss.backward()
        """,
        """
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 10)
        optimizer = DDPMScheduler()
        for x in loader:
            loss(x).backward()
            optimizer.step()
            scheduler.step()
        """,
    ],
)
def test_the_binding_decides_and_not_the_name(read: Read, text: str) -> None:
    assert acts(read(text)) == []


def test_two_optimizers_are_told_apart(read: Read) -> None:
    (loop,) = read("""
        def make(net):
            return torch.optim.Adam(net.parameters())

        g, d = make(generator), make(discriminator)
        for x in loader:
            g.zero_grad()
            loss(x).backward()
            g.step()
            d.step()
    """).training_loops
    clear = next(loop.of("clear"))
    assert [clear.concerns(step) for step in loop.steps] == [True, False]


def test_arms_of_a_branching_exclude_each_other_wherever_it_is_asked(read: Read) -> None:
    (loop,) = read("""
        for x in loader:
            optimizer.zero_grad()
            if args.amp:
                scaler.scale(loss(x)).backward()
            else:
                loss(x).backward()
            if not args.amp:
                optimizer.step()
            else:
                scaler.step(optimizer)
    """).training_loops
    scaled, plain = loop.of("backward")
    first, second = loop.steps
    assert scaled.excludes(plain)
    assert scaled.excludes(first)
    assert not scaled.excludes(second)
    assert [act.kind for act in loop.before(first)][:2] == ["backward", "clear"]


def test_helpers_in_other_files_are_followed(project: Callable[..., dict[str, Script]]) -> None:
    scripts = project(
        {
            "train.py": """
                from lib.update import apply
                from lib import data as d

                def train(optimizer):
                    for x in d.batches():
                        optimizer.zero_grad()
                        loss(x).backward()
                        apply(optimizer)
            """,
            "lib/__init__.py": "",
            "lib/update.py": """
                from .clip import clip as shorten

                def apply(opt):
                    shorten(opt)
                    opt.step()
            """,
            "lib/clip.py": """
                from torch.nn.utils import clip_grad_norm_

                def clip(opt):
                    clip_grad_norm_(opt.param_groups[0]["params"], 1.0)
            """,
        },
        "train.py",
    )
    assert acts(scripts["train.py"]) == [["clear", "backward", "clip", "step"]]
    (clip,) = scripts["train.py"].training_loops[0].clips
    assert clip.location.path is not None
    assert clip.location.path.endswith("clip.py")
    assert clip.bound == (1.0,)


def test_a_loop_is_told_once_and_with_what_its_caller_knows(project: Callable[..., dict[str, Script]]) -> None:
    scripts = project(
        {
            "engine.py": """
                def fit(net, o):
                    for x in loader:
                        net.zero_grad()
                        net(x).backward()
                        o.step()
            """,
            "main.py": """
                import torch
                from engine import fit

                net = torch.nn.Linear(2, 2)
                fit(net, torch.optim.SGD(net.parameters(), lr=0.1))
            """,
        }
    )
    assert acts(scripts["main.py"]) == []
    assert acts(scripts["engine.py"]) == [RITUAL]


def test_micro_batches_belong_to_the_loop_that_steps(read: Read) -> None:
    (loop,) = read("""
        for batch in loader:
            optimizer.zero_grad()
            for part in batch.split(8):
                loss(part).backward()
            optimizer.step()
    """).training_loops
    assert [bool(act.loops) for act in loop.acts if act.kind in RITUAL] == [False, True, False]


def test_two_functions_of_one_name_have_their_own_loops(read: Read) -> None:
    script = read("""
        if fast:
            def train(model, loader, optimizer):
                if loader:
                    for x, y in loader:
                        optimizer.zero_grad()
                        loss(model(x), y).backward()
                        optimizer.step()
        else:
            def train(model, loader, optimizer):
                for x in loader:
                    optimizer.step()
        """)
    assert sorted((loop.location.line, len(loop.acts)) for loop in script.training_loops) == [(4, 4)]


def test_where_nothing_comes_to_an_end_less_is_looked_at_and_all_again_behind_what_trains() -> None:
    spent, trains = Act("keep", Value("call")), Act("backward", Value("call"))
    assert allowed(MOST, None) == MOST // 2
    assert allowed(FEWEST, None) == FEWEST
    assert allowed(FEWEST, [spent]) == FEWEST
    assert allowed(FEWEST, [spent, trains]) == MOST


def test_copies_of_copies_end(read):
    """Each copy was called after all calls that led to it, which doubled the name with every one: 16 GB for StyleGAN3."""
    script = read("""
        def load(data):
            for key in ("G", "D"):
                old = data[key]
                kwargs = copy.deepcopy(old.kwargs)
                inner = kwargs.get("inner", kwargs)
                inner.fp16 = 4
                if kwargs != old.kwargs:
                    data[key] = type(old)(**kwargs).eval()
            return data

        def main():
            net = load({"G": torch.nn.Linear(4, 2)})["G"]
            average = copy.deepcopy(net).eval()
            optimizer = torch.optim.Adam(net.parameters())
            for x, y in loader:
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
    """)
    (loop,) = script.training_loops
    assert all(len(name) < 1000 for act in loop.acts for name in act.parameters)
