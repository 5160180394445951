from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from modellint import Graph
from modellint.core.plain import from_plain
from modellint.graph.node import Node, Role
from modellint.graph.walk import learned_parameters, readouts
from modellint.recorder import roles
from modellint.recorder.capture import Capture


class Net(nn.Module):
    """Linear, then `middle` of its output and of a learned vector, then a linear readout."""

    def __init__(self, middle: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.readout, self.scale = nn.Linear(8, 16), nn.Linear(16, 5), nn.Parameter(torch.ones(16))
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.middle(self.body(x), self.scale))


def record(model: nn.Module, loss: Callable[[], Tensor]) -> Graph:
    capture = Capture()
    capture.start()
    plain = capture.finish(loss(), {id(p): n for n, p in model.named_parameters()}, model)
    assert capture.errors == []
    return from_plain(Graph, plain)


def between(middle: Callable[[Tensor, Tensor], Tensor]) -> Graph:
    model = Net(middle)
    return record(model, lambda: F.cross_entropy(model(torch.randn(4, 8)), torch.randint(0, 5, (4,))))


def node(graph: Graph, operation: str) -> Node:
    return next(node for node in graph if node.operation == operation)


NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "rsqrt": lambda x, w: w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)),
    "rsqrt first": lambda x, w: torch.rsqrt(x.float().square().mean(-1, keepdim=True) + 1e-6).to(x.dtype) * x * w,
    "divided by std": lambda x, w: (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5) * w,
    "divided by root of var": lambda x, w: (
        (x - x.mean(1, keepdim=True)) / torch.sqrt(x.var(1, keepdim=True) + 1e-5) + w
    ),
    "unit length": lambda x, w: x / x.norm(dim=-1, keepdim=True) * w,
    "unit length, clamped": lambda x, w: w * x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp(min=1e-9),
    "power of minus a half": lambda x, w: x * (x.pow(2).mean(-1, keepdim=True) + 1e-6).pow(-0.5) * w,
    "F.normalize": lambda x, w: F.normalize(x) * w,
    "F.rms_norm": lambda x, w: F.layer_norm(x, (16,), w),
}
NO_NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "scaled by a constant": lambda x, w: x / 16**0.5 * w,
    "gated": lambda x, w: x * torch.relu(x) * w,
    "averaged": lambda x, w: (x * w).unsqueeze(1).sum(1) / torch.ones(4, 1).sum(1, keepdim=True),
}


@pytest.mark.parametrize("name", NORMS)
def test_a_norm_written_out_is_a_norm(name: str) -> None:
    assert between(NORMS[name]).of_role(Role.NORM), name


@pytest.mark.parametrize("name", NO_NORMS)
def test_other_arithmetic_is_not(name: str) -> None:
    graph = between(NO_NORMS[name])
    assert not graph.of_role(Role.NORM, Role.SOFTMAX), name


class RMSNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)).type_as(x)


class NoNorm(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2 + 1


class PreNorm(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.norm, self.inner = nn.LayerNorm(16), inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(self.norm(x))


def through(module: nn.Module) -> Graph:
    model = nn.Sequential(nn.Linear(8, 16), module, nn.Linear(16, 5))
    return record(model, lambda: F.cross_entropy(model(torch.randn(4, 8)), torch.randint(0, 5, (4,))))


def test_a_module_that_normalises_is_one_node() -> None:
    graph = through(RMSNorm())
    assert [node.role for node in graph if node.role is not Role.INPUT] == [
        Role.LINEAR,
        Role.NORM,
        Role.LINEAR,
        Role.LOSS,
    ]
    assert graph.of_role(Role.NORM)[0].parameters == ("1.weight",)


def test_a_norm_by_name_alone_is_none() -> None:
    assert not through(NoNorm()).of_role(Role.NORM)


def test_a_wrapper_named_after_a_norm_keeps_its_layers() -> None:
    assert [node.location.module for node in through(PreNorm(nn.Linear(16, 16))).of_role(Role.LINEAR)] == [
        "0",
        "1.inner",
        "2",
    ]


def test_softmax_written_out() -> None:
    graph = between(lambda x, w: x.exp() / x.exp().sum(-1, keepdim=True) * w)
    assert not graph.of_role(Role.SOFTMAX), "two different exponentials need not be one softmax"

    def softmax(x: Tensor, w: Tensor) -> Tensor:
        e = torch.exp(x - x.max(-1, keepdim=True).values)
        return e / e.sum(-1, keepdim=True) * w

    assert between(softmax).of_role(Role.SOFTMAX)


def test_attention_written_out() -> None:
    graph = between(lambda x, w: F.dropout((x @ x.T / 4).softmax(-1), 0.1) @ x * w)
    (attention,) = graph.of_role(Role.ATTENTION)
    assert [graph[name].role for name in attention.inputs] == [Role.DROPOUT, Role.LINEAR]
    assert graph.of_role(Role.SOFTMAX)[0].dim == -1


@pytest.mark.parametrize("wrap", [parametrizations.weight_norm, parametrizations.spectral_norm, nn.utils.spectral_norm])
def test_arithmetic_on_weights_is_not_part_of_the_network(wrap: Callable[[nn.Module], nn.Module]) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), wrap(nn.Linear(16, 5)))
    graph = record(model, lambda: model(torch.randn(4, 8)).square().mean())
    assert [node.role for node in graph][:4] == [Role.INPUT, Role.LINEAR, Role.ACTIVATION, Role.LINEAR]
    assert learned_parameters(graph) == {name for name, _ in model.named_parameters()}


