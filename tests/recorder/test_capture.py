from __future__ import annotations

import json
import weakref
from typing import Any

import architectures
import pytest
import torch
from architectures import HEALTHY, SICK, Case
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from modellint import Graph, Severity
from modellint.core import registry
from modellint.core.diagnostic import Diagnostic
from modellint.core.plain import from_plain
from modellint.graph.node import Role
from modellint.graph.walk import learned_parameters, readouts
from modellint.recorder import ledger
from modellint.recorder.capture import Capture
from modellint.recorder.operation import Op

RULE = next(rule for rule in registry.load() if rule.name == "readout-without-norm")


def names(model: nn.Module) -> dict[int, str]:
    return {id(parameter): name for name, parameter in model.named_parameters()}


def step(case: Case, capture: Capture | None = None) -> dict[str, Any] | None:
    if capture:
        capture.start()
    loss = case.loss()
    loss.backward()
    return capture.finish(loss, names(case.model), case.model) if capture else None


def record(case: Case) -> Graph:
    capture = Capture()
    plain = step(case, capture)
    assert capture.errors == []
    return from_plain(Graph, json.loads(json.dumps(plain)))


def findings(graph: Graph) -> list[Diagnostic]:
    return [found for found in RULE.check(graph) if isinstance(found, Diagnostic)]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_network_is_recorded_whole(name: str) -> None:
    case = HEALTHY[name]()
    graph = record(case)
    assert tuple(node.location.module or node.parameters[0] for node in readouts(graph)) == case.readouts
    expected = {n for n, p in case.model.named_parameters() if p.grad is not None}
    assert learned_parameters(graph) == expected
    assert findings(graph) == []


@pytest.mark.parametrize("name", SICK)
def test_a_sick_network_is_found_at_its_readout(name: str) -> None:
    case = SICK[name]()
    (found,) = findings(record(case))
    assert found.location.module == case.readouts[0]
    assert (found.location.path or "").endswith("architectures.py")
    assert found.severity is Severity.WARNING


def test_many_residual_additions_without_a_norm_are_wrong_by_structure() -> None:
    (found,) = findings(record(architectures.gpt(final=False)))
    assert "7 additions" in found.message
    assert found.level is Severity.WARNING


@pytest.mark.parametrize("name", HEALTHY)
def test_a_recorded_step_is_bitwise_the_same_step(name: str) -> None:
    def trained(capture: Capture | None) -> list[Tensor]:
        torch.manual_seed(0)
        case = HEALTHY[name]()
        step(case, capture)
        optimizer = torch.optim.SGD(case.model.parameters(), 0.1)
        optimizer.step()
        optimizer.zero_grad()
        step(case)
        optimizer.step()
        return [*case.model.parameters(), *case.model.buffers(), torch.get_rng_state()]

    for plain, recorded in zip(trained(None), trained(Capture()), strict=True):
        assert torch.equal(plain, recorded)


@pytest.mark.parametrize("frozen", [nn.MultiheadAttention(16, 4, batch_first=True), architectures.Encoder().encoder])
def test_fused_paths_in_eval_mode_stay_fused(frozen: nn.Module) -> None:
    frozen.eval().requires_grad_(False)
    x, head = torch.randn(4, 6, 16), nn.Linear(16, 5)

    def forward() -> Tensor:
        return frozen(x, x, x)[0] if isinstance(frozen, nn.MultiheadAttention) else frozen(x)

    plain, capture = forward(), Capture()
    capture.start()
    recorded = forward()
    loss = head(recorded).sum()
    graph = from_plain(Graph, capture.finish(loss, names(head), head))
    assert torch.equal(plain, recorded)
    assert type(frozen).__name__ in {node.operation for node in graph}
    assert len(graph.of_role(Role.LINEAR)) == 1


def interfaces() -> tuple[object, ...]:
    hooks = nn.modules.module
    return (
        dict(vars(torch.Tensor)),
        dict(vars(torch.autograd.Function)),
        torch._C._len_torch_function_stack(),
        dict(hooks._global_forward_hooks),
        dict(hooks._global_forward_pre_hooks),
    )


def test_a_network_that_trains_in_eval_mode_is_recorded_from_inside() -> None:
    case = architectures.transformer_encoder()
    case.model.eval()
    graph = record(case)
    assert graph.of_role(Role.ATTENTION, Role.NORM)
    assert learned_parameters(graph) == {name for name, _ in case.model.named_parameters()}


def test_nothing_stays_after_finish() -> None:
    before = interfaces()
    record(architectures.mlp())
    assert interfaces() == before


def test_a_wrapper_that_the_run_puts_around_backward_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    capture, case, calls = Capture(), architectures.mlp(), []
    monkeypatch.setattr(torch.Tensor, "backward", torch.Tensor.backward)
    capture.start()
    inner = torch.Tensor.backward
    monkeypatch.setattr(torch.Tensor, "backward", lambda loss: (calls.append(loss), inner(loss)))
    case.loss().backward()
    case.loss().backward()
    assert len(calls) == 2
    assert capture._undo == []


def test_no_tensor_is_kept_alive() -> None:
    capture, model, seen = Capture(), nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)), []
    model[0].register_forward_hook(lambda *args: seen.append(weakref.ref(args[2])))
    capture.start()
    with torch.no_grad():
        model(torch.randn(3, 8))
    assert seen.pop()() is None, "an activation that the run dropped is alive during the capture"
    batch = torch.randn(3, 8)
    loss = model(batch).sum()
    loss.backward()
    capture.finish(loss, names(model), model)
    kept = [*seen, weakref.ref(batch), weakref.ref(loss)]
    del batch, loss
    assert [ref() for ref in kept] == [None, None, None]


