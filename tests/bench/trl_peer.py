#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""TRL's SFTTrainer on the CPU, measured from outside its loop; vs_trl.py runs it with the interpreter that has torch and TRL. Loss on assistant turns
alone by the template's generation marks, best-fit-decreasing packing, fused AdamW, no checkpoint, no gradient checkpointing (it would only slow TRL).

Tokens per second: tokens of the steps (no padding) over the time from on_step_begin to on_step_end, without the first step.
Prints one JSON line."""

import argparse
import json
import os
import resource
import tempfile

import bench_common as bench

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")


def parse():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--template", required=True)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--accumulation", type=int, default=4)
    parser.add_argument("--threads", type=int, default=bench.THREADS)
    parser.add_argument("--rank", type=int, default=0, help="of a LoRA adapter; 0: full fine-tuning")
    parser.add_argument("--targets", default="", help="layers of the adapter, with commas between; empty: every linear layer of the blocks")
    return parser.parse_args()


def main():
    options = parse()
    import time
    import torch
    torch.set_num_threads(options.threads)
    import trl
    from datasets import load_dataset
    from transformers import AutoTokenizer, TrainerCallback
    imported = bench.process_age_seconds()

    step_seconds, tokens, targets, first_step = [], [0], [0], []

    class Measured(trl.SFTTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            mask = inputs.get("attention_mask")
            tokens[-1] += inputs["input_ids"].numel() if mask is None else int(mask.sum())
            targets[-1] += int((inputs["labels"][:, 1:] != -100).sum())
            return super().compute_loss(model, inputs, *args, **kwargs)

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            self.begin = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            step_seconds.append(time.perf_counter() - self.begin)
            if not first_step:
                first_step.append(bench.process_age_seconds())
            tokens.append(0)
            targets.append(0)

    with tempfile.TemporaryDirectory(prefix="trl-peer-") as scratch:
        tokenizer = AutoTokenizer.from_pretrained(options.model)
        with open(options.template) as file:
            tokenizer.chat_template = file.read()
        # A cache of its own: otherwise the tokenised rows of an earlier run would be reused.
        dataset = load_dataset("json", data_files=options.data, split="train", cache_dir=scratch)
        config = trl.SFTConfig(
            output_dir=os.path.join(scratch, "out"), use_cpu=True, per_device_train_batch_size=1, gradient_accumulation_steps=options.accumulation,
            max_steps=options.steps, learning_rate=2e-4, lr_scheduler_type="constant", warmup_steps=0, weight_decay=0.01, optim="adamw_torch_fused",
            gradient_checkpointing=False, bf16=options.precision == "bf16", packing=True, packing_strategy="bfd", max_length=options.max_length,
            assistant_only_loss=True, logging_steps=1, save_strategy="no", report_to="none", dataloader_num_workers=0, dataloader_pin_memory=False,
            seed=42, max_grad_norm=1.0, model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"}, disable_tqdm=True)
        adapter = None
        if options.rank > 0:
            import peft
            adapter = peft.LoraConfig(r=options.rank, lora_alpha=2 * options.rank, lora_dropout=0.0,
                                      target_modules=options.targets.split(",") if options.targets else "all-linear", task_type="CAUSAL_LM")
        trainer = Measured(model=options.model, args=config, processing_class=tokenizer, train_dataset=dataset, callbacks=[Clock()], peft_config=adapter)
        ready = bench.process_age_seconds()
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    measured = slice(1, len(step_seconds))
    print(json.dumps({
        "tokens_per_second": sum(tokens[measured]) / sum(step_seconds[measured]), "step_seconds": [round(s, 2) for s in step_seconds],
        "tokens": sum(tokens[measured]), "target_share": round(sum(targets) / sum(tokens), 4), "rows": len(trainer.train_dataset),
        "imported_s": round(imported, 2), "ready_s": round(ready, 2), "first_step_s": round(first_step[0], 2),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), "first_loss": losses[0],
        "versions": {"trl": trl.__version__, "torch": torch.__version__}}), flush=True)


if __name__ == "__main__":
    main()
