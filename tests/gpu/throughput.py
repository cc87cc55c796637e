# SPDX-License-Identifier: Apache-2.0
"""Training throughput of complete model shapes with random weights: full fine-tuning in bf16 with
sequences of 2,048 tokens, through trainerd-worker.

The figure covers the time between the events of the first and the last measured step, so it
includes every cost of a step. The worker is killed afterwards, before it writes a checkpoint of
several GB."""

import calendar
import json
import os
import random
import shutil
import subprocess
import time

import limits
from installed import Failed, read_events, say, write_job

MAX_LENGTH = 2048
WARM_UP_STEPS = 4
MEASURED_STEPS = 12
# Sequences per microbatch (= per step). The first size that fits into the device's memory is
# measured.
BATCH_SIZES = (16, 8, 4, 2, 1)
RUN_LIMIT_S = 900
WORDS = (
    "the model reads a row of tokens and learns what comes next while a daemon keeps "
    "its work safe from every crash and power cut that "
    "may happen during a long night of training on one machine with one device"
).split()


def write_conversations(path, tokens):
    """Writes conversations of different lengths, at least `tokens` bytes in total (about as many
    tokens of the byte-level tokenizer). Most of the text is answers, as in chat data."""
    rng = random.Random(7)
    with open(path, "w") as file:
        while file.tell() < 1.3 * tokens:

            def text(size):
                words = []
                while sum(len(word) + 1 for word in words) < size:
                    words.append(rng.choice(WORDS))
                return " ".join(words)

            messages = [
                {"role": "user", "content": text(rng.randint(30, 200))},
                {"role": "assistant", "content": text(rng.randint(100, 1700))},
            ]
            file.write(json.dumps({"messages": messages}) + "\n")


def document_lengths(package, job):
    """The lengths of the packed documents, which the limit's formula needs."""
    lengths = []
    for line in package.run(
        "trainerd-inspect", "preview", "--job", job, "--limit", "1000000", "--packed"
    ).splitlines():
        bounds = json.loads(line)["cu_seqlens"]
        lengths += [end - begin for begin, end in zip(bounds, bounds[1:])]
    return lengths


def seconds_of(event):
    """The event's time, for example 2026-01-02T03:04:05.678901Z, in seconds since 1970."""
    date, _, clock = event["time"].rstrip("Z").partition("T")
    hours, minutes, seconds = clock.split(":")
    return (
        calendar.timegm(time.strptime(date, "%Y-%m-%d"))
        + int(hours) * 3600
        + int(minutes) * 60
        + float(seconds)
    )


def run_steps(package, device, job, folder, steps):
    """Runs `steps` steps, kills the worker and returns their metrics events. Raises Failed with the
    worker's message if the worker exits earlier."""
    os.makedirs(folder)
    events_file, log_file = os.path.join(folder, "events.jsonl"), os.path.join(folder, "log")
    with open(log_file, "w") as log:
        worker = subprocess.Popen(
            [
                package.path("bin", "trainerd-worker"),
                "train",
                "--job",
                job,
                "--run-dir",
                os.path.join(folder, "run"),
                "--events",
                events_file,
                "--set",
                f"resources.device={device}",
            ],
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
    try:
        end = time.monotonic() + RUN_LIMIT_S
        while time.monotonic() < end:
            ended = worker.poll() is not None
            metrics = [event for event in read_events(events_file) if "metrics" in event]
            if len(metrics) >= steps:
                return metrics[:steps]
            if ended:
                with open(log_file) as log:
                    raise Failed(log.read().strip()[-1500:])
            time.sleep(0.2)
        raise Failed(f"only {len(metrics)} steps within {RUN_LIMIT_S} s")
    finally:
        worker.kill()
        worker.wait()


def measure(package, device, name, work, gpu):
    """Measures one shape with the largest microbatch that fits."""
    folder = os.path.join(work, name)
    os.makedirs(folder)
    say(f"{name}: writing random weights")
    model = package.make_model(limits.SHAPES[name], os.path.join(folder, "model"), dtype="bf16")
    steps, refusals = WARM_UP_STEPS + MEASURED_STEPS, []
    for rows in BATCH_SIZES:
        data = os.path.join(folder, f"data-{rows}.jsonl")
        write_conversations(data, rows * MAX_LENGTH * steps)
        job = write_job(
            os.path.join(folder, f"job-{rows}.yaml"),
            {
                "model": {"path": model},
                "data": {"train": [data], "max_length": MAX_LENGTH, "packing": "bfd"},
                "train": {
                    "precision": "bf16",
                    "batch_size": rows,
                    "gradient_accumulation": 1,
                    "max_steps": 100 * steps,
                    "seed": 1,
                },
                "optimizer": {"learning_rate": 1e-05},
                "evaluation": {"at_start": False, "at_end": False},
                "checkpoint": {"every_steps": 0},
            },
        )
        say(f"{name}: {rows} sequences per step")
        try:
            metrics = run_steps(package, device, job, os.path.join(folder, f"run-{rows}"), steps)
        except Failed as failure:
            if "OUT_OF_MEMORY" not in str(failure):
                raise
            refusals.append(rows)
            continue
        finally:
            shutil.rmtree(os.path.join(folder, f"run-{rows}", "run"), ignore_errors=True)
        return {
            "rows": rows,
            "does_not_fit": refusals,
            **figures(name, metrics, document_lengths(package, job), gpu),
        }
    raise Failed(
        f"{name} does not fit into the memory of {device} with one sequence of {MAX_LENGTH} tokens"
    )


def figures(name, metrics, lengths, gpu):
    measured = metrics[WARM_UP_STEPS:]
    seconds = seconds_of(measured[-1]) - seconds_of(metrics[WARM_UP_STEPS - 1])
    tokens = sum(int(event["metrics"]["tokens"]) for event in measured)
    trained = sum(int(event["metrics"]["target_tokens"]) for event in measured) / tokens
    length = limits.mean_square_length(lengths)
    limit = limits.limit_tokens_per_second(limits.SHAPES[name], trained, length, gpu)
    return {
        "tokens_per_second": round(tokens / seconds, 1),
        "step_seconds": round(seconds / len(measured), 4),
        "tokens_per_step": tokens // len(measured),
        "trained_share": round(trained, 4),
        "mean_square_length": round(length, 1),
        "gflops_per_token": round(
            limits.flops_per_token(limits.SHAPES[name], trained, length) / 1e9, 3
        ),
        "limit_tokens_per_second": limit and round(limit, 1),
        "fraction_of_limit": limit and round(tokens / seconds / limit, 4),
        "memory_peak_bytes": max(
            int(event["metrics"].get("memory_peak_bytes", 0)) for event in metrics
        )
        or None,
    }


def throughput(package, device, work, gpu):
    report = {
        "ok": True,
        "precision": "bf16",
        "max_length": MAX_LENGTH,
        "warm_up_steps": WARM_UP_STEPS,
        "measured_steps": MEASURED_STEPS,
        "shapes": {},
    }
    for name in limits.SHAPES:
        report["shapes"][name] = measure(package, device, name, work, gpu)
        shutil.rmtree(os.path.join(work, name), ignore_errors=True)
    return report
