# SPDX-License-Identifier: Apache-2.0
"""Each key of the job file that the daemon acts on (daemon_knobs.txt), changed alone, changes what is seen from outside. The keys that the run itself acts on
have their cases in tests/engine/train/knobs_test.cc, which fails for a key that is in neither."""

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
