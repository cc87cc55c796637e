# SPDX-License-Identifier: Apache-2.0
"""Generated texts that tokenizers disagree about: all Unicode planes, scripts, white space,
combining marks, control characters, marker strings and pieces of them. Deterministic by seed."""
import random

WORDS = ("the and Hello I'll don't WE'RE it's 'S 'LL 've 're 'd 'ſ ''s world foo_bar CamelCase "
         "HTTPServer iPhone 12345 3.14 0x7f 1,234 ½ ٣٤ 一二三 你好世界 こんにちは 안녕하세요 नमस्ते "
         "สวัสดี مرحبا שלום Привет été naïve Ångström ﬁ Ⅷ ² x² cafe\u0301 A\u030a \u1112\u1161\u11ab "
         "\u0344 \u0958 \u2126 \u212a 👨\u200d👩\u200d👧 🇫🇷 \u200d \ufeff \u0000 \u0085 \u00a0 \u3000 "
         "\u2028 \t ''' ... !!! -- // /* */ {}; => def return\n\tpass https://x.y/z?a=b").split(" ")
SPACES = [" ", "  ", "   ", "\n", "\n\n\n", "\t\t", " \n ", " \n", "\r\n", "\r", "\u00a0", "\u3000",
          "\u2003", "\u0085", "\u200b"]
SPECIALS = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|im_", "im_end|>",
            "<|endoftext|>", "<tool_call>", "<|", "|>", "<", "[MASK]", "[X]", "[Y]", "[Z]", "é"]
RANGES = [(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700),
          (0x900, 0xe00), (0xe00, 0x1000), (0x1100, 0x1200), (0x1e00, 0x2000), (0x2000, 0x2100),
          (0x3000, 0x3100), (0x4e00, 0x9fff), (0xac00, 0xd7a4), (0xf900, 0xfb00),
          (0x1f300, 0x1f700), (0x1d400, 0x1d800), (0x1e900, 0x1e950)]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"


def any_char(r):
    while True:
        c = r.randrange(0x110000)
        if not 0xD800 <= c <= 0xDFFF:
            return chr(c)


def piece(r, specials):
    kind = r.random()
    if kind < .35:
        return r.choice(WORDS)
    if kind < .45:
        return "".join(chr(r.randrange(*r.choice(RANGES))) for _ in range(r.randint(1, 6)))
    if kind < .55:
        return "".join(any_char(r) for _ in range(r.randint(1, 4)))
    if kind < .62:
        return r.choice(specials)
    if kind < .72:
        return r.choice(SPACES) * r.randint(1, 4)
    if kind < .80:
        return "".join(r.choice(LETTERS) for _ in range(r.randint(1, 12)))
    if kind < .85:
        return str(r.randrange(10 ** r.randint(1, 12)))
    if kind < .93:
        return "".join(r.choice(PUNCTUATION) for _ in range(r.randint(1, 6)))
    return any_char(r) + "".join(chr(r.randrange(0x300, 0x370)) for _ in range(r.randint(1, 4)))


def generate(count, seed, specials=(), max_pieces=14):
    r = random.Random(seed)
    specials = SPECIALS + list(specials)
    for _ in range(count):
        yield r.choice(["", "", " "]).join(piece(r, specials)
                                           for _ in range(r.randint(1, max_pieces)))


# Texts that need the heap, deep normalisation or huge words.
def extremes(size):
    yield from ["", "a", "a" * size, "ab" * (size // 2), "你好" * (size // 6), "\u0301" * 500,
                "e" + "\u0301\u0323" * 300, "\u1100\u1161\u11a8" * 300, " " * 300, "\n" * 99,
                "\u3000" * 50 + "x", "'" * 100, "1" * 1000]
    r = random.Random(7)
    yield "".join(r.choice(LETTERS[:26]) for _ in range(size))
