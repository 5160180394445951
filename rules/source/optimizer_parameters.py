"""ML124."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.diagnostic import Fix, Location
from modellint.core.edit import move
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.source import lookup, paired
from modellint.source.code import Event, Value
from modellint.source.facts import Act, Optimizer, TrainingLoop

# Models that are called for their judgement, not to be trained.
GIVEN = pattern(rb"parameters\(\)(?! *:)")  # not only walked over
FIXED = pattern(
    r"teacher|target|ema|average|vgg|lpips|percep|pretrained|frozen|fixed|clip|inception|reference|ref_|reward|expert"
    r"|feature|extractor|memory|bank|queue|old|loss|crit|eval|val|activation|act_f|disparity|distance",
    re.IGNORECASE,
)


def _run(optimizer: int | None) -> Run:
    return Run(
        (Step(0),), (Parameter("body.weight", (8, 8), optimizer=0), Parameter("fc.weight", (2, 8), optimizer=optimizer))
    )


TRAINS = pattern(r"^(step|backward|fit|train_\w+|\w*train|finetune\w*|fine_tune\w*)$")


class OptimizerParameters(SourceRule):
    """The optimizer does not hold the parameters of the model that is trained.

    Why: an optimizer keeps the tensors that it was given. A layer that is put into the model afterwards, or a model whose
        `parameters()` it was never given, gets gradients and is never changed by them: it keeps its random weights.
    Fix: build the model completely, then the optimizer over all of its parameters; or use `add_param_group`.
    Ignore: when a model is meant to stay as it is; `requires_grad_(False)` says so and saves the gradients.
    Reported: https://github.com/microsoft/nni/issues/4521, https://github.com/line/open-universe/issues/5,
        https://github.com/zhaoyuzhi/deepfillv2/pull/3
    """

    code, severity, certain, topic = "ML124", Severity.ERROR, True, "structure"
    explains = ("loss-not-falling",)
    remedy = "unfreeze"
    twins = ("loose-parameters",)
    words = (("parameters()", GIVEN, pattern(rb"\boptim\b|ptimizer|Adam|SGD|RMSprop")), ".backward(")
    bad = (
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model.fc = nn.Linear(model.fc.in_features, 10)
        train(model, optimizer)
        """,
        """
        class Trainer:
            def __init__(self, net):
                self.net = net
                self.opt = torch.optim.Adam([p for p in self.net.parameters() if p.requires_grad])
                self.net.classifier[6] = nn.Sequential(nn.Dropout(), nn.Linear(4096, 10))
        """,
        """
        mrd, mpd = MultiResolution(), MultiPeriod()
        params = list(mrd.parameters()) + list(mrd.parameters())
        optimizer = torch.optim.AdamW(params, lr=2e-4)
        """,
        """
        generator, discriminator = nn.Linear(8, 8), nn.Linear(8, 1)
        optimizer_g = torch.optim.Adam(generator.parameters())
        optimizer_d = torch.optim.Adam(generator.parameters())
        for real in loader:
            fake = generator(noise())
            optimizer_d.zero_grad()
            (discriminator(fake.detach()).mean() - discriminator(real).mean()).backward()
            optimizer_d.step()
            optimizer_g.zero_grad()
            (-discriminator(fake).mean()).backward()
            optimizer_g.step()
        """,
        """
        class Gan:
            def __init__(self, options):
                self.netG, self.netD = define(options, "G"), define(options, "D")
                self.optimizer_G = torch.optim.Adam(self.netG.parameters(), lr=options.lr)
                self.optimizer_D = torch.optim.Adam(self.netG.parameters(), lr=options.lr)
        """,
        """
        generator, discriminator = make(64), make(1)
        optimizer_G = torch.optim.Adam(generator.parameters(), lr=2e-4)
        optimizer_D = torch.optim.Adam(generator.parameters(), lr=2e-4)
        """,
        """
        net1 = create(args)
        net2 = create(args)
        optimizer1 = torch.optim.SGD(net2.parameters(), lr=args.lr)
        optimizer2 = torch.optim.SGD(net2.parameters(), lr=args.lr)
        """,
    )
    fixed = (
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(model.fc.in_features, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        train(model, optimizer)
        """,
        None,
        None,
        None,
    )
    suspected = (
        """
        model = torchvision.models.resnet18(num_classes=4)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        model.fc = nn.Linear(512, 10)
        finetune(model, lr=0.001)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = torchvision.models.resnet18(weights="DEFAULT")
                self.neck, self.head = nn.Linear(1000, 64), nn.Linear(64, 10)

            def forward(self, x):
                return self.head(self.neck(self.body(x)))

        net = Net().to(device)
        optimizer = torch.optim.Adam([{"params": net.body.parameters(), "lr": 1e-5}, {"params": net.head.parameters()}])
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net(x), y).backward()
            optimizer.step()
        """,
    )
    good = (
        """
        class Coach:
            def __init__(self, options):
                self.build(options)
                self.optimizer = torch.optim.Adam(self.mapping.parameters())

            def build(self, options):
                self.generator = Generator(options).to("cuda").eval()  # is trained already
                self.mapping = nn.Linear(512, 512)

            def train(self):
                for x, y in self.loader:
                    self.optimizer.zero_grad()
                    F.mse_loss(self.generator.forward(self.mapping(x)), y).backward()
                    self.optimizer.step()
        """,
        """
        class Gan:
            def __init__(self, generator, critic):
                self.netG, self.netD = generator, critic
                self.optimizer_G = torch.optim.Adam(self.netG.parameters())
                self.optimizer_D = torch.optim.Adam(self.netD.parameters())
                self.warmup_G = torch.optim.SGD(self.netG.parameters(), lr=0.1)
        """,
        """
        net1, net2 = build(), build()
        optimizer1 = torch.optim.SGD(net1.parameters(), lr=0.1)
        optimizer2 = torch.optim.SGD(net1.parameters(), lr=0.01)  # two rates, and a copy that follows
        for a, b in zip(net1.parameters(), net2.parameters()):
            b.data = a.data
        """,
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(512, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model.criterion = nn.CrossEntropyLoss()
        model.activation = nn.Softmax(dim=1)
        model.fc = model.fc.to(device)
        """,
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        model.fc = nn.Linear(512, 10)
        optimizer.add_param_group({"params": model.fc.parameters()})
        """,
        """
        backbone = torchvision.models.resnet18(weights="DEFAULT")
        backbone.requires_grad_(False)
        head = nn.Linear(512, 10)
        optimizer = torch.optim.Adam(head.parameters())
        for x, y in loader:  # frozen
            optimizer.zero_grad()
            F.cross_entropy(head(backbone(x)), y).backward()
            optimizer.step()
        """,
        """
        student, teacher = nn.Linear(8, 8), nn.Linear(8, 8)
        optimizer = torch.optim.Adam(student.parameters())
        for x in loader:
            optimizer.zero_grad()
            F.mse_loss(student(x), teacher(x)).backward()
            optimizer.step()
        """,
        """
        encoder, decoder = nn.Linear(8, 2), nn.Linear(2, 8)
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()])
        for x in loader:
            optimizer.zero_grad()
            F.mse_loss(decoder(encoder(x)), x).backward()
            optimizer.step()
        """,
        """
        model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 2))
        decay = [p for p in model.parameters() if p.ndim > 1]
        plain = [p for p in model.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW([{"params": decay}, {"params": plain, "weight_decay": 0.0}])
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = nn.Linear(8, 8), nn.Linear(8, 10)

            def forward(self, x):
                return self.head(self.body(x))

        net = Net()
        net.load_state_dict(torch.load("net.pt"))  # only its head is to be trained further
        optimizer = torch.optim.Adam(net.head.parameters())
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head, self.target = nn.Linear(8, 8), nn.Linear(8, 10), nn.Linear(8, 8)

            def forward(self, x):
                with torch.no_grad():
                    goal = self.target(x)
                return self.head(self.body(x)), goal

        net = Net()
        optimizer = torch.optim.Adam([*net.head.parameters()])
        warm = torch.optim.SGD(net.body.parameters(), lr=0.1)
        """,
    )
    confirmed_by = _run(None)
    not_confirmed_by = _run(0)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for made in script.optimizers:
            for layer in made.replaced[:1]:
                message = (
                    f"is given the parameters of a model that gets a new {layer.method} in line {layer.location.line}"
                )
                yield self.at(made, message, certain=not _trains_between(script, made.location, layer.location))
            if made.twice:
                yield self.at(made, f"is given the parameters of `{made.twice}` twice", severity=Severity.WARNING)
            for part in made.left[:1]:
                message = (
                    f"is given parts of a model, and not what `{part.method}` makes for it in line {part.location.line}"
                )
                yield self.at(made, message, certain=False)
            for event in _unused(script, made):
                yield self.at(event, f"`{event.name}` holds parameters, and nothing is done with it", certain=False)
        misled = list(paired.misled(script)) if len(script.optimizers) > 1 else []
        for made, model, other in misled:
            yield self.at(made, f"is given the parameters of `{model}`, and those of `{other}` go to no optimizer")
        if not misled and not script.attributes & {"requires_grad", "requires_grad_", "freeze"}:
            yield from self._loose(script)

    def _loose(self, script: Script) -> Iterator[Diagnostic]:
        """Models that a loss comes through and no optimizer holds."""
        for loop in script.training_loops:
            steps = [act for act in (*loop.acts, *loop.outer) if act.kind == "step"]
            held = [made.held for made in script.optimizers] + [step.parameters for step in steps]
            if all(held) and not any(act.owner or _may_make(act) for act in loop.acts):
                models = {act.parameters: act for act in loop.of("model") if _learns(script, loop, act)}
                for act in models.values():
                    if not any(act.shares(one) for one in held):
                        name = act.call.name
                        yield self.at(act, f"trains `{name}`, whose parameters no optimizer holds", certain=False)

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        made = next((made for made in script.optimizers if made.location == finding.location and made.replaced), None)
        return Fix((move(made, after=made.replaced[-1]),)) if made is not None else None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        trainable = [parameter for parameter in run.parameters if parameter.requires_grad]
        if not trainable or not run.steps:
            return None
        seen = max(step.index for step in run.steps) > 1  # what the loss reaches is known from the third step on
        loose = sum(parameter.loose if seen else parameter.optimizer is None for parameter in trainable)
        return Evidence("trainable parameters that no optimizer holds", loose, 0, holds=loose > 0)


def _unused(script: Script, made: Optimizer) -> Iterator[Event]:
    """The lists of a model's parameters that are made for groups in the function of an optimizer, and never named again."""
    function = lookup.function(script, made.location)
    if function is None or function.kind == "module":
        return
    bound = [e for e in function.events if e.kind == "assign" and e.value is not None and _lists(e.value)]
    read = (
        {part.name for value in function.values for part in value.within() if part.kind == "name"} if bound else set()
    )
    for event in bound:
        if event.name not in read and not any(event.name in str(call) for call in function.calls):
            yield event


def _lists(value: Value) -> bool:
    """`[p for p in model.parameters() if ...]`"""
    walked = value.base if value.kind == "comprehension" else None
    while walked is not None and walked.kind in ("element", "item") and walked.base is not None:
        walked = walked.base
    return walked is not None and walked.kind == "call" and walked.method in ("parameters", "named_parameters")


def _may_make(act: Act) -> bool:
    """Whether a helper that was not found is given anything of which it may make an optimizer."""
    return act.kind == "unknown" and bool(act.call.arguments or act.call.keywords)


def _trains_between(script: Script, first: Location, last: Location) -> bool:
    """Whether a stage of the training lies between two lines: the model may have got the layer for the next one."""
    lines = (call.location for call in script.calls if TRAINS.search(call.method))
    return any(at.path == first.path and (first.line or 0) < (at.line or 0) < (last.line or 0) for at in lines)


def _learns(script: Script, loop: TrainingLoop, act: Act) -> bool:
    """Whether a loss comes through the model with its graph, and nothing says that it stays as it is."""
    through = any(origin is act.call for backward in loop.of("backward") for origin in backward.origins)
    ahead = [mode.kind for mode in loop.modes if mode.kind in ("eval", "train") and mode.shares(act.parameters)]
    within = {other.kind for other in (*loop.acts, *loop.outer) if other.shares(act.parameters)}
    stays = ahead[-1:] == ["eval"] or ("eval" in within and "train" not in within)
    name = act.call.name.removesuffix(".forward")
    fixed = stays or FIXED.search(name) is not None or lookup.made_still(script, name)
    return through and bool(act.parameters) and act.recorded is True and not fixed
