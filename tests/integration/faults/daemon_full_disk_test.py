# SPDX-License-Identifier: Apache-2.0
"""The disk under the daemon's own database is full: a command is acknowledged durably or refused with the path and the free bytes, never lost;
the daemon serves on, starts on a full disk, and takes commands again once there is space."""

import os
import unittest

import harness
from fake_jobs import SmallDiskTest


class DaemonFullDiskTest(SmallDiskTest):

    SIZE = 16 << 20

    def setUp(self):
        super().setUp()
        self.filler = os.path.join(self.world.state_dir, "filler")
        self.world.start()

    def fill(self):
        for size in (1 << 20, 4096, 1):
            with open(self.filler, "ab", buffering=0) as file:
                try:
                    while file.write(b"\0" * size) == size:
                        pass
                except OSError:
                    pass

    def refused(self, *arguments):
        """The refusal of a command, once the pages that the database still had are used up."""
        for _ in range(200):
            result = self.world.run(*arguments)
            if result.returncode != 0:
                return result
        raise AssertionError(f"a full disk took {arguments} 200 times")

    def held_job(self):
        job = self.submit(steps=120, every=50, hold_at=60)
        self.world.wait_step(job, 60)
        harness.wait_for(lambda: self.world.get(job).get("latest_checkpoint"), "the checkpoint of step 50")
        return job

    def check_refusal(self, result):
        self.assertEqual(result.returncode, 6, result.stderr)
        self.assertIn(os.path.join(self.world.state_dir, "trainerd.db"), result.stderr)
        self.assertRegex(result.stderr, "[0-9.]+ ([KMGTP]i)?B are free")
        self.assertIn("free some space", result.stderr)

    def test_commands_are_refused_with_the_bytes_and_taken_again_once_there_is_space(self):
        job = self.held_job()
        before = self.world.get(job)
        self.fill()
        # Resume of a running job changes nothing but the audit: the smallest write that a command makes.
        self.check_refusal(self.refused("resume", job))
        for command in (("pause", job), ("stop", job), ("stop", job, "--discard")):
            self.check_refusal(self.world.run(*command))
        self.assertIsNone(self.world.daemon.poll())
        after = self.world.get(job)
        self.assertEqual((after["state"], after["desired_state"]), (before["state"], before["desired_state"]))
        os.remove(self.filler)
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        self.world.ctl("resume", job)
        self.world.release(job, 60)
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 120)

    def test_what_was_acknowledged_survives_a_kill_and_a_start_on_the_full_disk(self):
        job = self.held_job()
        queued = self.submit(name="queued", steps=5)
        self.fill()
        acknowledged = "RUN"
        for desired in ["PAUSE", "RUN"] * 100:
            if self.world.run("pause" if desired == "PAUSE" else "resume", queued).returncode != 0:
                break
            acknowledged = desired
        else:
            self.fail("a full disk took 200 commands")
        self.world.kill_daemon()
        self.world.start()
        self.assertEqual(self.world.get(queued)["desired_state"], "DESIRED_" + acknowledged)
        self.assertEqual(self.world.state(job), "RUNNING")
        self.check_refusal(self.refused("resume", job))
        os.remove(self.filler)
        self.world.ctl("resume", queued)
        self.world.release(job, 60)
        self.world.wait_state(job, "SUCCEEDED")
        self.world.wait_state(queued, "SUCCEEDED")
        self.check_like_uninterrupted(job, 120)


if __name__ == "__main__":
    unittest.main(verbosity=2)
