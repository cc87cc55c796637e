#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a Llama-architecture GGUF file with a byte-level BPE vocabulary as a Hugging Face model folder.

    gguf_to_hf.py MODEL.gguf OUTPUT_FOLDER

Weights are dequantised and stored in bfloat16. GGUF keeps the rows of q_proj and k_proj in the order of interleaved
rotary pairs; they are put back into the halves order that transformers uses. Everything comes from the GGUF file itself;
what it does not say (Digits + ByteLevel pre-tokenizer of the "smollm" type) is the published SmolLM2 tokenizer's setting.
Source: GGUF specification; Hugging Face Llama weight names.
"""
import json
import os
import shutil
import sys

import numpy as np
from gguf import GGUFReader
from gguf.quants import dequantize

NAMES = {
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def hf_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    if name == "output.weight":
        return "lm_head.weight"
    _, layer, part, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[part]}.weight"


def unpermute(weight, heads):
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).swapaxes(1, 2).reshape(rows, columns)


def to_bf16_bytes(array):
    """Round to nearest even, as torch does."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return rounded.astype("<u2").tobytes()


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name in sorted(tensors):
        size = tensors[name].size * 2
        header[name] = {"dtype": "BF16", "shape": list(tensors[name].shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in sorted(tensors):
            file.write(to_bf16_bytes(tensors[name]))
        file.flush()
        os.fsync(file.fileno())


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
        file.write("\n")


def main():
    source, output = sys.argv[1:3]
    reader = GGUFReader(source)
    field = {key: value.contents() for key, value in reader.fields.items() if not key.startswith("GGUF.")}
    if field["general.architecture"] != "llama" or field["tokenizer.ggml.model"] != "gpt2":
        sys.exit(f"{source}: architecture {field['general.architecture']} with tokenizer {field['tokenizer.ggml.model']} is not supported: only llama with gpt2")
    heads, kv_heads = field["llama.attention.head_count"], field["llama.attention.head_count_kv"]

    tensors = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).reshape(tuple(reversed([int(n) for n in tensor.shape])))
        if ".attn_q." in tensor.name:
            weight = unpermute(weight, heads)
        elif ".attn_k." in tensor.name:
            weight = unpermute(weight, kv_heads)
        tensors[hf_name(tensor.name)] = weight
    tied = "lm_head.weight" not in tensors

    temporary = output + ".tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    os.makedirs(temporary)
    write_safetensors(os.path.join(temporary, "model.safetensors"), tensors)

    tokens, types = field["tokenizer.ggml.tokens"], field["tokenizer.ggml.token_type"]
    special = lambda index: index is not None and tokens[index]
    bos, eos = field.get("tokenizer.ggml.bos_token_id"), field.get("tokenizer.ggml.eos_token_id")
    pad, unknown = field.get("tokenizer.ggml.padding_token_id"), field.get("tokenizer.ggml.unknown_token_id")
    write_json(os.path.join(temporary, "config.json"), {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": pad,
        "head_dim": field["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "hidden_size": field["llama.embedding_length"],
        "initializer_range": 0.02,
        "intermediate_size": field["llama.feed_forward_length"],
        "max_position_embeddings": field["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": field["llama.block_count"],
        "num_key_value_heads": kv_heads,
        "rms_norm_eps": float(np.format_float_positional(np.float32(field["llama.attention.layer_norm_rms_epsilon"]))),
        "rope_scaling": None,
        "rope_theta": float(field["llama.rope.freq_base"]),
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "vocab_size": len(tokens),
    })
    write_json(os.path.join(temporary, "generation_config.json"), {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad})
    control = 3  # GGUF token type
    write_json(os.path.join(temporary, "tokenizer.json"), {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": index, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
            for index, (token, kind) in enumerate(zip(tokens, types)) if kind == control
        ],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        ]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: index for index, token in enumerate(tokens)},
            "merges": field["tokenizer.ggml.merges"],
        },
    })
    write_json(os.path.join(temporary, "tokenizer_config.json"), {
        "add_prefix_space": False,
        "bos_token": special(bos),
        "chat_template": field["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": special(eos),
        "model_max_length": field["llama.context_length"],
        "pad_token": special(pad),
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": special(unknown),
    })
    shutil.rmtree(output, ignore_errors=True)
    os.rename(temporary, output)
    print(f"{output}: {len(tensors)} tensors, {sum(t.size for t in tensors.values()):,} parameters")


if __name__ == "__main__":
    main()
