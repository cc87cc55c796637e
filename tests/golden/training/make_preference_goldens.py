#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of preference tuning: preference.json, from TRL's DPOTrainer over the tiny models.

usage: make_preference_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0,
peft 0.21.2, trl 1.16.0).

The loss and the metrics of a step are those of DPOTrainer's own compute_loss on the batch of its
own collator, all pairs in one padded batch. The reference is a copy of the model; with LoRA it is
the model without the adapter. Everything is fp32.
"""
import collections
import contextlib
import copy
import json
import os
import sys
import types

import peft
import torch
import transformers
import trl
from trl.trainer.dpo_trainer import DataCollatorForPreference, DPOTrainer
from trl.trainer.utils import add_fused_lm_head

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path += [os.path.join(HERE, "..", folder) for folder in ("model", "adapter")]
from make_goldens import document, load_model, model_configs
from make_lora_goldens import LINEAR, SCALES, rounded, with_adapter

STEPS = 40
BETAS = (0.9, 0.99)
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 1.0
# Tokens of prompt, chosen and rejected answer.
PAIRS = [(7, 11, 5), (3, 1, 19), (12, 6, 6), (1, 9, 14)]
METRICS = {"chosen_reward": "rewards/chosen", "rejected_reward": "rewards/rejected",
           "margin": "rewards/margins", "accuracy": "rewards/accuracies",
           "chosen_log_probability": "logps/chosen", "rejected_log_probability": "logps/rejected"}
ADAPTER = {"r": 4, "lora_alpha": 8, "target_modules": LINEAR}

# NAME → (model, keys of peft.LoraConfig or None, loss, beta, learning rate).
CASES = {
    "sigmoid": ("llama_tied", None, "sigmoid", 0.1, 2e-4),
    "sigmoid_strong": ("qwen3", None, "sigmoid", 0.5, 1e-4),
    "ipo": ("qwen2", None, "ipo", 0.1, 2e-4),
    "sigmoid_lora": ("llama3_rope_bias", ADAPTER, "sigmoid", 0.1, 1e-3),
    "ipo_lora": ("qwen3", ADAPTER, "ipo", 0.5, 3e-4),
}


def pairs():
    result = []
    for i, (prompt, chosen, rejected) in enumerate(PAIRS):
        ids, _ = document(10 + i, prompt + chosen + rejected)
        result.append({"prompt_ids": ids[:prompt], "chosen_ids": ids[prompt:prompt + chosen],
                       "rejected_ids": ids[prompt + chosen:]})
    return result


def trainer(model, reference, loss, beta):
    """What compute_loss reads of a DPOTrainer."""
    accelerator = types.SimpleNamespace(
        device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x,
        unwrap_model=lambda m: m, autocast=contextlib.nullcontext)
    result = types.SimpleNamespace(
        model=model, ref_model=reference, accelerator=accelerator, aux_loss_enabled=False,
        args=types.SimpleNamespace(gradient_checkpointing_kwargs=None, max_length=None),
        ld_alpha=None, precompute_ref_logps=False, f_divergence_type="reverse_kl",
        f_alpha_divergence_coef=0.5, loss_types=[loss], loss_weights=[1.0], beta=beta,
        label_smoothing=0.0, use_weighting=False, _tp_size=1, _total_train_tokens=0,
        _metrics={"train": collections.defaultdict(list), "eval": collections.defaultdict(list)})
    result._compute_loss = lambda *a: DPOTrainer._compute_loss(result, *a)
    return result


def case(config_json, adapter, loss, beta, learning_rate):
    model, reference = load_model(config_json), None
    outputs = ("log_probs", "entropy", "mean_logits", "is_top1")
    if adapter is None:
        reference = copy.deepcopy(model)
        add_fused_lm_head(reference)
        add_fused_lm_head(model, outputs=outputs)
        trained = list(model.parameters())
    else:
        add_fused_lm_head(model, outputs=outputs)
        model, named = with_adapter(model, adapter)
        trained = list(named.values())
    model.train()
    dpo = trainer(model, reference, loss, beta)
    batch = DataCollatorForPreference(pad_token_id=0)(pairs())
    # Norms and biases do not decay, as in the Trainer.
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in trained if p.dim() == 2], "weight_decay": WEIGHT_DECAY},
         {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0}],
        lr=learning_rate, betas=BETAS, eps=1e-8)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        value = DPOTrainer.compute_loss(dpo, model, batch)
        value.backward()
        losses.append(value.item())
        norms.append(torch.nn.utils.clip_grad_norm_(trained, MAX_GRAD_NORM).item())
        optimizer.step()
    metrics = {ours: rounded(dpo._metrics["train"][theirs]) for ours, theirs in METRICS.items()}
    return {"losses": rounded(losses), "grad_norms": rounded(norms), "metrics": metrics}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else HERE
    torch.set_num_threads(1)
    configs = model_configs()
    golden = {"torch": torch.__version__, "transformers": transformers.__version__,
              "peft": peft.__version__, "trl": trl.__version__, "betas": BETAS, "eps": 1e-8,
              "weight_decay": WEIGHT_DECAY, "max_grad_norm": MAX_GRAD_NORM, "scales": SCALES,
              "pairs": pairs(), "cases": {}}
    for name, (model, adapter, loss, beta, learning_rate) in CASES.items():
        golden["cases"][name] = {"model": model, "loss": loss, "beta": beta,
                                 "learning_rate": learning_rate, "adapter": adapter,
                                 **case(configs[model], adapter, loss, beta, learning_rate)}
    with open(os.path.join(out, "preference.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
