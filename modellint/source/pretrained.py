"""The causal language models of the transformers library in a script: they shift the labels by themselves."""

from __future__ import annotations

from modellint.core.pattern import pattern

from .code import Value
from .script import Script
from .tensors import bare

CAUSAL = pattern(
    r"(Auto\w*|GPT\w*|Llama|Mistral\w*|Qwen\w*|Gemma\w*|OPT|Bloom|Phi\w*|Falcon)(ForCausalLM|LMHeadModel)|AutoModelWithLMHead"
)
MAKERS = ("from_pretrained", "from_config")


def causal(script: Script) -> set[str]:
    """The names that such models are bound to."""
    events = (event for function in script.functions for event in function.events if event.kind == "assign")
    return {event.name for event in events if event.value is not None and _is_causal(bare(event.value))}


def _is_causal(value: Value) -> bool:
    if value.kind != "call":
        return False
    name = value.name.rpartition(".")[0] if value.method in MAKERS else value.name
    return CAUSAL.fullmatch(name.rpartition(".")[2]) is not None
