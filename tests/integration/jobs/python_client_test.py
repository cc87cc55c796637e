# SPDX-License-Identifier: Apache-2.0
"""The Python client of deploy/clients, with code generated from the protos of the package by the command of its README: the script pauses and resumes a
job while the daemon is killed, the library's watch loses and repeats nothing, and the example of the README runs as it is printed."""

import json
import os
import time
import unittest

import harness
from fake_jobs import write_job
from python_client import ROOT, PythonClientFixture, blocks_of, commands_of

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

# Requests, labels, pins, verifies, collects and resumes from checkpoints of a job that it submits.
LEDGER = """
import sys, time, grpc
from google.protobuf import json_format
from trainerd.v1 import checkpoint_pb2, event_pb2, job_config_pb2, job_pb2, trainer_pb2, trainer_pb2_grpc
from trainerd_client import Client

def refused(code, reason, call, request):
    try:
        call(request)
        raise SystemExit(f"{request} was accepted")
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")
        assert error.code() == code and reason.encode() in details, error

with open(sys.argv[2]) as file:
    config = json_format.Parse(file.read(), job_config_pb2.JobConfig())
# More than the job writes, so that only the expiry below removes one.
config.checkpoint.keep_last = 50
with Client(sys.argv[1]) as client:
    ledger = trainer_pb2_grpc.CheckpointsStub(client.channel)
    job = client.submit(config)
    client.wait(job.name, states=[job_pb2.Job.RUNNING])
    request = trainer_pb2.RequestCheckpointRequest(name=job.name, request_id="once", labels={"by": "python"}, pin=True)
    first = client.trainer.RequestCheckpoint(request)
    assert first.checkpoint_pending
    assert client.trainer.RequestCheckpoint(request) == first
    while client.get(job.name).checkpoint_pending:
        time.sleep(0.02)
    client.pause(job.name)
    assert client.wait(job.name, states=[job_pb2.Job.PAUSED]).state == job_pb2.Job.PAUSED
    listed = ledger.ListCheckpoints(trainer_pb2.ListCheckpointsRequest(parent=job.name)).checkpoints
    assert list(listed) == list(ledger.ListCheckpoints(trainer_pb2.ListCheckpointsRequest(parent="jobs/-")).checkpoints)
    requested, = [checkpoint for checkpoint in listed if checkpoint.labels.get("by") == "python"]
    assert requested.pinned and requested.verified and requested.metrics
    update = trainer_pb2.UpdateCheckpointRequest(checkpoint={"name": requested.name, "etag": requested.etag}, request_id="unpin")
    update.update_mask.paths.append("pinned")
    changed = ledger.UpdateCheckpoint(update)
    assert not changed.pinned and changed.etag != requested.etag and changed.labels == requested.labels
    assert ledger.UpdateCheckpoint(update) == changed
    update.request_id = ""
    refused(grpc.StatusCode.ABORTED, "ETAG_CHANGED", ledger.UpdateCheckpoint, update)
    update.checkpoint.name = job.name
    refused(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_NAME", ledger.UpdateCheckpoint, update)
    refused(grpc.StatusCode.NOT_FOUND, "CHECKPOINT_NOT_FOUND", ledger.VerifyCheckpoint, trainer_pb2.VerifyCheckpointRequest(name=job.name + "/checkpoints/none"))
    refused(grpc.StatusCode.FAILED_PRECONDITION, "JOB_STATE", client.trainer.RequestCheckpoint, trainer_pb2.RequestCheckpointRequest(name=job.name))
    assert ledger.VerifyCheckpoint(trainer_pb2.VerifyCheckpointRequest(name=requested.name)).verified
    client.trainer.Resume(trainer_pb2.ResumeRequest(name=job.name, from_checkpoint=requested.name))
    assert client.wait(job.name).state == job_pb2.Job.SUCCEEDED
    expire = trainer_pb2.UpdateCheckpointRequest(checkpoint={"name": requested.name, "expire_time": {"seconds": 1}})
    expire.update_mask.paths.append("expire_time")
    ledger.UpdateCheckpoint(expire)
    # The daemon may be removing it already.
    for dry_run in (True, False):
        plan = ledger.CollectGarbage(trainer_pb2.CollectGarbageRequest(parent=job.name, dry_run=dry_run))
        assert requested.name not in [item.name for item in plan.kept] and len(plan.kept) >= 9, plan
        assert [item.reason for item in plan.removed if item.name == requested.name] in (["EXPIRED"], []), plan
    refused(grpc.StatusCode.FAILED_PRECONDITION, "CHECKPOINT_DELETED", ledger.UpdateCheckpoint, expire)
    kinds = [event.checkpoint.kind for event in client.watch(job, after="begin", event_types=["checkpoint"]) if event.checkpoint.checkpoint.name == requested.name]
    expected = [event_pb2.CheckpointEvent.PUBLISHED, event_pb2.CheckpointEvent.UPDATED]
    assert kinds[:2] == expected, kinds
"""


class PythonClientTest(PythonClientFixture):

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

    def test_checkpoints_are_requested_changed_verified_and_collected(self):
        self.world.start()
        with open(os.path.join(self.work, "ledger.py"), "w") as file:
            file.write(LEDGER)
        self.finish(self.spawn("ledger.py", self.world.address, self.job_json("ledger", steps=400, step_ms=3)))

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
