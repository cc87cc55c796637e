# SPDX-License-Identifier: Apache-2.0
"""The system's clock of daemon, shim and worker jumps by a day in either direction while a job is PAUSING, waits for a retry or runs
(tests/fakes/shifted_clock.cc): deadlines and delays stay what they were, also when the daemon restarts after the jump."""

import os
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest

LIBRARY = os.environ.get("TRAINERD_SHIFTED_CLOCK", os.path.join(os.path.dirname(harness.FAKE_WORKER), "libshifted_clock.so"))
DAY = 86400
JUMPS = [(DAY, False), (-DAY, False), (DAY, True), (-DAY, True)]


class SystemClockTest(FakeWorkerTest):

    def setUp(self):
        if not os.path.exists(LIBRARY):
            self.skipTest(f"{LIBRARY} is not built")
        super().setUp()
        self.shift = os.path.join(self.world.root, "shift")
        self.jump(0)
        self.world.daemon_environment = {"LD_PRELOAD": os.path.abspath(LIBRARY), "TRAINERD_CLOCK_SHIFT": self.shift}

    def jump(self, seconds, restart=False):
        with open(self.shift + ".new", "w") as file:
            file.write(str(seconds))
        os.rename(self.shift + ".new", self.shift)
        if restart:
            self.world.restart_after_kill()

    def seconds_until(self, begin, reached, what):
        harness.wait_for(reached, what)
        return time.monotonic() - begin

    def test_the_library_shifts_the_clock_of_the_daemon(self):
        self.jump(DAY)
        self.world.start()
        job = self.submit(name="shifted", steps=3)
        self.world.wait_state(job, "SUCCEEDED")
        created = self.world.get(job)["create_time"]
        self.assertGreater(created, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + DAY - 3600)))

    def test_a_retry_keeps_its_delay(self):
        self.world.settings.update(retry_backoff="5s", retry_backoff_max="5s")
        self.world.start()
        for number, (seconds, restart) in enumerate(JUMPS):
            self.jump(0)
            job = self.submit(name=f"retry{number}", steps=60, step_ms=1, crash_at=30)
            harness.wait_for(lambda: self.world.get(job).get("wait_reason") == "BACKOFF", f"{job} to wait for its retry")
            begin = time.monotonic()
            self.jump(seconds, restart)
            waited = self.seconds_until(begin, lambda: int(self.world.get(job).get("attempt", 0)) == 2, "the second attempt")
            self.assertGreater(waited, 2, "the delay of 5 s ± 20 % was cut short")
            self.assertLess(waited, 30)
            self.world.wait_state(job, "SUCCEEDED")

    def test_a_pausing_job_keeps_its_grace(self):
        self.world.start()
        for number, (seconds, restart) in enumerate(JUMPS):
            self.jump(0)
            job = self.submit(name=f"pausing{number}", steps=200, step_ms=1, every=20, hang_at=50, extra="limits: {stop_grace: 5s}\n")
            self.world.wait_step(job, 49)
            self.world.ctl("pause", job)
            begin = time.monotonic()
            self.assertEqual(self.world.state(job), "PAUSING")
            self.jump(seconds, restart)
            waited = self.seconds_until(begin, lambda: self.world.state(job) == "PAUSED", f"{job} to be paused")
            # 5 s, then SIGTERM, which the worker ignores, and SIGKILL 2 s later.
            self.assertGreater(waited, 4, "the grace was cut short")
            self.assertLess(waited, 40)
            self.world.ctl("stop", job)

    def test_a_start_time_follows_the_clock(self):
        self.world.start()
        for number, restart in enumerate((False, True)):
            self.jump(0)
            time.sleep(2.5)  # absl::Now() extrapolates its last reading for 2.1 s
            start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + DAY / 2))
            job = self.submit(name=f"timed{number}", steps=3, extra=f"not_before: {start}\n")
            self.jump(-DAY, restart)
            time.sleep(1.5)
            self.assertEqual(self.world.get(job)["wait_reason"], "NOT_BEFORE")
            self.jump(DAY, restart)
            self.world.wait_state(job, "SUCCEEDED")

    def test_a_running_job_goes_on(self):
        self.world.start()
        job = self.submit(name="runs", steps=300, step_ms=20, every=50, extra="limits: {max_run_time: 1h}\n")
        watcher = self.world.watch(job)
        for step, seconds in ((50, DAY), (100, -DAY), (150, 0), (200, 2 * DAY)):
            self.world.wait_step(job, step)
            self.jump(seconds)
        self.world.wait_state(job, "SUCCEEDED")
        events = self.check_like_uninterrupted(job, 300, watcher)
        raised = [event["condition_changed"]["condition"]["type"] for event in harness.of_kind(events, "condition_changed")]
        self.assertNotIn("Stalled", raised)

    def test_a_new_job_starts_at_once_after_a_jump(self):
        self.world.start()
        for seconds in (DAY, -DAY, 0, -2 * DAY):
            self.jump(seconds)
            # The queue's thread sleeps when the clock jumps.
            time.sleep(1.5)
            begin = time.monotonic()
            job = self.submit(name="queued", steps=3)
            self.assertLess(self.seconds_until(begin, lambda: self.world.state(job) == "SUCCEEDED", f"{job} to end"), 20)


if __name__ == "__main__":
    unittest.main(verbosity=2)
