"""Invents the images of a torchvision data set that is not there, where it was asked for; the run says so."""

from __future__ import annotations

import sys
from typing import Any, Callable, Dict, List

import torch
from torch import Tensor

from . import frames, imports
from .patches import Patches

DIFFERENT = 4096  # images: a larger set holds them again
SIZES = {"MNIST": (60000, 10000), "CIFAR": (50000, 10000), "SVHN": (73257, 26032)}  # of training and test, to be split
DIGITS = ("MNIST", "FashionMNIST", "KMNIST")
COLOURED = {"CIFAR10": 10, "CIFAR100": 100}
FOLDERS = 10  # classes of an ImageFolder


def begin(write: Callable[[Dict[str, Any]], None]) -> None:
    imports.after("torchvision.datasets", lambda: _watch(write))


def _watch(write: Callable[[Dict[str, Any]], None]) -> None:
    datasets, patches = sys.modules["torchvision.datasets"], Patches()

    def made(original: Any, args: Any, kwargs: Any) -> None:
        try:
            original(*args, **kwargs)
        except (RuntimeError, OSError):  # it says so itself that it is not there, or could not be fetched
            name = _kind(args[0])
            if name not in _FILLED:
                raise
            _FILLED[name](args[0])
            write({"kind": "invented", "name": name, "location": frames.place()})

    for name in ("MNIST", "CIFAR10", "SVHN", "ImageFolder"):
        patches.around(getattr(datasets, name), "__init__", made)


def _digits(dataset: Any) -> None:
    size = _size(dataset, "MNIST")
    dataset.data, dataset.targets = _images(size, 28, 28), _labels(size, 10)


def _coloured(dataset: Any) -> None:
    count, size = COLOURED[_kind(dataset)], _size(dataset, "CIFAR")
    dataset.data, dataset.targets = _images(size, 32, 32, 3).numpy(), _labels(size, count).tolist()
    _name_classes(dataset, count)


def _street_numbers(dataset: Any) -> None:
    size = _size(dataset, "SVHN")
    dataset.data, dataset.labels = _images(size, 3, 32, 32).numpy(), _labels(size, 10).numpy()


def _folder(dataset: Any) -> None:
    from PIL import Image

    image = Image.fromarray(_images(1, 256, 256, 3)[0].numpy())
    dataset.loader = lambda path: image.rotate(int(path) % 360)
    dataset.targets = _labels(DIFFERENT, FOLDERS).tolist()
    dataset.samples = dataset.imgs = [(str(place), label) for place, label in enumerate(dataset.targets)]
    _name_classes(dataset, FOLDERS)


_FILLED: Dict[str, Callable[[Any], None]] = {
    **dict.fromkeys(DIGITS, _digits),
    **dict.fromkeys(COLOURED, _coloured),
    "SVHN": _street_numbers,
    "ImageFolder": _folder,
}


def _kind(dataset: Any) -> str:
    """The name of torchvision's class that it is of, also where the user has made a class of his own from it."""
    kinds = type(dataset).__mro__
    return next((kind.__name__ for kind in kinds if kind.__module__.startswith("torchvision.")), "")


def _name_classes(dataset: Any, count: int) -> None:
    names: List[str] = ["class %d" % number for number in range(count)]
    dataset.classes, dataset.class_to_idx = names, {name: number for number, name in enumerate(names)}


def _size(dataset: Any, kind: str) -> int:
    tests = getattr(dataset, "train", True) is False or getattr(dataset, "split", "train") == "test"
    return SIZES[kind][tests]


def _images(size: int, *shape: int) -> Tensor:
    noise = torch.randint(
        0, 256, (min(size, DIFFERENT), *shape), dtype=torch.uint8, generator=_own_chance(), device="cpu"
    )
    return noise[torch.arange(size, device="cpu") % DIFFERENT]


def _labels(size: int, count: int) -> Tensor:
    return torch.randperm(size, generator=_own_chance(), device="cpu") % count


def _own_chance() -> torch.Generator:
    """The script's random numbers stay as they are."""
    return torch.Generator("cpu").manual_seed(0)
