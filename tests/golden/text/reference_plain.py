#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenises generated conversations whose messages must stay text, for tests/engine/text/tokenizer/tokenizer_reference_test.cc: what stands between two control
tokens of the template is encoded by itself with PyPI tokenizers' encode_special_tokens, which finds no special token.
Output: per conversation three frames [u32 size][bytes]: the text, the spans of the messages in it (pairs of uint32), the ids (int32).

usage: reference_plain.py TOKENIZER_FOLDER COUNT SEED OUTPUT
"""
import random
import struct
import sys

from tokenizers import Tokenizer

from texts import generate

HEADERS = ["", "user\n", "assistant\n", "\n", " ", "system\n\n"]


def main():
    folder, count, seed, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    tokenizer.encode_special_tokens = True
    added = tokenizer.get_added_tokens_decoder()
    # Tokens that take nothing from what stands beside them.
    control = [t for t in added.values() if t.special and not (t.lstrip or t.rstrip or t.single_word or t.normalized)]
    spellings = [t.content for t in added.values()]
    r = random.Random(seed)
    messages = list(generate(count, seed, spellings * 2))
    with open(output, "wb") as out:
        at = 0
        while at < len(messages):
            text, spans, ids = "", [], []
            for _ in range(r.randint(1, 4)):
                token = r.choice(control)
                text += token.content
                ids.append(tokenizer.token_to_id(token.content))
                between = r.choice(HEADERS)
                if at < len(messages) and r.random() < 0.9:
                    begin = len((text + between).encode())
                    end = begin + len(messages[at].encode())
                    if begin < end:
                        spans += [begin, end]
                    between += messages[at] + r.choice(HEADERS)
                    at += 1
                text += between
                ids += tokenizer.encode(between, add_special_tokens=False).ids
            for frame in (text.encode(), struct.pack(f"<{len(spans)}I", *spans), struct.pack(f"<{len(ids)}i", *ids)):
                out.write(struct.pack("<I", len(frame)) + frame)


if __name__ == "__main__":
    main()
