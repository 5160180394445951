"""ML422."""

from __future__ import annotations

from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source.facts import Setting

EMA = pattern(rb"ema(?<![a-zA-Z]ema)(?![a-z])")  # no schema
SHARE = pattern(rb"1(?:\.0*)? ?- ?[a-zA-Z_]|add_\(|alpha=")


class SoftUpdateSwapped(SourceRule):
    """A target network or moving average of weights keeps the small share of itself and takes the large one of the new weights.

    Why: `target = tau * target + (1 - tau) * online` with a small tau makes the target a copy of the online network in a
        step or two. What was to be a slow, steady target moves with each update: bootstrapped values diverge, a mean
        teacher is no better than its student, an average averages nothing.
    Fix: `target = (1 - tau) * target + tau * online` with a small tau; `ema = decay * ema + (1 - decay) * model` with a decay
        near one; `target.lerp_(online, tau)`.
    Ignore: hardly ever; a copy (a share of exactly zero) is not reported. A suspicion where the share is a default of what
        nothing in the file calls.
    Thresholds: kept = 0.1: the largest share of itself with which an average counts as swapped; published ones keep 0.9 to 0.9999.
    Reported: https://github.com/huggingface/diffusers/issues/1864, https://github.com/Mikyx-1/Reinforcement-Learning/issues/61
    """

    code, severity, certain, topic = "ML422", Severity.ERROR, True, "optimizer"
    twins = ("broken-average",)
    kept = 0.1
    words = (
        ("lerp", "arameters()"), ("_foreach_", "arameters()"),
        *((update, "arameters()", SHARE) for update in (".copy_(", ".mul_(", ".add_(", ".data =", ".data +=")),
        ("ema", "arameters()", EMA),
        *((update, "state_dict", SHARE) for update in (".copy_(", ".mul_(", "tau")), ("ema", "state_dict", EMA, SHARE),
        ("lerp", "state_dict", pattern(rb"lerp_?\(")),
        "avg_fn", ("swa_utils", "_avg_fn("), "ModelEma", "torch_ema",
    )  # fmt: skip
    bad = (
        """
        def soft_update(target, online, tau):
            for t, o in zip(target.parameters(), online.parameters()):
                t.data.copy_(tau * t.data + (1.0 - tau) * o.data)

        for state, action, reward, after in memory:
            soft_update(target_net, policy_net, 0.005)
        """,
        """
        decay = 0.999
        for e, p in zip(ema_model.parameters(), model.parameters()):
            e.data.mul_(1 - decay).add_(p.data, alpha=decay)
        for e, p in zip(ema_model.parameters(), model.parameters()):
            e.data.mul_(1 - decay).add_(decay, p.data)
        """,
        """
        class Agent:
            def __init__(self, tau=5e-3):
                self.tau = tau

            @torch.no_grad()
            def update(self):
                for target, source in zip(self.target.parameters(), self.online.parameters()):
                    target.lerp_(source, 1 - self.tau)

        agent = Agent()
        """,
        """
        parser = argparse.ArgumentParser()
        parser.add_argument("--ema-decay", type=float, default=0.9999)
        args = parser.parse_args()
        shadow = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            shadow[name] = (1.0 - args.ema_decay) * shadow[name] + args.ema_decay * p.detach()
        """,
        "average = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda ema, new, n: 0.01 * ema + 0.99 * new)",
        """
        TAU = 0.01
        for slow, fast in zip(target_q.parameters(), q.parameters()):
            slow.data += (1 - TAU) * (fast.data - slow.data)
        """,
        """
        average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.001))
        """,
        """
        old, new = list(teacher.parameters()), list(student.parameters())
        torch._foreach_mul_(old, 0.004)
        torch._foreach_add_(old, new, alpha=0.996)
        """,
    )
    good = (
        """
        def soft_update(target, online, tau):
            for t, o in zip(target.parameters(), online.parameters()):
                t.data.copy_(tau * o.data + (1.0 - tau) * t.data)

        soft_update(target_net, policy_net, 1.0)
        for state, action, reward, after in memory:
            soft_update(target_net, policy_net, 0.005)
        """,
        """
        def soft_update(target, online, keep):
            for t, o in zip(target.parameters(), online.parameters()):
                t.data.copy_(keep * t.data + (1.0 - keep) * o.data)

        soft_update(target_net, policy_net, 0)  # a copy
        for state, action, reward, after in memory:
            soft_update(target_net, policy_net, 0.995)
        """,
        """
        for target, source in zip(target_net.parameters(), net.parameters()):
            target.lerp_(source, 0.005)
        for e, p in zip(ema_model.parameters(), model.parameters()):
            e.data.mul_(0.999).add_(p.data, alpha=1 - 0.999)
        """,
        """
        tau = 0.005
        actor_params = dict(actor.named_parameters())
        target_params = dict(target_actor.named_parameters())
        for name in actor_params:  # the name is the actor's, the weights become the target's
            actor_params[name] = tau * actor_params[name].clone() + (1 - tau) * target_params[name].clone()
        target_actor.load_state_dict(actor_params)
        """,
        """
        for p, exp_avg in zip(model.parameters(), averages):  # an optimizer's own
            exp_avg.mul_(0.1).add_(p.grad, alpha=0.9)
        smoothed = 0.1 * smoothed + 0.9 * loss.item()
        image = 0.1 * image + 0.9 * overlay
        """,
        """
        average = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda ema, new, n: 0.99 * ema + 0.01 * new)
        lam = 0.05
        targets = lam * targets + (1 - lam) * targets[torch.randperm(len(targets))]
        """,
        """
        for slow, fast in zip(target_q.parameters(), q.parameters()):
            slow.data += 0.01 * (fast.data - slow.data)
            slow.data.sub_(0.01 * (slow.data - fast.data))
        """,
        """
        tau, merged = 0.1, server.state_dict()
        for k in merged:  # the server keeps the large share
            merged[k] = (1 - tau) * merged[k] + tau * sent[k].dequantize()
        """,
    )
    suspected = """
        class Heads(nn.Module):
            def __init__(self, alpha=0.99):  # a configuration gives another
                super().__init__()
                self.alpha = alpha

            def sync(self):
                for target, source in zip(self.target.parameters(), self.q.parameters()):
                    target.data.copy_(self.alpha * source.data + (1.0 - self.alpha) * target.data)
        """

    def check(self, script: Script) -> Iterator[Diagnostic]:
        for average in script.averages:
            shares = [share for share in average.shares if share.value not in (0, 1)]
            if shares and all(0 < share.value <= self.kept for share in shares):
                kept = f"{max(share.value for share in shares):.4g}"
                message = f"`{average.name}` keeps only {kept} of itself and takes the rest from `{average.follows}`"
                sure = average.named and not any(_may_be_given(script, share) for share in shares)
                yield self.at(average, f"{message}: the shares are swapped", certain=sure)


def _may_be_given(script: Script, share: Setting) -> bool:
    """Whether a share is the default of what nothing in the file calls: those who do may give another one."""
    given = (
        f
        for f in script.functions
        for p in f.parameters
        if p.default is not None and p.default.location == share.location
    )
    made = ((f.owner or "") if f.name.endswith("__init__") else f.name.rpartition(".")[2] for f in given)
    return any(name not in script.called for name in made)
