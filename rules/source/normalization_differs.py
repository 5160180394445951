"""ML434."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.core.record import dataclass
from modellint.source import parts
from modellint.source.code import Function, Value
from modellint.source.pipelines import COMPOSES, followed, steps

SPLIT = pattern(r"train(ing)?|test(ing)?|val(id(ation)?)?|eval(uation)?|dev|inference", re.IGNORECASE)
LIBRARIES = ("torchvision.", "albumentations.", "kornia.", "torch.nn.")
# What may normalize too, or not be what it is called.
OPAQUE = frozenset({"Lambda", "Identity", "ToFloat", "ImageClassification", "LinearTransformation"})
# Whoever normalizes by hand does so where no composition shows it.
BY_HAND = pattern(r"normali[sz]e\w*|standardi[sz]e\w*|preprocess\w*|whiten\w*")
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class NormalizationDiffers(SourceRule):
    """The images of the evaluation are normalized by other numbers than those of the training, or only one of them is.

    Why: the model is asked about images that are brighter, darker or of another contrast than all that it has seen. The
        score is too low and no sign of overfitting; the weights that are chosen by it are those that mind the least.
    Fix: normalize both with the same numbers, those of the training data.
    Ignore: when one of the two feeds another model.
    Thresholds: means and deviations that differ by less than `tolerance` are a note.
    Reported: https://github.com/JeasunLok/ResNet-pytorch/issues/1, https://github.com/leeyeehoo/CSRNet-pytorch/issues/25,
        https://github.com/Reza-Safdari/SimSiam-91.9-top1-acc-on-CIFAR10/issues/4
    """

    code, severity, certain, topic = "ML434", Severity.WARNING, True, "evaluation"
    calls = ("Normalize",)
    words = (("Compose(", "Normalize(", "train"), ("Sequential(", "v2.Normalize(", "train"))
    tolerance = 0.03
    bad = (
        """
        from torchvision import transforms

        transform_train = transforms.Compose([
            transforms.RandomCrop(32, padding=4), transforms.ToTensor(),
            transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
        ])
        transform_test = transforms.Compose([
            transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
        ])
        """,
        """
        from torchvision import transforms as T

        data_transforms = {
            "train": T.Compose([T.RandomResizedCrop(224), T.ToTensor(), T.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]),
            "val": T.Compose([T.Resize(256), T.CenterCrop(224), T.ToTensor()]),
        }
        """,
        """
        from torchvision import datasets, transforms

        train_tf = transforms.Compose([
            transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))
        ])
        test_tf = transforms.Compose([transforms.ToTensor()])
        train_set = datasets.ImageFolder("train", transform=train_tf)
        test_set = datasets.ImageFolder("test", transform=test_tf)
        """,
        """
        from torchvision import transforms

        data_transforms = {
            "train": transforms.Compose([
                transforms.RandomResizedCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
            ]),
            "val": transforms.Compose([
                transforms.Resize(256),
                transforms.CenterCrop(224),
                transforms.ToTensor(),
                transforms.Normalize([0.5, 0.5, 0.5], [0.5, 0.5, 0.5]),
            ]),
        }
        sets = {part: datasets.ImageFolder(part, data_transforms[part]) for part in ("train", "val")}
        """,
        """
        import torch
        from torchvision import datasets, transforms

        def loaders(root):
            train_loader = torch.utils.data.DataLoader(
                datasets.MNIST(root, train=True, transform=transforms.Compose([
                    transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))
                ])), batch_size=64, shuffle=True)
            test_loader = torch.utils.data.DataLoader(
                datasets.MNIST(root, train=False, transform=transforms.Compose([transforms.ToTensor()])), batch_size=1000)
            return train_loader, test_loader
        """,
        """
        import albumentations as A
        from albumentations.pytorch import ToTensorV2

        def get_train_transforms():
            return A.Compose([A.HorizontalFlip(p=0.5), A.Normalize(), ToTensorV2()])

        def get_valid_transforms():
            return A.Compose([A.Resize(224, 224), ToTensorV2()])

        train_set = Photos("train", get_train_transforms())
        valid_set = Photos("valid", get_valid_transforms())
        """,
        """
        import torch
        from torchvision.transforms import v2

        class Data:
            def __init__(self):
                normalize = v2.Normalize([0.5], [0.25])
                self.train_transform = v2.Compose([v2.RandomCrop(28), v2.ToImage(), v2.ToDtype(torch.float32), normalize])
                self.eval_transform = v2.Compose([v2.CenterCrop(28), v2.ToImage(), v2.ToDtype(torch.float32)])

            def setup(self):
                self.train_set = Photos("train", self.train_transform)
                self.eval_set = Photos("eval", self.eval_transform)
        """,
    )
    good = (
        """
        from torchvision import transforms

        normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        train_transform = transforms.Compose([transforms.RandomCrop(32), transforms.ToTensor(), normalize])
        test_transform = transforms.Compose([transforms.ToTensor(), normalize])
        """,
        """
        from torchvision import transforms as T

        MEAN = (0.5, 0.5, 0.5)
        train_tf = T.Compose([T.ToTensor(), T.Normalize(MEAN, (0.25,))])
        val_tf = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.25, 0.25, 0.25))])
        target_train_tf = T.Compose([T.ToTensor()])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor(), T.Normalize(mean, std)])
        test_transform = T.Compose([T.ToTensor(), scale_like_the_training])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor()])
        train_transform.transforms.append(T.Normalize((0.5,), (0.5,)))
        test_transform = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))])
        """,
        """
        from torchvision import transforms as T

        train_transform = T.Compose([T.ToTensor(), T.Normalize((0.5,), (0.5,))])
        test_transform = T.Compose([T.ToTensor()])
        images = normalize(test_transform(image))  # there
        """,
        """
        from torchvision import datasets, transforms

        common = [transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))]
        train_tf = transforms.Compose([transforms.RandomHorizontalFlip(), *common])
        test_tf = transforms.Compose(common)
        train_set = datasets.ImageFolder("train", transform=train_tf)
        test_set = datasets.ImageFolder("test", transform=test_tf)
        """,
        """
        from torchvision import datasets, transforms

        MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

        def pictures():
            normalize = transforms.Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])
            train_tf = transforms.Compose([transforms.RandomResizedCrop(224), transforms.ToTensor(), normalize])
            val_tf = transforms.Compose([transforms.Resize(224), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
            return datasets.ImageFolder("train", train_tf), datasets.ImageFolder("val", val_tf)
        """,
        """
        from torchvision import datasets, transforms

        if options.dataset == "cifar":
            train_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
            test_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
        else:
            train_transform = transforms.Compose([transforms.ToTensor()])
            test_transform = transforms.Compose([transforms.ToTensor()])
        sets = datasets.ImageFolder("train", train_transform), datasets.ImageFolder("test", test_transform)
        """,
        """
        from torchvision import datasets, transforms

        steps = [transforms.ToTensor()]
        if options.normalize:
            steps += [transforms.Normalize((0.5,), (0.2,))]
        train_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
        test_transform = transforms.Compose(steps)
        sets = datasets.ImageFolder("train", train_transform), datasets.ImageFolder("test", test_transform)
        """,
        """
        from torchvision import datasets, transforms

        train_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
        test_transform = transforms.Compose([transforms.ToTensor()])
        sets = datasets.ImageFolder("train", train_transform), datasets.ImageFolder("test", test_transform)
        for x, y in DataLoader(sets[1]):
            attacked = attack(lambda images: model(normalize(images)), x)
        """,
        """
        from torchvision import datasets, transforms

        train_student = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
        test_teacher = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1,), (0.9,))])
        sets = datasets.ImageFolder("train", train_student), datasets.ImageFolder("test", test_teacher)
        """,
        """
        from torchvision import transforms

        if options.dataset == "cifar10":
            train_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.49,), (0.25,))])
            test_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.49,), (0.25,))])
        else:
            STATS = (0.13,), (0.31,)
            train_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*STATS)])
            test_transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.13,), (0.31,))])
        """,
        """
        from torchvision import datasets, transforms

        shared = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.2,))])
        train_transform = transforms.Compose([transforms.RandomHorizontalFlip(), shared])
        test_transform = transforms.Compose([transforms.Resize(32), shared])
        shared = transforms.Compose([shared, transforms.GaussianBlur(3)])
        sets = datasets.ImageFolder("train", train_transform), datasets.ImageFolder("test", test_transform)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        by_hand = (call for call in script.calls if BY_HAND.fullmatch(call.method))
        if {"mean", "std"} <= script.called or any(call.name != "torch.nn.functional.normalize" for call in by_hand):
            return
        found = list(_pipelines(script))
        for evaluated in (p for p in found if parts.evaluates(p.name) and not p.changes(script)):
            trained = next((p for p in found if parts.trains(p.name) and p.goes_with(evaluated)), None)
            if trained is not None and not trained.changes(script):
                yield from self._compared(script, trained, evaluated)

    def _compared(self, script: Script, trained: _Pipeline, evaluated: _Pipeline) -> Iterator[Diagnostic]:
        one, other = trained.normalized, evaluated.normalized
        if len(one) + len(other) == 1 and not trained.opaque and not evaluated.opaque:
            does, lacks = (trained, evaluated) if one else (evaluated, trained)
            yield self.at(evaluated.value, f"`{does.name}` normalizes the images and `{lacks.name}` does not")
        elif len(one) == len(other) == 1:
            numbers = [_numbers(script, pipeline, pipeline.normalized[0]) for pipeline in (trained, evaluated)]
            gap = _gap(*numbers)
            if gap:
                message = f"normalizes with other numbers than `{trained.name}` (line {one[0].location.line})"
                yield self.at(other[0], message, certain=gap > self.tolerance)


