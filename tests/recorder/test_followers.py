"""Networks that are moved towards the trained one: how far in each step, and whether the optimizer steps them as well."""

import copy
import gc

import pytest
import torch
from torch import nn
from trained import Net, batches, classify, record


@pytest.fixture(autouse=True)
def alone():
    """The networks of other tests are gone."""
    gc.collect()


def followed(follow):
    """The followers of a run in which `follow(weights, averages)` is called after each step."""
    model = Net()
    other = copy.deepcopy(model)

    def after():
        with torch.no_grad():
            follow(list(model.parameters()), list(other.parameters()))

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return record(lambda: classify(model, optimizer, batches(6), after=after), steps=6).followers


@pytest.mark.parametrize("rate", [0.005, 0.995, 1.0, -0.01])
def test_the_rate_of_an_average(rate):
    (found,) = followed(lambda weights, averages: torch._foreach_lerp_(averages, weights, rate))
    assert found.rates == (None, *[pytest.approx(rate, rel=1e-3)] * 5)
    assert (found.name, found.stepped) == ("Net", 0)


def test_a_network_that_stays_or_goes_elsewhere():
    (found,) = followed(lambda weights, averages: None)
    assert found.rates == (None, *[0.0] * 5)
    (found,) = followed(lambda weights, averages: [average.normal_() for average in averages])
    assert found.rates == (None,) * 6


@pytest.mark.parametrize("rate", [0.01, 0.99])
def test_a_trained_network_that_is_pulled_back(rate):
    (found,) = followed(lambda weights, averages: torch._foreach_lerp_(weights, averages, rate))
    assert found.pulls == (None, *[pytest.approx(rate, rel=1e-3)] * 5)


def test_an_average_that_is_stepped_as_well():
    model, other = Net(), Net()
    optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], lr=0.1)

    def loss(scores, labels):
        return nn.functional.mse_loss(scores, other(data[0][0]))

    @torch.no_grad()
    def after():
        torch._foreach_lerp_(list(other.parameters()), list(model.parameters()), 0.05)

    data = batches(1) * 6
    found = record(lambda: classify(model, optimizer, data, loss, after), steps=6).followers
    averaged = [each for each in found if any(each.rates)]
    assert [each.stepped for each in averaged] == [5]
    assert averaged[0].rates[1:] == (pytest.approx(0.05, rel=1e-2),) * 5


@pytest.mark.parametrize("steps", [3, 6])
def test_the_weights_are_bitwise_those_of_a_run_that_nobody_watches(steps):
    def end(watch):
        torch.manual_seed(1)
        model, teacher = Net(), nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.5), nn.Linear(32, 5)).requires_grad_(False)
        average, optimizer, data = copy.deepcopy(model), torch.optim.Adam(model.parameters()), batches(6)

        def loss(scores, labels):
            return nn.functional.mse_loss(scores, teacher(data[0][0]) + average(data[1][0]).detach())

        @torch.no_grad()
        def after():
            torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 0.1)

        watch(lambda: classify(model, optimizer, data, loss, after))
        return [*model.parameters(), *average.parameters(), torch.get_rng_state()]

    seen, bare = end(lambda train: record(train, steps)), end(lambda train: train())
    assert all(torch.equal(one, other) for one, other in zip(seen, bare, strict=True))


def test_layers_of_a_stack_are_no_followers():
    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(4)])
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert run.followers == ()


def test_a_network_of_few_numbers_goes_straight_by_chance():
    model, other = nn.Linear(8, 1), nn.Linear(8, 1)
    data = [(x, x[:, :1]) for x, _ in batches(3)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    run = record(lambda: classify(model, optimizer, data, nn.functional.mse_loss))
    assert (run.followers, other.out_features) == ((), 1)


def test_a_network_that_is_not_complete_is_left_alone():
    others = nn.Linear.__new__(nn.Linear), nn.LazyLinear(3)
    model = Net()
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert (len(run.steps), run.followers) == (3, ())
    del others
