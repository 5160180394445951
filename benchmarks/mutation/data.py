"""Faults of modes, evaluation, data and checkpoints."""

from __future__ import annotations

import ast
import re

from .ask import HELD_OUT, TRAINING, acts, call_of, calls, last, receiver, trains
from .text import Found, Source, fault

MODAL = re.compile(r"BatchNorm|Dropout|dropout|batch_norm|resnet|vgg|densenet|efficientnet|from_pretrained")


@fault("train() deleted", "train-eval-mode")
def no_train(source: Source) -> Found:
    evaluated = {receiver(call_of(e)) for e in acts(source, "eval")}
    for mode in acts(source, "train"):
        name, scope = receiver(call_of(mode)), source.scope(mode)
        every = [m for m in acts(source, "train") if receiver(call_of(m)) == name]
        if name in evaluated and name != "self" and trains(source, scope):
            yield mode, [edit for m in every for edit in source.remove(m)]


@fault("eval() deleted", "train-eval-mode")
def no_eval(source: Source) -> Found:
    for mode in acts(source, "eval"):
        scope = source.scope(mode)
        if (
            receiver(call_of(mode)) != "self"
            and "no_grad" in source.within(scope)
            and not isinstance(scope, ast.Module)
        ):
            every = [m for m in acts(source, "eval") if source.scope(m) is scope]
            if re.search(r"val|test|eval", scope.name) and not trains(source, scope):
                yield mode, [edit for m in every for edit in source.remove(m)]


@fault("no_grad around the evaluation dropped", "eval-without-no-grad")
def recorded(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.With)
            and len(node.items) == 1
            and re.search("no_grad|inference_mode", ast.unparse(node.items[0]))
        ):
            loops = any(isinstance(n, ast.For) for n in ast.walk(node)) or source.loops(node)
            scope = source.scope(node)
            if loops and not trains(source, scope) and re.search(r"val|test|eval", getattr(scope, "name", "")):
                yield node, source.unwrap(node)
        if isinstance(node, ast.FunctionDef) and re.search("val|test", node.name) and not trains(source, node):
            for mark in node.decorator_list:
                if re.search("no_grad|inference_mode", ast.unparse(mark)) and any(
                    isinstance(n, ast.For) for n in ast.walk(node)
                ):
                    yield mark, [source.unmark(mark)]


@fault("evaluation on the training loader", "evaluation-on-training-data test-data-in-training one-part-used-twice")
def trained_on(source: Source) -> Found:
    loaders = sorted(
        {
            ast.unparse(t)
            for n in source.nodes
            if isinstance(n, ast.Assign) and re.search(r"\bDataLoader\(", ast.unparse(n.value))
            for t in n.targets
        }
    )
    training = [n for n in loaders if TRAINING.search(n) and not HELD_OUT.search(n)]
    held = [n for n in loaders if HELD_OUT.search(n) and not TRAINING.search(n)]
    if len(training) == 1:
        for node in source.nodes:
            if isinstance(node, ast.Call) and re.search(r"val|test|eval", last(node.func)):
                for arg in node.args:
                    if ast.unparse(arg) in held:
                        yield node, [source.replace(arg, training[0])]


@fault(
    "held-out loader made of the training set", "evaluation-on-training-data test-data-in-training one-part-used-twice"
)
def one_set(source: Source) -> Found:
    made = [
        n for n in source.nodes if isinstance(n, ast.Assign) and re.match(r"(\w+\.)*DataLoader\(", ast.unparse(n.value))
    ]
    found = [(n, n.value.args[0]) for n in made if isinstance(n.value, ast.Call) and n.value.args]
    training = [
        a for n, a in found if TRAINING.search(ast.unparse(n.targets[0])) and isinstance(a, ast.Name | ast.Attribute)
    ]
    for node, data in found:
        if (
            HELD_OUT.search(ast.unparse(node.targets[0]))
            and len(training) == 1
            and ast.unparse(data) != ast.unparse(training[0])
        ):
            yield node, [source.replace(data, ast.unparse(training[0]))]


@fault("shuffle of the training loader off", "unshuffled-training-data")
def unshuffled(source: Source) -> Found:
    for call in calls(source, "DataLoader"):
        for word in call.keywords:
            at = source.statement(call)
            named = (
                ast.unparse(at.targets[0]) if isinstance(at, ast.Assign) else getattr(source.scope(call), "name", "")
            )
            if word.arg == "shuffle" and ast.unparse(word.value) == "True" and TRAINING.search(named):
                yield call, [source.replace(word.value, "False")]


