"""ML158."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import parts
from modellint.source.branches import Branches, arms
from modellint.source.code import Event, Function, Value

RANDOM = frozenset(
    "RandomResizedCrop RandomCrop RandomHorizontalFlip RandomVerticalFlip RandomRotation RandomAffine RandomPerspective "
    "RandomErasing RandomGrayscale RandAugment AutoAugment TrivialAugmentWide AugMix".split()
)
ALBUMENTATIONS = frozenset(
    "HorizontalFlip VerticalFlip ShiftScaleRotate RandomResizedCrop RandomCrop Rotate RandomRotate90 RandomBrightnessContrast "
    "CoarseDropout ElasticTransform GaussNoise HueSaturationValue Affine Transpose".split()
)
DRAWS = pattern(r"rand|noise|augment|mask|flip|crop|roll|jitter|choice|shuffle", re.IGNORECASE)
FLAGS = frozenset("training is_train is_training augment augmentation aug do_augment use_augmentation".split())
TOLD = pattern(rb"(?:val|test|dev|eval)\w* *= *\w[^\n]*\b(?:training|is_train\w*|augment\w*|aug) *= *True")
KEPT = pattern(rb"self\.(training|is_train\w*|augment\w*|aug) *=[^=](?!(?s:.)*self\.\1\b(?! *=[^=]))")
TORCHVISION = ("torchvision.", "Random")
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
    r"|robust|corrupt|rotated|perturb|distort|equivarian|invarian|linear_?eval|probe",
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
    words = (("Dataset", TOLD), ("Dataset", "__getitem__", KEPT), ("albumentations", "HorizontalFlip("), *(
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
    ))  # fmt: skip
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
        """
        import albumentations as A

        train_aug = A.Compose([A.HorizontalFlip(), A.Normalize()])
        valid_aug = A.Compose([A.Normalize()])

        def loaders(train_df, valid_df):
            train_loader = DataLoader(Scans(train_df, train_aug), shuffle=True)
            valid_loader = DataLoader(Scans(valid_df, train_aug))
        """,
        """
        from torchvision import datasets, transforms as T

        full = datasets.CIFAR10("data", transform=T.Compose([T.RandomCrop(32, padding=4), T.ToTensor()]))
        train_set, val_set = random_split(full, [45000, 5000])
        """,
        """
        from torchvision import datasets, transforms as T

        augmented = datasets.ImageFolder("data", T.Compose([T.RandomResizedCrop(224), T.ToTensor()]))
        val_set = Subset(augmented, rows[800:])
        """,
        """
        class Scans(Dataset):
            def __init__(self, files, augment):
                self.files, self.augment = files, augment

            def __getitem__(self, index):
                return read(self.files[index]) if not self.augment else turn(read(self.files[index]))

        train_set = Scans(train_files, augment=True)
        val_set = Scans(val_files, augment=True)
        """,
        """
        class Scans(Dataset):
            def __init__(self, files, training):
                self.files = files
                self.training = training

            def __getitem__(self, index):
                return read(self.files[index]) + 0.1 * torch.randn(16)
        """,
    )
    suspected = """
        from torchvision import datasets, transforms as T

        patch = T.Compose([T.RandomCrop(128), T.ToTensor()])
        val_set = datasets.ImageFolder("photos/val", transform=patch)
        """
    good = (
        """
        from torchvision import datasets, transforms as T

        augmented = datasets.ImageFolder("data", T.Compose([T.RandomResizedCrop(224), T.ToTensor()]))
        train_set, val_set = random_split(augmented, [800, 200])
        val_set.dataset = copy.copy(augmented)
        val_set.dataset.transform = plain

        class Scans(Dataset):
            def __init__(self, files, training):
                self.files = files
                self.training = training

            def __getitem__(self, index):
                return read(self.files[index], noise=self.training)

        train_set = Scans(train_files, training=True)
        test_set = Scans(val_files, training=False)
        """,
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
        drawn = self._at_random(script) if not script.called.isdisjoint(RANDOM | ALBUMENTATIONS) else ()
        found = [*drawn, *self._told(script), *self._never_asked(script)]
        names = (script.path, *script.attributes, *script.called, *_names(script)) if found else ()
        yield from found if not any(map(MEANT.search, names)) else ()

    def _at_random(self, script: Script) -> Iterator[Diagnostic]:
        found = {id(random): (random, where, sure) for random, where, sure in self._all(script)}
        for random, where, sure in found.values():
            yield self.at(random, f"`{random.method}` changes {where} at random", certain=sure)

    def _all(self, script: Script) -> Iterator[tuple[Value, str, bool]]:
        outer = _Transforms(script.functions[0], {})
        for function in script.functions:
            known = outer if function.kind == "module" else _Transforms(function, outer.held)
            for event in function.events:
                value = event.value
                if event.kind == "assign" and value is not None:
                    known.bind(event)
                    for random, where in _named(known, event, value):
                        known_here = random.method in RANDOM and random.name.startswith(TORCHVISION)
                        yield random, where, known_here and not _only_cuts(random)
                    for random in known.parted(event):
                        yield random, f"what `{event.name}` holds", False
                elif event.kind == "call" and value is not None:
                    known.grow(event)
                    for random, where in _given(known, value, event) if _of_evaluation(value) else ():
                        yield random, where, not _only_cuts(random)

    def _told(self, script: Script) -> Iterator[Diagnostic]:
        """A data set of the evaluation that is told to augment, as that of the training is."""
        for function in script.functions:
            made = [(e.name, e.value) for e in function.events if e.kind == "assign" and e.value is not None]
            told = [(name, call, flag) for name, call in made if call.kind == "call" for flag in _flags(call)]
            trained = {(call.name, flag) for name, call, flag in told if parts.trains(name)}
            for name, call, flag in told:
                if parts.evaluates(name) and (call.name, flag) in trained:
                    yield self.at(call, f"tells `{name}` that `{flag}` is true, as the training data", certain=False)

    def _never_asked(self, script: Script) -> Iterator[Diagnostic]:
        """A data set that keeps whether it trains, never asks, and changes what it gives at random."""
        for class_ in script.classes:
            kept = {a.name: script.functions[a.function].events[a.event] for a in class_.attributes if a.name in FLAGS}
            if not kept or not any(base.method.endswith("Dataset") for base in class_.bases):
                continue
            own = [function for function in script.functions if function.owner == class_.name]
            draws = any(DRAWS.search(c.name) for f in own if f.name.endswith("__getitem__") for c in f.calls)
            for name, event in kept.items() if draws else ():
                given = event.value is not None and event.value.kind == "name" and event.value.name in FLAGS
                if given and not any(_asks(function, name) for function in script.functions):
                    message = (
                        f"keeps `{name}` and never asks for it: what is drawn at random is so in the evaluation too"
                    )
                    yield self.at(event, message, certain=False)


def _flags(call: Value) -> Iterator[str]:
    return (name for name, value in call.keywords if name in FLAGS and value.constant is True)


def _asks(function: Function, name: str) -> bool:
    """Whether anything reads an attribute of that name."""
    values = (
        *function.values,
        *(v for block in function.blocks if block.value is not None for v in block.value.within()),
    )
    return any(part.method == name and part.kind in ("name", "attribute") and part.name != name for part in values)


def _named(known: _Transforms, event: Event, value: Value) -> Iterator[tuple[Value, str]]:
    """What the name tells of that something is bound to: a transform, a data set or a loader of the evaluation."""
    if TRANSFORM.search(event.name):
        yield from ((random, f"what `{event.name}` gives") for random in known.random(value, event))
    yield from _by_split(known, event)
    if value.kind == "call" and (_of_evaluation(value) or DATASET.fullmatch(event.name.rpartition(".")[2])):
        yield from _given(known, value, event)
    elif value.kind == "call" and LOADER.fullmatch(event.name.rpartition(".")[2]):
        yield from (found for made in value.arguments[:1] for found in _given(known, made, event))


class _Transforms:
    """The random transforms in the lists and compositions that a function binds to names, as far as it has been read."""

    def __init__(self, function: Function, outer: Mapping[str, tuple[Branches, tuple[Value, ...]]]) -> None:
        self.function = function
        self.held = dict(outer)
        for parameter in function.parameters:
            self.held.pop(parameter.name, None)
        self.sets: dict[str, tuple[Value, ...]] = {}
        self.changed = {event.name.partition(".")[0] for event in function.events if "." in event.name}

    def bind(self, event: Event) -> None:
        if event.value is not None:
            self.held[event.name] = arms(self.function, event.block), tuple(self.random(event.value, event))
            given = _given(self, event.value, event) if event.value.kind == "call" else ()
            self.sets[event.name] = tuple(random for random, _ in given)

    def parted(self, event: Event) -> Iterator[Value]:
        """The random transforms of a data set of which a part is for the evaluation: of `Subset` and `random_split`."""
        value = event.value
        call = value.base if value is not None and value.kind == "item" else value
        parted = call is not None and call.method in ("Subset", "random_split") and bool(call.arguments)
        if call is not None and parted and parts.evaluates(event.name) and event.name not in self.changed:
            yield from self.sets.get(call.arguments[0].name, ())

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


def _only_cuts(random: Value) -> bool:
    """Whether it takes a patch out of something larger, as of photographs that are to be denoised."""
    return random.method == "RandomCrop" and random.argument(1, "padding") is None


def _is_random(value: Value) -> bool:
    chance = value.argument(0, "p") if value.method.endswith("Flip") else value.argument(None, "p")
    known = ALBUMENTATIONS if value.name.startswith("albumentations.") else RANDOM
    return (
        value.kind == "call" and value.method in known and (chance is None or chance.constant not in (0, 0.0, 1, 1.0))
    )
