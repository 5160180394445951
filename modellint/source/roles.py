"""The part that a value plays in training: what it is bound to decides, its name only where nothing is bound."""

from __future__ import annotations

from .code import Class, Value
from .resolve import Resolver
from .scope import Callee, Source
from .script import Script
from .vocabulary import is_optimizer, is_scheduler, sounds_like_optimizer

FRAMEWORKS = {
    "Accelerator": "accelerate",
    "Fabric": "fabric",
    "initialize": "deepspeed",
    "init_distributed": "deepspeed",
}
MODULES = ("Module", "LightningModule", "Sequential", "PreTrainedModel", "ScriptModule")
# What an unbound name is taken for.
CONVENTIONS = {
    "accelerator": "framework", "fabric": "framework", "engine": "framework", "model_engine": "framework",
    "scaler": "scaler", "grad_scaler": "scaler", "scheduler": "scheduler", "lr_scheduler": "scheduler",
    "model": "model", "net": "model", "network": "model", "criterion": "loss", "loss_fn": "loss", "loss_function": "loss",
}  # fmt: skip


class Roles:
    def __init__(self, resolver: Resolver) -> None:
        self.resolver = resolver

    def of(self, source: Source) -> set[str]:
        """The roles that the value may have; "" among them where nothing tells."""
        return {self._role(made, source.value) for made in self.resolver.of(source)}

    def _role(self, source: Source, asked: Value) -> str:
        """ "optimizer", "scheduler", "scaler", "model", "loss", "framework", "object" (of a project's class), "other" or ""."""
        value = source.value
        if value.kind == "call":
            callees = self.resolver.calls.callees(source)
            if (enabled := value.argument(None, "enabled")) is not None and enabled.constant is False:
                return "other"
            return next((role for callee in callees if (role := self._made_by(callee, asked))), "")
        if value.kind == "name":
            return self._unbound(source, asked)
        if value.kind == "constant" and value.constant is None:  # what is used is another value, which nobody has read
            return _by_name(asked, asked)
        if value.kind in ("item", "element", "attribute", "unknown"):
            base = value.base
            if base is not None and base.kind == "call" and base.name.startswith("deepspeed"):
                return "framework"
            return "optimizer" if _optimizer_by_name(value, asked) else ""
        return "other"

    def _made_by(self, callee: Callee, asked: Value) -> str:
        if callee.class_ is not None and callee.script is not None:
            return self.of_class(callee.script, callee.class_)
        last = callee.name.rpartition(".")[2]
        if callee.made is not None:
            return "other"
        if is_optimizer(callee.name):
            return "optimizer"
        if is_scheduler(callee.name):
            return "scheduler"
        if last == "GradScaler":
            return "scaler"
        if last in FRAMEWORKS:
            return "framework"
        if callee.name.startswith("torch.nn."):
            return "loss" if last.endswith("Loss") else "model"
        if sounds_like_optimizer(asked.name):
            return "optimizer"
        return "model" if CONVENTIONS.get(asked.method) == "model" else "other"

    def of_class(self, script: Script, class_: Class) -> str:
        for base in self.resolver.members.ancestry(script, class_):
            last = base.rpartition(".")[2]
            if is_optimizer(base):
                return "optimizer"
            if is_scheduler(base):
                return "scheduler"
            if last in MODULES or base.startswith("torch.nn."):
                return "loss" if last.endswith("Loss") or class_.name.endswith("Loss") else "model"
        return "object"

    def _unbound(self, source: Source, asked: Value) -> str:
        parameters = source.frame.function.parameters
        annotation = next((p.annotation for p in parameters if p.name == source.value.name), "")
        return "optimizer" if is_optimizer(annotation) else _by_name(source.value, asked)


def _by_name(value: Value, asked: Value) -> str:
    return "optimizer" if _optimizer_by_name(value, asked) else CONVENTIONS.get(value.method, "")


def _optimizer_by_name(value: Value, asked: Value) -> bool:
    return sounds_like_optimizer(value.name) or sounds_like_optimizer(asked.name)