@fault("set_epoch deleted", "sampler-set-epoch")
def no_epoch(source: Source) -> Found:
    every = list(acts(source, "set_epoch"))
    if every:
        yield every[0], [edit for one in every for edit in source.remove(one)]


@fault("fresh layer put into the model after the optimizer", "optimizer-parameters")
def late_layer(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and re.search(r"\b(SGD|Adam|AdamW)\(", ast.unparse(node.value)):
            block = source.siblings(node)
            for other in block[: block.index(node)] if node in block else ():
                target = other.targets[0] if isinstance(other, ast.Assign) else None
                fresh = isinstance(target, ast.Attribute) and re.search(
                    r"nn\.(Linear|Sequential|Conv)", source.text(other)
                )
                model = ast.unparse(target.value) if fresh and isinstance(target, ast.Attribute) else "self"
                if model != "self" and f"{model}.parameters()" in ast.unparse(node):
                    yield node, source.move(other, node, after=True)


@fault("new head frozen", "frozen-fresh-parameters optimizer-parameters")
def frozen_head(source: Source) -> Found:
    for node in source.nodes:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(target, ast.Attribute) and target.attr in ("fc", "classifier", "head", "_fc"):
            assert isinstance(node, ast.Assign)
            if re.match(r"(torch\.)?nn\.(Linear|Sequential)\(", ast.unparse(node.value)):
                text = f"for p in {ast.unparse(target)}.parameters():\n    p.requires_grad = False"
                yield node, [source.line(node, text, after=True)]


@fault("layers in a plain list", "unregistered-modules")
def plain(source: Source) -> Found:
    for call in calls(source, "ModuleList"):
        at = source.statement(call)
        if isinstance(at, ast.Assign) and ast.unparse(at.targets[0]).startswith("self.") and at.value is call:
            yield call, [source.replace(call, source.text(call.args[0]) if call.args else "[]")]


@fault("functional dropout always on", "functional-dropout-mode")
def stray(source: Source) -> Found:
    for call in calls(source, "dropout"):
        words = [k for k in call.keywords if k.arg == "training"]
        if words:
            kept = [source.text(a) for a in call.args] + [
                f"{k.arg}={source.text(k.value)}" for k in call.keywords if k.arg != "training"
            ]
            yield call, [source.replace(call, f"{source.text(call.func)}({', '.join(kept)})")]


@fault("batch_first dropped", "batch-first")
def time_first(source: Source) -> Found:
    for call in calls(source, "LSTM", "GRU", "RNN"):
        kept = [source.text(a) for a in call.args]
        kept += [f"{k.arg}={source.text(k.value)}" for k in call.keywords if k.arg and k.arg != "batch_first"]
        if any(k.arg == "batch_first" and ast.unparse(k.value) == "True" for k in call.keywords):
            yield call, [source.replace(call, f"{source.text(call.func)}({', '.join(kept)})")]


@fault("weights of the best epoch not copied", "aliased-state-dict aliased-model")
def aliased(source: Source) -> Found:
    for call in calls(source, "deepcopy"):
        at = source.statement(call)
        if isinstance(at, ast.Assign) and "best" in ast.unparse(at.targets[0]) and at.value is call:
            yield at, [source.replace(call, source.text(call.args[0]))]


@fault("resumed without the optimizer", "resume-without-optimizer")
def resumed(source: Source) -> Found:
    every = [
        a for a in acts(source, "load_state_dict", of="opt") if "torch.load" in source.data.decode(errors="replace")
    ]
    if len({receiver(call_of(a)) for a in every}) == 1:
        yield every[0], [edit for one in every for edit in source.remove(one)]


@fault("accuracy divided by the number of batches", "accuracy-denominator")
def denominator(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Div)
            and re.search("correct|acc", ast.unparse(node.left))
        ):
            size = re.fullmatch(r"len\((.+)\.dataset\)", ast.unparse(node.right))
            if size:
                yield source.statement(node), [source.replace(node.right, f"len({size[1]})")]


