#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The tokenizer: text_bench beside PyPI `tokenizers`, over the same texts in pieces of about 4 KB. Both sides time the work itself inside one process
each: loading, reading the input and writing the ids are not part of it. `speed_ratio` compares one thread with one thread, the median of rounds in which one
runs right after the other; `two_threads_ratio` is two threads of ours over one of ours.

usage: text_bench.py [--rounds 5] [--generated-kb 2000]     Runs itself again with the interpreter that has `tokenizers` (install_dependencies.sh --tests)."""

import argparse
import glob
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time

import bench_common as bench

TESTS_PYTHON = os.path.join(bench.CACHE, "venv-tests", "bin", "python")
PIECE = 4096

# Kind → alphabets, each the first and last code point of its letters. A word is of one alphabet.
SCRIPTS = {
    "chinese": [(0x4E00, 0x9FFF)],
    "japanese": [(0x3041, 0x3096), (0x30A1, 0x30FC), (0x4E00, 0x9FFF)],
    "korean": [(0xAC00, 0xD7A3)],
    "cyrillic": [(0x0410, 0x044F)],
    "arabic": [(0x0620, 0x064A)],
    "thai": [(0x0E01, 0x0E3A)],
    "devanagari": [(0x0904, 0x094D)],
}
# Written without spaces between words.
UNSPACED = ("chinese", "japanese", "thai")


def pieces(text):
    return [text[begin:begin + PIECE] for begin in range(0, len(text), PIECE)]


def byte_of_symbol():
    """Printable symbol → byte of byte-level vocabularies."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = {chr(byte): byte for byte in printable}
    hidden = [byte for byte in range(256) if byte not in printable]
    symbols.update({chr(0x100 + i): byte for i, byte in enumerate(hidden)})
    return symbols


def vocabulary_words(tokenizer):
    """Texts of the tokens that are whole characters, frequent ones first."""
    with open(os.path.join(tokenizer, "tokenizer.json"), encoding="utf-8") as file:
        vocabulary = json.load(file)["model"]["vocab"]
    symbols = byte_of_symbol()
    words = []
    for token, _ in sorted(vocabulary.items(), key=lambda item: item[1]):
        try:
            words.append(bytes(symbols[symbol] for symbol in token).decode("utf-8").strip())
        except (KeyError, UnicodeDecodeError):
            continue
    return words


class Words:
    """Words of one alphabet, drawn by Zipf's law out of a lexicon, as words of a language are; a lexicon's word is one to four vocabulary entries (more
    where the vocabulary has few), drawn the same way: an entry's rank is its place in the vocabulary, which training ordered by frequency. Three in a
    hundred are rare ones out of single characters."""
    LEXICON = 8000

    def __init__(self, alphabet, vocabulary, r):
        low, high = alphabet
        entries = [word for word in vocabulary if word and all(low <= ord(c) <= high for c in word)]
        weights = self.zipf(len(entries))
        sizes = (1, 1, 2, 2, 3, 4) if len(entries) > 500 else (2, 3, 4, 5, 6)
        self.lexicon = ["".join(r.choices(entries, cum_weights=weights, k=r.choice(sizes))) for _ in range(self.LEXICON)] if entries else []
        self.weights = self.zipf(len(self.lexicon))
        self.letters = [chr(c) for c in range(low, high + 1)]

    @staticmethod
    def zipf(count):
        return list(itertools.accumulate(1 / (rank + 3) for rank in range(count)))

    def draw(self, r):
        if self.lexicon and r.random() < 0.97:
            return r.choices(self.lexicon, cum_weights=self.weights)[0]
        return "".join(r.choices(self.letters, k=r.randint(1, 5)))


def script_text(kind, vocabulary, size):
    """Running text of one script, with its punctuation and some numbers."""
    r = random.Random(kind)
    alphabets = [Words(alphabet, vocabulary, r) for alphabet in SCRIPTS[kind]]
    unspaced = kind in UNSPACED
    # A clause has about ten characters where no space ends a word.
    words = (1, 5) if unspaced else (4, 16)
    stops = "，。、！" if kind in ("chinese", "japanese") else ",.!?"
    text, done = [], 0
    while done < size:
        line = ("" if unspaced else " ").join(r.choice(alphabets).draw(r) for _ in range(r.randint(*words))) + r.choice(stops)
        line += r.choice(("", "", "", "\n", str(r.randrange(1000)))) if unspaced else r.choice((" ", " ", " ", "\n"))
        text.append(line)
        done += len(line.encode())
    return "".join(text)