@dataclass(frozen=True, slots=True)
class _Pipeline:
    name: str  # what it is bound to, or the data set that it is given
    value: Value
    steps: tuple[Value, ...]
    function: Function
    place: str  # pipelines at one place are compared

    @property
    def normalized(self) -> tuple[Value, ...]:
        return tuple(step for step in self.steps if step.method == "Normalize")

    @property
    def opaque(self) -> bool:
        """Whether some step may do what it does not say."""
        return any(not step.name.startswith(LIBRARIES) or step.method in OPAQUE for step in self.steps)

    def goes_with(self, other: _Pipeline) -> bool:
        """Whether their names differ in nothing but the part of the data."""
        return self.place == other.place and SPLIT.sub("", self.name) == SPLIT.sub("", other.name)

    def changes(self, script: Script) -> bool:
        """Whether it is changed after it is made: `train_transform.transforms.insert(...)`."""
        return any(call.name.startswith(f"{self.name}.transforms") for call in script.calls)


def _pipelines(script: Script) -> Iterator[_Pipeline]:
    for function in script.functions:
        returned = [(at, e) for at, e in enumerate(function.events) if e.kind == "return"]
        bindings = Counter((event.name, event.block) for event in function.events if event.kind == "assign")
        for at, event in enumerate(function.events):
            value = event.value if event.kind in ("assign", "return") else None
            if value is None or bindings[event.name, event.block] > 1:
                continue
            place = f"{function.name}:{event.block}"
            if event.kind == "return" and len(returned) == 1 and value.kind == "call":
                yield from _named(script, function, function.name, value, at, "")
            elif event.kind == "assign" and value.kind == "dict":
                for key, item in value.keywords:
                    yield from _named(script, function, key, item, at, f"{place}:{event.name}")
            elif event.kind == "assign" and value.kind == "call":
                yield from _named(script, function, event.name, value, at, place)


