"""ML125."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Fix, Run, Script, Severity, SourceRule, Step
from modellint.core import edit
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.measure.loose import loose
from modellint.source.code import Value
from modellint.source.facts import Layer
from modellint.source.registration import DROPOUT

LAYERS = pattern(
    rb"nn\.(?!Module\b|Parameter\b|Buffer\b)[A-Z]\w*\(|nn\.Parameter(?:List|Dict)?\("
    rb"|(?:Linear|Conv|Embed|LSTM|GRU|Dropout|Block|Layer|Cell|Head|Unit|Encoder|Decoder|Net|Attention|MLP|Expert)\w*\("
)


class UnregisteredModules(SourceRule):
    """Layers or parameters lie in a plain list or dict: the model does not know that it has them.

    Why: `parameters()` finds attributes, not what lies in a Python list. The optimizer never trains these layers,
        `.to(device)` leaves them behind, `state_dict()` does not save them, and `eval()` does not reach them: a dropout goes on.
    Fix: use `nn.ModuleList` or `nn.ModuleDict`; `nn.ParameterList` or `nn.ParameterDict` for parameters.
    Ignore: for a module that is hidden on purpose, such as a teacher; a list of that one module alone is not reported.
    Reported: https://github.com/pytorch/pytorch/issues/715, https://github.com/twitter/the-algorithm-ml/pull/136
    """

    code, severity, certain, topic = "ML125", Severity.ERROR, True, "structure"
    twins = ("loose-parameters",)
    words = tuple(
        ("def forward(", "Module)", pattern(rb"class [^\n]*Module\)"), pattern(collected), LAYERS)
        for collected in (
            rb"self\.\w+(?: *:[^=\n]+)? = [\[{]\s*(?![\]}\d-]|None\b|True\b|False\b|[\"'][^\"'\n]*[\"']\s*[,\]}])",
            rb"self\.\w+(?:\.(?:append|insert|extend|add|update)\(|\[[^\]\n]*\] = | \+= [\[(])",
            rb"\n[ \t]+(\w+)(?: *:[^=\n]+)? = [\[{](?s:.){,3000}?self\.\w+ = \1\s",
        )
    )
    bad = (
        """
        from timm.models.vision_transformer import Block
        from torch import nn

        class Vit(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.blocks = [Block(64, 4) for _ in range(depth)]

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return x
        """,
        """
        class Mlp(nn.Module):
            def __init__(self, width, widths):
                super().__init__()
                self.hidden = [nn.Linear(width, widths[0])]
                self.hidden.extend([nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:])])

            def forward(self, x):
                for layer in self.hidden:
                    x = torch.relu(layer(x))
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = [nn.Linear(64, 64) for _ in range(4)]
                self.head = nn.Linear(64, 10)

            def forward(self, x):
                for layer in self.layers:
                    x = torch.relu(layer(x))
                return self.head(x)
        """,
        """
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.conv = nn.Conv1d(width, width, 3, padding=1)

            def forward(self, x):
                return x + self.conv(x)

        class Net(nn.Module):
            def __init__(self, depth):
                super(Net, self).__init__()
                self.blocks = []
                for i in range(depth):
                    block = Block(64)
                    self.blocks.append(block)

            def forward(self, x):
                for i, block in enumerate(self.blocks):
                    x = block(x)
                return x
        """,
        """
        from torch import nn

        class Heads(nn.Module):
            def __init__(self, widths):
                super().__init__()
                heads = {"age": nn.Linear(64, 1), "kind": nn.Sequential(nn.ReLU(), nn.Linear(64, 9))}
                self.heads = heads
                self.scales = [nn.Parameter(torch.ones(w)) for w in widths]

            def forward(self, x, kind):
                return self.heads[kind](x)
        """,
        """
        class Heads(nn.Module):
            def __init__(self, width, count):
                super().__init__()
                self.linears = nn.ModuleList()
                self.dropouts = []
                for _ in range(count):
                    self.linears.append(nn.Linear(width, 8))
                    self.dropouts.append(nn.Dropout(0.1))

            def forward(self, x):
                outputs = []
                for i in range(len(self.linears)):
                    outputs.append(self.dropouts[i](self.linears[i](x)))
                return torch.stack(outputs)
        """,
    )
    fixed = (
        """
        from timm.models.vision_transformer import Block
        from torch import nn

        class Vit(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.blocks = nn.ModuleList([Block(64, 4) for _ in range(depth)])

            def forward(self, x):
                for block in self.blocks:
                    x = block(x)
                return x
        """,
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linears = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
                self.drops = [nn.Dropout(0.0), nn.Dropout(p=0)]
            def forward(self, x):
                for l, d in zip(self.linears, self.drops):
                    x = d(l(x))
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.linears = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))
                self.drops = [nn.Dropout(0.1) for _ in range(3)]
            def train(self, mode=True):
                super().train(mode)
                for d in self.drops:
                    d.train(mode)
                return self
            def forward(self, x):
                for l, d in zip(self.linears, self.drops):
                    x = d(l(x))
                return x
        """,
        """
        class Stack(nn.Module):
            def __init__(self, width):
                super().__init__()
                layers = [nn.Linear(width, width), nn.Dropout(0.1)]
                self.layers = nn.Sequential(*layers)
                self.activations = [nn.ReLU(), nn.Tanh()]

            def forward(self, x, kind):
                return self.activations[kind](self.layers(x))
        """,
        """
        class Gates(nn.Module):
            def __init__(self, order):
                super().__init__()
                kept = []
                for _ in range(order):
                    kept.append(nn.Parameter(torch.ones(8)))
                self.params = nn.ParameterList(kept + [nn.Parameter(torch.zeros(8))])
                self.gates = []
                for i in range(order):
                    self.gates.append(self.params[i])

            def forward(self, x):
                return sum(gate * x for gate in self.gates)
        """,
        """
        from timm.models.vision_transformer import Block
        from torch import nn

        class Vit(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.blocks = nn.ModuleList([Block(64, 4) for _ in range(depth)])
                self.drops = [nn.Identity() for _ in range(depth)]

            def forward(self, x):
                for block, drop in zip(self.blocks, self.drops):
                    x = drop(block(x))
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self, sizes):
                super().__init__()
                layers = [nn.Conv2d(a, b, 3) for a, b in sizes]
                sequence = []
                for layer in layers:  # the layers of the list are those of the Sequential
                    sequence += [layer, nn.ReLU()]
                self.body = nn.Sequential(*sequence)
                self.layers = layers

            def forward(self, x):
                seen = []
                for layer in self.layers:
                    x = layer(x).relu()
                    seen.append(x)
                return x, seen
        """,
        """
        class Adds(nn.Module):
            def __init__(self, embed, width):
                super().__init__()
                self.parts, self.out = {"embed": embed, "width": width}, nn.Linear(width, 1)

            def forward(self, x):
                return self.out(self.parts["embed"](x))

        class Grows(nn.Module):
            def __init__(self):
                super().__init__()
                self.embed = nn.Linear(8, 16)  # it is registered here
                self.adds = Adds(self.embed, 16)

            def forward(self, x):
                return self.adds(x)
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = nn.ModuleList([nn.Linear(64, 64) for _ in range(4)])
                self.shapes = [nn.ReLU(), nn.MaxPool2d(2)]

            def forward(self, x):
                for layer in self.layers:
                    x = self.shapes[0](layer(x))
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layers = []
                for i in range(4):
                    layer = nn.Linear(64, 64)
                    self.add_module(f"layer{i}", layer)
                    self.layers.append(layer)

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
                self.layers = [self.first, self.second]

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """,
        """
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                layers = [nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)]
                self.layers = layers
                self.net = nn.Sequential(*layers)

            def forward(self, x):
                self.kept = [layer for layer in self.layers]
                return self.net(x)
        """,
        """
        class Distilled(nn.Module):
            def __init__(self, student):
                super().__init__()
                self.student = student
                self.teacher = [nn.Linear(64, 10)]  # not to be trained or saved

            def forward(self, x):
                return self.student(x), self.teacher[0](x)
        """,
        """
        class Ensemble:
            def __init__(self):
                self.members = [nn.Linear(8, 1) for _ in range(5)]
                self.optimizers = [torch.optim.Adam(m.parameters()) for m in self.members]

            def __call__(self, x):
                return torch.stack([member(x) for member in self.members]).mean(0)
        """,
    )
    confirmed_by = Run((Step(2),), (Parameter("head.weight"), Parameter("parameter_7", loose=True)))
    not_confirmed_by = Run((Step(2),), (Parameter("head.weight"),))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for model in script.models:
            for layer in model.hidden:
                name, kind = layer.path.removesuffix("[]"), layer.short
                what = "parameters" if kind == "Parameter" else f"`{kind}` layers"
                if DROPOUT.fullmatch(layer.name) and _is_harmless(script, model.name, layer):
                    continue
                finds = "`eval()`" if DROPOUT.fullmatch(layer.name) else "`parameters()`"
                message = f"keeps {what} of `{model.name}` in a plain collection: {finds} does not find them"
                message = message.replace("collection", f"collection, `self.{name}`")
                yield self.at(layer.made or layer, message, certain=_is_written(script, model.name, f"self.{name}"))

    def fix(self, finding: Diagnostic, script: Script) -> Fix | None:
        """A list that is written where it is kept becomes one that registers; it can nearly all that a list can."""
        for model in script.models:
            for layer in model.hidden:
                name = f"self.{layer.path.removesuffix('[]')}"
                if (layer.made or layer).location != finding.location or not _is_written(script, model.name, name):
                    continue
                own = (event for f in script.functions if f.owner == model.name for event in f.events)
                kept = [e.value for e in own if e.kind == "assign" and e.name == name and e.value is not None]
                if len(kept) == 1 and _is_list(kept[0]) and _nn(script):
                    kind = "ParameterList" if layer.short == "Parameter" else "ModuleList"
                    whole = "{whole}" if kept[0].arguments else ""
                    return Fix((edit.replace(kept[0], f"{_nn(script)}.{kind}({whole})"),), safe=False)
        return None

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        return loose(run)


def _nn(script: Script) -> str:
    """What the file calls torch.nn; empty if it imports neither that nor torch."""
    names = {full: name for name, full in script.imports.items()}
    return names.get("torch.nn") or (f"{names['torch']}.nn" if "torch" in names else "")


def _is_list(kept: Value) -> bool:
    return kept.kind == "list" or (kept.kind == "comprehension" and kept.name != "dict")


def _is_harmless(script: Script, model: str, layer: Layer) -> bool:
    """Whether a dropout drops nothing, or the model hands its mode on by itself."""
    made = layer.made
    share = made.argument(0, "p") if made is not None else None
    own = any(function.name == f"{model}.train" for function in script.functions)
    return own or (share is not None and share.constant == 0 and share.kind == "constant")


def _is_written(script: Script, model: str, attribute: str) -> bool:
    """Whether the collection is written where it is kept; one with another name may be registered under that."""
    own = (f for f in script.functions if f.owner == model)
    kept = [
        e.value for f in own for e in f.events if e.kind == "assign" and e.name == attribute and e.value is not None
    ]
    return all(value.kind != "name" for value in kept)
