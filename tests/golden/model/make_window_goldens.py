#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of sliding windows: what the layers of transformers attend to, by the keys of config.json.

usage: make_window_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0).

The window of a layer is measured: the number of positions to which the last of 12 tokens gives any
attention; 0 stands for all of them. An "error" is a configuration that transformers refuses.
"""
import json
import os
import sys
import tempfile

import torch
from transformers import AutoConfig, AutoModelForCausalLM

TOKENS = 12
SIZES = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3,
         "num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8,
         "max_position_embeddings": 64, "pad_token_id": None, "bos_token_id": None,
         "eos_token_id": None}
NAMES = {"gemma2": "Gemma2ForCausalLM", "gemma3_text": "Gemma3ForCausalLM",
         "granite": "GraniteForCausalLM", "llama": "LlamaForCausalLM",
         "mistral": "MistralForCausalLM", "olmo2": "Olmo2ForCausalLM", "phi3": "Phi3ForCausalLM",
         "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM", "smollm3": "SmolLM3ForCausalLM"}
FULL, SLIDING = "full_attention", "sliding_attention"
VARIANTS = [
    {},
    {"sliding_window": 4},
    {"sliding_window": None},
    {"use_sliding_window": True},
    {"use_sliding_window": True, "sliding_window": 4},
    {"use_sliding_window": True, "sliding_window": None},
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0},
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 2},
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 28},
    {"use_sliding_window": False, "sliding_window": 4, "max_window_layers": 0},
    {"use_sliding_window": True, "sliding_window": 4, "layer_types": [SLIDING, FULL, SLIDING]},
    {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 0,
     "layer_types": [FULL, FULL, SLIDING]},
    {"use_sliding_window": False, "sliding_window": 4, "layer_types": [SLIDING, FULL, FULL]},
    {"use_sliding_window": False, "sliding_window": 4, "layer_types": [FULL, FULL, FULL]},
    {"sliding_window": 4, "layer_types": [FULL, FULL, FULL]},
    {"use_sliding_window": True, "sliding_window": 4, "layer_types": [SLIDING, FULL]},
    {"use_sliding_window": True, "sliding_window": None, "layer_types": [SLIDING, FULL, FULL]},
    {"sliding_window": 4, "sliding_window_pattern": 2},
    {"sliding_window": 4, "sliding_window_pattern": 3},
]


def windows(config):
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder),
                                                 attn_implementation="eager")
    attentions = model.eval()(torch.arange(TOKENS)[None], output_attentions=True,
                              use_cache=False).attentions
    counts = [int((layer[0, 0, -1] > 0).sum()) for layer in attentions]
    return [0 if count == TOKENS else count for count in counts]


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    cases = []
    for model_type, architecture in NAMES.items():
        for variant in VARIANTS:
            config = {"model_type": model_type, "architectures": [architecture], **SIZES}
            if model_type == "olmo2":
                config.pop("head_dim")
            case = {"config": {**config, **variant}}
            try:
                case["windows"] = windows(case["config"])
            except Exception as error:  # pylint: disable=broad-except
                print(f"{model_type} {variant}: {type(error).__name__}", file=sys.stderr)
                case["error"] = True
            cases.append(case)
    with open(os.path.join(out, "windows.json"), "w") as file:
        file.write('{"cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]}\n")


if __name__ == "__main__":
    main()
