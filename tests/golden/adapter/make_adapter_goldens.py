#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of PEFT folders: adapters.json, from peft over the tiny models of make_goldens.py.

usage: make_adapter_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0,
peft 0.21.2).

Each case holds the adapter_config.json that save_pretrained writes, name, shape and dtype of each
tensor in adapter_model.safetensors, and some merged weights. Element i of tensor NAME of an adapter
is weights(NAME, shape)[i].
"""
import json
import os
import sys
import tempfile
import warnings

import peft
import safetensors
import torch
import transformers

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import load_model, model_configs, weights

# NAME → (model, keys of peft.LoraConfig).
CASES = {
    "default": ("qwen3", {"target_modules": "all-linear"}),
    "names": ("llama3_rope_bias", {"r": 4, "lora_alpha": 12, "target_modules":
                                   ["q_proj", "mlp.down_proj"]}),
    "whole_names": ("qwen2", {"r": 2, "lora_alpha": 2.5, "target_modules":
                              ["model.layers.1.self_attn.k_proj", "up_proj"]}),
    "rslora": ("smollm3", {"r": 9, "use_rslora": True, "target_modules": ["o_proj", "v_proj"]}),
    "dropout": ("mistral_sliding", {"r": 3, "lora_dropout": 0.25, "target_modules": ["gate_proj"]}),
    "embedding_and_head": ("llama3_rope_bias", {"r": 4, "target_modules":
                                                ["embed_tokens", "lm_head", "k_proj"]}),
    "regular_expression": ("olmo2", {"r": 4, "target_modules":
                                     r"model\.layers\.\d+\.(self_attn\.[qv]|mlp\.up)_proj"}),
    "excluded": ("qwen2", {"r": 4, "target_modules": ["q_proj", "k_proj", "up_proj"],
                           "exclude_modules": ["layers.0.self_attn.k_proj", "up_proj"]}),
    "one_layer": ("qwen3", {"r": 4, "target_modules": ["q_proj", "model.layers.0.mlp.up_proj"],
                            "layers_to_transform": [1]}),
    "one_layer_by_pattern": ("smollm3", {"r": 4, "target_modules": ["down_proj"],
                                         "layers_to_transform": 2, "layers_pattern": "layers"}),
    "gaussian": ("llama_tied", {"r": 5, "init_lora_weights": "gaussian",
                                "target_modules": ["v_proj"]}),
    "embedding_and_head_tied": ("llama_tied", {"r": 4, "target_modules":
                                               ["embed_tokens", "lm_head"]}),
}


def rounded(values):
    """Nine digits: more than fp32 holds."""
    return [float(f"{value:.9g}") for value in values]


def adapted(config_json, keys):
    """The peft model with its adapter's given weights."""
    model = peft.get_peft_model(load_model(config_json),
                                peft.LoraConfig(task_type="CAUSAL_LM", **keys))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(weights(name.replace(".default", ""), tuple(parameter.shape)))
    return model.eval()


def merged_weights(model, tied):
    """Norm and first values of each merged weight that differs from the model's."""
    if tied:
        return {}
    before = {n.replace(".base_layer", "").removeprefix("base_model.model."): p.detach().clone()
              for n, p in model.named_parameters() if ".lora_" not in n}
    merged = model.merge_and_unload()
    return {n: {"norm": float(f"{p.double().norm():.9g}"),
                "first": rounded(p.detach().flatten()[:4].tolist())}
            for n, p in merged.named_parameters() if not torch.equal(p, before[n])}


def case(config_json, keys):
    model = adapted(config_json, keys)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        with open(os.path.join(folder, "adapter_config.json")) as f:
            config = json.load(f)
        tensors = {}
        with safetensors.safe_open(os.path.join(folder, "adapter_model.safetensors"), "pt") as file:
            for name in sorted(file.keys()):
                tensors[name] = list(file.get_slice(name).get_shape())
                assert file.get_slice(name).get_dtype() == "F32", name
    # Both are sets in peft.
    for key in ("target_modules", "exclude_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    tied = config_json.get("tie_word_embeddings") and any("embed" in n or "lm_head" in n
                                                          for n in tensors)
    return {"config": config, "tensors": tensors, "merged": merged_weights(model, tied)}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else here
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    configs = model_configs()
    golden = {"torch": torch.__version__, "transformers": transformers.__version__,
              "peft": peft.__version__,
              "cases": {name: {"model": model, **case(configs[model], keys)}
                        for name, (model, keys) in CASES.items()}}
    with open(os.path.join(out, "adapters.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
