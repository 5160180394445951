"""ML138."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import dropwhile

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup
from modellint.source.code import Block, Event, Function, Value

# Networks that are meant to stay as they were made, or that get the weights of another one.
MEANT = pattern(r"rand|target|teacher|ema|momentum|copy|ref|prior|shadow|old|prev|loss|critic|disc|^d$|netd", re.I)
LOADED = pattern(
    r"load_(state|weight|model|pre|ckpt|check|from)\w*|\w*pretrained\w*|\w*checkpoint\w*|copy_|re(store|sume)\w*",
    re.I,
)
LAYERS = pattern(r"torch\.nn\.(Sequential|Linear|LSTM|GRU|Transformer(En|De)coder)")
THAWS = pattern(r"unfreeze|thaw|trainable|inject|lora|adapter|peft", re.I)
PREPARES = ("to", "cuda", "cpu", "eval", "train", "parameters", "named_parameters", "print", "apply", "requires_grad_")


class FrozenFreshParameters(SourceRule):
    """Layers that start at random are frozen before they have learned anything.

    Why: freezing is for weights that were trained before. A backbone without pretrained weights, or a head that is
        replaced before everything is frozen, keeps its random values for ever; the rest of the model has to make do
        with them. An optimizer that is given nothing but frozen parameters trains nothing.
    Fix: load pretrained weights (`weights="DEFAULT"`), or freeze before the new head is put in.
    Ignore: when random features are what is studied; a suspicion for networks that the project itself defines, or where
        another function may still load the weights.
    Reported: https://github.com/pytorch/vision/issues/2164, https://github.com/lee-man/movenet/issues/9
    """

    code, severity, certain, topic = "ML138", Severity.WARNING, True, "structure"
    remedy, twins = "unfreeze", ("frozen-at-random",)
    words = (
        ("requires_grad = False", "parameters(", "nn."),
        "requires_grad_(requires_grad=False)",
        ("requires_grad_(False)", pattern(rb"parameters\(|nn\.[A-Z]")),
    )
    bad = (
        """
        from torchvision import models

        model = models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(512, 4)
        for p in model.parameters():
            p.requires_grad_(False)
        optimizer = torch.optim.Adam(model.parameters())
        """,
        """
        teacher = build().eval()
        teacher.load_state_dict(torch.load("teacher.pt"))
        for p in teacher.parameters():
            p.requires_grad = False
        student = nn.Sequential(build(), nn.Linear(64, 10))
        optimizer = torch.optim.SGD(teacher.parameters(), lr=0.05)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.body, self.head = models.resnet18(weights="DEFAULT"), nn.Linear(1000, 5)
                for p in self.head.parameters():
                    p.requires_grad = False

        optimizer = torch.optim.Adam(net.parameters())
        """,
        """
        class Tagger(nn.Module):
            def __init__(self, words, tags):
                super().__init__()
                self.embedding, self.lstm = nn.Embedding(words, 64), nn.LSTM(64, 64, batch_first=True)
                self.fc = nn.Linear(64, tags)
                for p in self.fc.parameters():
                    p.requires_grad = False
        """,
        """
        from torchvision import models
        model = models.resnet18()
        for p in model.parameters():
            p.requires_grad = False
        model.fc = nn.Linear(512, 10)
        """,
        """
        import torchvision

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = torchvision.models.resnet50(weights=None)
                self.backbone.requires_grad_(False)
                self.head = nn.Linear(1000, 10)
        """,
        """
        from torchvision import models

        def build(classes):
            model = models.vgg16(weights="DEFAULT")
            model.classifier[6] = nn.Linear(4096, classes)
            for name, parameter in model.named_parameters():
                parameter.requires_grad = False
            model.extra = nn.Linear(classes, classes)
            return model
        """,
        """
        class Encoder(nn.Module):
            def __init__(self):
                super().__init__()
                self.body = nn.Sequential(nn.Linear(32, 64), nn.ReLU())

        encoder = Encoder().to(device)
        for p in encoder.parameters():
            p.requires_grad = False
        head = nn.Linear(64, 10)
        optimizer = torch.optim.Adam(head.parameters())
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU())
                self.head = nn.Linear(64, 10)

        net = Net().to(device)
        for p in net.encoder.parameters():
            p.requires_grad = False
        optimizer = torch.optim.Adam(p for p in net.parameters() if p.requires_grad)
        """,
    )
    suspected = """
        backbone = torchvision.models.resnet50(weights="DEFAULT")
        backbone.fc = nn.Linear(2048, 128, bias=False)  # a random projection
        for p in backbone.parameters():
            p.requires_grad = False
        head = nn.Linear(128, 10)
        optimizer = torch.optim.Adam(head.parameters())
        """
    good = (
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(512, 10)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
        for p in model.parameters():
            p.requires_grad = False
        image = torch.rand(1, 3, 224, 224, requires_grad=True)
        painter = torch.optim.Adam([image], lr=0.05)
        """,
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(512, 2)
        for p in model.parameters():
            p.requires_grad = False
        for p in model.fc.parameters():
            p.requires_grad = True
        optimizer = torch.optim.SGD(model.fc.parameters(), lr=0.01)
        """,
        """
        model = torchvision.models.resnet18(weights="DEFAULT")
        model.fc = nn.Linear(512, 10)
        for name, p in model.named_parameters():
            if name.startswith("fc."):
                continue
            p.requires_grad = False
        optimizer = torch.optim.Adam(model.parameters())
        """,
        """
        model = build()
        model.load_state_dict(torch.load("model.pt"))
        for p in model.parameters():
            p.requires_grad = False
        model.head = nn.Linear(512, 10)
        optimizer = torch.optim.Adam(model.parameters())
        """,
        """
        model = build()
        model.load_state_dict(torch.load("model.pt"))
        model.requires_grad_(False)
        add_prompts(model)
        optimizer = torch.optim.Adam(model.parameters())
        """,
        """
        class Net(nn.Module):
            def __init__(self, projection):
                super().__init__()
                self.project, self.head = nn.Linear(64, 32, bias=False), nn.Linear(32, 10)
                self.project.weight = nn.Parameter(projection)
                for p in self.project.parameters():
                    p.requires_grad = False

        optimizer = torch.optim.Adam(net.parameters())
        """,
        """
        from torchvision import models
        model = models.resnet18(weights="IMAGENET1K_V1")
        for p in model.parameters():
            p.requires_grad = False
        model.fc = nn.Linear(512, 10)
        """,
        """
        from torchvision import models
        model = models.resnet18(pretrained=False)
        net = nn.Sequential(model, nn.Linear(1000, 10))
        net.load_state_dict(torch.load("resnet18.pt"))
        for p in model.parameters():
            p.requires_grad = False
        optimizer = torch.optim.Adam(net[1].parameters())
        """,
        """
        encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU())
        learn_to_reconstruct(encoder, data)
        encoder.requires_grad_(False)
        optimizer = torch.optim.Adam(head.parameters())
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.encoder = nn.Sequential(nn.Linear(32, 64), nn.ReLU())
                self.head = nn.Linear(64, 10)

        net = Net()
        contrast(net, pairs)
        for p in net.encoder.parameters():
            p.requires_grad = False
        optimizer = torch.optim.Adam(net.head.parameters())
        """,
        """
        from torchvision import models
        model = models.resnet50().eval()
        model.requires_grad_(False)  # how long does a forward take?
        measure(model, torch.rand(8, 3, 224, 224))
        """,
        """
        from torchvision import models
        model = models.resnet18(pretrained=True)
        model.fc = nn.Linear(512, 10)
        for p in model.parameters():
            p.requires_grad = False
        for p in model.fc.parameters():
            p.requires_grad = True
        """,
        """
        from torchvision import models

        def build(classes, pretrained):
            model = models.resnet18(pretrained=pretrained)
            if pretrained:
                for p in model.parameters():
                    p.requires_grad = False
            model.fc = nn.Linear(512, classes)
            return model
        """,
        """
        target = models.resnet18()
        target.requires_grad_(False)  # a random target network
        """,
        """
        from torchvision import models
        model = models.resnet18(pretrained=True)
        model.fc = nn.Linear(512, 10)
        for name, p in model.named_parameters():
            if not name.startswith("fc"):
                p.requires_grad = False
        """,
        """
        class Mix(nn.Module):
            def __init__(self):
                super().__init__()
                self.mix = nn.Linear(8, 8)
                self.drop = nn.Dropout(0.1)
                self.requires_grad_(False)

            def forward(self, x):
                return self.drop(self.mix(x))

        front, model = Mix(), nn.Linear(8, 3)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if script.attributes.isdisjoint(("requires_grad", "requires_grad_")):
            return
        known = list(_thawed(script))
        thawed = [name for name in known if name is not None]
        if len(known) > len(thawed) or any(map(THAWS.search, script.called)):
            return
        loads = any(map(LOADED.fullmatch, script.called))
        for function in script.functions:
            for at, event in enumerate(function.events):
                model = _frozen(function, event)
                if thawed and model not in ("", "self") and not any(map(_loads, function.events[:at])):
                    yield from self._head(script, function, at, model, bool(script.optimizers), thawed)
                if model and not thawed:
                    yield from self._held(script, function, at, model)
                if model and not thawed and not loads and not MEANT.search(model.rpartition(".")[2]):
                    yield from self._judge(script, function, at, model)

    def _held(self, script: Script, function: Function, at: int, model: str) -> Iterator[Diagnostic]:
        """Optimizers that are given nothing but what was frozen just before."""
        makers = {id(made.call) for made in script.optimizers}
        for event in function.events[at + 1 :]:
            call = event.value
            given = call.argument(0, "params") if call is not None and id(call) in makers else None
            if call is not None and given is not None:
                held = [v.receiver for v in given.within() if v.kind == "call" and v.method == "parameters"]
                if held and all(owner is not None and f"{owner}.".startswith(f"{model}.") for owner in held):
                    line = function.events[at].location.line
                    message = f"is given nothing but parameters of `{model}`, which line {line} has frozen"
                    yield self.at(call, message, certain=False)  # what is imported may let them learn again
                return
            if _touches(event, model):
                return

    def _judge(self, script: Script, function: Function, at: int, model: str) -> Iterator[Diagnostic]:
        before, later, place = function.events[:at], function.events[at:], function.events[at]
        beside = (event for event in before if event.name.startswith("self.") and event.name != model)
        trains = bool(script.optimizers) or any(map(_is_layer, later)) or any(map(_is_part, beside))
        known = any(e.kind == "return" and e.value is not None and e.value.name == model for e in later)
        owner = model.rpartition(".")[0]
        made = next((e for e in reversed(before) if e.kind == "assign" and e.name in (model, owner)), None)
        value = made.value if made is not None and made.name == model else _part(script, made, model)
        if any(event.name.startswith((f"{model}.weight", f"{model}.data")) for event in function.events):
            return
        fresh = _freshness(script, value) if value is not None else None
        if fresh is not None and trains and made is not None and not _is_used(before, made, made.name):
            sure = fresh and not known and made.name == model and not model.startswith("self.")
            sure = sure and not any(f"{model}.parameters" in str(call) for call in script.calls if call.name == "zip")
            yield self.at(place, f"freezes `{model}`, which starts at random values and so stays there", certain=sure)
            return
        yield from self._head(script, function, at, model, trains)

    def _head(
        self, script: Script, function: Function, at: int, model: str, trains: bool, thawed: Iterable[str] = ()
    ) -> Iterator[Diagnostic]:
        """A new layer that is frozen along with the rest, and not among what is thawed."""
        before, later, place = function.events[:at], function.events[at:], function.events[at]
        names = {event.name for event in later if not _is_same(event, model)}
        parts = [e for e in before if e.kind == "assign" and e.name.startswith((f"{model}.", f"{model}["))]
        if model == "self" and all(map(_is_layer, parts)):
            return  # nothing in it is trained already: a fixed module, such as one that corrupts
        heads = (e for e in parts if _is_layer(e) and not any(f"{e.name}.".startswith(f"{one}.") for one in thawed))
        head = next((e for e in heads if e.name not in names and model not in names), None)
        if head is not None and trains:
            line = head.location.line
            since = list(dropwhile(lambda event: event is not head, before))
            if any(e.kind == "call" and e.value is not None and e.value.method == "backward" for e in since):
                return  # it has been trained
            message = f"freezes the new `{head.name}` of line {line} along with the rest of `{model}`"
            own = [made for made in script.optimizers if lookup.function(script, made.location) is function]
            elsewhere = bool(own) and not any(model in str(made.call) for made in own)  # all that is trained
            sure = model != "self" and not thawed and not elsewhere  # else who makes it loads it
            yield self.at(place, message, certain=sure and not _is_used(since, head, model))


