# SPDX-License-Identifier: Apache-2.0
"""The Python client of deploy/clients, with code generated from the protos of the package by the command of its README: the script pauses and resumes a
job while the daemon is killed, the library's watch loses and repeats nothing, and the example of the README runs as it is printed."""

import json
import os
import re
import shutil
import subprocess
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
PYTHON = os.path.join(CACHE, "venv-tests", "bin", "python3")

# Prints the sequence number of each event of a job that it submits with the request id given.
WATCH_ALL = """
import json, sys
from google.protobuf import json_format
from trainerd.v1 import job_config_pb2
from trainerd_client import Client
with open(sys.argv[2]) as file:
    config = json_format.Parse(file.read(), job_config_pb2.JobConfig())
with Client(sys.argv[1]) as client:
    job = client.submit(config, request_id=sys.argv[3])
    again = client.submit(config, request_id=sys.argv[3])
    assert again.name == job.name, f"{again.name} is not {job.name}"
    print(json.dumps({"name": job.name, "seqs": [event.seq for event in client.watch(job)]}))
"""

# Submits a suspended job, changes it, and lets it run.
UPDATE = """
import sys, grpc
from google.protobuf import json_format
from trainerd.v1 import job_config_pb2, job_pb2, trainer_pb2
from trainerd_client import Client
with open(sys.argv[2]) as file:
    config = json_format.Parse(file.read(), job_config_pb2.JobConfig())
config.suspended = True
with Client(sys.argv[1]) as client:
    job = client.submit(config)
    assert job.wait_reason == job_pb2.Job.HELD
    labels = dict(job.config.labels, team="blue")
    changed = client.update(job.name, ["config.priority", "config.labels"], etag=job.etag, priority=7, labels=labels)
    assert changed.etag != job.etag
    for paths, etag, code in ((["config.train.seed"], "", grpc.StatusCode.INVALID_ARGUMENT), (["config.priority"], job.etag, grpc.StatusCode.ABORTED)):
        try:
            client.update(job.name, paths, etag=etag, priority=1)
            raise SystemExit(f"{paths} was changed")
        except grpc.RpcError as error:
            assert error.code() == code, error
    why = client.trainer.ExplainJob(trainer_pb2.ExplainJobRequest(name=job.name))
    assert why.reasons[0].code == "HELD", why
    client.resume(job.name)
    client.wait(job.name)
    updates = [event for event in client.watch(job, after="begin", event_types=["job_updated"])]
    assert [list(event.job_updated.update_mask.paths) for event in updates] == [["config.labels", "config.priority"]], updates
"""


def commands_of(path):
    """The lines of a README that call protoc."""
    with open(path) as file:
        return [line.strip() for line in file if "grpc_tools.protoc" in line and line.strip().startswith("python3")]


def blocks_of(path, language):
    with open(path) as file:
        return re.findall(f"```{language}\\n(.*?)```", file.read(), re.DOTALL)


