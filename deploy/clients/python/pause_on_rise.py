#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains a job, pauses it when its loss rises, and resumes it.

    pause_on_rise.py --request-id nightly-7 job.json

job.json is a JobConfig as JSON, for example {"model": {"path": "/models/m"}, "data": {"train": [{"path": "/data/d.jsonl"}]}}.
The loss has risen when the mean of the last --window steps is --rise nats above the lowest mean so far. While the job is
paused, its device is free. Called again with the same request id, it continues with the same job. Exit code 0: the job succeeded.
"""
import argparse
import collections
import sys
import time

from google.protobuf import json_format

from trainerd.v1 import job_config_pb2, job_pb2
from trainerd_client import TERMINAL, Client


class RiseDetector:
    """Whether the mean of the last `window` losses is `rise` nats above the lowest such mean."""

    def __init__(self, window, rise):
        self.losses = collections.deque(maxlen=window)
        self.rise = rise
        self.lowest = None

    def add(self, loss):
        self.losses.append(loss)
        if len(self.losses) < self.losses.maxlen:
            return False
        mean = sum(self.losses) / len(self.losses)
        self.lowest = mean if self.lowest is None else min(self.lowest, mean)
        return mean > self.lowest + self.rise


def report(text):
    print(text, flush=True)


def pause_and_resume(client, name, step, seconds):
    client.pause(name, reason=f"the loss has risen at step {step}")
    job = client.wait(name, [job_pb2.Job.PAUSED, job_pb2.Job.QUEUED])
    if job.state in TERMINAL:
        return
    report(f"paused at {job.latest_checkpoint or 'the start'}")
    time.sleep(seconds)
    client.resume(name)
    report("resumed")


def follow(client, job, options):
    """Watches the job to its end. Returns how often it was paused."""
    detector, pauses, last_seq = RiseDetector(options.window, options.rise), 0, 0
    for event in client.watch(job):
        if event.seq <= last_seq:
            raise AssertionError(f"event {event.seq} came after {last_seq}")
        last_seq = event.seq
        body = event.WhichOneof("body")
        if body == "state_changed":
            report(f"state {job_pb2.Job.State.Name(event.state_changed.to_state)}: {event.state_changed.reason}")
        elif body == "alert":
            report(f"alert {event.alert.type} {'raised' if event.alert.active else 'cleared'} at step {event.alert.step}")
        elif body == "metrics" and event.metrics.HasField("loss"):
            if detector.add(event.metrics.loss) and pauses < options.pauses:
                pauses += 1
                report(f"the loss has risen at step {event.metrics.step}: {event.metrics.loss:.4f}")
                pause_and_resume(client, job.name, event.metrics.step, options.pause_seconds)
    return pauses


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", help="JobConfig as JSON")
    parser.add_argument("--request-id", required=True, help="the same id never submits a second job")
    parser.add_argument("--address", help="unix:PATH or HOST:PORT; default: $TRAINERD_ADDRESS, else the default state directory")
    parser.add_argument("--token-file", help="the daemon's token; needed over TCP")
    parser.add_argument("--rise", type=float, default=0.5, help="nats (default 0.5)")
    parser.add_argument("--window", type=int, default=20, help="steps (default 20)")
    parser.add_argument("--pauses", type=int, default=1, help="pause at most so often (default 1)")
    parser.add_argument("--pause-seconds", type=float, default=10, help="time until the job is resumed (default 10)")
    options = parser.parse_args()
    with open(options.job) as file:
        config = json_format.Parse(file.read(), job_config_pb2.JobConfig())
    token = None
    if options.token_file:
        with open(options.token_file) as file:
            token = file.read().strip()
    with Client(options.address, token) as client:
        job = client.submit(config, request_id=options.request_id)
        report(f"submitted {job.name}")
        pauses = follow(client, job, options)
        job = client.get(job.name)
    report(f"ended {job_pb2.Job.State.Name(job.state)} at step {job.progress.step}, paused {pauses} times {job.error.message}".rstrip())
    return 0 if job.state == job_pb2.Job.SUCCEEDED else 1


if __name__ == "__main__":
    sys.exit(main())
