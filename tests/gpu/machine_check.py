# SPDX-License-Identifier: Apache-2.0
"""The checks of tests/gpu/run.sh, one function each. Each returns its part of the report, with the
key "ok". run.sh has added LibTorch to LD_LIBRARY_PATH."""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

from installed import Failed, Package, losses, read_events, say, write_job
from throughput import throughput

# Largest relative difference of a step's loss between CPU and CUDA.
AGREEMENT = {"fp32": 1e-4, "bf16": 2e-2}
AGREEMENT_STEPS = 12
# Long enough that the pause takes effect before the job ends.
JOB_STEPS = 400
PAUSE_AFTER_STEP = 20
WAIT_S = 600


def machine(package, device):
    """The machine and versions to which the figures belong."""
    report = {
        "cpu": next(entry["model"] for entry in package.devices() if entry["name"] == "cpu"),
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "glibc": platform.libc_ver()[1],
        "trainerd": package.run("trainerd-worker", "--version").strip(),
        "torch": torch_version(),
        "device": device,
    }
    if device.startswith("cuda"):
        report["gpus"] = query_gpus()
        report["gpu"] = next(entry for entry in package.devices() if entry["name"] == device)[
            "model"
        ]
    return report


def query_gpus():
    """What nvidia-smi prints of each GPU; empty without it, as in some containers."""
    command = "nvidia-smi --query-gpu=index,name,driver_version,memory.total --format=csv,noheader"
    try:
        query = subprocess.run(
            command.split(), capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return query.stdout.strip().split("\n") if query.returncode == 0 else []


def torch_version():
    with open(os.path.join(os.environ["TRAINERD_TORCH_LIB"], "..", "version.py")) as file:
        return re.search(r"__version__ *= *['\"]([^'\"]+)", file.read()).group(1)


def check_device(package, device):
    found = [entry for entry in package.devices() if entry["name"] == device]
    if not found:
        raise Failed(f"trainerd-worker devices does not list {device}: {package.devices()}")
    if found[0].get("unavailable"):
        raise Failed(f"{device} cannot be used: {found[0]['unavailable']}")
    return {"ok": True, **found[0]}


def engine_tests(package, device):
    """Runs every engine test that computes, on the device: one process per suite, so that a crash
    ends only its own suite."""
    program = package.path("tests", "bin", "engine_device_tests")
    if not os.path.exists(program):
        raise Failed("the package contains no engine tests; build it from a preset with tests")
    environment = {**os.environ, "TRAINERD_TEST_DEVICE": device}
    listed = subprocess.run(
        [program, "--gtest_list_tests"], env=environment, capture_output=True, text=True, check=True
    ).stdout
    suites = [
        line.split("#")[0].strip()
        for line in listed.splitlines()
        if line and not line.startswith(" ") and line.split("#")[0].strip().endswith(".")
    ]
    report = {"ok": True, "passed": 0, "skipped": [], "failed": []}
    for suite in suites:
        say(f"{suite[:-1]} on {device}")
        run_suite(program, suite, environment, report)
    if not report["passed"] and not report["failed"]:
        report["error"] = f"no test ran, because engine_device_tests cannot open {device}"
    report["ok"] = not report["failed"] and report["passed"] > 0
    return report


def run_suite(program, suite, environment, report):
    with tempfile.TemporaryDirectory() as folder:
        result_file = os.path.join(folder, "result.json")
        run = subprocess.run(
            [program, f"--gtest_filter={suite}*", f"--gtest_output=json:{result_file}"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=1200,
            cwd=folder,
            check=False,
        )
        tests = []
        if os.path.exists(result_file):
            with open(result_file) as file:
                tests = [
                    test
                    for entry in json.load(file).get("testsuites", [])
                    for test in entry["testsuite"]
                ]
    failures = [test for test in tests if test.get("failures")]
    for test in failures:
        report["failed"].append(
            {"test": suite + test["name"], "message": test["failures"][0]["failure"][:1500]}
        )
    report["skipped"] += [suite + test["name"] for test in tests if test.get("result") == "SKIPPED"]
    report["passed"] += sum(
        not test.get("failures") and test.get("result") == "COMPLETED" for test in tests
    )
    if run.returncode != 0 and not failures:
        report["failed"].append(
            {
                "test": suite + "*",
                "message": f"exit code {run.returncode}: {(run.stdout + run.stderr)[-1500:]}",
            }
        )


def small_config():
    """A Qwen3 with four layers: query and key norms, grouped keys, tied head."""
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": 320,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "hidden_act": "silu",
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "tie_word_embeddings": True,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "float32",
    }


def small_job(package, model, max_length, **train):
    return {
        "model": {"path": model},
        "data": {
            "train": [package.path("share", "demo", "commands.train.jsonl")],
            "max_length": max_length,
            "packing": "bfd",
        },
        "train": {"seed": 1, **train},
        "optimizer": {"learning_rate": 0.0005},
        "schedule": {"type": "cosine", "warmup_steps": 2},
        "evaluation": {"at_start": False, "at_end": False},
        "checkpoint": {"every_steps": 0, "keep_last": 1},
    }


def agreement(package, device, work):
    """Trains the same steps on the CPU and on the device and compares the losses."""
    model = package.make_model(small_config(), os.path.join(work, "agreement-model"))
    report = {"ok": True, "runs": []}
    for precision, limit in AGREEMENT.items():
        job = write_job(
            os.path.join(work, f"agreement-{precision}.yaml"),
            small_job(
                package,
                model,
                256,
                precision=precision,
                batch_size=2,
                gradient_accumulation=2,
                max_steps=AGREEMENT_STEPS,
            ),
        )
        found = {}
        for side, where in (("cpu", "cpu"), ("device", device)):
            say(f"{AGREEMENT_STEPS} steps in {precision} on {where}")
            events = os.path.join(work, f"agreement-{precision}-{side}.jsonl")
            package.run(
                "trainerd-worker",
                "train",
                "--job",
                job,
                "--run-dir",
                os.path.join(work, f"agreement-{precision}-{side}"),
                "--events",
                events,
                "--set",
                f"resources.device={where}",
            )
            found[side] = losses(read_events(events))
        if (
            sorted(found["cpu"]) != list(range(1, AGREEMENT_STEPS + 1))
            or found["cpu"].keys() != found["device"].keys()
        ):
            raise Failed(
                "the two runs have different steps: "
                f"{sorted(found['cpu'])} and {sorted(found['device'])}"
            )
        worst = max(
            abs(found["device"][step] - loss) / abs(loss) for step, loss in found["cpu"].items()
        )
        fell = found["device"][AGREEMENT_STEPS] < found["device"][1]
        report["runs"].append(
            {
                "precision": precision,
                "steps": AGREEMENT_STEPS,
                "first_loss": found["device"][1],
                "last_loss": found["device"][AGREEMENT_STEPS],
                "largest_relative_difference": worst,
                "limit": limit,
                "ok": worst <= limit and fell,
            }
        )
    report["ok"] = all(run["ok"] for run in report["runs"])
    return report


class Daemon:
    """The package's trainerd, with its own state directory."""

    def __init__(self, package, work):
        self.package = package
        self.state_dir = os.path.join(work, "state")
        self.log = os.path.join(work, "trainerd.log")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                [package.path("bin", "trainerd"), "--state-dir", self.state_dir],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def ctl(self, *arguments, check=True):
        return self.package.run(
            "trainctl",
            "--address",
            f"unix:{self.state_dir}/trainerd.sock",
            *arguments,
            timeout=WAIT_S + 60,
            check=check,
        )

    def wait_serving(self):
        self.wait_for(
            lambda: self.ctl("-o", "json", "ls", check=False).startswith(("{", "[")),
            "the daemon to serve",
            30,
        )

    def wait_for(self, condition, what, patience=WAIT_S):
        end = time.monotonic() + patience
        while not condition():
            if self.process.poll() is not None or time.monotonic() > end:
                with open(self.log) as log:
                    raise Failed(
                        f"timeout or daemon exit while waiting for {what}; "
                        f"the daemon's log: {log.read()[-2000:]}"
                    )
            time.sleep(0.05)

    def stop(self):
        self.process.terminate()
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def drive_job(daemon, device, job_file):
    """Submits, pauses and resumes a job. Returns its name and the step of the pause."""
    job = json.loads(
        daemon.ctl("-o", "json", "submit", job_file, "--set", f"resources.device={device}")
    )["name"]

    def get():
        return json.loads(daemon.ctl("-o", "json", "get", job))

    def reached(step):
        state = get()
        if state["state"] == "FAILED":
            raise Failed(f"the job failed: {json.dumps(state.get('error'))}")
        return int(state.get("progress", {}).get("step", 0)) >= step

    daemon.wait_for(lambda: reached(PAUSE_AFTER_STEP), f"step {PAUSE_AFTER_STEP}")
    daemon.ctl("pause", job)
    daemon.ctl("wait", job, "--for", "PAUSED", "--timeout", f"{WAIT_S}s")
    paused_at = int(get()["progress"]["step"])
    say(f"paused at step {paused_at}; resuming")
    daemon.ctl("resume", job)
    daemon.ctl("wait", job, "--for", "SUCCEEDED", "--timeout", f"{WAIT_S}s")
    return job, paused_at


def daemon_job(package, device, work):
    """Runs a job through the daemon: submit, pause, resume, SUCCEEDED. Checks that the events have
    each step once and that the final model generates text."""
    with open(package.path("tests", "golden", "tiny_model", "config.json")) as file:
        model = package.make_model(json.load(file), os.path.join(work, "job-model"))
    job_file = write_job(
        os.path.join(work, "job.yaml"),
        small_job(
            package,
            model,
            128,
            precision="fp32",
            batch_size=1,
            gradient_accumulation=1,
            max_steps=JOB_STEPS,
        ),
    )
    daemon = Daemon(package, work)
    try:
        daemon.wait_serving()
        say(f"a job of {JOB_STEPS} steps through the daemon on {device}")
        job, paused_at = drive_job(daemon, device, job_file)
        events = [
            json.loads(line)
            for line in daemon.ctl("-o", "jsonl", "watch", job, "--after", "begin").splitlines()
        ]
        folder = json.loads(daemon.ctl("-o", "json", "get", job))["run_dir"] + "/final"
    finally:
        # Attempts outlive the daemon: after a failed check, none may keep running.
        daemon.ctl("stop", "--force", "latest", check=False)
        code = daemon.stop()
    steps = sorted(int(event["metrics"]["step"]) for event in events if "metrics" in event)
    if steps != list(range(1, JOB_STEPS + 1)):
        raise Failed(f"{len(steps)} metrics for {JOB_STEPS} steps: a step is missing or duplicated")
    answer = package.run(
        "trainerd-worker",
        "sample",
        "--model",
        folder,
        "--prompt",
        "How do I pause a job?",
        "--max-tokens",
        "8",
    )
    seconds = {
        event["stage"]["stage"]: event["stage"]["seconds"]
        for event in events
        if event.get("stage", {}).get("finished")
    }
    return {
        "ok": code == 0 and 0 < paused_at < JOB_STEPS,
        "paused_at_step": paused_at,
        "steps": len(steps),
        "first_loss": losses(events)[1],
        "last_loss": losses(events)[JOB_STEPS],
        "stage_seconds": seconds,
        "answer_bytes": len(answer.encode()),
        "daemon_exit_code": code,
    }


class Report:
    """The parts that have run. With a file, it is rewritten when a part begins and ends, so that
    what has been found outlives a crash, a time limit or a kill."""

    def __init__(self, path=None):
        self.path = path
        self.parts = {"ok": False}

    def run(self, name, check):
        """Runs a part. Whatever it raises fails that part alone."""
        say(name)
        begin = time.monotonic()
        self.parts[name] = {"ok": False, "error": "the part has not ended"}
        self.write()
        try:
            part = check()
        except Failed as failure:
            part = {"ok": False, "error": str(failure)}
        except subprocess.TimeoutExpired as failure:
            part = {
                "ok": False,
                "error": f"{failure.cmd[0]} did not exit within {failure.timeout} s",
            }
        except Exception:  # a part is independent of the others
            part = {"ok": False, "error": traceback.format_exc(limit=-3)}
        part["seconds"] = round(time.monotonic() - begin, 1)
        self.parts[name] = part
        self.write()
        return part

    def finish(self):
        parts = [part for part in self.parts.values() if isinstance(part, dict)]
        self.parts["ok"] = all(part.get("ok", True) for part in parts)
        self.write()
        return self.parts["ok"]

    def text(self):
        return json.dumps(self.parts, indent=1)

    def write(self):
        if self.path is None:
            return
        with open(self.path + ".tmp", "w") as file:
            file.write(self.text() + "\n")
        os.replace(self.path + ".tmp", self.path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--parts", default="tests,agreement,job")
    parser.add_argument("--bench", action="store_true")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - {"tests", "agreement", "job"}:
        parser.error(
            f"--parts: {', '.join(sorted(unknown))} is unknown; use tests, agreement or job"
        )
    package, device = Package(arguments.package), arguments.device
    work = tempfile.mkdtemp(prefix="trainerd-gpu-")
    report = Report(arguments.out)
    try:
        if report.run("device", lambda: check_device(package, device))["ok"]:
            surroundings = report.run("machine", lambda: machine(package, device))
            checks = {
                "tests": lambda: engine_tests(package, device),
                "agreement": lambda: agreement(package, device, work),
                "job": lambda: daemon_job(package, device, work),
            }
            for part in parts:
                report.run(part, checks[part])
            if arguments.bench:
                gpu = surroundings.get("gpu", "")
                report.run("bench", lambda: throughput(package, device, work, gpu))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    succeeded = report.finish()
    print(report.text())
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