def _loads(event: Event) -> bool:
    return event.kind == "call" and event.value is not None and LOADED.fullmatch(event.value.method) is not None


def _is_same(event: Event, model: str) -> bool:
    """Whether a model is only bound to what is made of itself: `model = model.to(device)`."""
    made = event.value if event.kind == "assign" and event.name == model else None
    return made is not None and made.kind == "call" and any(part.name == model for part in _given(made))


def _given(call: Value) -> list[Value]:
    return [*call.arguments, *([call.receiver] if call.receiver is not None else [])]


def _touches(event: Event, model: str) -> bool:
    """Whether an event may put new parameters into a model: something is set in it, or done to it."""
    if event.kind == "assign" and f"{event.name}.".startswith((f"{model}.", f"{model}[")):
        moved = event.value is not None and event.value.method in PREPARES and str(event.value.receiver) == model
        return not event.name.endswith("requires_grad") and not moved
    if event.kind == "assign" and event.value is not None and event.value.method not in PREPARES:
        return any(f"{part.name}.".startswith(f"{model}.") for part in event.value.within())  # by another name
    call = event.value if event.kind == "call" else None
    if call is None or call.method in PREPARES:
        return False
    owner = f"{call.receiver}." if call.receiver is not None else ""
    inside = (part for given in (*call.arguments, *(v for _, v in call.keywords)) for part in given.within())
    return owner.startswith(f"{model}.") or any(f"{part.name}.".startswith(f"{model}.") for part in inside)


