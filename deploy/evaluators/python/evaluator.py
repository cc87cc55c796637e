#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An evaluator for trainerd: leases evaluations, measures each model with lm-eval or a function of yours, and reports the result.

    evaluator.py --suite lm-eval --include-path TASKS

An entry of a job file that it works on:

    evaluation: {remote: [{name: quick, suite: lm-eval, params: {tasks: my_task, limit: "100"}, when: {every_steps: 500}}]}

Parameters of an entry for lm-eval: tasks (required), limit, num_fewshot, batch_size, apply_chat_template (true | false),
dtype. Nothing is downloaded: tasks and their data are local files (--include-path).

--scorer MODULE:FUNCTION replaces lm-eval: FUNCTION(path, params) returns {"METRIC": VALUE} or {"METRIC": {"value": …,
"sample_count": …, "standard_error": …, "lower_is_better": …}}.

It keeps nothing: killed at any moment, its lease expires and the evaluation is offered again. The measurement is a child
process, which ends with this one, and when the lease is lost.
"""
import argparse
import ctypes
import glob
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MAX_ERROR_CHARACTERS = 2000
RETRY_SECONDS = 1


def report(text):
    print(text, flush=True)


# ---------------------------------------------------------------- the measurement, in the child process
def lm_eval_arguments(path, params, include_path, output):
    """The command line of lm-eval for a model folder and the parameters of an entry."""
    if "tasks" not in params:
        raise SystemExit("the entry of evaluation.remote needs params: {tasks: …}")
    model_args = f"pretrained={path},dtype={params.get('dtype', 'float32')}"
    if os.path.exists(os.path.join(path, "adapter_config.json")):
        with open(os.path.join(path, "adapter_config.json")) as file:
            base = json.load(file)["base_model_name_or_path"]
        model_args = f"pretrained={base},peft={path},dtype={params.get('dtype', 'float32')}"
    arguments = ["run", "--model", "hf", "--model_args", model_args, "--tasks", params["tasks"], "--device", params.get("device", "cpu"),
                 "--batch_size", params.get("batch_size", "1"), "--output_path", output]
    for key in ("limit", "num_fewshot"):
        if key in params:
            arguments += [f"--{key}", params[key]]
    if include_path:
        arguments += ["--include_path", include_path]
    if params.get("apply_chat_template") == "true":
        arguments.append("--apply_chat_template")
    return arguments


def metrics_of(results):
    """The metrics of a results file of lm-eval: "TASK/METRIC" with its standard error and number of samples."""
    metrics = {}
    for task, values in results["results"].items():
        samples = results.get("n-samples", {}).get(task, {}).get("effective", 0)
        for key, value in values.items():
            name, _, variant = key.partition(",")
            if not variant or not isinstance(value, (int, float)) or isinstance(value, bool) or name.endswith("_stderr"):
                continue
            error = values.get(f"{name}_stderr,{variant}")
            higher = results.get("higher_is_better", {}).get(task, {}).get(name, True)
            metric = {"value": value, "sample_count": int(samples), "lower_is_better": higher is False}
            if isinstance(error, (int, float)):
                metric["standard_error"] = error
            metrics[f"{task}/{name}" if variant == "none" else f"{task}/{name}/{variant}"] = metric
    return metrics


def measure_with_lm_eval(path, params, include_path):
    os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TRANSFORMERS_OFFLINE="1")
    with tempfile.TemporaryDirectory() as output:
        arguments = lm_eval_arguments(path, params, include_path, output)
        # Its messages go to stderr; stdout is the result of this process.
        subprocess.run([sys.executable, "-m", "lm_eval", *arguments], stdout=sys.stderr, check=True)
        files = glob.glob(os.path.join(output, "**", "results_*.json"), recursive=True)
        with open(max(files, key=os.path.getmtime)) as file:
            return metrics_of(json.load(file))


def measure(options):
    """The child process: prints the metrics as one line of JSON."""
    job = json.load(sys.stdin)
    if options.scorer == "lm-eval":
        metrics = measure_with_lm_eval(job["path"], job["params"], options.include_path)
    else:
        module, _, function = options.scorer.partition(":")
        metrics = getattr(importlib.import_module(module), function)(job["path"], job["params"])
    print(json.dumps(metrics))


# ---------------------------------------------------------------- the evaluator
def end_with_parent():
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Lease:
    """Renews the lease of one evaluation until it is closed; `lost` is set when the work must stop."""

    def __init__(self, service, name, lease, seconds):
        self.service, self.name, self.lease, self.seconds = service, name, lease, seconds
        self.valid_until = time.monotonic() + seconds
        self.lost, self.closed = threading.Event(), threading.Event()
        self.reason = ""
        self.thread = threading.Thread(target=self._renew, daemon=True)
        self.thread.start()

    def _renew(self):
        # At once: from then on it is known until when the lease is valid.
        pause = 0
        while not self.closed.wait(pause):
            begun = time.monotonic()
            try:
                self.service.renew(self.name, self.lease, self.seconds)
                self.valid_until = begun + self.seconds
                pause = self.seconds / 3
            except Unavailable:
                pause = RETRY_SECONDS
            except Exception as error:  # another evaluator has it, or it has ended
                self._lose(str(error))
                return
            if time.monotonic() > self.valid_until:
                self._lose("the lease could not be renewed in time")
                return

    def _lose(self, reason):
        self.reason = reason
        self.lost.set()

    def close(self):
        self.closed.set()


class Unavailable(Exception):
    """The daemon restarts, or the connection broke."""


class Service:
    """The calls of the service Evaluations that an evaluator needs."""

    def __init__(self, address, token):
        import grpc
        from trainerd.v1 import evaluation_pb2, evaluation_pb2_grpc
        self.grpc, self.messages = grpc, evaluation_pb2
        self.metadata = [("authorization", f"Bearer {token}")] if token else None
        self.channel = grpc.insecure_channel(address, options=[("grpc.keepalive_time_ms", 30_000)])
        self.stub = evaluation_pb2_grpc.EvaluationsStub(self.channel)

    def _call(self, method, request, timeout):
        try:
            return method(request, metadata=self.metadata, timeout=timeout)
        except self.grpc.RpcError as error:
            if error.code() in (self.grpc.StatusCode.UNAVAILABLE, self.grpc.StatusCode.DEADLINE_EXCEEDED):
                raise Unavailable(error.details()) from error
            raise RuntimeError(f"{error.code().name}: {error.details()}") from error

    def lease(self, suites, evaluator, lease_seconds, wait_seconds):
        request = self.messages.LeaseEvaluationRequest(suites=suites, evaluator=evaluator)
        request.lease_duration.FromMilliseconds(int(1000 * lease_seconds))
        request.wait.FromMilliseconds(int(1000 * wait_seconds))
        return self._call(self.stub.LeaseEvaluation, request, wait_seconds + 30)

    def renew(self, name, lease, seconds):
        request = self.messages.RenewEvaluationRequest(name=name, lease=lease)
        request.lease_duration.FromMilliseconds(int(1000 * seconds))
        return self._call(self.stub.RenewEvaluation, request, 10)

    def report(self, name, lease, metrics=None, error=""):
        request = self.messages.ReportEvaluationRequest(name=name, lease=lease, error=error)
        for metric, value in sorted((metrics or {}).items()):
            request.metrics.add(name=metric, **(value if isinstance(value, dict) else {"value": value}))
        return self._call(self.stub.ReportEvaluation, request, 30)


def run_measurement(options, leased, lease):
    """(metrics, error) of one evaluation; (None, "") if the lease was lost."""
    command = [sys.executable, os.path.abspath(__file__), "--measure", "--scorer", options.scorer]
    if options.include_path:
        command += ["--include-path", options.include_path]
    with tempfile.TemporaryFile() as errors, tempfile.TemporaryFile() as output:
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=errors, start_new_session=True, preexec_fn=end_with_parent)
        child.stdin.write(json.dumps({"path": leased.path, "params": dict(leased.evaluation.params)}).encode())
        child.stdin.close()
        while child.poll() is None and not lease.lost.wait(0.05):
            pass
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            return None, ""
        output.seek(0)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
        if child.returncode != 0:
            return None, f"the scorer ended with {child.returncode}: {said[-MAX_ERROR_CHARACTERS:]}"
        return json.loads(output.read()), ""


def work(options, service, leased):
    name = leased.evaluation.name
    lease = Lease(service, name, leased.lease, options.lease)
    report(f"began {name}: {leased.path}")
    try:
        metrics, error = run_measurement(options, leased, lease)
        # A report counts once: it is repeated until the daemon has answered.
        while not lease.lost.is_set():
            try:
                ended = service.report(name, leased.lease, metrics, error)
                report(f"reported {name}: {json.dumps(metrics) if metrics else error}")
                return ended
            except Unavailable:
                time.sleep(RETRY_SECONDS)
        report(f"stopped {name}: {lease.reason}")
    except RuntimeError as refused:
        report(f"refused {name}: {refused}")
    finally:
        lease.close()
    return None


def default_address():
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.environ.get("TRAINERD_ADDRESS") or f"unix:{state}/trainerd/trainerd.sock"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", action="append", help="kind of evaluation to work on; may be repeated")
    parser.add_argument("--address", default=default_address(), help="unix:PATH or HOST:PORT; default: $TRAINERD_ADDRESS, else the default state directory")
    parser.add_argument("--token-file", help="the daemon's token; needed over TCP")
    parser.add_argument("--scorer", default="lm-eval", help="lm-eval (default) or MODULE:FUNCTION")
    parser.add_argument("--include-path", help="folder with the tasks of lm-eval")
    parser.add_argument("--lease", type=float, default=60, help="seconds that a killed evaluator holds its evaluation (default 60)")
    parser.add_argument("--wait", type=float, default=60, help="seconds of one call that waits for an evaluation (default 60)")
    parser.add_argument("--once", action="store_true", help="exit after one evaluation")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options)
    if not options.suite:
        parser.error("--suite is required")
    token = None
    if options.token_file:
        with open(options.token_file) as file:
            token = file.read().strip()
    service = Service(options.address, token)
    evaluator = f"{socket.gethostname()} process {os.getpid()}"
    while True:
        try:
            leased = service.lease(options.suite, evaluator, options.lease, options.wait)
        except Unavailable:
            time.sleep(RETRY_SECONDS)
            continue
        if not leased.HasField("evaluation"):
            continue
        work(options, service, leased)
        if options.once:
            return None


if __name__ == "__main__":
    sys.exit(main())
