# SPDX-License-Identifier: Apache-2.0
"""Jobs that may not start yet: submitted with suspended: true, with a start time, or behind other jobs. The daemon is killed while they wait."""

import datetime
import json
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job


def from_now(seconds):
    """A time as a job file has it."""
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)).isoformat()


class JobWaitsTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def waits_for(self, job):
        got = self.world.get(job)
        return got["wait_reason"] if got["state"] == "QUEUED" else got["state"]

    def first_change(self, job, state):
        return next(event for event in harness.of_kind(self.world.events(job), "state_changed") if event["state_changed"]["to_state"] == state)

    def test_a_suspended_job_waits_for_resume(self):
        by_file = self.submit(name="by-file", steps=5, extra="suspended: true\n")
        by_flag = self.world.submit(write_job(self.world.root, name="by-flag", steps=5), "--suspended")
        after = self.submit(name="after", steps=5)
        self.world.wait_state(after, "SUCCEEDED")
        self.world.restart_after_kill()
        for job in (by_file, by_flag):
            self.assertEqual(self.waits_for(job), "HELD")
            self.assertIn("suspended", self.world.ctl("get", job, "-o", "yaml"))
            self.assertIn(f"trainctl resume {job}", self.world.ctl("explain", job))
        for job in (by_file, by_flag):
            resumed = json.loads(self.world.ctl("resume", job, "-o", "json"))
            self.assertEqual(resumed["desired_state"], "DESIRED_RUN")
            self.world.wait_state(job, "SUCCEEDED")
            self.assertEqual(harness.check_events(self.world.events(job)), "SUCCEEDED")
        # Its successor is not suspended.
        following = self.world.ctl("submit", "--from", by_file, "--set", "train.max_steps=60", "--no-validate", "-o", "json")
        self.assertNotEqual(json.loads(following).get("wait_reason"), "HELD")

    def test_a_job_starts_at_its_time_while_others_pass_it(self):
        seconds = 3
        start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        begun = time.monotonic()
        job = self.submit(name="timed", steps=5, extra=f"not_before: {start.isoformat()}\n")
        other = self.submit(name="other", steps=5)
        self.assertEqual(self.waits_for(job), "NOT_BEFORE")
        self.assertTrue(self.world.get(job)["not_before"].startswith(start.strftime("%Y-%m-%dT%H:%M:%S")))
        self.world.wait_state(other, "SUCCEEDED")
        self.world.restart_after_kill()
        self.world.wait_state(job, "SUCCEEDED")
        self.assertGreaterEqual(time.monotonic() - begun, seconds)
        started = datetime.datetime.fromisoformat(self.first_change(job, "STARTING")["time"].split(".")[0].rstrip("Z") + "+00:00")
        self.assertGreaterEqual(started, start.replace(microsecond=0))
        self.assertNotIn("not_before", self.world.get(job))

    def test_a_time_that_is_none_is_refused_with_its_line(self):
        for text in ("tomorrow", "2026-02-30T00:00:00Z", "9999-12-31T23:59:59Z"):
            with self.assertRaises(harness.Refused) as refused:
                self.submit(name="nonsense", steps=5, extra=f"not_before: {text}\n")
            self.assertEqual(refused.exception.code, 2)
            self.assertRegex(refused.exception.stderr, r"nonsense.yaml:\d+: not_before: ")

    def on(self, *dependencies):
        entries = ", ".join(f"{{job: {job}, condition: {condition}}}" for job, condition in dependencies)
        return f"depends_on: [{entries}]\n"

    def test_a_chain_runs_in_order_over_a_killed_daemon(self):
        first = self.submit(name="first", steps=60, hold_at=30)
        second = self.submit(name="second", steps=5, extra=self.on((first, "succeeded")))
        third = self.submit(name="third", steps=5, extra=self.on((first, "checkpoint"), (second, "ended")))
        self.world.wait_step(first, 25)
        self.assertEqual([self.waits_for(job) for job in (second, third)], ["DEPENDENCY"] * 2)
        self.assertIn(f"waits for {first} (succeeded)", self.world.ctl("get", second))
        why = json.loads(self.world.ctl("explain", third, "-o", "json"))
        self.assertEqual([reason["subject"] for reason in why["reasons"]], [second])
        self.assertIn(f"{second} is QUEUED", self.world.ctl("explain", third))
        self.world.restart_after_kill()
        self.world.release(first, 30)
        self.world.restart_after_kill()
        for job in (first, second, third):
            self.world.wait_state(job, "SUCCEEDED")
        starts = [int(self.first_change(job, "STARTING")["seq"]) for job in (first, second, third)]
        self.assertEqual(starts, sorted(starts))

    def test_a_chain_of_a_failed_job_ends(self):
        first = self.submit(name="first", steps=50, fail_at=3, hold_at=2)
        chain = [first]
        for number in range(5):
            chain.append(self.submit(name=f"link{number}", steps=5, extra=self.on((chain[-1], "succeeded"))))
        after = self.submit(name="after", steps=5, extra=self.on((chain[-1], "ended")))
        with self.assertRaises(harness.Refused) as refused:
            self.world.ctl("rm", first)
        self.world.release(first, 2)
        for before, job in zip(chain, chain[1:]):
            failed = harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(self.world.get(job)), f"the end of {job}")
            self.assertEqual((failed["state"], failed["error"]["cause"]), ("FAILED", "DEPENDENCY"))
            self.assertIn(before, failed["error"]["message"])
            self.assertEqual(harness.check_events(self.world.events(job)), "FAILED")
        self.world.wait_state(after, "SUCCEEDED")
        self.assertEqual(self.world.run("wait", chain[-1]).returncode, 1)

    def test_a_job_that_is_waited_for_is_kept(self):
        first = self.submit(name="first", steps=5)
        self.world.wait_state(first, "SUCCEEDED")
        blocker = self.submit(name="blocker", steps=50, hold_at=5)
        waits = self.submit(name="waits", steps=5, extra="suspended: true\n" + self.on((blocker, "succeeded")))
        self.world.wait_step(blocker, 5)
        self.world.ctl("stop", blocker, "--force")
        failed = harness.wait_for(lambda: (lambda got: got if got["state"] == "FAILED" else None)(self.world.get(waits)), "FAILED")
        self.assertEqual(failed["error"]["cause"], "DEPENDENCY")
        self.world.ctl("rm", blocker)
        with self.assertRaises(harness.Refused) as refused:
            self.submit(name="unknown", steps=5, extra=self.on(("jobs/nobody", "ended")))
        self.assertEqual(refused.exception.code, 6)
        self.assertIn("jobs/nobody does not exist", refused.exception.stderr)

    def test_a_job_starts_from_the_checkpoint_of_a_job_that_it_waits_for(self):
        first = self.submit(name="first", steps=40, hold_at=5)
        following = self.submit(name="following", steps=60, extra=self.on((first, "succeeded")) + f"init_from: {{checkpoint: {first}}}\n")
        self.world.wait_step(first, 5)
        self.assertNotIn("base", self.world.get(following))
        self.world.release(first, 5)
        self.world.wait_state(first, "SUCCEEDED")
        done = self.world.wait_state(following, "SUCCEEDED")
        self.assertEqual(done["base"], self.world.get(first)["latest_checkpoint"])
        self.assertEqual(min(harness.losses(self.world.events(following))), 41)


if __name__ == "__main__":
    unittest.main(verbosity=2)
