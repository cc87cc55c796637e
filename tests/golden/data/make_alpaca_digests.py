#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Digests of token ids and labels that the references make of a chat file; tests/engine/data/alpaca_test.cc compares ours.

Usage: make_alpaca_digests.py SHARED_DIR > alpaca_digests.json
  SHARED_DIR holds data/alpaca_en_1k.jsonl and models/qwen3-tokenizer.
References (pinned in tests/requirements-peers.txt): transformers 5.23.0, tokenizers 0.23.3, trl 1.16.0, xxhash 4.1.0.

template   labels = transformers' return_assistant_tokens_mask over qwen3_marks.jinja; checked here, row by row, to be the mask of
           TRL's own training template for Qwen3 and the text of the model's stock template.
assistant  the stock template; labels run from after <|im_start|>assistant\\n through the first <|im_end|>.
The digest is XXH3-128 over, for each row, the ids and then the labels as little-endian int32; -100 = not trained.
"""
import json
import pathlib
import sys

import numpy
import transformers
import trl
import xxhash
from trl.chat_template_utils import get_training_chat_template

START, ASSISTANT, NEWLINE, END = 151644, 77091, 198, 151645


def mask_of(tokenizer, messages, template):
    row = tokenizer.apply_chat_template(
        messages, chat_template=template, tokenize=True, return_dict=True, return_assistant_tokens_mask=True)
    return row["input_ids"], row["assistant_masks"]


def assistant_mask(ids):
    mask, i = [0] * len(ids), 0
    while i < len(ids):
        if ids[i:i + 3] == [START, ASSISTANT, NEWLINE]:
            i += 3
            while i < len(ids):
                mask[i] = 1
                i += 1
                if ids[i - 1] == END:
                    break
        else:
            i += 1
    return mask


class Digest:
    def __init__(self, max_length):
        self.max_length, self.hash = max_length, xxhash.xxh3_128()
        self.rows = self.tokens = self.targets = self.truncated = 0

    def add(self, ids, mask):
        self.truncated += len(ids) > self.max_length
        ids, mask = ids[:self.max_length], mask[:self.max_length]
        labels = [i if m else -100 for i, m in zip(ids, mask)]
        if not any(mask[1:]):
            return
        self.rows += 1
        self.tokens += len(ids)
        self.targets += sum(mask[1:])
        self.hash.update(numpy.array(ids, "<i4").tobytes())
        self.hash.update(numpy.array(labels, "<i4").tobytes())

    def result(self):
        return {"max_length": self.max_length, "rows": self.rows, "tokens": self.tokens, "target_tokens": self.targets,
                "truncated": self.truncated, "xxh3_128": self.hash.hexdigest()}


def main():
    shared = pathlib.Path(sys.argv[1])
    marks = (pathlib.Path(__file__).parent / "qwen3_marks.jinja").read_text()
    tokenizer = transformers.AutoTokenizer.from_pretrained(shared / "models/qwen3-tokenizer")
    training = get_training_chat_template(tokenizer)
    digests = {("template", n): Digest(n) for n in (8192, 128)} | {("assistant", n): Digest(n) for n in (8192, 128)}
    with open(shared / "data/alpaca_en_1k.jsonl", encoding="utf-8") as rows:
        for line in rows:
            messages = json.loads(line)["messages"]
            ids, mask = mask_of(tokenizer, messages, marks)
            assert (ids, mask) == mask_of(tokenizer, messages, training), "not TRL's mask: " + line
            stock = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True)["input_ids"]
            assert stock == ids, "not the stock text: " + line
            for (convention, _), digest in digests.items():
                digest.add(ids, mask if convention == "template" else assistant_mask(ids))
    result = {"transformers": transformers.__version__, "trl": trl.__version__}
    for (convention, _), digest in digests.items():
        result.setdefault(convention, []).append(digest.result())
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
