#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden of train.precision: bf16_sr: AdamW over weights in bf16 that are rounded stochastically.

usage: make_rounding_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt (torch 2.11.0).

The loop keeps bf16 weights. Each step computes torch.optim.AdamW in fp32 from them and from bf16
gradients, and rounds with the bits of the counter generator (engine/data/batches/counter_rng.h):
number 0 of stream STEP is the key of another stream, of which each number serves four elements.
"""
import json
import os
import sys

import numpy
import torch

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import weights

SEED, PURPOSE, STEPS, COUNT = 42, 6, 8, 48
LEARNING_RATE, BETAS, EPS, WEIGHT_DECAY = 1e-3, (0.9, 0.99), 1e-8, 0.1
MASK = (1 << 64) - 1


def split_mix(value):
    value = (value + 0x9e3779b97f4a7c15) & MASK
    value = ((value ^ (value >> 30)) * 0xbf58476d1ce4e5b9) & MASK
    value = ((value ^ (value >> 27)) * 0x94d049bb133111eb) & MASK
    return value ^ (value >> 31)


def random_bits(step, element):
    """16 bits: a quarter of number element // 4 of the step's stream."""
    stream = split_mix((split_mix((split_mix(SEED) + PURPOSE) & MASK) + step) & MASK)
    number = split_mix((split_mix(stream) + element // 4 * 0x9e3779b97f4a7c15) & MASK)
    return number >> (element % 4 * 16) & 0xffff


def rounded(values, step):
    """fp32 → bf16, of elements 0 to COUNT of the flat buffer."""
    bits = values.numpy().view(numpy.uint32).astype(numpy.uint64)
    random = numpy.array([random_bits(step, i) for i in range(len(bits))], dtype=numpy.uint64)
    cut = ((bits + random) & 0xffff0000).astype(numpy.uint32)
    return torch.from_numpy(cut.view(numpy.float32)).bfloat16()


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else here
    torch.set_num_threads(1)
    weight = weights("rounded", (COUNT,)).bfloat16()
    parameter = torch.nn.Parameter(weight.float())
    optimizer = torch.optim.AdamW([parameter], lr=LEARNING_RATE, betas=BETAS, eps=EPS,
                                  weight_decay=WEIGHT_DECAY)
    steps = []
    for step in range(1, STEPS + 1):
        parameter.grad = weights(f"rounded.grad{step}", (COUNT,)).bfloat16().float()
        optimizer.step()
        weight = rounded(parameter.detach().clone(), step)
        parameter.data.copy_(weight.float())
        steps.append(weight.float().tolist())
    golden = {"torch": torch.__version__, "seed": SEED, "learning_rate": LEARNING_RATE,
              "beta1": BETAS[0], "beta2": BETAS[1], "eps": EPS, "weight_decay": WEIGHT_DECAY,
              "steps": steps}
    with open(os.path.join(out, "rounding.json"), "w") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main()
