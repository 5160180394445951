"""Several ranks on gloo: what is told of them together is what they themselves would add up."""

import json
import math
import shutil
import sys

import pytest

from modellint.measure import merge, nodes, records

TRAIN = """
import json
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()


def whole(tensor):
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def norm(tensors):
    return torch.stack([whole(tensor).double().norm() for tensor in tensors]).norm().item()


def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


replicated, sharded = nn.parallel.DistributedDataParallel(make()), make()
for layer in (sharded[0], sharded[2], sharded):
    fully_shard(layer)
torch.manual_seed(rank)
lonely = nn.Linear(6, 3)  # never synchronised
models = {"replicated": replicated, "sharded": sharded, "lonely": lonely}
optimizers = {name: torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9) for name, model in models.items()}
for step in range(3):
    x, y = torch.randn(4, 6), torch.randint(0, 3, (4,))
    for name, model in models.items():
        if step != 1:
            optimizers[name].zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        raw = norm([parameter.grad for parameter in model.parameters()])
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        clipped = norm([parameter.grad for parameter in model.parameters()])
        first = next(model.parameters())
        old = whole(first).detach().clone()
        optimizers[name].step()
        moved = ((whole(first).detach() - old).norm() / old.norm()).item()
        facts = [step, rank, loss.item(), raw, clipped, moved]
        with open(f"truth-{rank}.jsonl", "a") as file:
            file.write(json.dumps([name, *facts]) + "\\n")
"""

ROOT = """
import torch
from torch import distributed, nn
from torch.distributed.fsdp import fully_shard

distributed.init_process_group("gloo")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.block(self.first(x).relu()).relu())


model = Net()
fully_shard(model.block)
fully_shard(model)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
for step in range(6):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(torch.randn(9, 6)), torch.arange(9) % 3).backward()
    optimizer.step()
"""

RUN = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone")
ORDER = ("replicated", "sharded", "lonely")


@pytest.fixture(scope="module")
def run(project):
    project.write("ranks.py", TRAIN)
    found = project.launch(*RUN, "ranks.py", environment={"OMP_NUM_THREADS": "1"}, finish=True, max_seconds=200)
    assert (found.status, found.problem) == ("completed", None)
    return found


@pytest.fixture(scope="module")
def truth(run, project):
    """{(model, step, rank): [loss, norm, norm after clipping, change of the first parameter]}"""
    lines = [line for rank in (0, 1) for line in (project.folder / f"truth-{rank}.jsonl").read_text().splitlines()]
    return {tuple(facts[:3]): facts[3:] for facts in map(json.loads, lines)}


@pytest.mark.parametrize("name", ORDER)
def test_norms_are_those_of_all_ranks(run, truth, name):
    for step in run.of(ORDER.index(name)):
        _, norm, clipped, moved = truth[name, step.index, 0]
        assert step.gradient_norm == pytest.approx(norm, rel=1e-5)
        assert step.gradient_norm_at_step == pytest.approx(clipped, rel=1e-5)
        assert math.hypot(*step.gradients.values()) == pytest.approx(norm, rel=1e-5)
        assert next(iter(step.updates.values())) == pytest.approx(moved, rel=1e-4)
    assert len(run.of(ORDER.index(name))) == 3


def test_every_rank_tells_its_loss(run, truth):
    assert run.ranks == 2
    for number, name in enumerate(ORDER):
        for step in run.of(number):
            assert step.rank_losses == pytest.approx([truth[name, step.index, rank][0] for rank in (0, 1)])
            assert step.loss == step.rank_losses[0]


def test_replicas_that_are_not_the_same(run):
    assert [set(step.apart.values()) for step in run.of(0)] == [{0.0}] * 3
    assert [step.apart for step in run.of(1)] == [{}] * 3
    assert all(len(step.apart) == 2 and min(step.apart.values()) > 0.01 for step in run.of(2))


@pytest.mark.parametrize("name", ORDER[:2])
def test_gradients_that_are_left_over(run, truth, name):
    fresh, stale, _ = (step.norms_at_backward[-1] for step in run.of(ORDER.index(name)))
    assert fresh == 0
    assert stale == pytest.approx(truth[name, 0, 0][2], rel=1e-5)


def test_a_rank_whose_journal_is_missing(run, project, tmp_path):
    """As on one node of several: what is replicated is known, of the shards nothing is claimed."""
    alone = merge.merge([records.main(records.read(project.folder / run.folder))])
    assert (alone.ranks, alone.steps[0].apart) == (2, {})
    assert alone.of(0)[0].gradients == run.of(0)[0].gradients
    assert set(alone.of(1)[0].gradients.values()) == {None}
    assert alone.of(1)[0].gradient_norm is None


def test_the_folders_of_two_nodes(run, project, tmp_path):
    for journal in (project.folder / run.folder).glob("process-*.jsonl"):
        node = tmp_path / journal.stem
        node.mkdir()
        shutil.copy(journal, node)
        merge.save(merge.merge(records.read(node)), node)
    assert nodes.load(tmp_path).steps == run.steps
    for journal in tmp_path.glob("*/process-*.jsonl"):
        journal.unlink()
    with pytest.raises(ValueError, match="did not train together"):
        nodes.load(tmp_path)


def test_what_lies_whole_in_the_root_is_held_as_shards(project):
    """FSDP keeps the root's parameters whole until backward(): the loss reaches those, the optimizer has their shards."""
    project.write("root.py", ROOT)
    command = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=1", "--standalone", "root.py")
    run = project.launch(*command, environment={"OMP_NUM_THREADS": "1"}, max_seconds=200)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
    assert [parameter.name for parameter in run.parameters if parameter.loose] == []
