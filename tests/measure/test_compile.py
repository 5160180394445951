"""torch.compile under a probe: off unless it is kept, and then in one piece, with what can be seen from outside."""

import pytest

SCRIPT = """
    import torch
    from torch import nn
    from torch._dynamo.utils import counters
    from common import Net

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = Net()

        def forward(self, x, y):
            return nn.functional.cross_entropy(self.net(x), y)

    whole = Whole()
    compiled = torch.compile(whole, backend="eager", fullgraph=True)
    optimizer = torch.optim.SGD(whole.parameters(), lr=0.1)
    for step in range(6):
        optimizer.zero_grad()
        compiled(torch.randn(12, 8), torch.arange(12) % 5).backward()
        optimizer.step()
    print(compiled is whole, counters["stats"]["unique_graphs"] > 0, dict(counters["graph_break"]))
"""


@pytest.mark.parametrize(("keep", "said"), [(False, "True False {}\n"), (True, "False True {}\n")])
def test_it_is_eager_unless_it_is_kept_whole(project, keep, said):
    run = project.probe(SCRIPT, finish=True, keep_compile=keep)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
    assert project.output(run) == said
    assert all(norm > 0 for step in run.steps for norm in (*step.gradients.values(), *step.updates.values()))
    assert all(step.loss > 0 for step in run.steps)
    assert (run.graph is None) is keep


def test_graphed_callables_are_what_they_were_made_of(project):
    """A graph runs past every hook; without a GPU, making one would fail."""
    run = project.probe("""
        from common import Net, nn, torch

        model = torch.cuda.make_graphed_callables(Net(), (torch.randn(12, 8),))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(4):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(torch.randn(12, 8)), torch.arange(12) % 5).backward()
            optimizer.step()
    """)
    assert (run.status, run.problem, len(run.steps)) == ("completed", None, 3)
