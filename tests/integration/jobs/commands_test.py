# SPDX-License-Identifier: Apache-2.0
"""Pause, resume and stop in each of their forms against real processes, retry and its budget, retention, deletion."""

import json
import os
import shutil
import subprocess
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job


def read(path):
    with open(path) as file:
        return file.read()


class CommandsTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def test_pause_frees_everything_and_resume_continues_exactly(self):
        job = self.submit(steps=200, hold_at="30,80")
        watcher = self.world.watch(job)
        for step in (30, 80):
            self.world.wait_step(job, step)
            self.world.ctl("pause", job)
            paused = self.world.wait_state(job, "PAUSED")
            self.assertEqual(harness.attempt_processes(self.world.runs_dir), [])
            checkpoint = next(c for c in self.world.checkpoints(job) if c["name"] == paused["latest_checkpoint"])
            self.assertTrue(checkpoint["verified"])
            self.assertEqual(int(checkpoint["step"]), int(paused["progress"]["step"]))
            self.world.ctl("resume", job)
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 3)
        events = self.check_like_uninterrupted(job, 200, watcher)
        # A pause repeats no step.
        steps = [int(event["metrics"]["step"]) for event in harness.of_kind(events, "metrics")]
        self.assertEqual(steps, list(range(1, 201)))

    def test_pause_while_loading_holds_the_job_in_the_queue(self):
        job = self.submit(steps=50, load_ms=600000)
        self.world.wait_process(job, "worker")
        self.world.ctl("pause", job)
        held = harness.wait_for(lambda: (lambda got: got if got["state"] == "QUEUED" else None)(self.world.get(job)), "HELD")
        self.assertEqual(held["wait_reason"], "HELD")
        self.assertEqual(harness.attempt_processes(self.world.runs_dir), [])
        self.world.ctl("stop", job)
        self.world.wait_state(job, "CANCELLED")

    def test_resume_while_pausing_passes_through_paused(self):
        job = self.submit(steps=200, checkpoint_ms=300, hold_at=5)
        self.world.wait_step(job, 5)
        self.world.ctl("pause", job)
        self.world.ctl("resume", job)
        self.world.wait_state(job, "SUCCEEDED")
        states = [event["state_changed"]["to_state"] for event in harness.of_kind(self.world.events(job), "state_changed")]
        self.assertIn("PAUSED", states)
        self.check_like_uninterrupted(job, 200)

    def test_graceful_stop_ends_at_a_verified_checkpoint(self):
        job = self.submit(steps=100000)
        self.world.wait_step(job, 10)
        self.world.ctl("stop", job)
        stopped = self.world.wait_state(job, "STOPPED")
        self.assertTrue(stopped["latest_checkpoint"])
        events = self.world.events(job)
        self.assertEqual(harness.check_events(events), "STOPPED")
        last = max(harness.losses(events))
        self.assertTrue(stopped["latest_checkpoint"].endswith(f"step-{last:08d}-a1"))
        # Again is fine, resume is refused and says what to do.
        self.world.ctl("stop", job)
        with self.assertRaises(harness.Refused) as refused:
            self.world.ctl("resume", job)
        self.assertIn("--from", refused.exception.stderr)
        # The new job continues where this one stopped.
        following = self.world.submit(write_job(self.world.root, name="following", steps=last + 40), "--from", job)
        self.world.wait_state(following, "SUCCEEDED")
        self.assertEqual(sorted(harness.losses(self.world.events(following)))[0], last + 1)

    def test_discard_ends_without_a_new_checkpoint(self):
        job = self.submit(steps=100000, every=0)
        self.world.wait_step(job, 10)
        self.world.ctl("stop", job, "--discard")
        self.world.wait_state(job, "CANCELLED")
        self.assertEqual(self.world.checkpoints(job), [])
        self.assertEqual(harness.attempt_processes(self.world.runs_dir), [])

    def test_force_ends_a_worker_that_hangs(self):
        job = self.submit(hang_at=5)
        self.world.wait_step(job, 5)
        begun = time.monotonic()
        self.world.ctl("stop", job, "--force")
        self.world.wait_state(job, "CANCELLED")
        self.assertLess(time.monotonic() - begun, 20)
        self.assertEqual(harness.attempt_processes(self.world.runs_dir), [])

    def test_a_pause_that_hangs_ends_at_the_newest_checkpoint_when_the_grace_is_over(self):
        job = self.submit(every=10, hang_at=25, extra="limits: {stop_grace: 1s}\n")
        self.world.wait_step(job, 25)
        self.world.ctl("pause", job)
        paused = self.world.wait_state(job, "PAUSED")
        self.assertTrue(paused["latest_checkpoint"].endswith("step-00000020-a1"))

    def test_a_crash_loop_without_progress_fails_after_its_budget(self):
        job = self.submit(every=0, crash_at=3, crash_attempts=99)
        failed = harness.wait_for(lambda: (lambda got: got if got["state"] == "FAILED" else None)(self.world.get(job)), "FAILED")
        self.assertEqual(failed["attempt"], 3)
        self.assertEqual(failed["error"]["signal"], 9)
        self.assertIn("crashing at step 3", failed["error"]["log_excerpt"])
        self.assertEqual(harness.check_events(self.world.events(job)), "FAILED")

    def test_an_error_that_retrying_cannot_cure_fails_at_once(self):
        job = self.submit(fail_at=3)
        failed = harness.wait_for(lambda: (lambda got: got if got["state"] == "FAILED" else None)(self.world.get(job)), "FAILED")
        self.assertEqual(failed["attempt"], 1)
        self.assertEqual(failed["error"]["code"], "FAKE_FAILURE")

    def test_the_longest_run_time_ends_the_job_with_a_checkpoint(self):
        job = self.submit(steps=100000, extra="limits: {max_run_time: 1s}\n")
        failed = harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(self.world.get(job)), "the end")
        self.assertEqual((failed["state"], failed["error"]["cause"]), ("FAILED", "LIMIT"))
        self.assertTrue(failed["latest_checkpoint"])

    def test_retention_keeps_the_newest(self):
        job = self.submit(steps=100, every=10)
        self.world.wait_state(job, "SUCCEEDED")
        folders = harness.wait_for(lambda: (lambda names: names if len(names) <= 2 else None)(
            os.listdir(os.path.join(self.world.run_dir(job), "checkpoints"))), "retention")
        self.assertIn("step-00000100-a1", folders)
        self.assertEqual({c["name"].split("/")[-1] for c in self.world.checkpoints(job)}, set(folders))

    def test_output_path_gets_the_model_and_an_existing_one_is_refused(self):
        output = os.path.join(self.world.root, "published")
        job = self.submit(steps=20, output=output)
        self.world.wait_state(job, "SUCCEEDED")
        with open(os.path.join(output, "model.safetensors"), "rb") as file:
            self.assertEqual(file.read(), self.world.final_bytes(job))
        with self.assertRaises(harness.Refused) as refused:
            self.submit(name="other", steps=20, output=output)
        self.assertIn(output, refused.exception.stderr)

    def test_delete_frees_the_run_directory(self):
        job = self.submit(steps=20, hold_at=10)
        with self.assertRaises(harness.Refused):
            self.world.ctl("rm", job)
        self.world.wait_step(job, 10)
        self.world.release(job, 10)
        self.world.wait_state(job, "SUCCEEDED")
        self.assertTrue(os.path.isdir(self.world.run_dir(job)))
        self.world.ctl("rm", job)
        harness.wait_for(lambda: not os.path.exists(self.world.run_dir(job)), "the run directory to go")
        harness.wait_for(lambda: self.world.run("get", job).returncode != 0, "the job to be forgotten")

    def test_one_job_a_device_and_priority_first(self):
        first = self.submit(name="first", steps=100, hold_at=50)
        self.world.wait_process(first, "worker")
        low = self.submit(name="low", steps=10)
        high = self.submit(name="high", steps=10, extra="priority: 5\n")
        self.world.release(first, 50)
        for job in (first, low, high):
            self.world.wait_state(job, "SUCCEEDED")
        ends = {job: self.world.get(job)["end_time"] for job in (first, low, high)}
        self.assertLess(ends[first], ends[high])
        self.assertLess(ends[high], ends[low])

    def test_logs_are_the_workers_output(self):
        job = self.submit(steps=300, step_ms=0, log_bytes=100)
        self.world.wait_state(job, "SUCCEEDED")
        log = self.world.ctl("logs", job)
        self.assertIn("fake worker: attempt 1", log)
        self.assertIn("step 300", log)

    def follow_logs(self, job, *arguments):
        """trainctl logs -f in the background: (process, path of what it has printed)."""
        out = os.path.join(self.world.root, "followed")
        with open(out, "w") as file:
            process = subprocess.Popen([harness.program("trainctl"), "--address", self.world.address, "logs", job, "-f", *arguments],
                                       stdout=file, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=self.world.environment)
        # Whatever the test comes to, it does not outlive it.
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process, out

    def test_followed_logs_go_on_with_the_next_attempt_until_the_job_has_ended(self):
        job = self.submit(steps=100, crash_at=40, crash_attempts=1, hold_at="20,80")
        self.world.wait_process(job, "worker")
        process, out = self.follow_logs(job)
        harness.wait_for(lambda: "fake worker: attempt 1" in read(out), "the first attempt in the log")
        self.world.release(job, 20)
        # The second attempt waits for this, while the daemon goes and comes back.
        self.world.wait_step(job, 80)
        harness.wait_for(lambda: "fake worker: attempt 2" in read(out), "the second attempt in the log")
        self.assertIsNone(process.poll(), "the job has not ended")
        self.world.restart_after_kill()
        self.world.release(job, 80)
        self.assertEqual(self.world.wait_state(job, "SUCCEEDED")["attempt"], 2)
        errors = process.communicate(timeout=harness.PATIENCE_S)[1]
        self.assertEqual(process.returncode, 0, errors)
        followed = read(out)
        self.assertEqual(followed, self.world.ctl("logs", job, "--attempt", "1") + self.world.ctl("logs", job, "--attempt", "2"))
        self.assertIn("step 100", followed)
        self.assertNotIn("waiting for attempt 3", errors)
        # With a number it is that attempt alone.
        self.assertEqual(self.world.ctl("logs", job, "-f", "--attempt", "1"), self.world.ctl("logs", job, "--attempt", "1"))

    def test_a_fault_in_the_middle_is_found_by_the_full_check_and_not_by_the_quick_one(self):
        rows = 40000
        row = json.dumps({"messages": [{"role": "user", "content": "a question " * 12}, {"role": "assistant", "content": "an answer"}]})
        folder = os.path.join(self.world.root, "long")
        model = os.path.join(folder, "model")
        os.makedirs(model)
        golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden")
        for source, name in (("tiny_tokenizer", "tokenizer.json"), ("tiny_tokenizer", "tokenizer_config.json"), ("tiny_model", "config.json")):
            shutil.copy(os.path.join(golden, source, name), model)
        data, job = os.path.join(folder, "data.jsonl"), os.path.join(folder, "job.yaml")
        bad = rows * 3 // 4
        with open(data, "w") as file:
            for number in range(1, rows + 1):
                file.write(("not JSON" if number == bad else row) + "\n")
        self.assertGreater(os.path.getsize(data), 5 << 20)
        with open(job, "w") as file:
            file.write("name: long\nmodel:\n  path: model\ndata: {train: [data.jsonl], chat_template: chatml}\n")

        # No weights yet: said by either, with the line of the job file.
        for arguments in ((), ("--full",)):
            result = self.world.run("validate", job, *arguments)
            self.assertEqual(result.returncode, 2)
            self.assertIn("no weights", result.stdout)
            self.assertIn(f"[{job}:3, {model}]", result.stdout)
        harness.write_weights(model)
        quick = self.world.run("validate", job)
        self.assertEqual(quick.returncode, 0, quick.stdout + quick.stderr)
        self.assertIn("no findings in the data that was read", quick.stdout)
        self.assertTrue(quick.stdout.endswith("only the beginning and end of each file were read; trainctl validate --full reads all data\n"), quick.stdout)
        full = self.world.run("validate", "--full", job)
        self.assertEqual(full.returncode, 2, full.stderr)
        self.assertIn("error BAD_JSON", full.stdout)
        self.assertIn(f"{data}:{bad}:", full.stdout)
        self.assertIn(f"examples          {rows:,}\n", full.stdout)
        report = json.loads(self.world.run("validate", "--full", job, "-o", "json").stdout)
        self.assertEqual((int(report["examples"]), report.get("quick", False)), (rows, False))


if __name__ == "__main__":
    unittest.main(verbosity=2)
