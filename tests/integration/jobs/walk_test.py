# SPDX-License-Identifier: Apache-2.0
"""One walk of an orchestrator in Python through all that it uses of the API: a suspended job is released and watched; its checkpoints are evaluated
remotely; a regression is reported to a webhook; the best checkpoint is kept, the rest is collected; the best one is pulled; a sweep of three starts from it
and is compared. The daemon is killed in between."""

import hashlib
import json
import os
import unittest

import harness
from python_client import PythonClientFixture
from webhook_receiver import SECRET, Receiver, check_signature

# Submits the job, evaluates its checkpoints, and prints its name and its best checkpoint.
TRAIN = """
import json, sys
from google.protobuf import json_format
from trainerd.v1 import event_pb2, evaluation_pb2, evaluation_pb2_grpc, job_config_pb2, job_pb2, trainer_pb2, trainer_pb2_grpc
from trainerd_client import Client

ACCURACIES = {25: 0.60, 50: 0.90, 75: 0.70}
with open(sys.argv[2]) as file:
    config = json_format.Parse(file.read(), job_config_pb2.JobConfig())
with Client(sys.argv[1]) as client:
    evaluations = evaluation_pb2_grpc.EvaluationsStub(client.channel)
    job = client.submit(config, request_id="walk")
    assert (job.state, job.wait_reason) == (job_pb2.Job.QUEUED, job_pb2.Job.HELD), job
    client.resume(job.name)
    measured = []
    for event in client.watch(job, event_types=["remote_eval"]):
        evaluation = event.remote_eval.evaluation
        if evaluation.state != evaluation_pb2.Evaluation.TRIGGERED:
            continue
        request = evaluation_pb2.LeaseEvaluationRequest(suites=["qa"], evaluator="walk")
        request.wait.seconds = 30
        lease = client._repeat(evaluations.LeaseEvaluation, request)
        with open(lease.path + "/MANIFEST.json") as file:
            assert json.load(file)
        report = evaluation_pb2.ReportEvaluationRequest(name=lease.evaluation.name, lease=lease.lease)
        report.metrics.add(name="acc", value=ACCURACIES[lease.evaluation.step], sample_count=10_000)
        first = client._repeat(evaluations.ReportEvaluation, report)
        assert client._repeat(evaluations.ReportEvaluation, report) == first, "a repeated report has no second effect"
        measured.append(lease.evaluation.step)
        if len(measured) == len(ACCURACIES):
            break
    job = client.get(job.name)
    assert [alert.type for alert in job.alerts if alert.active] == ["evaluation_regression"], job.alerts
    print(json.dumps({"name": job.name, "best": job.best_checkpoint, "value": job.best_value, "steps": measured}))
"""

# Collects what retention does not keep, downloads the best checkpoint's weights, and prints what is left.
COLLECT = """
import hashlib, json, sys
from trainerd.v1 import trainer_pb2, trainer_pb2_grpc
from trainerd_client import Client

with Client(sys.argv[1]) as client:
    ledger = trainer_pb2_grpc.CheckpointsStub(client.channel)
    client.wait(sys.argv[2])
    ledger.CollectGarbage(trainer_pb2.CollectGarbageRequest(parent=sys.argv[2]))
    left = [c.name for c in ledger.ListCheckpoints(trainer_pb2.ListCheckpointsRequest(parent=sys.argv[2])).checkpoints if not c.deleted]
    request = trainer_pb2.DownloadCheckpointRequest(name=sys.argv[3], file="model.safetensors")
    data = b"".join(chunk.data for chunk in ledger.DownloadCheckpoint(request))
    print(json.dumps({"left": left, "sha256": hashlib.sha256(data).hexdigest()}))
"""


class WalkTest(PythonClientFixture):

    def script(self, name, text, *arguments):
        with open(os.path.join(self.work, name), "w") as file:
            file.write(text)
        return self.spawn(name, self.world.address, *arguments)

    def config(self):
        path = self.job_json("walk", steps=100, step_ms=2, hold_at=90)
        with open(path) as file:
            config = json.load(file)
        config["checkpoint"]["keep_last"] = 1
        config["suspended"] = True
        config["notify"] = [{"target": "hook", "events": ["NOTIFY_EVENT_ALERT"]}]
        config["evaluation"] = {"best": {"metric": "remote.q.acc"},
                                "remote": [{"name": "q", "suite": "qa", "when": {"every_steps": 1, "at_end": False}}]}
        with open(path, "w") as file:
            json.dump(config, file)
        return path

    def test_an_orchestrator_walks_from_a_suspended_job_to_a_sweep_of_its_best_checkpoint(self):
        receiver = Receiver()
        self.addCleanup(receiver.close)
        secret_file = os.path.join(self.world.root, "secret")
        with open(secret_file, "w") as file:
            file.write(SECRET + "\n")
        os.chmod(secret_file, 0o600)
        self.world.settings["notify"] = json.dumps([{"name": "hook", "url": f"http://127.0.0.1:{receiver.port}/hook", "secret_file": secret_file,
                                                     "all_jobs": False}])
        self.world.start()
        training = self.script("train.py", TRAIN, self.config())
        harness.wait_for(lambda: json.loads(self.world.ctl("ls", "-o", "json")).get("jobs"), "the job")
        self.world.restart_after_kill()
        walked = json.loads(self.finish(training))
        job, best = walked["name"], walked["best"]
        self.assertEqual(walked["steps"], [25, 50, 75])
        self.assertEqual((best, walked["value"]), (f"{job}/checkpoints/step-00000050-a1", 0.9))

        harness.wait_for(lambda: receiver.of("/hook"), "the webhook")
        _, headers, body = receiver.of("/hook")[0]
        check_signature(self, headers, body)
        alert = json.loads(body)
        self.assertEqual((alert["type"], alert["data"]["job"]["name"]), ("job.alert", job))
        self.assertEqual(alert["data"]["event"]["alert"]["type"], "evaluation_regression")

        self.world.restart_after_kill()
        self.world.release(job, 90)
        collected = json.loads(self.finish(self.script("collect.py", COLLECT, job, best)))
        self.assertEqual(collected["left"][-1], best)
        self.assertEqual(len(collected["left"]), 2, "the newest one and the best one")
        pulled = os.path.join(self.world.root, "pulled")
        self.world.ctl("checkpoints", "pull", best, pulled)
        with open(os.path.join(pulled, "model.safetensors"), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), collected["sha256"])

        rates = ["1e-05", "2e-05", "4e-05"]
        self.world.ctl("submit", "--no-validate", "--from", best, "--sweep", "optimizer.learning_rate=" + ",".join(rates), "--group", "tuned", "--set", "suspended=false",
                       "--set", "labels={fake.steps: '60'}")
        jobs = json.loads(self.world.ctl("ls", "--group", "tuned", "-o", "json"))["jobs"]
        self.assertEqual(len(jobs), 3)
        for found in jobs:
            self.world.wait_state(found["name"], "SUCCEEDED")
            self.assertEqual(self.world.get(found["name"])["base"], best)
        compared = json.loads(self.world.ctl("compare", "--group", "tuned", "--metric", "loss", "-o", "json"))
        self.assertEqual(len(compared["jobs"]), 3)
        self.assertIn("optimizer.learning_rate", json.dumps(compared))


if __name__ == "__main__":
    unittest.main()
