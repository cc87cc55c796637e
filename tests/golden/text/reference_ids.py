#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tokenises generated texts with PyPI tokenizers, for tests/engine/text/tokenizer/tokenizer_reference_test.cc.
Output: per text four frames [u32 size][bytes]: the text, its ids (int32), their offsets (pairs of
int32, in characters), the decoded text.

usage: reference_ids.py TOKENIZER_FOLDER COUNT SEED OUTPUT [stream]     stream: checks also that the
reference's DecodeStream gives the decoded text
"""
import struct
import sys

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from texts import extremes, generate


def main():
    folder, count, seed, output = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    tokenizer = Tokenizer.from_file(folder + "/tokenizer.json")
    specials = [t.content for t in tokenizer.get_added_tokens_decoder().values()][:40]
    if '"\u2581"' in tokenizer.to_str():  # SentencePiece-style
        specials += ["\u2581", "\u2581\u2581", "<0x0A>", "a\u2581 b", " ", "\n"]
    texts = list(generate(count, seed, specials)) + list(extremes(100_000))
    # Each character by itself and between letters, over all planes in steps.
    points = [c for c in range(0, 0x110000, 97) if not 0xD800 <= c <= 0xDFFF]
    texts += ["".join(f"a{chr(c)}b {chr(c)}" for c in points[i:i + 32])
              for i in range(0, len(points), 32)]
    encodings = tokenizer.encode_batch(texts, add_special_tokens=False)
    with open(output, "wb") as out:
        for i, (text, encoding) in enumerate(zip(texts, encodings)):
            ids = encoding.ids
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            if sys.argv[5:] == ["stream"] and i % 20 == 0:
                check_stream(tokenizer, ids, decoded)
            offsets = [at for pair in encoding.offsets for at in pair]
            for frame in (text.encode(), struct.pack(f"<{len(ids)}i", *ids),
                          struct.pack(f"<{len(offsets)}i", *offsets), decoded.encode()):
                out.write(struct.pack("<I", len(frame)) + frame)


def check_stream(tokenizer, ids, decoded):
    """But for bytes that are not UTF-8 at the end, which the stream keeps back."""
    stream = DecodeStream(skip_special_tokens=False)
    text = "".join(filter(None, (stream.step(tokenizer, i) for i in ids[:200])))
    assert decoded.startswith(text) and (len(ids) > 200 or decoded.rstrip("\ufffd") == text.rstrip("\ufffd"))


if __name__ == "__main__":
    main()
