# SPDX-License-Identifier: Apache-2.0
"""Daemon, shim, worker or all of them are stopped (SIGSTOP) for longer than every time limit between them, as by a debugger, a suspended virtual machine or a swapping
host, and continue: the job ends as if nothing had happened. By hand: --seconds 60."""

import signal
import sys
import threading
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

# Above the 1 s that the daemon waits for a shim.
SECONDS = 4
STEPS = 300


class StoppedProcessesTest(FakeWorkerTest):

    def stop_and_continue(self, targets, seconds=None):
        harness.kill_all(targets, signal.SIGSTOP)
        time.sleep(SECONDS if seconds is None else seconds)
        harness.kill_all(targets, signal.SIGCONT)

    def check(self, name, errors):
        """One world per group of processes, at the same time."""
        world = harness.World()
        try:
            world.start()
            job = world.submit(write_job(world.root, steps=STEPS, hold_at="40,80"))
            watcher = world.watch(job)
            world.wait_step(job, 40)
            groups = {"daemon": [world.daemon.pid], "shim": world.processes(job, "shim"), "worker": world.processes(job, "worker")}
            groups["all"] = groups["shim"] + groups["worker"] + groups["daemon"]
            world.release(job, 40)
            self.stop_and_continue(groups[name])
            world.wait_step(job, 80)
            # A second time, while a checkpoint may be in progress.
            world.release(job, 80)
            time.sleep(0.05)
            self.stop_and_continue(groups[name], 1)
            got = world.wait_state(job, "SUCCEEDED")
            assert got["attempt"] == 1, f"attempt {got['attempt']}"
            self.compare(world, job, watcher)
        except Exception as error:
            errors.append(f"{name}: {error!r}: {world.daemon_log()[-2000:]}")
        finally:
            world.close()
            errors.extend(f"{name}: {violation}" for violation in world.live.violations)

    def compare(self, world, job, watcher):
        events = world.events(job)
        harness.check_whole_run(events, STEPS)
        losses, final = self.reference(STEPS)
        assert harness.losses(events) == losses, "other losses"
        assert world.final_bytes(job) == final, "another final model"
        harness.check_same_events(watcher.events(), events)
        conditions = [condition["type"] for condition in world.get(job).get("conditions", []) if condition.get("active")]
        assert conditions == [], f"conditions {conditions}"

    def test_the_job_ends_as_if_nothing_had_happened(self):
        self.reference(STEPS)
        errors = []
        threads = [threading.Thread(target=self.check, args=(name, errors)) for name in ("daemon", "shim", "worker", "all")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])

    def test_a_command_is_carried_out_when_the_processes_continue(self):
        world = self.world.start()
        job = self.submit(steps=STEPS, hold_at=40)
        watcher = world.watch(job)
        world.wait_step(job, 40)
        targets = world.processes(job, "shim") + world.processes(job, "worker")
        harness.kill_all(targets, signal.SIGSTOP)
        world.ctl("pause", job)
        world.release(job, 40)
        time.sleep(SECONDS)
        got = world.get(job)
        self.assertEqual(got["state"], "PAUSING", "silence decides nothing")
        self.assertEqual(len(world.processes(job, "worker")), 1)
        harness.kill_all(targets, signal.SIGCONT)
        world.wait_state(job, "PAUSED")
        world.ctl("resume", job)
        self.assertEqual(world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        self.check_like_uninterrupted(job, STEPS, watcher)


if __name__ == "__main__":
    if "--seconds" in sys.argv:
        at = sys.argv.index("--seconds")
        SECONDS = float(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    unittest.main(verbosity=2)
