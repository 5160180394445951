"""ML481."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value
from modellint.source.registration import FOREIGN, WEIGHTED
from modellint.source.tensors import bound

HOLDERS = frozenset({"torch.nn.ModuleList", "torch.nn.Sequential"})
COPIES = frozenset({"deepcopy", "copy", "clone"})
SHARED = pattern(r"(?i)share|tied|tie_|universal|recurren|recursi|albert|loop")  # meant to be one


class RepeatedLayer(SourceRule):
    """A list of layers holds one layer several times: `[Block()] * n` makes a single block.

    Why: Python repeats the reference and not the object. All places share the same weights and, in a batch norm, the same
        statistics: the model is as deep as it looks, with the weights of one layer. Nothing fails, and it learns less.
    Fix: `nn.ModuleList([Block() for _ in range(n)])`; `nn.Sequential(*[Block() for _ in range(n)])`; or `copy.deepcopy`.
    Ignore: where the weights are to be shared, as in ALBERT or by the heads of a pyramid, which is why it is only suspected;
        name it so (`shared`, `tied`), and it is not reported.
    Reported: https://github.com/zalandoresearch/pytorch-vq-vae/issues/2, https://github.com/yaoppeng/U-Net_v2/issues/10,
        https://github.com/acids-ircam/ddsp_pytorch/issues/37, https://github.com/linkedin/Liger-Kernel/pull/269
    """

    code, severity, certain, topic = "ML481", Severity.WARNING, False, "structure"
    words = tuple(
        (holder, repeated)
        for holder in ("ModuleList(", "Sequential(")
        for repeated in (
            pattern(rb"(?:\)|\[\w+)\s*\] *\* *[\w(]|[\w)] \* *\[\s*[A-Za-z_]"),
            pattern(rb"\n([ \t]+)(\w+) = [\w.]+\((?s:.){,400}?\n\1for [^\n]*:\n(?s:.){,300}?\.append\(\2\)"),
        )
    )
    bad = (
        """
        class Net(nn.Module):
            def __init__(self, depth):
                super().__init__()
                self.blocks = nn.Sequential(*[nn.Sequential(nn.Linear(64, 64), nn.ReLU())] * depth)

            def forward(self, x):
                return self.blocks(x)
        """,
        """
        class Block(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm, self.fc = nn.LayerNorm(width), nn.Linear(width, width)

            def forward(self, x):
                return x + self.fc(self.norm(x)).relu()

        class Encoder(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                self.layers = nn.ModuleList([Block(width)] * depth)

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """,
        """
        from blocks import Block

        class Encoder(nn.Module):
            def __init__(self, width, depth):
                super().__init__()
                block = Block(width)
                self.layers = nn.ModuleList()
                for _ in range(depth):
                    self.layers.append(block)

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """,
        """
        class Heads(nn.Module):
            def __init__(self, width):
                super().__init__()
                norms = [nn.BatchNorm1d(width)] * 4
                self.norms = nn.ModuleList(norms)

            def forward(self, x, domain):
                return self.norms[domain](x)
        """,
    )
    good = (
        """
        class Net(nn.Module):
            def __init__(self, depth, widths):
                super().__init__()
                self.blocks = nn.Sequential(*[nn.Linear(64, 64) for _ in range(depth)], *[nn.ReLU()] * 2)
                self.convs = nn.ModuleList([nn.Conv2d(3, w, 3) for w in [64] * depth])
                self.last = nn.ModuleList([nn.Linear(64, 8)] * 1)

            def forward(self, x):
                return self.blocks(x)
        """,
        """
        import copy

        class Encoder(nn.Module):
            def __init__(self, block, depth):
                super().__init__()
                self.copies = nn.ModuleList(copy.deepcopy(layer) for layer in [nn.Linear(64, 64)] * depth)
                self.layers = nn.ModuleList([copy.deepcopy(block) for _ in range(depth)])
                self.shared_heads = nn.ModuleList([nn.Linear(64, 4)] * depth)
                rows = []
                for _ in range(depth):
                    row = nn.Linear(8, 8)
                    rows.append(row)
                self.rows = nn.Sequential(*rows)

            def forward(self, x):
                for layer, head in zip(self.layers, self.shared_heads):
                    x = layer(x)
                return x
        """,
        """
        class Pyramid(nn.Module):
            def __init__(self, pool, depth):
                super().__init__()
                drop = nn.Dropout(0.1)
                layers = nn.ModuleList()
                for _ in range(depth):
                    layers.append(nn.Linear(8, 8))
                    layers.append(drop)
                self.layers = layers
                self.pools = nn.ModuleList([nn.MaxPool2d(2)] * depth)

            def forward(self, x):
                for layer in self.layers:
                    x = layer(x)
                return x
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            names = (function.name, *(e.name for e in function.events if e.kind == "assign"))
            if HOLDERS.isdisjoint(call.name for call in function.calls) or any(map(SHARED.search, names)):
                continue
            for layer, times in (*_multiplied(function), *_appended(function)):
                if _may_have_weights(script, layer):
                    yield self.at(layer, f"holds one `{layer.method}` {times}: all places share its weights")


def _multiplied(function: Function) -> Iterator[tuple[Value, str]]:
    """`nn.ModuleList([Block()] * n)`, or by the name of the list or of the layer."""
    holders = (call for call in function.calls if call.name in HOLDERS)
    for holder in (h for h in holders if not any(part.method in COPIES for part in h.within())):
        for part in (part for given in holder.arguments for part in given.within()):
            made = bound(function, part.name) if part.kind == "name" else part
            if made is not None and made.kind == "operation" and made.name == "*":
                lists = [value for value in made.arguments if value.kind == "list"]
                numbers = [value for value in made.arguments if value.kind != "list"]
                if len(lists) == len(numbers) == 1 and numbers[0].constant not in (0, 1):
                    yield from ((layer, f"{numbers[0]} times") for layer in _layers(function, lists[0]))


def _layers(function: Function, listed: Value) -> Iterator[Value]:
    for item in listed.arguments:
        made = bound(function, item.name) if item.kind == "name" else item
        if made is not None and made.kind == "call":
            yield made


def _appended(function: Function) -> Iterator[tuple[Value, str]]:
    """A layer that was made before a loop, and is put into a list of modules in each pass."""
    for at, event in enumerate(function.events):
        call = event.value if event.kind == "call" else None
        if call is None or call.method != "append" or len(call.arguments) != 1 or call.arguments[0].kind != "name":
            continue
        loop = next((i for i in function.enclosing(event.block) if function.blocks[i].is_loop), None)
        held = bound(function, str(call.receiver), at)
        bindings = [e for e in function.events[:at] if e.kind == "assign" and e.name == call.arguments[0].name]
        if loop is not None and held is not None and held.name == "torch.nn.ModuleList" and bindings:
            made = bindings[-1].value
            if made is not None and made.kind == "call" and loop not in function.enclosing(bindings[-1].block):
                yield made, "in each pass"


def _may_have_weights(script: Script, layer: Value) -> bool:
    if layer.name in HOLDERS or WEIGHTED.fullmatch(layer.name):
        parts = [part.name for part in layer.within() if part.kind == "call"]
        return any(WEIGHTED.fullmatch(name) or not name.startswith("torch.") for name in parts)
    own = [function for function in script.functions if function.name == f"{layer.name}.__init__"]
    if own:
        return any(WEIGHTED.fullmatch(call.name) for function in own for call in function.calls)
    known = layer.name.startswith("torch.") or not layer.method[:1].isupper()
    return FOREIGN.fullmatch(layer.name) is not None or not known
