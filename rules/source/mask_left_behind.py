"""ML479."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Event, Function, Value

IMAGE = pattern(r"(?:\w*_)?(?:image|img|frame|picture)", re.IGNORECASE)
MASK = pattern(r"(?:\w*_)?(?:mask|seg|segmentation|gt|annotation|label_map|label_img)", re.IGNORECASE)
MOVES = frozenset(
    "hflip vflip rotate affine crop resized_crop perspective elastic_transform flip fliplr flipud rot90 center_crop".split()
)
DRAWN = pattern(r"(?:^|\.)(?:rand\w*|uniform|choice|normal|getrandbits)$")
SEEDS = frozenset({"seed", "manual_seed", "set_rng_state", "setstate", "set_state"})
RANDOM = frozenset(
    "RandomResizedCrop RandomCrop RandomHorizontalFlip RandomVerticalFlip RandomRotation RandomAffine RandomPerspective".split()
)
TRANSFORM = pattern(r"(?:^|\.)\w*(?:transform|tf|tfms|aug)\w*$", re.IGNORECASE)
PICTURE = pattern(rb"[Ii]mage|img|frame|picture")


class MaskLeftBehind(SourceRule):
    """An image is flipped, turned or cropped at random, and its mask is not, or in another way.

    Why: the labels of such samples belong to other pixels. The network learns the mean of right and wrong ones: blurred edges, a
        score that stays low, and no error anywhere.
    Fix: draw once, and do the same with both: `angle = random.uniform(-15, 15)`, then `rotate(image, angle)` and
        `rotate(mask, angle)`.
    Ignore: where the mask is symmetric, or does not belong to the image.
    Reported: https://github.com/divamgupta/image-segmentation-keras/issues/115,
        https://github.com/keras-team/keras-preprocessing/issues/236
    """

    code, severity, certain, topic = "ML479", Severity.WARNING, False, "data"
    words = (
        *(
            (mask, "torch", "rand", f"{move}(", PICTURE)
            for mask in ("mask", "_gt")
            for move in ("flip", "fliplr", "flipud", "rotate", "affine", "rot90")
        ),
        *(("mask", "__getitem__", f"{name}(") for name in ("RandomHorizontalFlip", "RandomCrop", "RandomRotation")),
    )  # fmt: skip
    bad = (
        """
        import torchvision.transforms.functional as TF

        class Scans(Dataset):
            def __getitem__(self, index):
                image, mask = read(self.images[index]), read(self.masks[index])
                if random.random() > 0.5:
                    image = TF.hflip(image)
                return TF.to_tensor(image), TF.to_tensor(mask)
        """,
        """
        import torchvision.transforms.functional as TF

        def augment(img, mask):
            img = TF.rotate(img, random.uniform(-15, 15))
            mask = TF.rotate(mask, random.uniform(-15, 15))
            return img, mask
        """,
        """
        from torchvision import transforms

        transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])

        class Scans(Dataset):
            def __init__(self, files, transform):
                self.files, self.transform = files, transform

            def __getitem__(self, index):
                image, mask = self.files[index]
                image = self.transform(image)
                mask = self.transform(mask)
                return image, mask
        """,
    )
    good = (
        """
        import torchvision.transforms.functional as TF

        class Scans(Dataset):
            def __getitem__(self, index):
                image, mask = read(self.images[index]), read(self.masks[index])
                flip = random.random() > 0.5
                if flip:
                    image = TF.hflip(image)
                if random.random() > 0.5:
                    image = TF.adjust_brightness(image, 1.2)
                angle = random.uniform(-15, 15)
                image, mask = TF.rotate(image, angle), TF.rotate(mask, angle, fill=255)
                return TF.to_tensor(image), TF.to_tensor(TF.hflip(mask) if flip else mask)
        """,
        """
        from torchvision import transforms

        transform = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.ToTensor()])

        class Scans(Dataset):
            def __getitem__(self, index):
                image, mask = self.files[index]
                torch.manual_seed(index)
                image = self.transform(image)
                torch.manual_seed(index)
                mask = self.transform(mask)
                return image, mask
        """,
        """
        import torch

        def occlude(image, mask):
            if random.random() > 0.5:
                image = torch.flip(image, [2])
            return image  # the mask only says what is seen
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        random_flips = not script.called.isdisjoint(RANDOM)
        for function in script.functions:
            if _gives_both(function):
                moves = [(at, event, call) for at, event in enumerate(function.events) for call in _moves(event)]
                yield from self._moved(function, moves)
                if random_flips and not any(call.method in SEEDS for call in function.calls):
                    yield from self._transformed(function)

    def _moved(self, function: Function, moves: list[tuple[int, Event, Value]]) -> Iterator[Diagnostic]:
        masks = [(event, call) for _, event, call in moves if MASK.fullmatch(_given(call))]
        for _, event, call in moves:
            if not IMAGE.fullmatch(_given(call)):
                continue
            alike = [other for _, other in masks if other.method == call.method]
            beside = any(other.block == event.block for other, _ in masks)
            if not alike and not beside and _is_at_random(function, event, call):
                yield self.at(call, f"`{call.method}` is done with `{_given(call)}` at random, and not with its mask")
            elif len(alike) == 1 and any(_draws(part) for one in (call, *alike) for part in _options(one)):
                yield self.at(call, f"draws for `{_given(call)}` another `{call.method}` than for its mask")

    def _transformed(self, function: Function) -> Iterator[Diagnostic]:
        """One composition of random transforms, called once for the image and once for the mask."""
        calls = [c for c in function.calls if TRANSFORM.search(c.name) and len(c.arguments) == 1 and not c.keywords]
        of_images = {c.name: c for c in calls if IMAGE.fullmatch(c.arguments[0].name)}
        for call in calls:
            image = of_images.get(call.name)
            if image is not None and MASK.fullmatch(call.arguments[0].name):
                message = f"calls `{call.name}` for the image and again for the mask: what is random is drawn twice"
                yield self.at(call, message)


