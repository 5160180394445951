"""ML485."""

from __future__ import annotations

import re
from collections.abc import Iterator

from modellint import Diagnostic, Script, Severity, SourceRule
from modellint.core.pattern import pattern
from modellint.source import lookup, tensors
from modellint.source.code import Function, Value
from modellint.source.facts import Loss

TEACHER = pattern(r"(?:.*[_.])?(?:teacher|tea)s?(?:_.*|\..*)?|teacher.*", re.IGNORECASE)
STUDENT = pattern(r"(?:.*[_.])?(?:student|stu)s?(?:_.*|\..*)?|student.*", re.IGNORECASE)
# Of divergences that are taken the other way, or both ways, on purpose.
OTHERWISE = pattern(r"reverse|rkl|backward|mode|jsd?|jensen|sym|skew|mutual|both|bi_|minillm|gkd", re.IGNORECASE)
TEMPERATURE = pattern(r"(?:\w+_)?(?:T|temp|temperature|tau)(?:_\w+)?")
SOFTMAX = frozenset({"softmax", "log_softmax"})
KL = "KLDivLoss"


class DistillationSides(SourceRule):
    """In a distillation the teacher stands where the student belongs, or only one of them is softened.

    Why: `F.kl_div(input, target)` measures how far `input`, the log-probabilities of the model that learns, is from `target`. With
        the two exchanged it is another divergence, which lets the student leave out what the teacher finds likely, and
        with one of them twice the student is not in it at all. A temperature softens both or compares two different things.
    Fix: `F.kl_div(F.log_softmax(student / T, 1), F.softmax(teacher / T, 1), reduction="batchmean") * T * T`.
    Ignore: when the reverse divergence is meant; a name that says so (`reverse_kl`) is not reported.
    Reported: https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/66,
        https://github.com/keras-team/keras-io/issues/257
    """

    code, severity, certain, topic = "ML485", Severity.WARNING, False, "loss"
    words = (
        ("teacher", "student", pattern(rb"kl_div|KLDivLoss")),
        ("teacher", "student", pattern(rb"def \w*(?:distil|kd|kl)\w*\(")),
    )
    bad = (
        """
        def kd_loss(student_logits, teacher_logits, T):
            soft = F.softmax(student_logits / T, dim=1)
            log_probs = F.log_softmax(teacher_logits / T, dim=1)
            return F.kl_div(log_probs, soft, reduction="batchmean") * T * T
        """,
        """
        def kd_loss(student_logits, teacher_logits, T):
            return F.kl_div(
                F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits, dim=1), reduction="batchmean"
            )
        """,
        """
        kl = nn.KLDivLoss(reduction="batchmean")
        for x, y in loader:
            with torch.no_grad():
                teacher_logits = teacher(x)
            student_logits = student(x)
            targets = F.softmax(teacher_logits / 4, dim=1)
            loss = kl(F.log_softmax(teacher_logits / 4, dim=1), targets) + F.cross_entropy(student_logits, y)
        """,
        """
        def kd_loss(student_logits, teacher_logits, T):
            soft = F.softmax(teacher_logits / T, dim=1)
            return F.kl_div(F.log_softmax(student_logits / T, dim=1), soft, reduction="batchmean") * T * T

        for x, y in loader:
            with torch.no_grad():
                teacher_logits = teacher(x)
            loss = kd_loss(teacher_logits, student(x), 4.0)
        """,
    )
    good = (
        """
        def kd_loss(student_logits, teacher_logits, T):
            soft = F.softmax(teacher_logits / T, dim=1)
            return F.kl_div(F.log_softmax(student_logits / T, dim=1), soft, reduction="batchmean") * T * T

        loss = kd_loss(student(x), teacher(x), 4.0)
        """,
        """
        def reverse_kl(student_logits, teacher_logits):
            return F.kl_div(
                F.log_softmax(teacher_logits, dim=1), F.softmax(student_logits, dim=1), reduction="batchmean"
            )
        """,
        """
        def agreement(student_logits, teacher_logits):
            there = F.kl_div(F.log_softmax(student_logits, 1), F.softmax(teacher_logits, 1), reduction="batchmean")
            back = F.kl_div(F.log_softmax(teacher_logits, 1), F.softmax(student_logits, 1), reduction="batchmean")
            return there + back
        """,
        """
        def kd_loss(student_logits, teacher_logits, T):
            teacher_logits = teacher_logits / T
            return F.kl_div(
                F.log_softmax(student_logits / T, dim=1), F.softmax(teacher_logits, dim=1), reduction="batchmean"
            )
        """,
        """
        def kd_loss(student_logits, teacher_probs, T):
            return F.kl_div(F.log_softmax(student_logits / T, dim=1), teacher_probs, reduction="batchmean")
        """,
    )

    def check(self, script: Script) -> Iterator[Diagnostic]:
        losses = [loss for loss in script.losses if loss.kind == KL]
        ways = [(loss, *_sides(script, loss)) for loss in losses]
        forward = {id(function) for _, function, sides in ways if sides[:1] == ("student",)}
        for loss, function, sides in ways:
            meant = function is None or OTHERWISE.search(f"{function.name} {function.owner or ''}") is not None
            if not meant and sides and sides[0] == "teacher" and id(function) not in forward:
                other = "the student is its target" if sides[1] == "student" else "the student is nowhere in it"
                yield self.at(loss, f"compares the teacher's log-probabilities, and {other}")
            if function is not None and not meant and _is_softened_alone(function, loss):
                yield self.at(loss, "divides one of the two by a temperature, and not the other")
        yield from self._exchanged(script)

    def _exchanged(self, script: Script) -> Iterator[Diagnostic]:
        """Calls that give the teacher where the function asks for the student, and the other way round."""
        asking = {f.name: f for f in script.functions if f.kind == "function" and not f.owner and _asks(f)}
        for function in script.functions if asking else ():
            for call in (call for call in function.calls if call.name in asking and not call.unpacks):
                asked = asking[call.name].parameters
                given = [
                    (p.name, value) for at, p in enumerate(asked) if (value := call.argument(at, p.name)) is not None
                ]
                pairs = {(_named(name), _role(function, value)) for name, value in given}
                if {("student", "teacher"), ("teacher", "student")} <= pairs:
                    yield self.at(
                        call, f"gives `{call.name}` the teacher for the student, and the student for the teacher"
                    )


