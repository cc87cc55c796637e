# SPDX-License-Identifier: Apache-2.0
"""Live restore with the fake worker: any of daemon, shim and worker is killed at any time; nothing is lost, repeated, or shown wrongly."""

import os
import random
import signal
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest


class LiveRestoreTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def start_job(self, steps, hold_at, **job):
        """(job, watcher) of a job that has reached the first step of `hold_at` and waits there, obeying."""
        name = self.submit(steps=steps, hold_at=hold_at, **job)
        watcher = self.world.watch(name)
        self.world.wait_step(name, int(str(hold_at).split(",", maxsplit=1)[0]))
        return name, watcher

    def test_daemon_killed_while_a_job_trains_and_100_steps_pass(self):
        job, watcher = self.start_job(400, "20,200")
        shim = self.world.wait_process(job, "shim")
        self.world.kill_daemon()
        self.world.release(job, 20)
        harness.wait_for(lambda: self.world.last_step(job, 1) >= 120, "100 steps without a daemon")
        self.world.start()
        self.assertEqual(self.world.get(job)["attempt"], 1)
        self.assertEqual(self.world.wait_process(job, "shim"), shim)
        self.world.release(job, 200)
        self.world.wait_state(job, "SUCCEEDED")
        events = self.check_like_uninterrupted(job, 400, watcher)
        self.assertEqual({event.get("attempt", 0) for event in harness.of_kind(events, "metrics")}, {1})

    def test_job_that_ends_while_the_daemon_is_down(self):
        job, watcher = self.start_job(150, 10)
        self.world.kill_daemon()
        self.world.release(job, 10)
        harness.wait_for(lambda: not harness.attempt_processes(self.world.runs_dir), "the attempt to end")
        self.world.start()
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 150, watcher)

    def test_worker_that_fails_while_the_daemon_is_down_is_retried(self):
        job, watcher = self.start_job(150, 5, crash_at=60)
        self.world.kill_daemon()
        self.world.release(job, 5)
        harness.wait_for(lambda: not harness.attempt_processes(self.world.runs_dir), "the attempt to end")
        self.world.start()
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        self.check_like_uninterrupted(job, 150, watcher)

    def test_worker_killed(self):
        job, watcher = self.start_job(300, 60)
        os.kill(self.world.wait_process(job, "worker"), signal.SIGKILL)
        self.world.release(job, 60)
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        events = self.check_like_uninterrupted(job, 300, watcher)
        # It resumed from the checkpoint at 50, not from the beginning.
        second = [int(event["metrics"]["step"]) for event in harness.of_kind(events, "metrics") if event.get("attempt") == 2]
        self.assertEqual(second[0], 51)

    def check_shim_killed(self, job, watcher):
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        events = self.check_like_uninterrupted(job, 300, watcher)
        # The orphan checkpointed before it left, so not one step is repeated.
        steps = [int(event["metrics"]["step"]) for event in harness.of_kind(events, "metrics")]
        self.assertEqual(steps, list(range(1, 301)))

    def test_shim_killed(self):
        job, watcher = self.start_job(300, 60)
        os.kill(self.world.wait_process(job, "shim"), signal.SIGKILL)
        self.check_shim_killed(job, watcher)

    def test_shim_killed_while_the_daemon_is_down(self):
        job, watcher = self.start_job(300, 60)
        shim = self.world.wait_process(job, "shim")
        self.world.kill_daemon()
        os.kill(shim, signal.SIGKILL)
        self.world.start()
        self.check_shim_killed(job, watcher)

    def test_daemon_shim_and_worker_killed_at_once(self):
        job, watcher = self.start_job(300, 60)
        harness.kill_all([self.world.daemon.pid, self.world.wait_process(job, "shim"), self.world.wait_process(job, "worker")])
        self.world.daemon.wait()
        self.world.release(job, 60)
        self.world.start()
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        self.check_like_uninterrupted(job, 300, watcher)

    def test_daemon_that_starts_during_the_shutdown_of_the_old_one(self):
        job, watcher = self.start_job(400, 20)
        old = self.world.daemon
        old.send_signal(signal.SIGTERM)
        refusals = 0
        # The service manager of a machine: started again until it stays.
        while True:
            self.world.daemon = self.world.spawn_daemon()
            try:
                self.world.wait_serving()
                break
            except AssertionError:
                self.assertEqual(self.world.daemon.returncode, 1)
                refusals += 1
                self.assertLess(refusals, 200)
        self.assertEqual(old.wait(harness.PATIENCE_S), 0)
        self.assertIsNone(self.world.daemon.poll())
        self.world.release(job, 20)
        self.world.wait_state(job, "SUCCEEDED")
        events = self.check_like_uninterrupted(job, 400, watcher)
        self.assertEqual({event.get("attempt", 0) for event in harness.of_kind(events, "metrics")}, {1})

    def test_drain_leaves_the_attempt_running_and_queued_jobs_queued(self):
        first, _ = self.start_job(300, 20, name="first")
        second = self.submit(name="second", steps=50)
        self.assertEqual(self.world.stop_daemon(), 0)
        self.assertEqual(len(self.world.processes(first, "worker")), 1)
        self.assertEqual(self.world.processes(second, "worker"), [])
        self.world.start()
        self.world.release(first, 20)
        self.world.wait_state(first, "SUCCEEDED")
        self.world.wait_state(second, "SUCCEEDED")
        self.check_like_uninterrupted(first, 300)
        self.check_like_uninterrupted(second, 50)

    def test_commands_given_before_a_kill_are_carried_out_after_it(self):
        job, _ = self.start_job(400, 20)
        self.world.ctl("pause", job)
        self.world.restart_after_kill()
        paused = self.world.wait_state(job, "PAUSED")
        self.assertTrue(paused["latest_checkpoint"])
        self.assertEqual(harness.attempt_processes(self.world.runs_dir), [])
        self.world.ctl("resume", job)
        self.world.restart_after_kill()
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 400)

    def test_twenty_seeded_kills_of_anything(self):
        random.seed(20)
        job = self.submit(steps=1500, step_ms=4, every=10)
        watcher = self.world.watch(job)
        for number in range(20):
            time.sleep(random.uniform(0.05, 0.4))
            if self.world.state(job) in harness.TERMINAL:
                break
            target = random.choice(["daemon", "shim", "worker", "all"])
            pids = [] if target == "daemon" else self.world.processes(job, "shim") + self.world.processes(job, "worker")
            if target in ("shim", "worker"):
                pids = self.world.processes(job, target)
            if target in ("daemon", "all"):
                pids.append(self.world.daemon.pid)
            harness.kill_all(pids)
            if self.world.daemon.pid in pids:
                self.world.daemon.wait()
                self.world.start()
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 1500, watcher)


if __name__ == "__main__":
    unittest.main(verbosity=2)
