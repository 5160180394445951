"""What torch.export made of a step, run again operation by operation, each where the user wrote it."""

from __future__ import annotations

import re
from typing import Any, Optional, Tuple

from torch.fx import Interpreter, Node

from . import frames

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


class Again(Interpreter):
    def __init__(self, module: Any) -> None:
        super().__init__(module)
        self._node: Optional[Node] = None

    def run_node(self, n: Node) -> Any:
        self._node = n
        return super().run_node(n)

    def line(self) -> Optional[Tuple[str, int]]:
        """(path, line) of the innermost frame of the user that the export remembers of the present operation."""
        trace = (self._node.meta.get("stack_trace") if self._node is not None else None) or ""
        found = [(frames.user_path(path), int(number)) for path, number in _FRAME.findall(trace)]
        mine = [(path, number) for path, number in found if path is not None]
        return mine[-1] if mine else None
