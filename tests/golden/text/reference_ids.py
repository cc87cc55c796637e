#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenises generated texts with PyPI tokenizers, for tests/engine/text/tokenizer/tokenizer_reference_test.cc.
Output: per text three frames [u32 size][bytes]: the text, its ids (int32), the decoded text.

usage: reference_ids.py TOKENIZER_FOLDER COUNT SEED OUTPUT
"""
import struct
import sys

from tokenizers import Tokenizer

from texts import extremes, generate


def main():
    folder, count, seed, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    specials = [t.content for t in tokenizer.get_added_tokens_decoder().values()][:40]
    texts = list(generate(count, seed, specials)) + list(extremes(100_000))
    # Each character by itself and between letters, over all planes in steps.
    points = [c for c in range(0, 0x110000, 97) if not 0xD800 <= c <= 0xDFFF]
    texts += ["".join(f"a{chr(c)}b {chr(c)}" for c in points[i:i + 32])
              for i in range(0, len(points), 32)]
    with open(output, "wb") as out:
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            for frame in (text.encode(), struct.pack(f"<{len(ids)}i", *ids), decoded.encode()):
                out.write(struct.pack("<I", len(frame)) + frame)


if __name__ == "__main__":
    main()
