"""ML424."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.facts import Act, TrainingLoop

UPDATES = frozenset(
    "copy_ lerp_ mul_ add_ _foreach_lerp_ _foreach_mul_ _foreach_add_ update_parameters AveragedModel".split()
)
MOVING = pattern(
    r"(^|[^a-z])ema([^a-z]|$)|momentum_(update|encoder)|moving_?av|mean_?teacher|soft_?update|polyak|mc_drop|uncertain|bayes"
)


class TeacherInTrainingMode(SourceRule):
    """A frozen network that gives targets or features is never put into evaluation mode: its dropout and batch norm are at work.

    Why: a new module is in training mode, also after `load_state_dict`. Dropout makes the teacher's answer to the same input
        another one each time, batch norm makes it depend on the other samples of the batch, and the batch norm's running
        statistics drift from those that it was trained with: the student learns noise, from a worse teacher.
    Fix: call `teacher.eval()` once before the loop (and again after a `train()` of a module that holds it).
    Ignore: when the noise is meant, as for Monte Carlo dropout. Teachers that follow the student are not reported.
    Reported: https://github.com/vrvlive/knowlege-distillation/issues/2, https://github.com/wuzhiyuan2000/FedAgg/issues/2
    """

    code, severity, certain, topic = "ML424", Severity.WARNING, True, "evaluation"
    twins = ("teacher-drops-out",)
    words = tuple((cut, ".backward(", "load_state_dict(") for cut in ("no_grad", ".detach()", "inference_mode"))
    bad = (
        """
        teacher = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
        teacher.load_state_dict(torch.load("teacher.pt"))
        student = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(student.parameters())
        for x, y in loader:
            with torch.no_grad():
                target = teacher(x)
            loss = F.kl_div(student(x).log_softmax(1), target.softmax(1), reduction="batchmean")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.conv, self.norm, self.head = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Linear(8, 10)

            def forward(self, x):
                return self.head(self.norm(self.conv(x)).mean((2, 3)))

        class Distiller:
            def __init__(self, checkpoint):
                self.teacher = Net()
                self.teacher.load_state_dict(checkpoint["model"])
                for p in self.teacher.parameters():
                    p.requires_grad = False
                self.student = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 10))
                self.optimizer = torch.optim.SGD(self.student.parameters(), lr=0.1)

            def fit(self, loader):
                self.student.train()
                for x, y in loader:
                    target = self.teacher(x).detach()
                    self.optimizer.zero_grad()
                    F.mse_loss(self.student(x), target).backward()
                    self.optimizer.step()

        Distiller(torch.load(path)).fit(loader)
        """,
    )
    good = (
        """
        def load():
            net = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 3))
            net.load_state_dict(torch.load("teacher.pt"))
            net.eval()
            return net

        teacher = load()
        student = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(student.parameters())
        for x, y in loader:
            with torch.no_grad():
                target = teacher(x)
            optimizer.zero_grad()
            F.mse_loss(student(x), target).backward()
            optimizer.step()
        """,
        """
        student = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5), nn.Linear(64, 3))
        student.load_state_dict(torch.load("start.pt"))
        teacher = copy.deepcopy(student)  # follows the student, with its noise
        optimizer = torch.optim.Adam(student.parameters())
        for x, y in loader:
            with torch.no_grad():
                target = teacher(x)
            optimizer.zero_grad()
            F.mse_loss(student(x), target).backward()
            optimizer.step()
            for t, s in zip(teacher.parameters(), student.parameters()):
                t.data = 0.99 * t.data + 0.01 * s.data
        """,
        """
        teacher = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))  # the same in both modes
        teacher.load_state_dict(torch.load("teacher.pt"))
        student = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
        optimizer = torch.optim.Adam(student.parameters())
        for x, y in loader:
            with torch.no_grad():
                target = teacher(x)
            optimizer.zero_grad()
            F.mse_loss(student(x), target).backward()
            optimizer.step()
        """,
        """
        generator = nn.Sequential(nn.Linear(8, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 3))
        critic = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.Linear(64, 1))
        generator.load_state_dict(torch.load("generator.pt"))
        g, d = torch.optim.Adam(generator.parameters()), torch.optim.Adam(critic.parameters())
        for x in loader:
            with torch.no_grad():
                fake = generator(torch.randn(64, 8))
            d.zero_grad()
            (critic(fake).mean() - critic(x).mean()).backward()
            d.step()
            g.zero_grad()
            (-critic(generator(torch.randn(64, 8))).mean()).backward()
            g.step()
        """,
    )
    suspected = """
        from project.modes import freeze

        teacher = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2))
        student = nn.Linear(4, 2)
        teacher.load_state_dict(torch.load("teacher.pt"))
        freeze(teacher)
        optimizer = torch.optim.SGD(student.parameters(), lr=0.1)
        for x, y in loader:
            with torch.no_grad():
                wanted = teacher(x)
            optimizer.zero_grad()
            F.mse_loss(student(x), wanted).backward()
            optimizer.step()
        """

    def check(self, script: Script) -> Iterator[Diagnostic]:
        moved = not UPDATES.isdisjoint(script.called) or any(map(MOVING.search, (*script.attributes, *script.called)))
        for loop in script.training_loops if not moved else ():
            seen = set[tuple[str, ...]]()
            for act in _teachers(loop):
                if act.parameters not in seen and _is_fixed(script, act):
                    seen.add(act.parameters)
                    name = act.call.name
                    message = f"takes the targets from `{name}` in training mode: its dropout or batch norm is at work"
                    sure = loop.whole and not _is_handed_on(script, name)
                    yield self.at(act, f"{message}, and `{name}.eval()` missing", certain=sure)


def _teachers(loop: TrainingLoop) -> Iterator[Act]:
    """The calls of models that tell the modes apart, from which a loss comes and no gradient goes back."""
    backwards = list(loop.of("backward"))
    reached = {id(origin) for act in backwards for origin in act.origins}
    behind = {id(origin) for act in backwards for origin in act.behind}
    held = [step.parameters for step in loop.steps]
    for act in loop.of("model") if all(held) else ():
        around = (*loop.modes, *loop.outer, *loop.acts)
        modes = (mode for mode in around if mode.kind in ("eval", "train", "mode") and mode.concerns(act))
        trained = any(act.shares(parameters) for parameters in held)
        cut = id(act.call) in behind and id(act.call) not in reached
        if act.modal and act.parameters and cut and not trained and next(modes, None) is None:
            yield act


def _is_handed_on(script: Script, name: str) -> bool:
    """Whether a function that is not read may give it its mode: `freeze(teacher)`."""
    own = {function.name for function in script.functions}
    calls = (call for call in script.calls if call.name not in own and not call.name.startswith("torch."))
    return any(given.name == name for call in calls for given in call.arguments)


def _is_fixed(script: Script, act: Act) -> bool:
    """Whether the weights of a model are loaded, and nothing of its name is given a mode."""
    name = act.call.name.removesuffix(".forward")
    modes = (call for call in script.calls if call.method in ("eval", "train", "apply") and call.receiver is not None)
    set_by_name = any(name.rpartition(".")[2] in str(call.receiver) for call in modes)
    return not set_by_name and any(call.name == f"{name}.load_state_dict" for call in script.calls)