def test_a_long_history_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "LIMIT", 100)
    capture, case, state = Capture(), architectures.mlp(), torch.zeros(3, requires_grad=True)
    capture.start()
    for _ in range(1000):
        state = state + 1
    kept = ledger.reachable(ref.source for _, ref in capture._ledger._entries.values())
    assert sum(isinstance(source, Op) for source in kept) <= 100
    monkeypatch.undo()
    loss = case.loss()
    graph = from_plain(Graph, capture.finish(loss, names(case.model), case.model))
    assert [node.location.module for node in readouts(graph)] == ["4"]


def test_data_preparation_is_not_part_of_the_graph() -> None:
    capture, case = Capture(), architectures.mlp()
    capture.start()
    images = torch.stack([torch.randn(8) * 40 for _ in range(4)]).clamp(min=-1e9)
    loss = case.model(images).sum()
    graph = from_plain(Graph, capture.finish(loss, names(case.model), case.model))
    (entering,) = graph.of_role(Role.INPUT)
    assert entering.std == pytest.approx(images.std().item())


class Doubling(TorchFunctionMode):
    def __torch_function__(self, function: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        return result * 2 if function is torch.randn else result


def test_modes_of_the_user_open_and_close_as_they_please() -> None:
    capture, layer = Capture(), nn.Linear(2, 2)
    with torch.device("cpu"), Doubling():
        capture.start()
        torch.manual_seed(0)
        doubled = torch.randn(2)
    torch.manual_seed(0)
    assert torch.equal(doubled, 2 * torch.randn(2)), "the user's mode was closed, not the recorder's"
    with torch.device("meta"):
        assert torch.ones(1).is_meta
        loss = layer(doubled).sum()
        assert capture.finish(loss, names(layer), layer) is not None
        assert torch.ones(1).is_meta
    assert torch.ones(1).device.type == "cpu"
    assert torch._C._len_torch_function_stack() == 0


def test_a_default_device_can_be_set_and_unset_meanwhile() -> None:
    capture, layer = Capture(), nn.Linear(2, 2)
    torch.set_default_device("cpu")
    try:
        capture.start()
        torch.set_default_device("meta")
        torch.set_default_device(None)
        loss = layer(torch.ones(1, 2)).sum()
        assert capture.finish(loss, names(layer), layer) is not None
    finally:
        torch.set_default_device(None)
    assert torch._C._len_torch_function_stack() == 0


def test_an_error_in_the_forward_is_the_users_own_and_harmless() -> None:
    class Fragile(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise ValueError("too fragile")

    capture, case = Capture(), architectures.mlp()
    capture.start()
    with pytest.raises(ValueError, match="too fragile"):
        nn.Sequential(nn.Linear(2, 2), Fragile())(torch.randn(1, 2))
    loss = case.loss()
    graph = from_plain(Graph, capture.finish(loss, names(case.model), case.model))
    assert [node.location.module for node in readouts(graph)] == ["4"]


def test_an_error_of_the_recorder_never_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("recorder")

    monkeypatch.setattr(ledger.Ledger, "encode", fail)
    capture, case = Capture(), architectures.mlp()
    assert step(case, capture) is None
    assert {str(error) for error in capture.errors} == {"recorder"}
    assert len(capture.errors) <= 10
    assert not any(error.__traceback__ for error in capture.errors), "frames would keep tensors alive"
    assert all(parameter.grad is not None for parameter in case.model.parameters())


def test_a_loss_that_was_not_recorded_has_no_graph() -> None:
    loss = torch.nn.Linear(2, 1)(torch.ones(2))
    capture = Capture()
    capture.start()
    assert capture.finish(loss, {}, None) is None


def test_workers_of_a_data_loader_are_not_recorded() -> None:
    data = torch.utils.data.DataLoader(range(8), batch_size=4, num_workers=1, collate_fn=torch.tensor)
    capture, layer = Capture(), nn.Linear(4, 2)
    capture.start()
    loss = sum(layer(batch.float()).sum() for batch in data)
    graph = from_plain(Graph, capture.finish(loss, names(layer), layer))
    assert len(readouts(graph)) == 2


def test_the_recorded_graph_is_a_torch_fx_graph() -> None:
    capture = Capture()
    step(architectures.vit(), capture)
    assert capture.graph is not None
    capture.graph.lint()
    assert "scaled_dot_product_attention" in str(capture.graph)
    assert "def forward" in capture.graph.python_code("self").src


@pytest.mark.filterwarnings("ignore:Using `torch.compile")
def test_a_compiled_model_is_left_to_its_compiler() -> None:
    capture, model = Capture(), nn.Linear(4, 2)
    compiled = torch.compile(model, backend="eager")
    capture.start()
    loss = compiled(torch.randn(3, 4)).sum()
    assert torch._C._len_torch_function_stack() == 0
    assert capture.finish(loss, names(model), model) is None
    assert "compiled" in str(capture.errors[0])


def test_tensors_without_data_are_recorded() -> None:
    capture = Capture()
    with torch.device("meta"):
        layer, x = nn.Linear(4, 2), torch.empty(3, 4)
    capture.start()
    loss = layer(x).sum()
    graph = from_plain(Graph, capture.finish(loss, names(layer), layer))
    assert readouts(graph)[0].shape == (3, 2)
    assert graph.of_role(Role.INPUT)[0].std is None
