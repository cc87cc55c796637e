# SPDX-License-Identifier: Apache-2.0
"""What the checks use of the unpacked package: its programs, models with random weights, job files
and events."""

import json
import os
import subprocess
import sys


def say(text):
    print(f"[gpu check] {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A check failed; the report contains the text."""


class Package:
    def __init__(self, folder):
        self.folder = folder

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def run(self, program, *arguments, timeout=600, check=True):
        """Runs a program of the package and returns its stdout."""
        result = subprocess.run(
            [self.path("bin", program), *arguments],
            capture_output=True,
            text=True,
            timeout=timeout,
            stdin=subprocess.DEVNULL,
        )
        if check and result.returncode != 0:
            raise Failed(
                f"{program} {' '.join(arguments)}: exit code {result.returncode}: "
                f"{(result.stderr or result.stdout).strip()[-2000:]}"
            )
        return result.stdout

    def devices(self):
        return json.loads(self.run("trainerd-worker", "devices"))["devices"]

    def make_model(self, config, folder, dtype="fp32"):
        """Writes a model with random weights and the tests' byte-level tokenizer (320 ids)."""
        config_file = folder + ".config.json"
        with open(config_file, "w") as file:
            json.dump(config, file)
        self.run(
            "trainerd-worker",
            "init-model",
            "--config",
            config_file,
            "--output",
            folder,
            "--seed",
            "1",
            "--dtype",
            dtype,
            "--tokenizer",
            self.path("tests", "golden", "tiny_tokenizer"),
            timeout=3600,
        )
        return folder


def write_job(path, job):
    """Writes a job file. JSON is valid YAML."""
    with open(path, "w") as file:
        json.dump(job, file, indent=1)
    return path


def read_events(path):
    """The events of a file that the worker may still be writing: complete lines only."""
    try:
        with open(path) as file:
            lines = file.read().split("\n")[:-1]
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def losses(events):
    return {
        int(event["metrics"]["step"]): event["metrics"]["loss"]
        for event in events
        if "metrics" in event
    }