def _gives_both(function: Function) -> bool:
    """Whether a function gives back an image and its mask."""
    for event in function.events:
        value = event.value if event.kind in ("return", "yield") else None
        if value is not None and value.kind in ("tuple", "dict"):
            names = [part.name for part in value.within() if part.kind == "name"]
            return any(map(IMAGE.fullmatch, names)) and any(map(MASK.fullmatch, names))
    return False


def _moves(event: Event) -> Iterator[Value]:
    call = event.value
    if event.kind == "call" and call is not None and call.method in MOVES and _given(call):
        yield call


def _given(call: Value) -> str:
    """What is moved: the first argument, or what the method is called on."""
    if call.arguments and call.arguments[0].kind == "name" and (call.base is None and "." in call.name):
        name = call.arguments[0].name
        if IMAGE.fullmatch(name) or MASK.fullmatch(name):
            return name
    return str(call.receiver) if call.receiver is not None else ""


def _options(call: Value) -> tuple[Value, ...]:
    return (*call.arguments, *(value for _, value in call.keywords))


def _draws(value: Value) -> bool:
    return any(part.kind == "call" and DRAWN.search(part.name) for part in value.within())


def _is_at_random(function: Function, event: Event, call: Value) -> bool:
    """Whether chance decides on a move, or how far it goes."""
    tests = [function.blocks[b].value for b in function.enclosing(event.block) if function.blocks[b].kind == "if"]
    bound = {e.name: e.value for e in function.events if e.kind == "assign" and e.value is not None}
    values = [value for value in (*tests, *_options(call)) if value is not None]
    named = [
        bound[part.name] for value in values for part in value.within() if part.kind == "name" and part.name in bound
    ]
    return any(map(_draws, (*values, *named)))
