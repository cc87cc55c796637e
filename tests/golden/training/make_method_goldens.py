#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of methods that have no file of their own: 40 steps of loss and gradient norm.

Full training and frozen parameters with AdamW, SGD, and Muon over the matrices of a LoRA adapter.

usage: make_method_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0,
peft 0.21.2). Models, weights and documents are those of make_goldens.py, adapters those of
make_lora_goldens.py.
"""
import fnmatch
import json
import os
import sys

import peft
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", folder) for folder in ("model", "adapter")]
from make_goldens import load_model, model_configs
from make_lora_goldens import LINEAR, SCALES, accumulate, adapted, rounded

STEPS, BETAS, WEIGHT_DECAY, MAX_GRAD_NORM = 40, (0.9, 0.99), 0.1, 1.0
CASES = {
    "full_llama_tied": {"model": "llama_tied"},
    "full_qwen2": {"model": "qwen2"},
    "full_qwen3": {"model": "qwen3"},
    "full_olmo2": {"model": "olmo2"},
    "full_smollm3": {"model": "smollm3"},
    "frozen_embedding": {"model": "llama3_rope_bias", "freeze": ["model.embed_tokens.*"]},
    "frozen_lower": {"model": "llama3_rope_bias",
                     "freeze": ["model.embed_tokens.*", "model.layers.0.*"]},
    "frozen_key": {"model": "qwen3", "freeze": ["*.k_proj.*"]},
    "sgd": {"model": "qwen2", "learning_rate": 2e-2, "sgd": {"momentum": 0.9, "nesterov": False}},
    "sgd_lora": {"model": "qwen3", "learning_rate": 2e-2,
                 "sgd": {"momentum": 0.9, "nesterov": True},
                 "lora": {"r": 4, "lora_alpha": 8, "target_modules": LINEAR}},
    "muon_lora": {"model": "qwen3", "muon": "original", "learning_rate": 2e-3,
                  "lora": {"r": 4, "lora_alpha": 8, "target_modules": LINEAR}},
    "muon_lora_rms": {"model": "qwen2", "muon": "match_rms_adamw", "learning_rate": 2e-3,
                      "lora": {"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}},
}


def optimizer_of(trained, case):
    """torch.optim.Muon iterates in bf16; step() keeps it in fp32."""
    if "muon" in case:
        return torch.optim.Muon(list(trained.values()), lr=case["learning_rate"],
                                weight_decay=WEIGHT_DECAY, momentum=0.95, nesterov=True,
                                ns_steps=5, adjust_lr_fn=case["muon"])
    groups = [{"params": [p for p in trained.values() if p.dim() == 2],
               "weight_decay": WEIGHT_DECAY},
              {"params": [p for p in trained.values() if p.dim() < 2], "weight_decay": 0.0}]
    if "sgd" in case:
        return torch.optim.SGD(groups, lr=case["learning_rate"], **case["sgd"])
    return torch.optim.AdamW(groups, lr=case["learning_rate"], betas=BETAS, eps=1e-8)


def run(config_json, case):
    if "lora" in case:
        model, trained = adapted(config_json, case["lora"])
    else:
        model = load_model(config_json)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not any(fnmatch.fnmatchcase(name, pattern)
                                             for pattern in case["freeze"]))
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = optimizer_of(trained, case)
    to_bf16, losses, norms = torch.Tensor.bfloat16, [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses.append(accumulate(model))
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), MAX_GRAD_NORM).item())
        torch.Tensor.bfloat16 = lambda tensor: tensor.float().clone()
        optimizer.step()
        torch.Tensor.bfloat16 = to_bf16
    return {**case, "losses": rounded(losses), "grad_norms": rounded(norms)}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else HERE
    torch.set_num_threads(1)
    configs = model_configs()
    golden = {"torch": torch.__version__, "transformers": transformers.__version__,
              "peft": peft.__version__, "beta1": BETAS[0], "beta2": BETAS[1],
              "weight_decay": WEIGHT_DECAY, "max_grad_norm": MAX_GRAD_NORM, "scales": SCALES,
              "cases": {name: run(configs[case["model"]],
                                  {"learning_rate": 3e-4, "freeze": [], **case})
                        for name, case in CASES.items()}}
    with open(os.path.join(out, "methods.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main()
