"""ML158."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.source.code import Event, Value

RANDOM = frozenset(
    "RandomResizedCrop RandomCrop RandomHorizontalFlip RandomVerticalFlip RandomRotation RandomAffine RandomPerspective "
    "RandomErasing RandomGrayscale RandAugment AutoAugment TrivialAugmentWide AugMix".split()
)
EVALUATION = re.compile(
    r"(^|[_.])(test|val|valid|validation|eval|dev)(set|_?data)?_?(transforms?|tfms?|tf|aug\w*|preprocess\w*)$",
    re.IGNORECASE,
)
SPLITS = frozenset({"test", "val", "valid", "validation", "eval", "dev"})
# Who looks at an image in several random forms on purpose, also in the evaluation.
MEANT = re.compile(r"contrast|simclr|moco|byol|twocrop|two_crop|tta|tencrop|multi_?view|n_views|unlabel", re.IGNORECASE)


class AugmentedEvaluation(SourceRule):
    """The images of the evaluation are cropped, flipped or turned at random.

    Why: the score then differs from one evaluation to the next, and is that of other images than those in the data set;
        differences between two models, and which weights are the best, are partly luck.
    Fix: leave random transforms out of the evaluation: resize and crop to the centre.
    Ignore: when the score is averaged over several random views of each image.
    Reported: https://github.com/zoogzog/chexnet/issues/27
    """

    code, severity, certain, topic = "ML158", Severity.WARNING, True, "evaluation"
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

        test_transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])
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
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        if any(MEANT.search(name) for name in (script.path, *script.attributes, *_names(script))):
            return
        found = {id(random): (random, where) for random, where in self._all(script)}
        for random, where in found.values():
            yield self.at(random, f"`{random.method}` changes {where} at random")

    def _all(self, script: Script) -> Iterator[tuple[Value, str]]:
        for function in script.functions:
            bound: dict[str, list[Event]] = {}
            for event in function.events:
                if event.kind == "assign" and event.value is not None:
                    bound.setdefault(event.name, []).append(event)
                    if EVALUATION.search(event.name):
                        yield from ((random, f"what `{event.name}` gives") for random in _random(event.value))
                    yield from _by_split(event.value)
                elif event.kind == "call" and event.value is not None and _of_evaluation(event.value):
                    given = event.value.argument(None, "transform")
                    made = bound.get(given.name, []) if given is not None and given.kind == "name" else []
                    if len(made) == 1 and made[0].block in function.enclosing(event.block):
                        yield from ((random, "the images of the evaluation") for random in _random(made[0].value))
                    yield from ((random, "the images of the evaluation") for random in _random(given))


def _names(script: Script) -> Iterator[str]:
    yield from (event.name for function in script.functions for event in function.events if event.kind == "assign")


def _by_split(value: Value) -> Iterator[tuple[Value, str]]:
    for key, item in value.keywords if value.kind == "dict" else ():
        if key in SPLITS:
            yield from ((random, f"what is under {key!r}") for random in _random(item))


def _of_evaluation(call: Value) -> bool:
    """Whether a call makes a data set of its test split."""
    train, split = call.argument(None, "train"), call.argument(None, "split")
    return (train is not None and train.constant is False) or (split is not None and split.constant in SPLITS)


def _random(value: Value | None) -> Iterator[Value]:
    """The random transforms that are written in a composition."""
    composed = (
        value is not None and value.kind == "call" and value.method in ("Compose", "Sequential") and value.arguments
    )
    for item in value.arguments[0].arguments if value is not None and composed else ():
        chance = item.argument(0, "p") if item.method.endswith("Flip") else item.argument(None, "p")
        if (
            item.kind == "call"
            and item.method in RANDOM
            and (chance is None or chance.constant not in (0, 0.0, 1, 1.0))
        ):
            yield item
