"""All of torchvision: classification, segmentation, detection, video, optical flow; without weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torchvision import models as torchvision

from .case import Case, classes

# Models that fix the size of their input, or halve it too often for the usual small one.
SIZES = {"inception_v3": 299, "googlenet": 64, "vit_h_14": 28, "vit_b_32": 64, "vit_l_32": 64, "maxvit_t": 224}


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for kind, module in (
        (_classifier, torchvision),
        (_segmenter, torchvision.segmentation),
        (_detector, torchvision.detection),
        (_video, torchvision.video),
        (_flow, torchvision.optical_flow),
    ):
        for name in torchvision.list_models(module=module):
            yield name, partial(kind, name)


def _build(name: str, **options: Any) -> torch.nn.Module:
    backbone = {"weights_backbone": None} if name in torchvision.list_models(module=torchvision.detection) else {}
    backbone |= {"weights_backbone": None} if name in torchvision.list_models(module=torchvision.segmentation) else {}
    return torchvision.get_model(name, weights=None, **backbone, **options)


def _classifier(name: str) -> Case:
    size = SIZES.get(name, 64)
    options = {"image_size": size} if name.startswith("vit_") else {}
    options |= {"num_classes": 10, **({"init_weights": False} if name in ("inception_v3", "googlenet") else {})}
    return Case(_build(name, **options).train(), (torch.randn(2, 3, size, size),), loss=classes)


def _segmenter(name: str) -> Case:
    return Case(_build(name, num_classes=5, aux_loss=True if "deeplab" in name or "fcn" in name else None).train(),
                (torch.randn(2, 3, 64, 64),), loss=classes)  # fmt: skip


def _detector(name: str) -> Case:
    boxes = torch.tensor([[4.0, 4.0, 40.0, 44.0], [10.0, 12.0, 50.0, 60.0]])
    target: dict[str, Tensor] = {"boxes": boxes, "labels": torch.tensor([1, 1 if "keypoint" in name else 2])}
    if "mask" in name:
        target["masks"] = torch.ones(2, 64, 64, dtype=torch.uint8)
    if "keypoint" in name:
        target["keypoints"] = torch.tensor([[[20.0, 20.0, 1.0]] * 17] * 2)
    classes_of = {} if "keypoint" in name else {"num_classes": 5}
    small = {"min_size": 64, "max_size": 96} if "rcnn" in name or "fcos" in name or "retina" in name else {}
    model = _build(name, **classes_of, **small).train()
    images = [torch.rand(3, 64, 64), torch.rand(3, 64, 64)]
    return Case(model, (images, [target, dict(target)]), loss=lambda losses: sum(losses.values()))


def _video(name: str) -> Case:
    size, frames = (224, 16) if "mvit" in name or name == "s3d" else (64, 8)
    return Case(_build(name, num_classes=10).train(), (torch.randn(2, 3, frames, size, size),), loss=classes)


def _flow(name: str) -> Case:
    images = torch.rand(2, 3, 128, 128), torch.rand(2, 3, 128, 128)
    truth = torch.randn(2, 2, 128, 128)
    return Case(
        _build(name).train(),
        images,
        {"num_flow_updates": 3},
        lambda flows: sum(functional.l1_loss(flow, truth) for flow in flows),
    )
