"""Gradients that are handed out, by autograd.grad() or by torch.func: whose parameters they are of, and what they are."""

from __future__ import annotations

from typing import Any, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from . import walk
from .patches import Patches, Watch, argument, guarded
from .tensors import is_plain, quiet, unwrapped
from .window import Observation

CREATE_GRAPH = 4  # its position among the arguments


class Question(NamedTuple):
    """One call: what is differentiated, the tensors by which, as the user has them, and the factors of the roots."""

    root: Tensor
    inputs: Tuple[Tensor, ...]
    factors: Any


class AskWatch(Watch):
    """A question about most parameters of an optimizer counts as its backward(), unless one follows before the step.

    Without an optimizer the parameters may be new tensors each time: where there are several, of the same shapes as
    before, they are what the last ones have become.
    """

    def apply(self, patches: Patches) -> None:
        patches.around(torch.autograd, "grad", self._around)

    def _around(self, original: Any, args: Any, kwargs: Any) -> Any:
        recorder = self.recorder
        if recorder.backwards.depth:
            return original(*args, **kwargs)
        recorder.notes.place("grad")
        question = self._asks(args, kwargs)
        observation = None if question is None else self._begins(question)
        result = recorder.backwards.within(original, args, kwargs)
        if question is not None:
            self._ends(question, observation, result)
        return result

    @guarded
    def _asks(self, args: Any, kwargs: Any) -> Optional[Question]:
        """None where nothing can be trained with the answer: a penalty on gradients, a map of what an input does."""
        outputs, inputs = argument(args, kwargs, 0, "outputs"), argument(args, kwargs, 1, "inputs")
        root = outputs if isinstance(outputs, Tensor) else outputs[0]
        given = tuple(unwrapped(tensor) for tensor in ([inputs] if isinstance(inputs, Tensor) else inputs))
        if not all(is_plain(tensor) for tensor in given) or not is_plain(unwrapped(root)):
            return None
        if is_plain(root) and argument(args, kwargs, CREATE_GRAPH, "create_graph"):
            return None
        question = Question(root, given, argument(args, kwargs, 2, "grad_outputs"))
        return question if self._may_train(question) else None

    def _may_train(self, question: Question) -> bool:
        root, inputs = question.root, question.inputs
        by_hand = self.recorder.by_hand
        if by_hand.holds_like(inputs):
            return True
        if self.recorder.tracks:
            return any(track.is_about(inputs) for track in self.recorder.tracks)
        if not is_plain(root):
            return len(inputs) > 1
        wanted = {id(tensor) for tensor in inputs}
        return all(id(leaf) in wanted for leaf in walk.leaves(root.grad_fn))

    @guarded
    def _begins(self, question: Question) -> Optional[Observation]:
        recorder = self.recorder
        recorder.by_hand.follow(question.inputs)
        recorder.by_hand.look()
        recorder.evaluations.trained()
        if not recorder.tracks:
            recorder.by_hand.begin(question.inputs)
            return None
        recorder.backwards.count += 1
        if not recorder.is_sampling:
            return None
        with quiet():
            found: Observation = recorder.backwards.observe(question.root, [question.factors])
        return found

    @guarded
    def _ends(self, question: Question, observation: Optional[Observation], result: Any) -> None:
        recorder = self.recorder
        with quiet():
            if recorder.backwards.conclude(observation) is None:
                return
            given = {id(tensor): unwrapped(gradient) for tensor, gradient in zip(question.inputs, result)}
            for track in recorder.live():
                if track.is_about(question.inputs):
                    track.answered(observation, given)
            recorder.by_hand.arm()
        recorder.backwards.give_up()
