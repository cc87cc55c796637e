# SPDX-License-Identifier: Apache-2.0
"""Job files that are dropped into the inbox, and the file that mirrors the jobs. The daemon is killed while it takes files."""

import json
import os
import shutil
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job


class InboxTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.inbox = os.path.join(self.world.root, "inbox")
        self.mirror = os.path.join(self.world.root, "status.json")
        self.world.settings |= {"inbox": self.inbox, "status_file": self.mirror}
        self.world.start()

    def files(self, *folder):
        return sorted(name for name in os.listdir(os.path.join(self.inbox, *folder)) if not os.path.isdir(os.path.join(self.inbox, *folder, name)))

    def mirrored(self):
        """Job name → job. The file is replaced as a whole, so it can be read at any time."""
        with open(self.mirror) as file:
            return {job["name"]: job for job in json.load(file)["jobs"]}

    def jobs(self):
        return json.loads(self.world.ctl("ls", "-o", "json"))["jobs"]

    def test_files_are_submitted_and_moved(self):
        shutil.copy(write_job(self.world.root, name="copied", steps=3), self.inbox)
        with open(os.path.join(self.inbox, "wrong.yaml"), "w") as file:
            file.write("model: {path: /nowhere}\ndata: {train: [/nothing.jsonl]}\n")
        moved = write_job(self.world.root, name="moved", steps=3)
        os.rename(moved, os.path.join(self.inbox, "moved.yaml"))
        harness.wait_for(lambda: self.files("accepted") == ["copied.yaml", "moved.yaml"] and len(self.files("rejected")) == 2, "the files to be moved")
        self.assertEqual(self.files(), [])
        with open(os.path.join(self.inbox, "rejected", "wrong.yaml.reason")) as file:
            reason = file.read()
        self.assertIn("model.path", reason)
        self.assertIn("/nothing.jsonl", reason)
        self.assertEqual({job["config"]["name"] for job in self.jobs()}, {"copied", "moved"})
        for job in self.jobs():
            self.world.wait_state(job["name"], "SUCCEEDED")
        harness.wait_for(lambda: {job["state"] for job in self.mirrored().values()} == {"SUCCEEDED"}, "the mirror")
        self.assertEqual(self.mirrored().keys(), {job["name"] for job in self.jobs()})

    def test_a_killed_daemon_submits_no_file_twice(self):
        names = [f"job{number}" for number in range(12)]
        for name in names:
            path = write_job(self.world.root, name=name, steps=1, extra="suspended: true\n")
            os.rename(path, os.path.join(self.inbox, f"{name}.yaml"))
        # The commits take the daemon longer than this loop.
        for taken in (1, 4, 8):
            harness.wait_for(lambda: len(self.files("accepted")) >= taken, f"{taken} files to be taken")
            self.world.restart_after_kill()
        harness.wait_for(lambda: len(self.files("accepted")) == len(names), "all files to be taken")
        self.assertEqual(self.files(), [])
        self.assertEqual(sorted(job["config"]["name"] for job in self.jobs()), sorted(names))

    def test_a_half_written_file_waits(self):
        with open(write_job(self.world.root, name="slow", steps=1)) as file:
            text = file.read()
        with open(os.path.join(self.inbox, "slow.yaml"), "w") as file:
            file.write(text[:40])
            file.flush()
            # Later files pass it.
            shutil.copy(os.path.join(self.world.root, "slow.yaml"), os.path.join(self.inbox, "quick.yaml"))
            harness.wait_for(lambda: self.files("accepted") == ["quick.yaml"], "the other file")
            self.assertEqual(self.files(), ["slow.yaml"])
            file.write(text[40:])
        harness.wait_for(lambda: self.files("accepted") == ["quick.yaml", "slow.yaml"], "the whole file")
        self.assertEqual(self.files("rejected"), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
