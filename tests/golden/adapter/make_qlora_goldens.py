#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Golden of QLoRA: qlora.json, from transformers with bitsandbytes (Linear4bit on the CPU) and peft.

usage: make_qlora_goldens.py [OUT_DIR]

Needs the virtual environment of tests/requirements-peers.txt and bitsandbytes
(deploy/requirements/bitsandbytes.txt).

Weights, documents and adapters are those of make_goldens.py and make_lora_goldens.py. The inputs of
all layers are multiples of 64 wide: with AVX-512, bitsandbytes 0.50.2 dequantizes other widths with
the scales of other blocks. In bf16, everything but the adapter's weights is bf16, and matrices are
quantized from fp32.
"""
import json
import os
import sys
import tempfile

import bitsandbytes
import peft
import torch
import transformers

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "model"))
from make_goldens import DOCUMENTS, TARGETS, load_model
from make_lora_goldens import (BETAS, LEARNING_RATE, LINEAR, MAX_GRAD_NORM, SCALES, STEPS,
                               WEIGHT_DECAY, accumulate, rounded, with_adapter)

SIZES = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "vocab_size": 97,
         "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
         "hidden_act": "silu", "bos_token_id": 0, "eos_token_id": 1, "dtype": None,
         "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"}}
MODELS = {
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "head_dim": 16,
              "rms_norm_eps": 1e-5, "attention_bias": False, "mlp_bias": False,
              "tie_word_embeddings": True, **SIZES},
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6,
              "use_sliding_window": False, "tie_word_embeddings": False, **SIZES},
}
CASES = {
    "all_linear": ("llama", {"r": 4, "lora_alpha": 8, "target_modules": LINEAR}),
    "query_value": ("qwen2", {"r": 2, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]}),
}
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def quantized(config_json, dtype):
    """The model in 4 bits, as from_pretrained loads it."""
    options = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype)
    with tempfile.TemporaryDirectory() as folder:
        load_model(config_json).save_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, quantization_config=options, device_map={"": "cpu"},
            attn_implementation="eager")
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if not isinstance(parameter, bitsandbytes.nn.Params4bit):
                parameter.data = parameter.data.to(dtype)
            elif dtype != torch.float32:
                parameter.quant_state.dtype = dtype
    return model


def adapted(config_json, keys, dtype):
    model, trained = with_adapter(quantized(config_json, dtype), keys)
    # Linear4bit computes as in training, not with the fused kernel of inference.
    model.train()
    return model, trained


def case(config_json, keys, dtype):
    model, trained = adapted(config_json, keys, dtype)
    assert any(isinstance(p, bitsandbytes.nn.Params4bit) for p in model.parameters())
    before = {n: p.detach().clone() for n, p in trained.items()}
    optimizer = torch.optim.AdamW(trained.values(), lr=LEARNING_RATE, betas=BETAS, eps=1e-8,
                                  weight_decay=WEIGHT_DECAY)
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        losses.append(accumulate(model))
        norms.append(torch.nn.utils.clip_grad_norm_(trained.values(), MAX_GRAD_NORM).item())
        optimizer.step()
    change = {n: float(f"{(p.detach() - before[n]).double().norm():.9g}")
              for n, p in trained.items()}
    return {"losses": rounded(losses), "grad_norms": rounded(norms), "change": change}


def merged(config_json, keys):
    """Square sums of the rows of each matrix with the adapter merged into it."""
    model, _ = adapted(config_json, keys, torch.float32)
    sums = {}
    for name, module in model.named_modules():
        if not isinstance(module, bitsandbytes.nn.Linear4bit) or isinstance(
                module, peft.tuners.lora.LoraLayer):
            continue
        matrix = bitsandbytes.functional.dequantize_4bit(module.weight.data,
                                                         module.weight.quant_state)
        parent = model.get_submodule(name.removesuffix(".base_layer"))
        if name.endswith(".base_layer"):
            matrix = matrix + parent.get_delta_weight("default").detach()
        key = name.removeprefix("base_model.model.").removesuffix(".base_layer") + ".weight"
        sums[key] = rounded(matrix.double().square().sum(1).tolist())
    return sums


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    torch.set_num_threads(1)
    golden = {"bitsandbytes": bitsandbytes.__version__, "torch": torch.__version__,
              "transformers": transformers.__version__, "peft": peft.__version__,
              "learning_rate": LEARNING_RATE, "betas": BETAS, "weight_decay": WEIGHT_DECAY,
              "max_grad_norm": MAX_GRAD_NORM, "scales": SCALES, "targets": TARGETS,
              "documents": [{"ids": i, "labels": l} for i, l in DOCUMENTS], "models": MODELS,
              "cases": {}}
    for name, (model, keys) in CASES.items():
        golden["cases"][name] = {"model": model, **keys, "merged": merged(MODELS[model], keys),
                                 **{k: case(MODELS[model], keys, d) for k, d in DTYPES.items()}}
    with open(os.path.join(out, "qlora.json"), "w") as f:
        json.dump(golden, f)
        f.write("\n")


if __name__ == "__main__":
    main()