def texts(tokenizer, generated_bytes):
    """Kind → pieces: the shared conversations, this repository's own sources and pages, generated text of other scripts, and a mixture of all."""
    kinds = {}
    data = bench.shared_file("data", "alpaca_en_1k.jsonl") or os.path.join(bench.ROOT, "deploy", "demo", "commands.train.jsonl")
    with open(data) as file:
        kinds["conversations"] = pieces("\n".join(m["content"] for line in file for m in json.loads(line)["messages"]))
    code = []
    for pattern in ("engine/**/*.cc", "server/**/*.cc", "client/**/*.cc", "proto/**/*.h"):
        for path in sorted(glob.glob(os.path.join(bench.ROOT, pattern), recursive=True)):
            with open(path, encoding="utf-8", errors="replace") as file:
                code.append(file.read())
    kinds["code"] = pieces("\n".join(code))
    words = vocabulary_words(tokenizer)
    kinds["chinese"] = pieces(script_text("chinese", words, generated_bytes))
    share = generated_bytes // (len(SCRIPTS) - 1)
    kinds["other_scripts"] = [piece for kind in SCRIPTS if kind != "chinese" for piece in pieces(script_text(kind, words, share))]
    # A quarter of the bytes each.
    smallest = min(sum(len(piece.encode()) for piece in items) for items in kinds.values())
    mixed = []
    for items in list(kinds.values()):
        size = 0
        for piece in items:
            if size >= smallest:
                break
            size += len(piece.encode())
            mixed.append(piece)
    random.Random(1).shuffle(mixed)
    kinds["mixed"] = mixed
    return kinds


def write_pieces(path, items):
    with open(path, "w") as file:
        for number, text in enumerate(items):
            file.write(json.dumps({"id": number, "text": text}) + "\n")
    return path


def peer(tokenizer, path):
    """In the other interpreter: seconds of loading, seconds of encode() over all texts, and the ids."""
    from tokenizers import Tokenizer
    begin = time.perf_counter()
    encoder = Tokenizer.from_file(os.path.join(tokenizer, "tokenizer.json"))
    loaded = time.perf_counter()
    with open(path) as file:
        items = [json.loads(line)["text"] for line in file]
    encoder.encode(items[0], add_special_tokens=False)
    start = time.perf_counter()
    ids = [encoder.encode(text, add_special_tokens=False).ids for text in items]
    print(json.dumps({"load_seconds": loaded - begin, "seconds": time.perf_counter() - start, "ids": ids}))


def bench_tokenizer(tokenizer, root, rounds, generated_bytes):
    has_peer = os.path.exists(TESTS_PYTHON)
    for kind, items in texts(tokenizer, generated_bytes).items():
        path = write_pieces(os.path.join(root, kind + ".jsonl"), items)
        megabytes = sum(len(text.encode()) for text in items) / 1e6
        # In turns, so that what slows the machine for a while slows both; each pair gives a ratio.
        ours, theirs = [], []
        for _ in range(rounds):
            ours.append(bench.json_of([bench.test_program("text_bench"), "tokenizer", "--tokenizer", tokenizer, "--input", path, "--rounds", "3"]))
            if has_peer:
                environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
                theirs.append(bench.json_of([TESTS_PYTHON, __file__, "--peer", tokenizer, path], env=environment))
        middle = lambda runs, value: bench.median([value(run) for run in runs])
        result = {"kind": kind, "tokenizer": os.path.basename(tokenizer), "megabytes": round(megabytes, 2),
                  "load_ms": round(middle(ours, lambda run: 1e3 * run["load_seconds"]), 1),
                  "mb_per_second": round(middle(ours, lambda run: megabytes / run["seconds"]), 1),
                  "two_threads_ratio": round(middle(ours, lambda run: run["seconds"] / run["two_threads_seconds"]), 2)}
        if has_peer:
            ratios = [peer_run["seconds"] / run["seconds"] for run, peer_run in zip(ours, theirs)]
            result.update(peer_mb_per_second=round(middle(theirs, lambda run: megabytes / run["seconds"]), 2),
                          peer_load_ms=round(middle(theirs, lambda run: 1e3 * run["load_seconds"]), 1), speed_ratio=round(bench.median(ratios), 1),
                          speed_ratios=[round(ratio, 1) for ratio in sorted(ratios)], same_ids=ours[0]["ids"] == theirs[0]["ids"])
        bench.emit("tokenizer", **result)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--generated-kb", type=int, default=2000)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        sys.exit(peer(*options.peer))
    tokenizer = bench.shared_file("models", "qwen3-tokenizer") or os.path.join(bench.GOLDEN, "tiny_tokenizer")
    with tempfile.TemporaryDirectory(prefix="trainerd-bench-") as root:
        bench_tokenizer(tokenizer, root, options.rounds, 1000 * options.generated_kb)


if __name__ == "__main__":
    main()
