#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goldens of the training loss: 40 steps of loss and gradient norm.

Of train.label_smoothing, train.token_weighting and weights of messages.

usage: make_loss_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0, transformers 5.23.0).

Models, weights and documents are those of make_goldens.py. Label smoothing alone is LabelSmoother of
transformers; the rest is a plain PyTorch loop. "microbatches" lists the documents of each
microbatch: a normalized weighting takes its statistics over the target tokens of a microbatch.
"weights" lists a factor for each token of each document, as its messages have them.
"""
import json
import os
import sys

import torch
import transformers
from transformers.trainer_pt_utils import LabelSmoother

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import DOCUMENTS, TARGETS, load_model, model_configs

STEPS, LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY, MAX_GRAD_NORM = 40, 3e-4, (0.9, 0.99), 1e-8, 0.1, 1.0
TOGETHER, ALONE = [[0, 1, 2]], [[0], [1], [2]]


def weighting(measure, normalize=True, min_weight=0.1, max_weight=10.0):
    return {"measure": measure, "normalize": normalize, "min_weight": min_weight,
            "max_weight": max_weight}


def message_weights():
    """Messages of 3 tokens."""
    return [[(0.25, 1.0, 3.5)[(i // 3 + d) % 3] for i in range(len(ids))]
            for d, (ids, _) in enumerate(DOCUMENTS)]


# gemma2 caps the logits, granite scales them.
CASES = {
    "smoothing": {"model": "qwen3", "label_smoothing": 0.1},
    "smoothing_capped": {"model": "gemma2", "label_smoothing": 0.3},
    "smoothing_scaled": {"model": "granite", "label_smoothing": 0.05},
    # Its first predictions are almost certain, and standardized entropies enlarge what a processor rounds: slow steps keep the 40 of them comparable.
    "entropy": {"model": "llama_tied", "learning_rate": 1e-4, "token_weighting": weighting("entropy")},
    "entropy_alone": {"model": "llama_tied", "microbatches": ALONE,
                      "token_weighting": weighting("entropy")},
    "confidence": {"model": "olmo2", "token_weighting": weighting("confidence")},
    "perplexity": {"model": "smollm3", "token_weighting": weighting("perplexity", True, 0.5, 2.0)},
    "margin": {"model": "mistral_sliding", "learning_rate": 1e-3,
               "token_weighting": weighting("margin")},
    "entropy_cut": {"model": "llama_tied",
                    "token_weighting": weighting("entropy", False, 0.5, 4.2)},
    "perplexity_cut": {"model": "qwen3",
                       "token_weighting": weighting("perplexity", False, 0.25, 100.0)},
    "margin_cut": {"model": "granite", "token_weighting": weighting("margin", False)},
    "confidence_smoothing_capped": {"model": "gemma2", "label_smoothing": 0.1,
                                    "token_weighting": weighting("confidence")},
    "weights": {"model": "qwen3", "weights": message_weights()},
    "weights_smoothing_capped": {"model": "gemma2", "label_smoothing": 0.1,
                                 "weights": message_weights()},
    "weights_smoothing_entropy_cut": {"model": "llama_tied", "label_smoothing": 0.05,
                                      "token_weighting": weighting("entropy", False, 0.5, 4.2),
                                      "weights": message_weights()},
    "weights_confidence": {"model": "granite", "token_weighting": weighting("confidence"),
                           "weights": message_weights()},
}


def surprise(logits, targets, measure):
    """The replaced system's measures, with the targets shifted."""
    p = torch.softmax(logits, -1)
    target_p = p.gather(1, targets[:, None])[:, 0]
    if measure == "entropy":
        return -(p * torch.log(p + 1e-10)).sum(-1)
    if measure == "confidence":
        return 1 - p.max(-1).values
    if measure == "perplexity":
        return torch.exp(-torch.log(target_p + 1e-10))
    others = p.scatter(1, targets[:, None], 0.0)
    return (1 - (target_p - others.max(-1).values)).clamp(0, 1)


def token_weights(logits, targets, w):
    s = surprise(logits.detach(), targets, w["measure"])
    if not w["normalize"]:
        return s.clamp(w["min_weight"], w["max_weight"])
    if s.std() > 1e-6:
        s = (s - s.mean()) / s.std()
    return w["min_weight"] + (w["max_weight"] - w["min_weight"]) * torch.sigmoid(s)


def loss_of(model, microbatch, case):
    """Share of one microbatch in the step's mean loss."""
    documents = [DOCUMENTS[i] for i in microbatch]
    smoothing = case.get("label_smoothing", 0.0)
    if "token_weighting" not in case and "weights" not in case:
        smoother = LabelSmoother(epsilon=smoothing)
        return sum(smoother(model(input_ids=torch.tensor([ids])), torch.tensor([labels]),
                            shift_labels=True, num_items_in_batch=TARGETS)
                   for ids, labels in documents)
    rows, targets = [], []
    for ids, labels in documents:
        shifted = torch.tensor(labels[1:])
        rows.append(model(input_ids=torch.tensor([ids])).logits[0, :-1][shifted != -100])
        targets.append(shifted[shifted != -100])
    rows, targets = torch.cat(rows), torch.cat(targets)
    losses = torch.nn.functional.cross_entropy(rows, targets, reduction="none",
                                               label_smoothing=smoothing)
    if "token_weighting" in case:
        losses = losses * token_weights(rows, targets, case["token_weighting"])
    if "weights" in case:
        losses = losses * torch.tensor([weight for i in microbatch
                                        for weight, label in zip(case["weights"][i][1:],
                                                                 DOCUMENTS[i][1][1:])
                                        if label != -100])
    return losses.sum() / TARGETS


def run(config_json, case):
    model = load_model(config_json)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": WEIGHT_DECAY},
         {"params": [p for p in model.parameters() if p.dim() < 2], "weight_decay": 0.0}],
        lr=case["learning_rate"], betas=BETAS, eps=EPS)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        total = 0.0
        for microbatch in case["microbatches"]:
            loss = loss_of(model, microbatch, case)
            loss.backward()
            total += loss.item()
        losses.append(total)
        norms.append(torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_GRAD_NORM).item())
        optimizer.step()
    return {**case, "losses": losses, "grad_norms": norms}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else here
    torch.set_num_threads(1)
    configs = model_configs()
    cases = {name: run(configs[case["model"]], {"microbatches": TOGETHER,
                                               "learning_rate": LEARNING_RATE, **case})
             for name, case in CASES.items()}
    golden = {"torch": torch.__version__, "transformers": transformers.__version__,
              "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS,
              "weight_decay": WEIGHT_DECAY, "max_grad_norm": MAX_GRAD_NORM, "cases": cases}
    with open(os.path.join(out, "losses.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main()