class PythonClientTest(FakeWorkerTest):

    def setUp(self):
        if subprocess.run([PYTHON, "-c", "import grpc_tools"], capture_output=True).returncode != 0:
            self.skipTest(f"{PYTHON} has no grpcio-tools: run deploy/install_dependencies.sh --tests")
        super().setUp()
        self.share = os.environ.get("TRAINERD_PACKAGE_SHARE")
        if not self.share:
            self.share = os.path.join(self.world.root, "share")
            subprocess.run([os.path.join(ROOT, "deploy", "package", "copy_clients.sh"), self.share], check=True)
        self.work = os.path.join(self.world.root, "client")
        shutil.copytree(os.path.join(self.share, "clients", "python"), self.work)
        self.generate(os.path.join(self.work, "README.md"), "PROTOS", os.path.join(self.share, "proto"))

    def generate(self, readme, folder, protos):
        """Runs the command of the README in the client's folder."""
        command, = commands_of(readme)
        command = re.sub(rf"\b{folder}\b(?=[ /])", protos, command)
        subprocess.run(command.replace("python3", PYTHON, 1), shell=True, check=True, cwd=self.work, timeout=harness.PATIENCE_S)

    def job_json(self, name, **labels):
        """A JobConfig as JSON for the fake worker."""
        write_job(self.world.root, name=name)
        config = {"name": name, "labels": {f"fake.{key}": str(value) for key, value in labels.items()},
                  "model": {"path": os.path.join(self.world.root, "model")},
                  "data": {"train": [{"path": os.path.join(self.world.root, "data.jsonl")}]},
                  "train": {"seed": 7}, "checkpoint": {"every_steps": 25}}
        path = os.path.join(self.work, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        return path

    def spawn(self, *arguments):
        return subprocess.Popen([PYTHON, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=self.work,
                                env={**os.environ, "TRAINERD_ADDRESS": self.world.address})

    def finish(self, process):
        out, err = process.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(process.returncode, 0, f"{out}\n{err}")
        return out

    def only_job(self):
        jobs = json.loads(self.world.ctl("ls", "-o", "json"))
        return (jobs.get("jobs", []) if isinstance(jobs, dict) else jobs)[0]["name"]

    def test_the_script_pauses_when_the_loss_rises_and_resumes(self):
        self.world.start()
        script = self.spawn("pause_on_rise.py", "--request-id", "r1", "--pause-seconds", "0.2",
                            self.job_json("rising", steps=300, step_ms=10, rise_at=120))
        # The connection breaks and the daemon restarts while the script watches and waits.
        for _ in range(3):
            time.sleep(0.7)
            self.world.restart_after_kill()
        out = self.finish(script)
        job = self.only_job()
        self.assertRegex(out, f"(?s)submitted {job}\n.*the loss has risen at step 1[2-9][0-9].*paused at {job}/checkpoints/.*resumed.*"
                              "state RUNNING.*ended SUCCEEDED at step 300, paused 1 times")
        events = self.world.events(job)
        harness.check_whole_run(events, 300)
        changes = [event["state_changed"] for event in harness.of_kind(events, "state_changed")]
        self.assertIn("the loss has risen", " ".join(change.get("reason", "") for change in changes))
        self.assertIn("PAUSED", [change["to_state"] for change in changes])

    def test_a_watch_from_the_answer_loses_and_repeats_nothing(self):
        self.world.start()
        with open(os.path.join(self.work, "watch_all.py"), "w") as file:
            file.write(WATCH_ALL)
        jobs = [self.spawn("watch_all.py", self.world.address, self.job_json(f"watched{i}", steps=60 * (i + 1), step_ms=3), f"id-{i}") for i in range(4)]
        for _ in range(3):
            time.sleep(0.6)
            self.world.restart_after_kill()
        for process in jobs:
            seen = json.loads(self.finish(process))
            events = self.world.events(seen["name"])
            end = next(int(event["seq"]) for event in events if event.get("state_changed", {}).get("to_state") in harness.TERMINAL)
            # The answer itself is the state after the first change.
            created = next(int(event["seq"]) for event in events if "state_changed" in event)
            logged = [int(event["seq"]) for event in events if created < int(event["seq"]) <= end]
            self.assertEqual([seq for seq in seen["seqs"] if created < seq <= end], logged)
            self.assertEqual(seen["seqs"], sorted(set(seen["seqs"])))

    def test_an_update_is_in_force_and_is_not_repeated(self):
        self.world.start()
        with open(os.path.join(self.work, "update.py"), "w") as file:
            file.write(UPDATE)
        self.finish(self.spawn("update.py", self.world.address, self.job_json("updated", steps=5)))
        got = self.world.get(self.only_job())
        self.assertEqual((got["config"]["priority"], got["config"]["labels"]["team"], got["state"]), (7, "blue", "SUCCEEDED"))

    def test_the_example_of_the_readme_is_true(self):
        self.world.start()
        readme = os.path.join(ROOT, "README.md")
        example, = [block for block in blocks_of(readme, "python") if "trainer_pb2_grpc" in block]
        for command in commands_of(readme) + commands_of(os.path.join(ROOT, "proto", "README.md")):
            self.assertEqual(command, "python3 -m grpc_tools.protoc -I proto --python_out=. --grpc_python_out=. proto/trainerd/v1/*.proto")
        write_job(self.world.root)
        for printed, real in (("/models/Qwen3-0.6B", os.path.join(self.world.root, "model")), ("/data/chat.jsonl", os.path.join(self.world.root, "data.jsonl")),
                              ('"unix:" + os.path.expanduser("~/.local/state/trainerd/trainerd.sock")', repr(self.world.address))):
            self.assertIn(printed, example)
            example = example.replace(printed, real)
        # The fake worker takes its number of steps from here.
        example = example.replace("job = trainer.Submit", "config.train.max_steps = 20\njob = trainer.Submit", 1)
        path = os.path.join(self.work, "example.py")
        with open(path, "w") as file:
            file.write(example)
        out = self.finish(self.spawn(path))
        self.assertIn("SUCCEEDED", out)
        self.assertRegex(out, r"(?m)^\d+ metrics 20 \d")


if __name__ == "__main__":
    unittest.main(verbosity=2)
