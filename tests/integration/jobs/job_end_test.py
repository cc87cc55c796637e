# SPDX-License-Identifier: Apache-2.0
"""What a user sees of a job that has ended: alerts of a job that diverged, the refusal to continue a finished one, no process left."""

import json
import os
import unittest

import harness
from real_jobs import RealWorkerTest, write_job


def zombies(parent):
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                state, ppid = file.read().rsplit(b")", 1)[1].split()[:2]
        except OSError:
            continue
        if state == b"Z" and int(ppid) == parent:
            found.append(int(name))
    return found


class JobEndTest(RealWorkerTest):

    def finish(self, name, *settings):
        path = write_job(self.world.root, name, epochs=1)
        arguments = [word for setting in settings for word in ("--set", setting)]
        job = self.world.submit(path, *arguments)
        return job, self.world.run("wait", job)

    def test_a_diverged_job_is_no_plain_success(self):
        job, waited = self.finish("diverged", "optimizer.learning_rate=4", "train.max_steps=40")
        self.assertEqual(waited.returncode, 0, waited.stderr)
        self.assertIn(f"{job}: alert diverged (CRITICAL) active since step", waited.stderr)
        changes = harness.of_kind(self.world.events(job), "state_changed")
        self.assertEqual(changes[-1]["state_changed"]["to_state"], "SUCCEEDED")
        self.assertRegex(changes[-1]["state_changed"]["reason"], "CRITICAL alert.*diverged")
        # The alerts are the daemon's, not the watcher's.
        self.world.restart_after_kill()
        alerts = {alert["type"]: alert for alert in self.world.get(job)["alerts"]}
        self.assertTrue(alerts["diverged"]["active"])
        self.assertEqual(alerts["diverged"]["severity"], "CRITICAL")
        self.assertRegex(self.world.ctl("get", job), r"alert +diverged \(CRITICAL\) active since step [0-9]+: the mean loss")
        self.assertIn("diverged", self.world.ctl("ls", "-o", "wide"))

    def test_a_job_that_went_well_has_no_alert(self):
        job, waited = self.finish("well", "train.max_steps=12")
        self.assertEqual(waited.returncode, 0, waited.stderr)
        self.assertNotIn("alert", waited.stderr)
        self.assertFalse(self.world.get(job).get("alerts"))

    def test_submit_refuses_to_train_what_the_base_job_froze(self):
        job, waited = self.finish("frozen", "train.max_steps=12", "train.freeze=[model.layers.0.*, model.norm.weight]")
        self.assertEqual(waited.returncode, 0, waited.stderr)
        thawed = ["submit", "--from", job, "--set", "train.max_steps=24", "--set", "train.freeze=[model.layers.0.*]"]
        refused = self.world.run(*thawed)
        self.assertEqual(refused.returncode, 2, refused.stdout + refused.stderr)
        self.assertIn("has no optimizer state for 1 parameter that trains in this job: model.norm.weight", refused.stdout + refused.stderr)
        # As the message advises.
        started = self.world.run(*thawed, "--set", "init_from.state=weights", "--wait")
        self.assertEqual(started.returncode, 0, started.stderr)

    def test_a_finished_job_is_not_continued_without_more_steps(self):
        for name, setting in (("steps", "train.max_steps=12"), ("epochs", "train.epochs=0.2")):
            with self.subTest(name):
                job, waited = self.finish(name, setting)
                self.assertEqual(waited.returncode, 0, waited.stderr)
                refused = self.world.run("submit", "--from", job, "--set", "optimizer.learning_rate=1e-5", "--no-validate")
                self.assertEqual(refused.returncode, 6, refused.stderr)
                for key in ("train.max_steps", "train.epochs", "init_from.state=weights"):
                    self.assertIn(key, refused.stderr)
                longer = json.loads(self.world.ctl("submit", "--from", job, "--no-validate", "-o", "json", "--set",
                                                   "train.epochs=0.4" if name == "epochs" else "train.max_steps=20"))["name"]
                self.world.wait_state(longer, "SUCCEEDED")
                notices = {event["notice"]["code"]: event["notice"]["message"] for event in harness.of_kind(self.world.events(longer), "notice")}
                self.assertRegex(notices["LEARNING_RATE_CHANGED"], "step [0-9]+, the next one, has learning rate")

    def test_an_ended_shim_is_reaped_at_once(self):
        job, waited = self.finish("reaped", "train.max_steps=8")
        self.assertEqual(waited.returncode, 0, waited.stderr)
        harness.wait_for(lambda: not harness.attempt_processes(self.world.run_dir(job)), "the shim to exit")
        harness.wait_for(lambda: not zombies(self.world.daemon.pid), "no zombie of the daemon", patience=10)


if __name__ == "__main__":
    unittest.main(verbosity=2)
