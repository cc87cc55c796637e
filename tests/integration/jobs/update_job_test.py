# SPDX-License-Identifier: Apache-2.0
"""UpdateJob and `trainctl update` against a real daemon: what they change is in force from the reply on, also for a job that runs, and after a kill."""

import json
import os
import unittest

import harness
from fake_jobs import FakeWorkerTest


class UpdateJobTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def update(self, job, *changes):
        return json.loads(self.world.ctl("update", job, *changes, "-o", "json"))

    def ended(self, job):
        return harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(self.world.get(job)), f"the end of {job}")

    def refused(self, *arguments):
        with self.assertRaises(harness.Refused) as refused:
            self.world.ctl(*arguments)
        return refused.exception

    def test_priority_reorders_the_queue_and_survives_a_kill(self):
        running = self.submit(name="running", steps=20, hold_at=10)
        self.world.wait_process(running, "worker")
        first = self.submit(name="first", steps=5)
        second = self.submit(name="second", steps=5)
        self.assertEqual(self.update(second, "priority=5")["config"]["priority"], 5)
        self.world.restart_after_kill()
        self.world.release(running, 10)
        starts = []
        for job in (second, first):
            self.world.wait_state(job, "SUCCEEDED")
            starts.append(next(int(event["seq"]) for event in harness.of_kind(self.world.events(job), "state_changed")
                               if event["state_changed"]["to_state"] == "STARTING"))
        self.assertEqual(starts, sorted(starts))
        updates = harness.of_kind(self.world.events(second), "job_updated")
        self.assertEqual([event["job_updated"]["update_mask"] for event in updates], ["config.priority"])

    def test_labels_change_what_lists_match(self):
        job = self.submit(name="labelled", steps=5, extra="suspended: true\n")
        own = dict(self.world.get(job)["config"]["labels"])
        self.assertEqual(self.update(job, "labels.team=blue", "labels.tier=1")["config"]["labels"], {**own, "team": "blue", "tier": "1"})
        self.assertEqual(self.update(job, "labels.tier=null")["config"]["labels"], {**own, "team": "blue"})

        def listed(label):
            return [found["name"] for found in json.loads(self.world.ctl("ls", "--label", label, "-o", "json"))["jobs"]]
        self.assertEqual((listed("team=blue"), listed("tier=1")), ([job], []))
        self.world.ctl("stop", job)
        self.update(job, "labels.team=red", "name=ended")
        self.assertEqual((listed("team=blue"), listed("team=red")), ([], [job]))
        late = self.refused("update", job, "priority=1")
        self.assertEqual(late.code, 6)
        self.assertIn("config.name and config.labels only", late.stderr)

    def test_a_shorter_run_time_ends_a_running_job(self):
        job = self.submit(steps=100000)
        self.world.wait_step(job, 20)
        self.update(job, "limits.max_run_time=1h")
        self.assertEqual(self.world.state(job), "RUNNING")
        self.update(job, "limits={max_run_time: 10ms, stop_grace: 20s}")
        failed = self.ended(job)
        self.assertEqual((failed["state"], failed["error"]["cause"]), ("FAILED", "LIMIT"))
        self.assertTrue(failed["latest_checkpoint"])

    def test_retention_and_retries_follow_the_update(self):
        job = self.submit(steps=100, every=10, hold_at="65,95")
        folder = os.path.join(self.world.run_dir(job), "checkpoints")
        self.world.wait_step(job, 65)
        harness.wait_for(lambda: len(os.listdir(folder)) == 2, "two checkpoints")
        self.update(job, "checkpoint.keep_last=1")
        harness.wait_for(lambda: os.listdir(folder) == ["step-00000060-a1"], "one checkpoint")
        self.update(job, "checkpoint.keep_last=4")
        self.world.release(job, 65)
        self.world.wait_step(job, 95)
        harness.wait_for(lambda: len(os.listdir(folder)) == 4, "four checkpoints")
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        self.update(job, "checkpoint.keep_last=2")
        self.world.restart_after_kill()
        harness.wait_for(lambda: len(os.listdir(folder)) == 2, "two checkpoints of the paused job")
        # A crash loop of a job whose budget was lowered while it ran.
        crashing = self.submit(name="crashing", every=0, crash_at=3, crash_attempts=99, hold_at=2, extra="retry: {max_failures_without_progress: 50}\n")
        self.world.wait_step(crashing, 2)
        self.update(crashing, "retry.max_failures_without_progress=1")
        self.world.release(crashing, 2)
        self.assertEqual((self.ended(crashing)["state"], self.world.get(crashing)["attempt"]), ("FAILED", 1))

    def test_the_start_time_moves(self):
        job = self.submit(name="timed", steps=5, extra="not_before: 2199-01-01T00:00:00Z\n")
        self.assertEqual(self.world.get(job)["wait_reason"], "NOT_BEFORE")
        self.assertTrue(self.update(job, "not_before=2198-01-01T00:00:00Z")["not_before"].startswith("2198"))
        self.update(job, "not_before=null")
        self.world.wait_state(job, "SUCCEEDED")

    def test_refusals_have_their_exit_codes(self):
        job = self.submit(steps=5, extra="suspended: true\n")
        etag = self.world.get(job)["etag"]
        for arguments, code, text in ((["train.max_steps=5"], 2, "cannot be updated"), (["priority=500"], 2, "out of range"), (["prioritty=1"], 2, "priority"),
                                      (["priority"], 2, "KEY=VALUE"), (["priority=1", "--etag", "99"], 6, "has changed")):
            refused = self.refused("update", job, *arguments)
            self.assertEqual(refused.code, code, refused.stderr)
            self.assertIn(text, refused.stderr)
        self.assertEqual(self.world.get(job)["etag"], etag)
        changed = json.loads(self.world.ctl("update", job, "priority=1", "--etag", etag, "-o", "json"))
        self.assertNotEqual(changed["etag"], etag)
        self.assertEqual(self.update(job, "priority=1")["etag"], changed["etag"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
