"""The names that PyTorch and the libraries around it give to the things that a script trains with."""

from __future__ import annotations

import builtins
import re
from functools import cache

from modellint.core.pattern import pattern

OPTIMIZERS = frozenset(
    "ASGD Adadelta Adafactor Adagrad Adam AdamW Adamax LBFGS Lamb LAMB Lion LARS Muon NAdam RAdam RMSprop Ranger Rprop SGD "
    "SGDP AdamP AdaBelief AdaBound AdamW8bit Adam8bit FusedAdam FusedLAMB FusedSGD SparseAdam BertAdam OpenAIAdam".split()
)
# Classes whose meaning is known, though a checkout of their library may be read: what they do is theirs.
FRAMEWORKS = frozenset({"Accelerator", "Fabric"})
# Calls whose result is one of their arguments, prepared: its meaning is unchanged.
PASSES_FIRST = frozenset(
    "compile DataParallel DistributedDataParallel DDP FSDP FullyShardedDataParallel fully_shard unwrap_model prepare_model "
    "prepare_optimizer DistributedOptimizer ZeroRedundancyOptimizer convert_sync_batchnorm ScriptModule script tqdm trange "
    "iter cycle list tuple sorted reversed copy prepare_module skip_first_batches no_op DistributedModel".split()
)
PASSES_RECEIVER = frozenset(
    "to cuda cpu half float double bfloat16 type train eval requires_grad_ apply compile module unwrap share_memory".split()
)
# Calls that return their arguments, prepared, as a tuple.
PASSES_TUPLE = frozenset({"prepare", "setup", "initialize", "setup_dataloaders", "optimize", "prepare_for_training"})
CLIPS = frozenset(
    {
        "torch.nn.utils.clip_grad_norm_",
        "torch.nn.utils.clip_grad_norm",
        "torch.nn.utils.clip_grad_value_",
        "torch.nn.utils.clip_grad.clip_grad_norm_",
        "torch.nn.utils.clip_grad.clip_grad_norm",
        "torch.nn.utils.clip_grad.clip_grad_value_",
        "torch.nn.utils.clip_grads_with_norm_",
    }
)
CLIP_METHODS = frozenset(
    {"clip_grad_norm_", "clip_grad_value_", "clip_grad_norm", "clip_gradients", "clip_grad", "clip_master_grads"}
)

# What functions and layers call the tensor that they work on.
INPUTS = ("input", "x", "inputs", "tensor", "logits", "tensors")
# Methods of tensors that count as an operation of a model.
TENSOR_METHODS = frozenset(
    "softmax log_softmax sigmoid tanh relu relu_ mean sum max amax norm exp log logsumexp clamp clamp_ pow sqrt rsqrt matmul "
    "mm bmm einsum cumsum detach masked_fill masked_fill_ scatter_add scatter_add_ index_add".split()
)
# Methods that change the tensor on which they are called.
IN_PLACE = frozenset(
    "sigmoid_ tanh_ relu_ clamp_ exp_ log_ add_ sub_ mul_ div_ sqrt_ abs_ neg_ squeeze_ unsqueeze_ t_ detach_".split()
)
# Calls that only give something back: as statements they do nothing. Contexts first, which do nothing until they are entered.
CONTEXTS = frozenset("no_grad inference_mode enable_grad autocast no_sync detect_anomaly fork_rng".split())
COPIES = frozenset(
    "detach clamp clip unsqueeze squeeze permute transpose masked_fill contiguous mul div relu sigmoid tanh softmax log_softmax "
    "normalize dropout permutation randperm shuffle dropna fillna drop_duplicates reset_index".split()
)
# Names by which no model is called: those of built-in functions and of the methods of collections, strings and tensors.
NO_MODELS = (
    frozenset((*dir(builtins), *dir(list), *dir(dict), *dir(str)))
    | TENSOR_METHODS
    | PASSES_RECEIVER
    | frozenset(
        "item detach numpy tolist size view reshape permute transpose squeeze unsqueeze contiguous clone log info add_scalar "
        "set_description set_postfix state_dict set_epoch".split()
    )
)
# Calls that are given an optimizer and leave its gradients alone.
HARMLESS = pattern(
    r"lr|learning_rate|sched|save|load|checkpoint|log|print|state|info|len|isinstance|iter|next|append|clip|scale_loss"
    r"|master_params|broadcast",
    re.IGNORECASE,
)

_TOKENS = pattern(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_SCHEDULE = pattern(r"get_\w*schedule\w*")
_OPTIMIZER = pattern(r"optim\w*|opts?|opt[gd]|optimi[sz]ers?")


@cache
def sounds_like_optimizer(name: str) -> bool:
    """Whether a variable is called as optimizers are: `optimizer_G`, `optD`, `self.opt`; a binding outweighs it."""
    last = re.sub(r"\[.*\]", "", name).rpartition(".")[2]
    return any(_OPTIMIZER.fullmatch(token.lower()) for token in _TOKENS.findall(last))


@cache
def is_optimizer(full: str) -> bool:
    """Whether a full name is that of an optimizer class (or of a function that makes one)."""
    module, _, last = full.rpartition(".")
    if "lr_scheduler" in full or "swa_utils" in full or "scheduler" in last.lower():
        return False
    if module in ("torch.optim", "optim"):
        return last[:1].isupper() or last == "*"
    return last in OPTIMIZERS or last.endswith("Optimizer") or (last.islower() and "optimizer" in last)


def is_scheduler(full: str) -> bool:
    last = full.rpartition(".")[2]
    return "lr_scheduler" in full or "scheduler" in full.lower() or last.endswith("LR") or is_schedule(last)


@cache
def is_schedule(name: str) -> bool:
    """Whether a function makes a scheduler as those of transformers do: `get_linear_schedule_with_warmup`."""
    return _SCHEDULE.fullmatch(name) is not None
