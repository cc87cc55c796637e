# SPDX-License-Identifier: Apache-2.0
"""Each step of the write orders in README.md of proto, server and shim is interrupted: its program is killed before the call, killed after it, or the call fails with
EIO (tests/fakes/disk_calls.cc; the programs themselves have no fail points). A seed chooses one of the three per point; by hand: --all runs all of them."""

import errno
import glob
import json
import os
import random
import sys
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job
from scripted_day import LIBRARY, preload

DAEMON, SHIM, WORKER = "trainerd", "trainerd-shim", "fake_worker"
# (program, call, how many before it, part of the path): each is one arrow of a write order.
SUBMIT = [(DAEMON, "write", 1, "trainerd.db-wal"), (DAEMON, "write", 2, "trainerd.db-wal"), (DAEMON, "fsync", 1, "trainerd.db-wal")]
LAUNCH = [(DAEMON, "mkdir", 1, "/attempts/1"), (DAEMON, "open", 1, "publisher"), (DAEMON, "rename", 1, "/publisher"), (DAEMON, "rename", 1, "/job_config.yaml"),
          (DAEMON, "fsync", 1, "/.spec.pb."), (DAEMON, "rename", 1, "/spec.pb"), (DAEMON, "open", 1, "/shim.log"), (SHIM, "open", 1, "/run.lock"),
          (SHIM, "open", 1, "/shim.lock"), (SHIM, "rename", 1, "/shim.json"), (SHIM, "open", 1, "/worker.")]
CHECKPOINT = [(WORKER, "fsync", 1, "/spool."), (WORKER, "mkdir", 1, "/.tmp-a1"), (WORKER, "write", 1, "/model.safetensors"), (WORKER, "fsync", 1, "/model.safetensors"),
              (WORKER, "write", 1, "MANIFEST.json"), (WORKER, "fsync", 1, "MANIFEST.json"), (WORKER, "rename", 1, "/MANIFEST.json"), (WORKER, "rename", 1, "/step-00000010"),
              (WORKER, "fsync", 1, "/checkpoints"), (WORKER, "write", 30, "/spool."), (DAEMON, "fsync", 12, "trainerd.db-wal"), (DAEMON, "write", 40, "trainerd.db-wal")]
END = [(WORKER, "rename", 1, "/final"), (WORKER, "fsync", 1, "/.worker_exit.rec."), (WORKER, "rename", 1, "/worker_exit.rec"), (SHIM, "fsync", 1, "/.exit.rec."),
       (SHIM, "rename", 1, "/exit.rec"), (DAEMON, "rename", 1, "/.trash/step-"), (DAEMON, "unlink", 2, "/.trash/step-")]
DELETE = [(DAEMON, "rename", 1, "/runs/.trash/"), (DAEMON, "fsync", 1, "/runs/.trash"), (DAEMON, "unlink", 1, "/runs/.trash/"), (DAEMON, "unlink", 9, "/runs/.trash/")]
POINTS = SUBMIT + LAUNCH + CHECKPOINT + END + DELETE
ACTIONS = {"killed before": 0, "killed after": -1, "EIO": errno.EIO}
STEPS = 40
SEED = 16
ALL = False


class FailPointsTest(FakeWorkerTest):

    def setUp(self):
        if not os.path.exists(LIBRARY):
            self.skipTest(f"{LIBRARY} is not built")
        super().setUp()
        self.fault = os.path.join(self.world.root, "fault")
        self.world.daemon_environment = preload(self.world.state_dir, fault=self.fault)
        self.world.start()

    def arm(self, point, action):
        program, call, number, path = point
        with open(self.fault + ".new", "w") as file:
            file.write(f"{program} {call} {number} {action} {path}\n")
        os.rename(self.fault + ".new", self.fault)

    def until(self, condition, what):
        """The first true value of condition(), with a daemon that is started again when it has exited."""
        def there():
            time.sleep(0.05)
            if self.world.daemon.poll() is not None:
                self.world.start()
            return condition()
        return harness.wait_for(there, what)

    def submit_job(self, *command):
        """The job of a command that is repeated until it is acknowledged."""
        def accepted():
            result = self.world.run("submit", *command, "--no-validate", "-o", "json")
            return json.loads(result.stdout)["name"] if result.returncode == 0 else None
        return self.until(accepted, "the submit")

    def end_of(self, job):
        def ended():
            result = self.world.run("get", job, "-o", "json")
            got = json.loads(result.stdout) if result.returncode == 0 else {}
            return got if got.get("state") in harness.TERMINAL else None
        return self.until(ended, f"the end of {job}")

    def delete(self, job):
        def deleted():
            self.world.run("rm", job)
            return "no job matches" in self.world.run("get", job).stderr
        self.until(deleted, f"{job} to be deleted")
        self.until(lambda: not os.path.exists(self.world.run_dir(job)) and not glob.glob(os.path.join(self.world.runs_dir, ".trash", "*")), "its files to be removed")

    def interrupt(self, name, point, action):
        self.arm(point, ACTIONS[action])
        path = write_job(self.world.root, name=name, steps=STEPS, step_ms=1, every=10)
        command = (path, "--request-id", f"request-{name}")
        job = self.submit_job(*command)
        self.check_end(job, self.end_of(job), disk_failed=point[0] == WORKER and action == "EIO")
        self.assertEqual(self.submit_job(*command), job, "the same request is another job")
        self.delete(job)
        self.assertFalse(os.path.exists(self.fault), "the point was not reached")

    def check_end(self, job, got, disk_failed):
        if disk_failed and got["state"] == "FAILED":
            # The job reports the file and the error.
            self.assertRegex(got["error"]["message"], f"/{job.split('/')[1]}/.*: Input/output error")
            harness.check_events(self.world.events(job))
        else:
            self.assertEqual(got["state"], "SUCCEEDED", json.dumps(got.get("error")))
            self.check_like_uninterrupted(job, STEPS)
        for checkpoint in self.world.checkpoints(job):
            self.assertTrue(json.loads(self.world.ctl("checkpoints", "verify", checkpoint["name"], "-o", "json"))["verified"])

    def test_each_arrow_of_the_write_orders(self):
        source, count = random.Random(SEED), 0
        self.reference(STEPS)
        for number, point in enumerate(POINTS):
            chosen = source.choice(list(ACTIONS))
            for action in ACTIONS if ALL else [chosen]:
                with self.subTest(point=" ".join(map(str, point)), action=action):
                    count += 1
                    self.interrupt(f"job-{number}-{count}", point, action)
        print(f"{count} interruptions at {len(POINTS)} points", flush=True)
        self.world.ctl("audit", "verify")


if __name__ == "__main__":
    if "--all" in sys.argv:
        sys.argv.remove("--all")
        ALL = True
    unittest.main(verbosity=2)
