#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes engine/text/unicode/unicode_tables.cc: character classes and NFC data, read out of the pinned
reference (PyPI tokenizers 0.23.3) code point by code point, so that the C++ tokenizer sees
characters exactly as the reference does. Unicode data files would not do: the reference mixes
several Unicode versions (its regex engine, its normaliser and the Rust standard library).
The tables are checked against the reference again before they are written.

usage: make_unicode_tables.py OUTPUT.cc
"""
import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers

PINNED = "0.23.3"
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
BLOCK = 2048
SHIFT = 7

FLAGS = ["Letter", "Number", "Space", "Mark", "Upper", "Lower", "RustNumeric", "RustWord",
         "RustSpace", "NfcSlow"]


def blocks():
    for i in range(0, len(CODE_POINTS), BLOCK):
        yield CODE_POINTS[i:i + BLOCK]


def regex_class(pattern):
    """Code points that the reference's regex engine matches by `pattern`."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    matched = set()
    for block in blocks():
        left = set()
        for _, (begin, end) in split.pre_tokenize_str("".join(map(chr, block))):
            left.update(range(begin, end))
        matched.update(c for i, c in enumerate(block) if i not in left)
    return matched


def rust_numeric():
    digits = pre_tokenizers.Digits(individual_digits=True)
    found = set()
    for block in blocks():
        text = "".join("aa" + chr(c) for c in block) + "aa"
        for _, (begin, end) in digits.pre_tokenize_str(text):
            if end == begin + 1 and begin % 3 == 2:
                found.add(block[begin // 3])
    return found


def added_token_probe(before, after, flag):
    """Offsets of the added token in before + c + "TOK" + after, for each code point."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.add_tokens([AddedToken("TOK", normalized=False, **flag)])
    width = len(before) + 4 + len(after)
    for block in blocks():
        text = "".join(before + chr(c) + "TOK" + after for c in block)
        starts = {begin: begin for begin, _ in tokenizer.encode(text).offsets}
        for i, c in enumerate(block):
            at = i * width + len(before)
            yield c, at in starts, at + 1 in starts


def rust_word():
    return {c for c, _, alone in added_token_probe("", " ", {"single_word": True}) if not alone}


def rust_space():
    return {c for c, swallowed, _ in added_token_probe("x", "x", {"lstrip": True}) if swallowed}


NFC = normalizers.NFC().normalize_str
NFD = normalizers.NFD().normalize_str


def per_code_point(function, before="", after=""):
    for block in blocks():
        parts = function("".join("q" + before + chr(c) + after for c in block if c != ord("q")))
        parts = parts.split("q")[1:]
        rest = [c for c in block if c != ord("q")]
        assert len(parts) == len(rest)
        yield from zip(rest, parts)


def combining_classes():
    """ccc as the reference sorts by it: found by how each mark is ordered against known marks."""
    low, high = "\u0334", "\u0345"  # ccc 1 and 240
    candidates = {c for c, out in per_code_point(NFD, before=high) if not out.startswith(high)}
    candidates |= {c for c, out in per_code_point(NFD, after=low) if out.startswith(low)}
    candidates |= {ord(low), ord(high)}
    witness = {}
    for c in CODE_POINTS:
        ccc = unicodedata.combining(chr(c))
        if ccc and c in candidates and NFD(chr(c)) == chr(c):
            witness.setdefault(ccc, chr(c))
    order = sorted(witness)
    result = {}
    for c in candidates:
        if NFD(chr(c)) != chr(c):
            continue  # decomposes: its parts carry the classes
        ch, matches = chr(c), []
        for ccc in order:
            w = witness[ccc]
            if c == ord(w) or (NFD("q" + ch + w) == "q" + ch + w and
                               NFD("q" + w + ch) == "q" + w + ch):
                matches.append(ccc)
        if c == ord(witness.get(unicodedata.combining(ch), "\0")):
            matches = [unicodedata.combining(ch)]
        assert len(matches) == 1, (hex(c), matches)
        result[c] = matches[0]
    return result


def main():
    assert tokenizers.__version__ == PINNED, f"needs tokenizers {PINNED}"
    classes = {
        "Letter": regex_class(r"\p{L}"), "Number": regex_class(r"\p{N}"),
        "Space": regex_class(r"\s"), "Mark": regex_class(r"\p{M}"),
        "Upper": regex_class(r"[\p{Lu}\p{Lt}]"), "Lower": regex_class(r"\p{Ll}"),
        "RustNumeric": rust_numeric(), "RustWord": rust_word(), "RustSpace": rust_space(),
    }
    ccc = combining_classes()
    nfd = {c: out for c, out in per_code_point(NFD) if out != chr(c)}
    nfc = {c: out for c, out in per_code_point(NFC) if out != chr(c)}
    hangul = range(0xAC00, 0xAC00 + 11172)
    # Pairs: c composes from (a, b) when NFC(NFD(c)) gives c again; the last step joins what NFC
    # makes of all but the last decomposed character with that last character.
    pairs = {}
    for c, out in nfd.items():
        if c in hangul or NFC(out) != chr(c):
            continue
        decomposed = unicodedata.decomposition(chr(c))
        assert decomposed and not decomposed.startswith("<"), hex(c)
        a, b = (int(x, 16) for x in decomposed.split())
        assert NFC(chr(a) + chr(b)) == chr(c), hex(c)
        pairs[(a, b)] = c
    seconds = {b for _, b in pairs} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    slow = set(ccc) | set(nfc) | seconds | {c for c, out in nfd.items() if ccc.get(ord(out[0]))}
    classes["NfcSlow"] = slow
    decompositions = {c: out for c, out in nfd.items() if c not in hangul}

    table = [0] * 0x110000
    for bit, name in enumerate(FLAGS):
        for c in classes[name]:
            table[c] |= 1 << bit
    stage1, stage2, seen = [], [], {}
    for i in range(0, 0x110000, 1 << SHIFT):
        block = tuple(table[i:i + (1 << SHIFT)])
        if block not in seen:
            seen[block] = len(seen)
            stage2.extend(block)
        stage1.append(seen[block])
    assert all(stage2[stage1[c >> SHIFT] << SHIFT | c & (1 << SHIFT) - 1] == table[c]
               for c in range(0x110000))
    assert len(seen) < 65536

    letters_version = [c for c in CODE_POINTS if (unicodedata.category(chr(c))[0] == "L") !=
                       (c in classes["Letter"])]
    newest = max((c for c in nfd if c not in hangul), default=0)

    out = open(sys.argv[1], "w")
    w = out.write
    w("// SPDX-License-Identifier: Apache-2.0\n"
      "// Generated by tests/golden/text/make_unicode_tables.py; do not edit.\n"
      f"// Source: PyPI tokenizers {PINNED}, asked code point by code point. Letter, Number, Space,\n"
      "// Mark, Upper and Lower are its regex engine's classes; Rust* those of Rust's standard\n"
      "// library and regex crate as built into it; NFC data is that of its normaliser.\n"
      f"// Against Unicode {unicodedata.unidata_version}: {len(letters_version)} code points are "
      "letters in one and not in the other,\n"
      f"// {sum(unicodedata.combining(chr(c)) != ccc.get(c, 0) for c in CODE_POINTS)} differ in "
      "combining class, "
      f"{sum((unicodedata.normalize('NFD', chr(c)) != NFD(chr(c))) for c in CODE_POINTS)} in "
      "decomposition.\n"
      "// clang-format off\n"
      "#include \"engine/text/unicode/unicode_tables.h\"\n\nnamespace trainerd::engine::unicode {\n\n")

    def array(kind, name, values, fmt=str):
        w(f"const {kind} {name}[{len(values)}] = {{\n")
        line = ""
        for v in values:
            item = fmt(v) + ","
            if len(line) + len(item) > 98:
                w(line + "\n")
                line = ""
            line += item
        w(line + "\n};\n\n")

    array("uint16_t", "kStage1", stage1)
    array("uint16_t", "kStage2", stage2)
    keys = sorted(ccc)
    w(f"const size_t kNumCombining = {len(keys)};\n")
    array("Combining", "kCombining", keys, lambda c: f"{{{c:#x},{ccc[c]}}}")
    keys = sorted(decompositions)
    pool, entries = [], []
    for c in keys:
        points = [ord(x) for x in decompositions[c]]
        entries.append((c, len(pool), len(points)))
        pool.extend(points)
    w(f"const size_t kNumDecompositions = {len(entries)};\n")
    array("Decomposition", "kDecompositions", entries, lambda e: f"{{{e[0]:#x},{e[1]},{e[2]}}}")
    array("uint32_t", "kDecomposed", pool, lambda c: f"{c:#x}")
    entries = sorted((a, b, c) for (a, b), c in pairs.items())
    w(f"const size_t kNumCompositions = {len(entries)};\n")
    array("Composition", "kCompositions", entries, lambda e: f"{{{e[0]:#x},{e[1]:#x},{e[2]:#x}}}")
    w("}  // namespace trainerd::engine::unicode\n")
    print({k: len(v) for k, v in classes.items()}, "ccc", len(ccc), "decomp", len(decompositions),
          "pairs", len(pairs), "blocks", len(seen), "newest", hex(newest))


if __name__ == "__main__":
    main()
