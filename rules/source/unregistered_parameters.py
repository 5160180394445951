"""ML195."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.pattern import pattern
from modellint.measure.cast import Parameter
from modellint.measure.loose import loose
from modellint.source.code import Class, Function, Value

PARAMETERS = ("torch.nn.Parameter", "torch.nn.parameter.Parameter")
MOVES = ("cuda", "to", "double", "half", "bfloat16", "clone")
HERE = ("torch.float32", "torch.float", "cpu")  # where a new parameter is: moved there it is itself
DRAWS = frozenset({"randn", "rand", "normal", "randn_like", "rand_like", "empty", "Tensor", "FloatTensor"})
# Names of what is differentiated by, or fitted on its own, not of weights.
INPUTS = pattern(
    r"(self\.)?(x|y|z|t|inputs?|images?|img|points?|coords?|grid|delta|noise|perturb\w*|latents?)(_.*|\d*)"
)

GATHERS = ("list", "tuple", "dict")


class UnregisteredParameters(SourceRule):
    """A weight of a module is a plain tensor: the module does not know that it has it.

    Why: only an `nn.Parameter` that is itself an attribute is registered. `nn.Parameter(w).cuda()` is a copy, computed from a
        parameter that nothing keeps, and `requires_grad=True` makes no parameter of a tensor. The optimizer never
        trains it, `.to(device)` leaves it behind, and `state_dict()` does not save it.
    Fix: `self.w = nn.Parameter(w)`, and move the module as a whole.
    Ignore: when an optimizer of its own is given the tensor from elsewhere, as for an attack on the inputs. A drawn tensor is a
        suspicion where the file makes no optimizer.
    Reported: https://github.com/pytorch/pytorch/issues/20089, https://github.com/pytorch/pytorch/issues/17484
    """

    code, severity, certain, topic = "ML195", Severity.ERROR, True, "structure"
    twins = ("loose-parameters",)
    words = (
        (
            "Module)",
            "Parameter(",
            pattern(
                rb"self\.\w+(?: *:[^=\n]+)? = [\w.]*Parameter\((?:.*|[^=]{1,200})\)\s*\.(?:cuda|to|double|half|bfloat16|clone)\("
            ),
        ),
        ("Module)", "requires_grad", pattern(rb"self\.\w+(?: *:[^=\n]+)? = .*requires_grad(?: ?= ?True|_\()")),
    )
    bad = (
        """
        class Gate(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.scale = nn.Parameter(torch.randn(width)).cuda()
                self.layer = nn.Linear(width, width)

            def forward(self, x):
                return self.layer(x) * self.scale
        """,
        """
        class Gate(nn.Module):
            def __init__(self, width, device):
                super().__init__()
                self.bias = torch.nn.Parameter(torch.zeros(width)).to(device)

            def forward(self, x):
                return x + self.bias
        """,
        """
        class Bilinear(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.weight = torch.randn(width, width, requires_grad=True)

            def forward(self, x, y):
                return (x @ self.weight * y).sum(-1)
        """,
        """
        class Attention(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.query = (torch.rand(width) / width).requires_grad_()

            def forward(self, x):
                return ((x @ self.query).softmax(1).unsqueeze(-1) * x).sum(1)
        """,
        """
        class Encoder(nn.Module):
            def __init__(self, features, size):
                super().__init__()
                self.features = features
                self.weight = nn.Parameter(
                    torch.FloatTensor(size, features)).cuda()

            def forward(self, x):
                return F.relu(self.weight.mm(x))

        class Other(nn.Module):
            def __init__(self, size):
                super().__init__()
                self.weight = nn.Parameter(torch.zeros(size))

            def forward(self, x):
                return x * self.weight
        """,
    )
    good = (
        """
        class Sobel(nn.Module):
            def __init__(self, device):
                super().__init__()
                self.edges = nn.Parameter(torch.tensor([[1.0, 0.0, -1.0]]), requires_grad=False).to(device)

            def forward(self, x):
                return F.conv1d(x, self.edges)
        """,
        """
        class Skip(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.scale = nn.Parameter(torch.ones(width, dtype=torch.float32)).to(torch.float32)

            def forward(self, x):
                return x * self.scale
        """,
        """
        class Cell(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(8, 4)
                self.alphas = torch.randn(4, requires_grad=True)
                self._choices = [self.alphas]

            def choices(self):  # for an optimizer of their own
                return self._choices

            def forward(self, x):
                return self.layer(x) * self.alphas.softmax(-1)
        """,
        """
        class Gate(nn.Module):
            def __init__(self, width, device):
                super().__init__()
                self.scale = nn.Parameter(torch.randn(width).to(device))
                self.shift = nn.Parameter(torch.randn(width)).float()  # it is that already: nothing is copied
                self.mean = torch.zeros(width)

            def forward(self, x):
                return (x - self.mean) * self.scale + self.shift
        """,
        """
        class Physics(nn.Module):
            def __init__(self, points):
                super().__init__()
                self.net = nn.Linear(1, 1)
                self.x = torch.rand(points, 1, requires_grad=True)  # differentiated by, not trained

            def forward(self):
                return torch.autograd.grad(self.net(self.x).sum(), self.x, create_graph=True)
        """,
        """
        class Prompt(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.prompt = torch.randn(8, width, requires_grad=True)

            def forward(self, x):
                return torch.cat([self.prompt, x])

        model = Prompt(64)
        optimizer = torch.optim.Adam([model.prompt], lr=0.1)
        """,
        """
        class Late(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.weight = torch.randn(width, requires_grad=True)
                self.weight = nn.Parameter(self.weight)

            def forward(self, x):
                return x * self.weight
        """,
    )
    suspected = (
        """
        class Encoder(nn.Module):
            def __init__(self, loss_device):  # which is the CPU
                super().__init__()
                self.weight = nn.Parameter(torch.tensor([10.0])).to(loss_device)

            def slow_down(self):
                self.weight.grad *= 0.01

            def similarity(self, x):
                return x * self.weight
        """,
        """
        class Bilinear(nn.Module):
            def __init__(self, width):
                super().__init__()
                self.weight = torch.randn(width, width, requires_grad=True)

            def forward(self, x, y):
                return (x @ self.weight * y).sum(-1)
        """,
    )
    confirmed_by = Run((Step(2),), (Parameter("head.weight"), Parameter("parameter_7", loose=True)))
    not_confirmed_by = Run((Step(2),), (Parameter("head.weight"),))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        models = {model.name for model in script.models}
        trained = any(
            made.location.path == script.path for made in script.optimizers
        )  # elsewhere it may be given to one
        for class_ in (class_ for class_ in script.classes if class_.name in models or _is_loss(class_)):
            for name, made in _kept(script, class_):
                copied = _is_copy(made)
                if (copied or (_asks(made) and not INPUTS.fullmatch(name))) and _is_own(script, class_, name):
                    message = (
                        f"keeps `self.{name}` of `{class_.name}` as a plain tensor: `parameters()` does not find it"
                    )
                    drawn = trained and any(part.method in DRAWS for part in made.within())
                    sure = (copied or drawn) and not _has_gradients(script, name)
                    yield self.at(made, message, certain=sure)

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        return loose(run)


def _is_loss(class_: Class) -> bool:
    """A module too, though no model."""
    return any(base.name.startswith("torch.nn.") for base in class_.bases)


def _kept(script: Script, class_: Class) -> Iterator[tuple[str, Value]]:
    """The attributes that a class sets once, and to what."""
    names = [attribute.name for attribute in class_.attributes]
    for place in class_.attributes:
        function = script.functions[place.function]
        value = function.events[place.event].value
        if value is not None and names.count(place.name) == 1 and function.kind == "function":
            yield place.name, value


def _is_copy(made: Value) -> bool:
    """`nn.Parameter(w).cuda()`, `nn.Parameter(w).to(device)`."""
    inner = made.receiver if made.kind == "call" and made.method in MOVES else None
    if inner is None or inner.kind != "call" or inner.name not in PARAMETERS:
        return False
    trained = inner.argument(1, "requires_grad")
    stays = any(given.name in HERE or given.constant in HERE for given in made.arguments)
    return not stays and (trained is None or trained.constant is not False)


def _asks(made: Value) -> bool:
    """Whether a tensor is made of which gradients are asked."""
    given = made.argument(None, "requires_grad") if made.kind == "call" and made.name.startswith("torch.") else None
    switched = made.kind == "call" and made.method == "requires_grad_" and not made.arguments
    return made.name not in PARAMETERS and (switched or (given is not None and given.constant is True))


def _has_gradients(script: Script, name: str) -> bool:
    """Whether anything reads its gradient: moved to where it lies already, a parameter is none other."""
    return any(e.name.startswith(f"self.{name}.grad") for f in script.functions for e in f.events)


def _is_own(script: Script, class_: Class, name: str) -> bool:
    """Whether other methods than `__init__` compute with the tensor, and nothing hands it on."""
    own = [function for function in script.functions if function.owner == class_.name]
    handed = any(_hands_on(function, name, function in own) for function in script.functions)
    used = (full for function in own if not function.name.endswith("__init__") for full in _names(function))
    return not handed and any(f"{full}.".startswith(f"self.{name}.") for full in used)


def _names(function: Function) -> set[str]:
    values = (event.value for event in function.events if event.value is not None)
    return {part.name for value in values for part in value.within()}


def _hands_on(function: Function, name: str, own: bool) -> bool:
    """An optimizer or a derivative that is given it, a list that it is kept in besides, or another object whose attribute of
    that name is read."""
    for call in function.calls:
        given = (*call.arguments, *(value for _, value in call.keywords))
        gives = call.method in ("grad", "register_parameter", "register_buffer", "append") or "ptim" in call.name
        if gives and any(part.method == name for value in given for part in value.within()):
            return True
    lists = (event.value for event in function.events if event.value is not None and event.kind in ("assign", "return"))
    if own and any(part.method == name for value in lists if value.kind in GATHERS for part in value.within()):
        return True
    return not own and any(full.endswith(f".{name}") and full != f"self.{name}" for full in _names(function))
