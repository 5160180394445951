"""ML135."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.measure.quantities import Batch, Distribution
from modellint.source import tensors
from modellint.source.code import Function, Value

READERS = frozenset({"cv2.imread", "imageio.imread", "imageio.v2.imread", "imageio.v3.imread", "skimage.io.imread"})
READERS |= {"torchvision.io.read_image", "torchvision.io.decode_image", "PIL.Image.open"}
PIXELS = ("data", "train_data", "test_data")  # of torchvision's datasets: bytes from 0 to 255
DATA = ("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST", "CIFAR10", "CIFAR100", "SVHN", "STL10", "USPS")
BYTES = pattern(rf"torchvision\.datasets\.({'|'.join(DATA)})")
FLOATS = ("torch.float", "torch.float32", "numpy.float32", "torch.FloatTensor", "float", "float32")
MASKS = pattern(r"mask|label|target|seg|depth|annotation|gt\b", re.IGNORECASE)
SCALES = pattern(r"norm|scale|standard|transform|whiten|div|preproc|augment|ToTensor|to_tensor", re.IGNORECASE)


def _run(std: float) -> Run:
    return Run(
        (Step(batch=Batch(values=Distribution(std=std))),) * 3, (Parameter("conv.weight", module_class="Conv2d"),)
    )


class UnscaledInputs(SourceRule):
    """Pixels from 0 to 255 become floats and go to the model as they are.

    Why: the first layer's outputs and gradients are a hundred times larger than what the usual initialisation and
        learning rates are made for: units saturate or die in the first steps, and the loss starts in the hundreds.
    Fix: divide by 255 and subtract the mean, or let `ToTensor()` and `Normalize()` do it.
    Ignore: when the model normalises its input itself.
    Thresholds: a run confirms it when a float input has a standard deviation above `std` = 10 at every step (0 of 129
        healthy runs) and the first layer is no norm.
    Reported: https://github.com/huochaitiantang/pytorch-deep-image-matting/issues/12,
        https://github.com/Nikronic/EdgeNet/issues/1
    """

    code, severity, topic = "ML135", Severity.WARNING, "data"
    remedy = "standardise-input"
    std = 10.0
    calls = tuple(name.rpartition(".")[2] for name in READERS) + DATA
    words = (
        "imread",
        "read_image",
        "decode_image",
        "Image.open",
        "torchvision.datasets",
        "datasets.MNIST",
        "datasets.CIFAR",
    )
    bad = (
        """
        from torchvision.datasets import MNIST

        train = MNIST("data", train=True)
        x = train.data.view(-1, 784).float()
        loss = F.cross_entropy(model(x), train.targets)
        """,
        """
        import cv2

        def load(path):
            image = cv2.imread(path)
            return torch.from_numpy(image).permute(2, 0, 1).float()
        """,
        """
        import numpy as np
        from PIL import Image

        class Pictures(torch.utils.data.Dataset):
            def __getitem__(self, index):
                pixels = np.array(Image.open(self.paths[index]))
                return torch.tensor(pixels, dtype=torch.float32), self.labels[index]
        """,
        """
        from skimage.io import imread
        from torchvision import transforms

        preprocess = transforms.Compose([transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])

        def features(path, net):
            image = imread(path)[:, :, :3].astype("float32")
            image = torch.from_numpy(image.transpose([2, 0, 1])).cuda()
            return net(preprocess(image))
        """,
    )
    good = (
        """
        from skimage.io import imread
        from torchvision import transforms

        preprocess = transforms.Compose([transforms.Lambda(shrink), transforms.Normalize([0.485] * 3, [0.229] * 3)])
        normalise = transforms.Compose([transforms.Normalize([123.7, 116.3, 103.5], [58.4, 57.1, 57.4])])

        def features(path, net):
            image = torch.from_numpy(imread(path).astype("float32").transpose([2, 0, 1]))
            return net(preprocess(image)) + net(normalise(image))
        """,
        """
        from torchvision.datasets import MNIST

        train = MNIST("data", train=True)
        x = train.data.view(-1, 784).float() / 255
        loss = F.cross_entropy(model(x), train.targets.float())
        """,
        """
        import cv2

        def load(path):
            image = torch.from_numpy(cv2.imread(path)).float()
            image -= 127.5
            return normalize(image)
        """,
        """
        import numpy as np
        from PIL import Image

        def load(path, mask):
            mask = torch.from_numpy(np.array(Image.open(mask))).float()
            return transform(Image.open(path)), mask
        """,
        """
        import cv2

        def load(path, transform):
            found = transform(image=cv2.imread(path))  # may well end in a normalisation
            return torch.tensor(found["image"].astype("float32").transpose(2, 0, 1))
        """,
    )
    confirmed_by = _run(74.0)
    not_confirmed_by = _run(0.3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for event in function.events:
                call = event.value if event.kind == "call" else None
                if (
                    call is not None
                    and _to_float(call)
                    and (read := _raw(call, function))
                    and not _scaled(call, function, script)
                ):
                    yield self.at(call, f"makes floats from 0 to 255 of the pixels of `{read}` and does not scale them")

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        stds = [step.batch.values.std for step in run.steps if step.batch and step.batch.values.std is not None]
        if not stds or (run.parameters and "Norm" in run.parameters[0].module_class):  # a norm comes first: no harm
            return None
        claim = "standard deviation of what enters the model"
        return Evidence(claim, min(stds), self.std, holds=min(stds) > self.std, series=tuple(stds))


def _to_float(call: Value) -> bool:
    if call.method == "float" and call.receiver is not None and not call.arguments:
        return True
    if call.name == "torch.FloatTensor":
        return True
    kinds = (*call.arguments, *(value for name, value in call.keywords if name == "dtype"))
    return call.method in ("astype", "type", "to", "tensor", "as_tensor") and any(
        kind.name in FLOATS or kind.constant in FLOATS for kind in kinds
    )


def _raw(call: Value, function: Function) -> str:
    """What the pixels come from, through the function's own names; empty if it is no such source, or a mask."""
    seen: set[str] = set()
    waiting, line = [call], call.location.line or 0
    before = [e for e in function.events if e.kind == "assign" and e.value and (e.location.line or 0) <= line]
    while waiting:
        for part in waiting.pop().within():
            if part.kind == "call" and part.name in READERS:
                return part.name if not any(MASKS.search(name) for name in (*seen, str(part))) else ""
            if part.kind == "operation" or (part.kind == "call" and SCALES.search(part.name)):
                return ""
            heads = [part.name, part.name.rpartition(".")[0]] if part.kind in ("name", "call") else []
            for name in (head for head in heads if head and head not in seen):
                seen.add(name)
                bound = [e.value for e in before if e.name == name and e.value]
                if part.method in PIXELS and any(BYTES.fullmatch(value.name) for value in bound):
                    return f"{name}.{part.method}"
                waiting += [value for value in bound if part.method not in ("targets", "labels")]
            if part.kind == "call" and part.receiver and (pixels := _pixels(part.receiver, function)):
                return pixels
    return ""


