"""The graph of one forward and loss of a model that is not trained.

Three ways, the first that works: under the recorder without data (on the meta device), under the recorder with the real
batch on the CPU, and by torch.export without its tracing of Python (`strict=False`).
"""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Optional, Tuple

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule
from torch.utils._pytree import tree_map

from . import exported, frames, loop
from .capture import Capture, Line

Taken = Tuple[Graph, Dict[str, Any]]  # as torch has it, and plain


class Still(NamedTuple):
    """The torch.fx graph of one forward and loss, its plain graph, the way it came by, and why others did not work."""

    module: GraphModule
    plain: Dict[str, Any]
    way: str
    problems: Tuple[str, ...]


def take(model: torch.nn.Module, batch: Any, loss: Optional[Callable[..., Any]] = None) -> Still:
    """Raises RuntimeError, with all reasons, where no way works. Neither the model nor the batch is changed."""
    problems: List[str] = []
    for way, action in (("meta", _on_meta), ("cpu", _on_cpu), ("export", _exported)):
        try:
            graph, plain = action(model, batch, loss)
            return Still(_module(model, graph), plain, way, tuple(problems))
        except Exception as error:
            problems.append("%s: %s: %s" % (way, type(error).__name__, (str(error).splitlines() or [""])[0]))
    reasons = list(dict.fromkeys(problem.partition(": ")[2] for problem in problems))
    raise RuntimeError("the model cannot be recorded: " + (reasons[0] if len(reasons) == 1 else "; ".join(problems)))


def _on_meta(model: torch.nn.Module, batch: Any, loss: Any) -> Taken:
    def without_data(value: Any) -> Any:
        return value.to("meta") if isinstance(value, Tensor) else value

    bare = copy.deepcopy(loss.to("meta") if isinstance(loss, torch.nn.Module) else loss)
    empty, shapes = copy.deepcopy(model).to("meta"), tree_map(without_data, batch)
    return _recorded(lambda: _result(empty, shapes, bare), empty, empty)


def _on_cpu(model: torch.nn.Module, batch: Any, loss: Any) -> Taken:
    own = copy.deepcopy(model)
    with torch.random.fork_rng(devices=[]):
        return _recorded(lambda: _result(own, batch, loss), own, own)


def _exported(model: torch.nn.Module, batch: Any, loss: Any) -> Taken:
    """What torch.export makes of the step, run once more under the recorder: it has no Python left."""

    class Step(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, batch: Any) -> Any:
            return _result(self.model, batch, loss)

    again = exported.Again(torch.export.export(Step(), (batch,), strict=False).module())
    return _recorded(lambda: again.run(batch), again.module, model, again.line)


def _recorded(run: Callable[[], Tensor], holder: Any, model: Any, line: Line = frames.user_line) -> Taken:
    """`holder` has the parameters that are run: those of `model`, or, made of it, with the same below "model."."""
    capture = Capture(line)
    capture.start()
    try:
        result = run()
    finally:
        capture.stop()
    start = 0 if holder is model else len("model.")
    plain = capture.finish(result, {id(p): name[start:] for name, p in holder.named_parameters()}, model)
    if plain is None or capture.graph is None:
        raise (capture.errors or [RuntimeError("nothing of it was recorded")])[0]
    return capture.graph, plain


def _result(model: torch.nn.Module, batch: Any, loss: Any) -> Tensor:
    """The loss; of a model that returns none the first output that can be differentiated."""
    if loss is not None:
        found: Tensor = loop.loss_of(model, batch, loss)
        return found
    output = model(**batch) if isinstance(batch, Mapping) else loop.called(model, batch)
    given = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    tensors = _tensors(output) if given is None else iter([given])
    return next(tensor for tensor in tensors if tensor.requires_grad)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple, dict)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)


def _module(model: torch.nn.Module, graph: Graph) -> GraphModule:
    """The graph with the model's parameters beside it, to print, walk and transform with the tools of torch.fx."""
    known = {**dict(model.named_parameters()), **dict(model.named_buffers()), **dict(model.named_modules())}
    wanted = {str(node.target) for node in graph.nodes if node.op in ("get_attr", "call_module")}
    return GraphModule({name: known.get(name, torch.nn.Module()) for name in wanted}, graph)
