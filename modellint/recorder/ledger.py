"""Which operation made which live tensor: tensors are held weakly, so that what nobody can reach is forgotten."""

from __future__ import annotations

import weakref
from typing import Any, Dict, Iterable, Iterator, List, Optional, Tuple

import torch
from torch import Tensor

from .operation import Leaf, Op, Path, Ref, outline, reachable, unseen, writes

LIMIT = 200_000  # operations remembered at once: a long preparation of data must not pile up
LONGEST = 256  # items of a list among the arguments
_LITERALS = (int, float, bool, str, complex, type(None), type(Ellipsis), torch.dtype, torch.device)


class _Weak(weakref.ref[Any]):
    __slots__ = ("key",)
    key: int


class Ledger:
    def __init__(self) -> None:
        self._entries: Dict[int, Tuple[_Weak, Ref]] = {}
        self._made = 0

    def find(self, tensor: Tensor) -> Optional[Ref]:
        entry = self._entries.get(id(tensor))
        return entry[1] if entry is not None and entry[0]() is tensor else None

    def made(self, tensor: Tensor) -> bool:
        """Whether a recorded operation made `tensor`."""
        found = self.find(tensor)
        return found is not None and isinstance(found.source, Op)

    def ref(self, tensor: Tensor, call: Any = None) -> Ref:
        """Where `tensor` came from; one never seen before becomes a leaf, or what autograd says that it depends on."""
        found = self.find(tensor)
        if found is None and tensor.grad_fn is not None:
            self.add(Op(unseen, tuple(self._behind(tensor)), {}, call, None), [((), tensor)])
            return self.ref(tensor)
        if found is None:
            return self._bind(tensor, Ref(Leaf(tensor, call)))
        if isinstance(found.source, Op) and not found.source.grad and tensor.requires_grad:
            found.source.grad = found.source.attached = True
        return found

    def _behind(self, tensor: Tensor) -> Iterator[Ref]:
        """The nearest recorded tensors and parameters that autograd says `tensor` depends on."""
        held = ((entry[0](), entry[1]) for entry in list(self._entries.values()))
        known = {each.grad_fn: ref for each, ref in held if each is not None and each.grad_fn is not None}
        waiting: List[Any] = [tensor.grad_fn]
        seen = set(waiting)
        for node in waiting:
            if node in known:
                yield known[node]
            elif hasattr(node, "variable"):
                yield self.ref(node.variable)
            else:
                fresh = [below for below, _ in node.next_functions if below is not None and below not in seen]
                waiting.extend(fresh)
                seen.update(fresh)

    def add(self, op: Op, tensors: Iterable[Tuple[Path, Tensor]]) -> None:
        """`op` made, or changed, `tensors`."""
        tensors = tuple(tensors)
        op.outputs = tuple(outline(path, tensor) for path, tensor in tensors)
        op.grad = any(tensor.requires_grad for _, tensor in tensors)
        for path, tensor in tensors:
            self._own(op, path, tensor)
        self._made += 1
        if self._made > LIMIT:
            self._sweep()

    def encode(self, value: Any, call: Any = None) -> Any:
        """`value` with every tensor replaced by its Ref, and what cannot be printed by the name of its type."""
        if isinstance(value, Tensor):
            return self.ref(value, call)
        if isinstance(value, (list, tuple)):
            return tuple(self.encode(item, call) for item in value[:LONGEST])
        if isinstance(value, dict):
            return {str(key): self.encode(item, call) for key, item in value.items()}
        if isinstance(value, slice):
            return slice(*(self.encode(part, call) for part in (value.start, value.stop, value.step)))
        return value if isinstance(value, _LITERALS) else type(value).__name__

    def _own(self, op: Op, path: Path, tensor: Tensor) -> None:
        if _is_weight(tensor) and (writes(op.function) or not any(op)):  # it stays a leaf, however it was filled
            known = self.find(tensor)
            if known is None or isinstance(known.source, Op):
                self._bind(tensor, Ref(Leaf(tensor, op.call)))
            return
        self._bind(tensor, Ref(op, path))
        base = tensor._base if writes(op.function) and tensor._is_view() else None
        if base is not None and self.find(base) is not None and not _is_weight(base):
            self._bind(base, Ref(op))  # what is written through a view reaches its base

    def _bind(self, tensor: Tensor, ref: Ref) -> Ref:
        weak = _Weak(tensor, self._forget)
        weak.key = id(tensor)
        self._entries[weak.key] = (weak, ref)
        return ref

    def _forget(self, weak: Any) -> None:
        entry = self._entries.get(weak.key)
        if entry is not None and entry[0] is weak:
            del self._entries[weak.key]

    def _sweep(self) -> None:
        self._made = len(reachable(entry[1].source for entry in list(self._entries.values())))
        if self._made > LIMIT // 2:
            self._entries.clear()
            self._made = 0


def _is_weight(tensor: Tensor) -> bool:
    return tensor.is_leaf and tensor.requires_grad