def _part(script: Script, made: Event | None, model: str) -> Value | None:
    """What the class of the model that is made gives the attribute of which all is frozen."""
    whole = _unprepared(made.value) if made is not None and made.value is not None else None
    init = f"{whole.name}.__init__" if whole is not None and whole.kind == "call" else None
    attribute = f"self.{model.rpartition('.')[2]}"
    events = (event for function in script.functions if function.name == init for event in function.events)
    return next((e.value for e in events if e.kind == "assign" and e.name == attribute), None)


def _frozen(function: Function, event: Event) -> str:
    """The model of which an event freezes all parameters, whatever they are."""
    value = event.value
    blocks = [function.blocks[b] for b in function.enclosing(event.block)]
    if value is None or any(block.kind in ("if", "else", "try", "except", "case") for block in blocks):
        return ""
    if event.kind == "call" and value.method == "requires_grad_" and value.receiver is not None:
        given = value.argument(0, "requires_grad")
        walked = _walked(blocks, value.receiver.name, function)
        return (walked or value.receiver.name) if given is not None and given.constant is False else ""
    if event.kind != "assign" or not event.name.endswith(".requires_grad") or value.constant is not False:
        return ""
    return _walked(blocks, event.name.removesuffix(".requires_grad"), function)


def _walked(blocks: Iterable[Block], name: str, function: Function) -> str:
    """The model whose parameters the innermost loop goes through by a name."""
    loop = next((block for block in blocks if block.kind == "for"), None)
    over = loop.value if loop is not None else None
    left = (function.enclosing(event.block) for event in function.events if event.kind == "leave")
    if any(function.blocks[index] is loop for around in left for index in around):
        return ""  # `continue` leaves some of them out
    walks = over is not None and over.kind == "call" and over.method in ("parameters", "named_parameters")
    bound = any(
        e.kind == "assign" and e.name == name and e.value is not None and _is_item(e.value, over)
        for e in function.events
    )
    return over.receiver.name if walks and bound and over is not None and over.receiver is not None else ""


