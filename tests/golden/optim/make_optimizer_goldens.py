#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of the optimizers muon and adamw_8bit: muon.json and adamw_8bit.json.

They come from torch.optim.Muon and bitsandbytes.optim.AdamW8bit on the CPU.

usage: make_optimizer_goldens.py [OUT_DIR] [NAME...]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0)
and deploy/requirements/bitsandbytes.txt (bitsandbytes 0.50.2).

Weights, gradients and documents are those of make_goldens.py. "updates" are single updates with
made-up gradients; "training" is 40 steps over all documents with clipping, in fp32 and, as "bf16",
under torch.autocast with fp32 parameters.
"""
import base64
import json
import os
import sys

import bitsandbytes
import torch
import transformers

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import DOCUMENTS, TARGETS, load_model, weights

# Tensors above and below the 4,096 elements from which AdamW8bit quantizes, and sizes that are no
# multiples of its blocks of 256.
MODEL = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 163,
         "hidden_size": 48, "intermediate_size": 97, "num_hidden_layers": 2,
         "num_attention_heads": 3, "num_key_value_heads": 1, "head_dim": 16, "hidden_act": "silu",
         "max_position_embeddings": 256, "initializer_range": 0.02, "rms_norm_eps": 1e-5,
         "rope_theta": 10000.0, "tie_word_embeddings": False, "attention_bias": True,
         "bos_token_id": 0, "eos_token_id": 1}
VERSIONS = {"torch": torch.__version__, "transformers": transformers.__version__,
            "bitsandbytes": bitsandbytes.__version__}
GRADIENT_FACTOR = 0.25
MAX_GRAD_NORM = 1.0
TRAINING_STEPS = 40
# Faster training of so small a model amplifies differences in the last bit beyond 1e-4.
TRAINING_LEARNING_RATE = 3e-3

MUON = {"learning_rate": 0.01, "weight_decay": 0.1, "momentum": 0.95, "nesterov": True,
        "newton_schulz_steps": 5, "newton_schulz_precision": "fp32",
        "adjust_learning_rate": "original"}
MUON_ADAMW = {"learning_rate": 3e-4, "betas": [0.9, 0.95], "eps": 1e-10, "weight_decay": 0.05}
MUON_CASES = (
    {},
    {"newton_schulz_precision": "bf16"},
    {"nesterov": False, "adjust_learning_rate": "match_rms_adamw", "learning_rate": 0.005},
    {"momentum": 0.8, "newton_schulz_steps": 3},
    {"newton_schulz_precision": "bf16", "newton_schulz_steps": 8, "weight_decay": 0.0,
     "adjust_learning_rate": "match_rms_adamw", "learning_rate": 0.005},
    {"momentum": 0.0, "nesterov": False, "newton_schulz_steps": 1},
)
ADAMW_8BIT = {"learning_rate": 3e-4, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.1}


def is_block_matrix(name, parameter):
    return parameter.dim() == 2 and name.startswith("model.layers.")


def muon_optimizers(named, case):
    """Muon for the matrices of the blocks, AdamW for the rest; norms and biases do not decay.

    torch.optim.Muon orthogonalizes in bf16. For fp32 its conversion to bf16 is replaced by a copy.
    """
    muon = torch.optim.Muon(
        [p for n, p in named if is_block_matrix(n, p)], lr=case["learning_rate"],
        weight_decay=case["weight_decay"], momentum=case["momentum"], nesterov=case["nesterov"],
        ns_steps=case["newton_schulz_steps"], adjust_lr_fn=case["adjust_learning_rate"])
    rest = [p for n, p in named if not is_block_matrix(n, p)]
    adamw = torch.optim.AdamW(
        [{"params": [p for p in rest if p.dim() == 2], "weight_decay": MUON_ADAMW["weight_decay"]},
         {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0}],
        lr=MUON_ADAMW["learning_rate"], betas=MUON_ADAMW["betas"], eps=MUON_ADAMW["eps"])

    def step():
        original = torch.Tensor.bfloat16
        if case["newton_schulz_precision"] == "fp32":
            torch.Tensor.bfloat16 = lambda tensor: tensor.float().clone()
        muon.step()
        torch.Tensor.bfloat16 = original
        adamw.step()
    return muon, step


def adamw_8bit_optimizer(named):
    optimizer = bitsandbytes.optim.AdamW8bit(
        [{"params": [p for _, p in named if p.dim() == 2],
          "weight_decay": ADAMW_8BIT["weight_decay"]},
         {"params": [p for _, p in named if p.dim() < 2], "weight_decay": 0.0}],
        lr=ADAMW_8BIT["learning_rate"], betas=ADAMW_8BIT["betas"], eps=ADAMW_8BIT["eps"])
    return optimizer, optimizer.step


def update(model, step, updates, gradient):
    """The parameters after some updates: how far they moved, and their first elements."""
    named = list(model.named_parameters())
    before = {n: p.detach().clone() for n, p in named}
    for number in range(updates):
        for n, p in named:
            p.grad = gradient(weights(f"{n}.grad{number}", tuple(p.shape))) * GRADIENT_FACTOR
        step()
    return {n: {"change": (p.detach() - before[n]).double().norm().item(),
                "first": p.detach().flatten()[:6].tolist()} for n, p in named}


def training(model, step, precision):
    """Mean loss and gradient norm of each step."""
    losses, norms = [], []
    for _ in range(TRAINING_STEPS):
        model.zero_grad()
        total = 0.0
        for ids, labels in DOCUMENTS:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                out = model(input_ids=torch.tensor([ids])).logits[0]
            loss = torch.nn.functional.cross_entropy(
                out[:-1].float(), torch.tensor(labels[1:]), ignore_index=-100,
                reduction="sum") / TARGETS
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM).item())
        step()
    return {"losses": losses, "grad_norms": norms}


def muon_golden():
    cases = []
    for changes in MUON_CASES:
        case = {**MUON, **changes}
        model = load_model(MODEL)
        muon, step = muon_optimizers(list(model.named_parameters()), case)
        tensors = update(model, step, 3, lambda g: g)
        for n, p in model.named_parameters():
            if p in muon.state:
                tensors[n]["momentum"] = muon.state[p]["momentum_buffer"].flatten()[:6].tolist()
        cases.append({"muon": case, "updates": 3, "tensors": tensors})
    runs = {}
    for name, precision, schulz in (("fp32", "fp32", "fp32"), ("fp32_schulz_bf16", "fp32", "bf16"),
                                    ("bf16", "bf16", "bf16")):
        model = load_model(MODEL)
        case = {**MUON, "learning_rate": TRAINING_LEARNING_RATE, "newton_schulz_precision": schulz}
        _, step = muon_optimizers(list(model.named_parameters()), case)
        runs[name] = {"muon": case, **training(model, step, precision)}
    return {**VERSIONS, "model": MODEL, "gradient_factor": GRADIENT_FACTOR, "adamw": MUON_ADAMW,
            "cases": cases, "max_grad_norm": MAX_GRAD_NORM, "training": runs, **documents()}


def adamw_8bit_golden():
    """Gradients are cubed for updates, so that the elements of a block differ by magnitudes."""
    model = load_model(MODEL)
    optimizer, step = adamw_8bit_optimizer(list(model.named_parameters()))
    tensors = update(model, step, 5, lambda g: g ** 3)
    for n, p in model.named_parameters():
        state = optimizer.state[p]
        quantized = state["state1"].dtype == torch.uint8
        assert quantized == (p.numel() >= 4096)
        if n not in ("model.layers.0.mlp.gate_proj.weight", "lm_head.weight"): continue
        tensors[n]["state"] = {
            "exp_avg_8bit": base64.b64encode(state["state1"].numpy().tobytes()).decode(),
            "exp_avg_absmax": state["absmax1"].tolist(),
            "exp_avg_sq_8bit": base64.b64encode(state["state2"].numpy().tobytes()).decode(),
            "exp_avg_sq_absmax": state["absmax2"].tolist()}
    values = {name: optimizer.name2qmap[key].tolist()
              for name, key in (("signed", "dynamic"), ("unsigned", "udynamic"))}
    runs = {}
    for precision in ("fp32", "bf16"):
        model = load_model(MODEL)
        _, step = adamw_8bit_optimizer(list(model.named_parameters()))
        runs[precision] = training(model, step, precision)
    return {**VERSIONS, "model": MODEL, "gradient_factor": GRADIENT_FACTOR,
            "adamw_8bit": ADAMW_8BIT, "values": values, "updates": 5, "tensors": tensors,
            "max_grad_norm": MAX_GRAD_NORM, "training": runs, **documents()}


def documents():
    return {"documents": [{"ids": ids, "labels": labels} for ids, labels in DOCUMENTS],
            "targets": TARGETS}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    makers = {"muon": muon_golden, "adamw_8bit": adamw_8bit_golden}
    for name in sys.argv[2:] or makers:
        with open(os.path.join(out, name + ".json"), "w") as f:
            json.dump(makers[name](), f)
            f.write("\n")


if __name__ == "__main__":
    main()
