#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of exported models: names and bytes of every tensor, as PyPI gguf makes them.

usage: make_gguf_model_goldens.py [OUT_FILE]     default: gguf_models.json beside this script

Needs torch, transformers and gguf: the environment of tests/requirements-peers.txt.

The models are those of tests/golden/model, with weights that are a function of name and index
(weights() there), changed where llama.cpp computes no other value. A hash is the first 16 digits of
SHA-256 of a tensor's bytes. Rows of query and key are in llama.cpp's order, the norms of Gemma have
the 1 that transformers adds, and the experts of a layer are stacked. Of vision-language models only
the language model is exported.
"""
import hashlib
import importlib.metadata
import json
import pathlib
import re
import sys

import gguf
import numpy as np
import transformers
from gguf import GGMLQuantizationType as Type
from gguf.quants import quantize

FOLDER = pathlib.Path(__file__).parent
sys.path.insert(0, str(FOLDER.parent / "model"))
import make_goldens  # noqa: E402

ARCH = gguf.MODEL_ARCH
# Golden of tests/golden/model: architecture, interleaved RoPE, changes of config.json.
MODELS = {
    "llama_tied": (ARCH.LLAMA, True, {}),
    "llama3_rope_bias": (ARCH.LLAMA, True, {}),
    "mistral_sliding": (ARCH.LLAMA, True, {}),
    "qwen2": (ARCH.QWEN2, False, {}),
    "qwen3": (ARCH.QWEN3, False, {}),
    "qwen2_5_vl": (ARCH.QWEN2VL, False, {}),
    "qwen3_moe": (ARCH.QWEN3MOE, False, {"mlp_only_layers": [], "attention_bias": False}),
    "qwen3_vl": (ARCH.QWEN3VL, False, {}),
    "gemma": (ARCH.GEMMA, False, {}),
    "gemma2": (ARCH.GEMMA2, False, {"query_pre_attn_scalar": 16}),
    "gemma3": (ARCH.GEMMA3, False, {"query_pre_attn_scalar": 16}),
    "phi3": (ARCH.PHI3, False, {}),
    "phi4_mini": (ARCH.PHI3, False, {}),
    "granite": (ARCH.GRANITE, True, {}),
    "olmo2": (ARCH.OLMO2, False, {}),
    "smollm3": (ARCH.SMOLLM3, True, {"no_rope_layer_interval": 4}),
}


def interleave(rows, heads):
    """The two halves of each head become neighbors."""
    shape = rows.shape
    return rows.reshape(heads, 2, shape[0] // heads // 2, *shape[1:]).swapaxes(1, 2).reshape(shape)


def stacked(parameters):
    """(name in transformers, values) of each parameter, those of all experts of a layer as one."""
    experts = {}
    for name, parameter in parameters:
        for file_name, part in make_goldens.in_files(name, parameter):
            values = make_goldens.weights(file_name, tuple(part.shape)).numpy()
            if file_name == name: yield name, values
            else: experts.setdefault(re.sub(r"experts\.\d+", "experts", file_name), []).append(values)
    for name, values in experts.items(): yield name, np.stack(values)


def tensors_of(config, interleaved):
    """(name in transformers, values) of each weight of the language model."""
    with __import__("torch").device("meta"):
        cls = getattr(transformers, config["architectures"][0])
        values = {k: v for k, v in config.items() if k not in ("architectures", "model_type")}
        model = cls(cls.config_class(**values))
    for name, values in stacked(make_goldens.text_parameters(model).items()):
        if interleaved and ".q_proj." in name:
            values = interleave(values, config["num_attention_heads"])
        if interleaved and ".k_proj." in name:
            values = interleave(values, config["num_key_value_heads"])
        if config["model_type"].startswith("gemma") and name.endswith("norm.weight"):
            values = values + np.float32(1)
        yield name, np.ascontiguousarray(values)


def hash_of(name, values, type_):
    if values.ndim == 1 or "ffn_gate_inp" in name:
        type_ = Type.F32
    elif type_ == Type.Q8_0 and values.shape[-1] % 32 != 0:
        type_ = Type.BF16
    data = quantize(values, type_).tobytes()
    return [type_.name, hashlib.sha256(data).hexdigest()[:16]]


def golden_of(name):
    arch, interleaved, changes = MODELS[name]
    model = json.loads((FOLDER.parent / "model" / f"{name}.json").read_text())
    config = model["config"] | changes
    names = gguf.get_tensor_name_map(arch, config.get("text_config", config)["num_hidden_layers"])
    tensors = {}
    for hf_name, values in tensors_of(config, interleaved):
        gguf_name = names.get_name(hf_name.replace("model.language_model.", "model."), try_suffixes=(".weight", ".bias"))
        assert gguf_name, f"{name}: gguf has no name for {hf_name}"
        tensors[gguf_name] = [hash_of(gguf_name, values, type_) for type_ in (Type.F32, Type.BF16, Type.Q8_0)]
    return {"config": config, **({"vision": model["vision"]} if "vision" in model else {}), "architecture": gguf.MODEL_ARCH_NAMES[arch], "tensors": tensors}


def main():
    out = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER / "gguf_models.json"
    versions = {name: importlib.metadata.version(name) for name in ("gguf", "numpy", "transformers")}
    models = {name: golden_of(name) for name in MODELS}
    lines = [f' {json.dumps(name)}: {json.dumps(models[name])}' for name in models]
    out.write_text('{"made_with": ' + json.dumps(versions) + ',\n"models": {\n' + ",\n".join(lines) + "\n}}\n")


if __name__ == "__main__":
    main()
