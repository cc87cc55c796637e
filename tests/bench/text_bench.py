#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The text path without LibTorch: trainerd-inspect beside PyPI `tokenizers`, on one thread each, over the same texts in pieces of about 4 KB; and how many
conversations a second become packed rows. What trainerd-inspect needs to start (program, tokenizer) is measured apart and taken off; its reading and
writing of JSON lines is not.

usage: text_bench.py [--rounds 3]     Runs itself again with the interpreter that has `tokenizers` (install_dependencies.sh --tests)."""

import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile
import time

import bench_common as bench

TESTS_PYTHON = os.path.join(bench.CACHE, "venv-tests", "bin", "python")
PIECE = 4096
COPIES = 20


def pieces(text):
    return [text[begin:begin + PIECE] for begin in range(0, len(text), PIECE)]


def texts():
    """Kind → pieces: the shared conversations, and this repository's own sources and pages."""
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
    return kinds


def seconds_of(arguments, rounds):
    """(Median seconds of the process, its output)."""
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        out = subprocess.run(arguments, capture_output=True, check=True).stdout
        taken.append(time.perf_counter() - begin)
    return bench.median(taken), out


def write_pieces(path, items):
    with open(path, "w") as file:
        for number, text in enumerate(items):
            file.write(json.dumps({"id": number, "text": text}) + "\n")
    return path


def peer(tokenizer, path, rounds):
    """In the other interpreter: seconds of encode() over all texts, and the ids."""
    from tokenizers import Tokenizer
    encoder = Tokenizer.from_file(os.path.join(tokenizer, "tokenizer.json"))
    with open(path) as file:
        items = [json.loads(line)["text"] for line in file]
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        ids = [encoder.encode(text, add_special_tokens=False).ids for text in items]
        taken.append(time.perf_counter() - begin)
    print(json.dumps({"seconds": bench.median(taken), "ids": ids}))


def bench_tokenizer(tokenizer, root, rounds):
    empty = write_pieces(os.path.join(root, "empty.jsonl"), [""])
    inspect = [bench.program("trainerd-inspect"), "tokenize", "--tokenizer", tokenizer, "--input"]
    start = seconds_of([*inspect, empty], rounds)[0]
    for kind, items in texts().items():
        path = write_pieces(os.path.join(root, kind + ".jsonl"), items)
        megabytes = sum(len(text.encode()) for text in items) / 1e6
        ours, out = seconds_of([*inspect, path], rounds)
        result = {"kind": kind, "tokenizer": os.path.basename(tokenizer), "megabytes": round(megabytes, 2), "start_ms": round(1e3 * start, 1),
                  "mb_per_second": round(megabytes / (ours - start), 1)}
        if os.path.exists(TESTS_PYTHON):
            environment = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
            run = subprocess.run([TESTS_PYTHON, __file__, "--peer", tokenizer, path, "--rounds", str(rounds)], capture_output=True, check=True, env=environment)
            theirs = json.loads(run.stdout)
            result.update(peer_mb_per_second=round(megabytes / theirs["seconds"], 2), speed_ratio=round(theirs["seconds"] / (ours - start), 1),
                          same_ids=[json.loads(line)["ids"] for line in out.splitlines()] == theirs["ids"])
        bench.emit("tokenizer", **result)


def bench_rows(model, root, rounds):
    """JSON lines → template → tokens → labels → packed rows, the whole process."""
    source = bench.shared_file("data", "alpaca_en_1k.jsonl") or os.path.join(bench.ROOT, "deploy", "demo", "commands.train.jsonl")
    with open(source) as file:
        lines = file.readlines()
    data, job = os.path.join(root, "many.jsonl"), os.path.join(root, "job.yaml")
    with open(data, "w") as file:
        file.writelines(lines * COPIES)
    with open(job, "w") as file:
        file.write(f"model: {{path: {model}}}\ndata: {{train: [{data}], max_length: 1024}}\n")
    seconds = seconds_of([bench.program("trainerd-inspect"), "preview", "--job", job, "--packed", "--json", "--limit", "1"], rounds)[0]
    bench.emit("rows", conversations=len(lines) * COPIES, per_second=round(len(lines) * COPIES / seconds), seconds=round(seconds, 3))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        sys.exit(peer(*options.peer, options.rounds))
    tokenizer = bench.shared_file("models", "qwen3-tokenizer") or os.path.join(bench.GOLDEN, "tiny_tokenizer")
    with tempfile.TemporaryDirectory(prefix="trainerd-bench-") as root:
        bench_tokenizer(tokenizer, root, options.rounds)
        if os.path.isdir(bench.SMOLLM2):
            bench_rows(bench.SMOLLM2, root, options.rounds)
        else:
            bench.emit("skipped", what="rows", reason=f"{bench.SMOLLM2} is not there: deploy/install_dependencies.sh --model makes it")


if __name__ == "__main__":
    main()
