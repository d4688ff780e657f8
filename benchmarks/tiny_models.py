"""Tiny random checkpoints of every classifier class of transformers, each with a tokenizer."""

from inspect import signature
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_MASKED_LM_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    TOKENIZER_MAPPING,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
WORDS = (
    "red green blue sky grass sea and the is a dog cat bird fish runs sleeps big small "
    "old new tree house river stone"
).split()

SPREAD = 0.15
"""Standard deviation of weights, large enough for errors to show in the logits."""

WITHOUT_FILES = ("CanineTokenizer", "PerceiverTokenizer")
"""Tokenizers of characters or bytes, which need no vocabulary."""

SIZES_BY_VALUE = """
0: decoder_start_token_id mask_index
1: first_k_dense_replace max_depth
2: decoder_attention_heads decoder_layers depth encoder_attention_heads encoder_layers
    index_n_heads linear_num_key_heads linear_num_value_heads max_window_layers moe_topk
    n_group n_layer n_layers n_mamba_heads n_shared_experts num_cross_attention_heads
    num_decoder_layers num_experts_per_tok num_hash num_hash_functions num_hidden_layers
    num_key_value_heads num_kv_heads num_layers num_self_attends_per_block
    num_self_attention_heads topk_group
4: adapter_rank conv_kernel_size gated_norm_rank image_size n_head n_heads
    n_routed_experts num_attention_heads num_experts num_heads num_latents num_local_experts
    patch_size vision_patch_size
8: attention_head_size attention_window block_size chunk_size d_head d_kv hash_code_len
    head_dim index_head_dim keep_window_size kv_channels local_attention
    local_attn_chunk_length local_transformer_stride lsh_attn_chunk_length mamba_d_state
    num_attention_latents prompt_length qk_nope_head_dim qk_rope_head_dim
    query_pre_attn_scalar rotary_dim sliding_window v_head_dim window_size
    xpath_unit_hidden_size
16: coordinate_size embedding_size entity_emb_size index_topk input_embedding_size kv_lora_rank
    linear_key_head_dim linear_value_head_dim max_2d_position_embeddings num_hash_buckets
    output_embedding_size prompt_mid_dim pronunciation_embed_dim q_lora_rank
    relative_attention_num_buckets shape_embed_dim shape_size
32: cross_attention_hidden_size d_latents d_model dim emb_dim entity_vocab_size hidden_size
    intra_bottleneck_size n_embd out_hidden_size pooler_hidden_size prediction_head_size
    true_hidden_size word_embed_proj_dim
48: d_ff d_inner decoder_ffn_dim dff encoder_ffn_dim feed_forward_size ffn_dim
    ffn_hidden_size hidden_dim intermediate_size moe_intermediate_size n_inner
    shared_expert_intermediate_size
64: max_position_embeddings max_seq_len n_positions num_position_embeddings
    original_max_position_embeddings segment_means_seq_len tpu_short_seq_length
512: pronunciation_vocab_size shape_vocab_size vocab_size
"""
"""Small values, each with the fields of configurations that take it."""


def _read_sizes(table: str) -> dict[str, int]:
    sizes = {}
    for word in table.split():
        if word.endswith(":"):
            value = int(word[:-1])
        else:
            sizes[word] = value
    return sizes


SIZES = _read_sizes(SIZES_BY_VALUE)
TOKENS = {"pad_token_id": 0, "unk_token_id": 1, "bos_token_id": 2, "cls_token_id": 2,
          "eos_token_id": 3, "sep_token_id": 3, "mask_token_id": 1}  # fmt: skip
WEIGHT_SPREADS = {"initializer_range", "init_std", "embed_init_std", "initializer_factor"}
LAYER_KINDS = ("layer_types", "layers_block_type", "mlp_layer_types")

# By model type: sizes that depend on each other, and layers of each kind.
OVERRIDES: dict[str, dict[str, Any]] = {
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "canine": {"num_hash_buckets": 128},
    "cohere_compass_text": {
        "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0}},
    },
    "convbert": {"conv_kernel_size": 3},
    "esmc": {"num_key_value_heads": 4},
    "esm": {"pad_token_id": 0, "mask_token_id": 1},
    "funnel": {"block_sizes": [1, 1]},
    "gpt_neo": {
        "attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"],
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2},
    "layoutlm": {"max_2d_position_embeddings": 1024},
    "layoutlmv3": {"coordinate_size": 6, "shape_size": 4, "max_2d_position_embeddings": 1024},
    "lilt": {"max_2d_position_embeddings": 1024, "hidden_size": 48},
    "mpnet": {"pad_token_id": 1, "relative_attention_num_buckets": 32},
    "nystromformer": {"conv_kernel_size": 3},
    "perceiver": {"vocab_size": 262},
    "reformer": {
        "axial_pos_shape": (8, 8), "axial_pos_embds_dim": (16, 16), "attn_layers": ["local", "lsh"],
        "num_buckets": 4,
    },
    "squeezebert": {"embedding_size": 32},
    "t5": {"decoder_start_token_id": 0},
    "zamba": {
        "num_hidden_layers": 3, "layers_block_type": ["linear_attention", "hybrid", "hybrid"],
    },
    "zamba2": {"layers_block_type": ["linear_attention", "hybrid"], "n_mamba_heads": 8},
}  # fmt: skip


