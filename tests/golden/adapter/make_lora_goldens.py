#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of LoRA: lora.json, from peft over the tiny models of make_goldens.py.

usage: make_lora_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0,
peft 0.21.2).

Element i of the adapter's tensor NAME is weights(NAME, shape)[i] × SCALES[kind of the tensor].
Documents run one by one, so the goldens hold for packed sequences and for others.
"""
import json
import os
import sys
import warnings

import peft
import torch
import transformers

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import DOCUMENTS, TARGETS, load_model, model_configs, weights

STEPS = 40
LEARNING_RATE = 2e-3
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0
# A starts as large as a new one, B at a size that matters.
SCALES = {"lora_A": 1.0, "lora_B": 0.25, "lora_embedding_A": 0.25, "lora_embedding_B": 1.0}
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# NAME → (model, keys of peft.LoraConfig).
CASES = {
    "all_linear": ("llama3_rope_bias", {"r": 4, "lora_alpha": 8, "target_modules": LINEAR}),
    "all_linear_qwen3": ("qwen3", {"r": 3, "lora_alpha": 10, "target_modules": LINEAR}),
    "query_value": ("qwen2", {"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}),
    "rslora": ("smollm3", {"r": 8, "lora_alpha": 4, "use_rslora": True,
                           "target_modules": LINEAR}),
    # Not the first of their joint matrices.
    "key_output_up": ("mistral_sliding", {"r": 4, "lora_alpha": 4,
                                          "target_modules": ["k_proj", "o_proj", "up_proj"]}),
    "post_norm": ("olmo2", {"r": 4, "lora_alpha": 8,
                            "target_modules": ["v_proj", "o_proj", "down_proj"]}),
    "upper_layer": ("qwen3", {"r": 4, "lora_alpha": 8,
                              "target_modules": ["layers.1.self_attn.k_proj",
                                                 "layers.1.mlp.gate_proj"]}),
    "head_and_embedding": ("llama3_rope_bias",
                           {"r": 4, "lora_alpha": 8, "target_modules":
                            ["q_proj", "down_proj", "lm_head", "embed_tokens"]}),
    "embedding_tied": ("llama_tied", {"r": 4, "lora_alpha": 8, "target_modules":
                                      ["embed_tokens", "q_proj"]}),
    "head_and_embedding_tied": ("llama_tied", {"r": 4, "lora_alpha": 8, "target_modules":
                                               ["embed_tokens", "lm_head", "up_proj"]}),
    "head_alone": ("llama3_rope_bias", {"r": 2, "lora_alpha": 2, "target_modules": ["lm_head"]}),
}


def rounded(values):
    """Nine digits: more than fp32 holds."""
    return [float(f"{value:.9g}") for value in values]


def file_name(name):
    """The name in adapter_model.safetensors."""
    return name.replace(".default", "")


def with_adapter(model, keys):
    """The peft model over `model` with its adapter's given weights, and these by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(model, peft.LoraConfig(lora_dropout=0.0, bias="none",
                                                           task_type="CAUSAL_LM", **keys))
    trained = {file_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for name, parameter in trained.items():
            kind = next(k for k in SCALES if f".{k}" in name)
            parameter.copy_(weights(name, tuple(parameter.shape)) * SCALES[kind])
    return model, trained


def adapted(config_json, keys):
    model, trained = with_adapter(load_model(config_json), keys)
    model.eval()
    return model, trained


def loss_of(model, ids, labels):
    out = model(input_ids=torch.tensor([ids])).logits[0].float()
    loss = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(labels[1:]),
                                             ignore_index=-100, reduction="sum") / TARGETS
    return out, loss


def accumulate(model, see=lambda logits: None):
    """Adds the gradients of a step, document by document. Returns its loss."""
    total = 0.0
    for ids, labels in DOCUMENTS:
        out, loss = loss_of(model, ids, labels)
        loss.backward()
        total += loss.item()
        see(out)
    return total


def case(config_json, keys):
    model, trained = adapted(config_json, keys)
    names = sorted(trained)
    before = {n: trained[n].detach().clone() for n in names}
    optimizer = torch.optim.AdamW(trained.values(), lr=LEARNING_RATE, betas=BETAS, eps=1e-8,
                                  weight_decay=WEIGHT_DECAY)
    losses, norms, logits, gradients = [], [], [], {}

    def see(out):
        if len(logits) < len(DOCUMENTS):
            logits.append({"last": rounded(out[-1].tolist()[:24]),
                           "row_sums": rounded(out.double().square().sum(1).tolist())})

    for step in range(STEPS):
        optimizer.zero_grad()
        losses.append(accumulate(model, see))
        if step == 0:
            gradients = {n: trained[n].grad.double().norm().item() for n in names}
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), MAX_GRAD_NORM).item())
        optimizer.step()
    tensors = {n: {"shape": list(trained[n].shape),
                   "gradient": float(f"{gradients[n]:.9g}"),
                   "change": float(f"{(trained[n].detach() - before[n]).double().norm():.9g}")}
               for n in names}
    return {"logits": logits, "losses": rounded(losses), "grad_norms": rounded(norms),
            "tensors": tensors}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else here
    torch.set_num_threads(1)
    configs = model_configs()
    golden = {"torch": torch.__version__, "transformers": transformers.__version__,
              "peft": peft.__version__, "learning_rate": LEARNING_RATE, "betas": BETAS,
              "eps": 1e-8, "weight_decay": WEIGHT_DECAY, "max_grad_norm": MAX_GRAD_NORM,
              "scales": SCALES, "cases": {}}
    for name, (model, keys) in CASES.items():
        golden["cases"][name] = {"model": model, **keys, **case(configs[model], keys)}
    with open(os.path.join(out, "lora.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