def _named(script: Script, function: Function, name: str, value: Value, at: int, place: str) -> Iterator[_Pipeline]:
    """The one composition in a value: itself, or what a data set, or the data set of a loader, is given."""
    module = script.functions[0]
    made = (followed(function, part, at, module) for part in value.within() if part.kind in ("call", "name"))
    composed = {id(part): part for part in made if part.kind == "call" and part.method in COMPOSES}
    for part in composed.values() if len(composed) == 1 else ():
        found = steps(function, part, at, module)
        if found:
            yield _Pipeline(name, part, found, function, place)


def _numbers(script: Script, pipeline: _Pipeline, step: Value) -> tuple[tuple[float, ...], ...] | None:
    """Mean and deviation; None where they cannot be read."""
    if not step.arguments and not step.keywords and step.name.startswith("albumentations."):
        return IMAGENET
    module, function = script.functions[0], pipeline.function
    stars = step.arguments[0].base if step.arguments and step.arguments[0].kind == "starred" else None
    unpacked = followed(function, stars, None, module).arguments if stars is not None else ()
    read = []
    for position, name in enumerate(("mean", "std")):
        value = unpacked[position] if len(unpacked) == 2 else step.argument(position, name)
        made = followed(function, value, None, module) if value is not None else Value("unknown")
        listed = made.arguments if made.kind in ("list", "tuple") else (made,)
        numbers = [item.constant for item in listed if isinstance(item.constant, int | float)]
        if len(numbers) != len(listed):
            return None
        read.append(tuple(map(float, numbers)))
    return tuple(read)


def _gap(one: tuple[tuple[float, ...], ...] | None, other: tuple[tuple[float, ...], ...] | None) -> float:
    """How far the numbers are apart at most; those of one channel hold for all."""
    if one is None or other is None:
        return 0.0
    pairs = zip(one, other, strict=True)
    longest = ((a * len(b) if len(a) == 1 else a, b * len(a) if len(b) == 1 else b) for a, b in pairs)
    return max((abs(a - b) for first, second in longest for a, b in zip(first, second, strict=False)), default=0.0)
