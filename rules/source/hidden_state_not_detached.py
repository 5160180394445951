"""ML127."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.measure import growth
from modellint.source.facts import Act, TrainingLoop


class HiddenStateNotDetached(SourceRule):
    """A recurrent state is carried from step to step together with its graph.

    Why: the state of the last batch leads back through all batches before it. `backward()` either stops because that
        graph is freed already, or, with `retain_graph=True`, goes through the whole past: each step takes longer and
        more memory than the one before, and meets weights that have changed since.
    Fix: detach the state between the steps: `hidden = hidden.detach()`, for an LSTM both of its parts.
    Ignore: never for a loop that steps; back-propagation through several batches needs one `backward()` for them all.
    Reported: https://github.com/pytorch/pytorch/issues/2769, https://github.com/pytorch/pytorch/issues/2198
    """

    code, severity, topic = "ML127", Severity.ERROR, "memory"
    twins = ("memory-growth",)
    words = (".backward(",)
    bad = (
        """
        rnn = nn.GRU(32, 64)
        optimizer = torch.optim.Adam(rnn.parameters())
        hidden = torch.zeros(1, 8, 64)
        for x, y in loader:
            optimizer.zero_grad()
            output, hidden = rnn(x, hidden)
            F.mse_loss(output, y).backward(retain_graph=True)
            optimizer.step()
        """,
        """
        class Model(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(32, 64)
                self.head = nn.Linear(64, 10)

            def forward(self, x, state):
                x, state = self.lstm(x, state)
                return self.head(x), state

        def train(net, data):
            opt = torch.optim.SGD(net.parameters(), lr=1.0)
            h, c = net.init(20)
            for i in range(0, data.size(0), 35):
                net.zero_grad()
                scores, (h, c) = net(data[i:i + 35], (h, c))
                loss = F.cross_entropy(scores.view(-1, 10), target(data, i))
                loss.backward()
                opt.step()

        train(Model(), data)
        """,
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(32, 64)
                self.hidden = (torch.zeros(1, 1, 64), torch.zeros(1, 1, 64))

            def forward(self, x):
                out, self.hidden = self.lstm(x, self.hidden)
                return out

        tagger = Tagger()
        optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(tagger(x), y).backward(retain_graph=True)
            optimizer.step()
        """,
    )
    good = (
        """
        model, warm_up = nn.Linear(8, 2), 0.1
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for x, y in loader:
            warm_up = min(1.0, warm_up + 0.01)  # a number
            optimizer.zero_grad()
            (warm_up * F.cross_entropy(model(x), y)).backward()
            optimizer.step()
        """,
        """
        class Tagger(nn.Module):
            def __init__(self):
                super().__init__()
                self.lstm = nn.LSTM(32, 64)
                self.hidden = self.start()

            def start(self):
                return torch.zeros(1, 1, 64), torch.zeros(1, 1, 64)

            def forward(self, x):
                out, self.hidden = self.lstm(x, self.hidden)
                return out

        tagger = Tagger()
        optimizer = torch.optim.SGD(tagger.parameters(), lr=0.1)
        for x, y in loader:
            tagger.hidden = tagger.start()
            optimizer.zero_grad()
            F.cross_entropy(tagger(x), y).backward()
            optimizer.step()
        """,
        """
        rnn = nn.GRU(32, 64)
        optimizer = torch.optim.Adam(rnn.parameters())
        hidden = torch.zeros(1, 8, 64)
        for x, y in loader:
            optimizer.zero_grad()
            output, hidden = rnn(x, hidden.detach())
            F.mse_loss(output, y).backward()
            optimizer.step()
        """,
        """
        def repackage(h):
            return h.detach() if torch.is_tensor(h) else tuple(repackage(v) for v in h)

        model = nn.LSTM(32, 64)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        hidden = start()
        for x, y in loader:
            hidden = repackage(hidden)
            model.zero_grad()
            output, hidden = model(x, hidden)
            F.mse_loss(output, y).backward()
            optimizer.step()
        """,
        """
        rnn = nn.GRUCell(32, 64)
        optimizer = torch.optim.Adam(rnn.parameters())
        for x, y in loader:  # a new state for each batch; within it the graph is meant
            hidden = torch.zeros(8, 64)
            for t in range(x.size(0)):
                hidden = rnn(x[t], hidden)
            optimizer.zero_grad()
            F.mse_loss(hidden, y).backward()
            optimizer.step()
        """,
        """
        rnn = nn.LSTM(32, 64)
        optimizer = torch.optim.Adam(rnn.parameters())
        state = start()
        for i, (x, y) in enumerate(loader):
            output, state = rnn(x, state)
            optimizer.zero_grad()
            F.mse_loss(output, y).backward()
            optimizer.step()
            state = tuple(s.data for s in state)
        """,
        """
        policy = nn.GRUCell(32, 64)
        optimizer = torch.optim.Adam(policy.parameters())
        hidden = torch.zeros(1, 64)
        for episode in range(100):
            with torch.no_grad():
                hidden = policy(observe(), hidden)
            optimizer.zero_grad()
            F.mse_loss(policy(replay()), returns()).backward()
            optimizer.step()
        """,
    )
    confirmed_by = Run(tuple(Step(i, graph_size=20 + 15 * i) for i in range(10)))
    not_confirmed_by = Run(tuple(Step(i, graph_size=20) for i in range(10)))

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for act in loop.of("carry"):
                if _is_through(loop, act):
                    message = f"feeds `{act.subjects[0]}` back with its graph from step to step"
                    yield self.at(act, message, certain=act.recorded is True)
            for step in loop.steps:
                models = (model for made in script.trainers if made.made(step) for model in made.models)
                for model in {model.name: model for model in models if model.carried and loop.whole}.values():
                    if any(backward.loops == step.loops for backward in loop.of("backward")):
                        yield self.at(
                            step, f"trains `{model.name}`, which feeds `{model.carried}` back from step to step"
                        )

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        found = max(growth.sizes(run), key=lambda sizes: sizes[-1], default=None)
        if found is None:
            return None
        claim = "operations in the graph of the loss"
        return Evidence(claim, found[-1], found[0], holds=growth.grows(found, 3.0), series=found)


def _is_through(loop: TrainingLoop, act: Act) -> bool:
    """Whether each pass of the same loop has a backward() from what the model gave back."""
    later = (other for other in loop.after(act) if other.kind == "backward" and other.loops == act.loops)
    return act.recorded is not False and any(origin is act.call for other in later for origin in other.origins)
