# SPDX-License-Identifier: Apache-2.0
"""The ledger against a real daemon: metrics and best of checkpoints, labels, pins and expiry, requested checkpoints, verification, retention, garbage, and
Resume(from_checkpoint), also across kill -9."""

import glob
import json
import os
import signal
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

BEST = "evaluation: {every_steps: 10, best: {}}\n"


class LedgerTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def json(self, *arguments):
        return json.loads(self.world.ctl(*arguments, "-o", "json"))

    def refused(self, *arguments):
        with self.assertRaises(harness.Refused) as refused:
            self.world.ctl(*arguments)
        return refused.exception

    def submit_best(self, *changes, **job):
        changes = ["data.validation_fraction=0.5", *changes]
        arguments = [word for change in changes for word in ("--set", change)]
        return self.world.submit(write_job(self.world.root, extra=BEST, **job), *arguments)

    def checkpoints(self, job, *flags):
        return {checkpoint["name"].rsplit("/", 1)[1]: checkpoint for checkpoint in self.json("checkpoints", "ls", job, *flags).get("checkpoints", [])}

    def folders(self, job):
        return set(os.listdir(os.path.join(self.world.run_dir(job), "checkpoints")))

    def wait_folders(self, job, expected):
        harness.wait_for(lambda: self.folders(job) == set(expected), f"the folders {expected}; there are {self.folders(job)}")

    def paused_at(self, steps, **job):
        """A job with checkpoints at these steps, paused at the last one."""
        job = self.submit(steps=1000, every=10, hold_at=str(steps[-1]), **job)
        self.world.wait_step(job, steps[-1])
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        return job

    def test_the_best_checkpoint_is_kept_and_named(self):
        job = self.submit_best("checkpoint.keep_last=1", steps=60, every=20, evals="10:5,25:2,40:3,55:2.5")
        self.world.wait_state(job, "SUCCEEDED")
        self.wait_folders(job, ["step-00000025-a1", "step-00000060-a1"])
        ended = self.world.get(job)
        self.assertEqual((ended["best_checkpoint"], ended["best_value"]), (f"{job}/checkpoints/step-00000025-a1", 2))
        listed = self.checkpoints(job)
        metrics = {metric["name"]: metric.get("value", 0) for metric in listed["step-00000025-a1"]["metrics"]}
        self.assertEqual(metrics["eval.validation.loss"], 2)
        self.assertIn("grad_norm", metrics)
        self.assertTrue(listed["step-00000025-a1"]["best"])
        self.assertNotIn("best", listed["step-00000060-a1"])
        became = [event["checkpoint"]["checkpoint"]["step"] for event in harness.of_kind(self.world.events(job), "checkpoint")
                  if event["checkpoint"]["kind"] == "BECAME_BEST"]
        self.assertEqual(became, [10, 25])
        self.assertIn("best", self.world.ctl("checkpoints", "ls", job))

    def test_the_best_survives_crashes_of_worker_and_daemon(self):
        job = self.submit_best("checkpoint.keep_last=1", steps=60, every=20, evals="10:2,25:2,50:1", hold_at="30", crash_at=45)
        self.world.wait_step(job, 30)
        self.assertEqual(self.world.get(job)["best_checkpoint"], f"{job}/checkpoints/step-00000010-a1")
        self.world.restart_after_kill()
        self.world.release(job, 30)
        self.world.wait_state(job, "SUCCEEDED")
        self.assertEqual(self.world.get(job)["best_checkpoint"], f"{job}/checkpoints/step-00000050-a2")
        self.wait_folders(job, ["step-00000050-a2", "step-00000060-a2"])

    def test_a_requested_checkpoint_gets_its_labels_and_training_continues(self):
        job = self.submit(steps=200, every=0, hold_at="35")
        self.world.wait_step(job, 35)
        self.assertTrue(self.json("checkpoint", job, "--label", "stage=mid", "--pin")["checkpoint_pending"])
        self.world.wait_state(job, "SUCCEEDED")
        listed = self.checkpoints(job)
        self.assertEqual(listed["step-00000035-a1"]["labels"], {"stage": "mid"})
        self.assertTrue(listed["step-00000035-a1"]["pinned"])
        self.assertEqual(set(listed), {"step-00000035-a1", "step-00000200-a1"}, "exactly one checkpoint for it")
        self.assertNotIn("checkpoint_pending", self.world.get(job))
        late = self.refused("checkpoint", job)
        self.assertEqual(late.code, 6)
        self.assertIn("no attempt runs", late.stderr)

    def test_a_request_survives_a_kill_of_everything(self):
        job = self.submit(steps=200, every=20, hold_at="30")
        self.world.wait_step(job, 30)
        harness.kill_all([self.world.wait_process(job, "worker")], signal.SIGSTOP)
        self.world.ctl("checkpoint", job, "--label", "after=crash")
        self.world.kill_daemon()
        harness.kill_all(pid for pid, _, _ in harness.attempt_processes(self.world.root))
        self.world.start()
        harness.wait_for(lambda: any(c.get("labels") for c in self.checkpoints(job).values()), "a labelled checkpoint")
        labelled = [name for name, checkpoint in self.checkpoints(job).items() if checkpoint.get("labels") == {"after": "crash"}]
        self.assertEqual(len(labelled), 1)
        self.assertTrue(labelled[0].endswith("-a2"))
        self.world.release(job, 30)
        self.world.wait_state(job, "SUCCEEDED")

    def test_labels_pins_and_expiry(self):
        job = self.world.submit(write_job(self.world.root, steps=1000, every=10, hold_at="40"), "--set", "checkpoint.keep_last=9")
        self.world.wait_step(job, 40)
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")

        def name(step):
            return f"{job}/checkpoints/step-000000{step}-a1"
        first = self.json("checkpoints", "label", name(10), "team=blue", "n=1")
        self.assertEqual(first["labels"], {"team": "blue", "n": "1"})
        second = self.json("checkpoints", "label", name(10), "n-")
        self.assertEqual(second["labels"], {"team": "blue"})
        self.assertNotEqual(first["etag"], second["etag"])
        self.assertTrue(self.json("checkpoints", "pin", name(20))["pinned"])
        self.world.restart_after_kill()
        for step in (10, 20, 30, 40):
            self.world.ctl("checkpoints", "expire", name(step))
        plan = self.json("gc", job, "--dry-run")
        reasons = {item["name"].rsplit("/", 1)[1]: item["reason"] for item in plan["removed"] + plan["kept"]}
        self.assertEqual(reasons, {"step-00000010-a1": "EXPIRED", "step-00000030-a1": "EXPIRED", "step-00000020-a1": "PINNED", "step-00000040-a1": "NEWEST"})
        self.assertEqual(len(self.folders(job)), 4, "a plan removes nothing")
        done = self.json("gc", job)
        self.assertEqual(done["removed"], plan["removed"])
        self.wait_folders(job, ["step-00000020-a1", "step-00000040-a1"])
        self.assertEqual({n for n, c in self.checkpoints(job, "--all").items() if c.get("deleted")}, {"step-00000010-a1", "step-00000030-a1"})
        gone = self.refused("checkpoints", "pin", name(10))
        self.assertEqual(gone.code, 6)
        self.assertIn("was deleted", gone.stderr)
        self.world.ctl("checkpoints", "unpin", name(20))
        self.world.ctl("gc")
        self.wait_folders(job, ["step-00000040-a1"])
        self.world.ctl("resume", job)
        self.world.release(job, 40)
        self.world.wait_state(job, "SUCCEEDED")

    def test_a_kill_amid_a_removal_leaves_no_folder_behind(self):
        job = self.world.submit(write_job(self.world.root, steps=1000, step_ms=0, every=5, hold_at="300", checkpoint_bytes=300000), "--set", "checkpoint.keep_last=100")
        self.world.wait_step(job, 300)
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        self.assertEqual(len(self.folders(job)), 60)
        for keep_last in (40, 20, 1):
            self.world.ctl("update", job, f"checkpoint.keep_last={keep_last}")
            self.world.restart_after_kill()
        self.wait_folders(job, ["step-00000300-a1"])
        listed = self.checkpoints(job, "--all")
        self.assertEqual(len(listed), 60)
        self.assertEqual([name for name, checkpoint in listed.items() if not checkpoint.get("deleted")], ["step-00000300-a1"])
        trash = os.path.join(self.world.run_dir(job), ".trash")
        self.assertFalse(os.path.exists(trash) and os.listdir(trash))
        self.assertEqual(self.json("gc", "--dry-run")["removed"], [])

    def test_verification_finds_a_flipped_bit_and_the_resume_takes_the_older_one(self):
        job = self.paused_at([10, 20, 30])
        newest = f"{job}/checkpoints/step-00000030-a1"
        self.assertTrue(self.json("checkpoints", "verify", newest)["verified"])
        folder = os.path.join(self.world.run_dir(job), "checkpoints", "step-00000030-a1")
        path = max(glob.glob(folder + "/*"), key=os.path.getsize)
        with open(path, "r+b") as file:
            file.seek(1000)
            byte = file.read(1)
            file.seek(1000)
            file.write(bytes([byte[0] ^ 1]))
        damaged = self.refused("checkpoints", "verify", newest)
        self.assertEqual(damaged.code, 6)
        self.assertIn(os.path.basename(path), damaged.stderr)
        self.assertEqual(self.world.get(job)["latest_checkpoint"], f"{job}/checkpoints/step-00000020-a1")
        self.world.ctl("resume", job)
        self.world.release(job, 30)
        self.world.wait_state(job, "SUCCEEDED")
        self.assertEqual(self.json("get", job)["attempt"], 2)

    def test_a_job_resumes_from_a_named_checkpoint_and_ends_like_an_uninterrupted_one(self):
        job = self.world.submit(write_job(self.world.root, steps=200, every=25, hold_at="125"), "--set", "checkpoint.keep_last=9")
        self.world.wait_step(job, 125)
        running = self.refused("resume", job, "--from-checkpoint", "step-00000050-a1")
        self.assertEqual(running.code, 6)
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        self.assertIn("does not exist", self.refused("resume", job, "--from-checkpoint", "step-00000051-a1").stderr)
        self.world.ctl("resume", job, "--from-checkpoint", "step-00000050-a1")
        self.world.restart_after_kill()
        self.world.release(job, 125)
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 200)
        listed = self.checkpoints(job, "--all")
        self.assertTrue(listed["step-00000125-a1"]["superseded"])
        self.assertNotIn("superseded", listed["step-00000050-a1"])
        attempts = [event["attempt_event"]["attempt"] for event in harness.of_kind(self.world.events(job), "attempt_event")]
        self.assertEqual({attempt.get("resumed_from") for attempt in attempts if attempt["number"] == 2}, {f"{job}/checkpoints/step-00000050-a1"})

    def test_the_tree_shows_what_was_made_from_which_checkpoint(self):
        root = self.submit(name="root", steps=30, every=10)
        self.world.wait_state(root, "SUCCEEDED")
        children = {}
        for name, base, steps in (("left", root, 60), ("right", f"{root}/checkpoints/step-00000020-a1", 60), ("leaf", None, 90)):
            children[name] = self.world.submit(write_job(self.world.root, name=name, steps=steps, every=10), "--from", base or children["left"],
                                               "--set", f"train.max_steps={steps}")
            self.world.wait_state(children[name], "SUCCEEDED")
        self.submit(name="stranger", steps=5)
        for job in (root, children["leaf"]):
            tree = self.json("tree", job)["jobs"]
            self.assertEqual([found["name"] for found in tree], [root, children["left"], children["leaf"], children["right"]])
        self.assertEqual([found.get("base", "") for found in tree],
                         ["", f"{root}/checkpoints/step-00000030-a1", f"{children['left']}/checkpoints/step-00000060-a1", f"{root}/checkpoints/step-00000020-a1"])
        self.assertIn("leaf SUCCEEDED from step-00000060-a1 *", self.world.ctl("tree", children["leaf"]))

    def test_all_jobs_are_listed_and_collected(self):
        jobs = [self.submit(name=name, steps=30, every=10) for name in ("one", "two")]
        for job in jobs:
            self.world.wait_state(job, "SUCCEEDED")
            self.wait_folders(job, ["step-00000020-a1", "step-00000030-a1"])
        listed = self.json("checkpoints", "ls")["checkpoints"]
        self.assertEqual({checkpoint["job"] for checkpoint in listed}, set(jobs))
        self.assertEqual(len(listed), 4)
        # What a crash of a deletion left.
        trash = os.path.join(self.world.run_dir(jobs[0]), ".trash", "old")
        os.makedirs(trash)
        with open(os.path.join(trash, "weights"), "wb") as file:
            file.write(b"x" * 1000)
        plan = self.json("gc", "--dry-run")
        self.assertEqual([(item["reason"], item["bytes"]) for item in plan["removed"]], [("LEFTOVER", 1000)])
        self.world.ctl("gc")
        self.assertFalse(os.path.exists(trash))


if __name__ == "__main__":
    unittest.main(verbosity=2)
