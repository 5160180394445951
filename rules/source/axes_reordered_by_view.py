"""ML480."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.arrangement import CONVOLUTIONS, kept
from modellint.source.arranging import VIEWS, listed, sizes, subject, whole
from modellint.source.code import Function, Value
from modellint.source.misplaced import moved

# A relative shift reads a padded row one place further on: there the view is meant.
MEANT = pattern(r"(?i)shift|skew|shuffle")
MADE = frozenset({"from_numpy", "tensor", "array", "asarray", "as_tensor", "float32"})
PICTURED = frozenset({"convert", "resize", "astype", "float", "copy", "crop"})
GRAY = ("L", "1", "LA", "P")
DEEPEST = 12


class AxesReorderedByView(SourceRule):
    """A view or reshape is written as if it swapped axes: it only cuts the same row of numbers anew.

    Why: `x.view(b, c, t)` of a tensor [b, t, c] moves no number. What is then called channel 0 of a sample are its first
        items, whatever channel they are of: heads, positions and channels are mixed. It raises no error, and the loss falls,
        only less far.
    Fix: `x.transpose(1, 2)` or `x.permute(...)`, and `.reshape(...)` after it to merge axes that then lie side by side.
    Ignore: where one of the two axes is always 1 long, so that there is nothing to mix. Shifts that are made by views on
        purpose, in a function that is called so, are not reported.
    Reported: https://github.com/jsbaan/transformer-from-scratch/pull/6, https://github.com/zhouhaoyi/Informer2020/issues/59,
        https://github.com/hackiey/QAnet-pytorch/issues/2, https://github.com/rish-16/tokenlearner-pytorch/issues/1
    """

    code, severity, certain, topic = "ML480", Severity.ERROR, True, "structure"
    words = (
        ("Module)", "def forward(", pattern(rb"\.(?:view|reshape)\("), pattern(rb"\.shape|\.size\(")),
        ("Image.open(", pattern(rb"\.(?:view|reshape)\(\(?3,")),
        ("imread(", pattern(rb"\.(?:view|reshape)\(\(?3,")),
        *(
            (call, pattern(rb"\b(\w+)\.(?:view|reshape)\((?:\1\.\w+[(\[]0[)\]], *)?\1\.(?:size\(|shape\[)[1-9]"))
            for call in (".view(", ".reshape(")
        ),
    )
    suspected = """
    class Gray(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv = nn.Conv2d(1, width, 3)

        def forward(self, x):  # [batch, height, width, 1]
            return self.conv(x.reshape(x.shape[0], x.shape[3], x.shape[1], x.shape[2]))
    """
    bad = (
        """
        import numpy as np
        from PIL import Image

        class Photos(Dataset):
            def __getitem__(self, index):
                image = np.array(Image.open(self.paths[index]).convert("RGB").resize((64, 64)), dtype=np.float32) / 255
                return torch.from_numpy(image).reshape(3, 64, 64), self.labels[index]
        """,
        """
        class TextNet(nn.Module):
            def __init__(self, vocabulary, width):
                super().__init__()
                self.embedding, self.conv = nn.Embedding(vocabulary, width), nn.Conv1d(width, 100, 3)

            def forward(self, tokens):
                return self.conv(self.embedding(tokens).view(tokens.size(0), -1, tokens.size(1)))
        """,
        """
        class Attention(nn.Module):
            def __init__(self, width, heads):
                super().__init__()
                self.heads = heads
                self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

            def forward(self, x):
                b, t, c = x.shape
                q, k, v = self.qkv(x).chunk(3, dim=-1)
                q = q.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                k = k.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                v = v.view(b, t, self.heads, c // self.heads).transpose(1, 2)
                weights = torch.softmax(q @ k.transpose(-2, -1) * c ** -0.5, dim=-1)
                return self.out((weights @ v).reshape(b, t, c))
        """,
        """
        class Spatial(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.norm, self.attention = nn.GroupNorm(8, width), nn.MultiheadAttention(width, 4, batch_first=True)

            def forward(self, x):
                b, c, h, w = x.shape
                y = self.norm(x).view(b, h * w, c)
                y, _ = self.attention(y, y, y)
                return x + y.transpose(1, 2).reshape(b, c, h, w)
        """,
        """
        class Head(nn.Module):
            def __init__(self, width, anchors, classes):
                super().__init__()
                self.classes = classes
                self.scores = nn.Conv2d(width, anchors * classes, 3, padding=1)

            def forward(self, features):
                return self.scores(features).view(features.size(0), -1, self.classes)
        """,
        """
        for x, y in loader:
            out = model(x)
            loss = loss_fn(out.view(out.size(1), out.size(0), -1), y)
            loss.backward()
        """,
    )
    good = (
        """
        import cv2

        def frames(path):
            sheet = cv2.imread(path, cv2.IMREAD_GRAYSCALE)
            return sheet.reshape(3, 64, 64)
        """,
        """
        import numpy as np
        from PIL import Image

        class Photos(Dataset):
            def __getitem__(self, index):
                image = np.array(Image.open(self.paths[index]).convert("RGB").resize((64, 64)), dtype=np.float32) / 255
                gray = np.array(Image.open(self.paths[index]).convert("L")).reshape(3, 32, 32)
                image = torch.from_numpy(image).permute(2, 0, 1)
                return image.reshape(3, 64, 64), gray
        """,
        """
        class Attention(nn.Module):
            def __init__(self, width, heads):
                super().__init__()
                self.heads, self.qkv = heads, nn.Linear(width, 3 * width)

            def forward(self, x):
                b, t, c = x.shape
                qkv = self.qkv(x).reshape(b, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
                q, k, v = qkv[0], qkv[1], qkv[2]
                weights = torch.softmax(q @ k.transpose(-2, -1), dim=-1)
                return (weights @ v).transpose(1, 2).reshape(b, t, c)
        """,
        """
        class RelativeAttention(nn.Module):
            def rel_shift(self, x):
                b, h, q, k = x.size()
                x = torch.cat([x.new_zeros(b, h, q, 1), x], dim=-1)
                return x.view(b, h, k + 1, q)[:, :, 1:].view(b, h, q, k)

            def forward(self, x):
                size = x.shape
                return self.rel_shift(x).reshape(size[1], size[0], -1)
        """,
        """
        class Pooled(nn.Module):
            def __init__(self, width, classes):
                super().__init__()
                self.classes = classes
                self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, classes, 1)

            def forward(self, x):
                b, c, h, w = x.size()
                x = self.fc(self.pool(x)).view(b, self.classes)
                return x

        class Shuffled(nn.Module):
            def forward(self, x):
                b, c, h, w = x.size()
                return x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, -1, h, w)
        """,
        """
        class Frames(nn.Module):
            def __init__(self, net):
                super().__init__()
                self.net = net

            def forward(self, x):
                b, t, c, h, w = x.shape
                y = self.net(x.view(b * t, c, h, w))
                y = y.view(b, t, -1).mean(1)
                spectrum = x.view(x.size(0), x.size(1), x.size(2), h * w)
                return y, spectrum.permute(0, 2, 1, 3).reshape(b * c, t, h * w)
        """,
        """
        class Channel(nn.Module):
            def forward(self, mel):  # [batch, 1, time, mels]
                mel = mel.view(mel.size(0), mel.size(2), mel.size(3))
                weight = self.conv.weight
                out, given, kernel = weight.shape
                return F.linear(mel, weight.view(out, given))
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        views = [
            f for f in script.functions if any(call.method in VIEWS for call in f.calls) and not MEANT.search(f.name)
        ]
        own = {owner: kept(script, owner) for owner in {function.owner or "" for function in views}}
        gray = {owner: any(map(_takes_one_channel, of.layers.values())) for owner, of in own.items()}
        for function in views:
            for found in moved(function, own[function.owner or ""]):
                message = (
                    f"moves `{found.axis}` to another place among the axes, which a `{found.call.method}` cannot do"
                )
                yield self.at(found.call, message, certain=found.sure and not gray[function.owner or ""])
            for at, event in enumerate(function.events):
                if event.kind == "call" and event.value is not None and _is_channels_first(function, event.value, at):
                    message = f"puts the channels of an image first, which a `{event.value.method}` cannot do"
                    yield self.at(event.value, message)


def _takes_one_channel(layer: Value) -> bool:
    return (
        CONVOLUTIONS.fullmatch(layer.name) is not None and len(layer.arguments) > 0 and layer.arguments[0].constant == 1
    )


def _is_channels_first(function: Function, call: Value, at: int) -> bool:
    """`.reshape(3, h, w)` of the pixels of a picture in colour, which lie as [h, w, 3]."""
    given = sizes(call) if call.method in VIEWS else ()
    value = subject(call)[0]
    if len(given) != 3 or whole(given[0]) != 3:
        return False
    for _ in range(DEEPEST):
        if value is None:
            return False
        if value.kind == "name":
            at = next((i for i in range(at - 1, -1, -1) if function.events[i].name == value.name), -1)
            value = function.events[at].value if at >= 0 else None
        elif value.kind == "operation" and value.name in ("/", "*", "-"):
            value = value.arguments[0]
        elif value.kind == "item" and all(
            part.kind == "unknown" for part in listed(value.arguments)
        ):  # turned, or a part
            value = value.base
        elif value.kind == "call" and value.method in ("open", "imread"):
            return value.name == "PIL.Image.open" or (value.name == "cv2.imread" and len(value.arguments) == 1)
        elif value.kind == "call" and (value.name.startswith(("torch.", "numpy.")) and value.method in MADE):
            value = next(iter(value.arguments), None)
        elif value.kind == "call" and value.method in PICTURED and not any(a.constant in GRAY for a in value.arguments):
            value = value.receiver
        else:
            return False
    return False
