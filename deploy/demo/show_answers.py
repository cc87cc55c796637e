#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Reads a job's events (JSON lines on stdin) and prints its sample answers before and after training, and the losses.

Exits 1 unless at least 8 of 10 answers are right after training and the losses fell below 60 % of their start.
"""
import json
import sys


def shorten(text, width):
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def main():
    first, last, losses, validation = {}, {}, [], []
    for line in sys.stdin:
        event = json.loads(line)
        if "sample" in event:
            sample = event["sample"]
            index = int(sample.get("index", 0))
            first.setdefault(index, sample)
            last[index] = sample
        elif "metrics" in event and "loss" in event["metrics"]:
            losses.append(float(event["metrics"]["loss"]))
        elif "eval" in event and "loss" in event["eval"]:
            validation.append(float(event["eval"]["loss"]))
    right_before = sum(s.get("output", "") == s.get("expected", "") for s in first.values())
    right_after = sum(s.get("output", "") == s.get("expected", "") for s in last.values())
    for index in sorted(last):
        mark = "right" if last[index].get("output", "") == last[index].get("expected", "") else "WRONG"
        print(f"{last[index].get('prompt', '')}\n  before: {shorten(first[index].get('output', ''), 90)}\n  after:  {shorten(last[index].get('output', ''), 90)}   [{mark}]")
    print(f"\nRight answers: {right_before} of {len(first)} before, {right_after} of {len(last)} after")
    if losses:
        print(f"Training loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last")
    if validation:
        print(f"Validation loss: {validation[0]:.3f} before, {validation[-1]:.3f} after")
    learned = right_after * 10 >= 8 * len(last) and len(last) > 0 and right_before == 0
    fell = losses and validation and losses[-1] < 0.6 * losses[0] and validation[-1] < 0.6 * validation[0]
    if not (learned and fell):
        print("The model did not learn what it should: this is a fault of trainerd, please report it with this output.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
