#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From JSON lines to packed rows, without LibTorch but for `second_run`:
rows: conversations a second beside TRL's SFTTrainer, one thread and one process, same data, template, labels and packing; and how full the rows are.
pack: best-fit-decreasing packing of many documents. large: resident memory and time of `trainerd-inspect validate` over a generated file, first and second run,
and time of the quick part (`--quick`, what `trainctl validate` and SubmitJob(validate_only) do).
second_run: a training job over many conversations, run twice: from the start of the worker until it is ready to compute.

usage: data_bench.py [--rounds 3] [--copies 20] [--documents 10000000] [--large-mb 2000] [--conversations 1000000]"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import bench_common as bench
import vs_trl

MAX_LENGTH = 1024


def bench_rows(root, rounds, copies):
    if not os.path.isdir(bench.SMOLLM2):
        bench.emit("skipped", what="rows", reason=f"{bench.SMOLLM2} is not there: deploy/install_dependencies.sh --model, then deploy/demo/make_model.sh make it")
        return
    source = bench.shared_file("data", "alpaca_en_1k.jsonl") or os.path.join(bench.ROOT, "deploy", "demo", "commands.train.jsonl")
    with open(source) as file:
        lines = file.readlines()
    data, job = os.path.join(root, "many.jsonl"), os.path.join(root, "job.yaml")
    with open(data, "w") as file:
        file.writelines(lines * copies)
    with open(job, "w") as file:
        file.write(f"model: {{path: {bench.SMOLLM2}}}\n"
                   f"data: {{train: [{data}], max_length: {MAX_LENGTH}, packing: bfd, chat_template: {vs_trl.SMOLLM2_TEMPLATE}, train_on: template}}\n")
    ours = bench.json_of([bench.test_program("text_bench"), "rows", "--job", job, "--rounds", str(rounds)])
    result = {"conversations": ours["conversations"], "rows": ours["rows"], "per_second": round(ours["conversations"] / ours["seconds"]),
              "seconds": round(ours["seconds"], 3), "load_ms": round(1e3 * ours["load_seconds"], 1), "threads": ours["threads"]}
    if os.path.exists(bench.PEERS_PYTHON):
        theirs = [bench.json_of([bench.PEERS_PYTHON, os.path.join(bench.BENCH_DIR, "trl_prepare_peer.py"), "--tokenizer", bench.SMOLLM2, "--data", data,
                                 "--template", vs_trl.SMOLLM2_TEMPLATE, "--max-length", str(MAX_LENGTH)], stderr=subprocess.DEVNULL)
                  for _ in range(rounds)]
        seconds = bench.median([run["seconds"] for run in theirs])
        result.update(trl=theirs[0]["trl"], trl_per_second=round(theirs[0]["conversations"] / seconds), trl_rows=theirs[0]["rows"],
                      trl_fill=round(theirs[0]["fill"], 4), fill=round(theirs[0]["tokens"] / (ours["rows"] * MAX_LENGTH), 4),
                      speed_ratio=round(seconds / theirs[0]["conversations"] * ours["conversations"] / ours["seconds"], 1), goal="speed_ratio >= 30")
    bench.emit("rows", **result)


def bench_pack(documents, rounds):
    result = bench.json_of([bench.test_program("text_bench"), "pack", "--documents", str(documents), "--rounds", str(rounds)])
    result.update(seconds=round(result["seconds"], 3), fill=round(result["fill"], 5))
    bench.emit("pack", **result, goal="10 M documents in <= 5 s")


