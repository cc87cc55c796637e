#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""How long TRL's SFTTrainer takes from a data set to packed rows (its _prepare_dataset: template, tokens, assistant masks, packing), in one process;
data_bench.py runs it with the interpreter that has torch and TRL. The model is as small as it can be: it plays no part. Prints one JSON line."""

import argparse
import json
import os
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokenizer", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--template", required=True)
    parser.add_argument("--max-length", type=int, default=1024)
    options = parser.parse_args()
    import torch
    torch.set_num_threads(1)
    import trl
    from datasets import load_dataset
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    taken = []

    class Measured(trl.SFTTrainer):
        def _prepare_dataset(self, *args, **kwargs):
            begin = time.perf_counter()
            prepared = super()._prepare_dataset(*args, **kwargs)
            taken.append(time.perf_counter() - begin)
            return prepared

    with tempfile.TemporaryDirectory(prefix="trl-peer-") as scratch:
        tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
        with open(options.template) as file:
            tokenizer.chat_template = file.read()
        # A cache of its own: otherwise the tokenised rows of an earlier run would be reused.
        dataset = load_dataset("json", data_files=options.data, split="train", cache_dir=scratch)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1,
                                             num_key_value_heads=1))
        config = trl.SFTConfig(output_dir=os.path.join(scratch, "out"), use_cpu=True, max_steps=1, packing=True, packing_strategy="bfd",
                               max_length=options.max_length, assistant_only_loss=True, report_to="none", disable_tqdm=True, bf16=False,
                               gradient_checkpointing=False)
        trainer = Measured(model=model, args=config, processing_class=tokenizer, train_dataset=dataset)
        rows = trainer.train_dataset
        tokens = sum(len(row["input_ids"]) for row in rows)
    print(json.dumps({"seconds": taken[0], "conversations": len(dataset), "rows": len(rows), "tokens": tokens,
                      "fill": tokens / (len(rows) * options.max_length), "trl": trl.__version__}), flush=True)


if __name__ == "__main__":
    main()