def _asks(function: Function) -> bool:
    return {"student", "teacher"} <= {_named(parameter.name) for parameter in function.parameters}


def _named(name: str) -> str:
    """ "teacher", "student", or "" where a name tells neither or both."""
    teacher, student = TEACHER.fullmatch(name) is not None, STUDENT.fullmatch(name) is not None
    return "" if teacher == student else "teacher" if teacher else "student"


def _sides(script: Script, loss: Loss) -> tuple[Function | None, tuple[str, ...]]:
    """Whose the input and the target of a divergence are, where both can be told."""
    function = lookup.function(script, loss.location)
    given, target = loss.call.argument(0, "input"), loss.call.argument(1, "target")
    if function is None or given is None or target is None:
        return function, ()
    if tensors.followed(function, given).method == "softmax":
        return function, ()  # the two arguments are in each other's place, as another rule says
    sides = _role(function, given), _role(function, target)
    return function, sides if all(sides) else ()


def _role(function: Function, value: Value) -> str:
    """By the nearest name that tells; of a computation by all names in it."""
    told = _named(value.name) if value.kind == "name" else ""
    names = (part.name for part in tensors.computed(function, value) if part.kind in ("name", "call"))
    roles = {told} if told else {role for name in names if (role := _named(name))}
    return roles.pop() if len(roles) == 1 else ""


def _is_softened_alone(function: Function, loss: Loss) -> bool:
    """Whether a temperature divides what one softmax takes and not what the other does."""
    given = [loss.call.argument(0, "input"), loss.call.argument(1, "target")]
    taken = [_logits(function, value) for value in given if value is not None]
    logits = [value for value in taken if value is not None]
    if len(logits) != 2:
        return False
    softened = [_is_softened(function, value) for value in logits]
    plain = (value for value, soft in zip(logits, softened, strict=True) if not soft)
    return any(softened) and any(value.kind == "name" and "." not in value.name for value in plain)


def _logits(function: Function, value: Value) -> Value | None:
    """What the softmax takes by which a side of the divergence is made."""
    made = tensors.followed(function, value)
    return tensors.operand(made) if made.kind == "call" and made.method in SOFTMAX else None


def _is_softened(function: Function, logits: Value) -> bool:
    parts = (
        part for part in tensors.computed(function, logits) if part.kind == "operation" and part.name in ("/", "*")
    )
    divisors = (part.arguments[1] for part in parts if len(part.arguments) == 2)
    return any(d.number is not None or TEMPERATURE.fullmatch(d.method) is not None for d in divisors)
