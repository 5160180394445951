"""ML108."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from modellint import Diagnostic, Evidence, Run, Script, Severity, SourceRule, Step
from modellint.core.diagnostic import Location
from modellint.measure import clipping
from modellint.measure.statistics import norm
from modellint.measure.step import Clip
from modellint.source import lookup
from modellint.source.code import Event, Value
from modellint.source.facts import Act, TrainingLoop
from modellint.source.vocabulary import CLIP_METHODS

CUT = frozenset({"detach", "data", "clone", "grad"})


def _run(critic: float) -> Run:
    gradients = {"actor.weight": 0.4, "critic.weight": critic}
    clip = Clip(bound=1.0, norm=0.4, parameters=("actor.weight",))
    return Run(tuple(Step(i, gradients_at_step=gradients, clips=(clip,)) for i in range(3)))


class ClipWrongParameters(SourceRule):
    """The gradients that are clipped are not those of the parameters that the optimizer then updates.

    Why: the gradients of another model are shortened, often of one that this step does not even train, and those that
        the optimizer applies stay unbounded.
    Fix: give the clip the parameters that the optimizer holds.
    Ignore: when the other model's gradients are kept for a step in a later pass.
    Reported: https://github.com/google-deepmind/open_spiel/issues/827
    """

    code, severity, certain, topic = "ML108", Severity.ERROR, True, "gradients"
    explains, twins = ("exploding-gradients",), ("clip-without-effect",)
    remedy = "move-clip"
    words = ("clip_grad", "clip_master_grads")
    bad = (
        """
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_([p.detach() for p in model.parameters()], 1.0)
            optimizer.step()
        """,
        """
        actor, critic = Actor(), Critic()
        actor_optimizer = torch.optim.Adam(actor.parameters())
        critic_optimizer = torch.optim.Adam(critic.parameters())
        for batch in loader:
            actor_optimizer.zero_grad()
            actor_loss(actor, critic, batch).backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 0.5)
            actor_optimizer.step()
            critic_optimizer.zero_grad()
            critic_loss(critic, batch).backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 0.5)
            critic_optimizer.step()
        """,
        """
        class Agent:
            def __init__(self):
                self.local = QNetwork()
                self.target = QNetwork()
                self.optimizer = torch.optim.Adam(self.local.parameters())

            def learn(self, batch):
                self.optimizer.zero_grad()
                self.loss(batch).backward()
                torch.nn.utils.clip_grad_norm_(self.target.parameters(), 1.0)
                self.optimizer.step()
        """,
    )
    suspected = (
        """
        import torch, torch.nn as nn

        def main(args, loader):
            net = unet(args)
            optimizer = torch.optim.Adam(net.parameters(), lr=args.lr)
            diffusion = Diffusion(1000, net, steps=10).to(device)  # may hold what it is given
            for x in loader:
                optimizer.zero_grad()
                loss = diffusion(x)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(diffusion.parameters(), 1.0)
                optimizer.step()
        """,
    )
    good = (
        """
        optimizer = torch.optim.Adam(model.parameters())
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.grad is not None], 1.0)
            optimizer.step()
        """,
        """
        encoder, decoder = Encoder(), Decoder()
        optimizer = torch.optim.Adam(list(encoder.parameters()) + list(decoder.parameters()))
        for batch in loader:  # group by group
            optimizer.zero_grad()
            loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), 0.25)
            optimizer.step()
        """,
        """
        net = Net()
        model = torch.nn.parallel.DistributedDataParallel(net.to(device))
        optimizer = torch.optim.Adam([{"params": net.head.parameters()}, {"params": net.body.parameters(), "lr": 1e-4}])
        for batch in loader:  # two names of one model
            optimizer.zero_grad()
            loss(model(batch)).backward()
            torch.nn.utils.clip_grad_norm_(model.module.parameters(), 1.0)
            optimizer.step()
        """,
        """
        class Wrapper(nn.Module):
            def __init__(self, body):
                super().__init__()
                self.body = body

        body = Body()
        model = Wrapper(body)
        optimizer = torch.optim.Adam(filter(lambda p: p.requires_grad, model.parameters()))
        for batch in loader:
            optimizer.zero_grad()
            loss(model(batch)).backward()
            torch.nn.utils.clip_grad_norm_(body.parameters(), 1.0)
            optimizer.step()
        """,
        """
        actor, critic = Actor(), Critic()
        actor_optimizer = torch.optim.Adam(actor.parameters())
        critic_optimizer = torch.optim.Adam(critic.parameters())
        for batch in loader:  # both are clipped before both step
            (actor_loss(batch) + critic_loss(batch)).backward()
            torch.nn.utils.clip_grad_norm_(actor.parameters(), 1.0)
            torch.nn.utils.clip_grad_norm_(critic.parameters(), 1.0)
            critic_optimizer.step()
            actor_optimizer.step()
            actor_optimizer.zero_grad()
            critic_optimizer.zero_grad()
        """,
        """
        def update(model, optimizer, parameters):  # what the caller gives cannot be read
            optimizer.zero_grad()
            loss(model).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        """,
        """
        class Trainer:
            def initialize(self):
                self.make_network()
                self.optimizer = torch.optim.SGD(self.network.parameters(), lr=0.01)

            def make_network(self):
                self.network = Net()

        class WideTrainer(Trainer):
            def initialize(self):
                super().initialize()
                self.network = torch.nn.parallel.DistributedDataParallel(self.network)

            def train(self):
                for batch in self.loader:
                    self.optimizer.zero_grad()
                    self.loss(self.network(batch)).backward()
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
                    self.optimizer.step()

        class SmallTrainer(Trainer):
            def make_network(self):  # the optimizer of the base class is made for this one
                self.network = SmallNet()

            def train(self):
                for batch in self.loader:
                    self.optimizer.zero_grad()
                    self.loss(self.network(batch)).backward()
                    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 12)
                    self.optimizer.step()
        """,
        """
        class Policy(nn.Module):
            def __init__(self):
                super().__init__()
                self.q_net, self.target = self.make(), self.make()
                self.optimizer = torch.optim.Adam(self.q_net.parameters())

            def make(self):
                return QNetwork()

        policy = Policy()
        for batch in loader:  # the whole is clipped of which the optimizer holds a part
            policy.optimizer.zero_grad()
            loss(policy, batch).backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 10)
            policy.optimizer.step()
        """,
    )
    confirmed_by = _run(7.5)
    not_confirmed_by = _run(0.3)

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for loop in script.training_loops:
            for clip in loop.clips:
                if _are_copies(clip.call):
                    yield self.at(clip, "clips tensors that hold no gradients of their own: nothing is clipped")
                steps = list(_steps(loop, clip))
                strange = steps and all(s.parameters and not s.shares(clip.parameters) for s in steps)
                if clip.parameters and strange and not any(_is_part(step, clip) for step in steps):
                    message = "clips the gradients of other parameters than those that `step()` updates"
                    yield self.at(clip, message, certain=all(_is_sure(script, clip, step) for step in steps))

    def confirm(self, run: Run, finding: Diagnostic) -> Evidence | None:
        clipped = {name for step in run.steps for clip in step.clips for name in clip.parameters}
        bound = next((clip.bound for _, clip in clipping.calls(run, finding.location)), None)
        applied = (step.gradients_at_step.items() for step in run.steps)
        others = [[g for name, g in items if g is not None and name not in clipped] for items in applied]
        series = tuple(norm(gradients) for gradients in others if gradients)
        if bound is None or not series:
            return None
        claim = "gradient norm of the parameters that no clip bounds"
        return Evidence(claim, max(series), bound, holds=max(series) > bound, series=series)


def _are_copies(clip: Value) -> bool:
    """Whether torch's function, or a framework's, is given a list of what is cut off from each parameter, or of its gradient."""
    known = clip.name.startswith("torch.nn.utils.clip_grad") or clip.method in CLIP_METHODS
    given = clip.argument(0, "parameters") if known else None
    item = given.arguments[0] if given is not None and given.kind == "comprehension" and given.arguments else None
    owner = item.receiver if item is not None and item.method in CUT else None
    return owner is not None and owner.kind == "name"


def _is_part(step: Act, clip: Act) -> bool:
    """The optimizer is the clipped module's own: `policy.optimizer`."""
    given = clip.call.argument(0, "parameters")
    module = str(given.receiver) if given is not None and given.receiver is not None else ""
    return module not in ("", "self") and str(step.call.receiver).startswith(f"{module}.")


