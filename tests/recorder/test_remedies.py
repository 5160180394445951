"""Each remedy does what it says to torch, and nothing where there is nothing to act on."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from modellint.recorder.patches import Patches


@contextmanager
def remedy(name: str, **parameters: Any) -> Iterator[list[bool]]:
    """The remedy in place; the list is filled when it takes effect."""
    patches, used = Patches(), []
    module = importlib.import_module(f"modellint.recorder.remedies.{name.replace('-', '_')}")
    module.apply(patches, lambda: used.append(True), **parameters)
    try:
        yield used
    finally:
        patches.remove()


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.body(x)))


KNOWN = {"name": "Net", "parameters": 4 * 8 + 8 + 8 * 3 + 3}
LABELS = torch.tensor([0, 1, 2, 1])


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def one() -> tuple[nn.Parameter, torch.optim.Optimizer]:
    weight = nn.Parameter(torch.tensor([2.0]))
    return weight, torch.optim.SGD([weight], lr=1.0)


def test_clip_bounds_what_the_optimizer_applies():
    weight, optimizer = one()
    with remedy("clip", bound=0.5) as used:
        (100 * weight).sum().backward()
        optimizer.step()
    assert weight.item() == pytest.approx(1.5, abs=1e-4)
    assert used


def test_move_clip_clips_where_the_script_clipped_too_late():
    weight, optimizer = one()
    with remedy("move-clip"):
        for _ in range(2):  # the bound is known from the first call on
            optimizer.zero_grad()
            (100 * weight).sum().backward()
            optimizer.step()
            assert torch.nn.utils.clip_grad_norm_([weight], 0.5) > 0
    assert weight.item() == pytest.approx(2 - 100 - 0.5, abs=1e-3)


@pytest.mark.parametrize(("factor", "expected"), [(0.1, 1.9), (10.0, -8.0)])
def test_scale_lr_lasts_for_the_step_only(factor, expected):
    weight, optimizer = one()
    with remedy("scale-lr", factor=factor):
        weight.sum().backward()
        optimizer.step()
    assert weight.item() == pytest.approx(expected)
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_warm_up_rises_to_the_rate_of_the_script():
    weight, optimizer = one()
    with remedy("warm-up", steps=4):
        for _ in range(5):
            optimizer.zero_grad()
            weight.sum().backward()
            optimizer.step()
    assert weight.item() == pytest.approx(2 - (0.25 + 0.5 + 0.75 + 1 + 1))


def test_zero_grad_clears_after_each_step():
    weight, optimizer = one()
    with remedy("zero-grad"):
        for _ in range(3):
            weight.sum().backward()
            optimizer.step()
    assert weight.item() == pytest.approx(-1.0)


def test_keep_gradients_holds_them_until_the_step():
    weight, optimizer = one()
    with remedy("keep-gradients") as used:
        for _ in range(2):
            weight.sum().backward()
            optimizer.zero_grad()
            optimizer.step()
    assert weight.item() == pytest.approx(0.0)
    assert used


def test_flip_sign_descends():
    weight, optimizer = one()
    with remedy("flip-sign"):
        (-weight).sum().backward()
        optimizer.step()
    assert weight.item() == pytest.approx(1.0)


def test_drop_softmax_gives_the_loss_of_the_scores(net):
    scores = net(torch.randn(4, 4))
    with remedy("drop-softmax") as used:
        undone = F.cross_entropy(scores.softmax(1), LABELS)
        assert used
        plain = F.cross_entropy(scores, LABELS)
        binary = F.binary_cross_entropy_with_logits(scores.sigmoid(), torch.ones(4, 3))
    assert undone.item() == pytest.approx(F.cross_entropy(scores, LABELS).item(), abs=1e-5)
    assert plain.item() == F.cross_entropy(scores, LABELS).item()
    assert binary.item() == pytest.approx(F.binary_cross_entropy(scores.sigmoid(), torch.ones(4, 3)).item(), abs=1e-4)


@pytest.mark.parametrize("given", [lambda s: s, lambda s: s.softmax(1), lambda s: s.log_softmax(1)])
def test_log_probabilities_from_whatever_the_loss_is_given(net, given):
    scores = net(torch.randn(4, 4))
    with remedy("log-probabilities"):
        loss = F.nll_loss(given(scores), LABELS)
    assert loss.item() == pytest.approx(F.cross_entropy(scores, LABELS).item(), abs=1e-5)


def test_weight_classes_counts_rare_ones_more(net):
    scores = net(torch.randn(4, 4))
    with remedy("weight-classes", counts={"0": 90, "1": 9, "2": 1}, classes=3):
        loss = nn.CrossEntropyLoss()(scores, LABELS)
    weights = 100 / (3 * torch.tensor([90.0, 9.0, 1.0]))
    assert loss.item() == pytest.approx(F.cross_entropy(scores, LABELS, weight=weights).item())


def test_focal_loss_is_below_the_plain_one(net):
    scores = net(torch.randn(4, 4))
    with remedy("focal-loss"):
        focal = F.cross_entropy(scores, LABELS)
    assert 0 < focal.item() < F.cross_entropy(scores, LABELS).item()


def test_reshape_target_matches_shapes_before_they_are_broadcast():
    made, target = torch.arange(4.0)[:, None], torch.arange(4.0)
    with remedy("reshape-target"):
        assert F.mse_loss(made, target).item() == 0.0
    assert F.mse_loss(made[:, 0], target).item() == 0.0


def test_normalize_readout_acts_on_what_enters_it(net):
    entered = []
    net.head.register_forward_hook(lambda module, args, result: entered.append(args[0]))
    with remedy("normalize-readout", model=KNOWN, path="head") as used:
        net(100 * torch.randn(4, 4))
    assert used
    assert entered[0].std().item() == pytest.approx(1.0, abs=0.1)


def test_a_model_of_another_size_is_left_alone(net):
    with remedy("normalize-readout", model={**KNOWN, "parameters": 1}, path="head") as used:
        net(torch.randn(4, 4))
    assert not used


def test_standardise_input_takes_the_scale_from_each_feature(net):
    entered = []
    net.body.register_forward_hook(lambda module, args, result: entered.append(args[0]))
    with remedy("standardise-input", model=KNOWN):
        net(torch.randn(64, 4) * torch.tensor([1.0, 10.0, 1000.0, 0.0]) + 50)
    assert entered[0].mean(0).abs().max() < 1e-4
    assert entered[0].std(0)[:3].tolist() == pytest.approx([1, 1, 1], abs=0.05)


def test_train_mode_holds_where_gradients_are_computed(net):
    net.eval()
    with remedy("train-mode"):
        with torch.no_grad():
            net(torch.randn(4, 4))
        assert not net.training
        net(torch.randn(4, 4))
    assert net.training
    assert net.head.training


def test_unfreeze_trains_what_is_frozen_and_what_no_optimizer_holds(net):
    net.body.requires_grad_(False)
    optimizer = torch.optim.SGD([net.head.bias], lr=0.1)
    before = net.body.weight.clone(), net.head.weight.clone()
    with remedy("unfreeze", model=KNOWN):
        F.cross_entropy(net(torch.randn(4, 4)), LABELS).backward()
        optimizer.step()
    assert not torch.equal(net.body.weight, before[0])
    assert not torch.equal(net.head.weight, before[1])


def test_re_initialise_renews_constant_weights_only(net):
    nn.init.constant_(net.body.weight, 0.1)
    kept = net.head.weight.clone()
    with remedy("re-initialise", model=KNOWN):
        net(torch.randn(4, 4))
    assert net.body.weight.std() > 0
    assert torch.equal(net.head.weight, kept)


def test_shuffle_draws_in_random_order_unless_the_script_says_how():
    samples = list(range(100))
    with remedy("shuffle"):
        shuffled = [int(x) for batch in DataLoader(samples, batch_size=10) for x in batch]
        ordered = [int(x) for batch in DataLoader(samples, sampler=samples) for x in batch]
    assert sorted(shuffled) == samples != shuffled
    assert ordered == samples


def test_unscale_divides_what_the_script_left_scaled():
    weight, optimizer = one()
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with remedy("unscale") as used:
        scaler.scale(weight.sum()).backward()
        optimizer.step()
        assert used
        assert weight.item() == pytest.approx(1.0)
        optimizer.zero_grad()
        scaler.scale(weight.sum()).backward()
        scaler.step(optimizer)
    assert weight.item() == pytest.approx(0.0)
    assert len(used) == 1
