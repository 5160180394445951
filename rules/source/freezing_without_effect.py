"""ML470."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Fix, Script, Severity, SourceRule
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.source import tensors
from modellint.source.code import Event, Function, Value
from modellint.source.vocabulary import is_optimizer

MISSPELT = pattern(rb"\.(?:require_grads?|required_grads?|requires_grads|requried_grad|requires?_gard)\s*=(?!=)")
MODULES = b"net Net model backbone coder features classifier vgg bert layer layer1 layer2 layer3 layer4 head fc".split()
# of a module, as far as its name or what a loop goes over tells
ON_MODULE = pattern(
    rb"\.requires_grad =(?!=)(?:" + b"|".join(rb"(?<=%s\.requires_grad =)" % name for name in MODULES) + b")"
)
ON_CHILD = pattern(
    rb"for (?:\w+, )?(\w+) in [\w.(]*(?:children|modules)\(\)\)?:(?s:.){0,200}?\b\1\.requires_grad\s*=(?!=)"
)
WEIGHTS = ("parameters", "named_parameters")
PARTS = ("children", "named_children", "modules", "named_modules")
LIBRARIES = ("torchvision.models.", "timm.create_model", "segmentation_models_pytorch.")
LAYERS = pattern(
    r"fc\d*|classifier|features|head|backbone|encoder|decoder|layer\d*|conv\d*|(embed|pool)\w*|heads|blocks"
)

HELPER = pattern(r"freez|grad|frozen|trainable")


class FreezingWithoutEffect(SourceRule):
    """Layers are frozen by an attribute that nothing reads: they go on training.

    Why: Python lets any attribute be set. `parameter.require_grad = False` makes a new one, and `module.requires_grad = False`
        sets one of the module that autograd never asks for: it asks each parameter. No error is raised, and what is to stay as
        it was pretrained is trained at the rate of the new layers.
    Fix: `module.requires_grad_(False)`, or `parameter.requires_grad = False` for each of `module.parameters()`.
    Ignore: when the class reads the attribute itself.
    Reported: https://github.com/CSCYQJ/MICCAI23-ProtoContra-SFDA/issues/18,
        https://github.com/udacity/deep-learning-v2-pytorch/issues/12
    """

    code, severity, certain, topic = "ML470", Severity.ERROR, True, "optimizer"
    words = (
        *((name, MISSPELT) for name in ("require_grad", "required_grad", "requires_grads", "requried_grad", "_gard")),
        (".requires_grad =", ON_MODULE),
        (".requires_grad =", "children()", ON_CHILD),
        (".requires_grad =", "modules()", ON_CHILD),
    )
    bad = (
        """
        for param in vgg16.features.parameters():
            param.require_grad = False
        """,
        """
        for name, child in model.named_children():
            if name != "fc":
                child.requires_grad = False
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = torchvision.models.resnet50(weights="DEFAULT")
                self.backbone.requires_grad = False
                self.backbone.layer4.requires_grad = True
        """,
        """
        model = timm.create_model("resnet18", pretrained=True)
        model.requires_grad = False
        model.fc = nn.Linear(512, 10)
        """,
    )
    fixed = (
        """
        for param in vgg16.features.parameters():
            param.requires_grad = False
        """,
        """
        for name, child in model.named_children():
            if name != "fc":
                child.requires_grad_(False)
        """,
    )
    good = (
        """
        for param in vgg16.features.parameters():
            param.requires_grad = False
        vgg16.classifier[6].weight.requires_grad = True
        for child in vgg16.children():
            for param in child.parameters():
                param.requires_grad = False
            child.bias.requires_grad = False
        """,
        """
        class Net(nn.Module):
            def __init__(self, require_grad):
                super().__init__()
                self.require_grad = require_grad
                self.table = nn.Parameter(torch.zeros(4), requires_grad=require_grad)
                position = torch.zeros(4)
                position.require_grad = False  # a tensor: it asks for no gradients by itself
        """,
        """
        class Encoder(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net, self.requires_grad = net, False

            def forward(self, x):
                with torch.set_grad_enabled(self.requires_grad):
                    return self.net(x)

        model = Encoder(net)
        model.requires_grad = True
        for child in model.children():
            child.requires_grad = True
        """,
        """
        class Table(nn.Module):
            def __init__(self):
                super().__init__()
                self.features, self.vgg = nn.Parameter(torch.zeros(4)), torchvision.models.vgg16(weights="DEFAULT")
                self.vgg.requires_grad = False
                freeze(self.vgg)

        model = Table()
        model.features.requires_grad = False
        for p in model.parameters():
            p.requires_grads = p.requires_grad = False
        """,
        """
        class Stage(nn.Module):
            def __init__(self):
                super().__init__()
                self.backbone = nn.Linear(4, 4)
                self.backbone.requires_grad = False

            def forward(self, x):
                with torch.set_grad_enabled(self.backbone.requires_grad):
                    return self.backbone(x)
        """,
        """
        image = model(x)
        image.requires_grad = True
        model = torch.zeros(3, 8)
        model.requires_grad = True
        """,
        """
        for child in net.modules():
            child = child.weight
            child.requires_grad = False
        """,
        """
        for child in net.children():
            if isinstance(child, nn.Parameter):
                child.requires_grad = False
        for layer in net.children():
            layer.requires_grad = False
            layer.requires_grad_(False)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        found = {at: finding for function in script.functions for at, finding in self._sets(script, function)}
        names = {"self.requires_grad", *(event.name for event in found)}
        if found and not any(_reads(function, names) for function in script.functions):
            yield from found.values()

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """The attribute that is meant, or the method that sets it of all parameters of a module."""
        for function in script.functions:
            for event in function.events:
                owner, _, attribute = event.name.rpartition(".")
                set_here = event.kind == "assign" and event.location == finding.location and event.value is not None
                if set_here and event.value is not None and owner.replace(".", "").isidentifier():
                    method = f"{owner}.requires_grad_({{whole}})"
                    text = method if attribute == "requires_grad" else f"{owner}.requires_grad = {{whole}}"
                    return Fix((edit.restate(event.value, text),))
        return None

    def _sets(self, script: Script, function: Function) -> Iterator[tuple[Event, Diagnostic]]:
        for at, event in enumerate(function.events):
            owner, _, attribute = event.name.rpartition(".")
            if event.kind == "assign" and owner and attribute.endswith(("_grad", "_grads", "_gard")):
                made = tensors.bound(function, owner, at)
                if attribute != "requires_grad":
                    misspelt = MISSPELT.fullmatch(f".{attribute} =".encode())
                    meant = any(e.kind == "assign" and e.name == f"{owner}.requires_grad" for e in function.events)
                    if misspelt and not meant and made is not None and _yields(made, WEIGHTS):
                        message = f"sets `{attribute}`, which nothing reads: the weights go on training"
                        yield event, self.at(event, message)
                elif self._is_module(script, function, owner, at):
                    message = f"sets `requires_grad` of `{owner}`, a module: its weights do not change by that"
                    on = event.value is not None and event.value.constant is True  # as they are unless told otherwise
                    yield event, self.at(event, message, certain=not on and _is_trained(script, function, owner))

    def _is_module(self, script: Script, function: Function, owner: str, at: int) -> bool:
        made = tensors.bound(function, owner, at)
        near = (
            f for f in script.functions if f is function or (owner.startswith("self.") and f.owner == function.owner)
        )
        if any(_freezes(other, owner) for other in near):
            return False
        if made is not None:
            return (_yields(made, PARTS) and not _is_tested(function, owner)) or _is_model(script, made)
        whole, _, part = owner.rpartition(".")
        held = _held(script, function, whole if LAYERS.fullmatch(part) else owner)
        parts = (e.value for f in script.functions for e in f.events if e.kind == "assign" and e.name == f"self.{part}")
        layer = all(value is not None and _is_model(script, value) for value in parts)
        return len(held) == 1 and _is_model(script, held[0]) and (layer or not whole or whole == "self")


def _reads(function: Function, names: set[str]) -> bool:
    """Whether a class has an attribute of that name, or a function asks one of the modules for it."""
    values = [e.value for e in function.events if e.value is not None]
    values += [block.value for block in function.blocks if block.value is not None]
    own = any(e.kind == "assign" and e.name == "self.requires_grad" for e in function.events)
    asks = any(part.name in names for value in values for part in value.within())
    return own or asks or function.name.endswith(".requires_grad")


def _is_trained(script: Script, function: Function, owner: str) -> bool:
    """Whether gradients reach a module and an optimizer is given it, as far as the file shows."""
    called = [
        (f, e) for f in script.functions for e in f.events if e.kind == "call" and e.value and e.value.name == owner
    ]
    cut = {id(call.receiver) for f in script.functions for call in f.calls if call.method == "detach" and call.receiver}
    if called and all(id(e.value) in cut or _is_quiet(f, e) for f, e in called):
        return False
    given = (c.receiver for f in script.functions for c in f.calls if c.method == "parameters")
    return any(_holds(script, function, str(whole), owner) for whole in given if whole is not None)


def _is_quiet(function: Function, event: Event) -> bool:
    around = [function.blocks[block].value for block in function.enclosing(event.block)]
    return any(
        method in str(value) for value in (*around, *function.decorators) for method in ("no_grad", "inference_mode")
    )


def _holds(script: Script, function: Function, whole: str, owner: str) -> bool:
    """Whether what an optimizer is given surely is that module, or one that it is a part of."""
    made = (e.value for f in script.functions for e in f.events if e.kind == "assign" and e.name == whole)
    instance = function.owner is not None and any(
        part.name == function.owner for value in made if value is not None for part in value.within()
    )
    return whole == owner or owner.startswith(f"{whole}.") or (instance and owner.startswith("self."))


def _held(script: Script, function: Function, name: str) -> list[Value]:
    """What an attribute of the class, or a name of the file, is bound to."""
    scope = [f for f in script.functions if f.owner == function.owner] if name.startswith("self.") else [function]
    events: Iterator[Event] = (e for f in scope for e in f.events if e.kind == "assign" and e.name == name)
    return [e.value for e in events if e.value is not None]


def _yields(made: Value, methods: tuple[str, ...]) -> bool:
    """Whether it is what a loop takes, one after the other, from `net.parameters()` or from all of them that pass a test."""
    while made.kind == "item" and made.base is not None:
        if made.arguments[0].constant == 0:
            return False
        made = made.base
    over = made.base if made.kind == "element" else None
    while over is not None and over.name in ("list", "enumerate", "reversed") and over.arguments:
        over = over.arguments[0]
    return over is not None and over.kind == "call" and over.method in methods and not over.arguments


def _is_model(script: Script, made: Value) -> bool:
    if made.kind != "call":
        return False
    layer = (
        made.name.startswith("torch.nn.") and made.method[:1].isupper() and made.method not in ("Parameter", "Buffer")
    )
    return layer or made.name.startswith(LIBRARIES) or any(model.name == made.name for model in script.models)


def _is_tested(function: Function, name: str) -> bool:
    """Whether the function asks what it is."""
    return any(
        c.name in ("isinstance", "hasattr", "type") and str(c.arguments[0]) == name
        for c in function.calls
        if c.arguments
    )


def _freezes(function: Function, name: str) -> bool:
    """Whether its parameters are set as well, by a helper it may be."""
    trained = {id(part) for call in function.calls if is_optimizer(call.name) for part in call.within()}
    named = (c.receiver for c in function.calls if c.method in (*WEIGHTS, "requires_grad_") and id(c) not in trained)
    helped = (str(a) for call in function.calls if HELPER.search(call.method) for a in call.arguments)
    return name in helped or any(name == whole or name.startswith(f"{whole}.") for whole in map(str, named))