def _is_item(value: Value, over: Value | None) -> bool:
    while value.kind == "item" and value.base is not None:
        value = value.base
    return value.kind == "element" and value.base is over


def _thawed(script: Script) -> Iterator[str | None]:
    """What in the file may learn again: the modules, by the names that loops go through them; None where that is unknown."""
    for function in script.functions:
        for event in function.events:
            call = event.value if event.kind == "call" else None
            name = ""
            if event.kind == "assign" and event.name.endswith("requires_grad") and event.value is not None:
                value, name = event.value, event.name.removesuffix("requires_grad").rstrip(".")
            elif call is not None and call.method == "requires_grad_":
                given = call.argument(0, "requires_grad")
                value, name = given or Value("unknown"), str(call.receiver)
            if name and value.constant is not False:
                blocks = [function.blocks[block] for block in function.enclosing(event.block)]
                yield _walked(blocks, name, function) or None


def _freshness(script: Script, made: Value) -> bool | None:
    """Whether a model starts at random values: True by its own call, False as far as can be seen, None if it may not."""
    made = _unprepared(made)
    if made.kind != "call" or made.unpacks:
        return None
    if not made.name.startswith("torchvision.models."):
        own = LAYERS.fullmatch(made.name) is not None or any(model.name == made.name for model in script.models)
        return False if own else None
    given = [made.argument(0, "weights"), made.argument(0, "pretrained"), made.argument(None, "weights_backbone")]
    plain = all(v is None or (v.kind == "constant" and v.constant in (None, False)) for v in given)
    return True if plain and not made.method[:1].isupper() else None


def _unprepared(made: Value) -> Value:
    while made.kind == "call" and made.base is not None and made.name in PREPARES:
        made = made.base
    return made


def _is_used(before: Iterable[Event], made: Event, model: str) -> bool:
    """Whether something that may train the model, or give it weights, is done with it before it is frozen."""
    calls = (e.value for e in before if e.kind == "call" and e.value is not None and e.value.method not in PREPARES)
    return any(part.name == model for call in calls if call is not made.value for part in call.within())


def _is_part(event: Event) -> bool:
    """Whether a module is given another part, which is made there or by its caller."""
    return _is_layer(event) or (event.kind == "assign" and event.value is not None and event.value.kind == "name")


def _is_layer(event: Event) -> bool:
    value = event.value
    return (
        event.kind == "assign"
        and value is not None
        and value.kind == "call"
        and value.name.startswith("torch.nn.")
        and not value.unpacks
    )