def find_classes() -> dict[str, tuple[type[PretrainedConfig], Any]]:
    """Return every class of classifiers of transformers with its configuration."""
    found = {
        model.__name__: (config, model)
        for config, model in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.items()
    }
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def tiny_config(config_class: type[PretrainedConfig], default: Any = None) -> Any:
    """Return a configuration with small sizes, also in the configurations inside it."""
    default = config_class() if default is None else default
    fields = getattr(config_class, "__dataclass_fields__", {})
    changes: dict[str, Any] = {}
    for name in fields:
        value = getattr(default, name, None)
        if isinstance(value, PretrainedConfig):
            changes[name] = tiny_config(type(value), value)
        elif name in SIZES:
            changes[name] = SIZES[name]
        elif name in TOKENS and value is not None:
            changes[name] = TOKENS[name]
        elif name in WEIGHT_SPREADS:
            changes[name] = SPREAD
    if "kv_lora_rank" in fields:  # one key per head, made from a shared projection
        changes["num_key_value_heads"] = SIZES["num_attention_heads"]
    changes |= _layers_of_each_kind(default, fields)
    return config_class(**changes | OVERRIDES.get(config_class.model_type, {}))


def _layers_of_each_kind(default: Any, fields: Any) -> dict[str, Any]:
    kinds = {
        name: list(dict.fromkeys(getattr(default, name, None) or ()))
        for name in LAYER_KINDS
        if name in fields
    }
    count = max(map(len, kinds.values()), default=0)
    if count < 2:
        return {}
    return {"num_hidden_layers": count} | {
        name: (values * count)[:count] for name, values in kinds.items() if values
    }


def save_encoder(class_name: str, folder: Path) -> None:
    """Write an encoder without a head, as a pretrained checkpoint is, and its tokenizer."""
    config_class, model_class = find_classes()[class_name]
    config = tiny_config(config_class)
    torch.manual_seed(0)
    try:
        model_class(config).base_model.save_pretrained(folder)
    except ImportError:  # loading must say which package is missing
        config.save_pretrained(folder)
        save_file({"none": torch.zeros(1)}, folder / "model.safetensors", {"format": "pt"})
    make_tokenizer(config_class, model_class).save_pretrained(folder)


def make_tokenizer(config_class: Any, model_class: Any) -> PreTrainedTokenizerBase:
    """Return the family's own tokenizer if it needs no files, else one of words."""
    own: Any = TOKENIZER_MAPPING.get(config_class, None)
    if getattr(own, "__name__", "") in WITHOUT_FILES:
        return own()
    accepted = set(signature(model_class.forward).parameters)
    if getattr(config_class(), "type_vocab_size", 0) < 2:
        accepted.discard("token_type_ids")
    names = ("input_ids", "token_type_ids", "attention_mask")
    return make_word_tokenizer(
        tuple(name for name in names if name in accepted),
        padding_side=_padding_side(own),
        adds_tokens=config_class not in MODEL_FOR_CAUSAL_LM_MAPPING
        or config_class in MODEL_FOR_MASKED_LM_MAPPING
        or config_class().is_encoder_decoder,
    )


def _padding_side(tokenizer_class: Any) -> str:
    try:
        return str(getattr(tokenizer_class, "padding_side", "right"))
    except ImportError:  # a stand-in for a class that needs another package
        return "right"


def bert_template() -> processors.TemplateProcessing:
    """Return the special tokens that BERT puts around one text or two."""
    return processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )


def make_word_tokenizer(
    inputs: tuple[str, ...], *, padding_side: str, adds_tokens: bool
) -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with a token for each word, without a limit of its own.

    Those of decoders add no token to a text. Some families read any tokenizer as byte-pair
    encoding.
    """
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        special_tokens=list(SPECIAL_TOKENS),
        vocab_size=SIZES["vocab_size"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([word for each in WORDS for word in (each, f" {each}")], trainer)
    if adds_tokens:
        inner.post_processor = bert_template()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
        padding_side=padding_side,
        model_input_names=list(inputs),
    )
