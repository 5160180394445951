"""Architectures of transformers in tiny random configurations: the default one with its sizes taken down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from transformers import AutoConfig, PretrainedConfig, logging
from transformers.models.auto import modeling_auto as auto

from .case import Case

logging.set_verbosity_error()
_VOCABULARY, _LENGTH, _SIDE = 99, 16, 32
_SIZES: dict[str, Any] = {
    **dict.fromkeys("vocab_size text_vocab_size".split(), _VOCABULARY),
    **dict.fromkeys("hidden_size d_model n_embd embedding_size dim emb_dim word_embed_proj_dim projection_dim".split(), 32),
    **dict.fromkeys("num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers".split(), 2),
    **dict.fromkeys("num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads".split(), 4),
    **dict.fromkeys("intermediate_size n_inner encoder_ffn_dim decoder_ffn_dim ffn_dim d_ff hidden_dim".split(), 64),
    **dict.fromkeys("num_key_value_heads multi_query_group_num".split(), 2),
    **dict.fromkeys("num_experts num_local_experts n_routed_experts".split(), 4),
    **dict.fromkeys("num_experts_per_tok moe_topk top_k".split(), 2),
    **dict.fromkeys("moe_intermediate_size shared_expert_intermediate_size".split(), 32),
    **dict.fromkeys("d_kv head_dim attention_head_dim v_head_dim".split(), 8),
    **dict.fromkeys("max_position_embeddings n_positions n_ctx max_target_positions".split(), 64),
    **dict.fromkeys("image_size".split(), _SIDE),
    **dict.fromkeys("patch_size".split(), 8),
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "state_size": 8,
    "time_step_rank": 4,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "conv_dim": (32, 32),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
    "rotary_dim": 4,
    "ffn_hidden_size": 64,
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "moe_layer_start_index": 0,
}  # fmt: skip
_PER_MODEL: dict[str, dict[str, Any]] = {
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "dbrx": {
        "ffn_config": {"ffn_hidden_size": 32, "moe_num_experts": 4},
        "attn_config": {"kv_n_heads": 2, "rope_theta": 1e4, "clip_qkv": 8.0},
    },
    "deepseek_v2": {
        "qk_head_dim": 16,
        "head_dim": 8,
        "qk_rope_head_dim": 8,
        "first_k_dense_replace": 1,
        "n_group": 1,
        "topk_group": 1,
        "num_key_value_heads": 4,
    },
    "deepseek_v3": {"qk_rope_head_dim": 8, "head_dim": 8, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4},
    "align": {"projection_dim": 640},
    "zamba": {"num_hidden_layers": 5, "layers_block_type": ["linear_attention", "hybrid"] * 2 + ["hybrid"]},
    "convnext": {"image_size": 64, "patch_size": 4},
    "convnextv2": {"image_size": 64, "patch_size": 4},
    "efficientnet": {"hidden_dim": 2560},
    "siglip": {
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 64,
            "image_size": 32,
            "patch_size": 8,
        }
    },
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "hiera": {"image_size": [64, 64]},
    "swin": {"image_size": 224, "patch_size": 4, "depths": [1, 1, 1, 1]},
    "swinv2": {"image_size": 224, "patch_size": 4, "depths": [1, 1, 1, 1]},
    "donut-swin": {"image_size": 224, "patch_size": 4, "depths": [1, 1, 1, 1]},
    "rwkv": {"attention_hidden_size": 32},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "whisper": {"num_mel_bins": 8, "max_source_positions": 16, "encoder_layers": 2, "decoder_layers": 2},
    "speech_to_text": {"input_feat_per_channel": 8, "conv_channels": 32},
    "dpt": {"backbone_out_indices": [0, 1, 1, 1]},
}
_MASKED = (
    "albert bert big_bird camembert convbert data2vec-text deberta deberta-v2 distilbert electra ernie esm eurobert flaubert "
    "fnet funnel ibert layoutlm longformer luke megatron-bert mobilebert modernbert mpnet nystromformer rembert roberta "
    "roformer squeezebert xlm xlm-roberta xmod yoso"
)
_CAUSAL = (
    "apertus arcee bamba biogpt bloom codegen cohere ctrl cwm dbrx deepseek_v2 deepseek_v3 diffllama ernie4_5 exaone4 falcon "
    "falcon_mamba gemma gemma2 gemma3_text glm glm4 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_oss gptj granite granitemoe helium "
    "jamba jetmoe llama mamba mamba2 mistral mixtral mpt nemotron olmo olmo2 olmoe openai-gpt opt persimmon phi phi3 phimoe "
    "qwen2 qwen2_moe qwen3 qwen3_moe recurrent_gemma rwkv smollm3 stablelm starcoder2 xglm xlnet zamba"
)
_PAIRS = "bart bigbird_pegasus blenderbot led longt5 m2m_100 marian mbart mt5 nllb-moe pegasus plbart switch_transformers t5 umt5"
_IMAGES = (
    "beit bit convnext convnextv2 cvt deit dinov2 donut-swin efficientnet focalnet hgnet_v2 hiera levit mobilenet_v1 "
    "mobilenet_v2 mobilevit poolformer pvt pvt_v2 regnet resnet segformer siglip swiftformer swin swinv2 vit vit_msn"
)
_SOUNDS = "audio-spectrogram-transformer hubert sew unispeech wav2vec2 wav2vec2-conformer wavlm"
_TEXT_AND_IMAGE = "align altclip blip chinese_clip clip siglip"


def models() -> Iterator[tuple[str, Callable[[], Case]]]:
    for kind, names, mapping in (
        (_masked, _MASKED, auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES),
        (_language, _MASKED, auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES),
        (_causal, _CAUSAL, auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES),
        (_pairs, _PAIRS, auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES),
        (_image, _IMAGES, auto.MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        (_sound, _SOUNDS, auto.MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES),
        (_both, _TEXT_AND_IMAGE, auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES),
        (_speech, "whisper speech_to_text", auto.MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES),
    ):
        for name in names.split():
            if name in mapping:
                yield mapping[name], partial(kind, name, mapping[name])


def _model(name: str, kind: str, **more: Any) -> Any:
    import transformers

    wanted = _PER_MODEL.get(name, {})
    config = type(AutoConfig.for_model(name))(**{**_small(AutoConfig.for_model(name)), **wanted, **more})
    return getattr(transformers, kind)(config).train()


def _small(config: PretrainedConfig) -> dict[str, Any]:
    known = config.to_dict()
    own = {key: value for key, value in _SIZES.items() if key in known and _fits(known[key], value)}
    parts = {key: _small(part) for key, part in vars(config).items() if isinstance(part, PretrainedConfig)}
    return {**own, **parts}


def _fits(given: Any, wanted: Any) -> bool:
    """A list of sizes, one a stage, is left as it is."""
    return given is None or isinstance(given, (list, tuple)) == isinstance(wanted, (list, tuple))


def _tokens() -> torch.Tensor:
    return torch.randint(3, _VOCABULARY, (2, _LENGTH))


def _masked(name: str, kind: str) -> Case:
    return Case(_model(name, kind), (), {"input_ids": _tokens(), "labels": _tokens()})


def _language(name: str, kind: str) -> Case:
    return Case(_model(name, kind, num_labels=3), (), {"input_ids": _tokens(), "labels": torch.tensor([0, 2])})


def _causal(name: str, kind: str) -> Case:
    tokens = _tokens()
    return Case(_model(name, kind, use_cache=False), (), {"input_ids": tokens, "labels": tokens})


def _pairs(name: str, kind: str) -> Case:
    model = _model(name, kind, use_cache=False)
    model.config.decoder_start_token_id = 1
    return Case(model, (), {"input_ids": _tokens(), "labels": _tokens()})


def _image(name: str, kind: str) -> Case:
    model = _model(name, kind, num_labels=3)
    config = getattr(model.config, "vision_config", model.config)
    side = config.image_size if isinstance(getattr(config, "image_size", None), int) else 64
    return Case(model, (), {"pixel_values": torch.randn(2, 3, side, side), "labels": torch.tensor([0, 2])})


def _sound(name: str, kind: str) -> Case:
    values = torch.randn(2, 1024, 128) if name == "audio-spectrogram-transformer" else torch.randn(2, 2000)
    return Case(_model(name, kind, num_labels=3), (), {"input_values": values, "labels": torch.tensor([0, 2])})


def _both(name: str, kind: str) -> Case:
    model = _model(name, kind)
    side = model.config.vision_config.image_size
    tokens = torch.cat([_tokens()[:, :-1], torch.full((2, 1), 2)], dim=1)
    inputs = {"input_ids": tokens, "pixel_values": torch.randn(2, 3, side, side), "return_loss": True}
    return Case(model, (), inputs)


def _speech(name: str, kind: str) -> Case:
    model = _model(name, kind, use_cache=False)
    model.config.decoder_start_token_id = 1
    shape = (2, 8, 32) if name == "whisper" else (2, 32, 8)
    return Case(model, (), {"input_features": torch.randn(shape), "labels": _tokens()})
