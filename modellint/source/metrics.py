"""Which way a measured quantity is better, as its name tells."""

from __future__ import annotations

from modellint.core.pattern import pattern

from .code import Value

# Words of a name; whatever holds words of both kinds is not known.
RISING = frozenset(
    "acc accs accuracy accuracies auc auroc auprc aucroc f1 f1score map iou miou dice psnr ssim bleu rouge rougel meteor cider "
    "r2 recall precision top1 top5 mcc kappa hits ndcg mrr reward rewards".split()
)
FALLING = frozenset(
    "loss losses error errors err mse mae rmse mape nll ppl perplexity wer cer fid eer ce bce distance dist".split()
)
TURNED = frozenset("neg negative negated minus inv inverse".split())
WORDS = pattern(r"[A-Z]?[a-z]+\d*|[A-Z]+\d*(?![a-z])")
SUMMARIES = frozenset({"item", "mean", "float", "round", "abs", "cpu", "numpy", "detach", "avg"})


def direction(name: str) -> int:
    """1 if more is better, -1 if less is; 0 if that is not known, as of `neg_mse`."""
    words = {word.lower() for word in WORDS.findall(name)}
    rising, falling = not words.isdisjoint(RISING), not words.isdisjoint(FALLING)
    return 0 if rising is falling or words & TURNED else 1 if rising else -1


def called(value: Value) -> str:
    """The name of a measured quantity: of `val_loss`, `metrics["val_loss"]`, `np.mean(val_loss)`, `val_loss.item()`; else empty."""
    if value.kind == "name":
        return value.method if value.method != "avg" else str(value)
    if value.kind == "item" and isinstance(value.arguments[0].constant, str):
        return value.arguments[0].constant
    if value.kind == "call" and value.method in SUMMARIES:
        inner = value.arguments[0] if value.arguments else value.receiver
        return called(inner) if inner is not None else ""
    return ""
