"""ML401."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.code import Function, Value

COUNTS = frozenset({"bincount", "value_counts", "compute_class_weight", "Counter"})
# What gives one number for each that it is given, or arranges them anew.
ELEMENTWISE = frozenset(
    "tensor as_tensor from_numpy FloatTensor DoubleTensor Tensor array asarray list tuple float double to cpu cuda numpy "
    "tolist sqrt pow reciprocal log log1p exp clamp clip maximum softmax flatten squeeze astype type sort_index to_numpy "
    "values normalize".split()
)
CLASSES = pattern(r"(?<![a-z])(num_?|n_?)?(class(es)?|categories)(_names)?|num_labels|n_labels", re.IGNORECASE)
COUNTED = pattern(r"(class|label|target|category)_?(\w*_)?(counts?|counter|freqs?|frequencies)", re.IGNORECASE)
DEEPEST = 8


class ClassWeightsAsSampleWeights(SourceRule):
    """A WeightedRandomSampler is given one weight for each class: it takes one for each sample.

    Why: it draws positions in the list of weights. With as many weights as classes it draws nothing but the first few
        samples of the data set, over and over: the model learns these by heart and never sees the rest.
    Fix: look up the weight of each sample's class: `WeightedRandomSampler(class_weights[labels], len(labels))`.
    Ignore: when it is classes that are drawn, and a sample of each is picked afterwards.
    Reported: https://github.com/deep-voice/soundbay/pull/49
    """

    code, severity, certain, topic = "ML401", Severity.WARNING, True, "data"
    calls = ("WeightedRandomSampler",)
    words = ("WeightedRandomSampler(",)
    bad = (
        """
        import torch
        from torch.utils.data import DataLoader, WeightedRandomSampler

        counts = torch.bincount(labels)
        class_weights = 1.0 / counts.float()
        sampler = WeightedRandomSampler(class_weights, len(class_weights))
        loader = DataLoader(data, batch_size=32, sampler=sampler)
        """,
        """
        import numpy as np
        from sklearn.utils.class_weight import compute_class_weight
        from torch.utils.data import DataLoader, WeightedRandomSampler

        def loader(dataset, labels):
            weights = compute_class_weight("balanced", classes=np.unique(labels), y=labels)
            weights = torch.tensor(weights, dtype=torch.double)
            sampler = WeightedRandomSampler(weights, num_samples=len(dataset), replacement=True)
            return DataLoader(dataset, batch_size=32, sampler=sampler)
        """,
        """
        from torch.utils.data import DataLoader, WeightedRandomSampler

        class Sounds:
            def sampler(self, train_labels):
                counts = np.array([np.sum(train_labels == c) for c in np.unique(train_labels)])
                return WeightedRandomSampler(1 / counts, len(train_labels))

            def loader(self):
                return DataLoader(self.data, sampler=self.sampler(self.labels))
        """,
        """
        from torch.utils.data import DataLoader, WeightedRandomSampler

        sampler = WeightedRandomSampler(weights=[0.1, 0.9], num_samples=len(train_set))
        loader = DataLoader(train_set, 32, sampler=sampler)
        """,
        """
        from collections import Counter
        from torch.utils.data import DataLoader, WeightedRandomSampler

        def weights_of(labels):
            class_counts = Counter(labels)
            return [len(labels) / class_counts[c] for c in range(num_classes)]

        weights = weights_of(train.labels)
        loader = DataLoader(train, 32, sampler=WeightedRandomSampler(weights, len(train)))
        """,
    )
    good = (
        """
        import torch
        from torch.utils.data import DataLoader, WeightedRandomSampler

        class_weights = 1.0 / torch.bincount(labels).float()
        loader = DataLoader(data, 32, sampler=WeightedRandomSampler(class_weights[labels], len(labels)))
        weights = [class_weights[label] for label in labels]
        sampler = WeightedRandomSampler(torch.tensor(weights), len(weights))
        """,
        """
        from collections import Counter
        from torch.utils.data import DataLoader, WeightedRandomSampler

        class_counts = Counter(targets)
        class_weights = [1.0 / class_counts[label] for label in targets]
        loader = DataLoader(data, 32, sampler=WeightedRandomSampler(class_weights, len(class_weights)))
        """,
        """
        from torch.utils.data import WeightedRandomSampler

        print(list(WeightedRandomSampler([0.1, 0.9, 0.4, 0.7, 3.0, 0.6], 5)))
        which_source = WeightedRandomSampler([0.2, 0.8], num_samples=1000)
        """,
        """
        import numpy as np
        from torch.utils.data import DataLoader, WeightedRandomSampler

        _, counts = np.unique(labels, return_counts=True)
        sample_weights = np.array([1.0 / counts[label] for label in labels])
        sample_weights = sample_weights / counts.sum()
        loader = DataLoader(data, 32, sampler=WeightedRandomSampler(sample_weights, len(data)))
        """,
        """
        import numpy as np
        from torch.utils.data import DataLoader, WeightedRandomSampler

        counts = np.bincount(labels)
        by_class = WeightedRandomSampler(1.0 / counts, 1000)
        chosen = [random.choice(members[label]) for label in by_class]
        loader = DataLoader(data, 32, sampler=chosen)
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for function in script.functions:
            for at, event in enumerate(function.events):
                call = event.value
                if event.kind == "call" and call is not None and call.method == "WeightedRandomSampler":
                    given, names = call.argument(0, "weights"), _names(function, call)
                    if given is not None and _is_few(script, function, call, given, at) and not _draws(script, names):
                        message = f"is given one weight for each class (`{given}`): it takes one for each sample"
                        yield self.at(call, message, certain=_is_given_to_loader(script, function, call, names))