def _is_sure(script: Script, clip: Act, step: Act) -> bool:
    """All modules are made in one function, none of another, and the optimizer is given them by other words: nothing binds
    them elsewhere."""
    given = [str(made.call.argument(0, "params")) for made in script.trainers if made.made(step)]
    homes = {_home(script, place) for place in (*clip.parameters, *step.parameters)}
    apart = not any(_is_given(script, clip.parameters, step.parameters))
    return apart and len(homes) == 1 and None not in homes and str(clip.call.argument(0, "parameters")) not in given


def _is_given(script: Script, wholes: Collection[str], parts: Collection[str]) -> Iterator[bool]:
    """Whether a module that is made at one of some places is given what is made at others: `Diffusion(net, steps)`."""
    bound = [e for f in script.functions for e in f.events if e.kind == "assign" and e.value is not None]
    names = {event.name for event in bound if _is_made(event, parts)}
    for event in (event for event in bound if event.name not in names and _is_made(event, wholes)):
        yield event.value is not None and any(part.name in names for part in event.value.within())


def _is_made(event: Event, places: Collection[str]) -> bool:
    made = (part.location for part in event.value.within() if part.kind == "call") if event.value is not None else ()
    return any(place.endswith(f">{at.path}:{at.line}:{at.column}") for at in made for place in places)


def _home(script: Script, place: str) -> str | None:
    """The function of the file in which a module is made."""
    path, _, line = place.rpartition(">")[2].rpartition(":")[0].rpartition(":")
    function = lookup.function(script, Location(path, int(line))) if path == script.path and line.isdigit() else None
    return function.name if function is not None else None


def _steps(loop: TrainingLoop, clip: Act) -> Iterator[Act]:
    """The steps that may use what is clipped: up to the next backward(), which another step may belong to."""
    for act in loop.after(clip):
        if act.kind in ("backward", "unknown"):
            return
        if act.kind == "step":
            yield act
