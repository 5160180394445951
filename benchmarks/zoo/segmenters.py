"""segmentation-models-pytorch: every architecture over a small encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import segmentation_models_pytorch as smp
import torch

from .case import Case, classes

_ARCHITECTURES = "Unet UnetPlusPlus MAnet Linknet FPN PSPNet DeepLabV3 DeepLabV3Plus PAN UPerNet Segformer DPT".split()


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for name in _ARCHITECTURES:
        encoder = "tu-vit_tiny_patch16_224" if name == "DPT" else "mit_b0" if name == "Segformer" else "resnet18"
        yield f"{name} {encoder}", partial(_case, name, encoder)
    yield "Unet efficientnet-b0", partial(_case, "Unet", "efficientnet-b0")
    yield "Unet mobilenet_v2", partial(_case, "Unet", "mobilenet_v2")


def _case(name: str, encoder: str) -> Case:
    model = getattr(smp, name)(encoder_name=encoder, encoder_weights=None, classes=5).train()
    side = 224 if name == "DPT" else 128 if name == "PAN" else 64
    return Case(model, (torch.randn(2, 3, side, side),), loss=classes)
