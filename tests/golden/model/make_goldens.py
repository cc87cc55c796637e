#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of the decoder, frozen parameters, AdamW, SGD and the learning-rate schedules from the reference implementations.

usage: make_goldens.py [OUT_DIR]        (virtual environment of tests/requirements-peers.txt: torch 2.11.0, transformers 5.23.0)

Weights are not stored: weight i of tensor NAME is an exact function of (NAME, i), see weights() here and tests/engine/model/golden_model.h.
Documents are run one by one, so the goldens hold what a packed row must give when its documents are isolated.
"""
import fnmatch
import json
import os
import sys

import numpy as np
import torch
import transformers
from transformers import (LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM,
                          Qwen3Config, Qwen3ForCausalLM, get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup,
                          get_linear_schedule_with_warmup)

COMMON = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              max_position_embeddings=256, bos_token_id=0, eos_token_id=1)
MODELS = {
    "llama_tied": (LlamaForCausalLM, LlamaConfig(**COMMON, tie_word_embeddings=True, rms_norm_eps=1e-5, rope_theta=10000.0)),
    "llama3_rope_bias": (LlamaForCausalLM, LlamaConfig(
        **COMMON, tie_word_embeddings=False, attention_bias=True, mlp_bias=True,
        rope_parameters={"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                         "original_max_position_embeddings": 32})),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**COMMON, tie_word_embeddings=True, rope_theta=1000000.0)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**COMMON, tie_word_embeddings=True, head_dim=16, rope_theta=1000000.0)),
    "mistral_sliding": (MistralForCausalLM, MistralConfig(**COMMON, tie_word_embeddings=False, sliding_window=7)),
}


def hash32(x):
    """Finaliser of MurmurHash3 on uint32 arrays."""
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x


def weights(name, shape):
    """Exact in fp32: multiples of 2^-20. Matrices around 0, norms around 1."""
    key = np.uint32(0)
    for byte in name.encode():
        key = np.uint32((int(key) * 31 + byte) & 0xFFFFFFFF)
    h = hash32(np.arange(int(np.prod(shape)), dtype=np.uint32) + key)
    unit = ((h >> np.uint32(12)).astype(np.float64) - 2.0**19) / 2.0**20       # [-0.5, 0.5)
    values = 1.0 + 0.5 * unit if "norm" in name else 0.5 * unit
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def document(seed, length):
    ids = (hash32(np.arange(length, dtype=np.uint32) + np.uint32(1000 * seed)) % np.uint32(97)).astype(int).tolist()
    labels = [i if t >= length // 3 else -100 for t, i in enumerate(ids)]
    return ids, labels


DOCUMENTS = [document(1, 23), document(2, 5), document(3, 41)]


def decoder_golden(name):
    cls, config = MODELS[name]
    config._attn_implementation = "eager"
    model = cls(config).to(torch.float32).eval()
    with torch.no_grad():
        for n, p in model.named_parameters():
            p.copy_(weights(n, tuple(p.shape)))
    targets = sum(sum(y != -100 for y in labels[1:]) for _, labels in DOCUMENTS)
    total, logits = 0.0, []
    for ids, labels in DOCUMENTS:
        out = model(input_ids=torch.tensor([ids])).logits[0]
        loss = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(labels[1:]), ignore_index=-100, reduction="sum")
        (loss / targets).backward()
        total += loss.item()
        logits.append({"last": out[-1].tolist(), "row_sums": out.double().square().sum(1).tolist()})
    gradients = {n: {"norm": p.grad.double().norm().item(), "first": p.grad.flatten()[:4].tolist()} for n, p in model.named_parameters()}
    prompt = DOCUMENTS[0][0][:6]
    generated = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, 6, dtype=torch.long), do_sample=False, max_new_tokens=12,
                               eos_token_id=None, pad_token_id=0)[0, 6:].tolist()
    config_json = json.loads(config.to_json_string(use_diff=False))
    config_json["architectures"] = [cls.__name__]
    keep = set(COMMON) | {"architectures", "model_type", "head_dim", "hidden_act", "rms_norm_eps", "rope_parameters", "attention_bias", "mlp_bias",
                          "tie_word_embeddings", "use_sliding_window", "sliding_window", "layer_types", "dtype", "initializer_range"}
    return {"config": {k: v for k, v in config_json.items() if k in keep}, "documents": [{"ids": i, "labels": l} for i, l in DOCUMENTS],
            "targets": targets, "loss_sum": total, "logits": logits, "gradients": gradients, "prompt": prompt, "generated": generated}


def adamw_golden():
    """Three steps of torch.optim.AdamW on two tensors, one without decay; gradients by the same exact function, scaled by the clip factor."""
    shapes = {"matrix": (7, 5), "norm": (6,)}
    params = {n: torch.nn.Parameter(weights(n, s).clone()) for n, s in shapes.items()}
    optimizer = torch.optim.AdamW([{"params": [params["matrix"]], "weight_decay": 0.1}, {"params": [params["norm"]], "weight_decay": 0.0}],
                                  lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
    steps = []
    for step in range(3):
        for n, p in params.items():
            p.grad = weights(f"{n}.grad{step}", shapes[n]) * 0.25
        optimizer.step()
        steps.append({n: p.detach().flatten().tolist() for n, p in params.items()})
    state = {n: {k: optimizer.state[p][k].flatten().tolist() for k in ("exp_avg", "exp_avg_sq")} for n, p in params.items()}
    return {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1, "gradient_factor": 0.25, "steps": steps, "state": state}


SGD_CASES = ({"momentum": 0.0, "nesterov": False}, {"momentum": 0.9, "nesterov": False}, {"momentum": 0.9, "nesterov": True})


def sgd_golden():
    """Three steps of torch.optim.SGD per case; tensors, decay and gradients as in adamw_golden."""
    shapes = {"matrix": (7, 5), "norm": (6,)}
    cases = []
    for case in SGD_CASES:
        params = {n: torch.nn.Parameter(weights(n, s).clone()) for n, s in shapes.items()}
        optimizer = torch.optim.SGD([{"params": [params["matrix"]], "weight_decay": 0.1}, {"params": [params["norm"]], "weight_decay": 0.0}],
                                    lr=1e-2, **case)
        steps = []
        for step in range(3):
            for n, p in params.items():
                p.grad = weights(f"{n}.grad{step}", shapes[n]) * 0.25
            optimizer.step()
            steps.append({n: p.detach().flatten().tolist() for n, p in params.items()})
        state = {n: optimizer.state[p]["momentum_buffer"].flatten().tolist() for n, p in params.items()} if case["momentum"] else {}
        cases.append({**case, "steps": steps, "momentum_buffer": state})
    return {"torch": torch.__version__, "learning_rate": 1e-2, "weight_decay": 0.1, "gradient_factor": 0.25, "cases": cases}


# Model and the patterns of train.freeze.
FREEZE_CASES = {
    "embedding_tied": ("qwen3", ["model.embed_tokens.*"]),
    "embedding": ("llama3_rope_bias", ["model.embed_tokens.*"]),
    "lower_layers": ("mistral_sliding", ["model.embed_tokens.*", "model.layers.0.*"]),
    "k_proj": ("qwen2", ["model.layers.0.self_attn.k_proj.weight", "model.layers.1.self_attn.k_proj.*"]),
    "matrices_of_groups": ("llama_tied", ["*.gate_proj.weight", "*.q_proj.weight", "*norm.weight"]),
    "all_but_head": ("llama3_rope_bias", ["model.*"]),
    "all_but_q_norm": ("qwen3", ["*proj.weight", "*layernorm.weight", "model.norm.weight", "model.embed_tokens.weight", "*k_norm.weight"]),
}
FREEZE_STEPS = 10


def freeze_golden():
    """Ten steps of AdamW with clipping over all documents, frozen parameters with requires_grad_(False). Matrices and embeddings decay."""
    cases = {}
    for name, (model_name, patterns) in FREEZE_CASES.items():
        cls, config = MODELS[model_name]
        config._attn_implementation = "eager"
        model = cls(config).to(torch.float32).eval()
        with torch.no_grad():
            for n, p in model.named_parameters():
                p.copy_(weights(n, tuple(p.shape)))
        for n, p in model.named_parameters():
            p.requires_grad_(not any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns))
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        before = {n: p.detach().clone() for n, p in trained.items()}
        optimizer = torch.optim.AdamW([{"params": [p for p in trained.values() if p.dim() == 2], "weight_decay": 0.1},
                                       {"params": [p for p in trained.values() if p.dim() < 2], "weight_decay": 0.0}],
                                      lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
        targets = sum(sum(y != -100 for y in labels[1:]) for _, labels in DOCUMENTS)
        losses, norms = [], []
        for _ in range(FREEZE_STEPS):
            optimizer.zero_grad()
            total = 0.0
            for ids, labels in DOCUMENTS:
                out = model(input_ids=torch.tensor([ids])).logits[0]
                loss = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(labels[1:]), ignore_index=-100, reduction="sum") / targets
                loss.backward()
                total += loss.item()
            losses.append(total)
            norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0).item())
            optimizer.step()
        changes = {n: {"change": (p.detach() - before[n]).double().norm().item(), "first": p.detach().flatten()[:8].tolist()}
                   for n, p in trained.items()}
        cases[name] = {"model": model_name, "freeze": patterns, "losses": losses, "grad_norms": norms, "trained": changes}
    return {"torch": torch.__version__, "transformers": transformers.__version__, "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.99,
            "eps": 1e-8, "weight_decay": 0.1, "max_grad_norm": 1.0, "cases": cases}


def schedule_golden():
    makers = {"constant": lambda o, w, n: get_constant_schedule_with_warmup(o, w), "linear": get_linear_schedule_with_warmup,
              "cosine": get_cosine_schedule_with_warmup}
    cases = []
    for kind, make in makers.items():
        for warmup, total in ((0, 10), (3, 10), (10, 10), (1, 1), (15, 10)):
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2e-4)
            schedule = make(optimizer, warmup, total)
            rates = []
            for _ in range(total):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            cases.append({"type": kind, "warmup_steps": warmup, "total_steps": total, "peak": 2e-4, "rates": rates})
    return cases


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    goldens = {name: decoder_golden(name) for name in MODELS}
    goldens["adamw"], goldens["sgd"], goldens["freeze"], goldens["schedules"] = adamw_golden(), sgd_golden(), freeze_golden(), schedule_golden()
    for name, golden in goldens.items():
        with open(os.path.join(out, name + ".json"), "w") as f:
            json.dump(golden, f)
            f.write("\n")


if __name__ == "__main__":
    main()
