"""ML470."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

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
        ("_grad", MISSPELT),
        ("_gard", MISSPELT),
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
        found = [finding for function in script.functions for finding in self._sets(script, function)]
        if found and not any(_reads(script, function) for function in script.functions):
            yield from found

    def _sets(self, script: Script, function: Function) -> Iterator[Diagnostic]:
        for at, event in enumerate(function.events):
            owner, _, attribute = event.name.rpartition(".")
            if event.kind == "assign" and owner and attribute.endswith(("_grad", "_grads", "_gard")):
                made = _bound(function, owner, at)
                if attribute != "requires_grad":
                    misspelt = MISSPELT.fullmatch(f".{attribute} =".encode())
                    if misspelt and made is not None and _yields(made, WEIGHTS):
                        yield self.at(event, f"sets `{attribute}`, which nothing reads: the weights go on training")
                elif self._is_module(script, function, owner, at):
                    yield self.at(
                        event, f"sets `requires_grad` of `{owner}`, a module: its weights do not change by that"
                    )

    def _is_module(self, script: Script, function: Function, owner: str, at: int) -> bool:
        made = _bound(function, owner, at)
        if _freezes(function, owner):
            return False
        if made is not None:
            return (_yields(made, PARTS) and not _is_tested(function, owner)) or _is_model(script, made)
        whole, _, part = owner.rpartition(".")
        held = _held(script, function, whole if LAYERS.fullmatch(part) else owner)
        return len(held) == 1 and _is_model(script, held[0])


def _reads(script: Script, function: Function) -> bool:
    """Whether a class of the file has an attribute of that name, or a function asks a module for it."""
    values = (part for e in function.events if e.value is not None for part in e.value.within())
    own = any(e.kind == "assign" and e.name == "self.requires_grad" for e in function.events)
    return own or any(part.name == "self.requires_grad" for part in values) or function.name.endswith(".requires_grad")


def _bound(function: Function, name: str, at: int) -> Value | None:
    """What a name holds at an event, if the function says so."""
    return next((e.value for e in reversed(function.events[:at]) if e.kind == "assign" and e.name == name), None)


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
    """Whether its parameters are set as well."""
    named = (c for c in function.calls if c.method in (*WEIGHTS, "requires_grad_") and c.receiver is not None)
    return any(str(call.receiver) == name for call in named)
