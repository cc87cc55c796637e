# SPDX-License-Identifier: Apache-2.0
"""Each key of the job file that the daemon acts on (daemon_knobs.txt), changed alone, changes what is seen from outside. The keys that the run itself acts on
have their cases in tests/engine/train/knobs_test.cc, which fails for a key that is in neither."""

import datetime
import json
import os
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

HERE = os.path.dirname(os.path.abspath(__file__))


class KnobsTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def submit_with(self, world=None, changes=(), **job):
        """A job of one file, with `changes` (path=value) over it."""
        world = world or self.world
        arguments = [word for change in changes for word in ("--set", change)]
        return world.submit(write_job(world.root, **job), *arguments)

    def ended(self, job, world=None):
        world = world or self.world
        return harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(world.get(job)), f"the end of {job}")

    def test_every_key_has_a_case(self):
        with open(os.path.join(HERE, "daemon_knobs.txt")) as file:
            keys = {line.strip() for line in file if line.strip() and not line.startswith("#")}
        cases = {name[len("test_knob_"):] for name in dir(self) if name.startswith("test_knob_")}
        self.assertEqual({key.replace("[0]", "").replace(".", "_") for key in keys}, cases)

    def test_knob_name(self):
        job = self.submit_with(changes=["name=first-name"], steps=5)
        other = self.submit_with(changes=["name=other-name"], steps=5)
        self.assertEqual(self.world.get("first-name")["name"], job)
        self.assertEqual(self.world.get("other-name")["name"], other)

    def test_knob_labels(self):
        job = self.submit_with(changes=["labels.team=blue"], steps=5)
        other = self.submit_with(changes=["labels.team=red"], steps=5)
        for label, expected in (("team=blue", job), ("team=red", other)):
            listed = json.loads(self.world.ctl("ls", "--label", label, "-o", "json"))
            self.assertEqual([found["name"] for found in listed["jobs"]], [expected])

    def start_order(self, changes):
        """In which order two jobs that were submitted one after the other start, the second one with `changes`."""
        running = self.submit_with(name="running", steps=20, hold_at=10)
        self.world.wait_process(running, "worker")
        first = self.submit_with(name="first", steps=5)
        second = self.submit_with(name="second", changes=changes, steps=5)
        self.world.release(running, 10)
        for job in (running, first, second):
            self.world.wait_state(job, "SUCCEEDED")
        starts = {job: min(int(event["seq"]) for event in harness.of_kind(self.world.events(job), "state_changed") if event["state_changed"]["to_state"] == "STARTING")
                  for job in (first, second)}
        return "first" if starts[first] < starts[second] else "second"

    def test_knob_priority(self):
        self.assertEqual(self.start_order([]), "first")
        self.assertEqual(self.start_order(["priority=1"]), "second")

    def test_knob_suspended(self):
        self.assertEqual(self.wait_of("suspended=true"), "HELD")

    def test_knob_not_before(self):
        self.assertEqual(self.wait_of("not_before=2199-01-01T00:00:00Z"), "NOT_BEFORE")

    def test_knob_depends_on_job(self):
        held = self.submit_with(name="held", changes=["suspended=true"], steps=5)
        ended = self.submit_with(name="ended", steps=5)
        self.world.wait_state(ended, "SUCCEEDED")
        waits = self.submit_with(name="waits", changes=[f"depends_on=[{{job: {held}}}]"], steps=5)
        self.world.wait_state(self.submit_with(name="runs", changes=[f"depends_on=[{{job: {ended}}}]"], steps=5), "SUCCEEDED")
        self.assertEqual(self.world.get(waits)["wait_reason"], "DEPENDENCY")

    def test_knob_depends_on_condition(self):
        held = self.submit_with(name="held", changes=["suspended=true"], steps=5)
        jobs = [self.submit_with(name=word, changes=[f"depends_on=[{{job: {held}, condition: {word}}}]"], steps=5) for word in ("succeeded", "ended", "checkpoint")]
        self.world.ctl("stop", held)
        self.assertEqual([self.ended(job)["state"] for job in jobs], ["FAILED", "SUCCEEDED", "FAILED"])

    def wait_of(self, change):
        """Why a job with `change` still waits when the one after it has ended."""
        waits = self.submit_with(name="waits", changes=[change], steps=5)
        self.world.wait_state(self.submit_with(name="after", steps=5), "SUCCEEDED")
        return self.world.get(waits).get("wait_reason")

    def kept(self, keep_last):
        job = self.submit_with(changes=[f"checkpoint.keep_last={keep_last}"], steps=60, step_ms=0, every=10)
        self.world.wait_state(job, "SUCCEEDED")
        folder = os.path.join(self.world.run_dir(job), "checkpoints")
        harness.wait_for(lambda: len(os.listdir(folder)) <= keep_last, "retention")
        return sorted(os.listdir(folder))

    def test_knob_checkpoint_keep_last(self):
        self.assertEqual(self.kept(1), ["step-00000060-a1"])
        self.assertEqual(self.kept(3), ["step-00000040-a1", "step-00000050-a1", "step-00000060-a1"])

    def kept_with(self, *changes, expected, **job):
        """Which checkpoints of the steps 10, 20, … 60 are left at the end of a job that keeps the last one and what `changes` add. A longer list takes a moment."""
        changes = ["checkpoint.keep_last=1", "data.validation_fraction=0.5", *changes]
        job = self.submit_with(changes=changes, steps=60, step_ms=0, every=10, **job)
        self.world.wait_state(job, "SUCCEEDED")
        folder = os.path.join(self.world.run_dir(job), "checkpoints")
        harness.wait_for(lambda: sorted(int(name.split("-")[1]) for name in os.listdir(folder)) == expected, f"{expected}, there are {os.listdir(folder)}")
        return job

    def test_knob_checkpoint_keep_every_steps(self):
        self.kept_with(expected=[60])
        self.kept_with("checkpoint.keep_every_steps=25", expected=[30, 50, 60])

    def test_knob_checkpoint_keep_best(self):
        best = {"evals": "10:3,20:1,30:2,40:5", "extra": "evaluation: {best: {}}\n"}
        self.kept_with(expected=[20, 60], **best)
        self.kept_with("checkpoint.keep_best=3", expected=[10, 20, 30, 60], **best)

    def test_knob_checkpoint_max_bytes(self):
        job = self.kept_with("checkpoint.keep_every_steps=10", expected=[10, 20, 30, 40, 50, 60])
        size = int(json.loads(self.world.ctl("checkpoints", "ls", job, "-o", "json"))["checkpoints"][0]["size_bytes"])
        self.kept_with("checkpoint.keep_every_steps=10", f"checkpoint.max_bytes={3 * size + 100}", expected=[40, 50, 60])

    def test_knob_checkpoint_ttl(self):
        self.kept_with("checkpoint.keep_every_steps=30", "checkpoint.ttl=1h", expected=[30, 60])
        self.kept_with("checkpoint.keep_every_steps=30", "checkpoint.ttl=1ms", expected=[60])

    def best_of(self, *changes):
        job = self.kept_with("checkpoint.keep_every_steps=10", *changes, expected=[10, 20, 30, 40, 50, 60], evals="10:3,20:1,30:2",
                             extra="evaluation: {remote: [{name: r, suite: s}], best: {}}\n")
        return self.world.get(job).get("best_checkpoint", "")[-len("step-00000020-a1"):]

    def test_knob_evaluation_best_metric(self):
        self.assertEqual(self.best_of(), "step-00000020-a1")
        self.assertEqual(self.best_of("evaluation.best.metric=remote.r.acc"), "")

    def test_knob_evaluation_best_mode(self):
        self.assertEqual(self.best_of("evaluation.best.mode=min"), "step-00000020-a1")
        self.assertEqual(self.best_of("evaluation.best.mode=max"), "step-00000010-a1")

    def evaluations_of(self, entry, best=False, **job):
        """The evaluations of a job of 30 steps with a checkpoint every 10, by the last part of their names."""
        extra = f"evaluation: {{remote: [{{{entry}}}]{', best: {}' if best else ''}}}\n"
        name = self.submit_with(steps=30, step_ms=0, every=10, extra=extra, **job)
        if "required: true" not in entry:
            self.world.wait_state(name, "SUCCEEDED")
        else:
            harness.wait_for(lambda: json.loads(self.world.ctl("evaluations", name, "-o", "json"))["evaluations"], "the required evaluation")
        self.evaluated = name
        return {e["name"].split("/")[-1]: e for e in json.loads(self.world.ctl("evaluations", name, "-o", "json"))["evaluations"]}

    def test_knob_evaluation_remote_name(self):
        self.assertEqual(list(self.evaluations_of("name: q, suite: s")), ["q-final"])
        self.assertEqual(list(self.evaluations_of("name: other, suite: s")), ["other-final"])

    def test_knob_evaluation_remote_suite(self):
        for suite in ("s", "t"):
            self.assertEqual(self.evaluations_of(f"name: q, suite: {suite}")["q-final"]["suite"], suite)

    def test_knob_evaluation_remote_when_every_steps(self):
        self.assertEqual(sorted(self.evaluations_of("name: q, suite: s, when: {every_steps: 20}")), ["q-final", "q-step-00000020-a1"])

    def test_knob_evaluation_remote_when_on_best(self):
        evals = {"evals": "10:3,20:5,30:1", "changes": ["data.validation_fraction=0.5"]}
        self.assertEqual(list(self.evaluations_of("name: q, suite: s", best=True, **evals)), ["q-final"])
        self.assertEqual(sorted(self.evaluations_of("name: q, suite: s, when: {on_best: true}", best=True, **evals)),
                         ["q-final", "q-step-00000010-a1", "q-step-00000030-a1"])

    def test_knob_evaluation_remote_when_at_start(self):
        self.assertEqual(sorted(self.evaluations_of("name: q, suite: s, when: {at_start: true}")), ["q-final", "q-start"])

    def test_knob_evaluation_remote_when_at_end(self):
        self.assertEqual(list(self.evaluations_of("name: q, suite: s, when: {every_steps: 20, at_end: false}")), ["q-step-00000020-a1"])

    def test_knob_evaluation_remote_when_min_gap(self):
        every = "every_steps: 10, at_end: false"
        self.assertEqual(len(self.evaluations_of(f"name: q, suite: s, when: {{{every}}}")), 3)
        self.assertEqual(list(self.evaluations_of(f"name: q, suite: s, when: {{{every}, min_gap: 1h}}")), ["q-step-00000010-a1"])

    def test_knob_evaluation_remote_deadline(self):
        for text, seconds in (("1h", 3600), ("90s", 90)):
            found = self.evaluations_of(f"name: q, suite: s, deadline: {text}")["q-final"]
            times = [datetime.datetime.fromisoformat(found[key].replace("Z", "+00:00")) for key in ("create_time", "expire_time")]
            self.assertAlmostEqual((times[1] - times[0]).total_seconds(), seconds, delta=1)

    def test_knob_evaluation_remote_required(self):
        self.evaluations_of("name: q, suite: s, required: true")
        self.assertEqual(self.world.state(self.evaluated), "RUNNING")
        self.world.ctl("stop", self.evaluated)
        self.world.wait_state(self.evaluated, "SUCCEEDED")

    def test_knob_retry_max_failures_without_progress(self):
        for failures in (1, 2):
            job = self.submit_with(changes=[f"retry.max_failures_without_progress={failures}"], every=0, crash_at=3, crash_attempts=99)
            ended = self.ended(job)
            self.assertEqual((ended["state"], ended["attempt"]), ("FAILED", failures))

    def test_knob_limits_max_run_time(self):
        job = {"steps": 600, "step_ms": 5}
        self.assertEqual(self.ended(self.submit_with(**job))["state"], "SUCCEEDED")
        limited = self.ended(self.submit_with(changes=["limits.max_run_time=1s"], **job))
        self.assertEqual((limited["state"], limited["error"]["cause"]), ("FAILED", "LIMIT"))

    def notified(self, change):
        """The targets that are notified about a job with `change`; those of trainerd.yaml are for jobs that name them only."""
        secret = os.path.join(self.world.root, "secret")
        with open(secret, "w") as file:
            file.write("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
        os.chmod(secret, 0o600)
        hook = {"url": "http://127.0.0.1:1/", "secret_file": secret, "job_hosts": ["127.0.0.1:1"]}
        targets = [{"name": name, "all_jobs": False, **keys} for name, keys in (("first", {"command": ["/bin/true"]}), ("hook", hook))]
        world = harness.World(settings={"notify": json.dumps(targets)})
        self.addCleanup(world.close)
        world.start()
        world.wait_state(self.submit_with(world, [change], steps=5), "SUCCEEDED")
        return [found["target"] for found in json.loads(world.ctl("notifications", "-o", "json"))["notifications"]]

    def test_knob_notify_target(self):
        self.assertEqual(self.notified("notify=[{target: first}]"), ["first"])

    def test_knob_notify_url(self):
        self.assertEqual(self.notified("notify=[{url: 'http://127.0.0.1:1/of-job'}]"), ["hook"])

    def test_knob_notify_events(self):
        self.assertEqual(self.notified("notify=[{target: first, events: [failed]}]"), [])

    def test_knob_limits_max_attempt_time(self):
        job = {"steps": 800, "step_ms": 5, "every": 0}
        self.assertEqual(self.ended(self.submit_with(**job))["attempt"], 1)
        sliced = self.ended(self.submit_with(changes=["limits.max_attempt_time=2s"], **job))
        self.assertEqual(sliced["state"], "SUCCEEDED")
        self.assertGreater(sliced["attempt"], 1)

    def test_knob_limits_stop_grace(self):
        patient = harness.World()
        self.addCleanup(patient.close)
        patient.start()
        hanging = {"every": 10, "hang_at": 15}
        waits = self.submit_with(patient, ["limits.stop_grace=24h"], **hanging)
        patient.wait_step(waits, 15)
        patient.ctl("pause", waits)
        ends = self.submit_with(changes=["limits.stop_grace=1s"], **hanging)
        self.world.wait_step(ends, 15)
        self.world.ctl("pause", ends)
        self.world.wait_state(ends, "PAUSED")
        # Asked before the other one.
        self.assertEqual(patient.state(waits), "PAUSING")
        patient.ctl("stop", waits, "--force")
        self.assertEqual(self.ended(waits, patient)["state"], "CANCELLED")

    def test_knob_resources_device(self):
        job = self.submit_with(changes=["resources.device=cpu"], steps=5)
        self.world.wait_state(job, "SUCCEEDED")
        with self.assertRaises(harness.Refused) as refused:
            self.submit_with(changes=["resources.device=cuda:7"], steps=5)
        self.assertEqual(refused.exception.code, 2)
        self.assertRegex(refused.exception.stderr, "resources.device: .*cuda:7")


if __name__ == "__main__":
    unittest.main(verbosity=2)