def test_a_tied_weight_has_one_name() -> None:
    embedding, head = nn.Embedding(11, 8), nn.Linear(8, 11, bias=False)
    head.weight = embedding.weight
    model = nn.ModuleDict({"embedding": embedding, "head": head})
    x = torch.randint(0, 11, (4, 6))
    graph = record(model, lambda: F.cross_entropy(head(embedding(x)).flatten(0, 1), x.flatten()))
    (readout,) = readouts(graph)
    assert (readout.location.module, readout.parameters) == ("head", ("embedding.weight",))


def test_in_place_operations_and_writes_through_views_are_followed() -> None:
    def middle(x: Tensor, w: Tensor) -> Tensor:
        buffer = torch.zeros(4, 16)
        buffer[:, :8] = x[:, :8].relu()
        buffer[:, 8:].copy_(x[:, 8:])
        buffer.mul_(w)
        return torch.dropout(buffer, 0.1, True).add_(1)

    graph = between(middle)
    assert learned_parameters(graph) == {"body.weight", "body.bias", "readout.weight", "readout.bias", "scale"}
    assert node(graph, "add").inputs == ("dropout",)


def test_what_is_detached_does_not_learn() -> None:
    graph = between(lambda x, w: x.detach() * w)
    assert learned_parameters(graph) == {"readout.weight", "readout.bias", "scale"}
    assert node(graph, "detach").role is Role.DETACH


def test_bounded_functions_are_marked() -> None:
    assert node(between(lambda x, w: x.tanh() * w), "tanh").bounded
    assert node(between(lambda x, w: x.clamp(-1, 1) * w), "clamp").bounded
    assert not node(between(lambda x, w: x.clamp(min=0) * w), "clamp").bounded


def test_a_loss_reads_its_prediction_first() -> None:
    model = nn.Linear(8, 5)
    target, x = torch.randint(0, 5, (4,)), torch.randn(4, 8)
    graph = record(model, lambda: nn.CrossEntropyLoss(torch.ones(5))(target=target, input=model(x)))
    assert graph[node(graph, "cross_entropy").inputs[0]].role is Role.LINEAR


def test_operations_that_are_not_known_are_not_guessed() -> None:
    assert node(between(lambda x, w: torch.fft.fft(x).abs() * w), "fft_fft").role is Role.OTHER


def test_positions_are_the_users_line_and_the_modules_path() -> None:
    readout = readouts(between(lambda x, w: x * w))[0]
    assert readout.location.module == "readout"
    assert (readout.location.path or "").endswith("test_lower.py")
    assert readout.module_class == "Linear"


def test_every_role_is_known_to_the_graph() -> None:
    assert set(roles._ROLES) - {"product"} <= {role.value for role in Role}


@pytest.mark.parametrize(("prepare", "kept"), [(nn.Flatten(), True), (lambda x: x.flatten(1) / 255, False)])
def test_a_reshaped_input_keeps_its_spread(prepare: Callable[[Tensor], Tensor], kept: bool) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.readout = nn.Linear(48, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.readout(prepare(x))

    model, images = Net(), torch.rand(4, 3, 4, 4) * 255
    graph = record(model, lambda: F.cross_entropy(model(images), torch.tensor([0, 1, 0, 1])))
    (entering,) = graph.inputs(next(node for node in graph if node.role is Role.LINEAR))
    assert entering.std == (pytest.approx(images.std().item()) if kept else None)