def _pixels(value: Value, function: Function) -> str:
    """`train.data` in `train.data.view(-1)` if `train` is one of torchvision's datasets of bytes."""
    head, _, last = value.name.rpartition(".")
    known = last in PIXELS and any(BYTES.fullmatch(made.name) for made in tensors.bounds(function, head))
    return value.name if known else ""


def _scaled(call: Value, function: Function, script: Script) -> bool:
    """Whether an operation or a call of a telling name takes the floats, here or by the names that they get; or masks."""
    names = {e.name for e in function.events if e.kind == "assign" and _holds(e.value, call)} - {"()"}
    if any(MASKS.search(name) for name in names):
        return True
    for event in function.events:
        for part in event.value.within() if event.value is not None else ():
            inside = part.kind == "operation" or (part.kind == "call" and SCALES.search(part.name))
            if (
                inside
                and not _only_normalises(part, script)
                and any(inner is call or inner.name in names for inner in part.within())
            ):
                return True
        if event.kind == "augment" and event.name in names:
            return True
    return False


def _only_normalises(call: Value, script: Script) -> bool:
    """Whether a call applies torchvision's `Normalize` alone, by means of pixels from 0 to 1: that divides by nothing near 255."""
    events = script.functions[0].events if call.kind == "call" else ()
    made = next((e.value for e in events if e.kind == "assign" and e.name == call.name and e.value is not None), None)
    listed = made.arguments[0].arguments if made is not None and made.method == "Compose" and made.arguments else ()
    means = [mean for step in listed if (mean := step.argument(0, "mean")) is not None]
    alone = len(listed) == 1 and listed[0].name.startswith("torchvision.") and listed[0].method == "Normalize"
    return alone and any(_is_share(part) for mean in means for part in mean.within())


def _is_share(value: Value) -> bool:
    return isinstance(value.constant, float) and 0 < value.constant < 1


def _holds(value: Value | None, call: Value) -> bool:
    return value is not None and any(part is call for part in value.within())
