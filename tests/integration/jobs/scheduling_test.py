# SPDX-License-Identifier: Apache-2.0
"""Order of the queue, quotas, preemption, time slices and usage, through the real daemon, which is killed in between."""

import json
import os
import pwd
import unittest

import harness
from fake_jobs import FakeWorkerTest

USER = pwd.getpwuid(os.geteuid()).pw_name


class SchedulingTest(FakeWorkerTest):

    def start(self, **settings):
        self.world.settings.update(settings)
        self.world.start()

    def changes(self, job):
        return [event["state_changed"] for event in harness.of_kind(self.world.events(job), "state_changed")]

    def order_of_starts(self, *jobs):
        def first_start(job):
            return min(int(event["seq"]) for event in harness.of_kind(self.world.events(job), "state_changed")
                       if event["state_changed"]["to_state"] == "STARTING")
        return sorted(jobs, key=first_start)

    def test_a_job_has_an_owner_and_a_quota(self):
        self.start(quotas="{max_queued_jobs_per_owner: 2}")
        running = self.submit(name="running", steps=40, hold_at=20)
        self.world.wait_process(running, "worker")
        first, second = (self.submit(name=name, steps=5) for name in ("first", "second"))
        self.assertEqual(self.world.get(first)["owner"], USER)
        for _ in range(2):
            with self.assertRaises(harness.Refused) as refused:
                self.submit(name="third", steps=5)
            self.assertEqual(refused.exception.code, 6)
            self.assertIn("quotas.max_queued_jobs_per_owner", refused.exception.stderr)
            self.world.restart_after_kill()
        self.world.ctl("stop", second)
        third = self.submit(name="third", steps=5)
        self.world.release(running, 20)
        for job in (running, first, third):
            self.world.wait_state(job, "SUCCEEDED")

    def test_a_quota_on_running_jobs_keeps_the_others_waiting(self):
        self.start(quotas="{max_running_jobs_per_owner: 1}")
        running = self.submit(name="running", steps=40, hold_at=20)
        self.world.wait_process(running, "worker")
        job = self.submit(name="waits", steps=5)
        harness.wait_for(lambda: self.world.get(job).get("wait_reason") == "QUOTA", "the wait reason QUOTA")
        why = json.loads(self.world.ctl("explain", job, "-o", "json"))
        self.assertEqual(why["reasons"][0]["code"], "QUOTA")
        self.assertEqual(why["queue_position"], 1)
        self.world.restart_after_kill()
        self.world.release(running, 20)
        for name in (running, job):
            self.world.wait_state(name, "SUCCEEDED")
            self.assertEqual(harness.check_events(self.world.events(name)), "SUCCEEDED")

    def test_a_higher_priority_preempts_and_the_victim_is_as_if_nothing_had_happened(self):
        self.start(scheduling="{preemption: true, preemption_min_time: 0s}")
        low = self.submit(name="low", steps=120, hold_at=60)
        self.world.wait_step(low, 60)
        high = self.submit(name="high", steps=30, hold_at=15, extra="priority: 5\n")
        self.world.release(low, 60)
        self.world.wait_process(high, "worker")
        victim = self.world.get(low)
        self.assertEqual((victim["state"], victim["wait_reason"], victim["desired_state"]), ("QUEUED", "PREEMPTED", "DESIRED_RUN"))
        self.assertIn(high, self.world.ctl("explain", low))
        self.world.restart_after_kill()
        self.world.release(high, 15)
        self.world.wait_state(high, "SUCCEEDED")
        self.world.wait_state(low, "SUCCEEDED")
        self.check_like_uninterrupted(low, 120)
        self.assertEqual(self.world.get(low)["attempt"], 2)
        self.assertIn("PREEMPTED_OK", self.world.ctl("get", low, "-o", "wide"))

    def test_nothing_is_preempted_by_default(self):
        self.start()
        low = self.submit(name="low", steps=60, hold_at=30)
        self.world.wait_step(low, 30)
        high = self.submit(name="high", steps=5, extra="priority: 100\n")
        self.world.release(low, 30)
        self.world.wait_state(high, "SUCCEEDED")
        self.assertEqual(self.world.get(low)["attempt"], 1)

    def test_time_slices_share_the_device(self):
        self.start()
        jobs = [self.submit(name=name, steps=400, step_ms=10, every=0, extra="limits: {max_attempt_time: 2s}\n") for name in ("one", "two")]
        for job in jobs:
            self.world.wait_state(job, "SUCCEEDED")
            self.check_like_uninterrupted(job, 400)
            self.assertGreater(self.world.get(job)["attempt"], 1)
            self.assertEqual([change["to_state"] for change in self.changes(job) if change["to_state"] in ("PAUSED", "FAILED")], [])
        # The second one did not wait for the end of the first one.
        starts = {job: [int(event["seq"]) for event in harness.of_kind(self.world.events(job), "state_changed")
                        if event["state_changed"]["to_state"] in ("STARTING", "SUCCEEDED")] for job in jobs}
        self.assertLess(min(starts[jobs[1]]), max(starts[jobs[0]]))

    def test_age_passes_priority(self):
        self.start(scheduling="{priority_aging: 1s}")
        running = self.submit(name="running", steps=40, hold_at=20)
        self.world.wait_process(running, "worker")
        old = self.submit(name="old", steps=5)
        harness.wait_for(lambda: json.loads(self.world.ctl("explain", old, "-o", "json")).get("effective_priority", 0) >= 3, "age")
        young = self.submit(name="young", steps=5, extra="priority: 1\n")
        self.world.release(running, 20)
        for job in (old, young):
            self.world.wait_state(job, "SUCCEEDED")
        self.assertEqual(self.order_of_starts(old, young), [old, young])

    def test_a_command_gives_its_grace(self):
        self.start()
        job = self.submit(name="hangs", every=10, hang_at=15, extra="limits: {stop_grace: 24h}\n")
        self.world.wait_step(job, 15)
        self.world.ctl("pause", job, "--grace", "1s")
        self.world.wait_state(job, "PAUSED")
        self.assertTrue(self.world.get(job)["latest_checkpoint"].endswith("step-00000010-a1"))

    def test_usage_is_counted_by_job_day_and_owner_and_survives_deletion(self):
        self.start()
        job = self.submit(name="used", steps=60, step_ms=5, team="blue")
        self.world.wait_state(job, "SUCCEEDED")
        usage = json.loads(self.world.ctl("usage", job, "-o", "json"))
        self.assertGreater(usage["device_seconds"], 0.2)
        self.assertGreater(usage["stage_seconds"]["Train"], 0.2)
        self.assertGreaterEqual(usage["waiting_seconds"], 0)
        crashed = self.submit(name="crashed", steps=60, every=0, crash_at=30, crash_attempts=99)
        self.world.wait_state(crashed, "FAILED")
        lost = self.world.get(crashed)["usage"]
        self.assertGreater(lost["lost_device_seconds"], 0)
        self.assertLess(lost["lost_device_seconds"], lost["device_seconds"])

        def total(*arguments):
            return json.loads(self.world.ctl("usage", "-o", "json", *arguments))["groups"]

        before = total()
        self.assertEqual(before[0]["job_count"], 2)
        self.assertEqual([group["key"] for group in total("--by", "owner")], [USER])
        self.assertEqual(len(total("--by", "day")), 1)
        labelled = {group.get("key", ""): group for group in total("--by", "label:fake.team")}
        self.assertAlmostEqual(labelled["blue"]["usage"]["device_seconds"], usage["device_seconds"], places=6)
        self.world.ctl("rm", job)
        harness.wait_for(lambda: job not in self.world.ctl("ls"), "the deletion")
        self.world.restart_after_kill()
        self.assertEqual(total(), before)
        self.assertEqual({group.get("key", "") for group in total("--by", "label:fake.team")}, {"blue", ""})
        self.assertEqual(len(total("--selector", "fake.team")), 1)
        self.assertIn("blue", self.world.ctl("usage", "--by", "label:fake.team"))

    def test_nonsense_is_refused(self):
        self.start()
        job = self.submit(name="job", steps=5)
        for arguments, word in (((("pause", job, "--grace", "25h")), "24h"), (("usage", "--by", "color"), "owner"), (("usage", "--selector", "a in"), "selector")):
            with self.assertRaises(harness.Refused) as refused:
                self.world.ctl(*arguments)
            self.assertEqual(refused.exception.code, 2)
            self.assertIn(word, refused.exception.stderr)


if __name__ == "__main__":
    unittest.main()
