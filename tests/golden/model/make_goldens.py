#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of the decoder, frozen parameters, the optimizers and the learning-rate schedules.

They come from the reference implementations, torch and transformers.

usage: make_goldens.py [OUT_DIR] [FOLDER/NAME...]

OUT_DIR has the folders model, optim and training; it is tests/golden unless given.

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0).

A file NAME.json in this folder with a "config" (a config.json of transformers) is a tiny model: the
script keeps the config and computes everything else. To add a model, write a file that holds only
its config.

Weights are not stored: weight i of tensor NAME is an exact function of (NAME, i), see weights()
here and tests/engine/model/golden_model.h. Documents are run one by one, so the goldens hold what
a packed sequence must give if its documents are isolated.
"""
import fnmatch
import glob
import json
import os
import sys

import numpy as np
import torch
import transformers
from transformers import (get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup,
                          get_cosine_with_min_lr_schedule_with_warmup, get_inverse_sqrt_schedule,
                          get_linear_schedule_with_warmup,
                          get_polynomial_decay_schedule_with_warmup, get_wsd_schedule)

from transformers.models.qwen3_moe.modeling_qwen3_moe import load_balancing_loss_func

TRAINING_STEPS = 40
# Small enough that 40 steps do not multiply differences in the last bit.
TRAINING_LEARNING_RATE = 0.005
SMALLER_LEARNING_RATE = {"gemma": 0.001, "gemma3_text": 0.001}


def hash32(x):
    """Finalizer of MurmurHash3 on uint32 arrays."""
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
    # Far from ties, so that rounding to bf16 seldom chooses another expert.
    if ".mlp.gate." in name: values = 4.0 * values
    return torch.from_numpy(values.astype(np.float32)).reshape(shape)


def document(seed, length):
    hashes = hash32(np.arange(length, dtype=np.uint32) + np.uint32(1000 * seed))
    ids = (hashes % np.uint32(97)).astype(int).tolist()
    labels = [i if t >= length // 3 else -100 for t, i in enumerate(ids)]
    return ids, labels


DOCUMENTS = [document(1, 23), document(2, 5), document(3, 41)]
TARGETS = sum(sum(y != -100 for y in labels[1:]) for _, labels in DOCUMENTS)


def load_model(config_json):
    cls = getattr(transformers, config_json["architectures"][0])
    values = {k: v for k, v in config_json.items() if k not in ("architectures", "model_type")}
    config = cls.config_class(**values)
    config._attn_implementation = "eager"
    model = cls(config).to(torch.float32).eval()
    with torch.no_grad():
        for n, p in text_parameters(model).items():
            for file_name, part in in_files(n, p):
                part.copy_(weights(file_name, tuple(part.shape)))
    return model


def in_files(name, tensor):
    """(name in files, part) of a parameter: files have a matrix per expert."""
    if name.endswith("experts.gate_up_proj"):
        parts = []
        for e, expert in enumerate(tensor):
            gate, up = expert.chunk(2)
            owner = name[:-len("gate_up_proj")] + str(e)
            parts += [(f"{owner}.gate_proj.weight", gate), (f"{owner}.up_proj.weight", up)]
        return parts
    if name.endswith("experts.down_proj"):
        owner = name[:-len("down_proj")]
        return [(f"{owner}{e}.down_proj.weight", expert) for e, expert in enumerate(tensor)]
    return [(name, tensor)]


def text_parameters(model):
    """All but the vision part."""
    return {n: p for n, p in model.named_parameters() if not n.startswith("model.visual.")}


def forward_backward(model):
    """Sum of the losses and the logits of each document; gradients of the mean loss."""
    total, logits, routers = 0.0, [], []
    for ids, labels in DOCUMENTS:
        output = model(input_ids=torch.tensor([ids]))
        out = output.logits[0]
        loss = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(labels[1:]),
                                                 ignore_index=-100, reduction="sum")
        (loss / TARGETS).backward(retain_graph=True)
        total += loss.item()
        logits.append({"last": out[-1].tolist(),
                       "row_sums": out.double().square().sum(1).tolist()})
        routers.append(getattr(output, "router_logits", None) or ())
    if not any(routers): return total, logits
    # Over all documents, as they are one row of tokens.
    config = model.config
    balance = config.router_aux_loss_coef * load_balancing_loss_func(
        tuple(torch.cat(layer) for layer in zip(*routers)), config.num_experts,
        config.num_experts_per_tok)
    balance.backward()
    return total + balance.item() * TARGETS, logits


def training_losses(model, learning_rate):
    """Mean loss before each step of plain SGD."""
    losses = []
    optimizer = torch.optim.SGD(text_parameters(model).values(), lr=learning_rate)
    for _ in range(TRAINING_STEPS):
        optimizer.zero_grad()
        losses.append(forward_backward(model)[0] / TARGETS)
        optimizer.step()
    return losses


def decoder_golden(config_json):
    model = load_model(config_json)
    total, logits = forward_backward(model)
    gradients = {n: {"norm": g.double().norm().item(), "first": g.flatten()[:4].tolist()}
                 for name, p in text_parameters(model).items() for n, g in in_files(name, p.grad)}
    vision = {n: list(p.shape) for n, p in model.named_parameters()
              if n.startswith("model.visual.")}
    rate = SMALLER_LEARNING_RATE.get(config_json["model_type"], TRAINING_LEARNING_RATE)
    prompt = DOCUMENTS[0][0][:6]
    mask = torch.ones(1, 6, dtype=torch.long)
    generated = model.generate(torch.tensor([prompt]), attention_mask=mask, do_sample=False,
                               max_new_tokens=12, eos_token_id=None, pad_token_id=0)
    return {"config": config_json, **({"vision": vision} if vision else {}),
            "documents": [{"ids": i, "labels": l} for i, l in DOCUMENTS],
            "targets": TARGETS, "loss_sum": total, "logits": logits, "gradients": gradients,
            "prompt": prompt, "generated": generated[0, 6:].tolist(),
            "training": {"learning_rate": rate, "losses": training_losses(model, rate)}}


def adamw_golden():
    """Three steps of torch.optim.AdamW on two tensors, one without decay.

    The gradients come from the same exact function, scaled by the clip factor.
    """
    shapes = {"matrix": (7, 5), "norm": (6,)}
    params = {n: torch.nn.Parameter(weights(n, s).clone()) for n, s in shapes.items()}
    optimizer = torch.optim.AdamW([{"params": [params["matrix"]], "weight_decay": 0.1},
                                   {"params": [params["norm"]], "weight_decay": 0.0}],
                                  lr=1e-2, betas=(0.9, 0.99), eps=1e-8)
    steps = []
    for step in range(3):
        for n, p in params.items():
            p.grad = weights(f"{n}.grad{step}", shapes[n]) * 0.25
        optimizer.step()
        steps.append({n: p.detach().flatten().tolist() for n, p in params.items()})
    state = {n: {k: optimizer.state[p][k].flatten().tolist() for k in ("exp_avg", "exp_avg_sq")}
             for n, p in params.items()}
    return {"learning_rate": 1e-2, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1,
            "gradient_factor": 0.25, "steps": steps, "state": state}


SGD_CASES = ({"momentum": 0.0, "nesterov": False}, {"momentum": 0.9, "nesterov": False},
             {"momentum": 0.9, "nesterov": True})


def sgd_golden():
    """Three steps of torch.optim.SGD per case; tensors, decay and gradients as in adamw_golden."""
    shapes = {"matrix": (7, 5), "norm": (6,)}
    cases = []
    for case in SGD_CASES:
        params = {n: torch.nn.Parameter(weights(n, s).clone()) for n, s in shapes.items()}
        optimizer = torch.optim.SGD([{"params": [params["matrix"]], "weight_decay": 0.1},
                                     {"params": [params["norm"]], "weight_decay": 0.0}],
                                    lr=1e-2, **case)
        steps = []
        for step in range(3):
            for n, p in params.items():
                p.grad = weights(f"{n}.grad{step}", shapes[n]) * 0.25
            optimizer.step()
            steps.append({n: p.detach().flatten().tolist() for n, p in params.items()})
        state = {n: optimizer.state[p]["momentum_buffer"].flatten().tolist()
                 for n, p in params.items()} if case["momentum"] else {}
        cases.append({**case, "steps": steps, "momentum_buffer": state})
    return {"torch": torch.__version__, "learning_rate": 1e-2, "weight_decay": 0.1,
            "gradient_factor": 0.25, "cases": cases}


# Model and the patterns of train.freeze.
FREEZE_CASES = {
    "embedding_tied": ("qwen3", ["model.embed_tokens.*"]),
    "embedding": ("llama3_rope_bias", ["model.embed_tokens.*"]),
    "lower_layers": ("mistral_sliding", ["model.embed_tokens.*", "model.layers.0.*"]),
    "k_proj": ("qwen2", ["model.layers.0.self_attn.k_proj.weight",
                         "model.layers.1.self_attn.k_proj.*"]),
    "matrices_of_groups": ("llama_tied", ["*.gate_proj.weight", "*.q_proj.weight",
                                          "*norm.weight"]),
    "all_but_head": ("llama3_rope_bias", ["model.*"]),
    "all_but_q_norm": ("qwen3", ["*proj.weight", "*layernorm.weight", "model.norm.weight",
                                 "model.embed_tokens.weight", "*k_norm.weight"]),
}
FREEZE_STEPS = 10


def freeze_case(config_json, patterns):
    model = load_model(config_json)
    for n, p in model.named_parameters():
        p.requires_grad_(not any(fnmatch.fnmatchcase(n, pattern) for pattern in patterns))
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    before = {n: p.detach().clone() for n, p in trained.items()}
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in trained.values() if p.dim() == 2], "weight_decay": 0.1},
         {"params": [p for p in trained.values() if p.dim() < 2], "weight_decay": 0.0}],
        lr=1e-3, betas=(0.9, 0.99), eps=1e-8)
    losses, norms = [], []
    for _ in range(FREEZE_STEPS):
        optimizer.zero_grad()
        total = 0.0
        for ids, labels in DOCUMENTS:
            out = model(input_ids=torch.tensor([ids])).logits[0]
            loss = torch.nn.functional.cross_entropy(out[:-1], torch.tensor(labels[1:]),
                                                     ignore_index=-100, reduction="sum") / TARGETS
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), 1.0).item())
        optimizer.step()
    changes = {n: {"change": (p.detach() - before[n]).double().norm().item(),
                   "first": p.detach().flatten()[:8].tolist()} for n, p in trained.items()}
    return {"losses": losses, "grad_norms": norms, "trained": changes}


def freeze_golden(configs):
    """Ten steps of AdamW with clipping over all documents.

    Frozen parameters have requires_grad_(False). Matrices and embeddings decay.
    """
    cases = {name: {"model": model, "freeze": patterns, **freeze_case(configs[model], patterns)}
             for name, (model, patterns) in FREEZE_CASES.items()}
    return {"torch": torch.__version__, "transformers": transformers.__version__,
            "learning_rate": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1,
            "max_grad_norm": 1.0, "cases": cases}


PEAK = 2e-4

# NAME → (keys of `schedule` in the job file, maker of transformers' schedule).
SCHEDULES = {
    "constant": ({}, lambda o, w, n: get_constant_schedule_with_warmup(o, w)),
    "linear": ({}, get_linear_schedule_with_warmup),
    "cosine": ({}, get_cosine_schedule_with_warmup),
    "cosine_min": ({"min_ratio": 0.1}, lambda o, w, n: get_cosine_with_min_lr_schedule_with_warmup(
        o, w, n, min_lr_rate=0.1)),
    "polynomial": ({}, lambda o, w, n: get_polynomial_decay_schedule_with_warmup(
        o, w, n, lr_end=0.0)),
    "polynomial_min": (
        {"min_ratio": 0.25, "power": 2.5}, lambda o, w, n: get_polynomial_decay_schedule_with_warmup(
            o, w, n, lr_end=0.25 * PEAK, power=2.5)),
    "inverse_sqrt": ({}, lambda o, w, n: get_inverse_sqrt_schedule(o, w)),
    "inverse_sqrt_7": ({"timescale": 7}, lambda o, w, n: get_inverse_sqrt_schedule(o, w, 7)),
}
for shape, word in (("linear", "linear"), ("cosine", "cosine"), ("1-sqrt", "one_minus_sqrt")):
    for least in (0.0, 0.2):
        SCHEDULES[f"warmup_stable_decay_{word}_{least}"] = (
            {"decay_steps": 4, "decay_shape": word, "min_ratio": least},
            lambda o, w, n, shape=shape, least=least: get_wsd_schedule(
                o, w, 4, num_training_steps=n, decay_type=shape, min_lr_ratio=least))


def schedule_golden():
    """Each rate of short runs."""
    types = ("constant", "linear", "cosine", "polynomial", "inverse_sqrt", "warmup_stable_decay")
    cases = []
    for name, (keys, make) in SCHEDULES.items():
        for warmup, total in ((0, 10), (3, 10), (10, 10), (1, 1), (15, 10)):
            if "decay_steps" in keys and warmup + keys["decay_steps"] > total: continue
            # There transformers divides by zero.
            if name.startswith("polynomial") and warmup == total: continue
            optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=PEAK)
            schedule = make(optimizer, warmup, total)
            rates = []
            for _ in range(total):
                rates.append(optimizer.param_groups[0]["lr"])
                optimizer.step()
                schedule.step()
            cases.append({"type": next(t for t in types if name.startswith(t)), **keys,
                          "warmup_steps": warmup, "total_steps": total, "peak": PEAK,
                          "rates": rates})
    return cases


def model_configs():
    """NAME → config of every model in this folder."""
    configs = {}
    here = os.path.dirname(os.path.abspath(__file__))
    for path in sorted(glob.glob(os.path.join(here, "*.json"))):
        with open(path) as f:
            golden = json.load(f)
        if isinstance(golden, dict) and "config" in golden:
            configs[os.path.splitext(os.path.basename(path))[0]] = golden["config"]
    return configs


def main():
    golden = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    out = sys.argv[1] if len(sys.argv) > 1 else golden
    torch.set_num_threads(1)
    configs = model_configs()
    makers = {"model/" + name: lambda config=config: decoder_golden(config)
              for name, config in configs.items()}
    makers.update({"optim/adamw": adamw_golden, "optim/sgd": sgd_golden,
                   "optim/schedules": schedule_golden,
                   "training/freeze": lambda: freeze_golden(configs)})
    for name in sys.argv[2:] or makers:
        with open(os.path.join(out, name + ".json"), "w") as f:
            json.dump(makers[name](), f)
            f.write("\n")


if __name__ == "__main__":
    main()
