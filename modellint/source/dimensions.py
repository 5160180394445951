"""What operations make of the shapes of tensors; None where that cannot be told."""

from __future__ import annotations

from collections.abc import Sequence

Shape = tuple[int | None, ...]  # None: a size that is not written, such as that of the batch


def broadcast(shapes: Sequence[Shape]) -> Shape | None:
    """Of an elementwise operation, where the longest shape is that of the result."""
    longest = max(shapes, key=len)
    return longest if all(_fits(shape, longest) for shape in shapes) else None


def _fits(part: Shape, whole: Shape) -> bool:
    """Whether a shape is broadcast to another without changing it."""
    return all(
        one in (1, other) or None in (one, other) for one, other in zip(reversed(part), reversed(whole), strict=False)
    )


def product(left: Shape, right: Shape) -> Shape | None:
    """`left @ right` of a matrix with a matrix or a vector."""
    return (*left[:-1], *right[1:]) if len(left) == 2 and len(right) in (1, 2) else None


def stacked(part: Shape, axis: int, number: int) -> Shape:
    """`torch.stack` of so many parts."""
    place = axis if axis >= 0 else axis + len(part) + 1
    return (*part[:place], number, *part[place:])


def joined(part: Shape, axis: int) -> Shape:
    """`torch.cat`, where only the first part is known."""
    place = axis if axis >= 0 else axis + len(part)
    return (*part[:place], None, *part[place + 1 :])


def without(shape: Shape, axis: int) -> Shape | None:
    """After an axis is reduced; None where there is no such axis."""
    place = axis if axis >= 0 else axis + len(shape)
    return (*shape[:place], *shape[place + 1 :]) if 0 <= place < len(shape) else None


def squeezed(shape: Shape, axis: int) -> Shape | None:
    """Without an axis of size 1; of another size it would stay, which a size that is not written may be."""
    left = without(shape, axis)
    return left if left is not None and shape[axis] == 1 else None
