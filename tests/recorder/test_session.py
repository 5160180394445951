"""What the recorder measures on loops of every shape, in process: one import of torch for all of them."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from trained import Net, batches, classify, record


def test_everything_of_a_classifier_step():
    model, data = Net(), batches(3)
    start = copy.deepcopy(model)
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9), data))
    (x, y), step = data[0], run.steps[0]
    logits = start(x)
    F.cross_entropy(logits, y).backward()
    assert step.loss == pytest.approx(F.cross_entropy(logits, y).item())
    assert step.class_loss == pytest.approx(step.loss, rel=1e-6)
    assert step.predictions == tuple(logits.argmax(-1).tolist())
    assert step.labels == tuple(y.tolist())
    assert (step.rows, run.classes, step.logits.classes) == (12, 5, 5)
    assert step.logits.values.std == pytest.approx(logits.std(correction=0).item(), rel=1e-5)
    assert step.logits.spread == pytest.approx(logits.std(0, correction=0).mean().item(), rel=1e-5)
    assert step.logits.rows_sum_to_one is False
    features = start.body(x)
    assert (step.features.rows, step.features.width) == (12, 16)
    assert step.features.values.mean == pytest.approx(features.mean().item(), rel=1e-5)
    assert step.features.distance_max == pytest.approx(torch.pdist(features).max().item(), rel=1e-4)
    assert 1 < step.features.rank <= 11
    for name, parameter in start.named_parameters():
        assert (
            step.gradients[name]
            == step.gradients_at_step[name]
            == pytest.approx(parameter.grad.norm().item(), rel=1e-5)
        )
        assert step.updates[name] == pytest.approx(
            0.5 * parameter.grad.norm().item() / parameter.norm().item(), rel=1e-4
        )
    assert step.gradient_norm == pytest.approx(math.sqrt(sum(n * n for n in step.gradients.values())))
    assert run.label_counts == dict(
        sorted(zip(*[t.tolist() for t in torch.cat([y for _, y in data]).unique(return_counts=True)], strict=True))
    )
    assert (step.learning_rate, run.optimizers[0].settings["momentum"]) == (0.5, 0.9)
    assert run.model.readout == "head"
    assert {p.name for p in run.parameters if p.role == "readout"} == {"head.weight", "head.bias"}
    assert (run.loss.kind, run.loss.weighted, run.loss.ignore_index) == ("cross_entropy", False, -100)
    assert run.places["step"].path.endswith("trained.py")
    assert run.graph is not None


@pytest.mark.parametrize(
    ("order", "after_backward", "after_step"),
    [("backward clip step", True, False), ("clip backward step", False, False), ("backward step clip", False, True)],
)
def test_order_of_the_clip(order, after_backward, after_step):
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train():
        for x, y in batches(3):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            acts = {"backward": loss.backward, "clip": clip, "step": optimizer.step}
            for act in order.split():
                acts[act]()

    def clip():
        torch.nn.utils.clip_grad_norm_((p for p in model.parameters()), 0.01)

    def with_new_optimizer():
        nonlocal optimizer
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        train()

    run = record(with_new_optimizer)
    step = run.steps[1]
    assert [(clip.after_backward, clip.after_step) for clip in step.clips] == [(after_backward, after_step)]
    assert (step.clips[0].kind, step.clips[0].bound, len(step.clips[0].parameters)) == ("norm", 0.01, 4)
    bound = step.gradient_norm_at_step <= 0.0101
    assert bound == (order == "backward clip step")
    if after_step or bound:
        assert step.clips[0].norm == pytest.approx(step.gradient_norm, rel=1e-5)


def test_stale_gradients_show_at_backward():
    model = Net()

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for x, y in batches(3):
            F.cross_entropy(model(x), y).backward()
            optimizer.step()

    norms = [step.norms_at_backward for step in record(train).steps]
    assert norms[0] == (0.0,)
    assert all(norm > 0 for step in norms[1:] for norm in step)


def test_accumulation_under_a_scaler():
    model = Net()

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for pair in zip(batches(3), batches(3), strict=True):
            optimizer.zero_grad()
            for x, y in pair:
                scaler.scale(F.cross_entropy(model(x), y) / 2).backward()
            scaler.unscale_(optimizer)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 100.0)
            scaler.step(optimizer)
            scaler.update()

    for step in record(train).steps:
        assert (step.backwards, step.loss_scale, step.skipped) == (2, 1024.0, False)
        assert step.class_loss == pytest.approx(2 * step.loss, rel=1e-6)
        assert step.gradient_norm == pytest.approx(step.gradient_norm_at_step, rel=1e-5)
        assert step.norms_at_backward[0] == 0 < step.norms_at_backward[1] < step.gradient_norm * 2
        assert step.clips[0].norm == pytest.approx(step.gradient_norm, rel=1e-5)


def test_a_skipped_update_and_non_finite_gradients():
    model = Net()

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**100)
        for x, y in batches(3):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(model(x * 1e30), y)).backward()
            scaler.step(optimizer)
            scaler.update()

    steps = record(train).steps
    assert [step.skipped for step in steps] == [True, True, True]
    assert "gradient of head.weight" in steps[0].non_finite
    assert not steps[0].updates


def test_language_model_with_ignored_tokens_and_tied_weights():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(11, 6)
            self.norm = nn.LayerNorm(6)
            self.lm_head = nn.Linear(6, 11, bias=False)
            self.lm_head.weight = self.tokens.weight

        def forward(self, x):
            return self.lm_head(self.norm(self.tokens(x)))

    model = Model()
    x = torch.randint(0, 11, (3, 7))
    y = torch.randint(0, 11, (3, 7))
    y[:, 4:] = -1

    def train():
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for _ in range(3):
            logits = model(x)
            loss = F.cross_entropy(logits.view(-1, 11), y.view(-1), ignore_index=-1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    run = record(train)
    assert run.steps[0].rows == len(run.steps[0].labels) == 12
    assert run.steps[0].class_loss == pytest.approx(run.steps[0].loss, rel=1e-6)
    assert sum(run.label_counts.values()) == 36
    assert -1 not in run.label_counts
    assert run.loss.ignore_index == -1
    assert run.model.readout == "lm_head"
    assert {p.name: p.role for p in run.parameters}["tokens.weight"] == "readout"
    assert run.steps[0].features.rows == 21


def test_two_optimizers_of_a_gan():
    generator, discriminator = nn.Sequential(nn.Linear(4, 8)), nn.Sequential(nn.Linear(8, 1))
    bce = nn.BCEWithLogitsLoss()

    def train():
        d_step = torch.optim.Adam(discriminator.parameters(), lr=1e-3)
        g_step = torch.optim.Adam(generator.parameters(), lr=2e-3)
        for _ in range(5):
            d_step.zero_grad()
            fake = generator(torch.randn(6, 4))
            bce(discriminator(torch.randn(6, 8)), torch.ones(6, 1)).backward()
            bce(discriminator(fake.detach()), torch.zeros(6, 1)).backward()
            d_step.step()
            g_step.zero_grad()
            bce(discriminator(fake), torch.ones(6, 1)).backward()
            g_step.step()

    run = record(train)
    assert [(step.optimizer, step.index) for step in run.steps] == [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2)]
    assert [optimizer.learning_rate for optimizer in run.optimizers] == [1e-3, 2e-3]
    assert set(run.optimizers[0].parameters).isdisjoint(run.optimizers[1].parameters)
    assert all(step.gradients and None not in step.gradients.values() for step in run.steps)
    assert run.steps[1].backwards == 1
    assert run.classes is None
    assert run.steps[0].predictions == ()
    assert run.loss.kind == "binary_cross_entropy_with_logits"


def test_closures():
    model, (x, y) = Net(), batches(1)[0]

    def train():
        optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.01)
            return loss

        for _ in range(3):
            optimizer.step(closure)

    run = record(train)
    assert len(run.steps) == 3
    assert run.steps[0].gradient_norm_at_step == pytest.approx(0.01, rel=1e-3)
    assert run.steps[0].gradient_norm > 0.01
    assert run.steps[0].clips[0].after_backward


def test_regression_leaves_the_class_fields_empty():
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 1))
    data = [(torch.randn(12, 8), torch.randn(12, 1)) for _ in range(3)]
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), data, F.mse_loss))
    step = run.steps[0]
    assert (run.loss.kind, run.classes, step.class_loss, step.logits, step.rows) == ("mse", None, None, None, None)
    assert step.features.width == 16
    assert run.model.readout == "2"


def test_probabilities_into_the_loss():
    model = nn.Sequential(Net(), nn.Softmax(-1))
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert run.steps[0].logits.rows_sum_to_one is True
    assert run.model.readout == "0.head"


def test_nll_of_log_probabilities_and_weights():
    model = nn.Sequential(Net(), nn.LogSoftmax(-1))
    loss = nn.NLLLoss(weight=torch.ones(5))
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3), loss))
    assert (run.loss.kind, run.loss.weighted) == ("nll", True)
    assert run.steps[0].class_loss == pytest.approx(run.steps[0].loss, rel=1e-5)


def test_zero_initialised_parameters():
    model = Net()
    nn.init.zeros_(model.head.weight)
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3)))
    assert [p.name for p in run.parameters if p.zero_initialised] == ["head.weight"]
    assert run.steps[0].updates["head.weight"] is None
    assert run.steps[1].updates["head.weight"] > 0
    assert run.steps[0].logits.spread == 0


def test_model_without_a_call():
    class Functional(Net):
        def loss(self, x, y):
            return F.cross_entropy(F.linear(self.body(x), self.head.weight, self.head.bias), y)

    model = Functional()

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in batches(3):
            optimizer.zero_grad()
            model.loss(x, y).backward()
            optimizer.step()

    run = record(train)
    assert run.model.name == "Functional"
    assert run.model.readout == "head"
    assert "head.weight" in run.steps[0].gradients


def test_frozen_and_unused_parameters():
    model = Net()
    model.body.requires_grad_(False)
    model.extra = nn.Linear(2, 2)
    run = record(lambda: classify(model, torch.optim.SGD(model.head.parameters(), lr=0.1), batches(3)))
    found = {p.name: (p.requires_grad, p.optimizer) for p in run.parameters}
    assert found["body.0.weight"] == (False, None)
    assert found["head.weight"] == (True, 0)
    assert found["extra.weight"] == (True, None)


def test_checkpointing_is_not_computed_once_more():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Net):
        calls = 0

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=False)

        def inner(self, x):
            self.calls += 1
            return F.log_softmax(super().forward(x), -1)

    model = Checkpointed()
    run = record(lambda: classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3), F.nll_loss))
    assert model.calls == 6
    assert len(run.steps) == 3
    assert run.steps[1].features.width == 16  # kept on its way in, once the readout is known


@pytest.mark.parametrize("kind", ["bfloat16", "jit", "vmap", "checkpoint"])
def test_the_run_is_bitwise_the_same(kind):
    def train():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))
        loss = torch.jit.script(scripted) if kind == "jit" else F.cross_entropy
        if kind == "vmap":
            loss = lambda a, b: torch.vmap(F.cross_entropy)(a, b).mean()  # noqa: E731
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        for x, y in batches(8):
            optimizer.zero_grad()
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bfloat16"):
                if kind == "checkpoint":
                    x = torch.utils.checkpoint.checkpoint(model, x.requires_grad_(), use_reentrant=True)
                    value = loss(x, y)
                else:
                    value = loss(model(x), y)
            value.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        results.append([value.detach(), torch.random.get_rng_state(), *model.state_dict().values()])

    results = []
    train()
    assert len(record(train, steps=5).steps) == 5
    train()
    assert all(torch.equal(a, b) and torch.equal(b, c) for a, b, c in zip(*results, strict=True))


def scripted(scores, labels):
    # type: (torch.Tensor, torch.Tensor) -> torch.Tensor
    return F.cross_entropy(scores, labels)


def test_everything_is_as_before_after_detach():
    held = (torch.autograd.backward, F.cross_entropy, torch.optim.Optimizer.__init__, torch.nn.utils.clip_grad_norm_)
    record(lambda: classify(model := Net(), torch.optim.SGD(model.parameters(), lr=0.1), batches(1)))
    assert held == (
        torch.autograd.backward,
        F.cross_entropy,
        torch.optim.Optimizer.__init__,
        torch.nn.utils.clip_grad_norm_,
    )


def test_the_recorder_keeps_nothing_alive():
    import gc
    import weakref

    kept = []

    def train():
        model = Net()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in batches(2):
            logits = model(x)
            kept.append(weakref.ref(logits))
            F.cross_entropy(logits, y).backward()
            optimizer.step()
            del logits
            gc.collect()
            assert kept[-1]() is None

    record(train, steps=9)


def test_parameters_that_are_stepped_by_hand():
    model = Net()

    def train():
        for x, y in batches(6):
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.25)
            for parameter in model.parameters():
                parameter.data.add_(parameter.grad, alpha=-0.1)

    run = record(train)
    assert [step.index for step in run.steps] == [0, 1, 2]
    step = run.steps[0]
    assert step.clips[0].after_backward
    assert not step.clips[0].after_step
    assert step.gradient_norm > step.gradient_norm_at_step == pytest.approx(0.25, rel=1e-3)
    assert step.updates["head.weight"] > 0
    assert step.norms_at_backward == (0.0,)
    assert (run.classes, run.model.name) == (5, "Net")
    assert run.graph is not None


def test_gradients_without_any_update_are_no_step():
    model, x = Net(), torch.randn(3, 8, requires_grad=True)

    def explain():
        for _ in range(4):
            model(x).max().backward()

    assert record(explain).steps == ()


def test_a_backward_before_the_optimizer_is_made():
    model = Net()

    def train():
        model(torch.randn(2, 8)).sum().backward()
        classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(3))

    run = record(train)
    assert [(step.optimizer, step.index) for step in run.steps] == [(0, 0), (0, 1), (0, 2)]
    assert len(run.optimizers) == 1


def test_gradients_cleared_before_the_step_are_not_applied():
    model = Net()

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in batches(3):
            F.cross_entropy(model(x), y).backward()
            optimizer.zero_grad()
            optimizer.step()

    step = record(train).steps[0]
    assert step.gradient_norm > 0 == step.gradient_norm_at_step
    assert step.updates["head.weight"] == 0


def test_an_optimizer_that_was_replaced_is_not_waited_for():
    model = Net()

    def train():
        classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(2))
        classify(model, torch.optim.SGD(model.parameters(), lr=0.1), batches(9))

    run = record(train)
    assert [len(run.of(0)), len(run.of(1))] == [2, 3]


def test_an_optimizer_that_steps_rarely_is_waited_for_within_bounds():
    critic, actor = nn.Linear(4, 1), nn.Linear(3, 4)

    def train(every):
        fast, slow = torch.optim.SGD(critic.parameters(), lr=0.1), torch.optim.SGD(actor.parameters(), lr=0.1)
        for index in range(40):
            critic(actor(torch.randn(5, 3))).sum().backward()
            fast.step()
            if index % every == every - 1:
                slow.step()

    run = record(lambda: train(2))
    assert [len(run.of(0)), len(run.of(1))] == [3, 3]
    run = record(lambda: train(5))
    assert [len(run.of(0)), len(run.of(1))] == [3, 1]


def test_the_rate_of_an_optimizer_is_that_of_its_fastest_group():
    model = Net()
    groups = [{"params": model.body.parameters()}, {"params": model.head.parameters(), "lr": 3.0}]
    run = record(lambda: classify(model, torch.optim.SGD(groups, lr=0.1), batches(3)))
    assert run.optimizers[0].learning_rate == run.steps[0].learning_rate == 3.0


def test_how_a_loss_joins_its_samples_and_their_places():
    flat, image = Net(), nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1))
    pixels = [(torch.randn(2, 3, 6, 6), torch.randint(0, 5, (2, 4, 4))) for _ in range(3)]

    def focal(logits, y):
        losses = F.cross_entropy(logits, y, reduction="none")
        return ((1 - (-losses).exp()) ** 2 * losses).mean()

    run = record(lambda: classify(flat, torch.optim.SGD(flat.parameters(), lr=0.1), batches(3), focal))
    assert (run.loss.reduction, run.loss.dense) == ("none", False)
    run = record(lambda: classify(image, torch.optim.SGD(image.parameters(), lr=0.1), pixels))
    assert (run.loss.reduction, run.loss.dense) == ("mean", True)


@pytest.mark.parametrize(
    ("dtype", "rate", "expected"),
    [(torch.bfloat16, 1e-6, 1.0), (torch.bfloat16, 0.5, 0.0), (torch.float32, 1e-6, None)],
)
def test_steps_that_are_rounded_away(dtype, rate, expected):
    def train():
        model = nn.Linear(8, 3).to(dtype)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
        nn.init.constant_(model.weight, 0.7)
        nn.init.constant_(model.bias, 0.7)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(
                model(torch.ones(4, 8, dtype=dtype)).float(), torch.tensor([0, 1, 2, 0])
            ).backward()
            optimizer.step()

    assert [step.stuck for step in record(train).steps] == [expected] * 3


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (lambda a, b: a @ a.T, True),
        (lambda a, b: a @ b.T, False),
        (lambda a, b: (a @ a.T).fill_diagonal_(-1e9), False),
        (lambda a, b: 0 * (a @ a.T) + 1, False),
    ],
)
def test_samples_that_are_held_against_themselves(scores, expected):
    model, data = nn.Linear(8, 6), torch.randn(10, 8)

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        first, second = (F.normalize(model(data + 0.1 * torch.randn_like(data)), dim=1) for _ in "ab")
        F.cross_entropy(5 * scores(first, second), torch.arange(10)).backward()
        optimizer.step()

    assert record(train).steps[0].logits.meets_itself is expected


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda out, y: F.cross_entropy(out, y, weight=torch.tensor([1.0, 2.0, 4.0])), (1.0, 2.0, 4.0)),
        (lambda out, y: F.cross_entropy(out, y), ()),
        (
            lambda out, y: F.binary_cross_entropy_with_logits(
                out[:, 0], y.clamp(max=1.0), pos_weight=torch.tensor(3.0)
            ),
            (1.0, 3.0),
        ),
        (lambda out, y: F.binary_cross_entropy_with_logits(out[:, 0], y / 2, weight=torch.tensor([1.0, 2.0, 3.0])), ()),
    ],
)
def test_the_weights_of_the_classes(loss, expected):
    model = nn.Linear(8, 3)

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        loss(model(torch.randn(3, 8)), torch.arange(3)).backward()
        optimizer.step()

    assert record(train).loss.class_weights == expected


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize(
    "compiled", [torch.jit.script, lambda m: torch.jit.trace(m, torch.randn(2, 4))], ids=["script", "trace"]
)
def test_scripted_models_have_parameters_and_modules(compiled):
    def train():
        model = compiled(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randn(16, 4)), torch.randint(0, 3, (16,))).backward()
            optimizer.step()

    run = record(train)
    assert [(p.name, p.module) for p in run.parameters][:2] == [("0.weight", "0"), ("0.bias", "0")]
    assert len(run.steps) == 3


def test_a_trace_of_the_model_before_its_training_is_what_it_is_without_the_recorder():
    """As a tensorboard writer's `add_graph` makes it: traced twice, and both have to be the same."""
    model, data = Net(), batches(3)
    x = data[0][0]
    plain = torch.jit.trace(model, x).inlined_graph
    traced = []

    def train():
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        traced.append(torch.jit.trace(model, x).inlined_graph)
        classify(model, optimizer, data)

    run = record(train)
    operations = [[node.kind() for node in graph.nodes()] for graph in (plain, *traced)]
    assert operations[0] == operations[1]
    assert run.graph is not None
    assert len(run.steps) == 3


def test_parameters_that_a_list_called_parameters_holds():
    """As a network whose layers are in plain lists keeps them: the layer that feeds the loss is no part of the model."""

    class Listed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(8, 16), nn.Linear(16, 5)]
            self.parameters = nn.ParameterList([p for layer in self.layers for p in layer.parameters()])

        def forward(self, x):
            return self.layers[1](self.layers[0](x).relu())

    model, data = Listed(), batches(3)
    run = record(lambda: classify(model, torch.optim.SGD(nn.Module.parameters(model), lr=0.1), data))
    assert len(run.steps) == 3
    assert [parameter.shape for parameter in run.parameters if parameter.role == "readout"] == [(5, 16)]
