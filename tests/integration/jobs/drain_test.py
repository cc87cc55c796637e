# SPDX-License-Identifier: Apache-2.0
"""Admin.Drain through trainctl and the real daemon, which is killed in its middle: jobs wait, pause, resume by themselves."""

import json
import unittest

import harness
from fake_jobs import FakeWorkerTest


class DrainTest(FakeWorkerTest):

    def info(self):
        return json.loads(self.world.ctl("version", "-o", "json"))["daemon"]

    def wait_reason(self, job, reason):
        harness.wait_for(lambda: self.world.get(job).get("wait_reason") == reason, f"{job} to wait for {reason}")

    def states(self, job):
        return [event["state_changed"]["to_state"] for event in harness.of_kind(self.world.events(job), "state_changed")]

    def test_queued_jobs_wait_and_a_restart_ends_the_drain(self):
        self.world.start()
        running = self.submit(name="running", steps=40, hold_at=20)
        self.world.wait_step(running, 20)
        queued = self.submit(name="queued", steps=5)
        self.assertIn("1 attempt still runs", self.world.ctl("drain"))
        self.wait_reason(queued, "DRAIN")
        self.assertTrue(self.info()["draining"])
        self.assertEqual(self.info()["active_attempts"], 1)
        self.assertIn("undrain", self.world.ctl("explain", queued))
        self.assertIn("undrain", self.world.run("ls").stderr)
        self.world.release(running, 20)
        self.world.wait_state(running, "SUCCEEDED")
        self.assertIn("no attempt runs", self.world.ctl("drain", "--wait"))
        late = self.submit(name="late", steps=5)
        self.wait_reason(late, "DRAIN")
        self.assertEqual(self.world.get(queued).get("attempt", 0), 0)
        self.world.ctl("undrain")
        self.world.wait_state(late, "SUCCEEDED")
        self.world.ctl("drain")
        last = self.submit(name="last", steps=5)
        self.wait_reason(last, "DRAIN")
        self.world.restart_after_kill()
        self.assertFalse(self.info().get("draining", False))
        self.world.wait_state(last, "SUCCEEDED")

    def test_running_jobs_write_a_checkpoint_and_return_to_the_queue(self):
        self.world.start()
        job = self.submit(steps=120, every=0, hold_at=60)
        self.world.wait_step(job, 60)
        self.world.release(job, 60)
        drained = json.loads(self.world.ctl("drain", "--pause-running", "--wait", "-o", "json"))
        self.assertTrue(drained["draining"])
        self.assertEqual(drained.get("active_attempts", 0), 0)
        self.assertEqual(self.world.processes(job, "worker"), [])
        self.wait_reason(job, "DRAIN")
        self.assertTrue(self.world.get(job)["latest_checkpoint"])
        # An upgrade: the daemon is replaced, and nobody resumes the job.
        self.world.stop_daemon()
        self.world.start()
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 120)
        self.assertNotIn("PAUSED", self.states(job))
        self.assertEqual(self.world.get(job)["attempt"], 2)

    def test_a_kill_in_the_middle_of_a_drain(self):
        self.world.start()
        job = self.submit(steps=120, every=50, hang_at=60)
        self.world.wait_step(job, 60)
        self.world.ctl("drain", "--pause-running", "--deadline", "2s")
        self.world.wait_state(job, "PAUSING")
        self.world.restart_after_kill()
        # The worker hangs: the shim ends it at the deadline, whoever is there, and the job resumes without a command.
        harness.wait_for(lambda: self.world.get(job)["attempt"] == 2, "the second attempt")
        self.assertIn("KILLED", self.world.ctl("get", job, "-o", "wide"))
        self.assertTrue(self.world.get(job)["latest_checkpoint"].endswith("step-00000050-a1"))
        self.world.ctl("stop", job, "--force")
        self.world.wait_state(job, "CANCELLED")
        self.assertNotIn("PAUSED", self.states(job))
        self.assertNotIn("BACKOFF", [event["state_changed"].get("wait_reason") for event in harness.of_kind(self.world.events(job), "state_changed")])


if __name__ == "__main__":
    unittest.main()
