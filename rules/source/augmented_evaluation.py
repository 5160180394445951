"""ML158."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.branches import Branches, arms
from modellint.source.code import Event, Function, Value

RANDOM = frozenset(
    "RandomResizedCrop RandomCrop RandomHorizontalFlip RandomVerticalFlip RandomRotation RandomAffine RandomPerspective "
    "RandomErasing RandomGrayscale RandAugment AutoAugment TrivialAugmentWide AugMix".split()
)
COMPOSES = ("Compose", "Sequential")
NAMED = r"(test|val|valid|validation|eval|dev)"
_TRANSFORM = r"(transforms?|tfms?|tf|aug\w*|preprocess\w*)"
TRANSFORM = pattern(rf"(^|[_.])({NAMED}(set|_?data)?_?{_TRANSFORM}|{_TRANSFORM}_{NAMED})$", re.IGNORECASE)
DATASET = pattern(rf"{NAMED}_?(data|set|dataset|ds|data_?set)|(data|ds|set|dataset)_?{NAMED}", re.IGNORECASE)
LOADER = pattern(rf"{NAMED}_?(data_?)?(loader|dl|iter)|(loader|dl)_?{NAMED}", re.IGNORECASE)
SPLITS = frozenset({"test", "val", "valid", "validation", "eval", "dev"})
# Who looks at an image in several random forms on purpose, also in the evaluation.
MEANT = pattern(
    r"contrast|simclr|moco|byol|twocrop|two_crop|tta|tencrop|multi_?view|n_views|unlabel"
    r"|robust|corrupt|rotated|perturb|distort|equivarian|invarian",
    re.IGNORECASE,
)


class AugmentedEvaluation(SourceRule):
    """The images of the evaluation are cropped, flipped or turned at random.

    Why: the score then differs from one evaluation to the next, and is that of other images than those in the data set;
        differences between two models, and which weights are the best, are partly luck.
    Fix: leave random transforms out of the evaluation: resize and crop to the centre.
    Ignore: when the score is averaged over several random views of each image.
    Reported: https://github.com/zoogzog/chexnet/issues/27
    """

    code, severity, certain, topic = "ML158", Severity.WARNING, True, "evaluation"
    calls = tuple(RANDOM)
    words = tuple(
        ("Compose(", name + "(")
        for name in (
            "RandomResizedCrop",
            "RandomCrop",
            "RandomHorizontalFlip",
            "RandomRotation",
            "RandomVerticalFlip",
            "RandomAffine",
            "RandAugment",
        )
    )
    bad = (
        """
        from torchvision import transforms

        train = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
        test_loader = DataLoader(Patches("test.npz", train), batch_size=50)
        """,
        """
        from torchvision import transforms

        test_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
        """,
        """
        from torchvision import transforms

        class Loaders:
            def __init__(self):
                self.transform_test = transforms.Compose([transforms.RandomResizedCrop(224), transforms.ToTensor()])
        """,
        """
        from torchvision import transforms as T

        data_transforms = {
            "train": T.Compose([T.RandomResizedCrop(224), T.ToTensor()]),
            "val": T.Compose([T.RandomResizedCrop(224), T.ToTensor()]),
        }
        """,
        """
        from torchvision import datasets, transforms

        transform = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
        train_set = datasets.CIFAR10("data", train=True, transform=transform)
        test_set = datasets.CIFAR10("data", train=False, transform=transform)
        """,
        """
        from torchvision import transforms

        def run(train_files, val_files):
            steps = []
            steps.append(transforms.RandomResizedCrop(224))
            steps.append(transforms.RandomHorizontalFlip())
            steps.append(transforms.ToTensor())
            sequence = transforms.Compose(steps)
            datasetTrain = Scans(train_files, transform=sequence)
            datasetVal = Scans(val_files, transform=sequence)
        """,
    )
    good = (
        """
        from torchvision import datasets, transforms

        train_transform = transforms.Compose([transforms.RandomCrop(32, padding=4), transforms.ToTensor()])
        test_transform = transforms.Compose([transforms.CenterCrop(32), transforms.ToTensor()])
        train_set = datasets.CIFAR10("data", train=True, transform=train_transform)
        test_set = datasets.CIFAR10("data", train=False, transform=test_transform)
        """,
        """
        from torchvision import transforms

        tta_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
        val_transform = transforms.Compose([transforms.RandomHorizontalFlip(p=0.0), transforms.ToTensor()])
        """,
        """
        from torchvision import datasets, transforms

        def transforms_of(train):
            steps = [transforms.ToTensor()]
            val_set = Scans(transforms.Compose(steps))
            if train:
                steps.insert(0, transforms.RandomCrop(32, padding=4))
            return transforms.Compose(steps)

        test_set = datasets.CIFAR10("data", train=False, transform=transforms_of(False))
        """,
        """
        from torchvision import datasets, transforms

        simclr = transforms.Compose([transforms.RandomResizedCrop(32), transforms.ToTensor()])
        pairs = datasets.CIFAR10("data", train=False, transform=simclr)
        """,
        """
        from torchvision import datasets, transforms

        turned = transforms.Compose([transforms.RandomRotation(30), transforms.ToTensor()])
        rotated_test = datasets.CIFAR10("data", train=False, transform=turned)  # how well it stands rotations
        """,
        """
        from torchvision import datasets, transforms

        test_transform = transforms.Compose([transforms.ToTensor(), transforms.RandomRotation([0, 360])])
        test_set = datasets.MNIST("data", train=False, transform=test_transform)
        net = EquivariantNet()
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if any(MEANT.search(name) for name in (script.path, *script.attributes, *script.called, *_names(script))):
            return
        found = {id(random): (random, where) for random, where in self._all(script)}
        for random, where in found.values():
            yield self.at(random, f"`{random.method}` changes {where} at random")

    def _all(self, script: Script) -> Iterator[tuple[Value, str]]:
        for function in script.functions:
            known = _Transforms(function)
            for event in function.events:
                value = event.value
                if event.kind == "assign" and value is not None:
                    known.bind(event)
                    if TRANSFORM.search(event.name):
                        yield from ((random, f"what `{event.name}` gives") for random in known.random(value, event))
                    yield from _by_split(known, event)
                    if value.kind == "call" and (
                        _of_evaluation(value) or DATASET.fullmatch(event.name.rpartition(".")[2])
                    ):
                        yield from _given(known, value, event)
                    elif value.kind == "call" and LOADER.fullmatch(event.name.rpartition(".")[2]):
                        yield from (found for made in value.arguments[:1] for found in _given(known, made, event))
                elif event.kind == "call" and value is not None:
                    known.grow(event)
                    yield from _given(known, value, event) if _of_evaluation(value) else ()