def _names(function: Function, call: Value) -> set[str]:
    return {e.name for e in function.events if e.kind == "assign" and e.value is call}


def _draws(script: Script, names: set[str]) -> bool:
    """Whether the code itself goes over what is drawn: classes, perhaps."""
    over = (block.value for function in script.functions for block in function.blocks if block.is_loop)
    given = (call.arguments[0] for call in script.calls if call.name in ("iter", "list", "next") and call.arguments)
    return any(value is not None and value.kind == "name" and value.name in names for value in (*over, *given))


def _is_few(script: Script, function: Function, call: Value, given: Value, at: int) -> bool:
    """Whether there is a weight for each class; a list that is written needs more samples than it has items."""
    if _of_classes(script, function, given, at, DEEPEST):
        return True
    written = next((part for part in _through(function, given, at) if part.kind == "list"), None)
    count = call.argument(1, "num_samples")
    many = count is not None and count.name == "len" and str(count.arguments[0]) != str(given)
    return many and written is not None and 1 < len(written.arguments) < 20 and not written.unpacks


def _through(function: Function, value: Value, at: int) -> Iterator[Value]:
    """A value and what it is made of one by one: `x` of `torch.tensor(x)`."""
    for event in (None, *reversed(function.events[:at])):
        while value.kind == "call" and value.method in ELEMENTWISE and value.arguments:
            value = value.arguments[0]
        yield value
        if event is not None and value.kind == "name" and event.kind == "assign" and event.name == value.name:
            value = event.value or value


def _of_classes(script: Script, function: Function, value: Value, at: int, depth: int) -> bool:
    """Whether a value holds one number for each class."""
    if depth == 0:
        return False
    if value.kind == "name":
        return _named(script, function, value.name, at, depth)
    if value.kind == "call":
        return _called(script, function, value, at, depth)
    if value.kind == "item" and value.base is not None:  # the numbers that `unique` gives besides the classes
        counted = value.base.argument(None, "return_counts") if value.base.method == "unique" else None
        return counted is not None and value.arguments[0].constant in (1, -1)
    if value.kind == "operation":
        return value.name in ("+", "-", "*", "/", "**") and any(
            _of_classes(script, function, part, at, depth - 1) for part in value.arguments
        )
    if value.kind == "comprehension" and value.base is not None:
        return _over_classes(script, function, value.base, at, depth)
    return False


def _named(script: Script, function: Function, name: str, at: int, depth: int) -> bool:
    for place in range(at - 1, -1, -1):
        event = function.events[place]
        if event.kind == "assign" and event.name == name and event.value is not None:
            return _of_classes(script, function, event.value, place, depth - 1)
    return False


def _called(script: Script, function: Function, call: Value, at: int, depth: int) -> bool:
    if call.method in COUNTS:
        return True
    if call.method in ELEMENTWISE:
        inner = (call.arguments[0] if call.arguments else None) if _is_plain(call) else call.receiver
        counted = call.method == "values" and COUNTED.fullmatch(str(call.receiver).rpartition(".")[2]) is not None
        return counted or (inner is not None and _of_classes(script, function, inner, at, depth - 1))
    for helper in (f for f in script.functions if f.kind == "function" and f.name == call.name):
        returned = [(place, e.value) for place, e in enumerate(helper.events) if e.kind == "return" and e.value]
        return bool(returned) and all(_of_classes(script, helper, v, place, depth - 1) for place, v in returned)
    return False


def _is_plain(call: Value) -> bool:
    """Whether it is a function that is given a value, not a method of it."""
    head = call.name.partition(".")[0]
    return call.base is None and ("." not in call.name or head in ("torch", "numpy", "np"))


def _over_classes(script: Script, function: Function, over: Value, at: int, depth: int) -> bool:
    """Whether a loop goes over classes, or over what there is one of for each."""
    if over.kind == "call" and over.name in ("range", "sorted", "enumerate") and len(over.arguments) == 1:
        inner = over.arguments[0]
        inner = inner.arguments[0] if inner.name == "len" and inner.arguments else inner
        return _over_classes(script, function, inner, at, depth)
    if over.kind == "name" and CLASSES.fullmatch(over.method):
        return True
    unique = over.kind == "call" and over.method in ("unique", "set") and not over.keywords
    return unique or _of_classes(script, function, over, at, depth - 1)


def _is_given_to_loader(script: Script, function: Function, call: Value, names: set[str]) -> bool:
    """Whether a loader is given the sampler: where it is made, by its name, or as what the function returns."""
    returned = (e.value for e in function.events if e.kind == "return" and e.value is not None)
    returns = any(value is call or value.name in names for value in returned)
    samplers = (c.argument(3, "sampler") for c in script.calls if c.method.endswith("Loader"))
    return any(s is not None and (s is call or s.name in names or (returns and s.kind == "call")) for s in samplers)