@fault("best value compared the wrong way", "best-never-improves monitor-direction")
def never_best(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1:
            left, right = ast.unparse(node.test.left), ast.unparse(node.test.comparators[0])
            turned = {"Gt": "<", "Lt": ">"}.get(type(node.test.ops[0]).__name__)
            if turned and ("best" in right) != ("best" in left) and re.search("acc|loss", left + right):
                yield node, [source.replace(node.test, f"{left} {turned} {right}")]


@fault("loop left in its first pass", "loop-left-in-first-pass")
def left(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Return) and node.value is not None:
            block = source.siblings(node)
            before = block[block.index(node) - 1] if block.index(node) else None
            if isinstance(before, ast.For) and ".backward(" in source.text(before):
                yield node, source.move(node, before.body[-1], after=True)


@fault("same batch in every step", "same-batch-every-step")
def same(source: Source) -> Found:
    for loop in source.nodes:
        over = source.text(loop.iter) if isinstance(loop, ast.For) else ""
        if isinstance(loop, ast.For) and re.fullmatch(r"\w*loader\w*", over) and ".backward(" in source.text(loop):
            first = source.line(loop.body[0], f"{source.text(loop.target).strip('()')} = next(iter({over}))")
            yield loop, [source.replace(loop.target, "step"), source.replace(loop.iter, f"range(len({over}))"), first]


@fault("images not normalised", "unscaled-inputs large-inputs")
def unscaled(source: Source) -> Found:
    for node in source.nodes:
        scaled = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
        if scaled and ast.unparse(node.right) in ("255", "255.0") and "float" in source.text(source.statement(node)):
            yield source.statement(node), [source.replace(node, source.text(node.left))]


@fault("test images augmented", "augmented-evaluation")
def augmented(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and HELD_OUT.search(ast.unparse(node.targets[0])):
            for call in ast.walk(node.value):
                if isinstance(call, ast.Call) and last(call.func) == "CenterCrop":
                    yield (
                        node,
                        [source.replace(call.func, source.text(call.func).replace("CenterCrop", "RandomResizedCrop"))],
                    )


@fault("training set is the test set", "test-data-in-training")
def test_set(source: Source) -> Found:
    for node in source.nodes:
        if (
            isinstance(node, ast.Assign)
            and TRAINING.search(ast.unparse(node.targets[0]))
            and isinstance(node.value, ast.Call)
        ):
            for word in node.value.keywords:
                if word.arg == "train" and ast.unparse(word.value) == "True":
                    yield node, [source.replace(word.value, "False")]


@fault("model of DDP called past its wrapper", "ddp-bypassed")
def past_wrapper(source: Source) -> Found:
    wrapped = {
        ast.unparse(n.targets[0])
        for n in source.nodes
        if isinstance(n, ast.Assign) and re.search(r"\b(DistributedDataParallel|DDP)\(", ast.unparse(n.value))
    }
    for node in source.nodes:
        if isinstance(node, ast.Call) and ast.unparse(node.func) in wrapped and trains(source, source.scope(node)):
            yield node, [source.replace(node.func, source.text(node.func) + ".module")]


@fault("training_step returns nothing", "lightning-training-step")
def no_loss(source: Source) -> Found:
    for node in source.nodes:
        end = node.body[-1] if isinstance(node, ast.FunctionDef) and node.name == "training_step" else None
        if isinstance(end, ast.Return) and end.value is not None and len(source.siblings(end)) > 1:
            yield end, source.remove(end)


@fault("no nonlinearity between two layers", "linear-without-nonlinearity")
def linear(source: Source) -> Found:
    for call in calls(source, "Sequential"):
        names = [last(a.func) if isinstance(a, ast.Call) else "" for a in call.args]
        for at in range(1, len(names) - 1):
            if names[at - 1 : at + 2] == ["Linear", "ReLU", "Linear"]:
                yield call, [source.replace(call.args[at], "nn.Identity()")]


@fault("future tokens seen", "future-not-masked missing-causal-mask")
def future(source: Source) -> Found:
    for call in calls(source, "scaled_dot_product_attention"):
        for word in call.keywords:
            if word.arg == "is_causal" and ast.unparse(word.value) == "True":
                yield call, [source.replace(word.value, "False")]
    for node in source.nodes:
        if (
            isinstance(node, ast.Assign)
            and "masked_fill" in ast.unparse(node.value)
            and re.search("bias|tril|causal", ast.unparse(node.value))
        ):
            yield node, source.remove(node)


@fault("targets of a language model not shifted", "unshifted-targets")
def unshifted(source: Source) -> Found:
    for node in source.nodes:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.BinOp | ast.Call | ast.Subscript):
            text = source.text(node.value)
            if re.search(r"\bi ?\+ ?1 ?: ?i ?\+ ?(1 ?\+ ?)?\w+( ?\+ ?1)?\]", text):
                shorter = re.sub(r"i ?\+ ?1 ?: ?i ?\+ ?1 ?\+ ?(\w+)\]", r"i : i + \1]", text)
                if shorter != text:
                    yield node, [source.replace(node.value, shorter)]