class _Transforms:
    """The random transforms in the lists and compositions that a function binds to names, as far as it has been read."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self.held: dict[str, tuple[Branches, tuple[Value, ...]]] = {}

    def bind(self, event: Event) -> None:
        if event.value is not None:
            self.held[event.name] = arms(self.function, event.block), tuple(self.random(event.value, event))

    def grow(self, event: Event) -> None:
        """By `names.append(...)`, unless only on some paths."""
        call = event.value
        name = str(call.receiver) if call is not None and call.method in ("append", "insert") else ""
        if call is not None and name in self.held and call.arguments:
            around, held = self.held[name]
            same = arms(self.function, event.block) == around
            self.held[name] = around, (*held, *filter(_is_random, call.arguments[-1:])) if same else ()

    def random(self, value: Value, event: Event) -> Iterator[Value]:
        if value.kind == "list":
            yield from filter(_is_random, value.arguments)
        elif value.kind == "call" and value.method in COMPOSES:
            for given in value.arguments:
                yield from self.random(given, event)
        elif value.kind == "name" and value.name in self.held:
            around, held = self.held[value.name]
            yield from held if arms(self.function, event.block)[: len(around)] == around else ()


def _given(known: _Transforms, call: Value, event: Event) -> Iterator[tuple[Value, str]]:
    given = (*call.arguments, *(value for name, value in call.keywords if name.startswith("transform")))
    yield from ((random, "the images of the evaluation") for value in given for random in known.random(value, event))


def _names(script: Script) -> Iterator[str]:
    yield from (event.name for function in script.functions for event in function.events if event.kind == "assign")


def _by_split(known: _Transforms, event: Event) -> Iterator[tuple[Value, str]]:
    for key, item in event.value.keywords if event.value is not None and event.value.kind == "dict" else ():
        if key in SPLITS:
            yield from ((random, f"what is under {key!r}") for random in known.random(item, event))


def _of_evaluation(call: Value) -> bool:
    """Whether a call makes a data set of its test split."""
    train, split = call.argument(None, "train"), call.argument(None, "split")
    return (train is not None and train.constant is False) or (split is not None and split.constant in SPLITS)


def _is_random(value: Value) -> bool:
    chance = value.argument(0, "p") if value.method.endswith("Flip") else value.argument(None, "p")
    return (
        value.kind == "call" and value.method in RANDOM and (chance is None or chance.constant not in (0, 0.0, 1, 1.0))
    )