def write_conversations(path, megabytes=None, count=None, words_of_answer=(20, 250)):
    """Made-up conversations, all different, until there are so many bytes or lines. Answers the count."""
    source = random.Random(11)
    words = "the of and to in is that it as was for on are with be at one have this from or had by hot but some what there we can out other were all".split()
    # Joining words one by one would take longer than what is measured: sentences are drawn instead.
    sentences = [" ".join(source.choices(words, k=10)) for _ in range(4000)]
    written, number = 0, 0
    least, most = (n // 10 for n in words_of_answer)
    with open(path, "w") as file:
        while (megabytes is None or written < megabytes * 1e6) and (count is None or number < count):
            turns = [{"role": "user", "content": f"{number}: {source.choice(sentences)}"},
                     {"role": "assistant", "content": ". ".join(source.choices(sentences, k=source.randint(least, most)))}]
            written += file.write(json.dumps({"messages": turns}) + "\n")
            number += 1
    return number


def validate(job, environment, *flags):
    """(seconds, largest resident memory in bytes) of one run."""
    begin = time.monotonic()
    child = subprocess.Popen([bench.program("trainerd-inspect"), "validate", "--job", job, *flags], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"trainerd-inspect validate left with {child.returncode}")
    return time.monotonic() - begin, usage.ru_maxrss * 1024


def bench_large(root, megabytes):
    import harness
    tokenizer = bench.shared_file("models", "qwen3-tokenizer") or os.path.join(bench.GOLDEN, "tiny_tokenizer")
    data, job = os.path.join(root, "large.jsonl"), os.path.join(root, "large.yaml")
    count = write_conversations(data, megabytes=megabytes)
    model = os.path.join(root, "large-model")
    shutil.copytree(tokenizer, model)
    with open(os.path.join(bench.GOLDEN, "tiny_model", "config.json")) as file:
        config = json.load(file)
    # A row for each token of Qwen3, and the layers of Qwen3 8B.
    config.update(vocab_size=151936, num_hidden_layers=36)
    with open(os.path.join(model, "config.json"), "w") as file:
        json.dump(config, file)
    harness.write_weights(model)
    with open(job, "w") as file:
        file.write(f"model: {{path: {model}}}\ndata: {{train: [{data}], max_length: {MAX_LENGTH}, cache_limit: 100000}}\n")
    environment = {**os.environ, "TRAINERD_CACHE": os.path.join(root, "cache")}
    quick = bench.median([validate(job, environment, "--quick")[0] for _ in range(5)])
    first, peak = validate(job, environment)
    second, second_peak = validate(job, environment)
    os.remove(data)
    bench.emit("large", megabytes=megabytes, conversations=count, tokenizer=os.path.basename(tokenizer), seconds=round(first, 2),
               mb_per_second=round(megabytes / first, 1), peak_rss_mb=round(peak / 2**20), second_seconds=round(second, 2),
               second_peak_rss_mb=round(second_peak / 2**20), quick_ms=round(1e3 * quick), goal="quick_ms <= 300 for 1 GB with a warm page cache")


def bench_second_run(root, conversations):
    if not os.path.exists(bench.program("trainerd-worker")):
        bench.emit("skipped", what="second_run", reason="trainerd-worker is not built (TRAINERD_ENGINE=OFF)")
        return
    import real_jobs
    model, _ = real_jobs.make_inputs(root)
    data, job = os.path.join(root, "rows.jsonl"), os.path.join(root, "rows.yaml")
    write_conversations(data, count=conversations, words_of_answer=(10, 40))
    with open(job, "w") as file:
        file.write(f"model: {{path: {model}}}\ndata: {{train: [{data}], max_length: 192, packing: bfd, cache_limit: 100000}}\n"
                   "train: {precision: fp32, batch_size: 1, max_steps: 2}\ncheckpoint: {every_steps: 0}\nresources: {device: cpu}\n")
    os.environ["TRAINERD_CACHE"] = os.path.join(root, "cache")
    runs = [vs_trl.run_trainerd(root, bench.THREADS, job, 2) for _ in range(2)]
    os.remove(data)
    bench.emit("second_run", conversations=conversations, rows=runs[0]["rows"], first_ready_s=runs[0]["ready_s"], ready_s=runs[1]["ready_s"],
               peak_rss_mb=runs[1]["peak_rss_mb"], goal="ready_s <= 3 for 1 M rows")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--copies", type=int, default=20)
    parser.add_argument("--documents", type=int, default=10_000_000)
    parser.add_argument("--large-mb", type=int, default=2000)
    parser.add_argument("--conversations", type=int, default=1_000_000)
    parser.add_argument("--only", choices=["rows", "pack", "large", "second_run"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trainerd-bench-", dir=os.environ.get("TRAINERD_BENCH_SCRATCH")) as root:
        wants = lambda name: options.only in (None, name)
        if wants("rows"):
            bench_rows(root, options.rounds, options.copies)
        if wants("pack"):
            bench_pack(options.documents, options.rounds)
        if wants("large"):
            bench_large(root, options.large_mb)
        if wants("second_run"):
            bench_second_run(root, options.conversations)


if __name__ == "__main__":
    sys.exit(main())
