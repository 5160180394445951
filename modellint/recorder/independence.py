"""Does what the model computes of one sample depend on the other samples of the batch?"""

from __future__ import annotations

import gc
from typing import Any, Dict, Iterator, List, Optional, Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from . import origin, texts
from .specimen import CannotExamineError, Specimen

FEWEST = 4  # samples


def examine(specimen: Specimen, labels: Optional[Tensor]) -> Dict[str, Any]:
    """`found`: more than half of the results along axis 0 change with another sample, and no axis is independent.

    The batch may lie along axis 0 or 1 (time first): where one of them is independent, that is the batch, unless the labels
    are the next tokens along axis 1. `sure`: they are; or axis 0 is as long as a data loader's batches; or there is a class
    label for each of its items, which are more than vectors. Otherwise one sample may be a graph, a set or a sequence
    along axis 0.
    """
    _refuse_statistics(specimen.model)
    first, sizes = _first(specimen.inputs()), _batch_sizes()
    axes = [axis for axis in range(min(2, first.dim())) if first.shape[axis] >= FEWEST]
    axes = [axis for axis in axes if not sizes or first.shape[axis] in sizes]
    reads = any(text.input is first and not text.time_first for text in texts.find(specimen, labels, texts.is_shifted))
    axes = axes[:1] if reads else axes
    if 0 not in axes:
        raise CannotExamineError("which axis is the batch is not known")
    shares = [_share_of_others(specimen, axis) for axis in axes]
    if None in shares:
        return {"found": False, "value": 0.0}
    vectors = 2 if first.is_floating_point() else 1
    labelled = labels is not None and len(labels) == first.shape[0] and first.dim() > vectors
    sure = reads or bool(sizes) or (labelled and specimen.steady)
    if not shares[0]:
        raise CannotExamineError("the results do not change with the sample that is replaced")
    if shares[0] <= 0.5:
        raise CannotExamineError("what is computed along axis 0 is neither independent nor all of one piece")
    return {"found": True, "value": shares[0], "sure": sure, "origin": _origin(specimen, len(first))}


def _origin(specimen: Specimen, size: int) -> Dict[str, Any]:
    """The module where the samples meet, as seen from the one in the middle."""
    held, sample = [tensor for tensor in specimen.inputs() if tensor.dim() and len(tensor) == size], size // 2

    def mixed(change: Tensor) -> Optional[bool]:
        if not change.dim() or len(change) != size:
            return None
        moved = change.reshape(size, -1).ne(0).any(1)
        moved[sample] = False
        return bool(moved.any())

    return origin.find(specimen, _replaced(held, 0, sample, size), mixed)


def _first(inputs: Sequence[Tensor]) -> Tensor:
    for tensor in inputs:
        if tensor.dim() and tensor.numel():
            return tensor
    raise CannotExamineError("the model is given no tensor")


def _batch_sizes() -> List[int]:
    """Those of every data loader that is alive, or being iterated."""
    loaders = (found for found in gc.get_objects() if issubclass(type(found), (DataLoader, _BaseDataLoaderIter)))
    sizes = [getattr(loader._index_sampler, "batch_size", None) for loader in loaders]
    return [size for size in sizes if isinstance(size, int)]


def _refuse_statistics(model: torch.nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise CannotExamineError("a batch norm without running statistics mixes the samples by design")


def _share_of_others(specimen: Specimen, axis: int) -> Optional[float]:
    """The largest part of the other results that change with one sample; None if none does: they are independent.

    All inputs that have the axis change together, as a text and its mask must; then each alone, since one that is the
    same for all samples may be as long as the batch by chance.
    """
    size = _first(specimen.inputs()).shape[axis]
    held = [tensor for tensor in specimen.inputs() if tensor.dim() > axis and tensor.shape[axis] == size]
    share = _others(specimen, held, axis, size)
    alone = [[tensor] for tensor in held] if share and len(held) > 1 else []
    return None if any(_is_independent(specimen, one, axis, size) for one in alone) else share


def _is_independent(specimen: Specimen, group: Sequence[Tensor], axis: int, size: int) -> bool:
    try:
        return _others(specimen, group, axis, size) is None
    except CannotExamineError:  # they cannot be changed alone
        return False


def _others(specimen: Specimen, group: Sequence[Tensor], axis: int, size: int) -> Optional[float]:
    usual = specimen.usual()
    which = next((i for i, result in enumerate(usual) if next(_views(result, size), None) is not None), None)
    if which is None and axis:
        return 0.0
    if which is None:
        raise CannotExamineError("no result has a row for each sample")
    _refuse_comparisons(usual[which], size)
    samples = torch.tensor([0, size // 2, size - 1], device="cpu")  # as the results, whatever the default
    moved = torch.stack([_moved(specimen, which, group, axis, int(sample), size) for sample in samples], 1)
    own = moved.gather(2, samples.expand(len(moved), -1)[..., None]).squeeze(2)  # [views, samples]
    others = moved.sum(2) - own.long()
    if bool(((others == 0).all(1) & own.any(1)).any()):
        return None
    return float(others[0].max()) / (size - 1)


def _moved(specimen: Specimen, which: int, group: Sequence[Tensor], axis: int, sample: int, size: int) -> Tensor:
    """[views, size]: which results change when one sample is replaced by its neighbour."""
    after = specimen.run(_replaced(group, axis, sample, size))[which]
    changes = specimen.change(specimen.usual()[which], after)
    return torch.stack([view.reshape(size, -1).ne(0).any(1) for view in _views(changes, size)])


def _replaced(group: Sequence[Tensor], axis: int, sample: int, size: int) -> Dict[int, Tensor]:
    """The inputs with a sample replaced by its neighbour, which keeps lengths in order."""
    neighbour = sample + 1 if sample + 1 < size else sample - 1
    copies = {id(tensor): tensor.clone() for tensor in group}
    for tensor in group:
        copies[id(tensor)].select(axis, sample).copy_(tensor.select(axis, neighbour))
    return copies


def _views(result: Tensor, size: int) -> Iterator[Tensor]:
    """The result with the samples first, in each way that its shape allows."""
    if not result.dim():
        return
    if result.shape[0] == size:
        yield result
    elif result.shape[0] % size == 0:  # samples and places as one axis, in either order
        yield result.reshape(size, -1, *result.shape[1:])
        yield result.reshape(-1, size, *result.shape[1:]).movedim(1, 0)
    if result.dim() > 1 and result.shape[1] == size:
        yield result.movedim(1, 0)


def _refuse_comparisons(result: Tensor, size: int) -> None:
    width = result.shape[1] if result.dim() == 2 else 0
    if len(result) == size and width and (width in (size - 1, size + 1) or (width % size == 0 and width <= 4 * size)):
        raise CannotExamineError("the results compare the samples of the batch with each other")
