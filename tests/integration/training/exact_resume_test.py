# SPDX-License-Identifier: Apache-2.0
"""The real worker is killed repeatedly at random times, also during checkpoint writes. Its result is
bit for bit that of the uninterrupted job: SHA-256 of every file of the final model, and every
loss."""

import contextlib
import os
import random
import signal
import time
import unittest

import harness
from real_jobs import RealWorkerTest

MATRIX = [("fp32", "none"), ("fp32", "bfd"), ("bf16", "none"), ("bf16", "bfd")]
KILLS_EACH = 13
# What the whole matrix must reach (the counts of kills that hit a living, unfinished worker).
ALL_KILLS, DURING_CHECKPOINT, AFTER_STEP_1 = 50, 10, 30
# A configuration whose job ends before it was killed often enough gets another job, at most so many.
MAX_JOBS_EACH = 8


# Keys of a method → a job that is paused, killed and resumed.
METHODS = {
    "muon": {"precision": "bf16", "packing": "bfd", "optimizer": "type: muon, learning_rate: 1.0e-3"},
    "adamw_8bit": {"precision": "fp32", "packing": "none", "optimizer": "type: adamw_8bit, learning_rate: 1.0e-3"},
    "bf16_sr": {"precision": "bf16_sr", "packing": "bfd"},
    "lora": {"precision": "bf16", "packing": "bfd", "extra": "lora: {r: 4, dropout: 0.1}\n"},
    "qlora": {"precision": "bf16", "packing": "bfd", "extra": "lora: {r: 4, dropout: 0.1}\n", "model_keys": ", quantization: nf4"},
    "dpo": {"precision": "bf16", "packing": "bfd", "extra": "preference: {beta: 0.1}\n", "data": "pairs"},
    "ipo_lora": {"precision": "fp32", "packing": "none", "extra": "preference: {loss: ipo}\nlora: {r: 4, dropout: 0.1}\n", "data": "pairs"},
    "lora_merged": {"precision": "fp32", "packing": "none",
                    "extra": "lora: {r: 2, target_modules: [q_proj, lm_head]}\noutput: {form: merged}\n"},
}


class Kill:
    """One kill of the worker of a running attempt."""

    def __init__(self, test, job, source):
        self.world, self.job, self.source = test.world, job, source
        self.during_checkpoint = self.after_step_1 = self.counted = False

    def wait_worker(self):
        """(pid, attempt) of the next worker; None once the job has ended."""
        def there():
            for pid, kind, directory in harness.attempt_processes(self.world.run_dir(self.job)):
                if kind == "worker":
                    return pid, int(directory.rsplit("/", 1)[1])
            return (0, 0) if self.world.state(self.job) in harness.TERMINAL else None
        found = harness.wait_for(there, "the next attempt's worker")
        return found if found[0] else None

    def unfinished_checkpoint(self, attempt):
        folder = os.path.join(self.world.run_dir(self.job), "checkpoints")
        return any(name.startswith(f".tmp-a{attempt}") for name in (os.listdir(folder) if os.path.isdir(folder) else []))

    def wait_moment(self, pid, attempt, kind):
        """Until it is time, or the worker has ended by itself."""
        begun = time.monotonic()
        until = begun + self.source.uniform(0, 1.5)
        first = None
        target = self.source.randint(1, 14)
        while harness.command_line(pid):
            if kind == "time" and time.monotonic() > until:
                return
            if kind == "checkpoint" and self.unfinished_checkpoint(attempt):
                time.sleep(self.source.uniform(0, 0.004))
                return
            if kind == "step":
                step = self.world.last_step(self.job, attempt)
                first = first or step
                if step and step >= first + target:
                    time.sleep(self.source.uniform(0, 0.01))
                    return
            time.sleep(0.001)

    def perform(self):
        """False once the job has ended."""
        found = self.wait_worker()
        if found is None:
            return False
        pid, attempt = found
        self.wait_moment(pid, attempt, self.source.choices(["time", "step", "checkpoint"], [2, 4, 4])[0])
        # Stopped first, so that the kill meets the state that is inspected.
        harness.kill_all([pid], signal.SIGSTOP)
        during = self.unfinished_checkpoint(attempt)
        alive = bool(harness.command_line(pid))
        harness.kill_all([pid])
        harness.wait_for(lambda: not harness.command_line(pid), "the killed worker to go")
        own_end = os.path.exists(os.path.join(self.world.attempt_dir(self.job, attempt), "worker_exit.rec"))
        self.counted = alive and not own_end
        self.during_checkpoint = self.counted and during
        self.after_step_1 = self.counted and max(self.world.last_step(self.job, number) for number in range(1, attempt + 1)) >= 1
        return True


class ExactResumeTest(RealWorkerTest):

    def kill_until_done(self, name, source, kills, count, **job):
        """Runs one job to its end, killing its worker until `kills` holds `count` counted ones."""
        submitted = self.submit(name, **job)
        watcher = self.world.watch(submitted)
        while sum(kill.counted for kill in kills) < count:
            kill = Kill(self, submitted, source)
            if not kill.perform():
                break
            kills.append(kill)
        self.world.wait_state(submitted, "SUCCEEDED")
        self.check_like_uninterrupted(submitted, watcher, **job)

    def test_fifty_seeded_kills(self):
        source = random.Random(50)
        kills = []
        for number, (precision, packing) in enumerate(MATRIX):
            job = {"precision": precision, "packing": packing}
            self.reference(**job)
            for again in range(MAX_JOBS_EACH):
                if sum(kill.counted for kill in kills) >= KILLS_EACH * (number + 1):
                    break
                self.kill_until_done(f"{precision}-{packing}-{again}", source, kills, KILLS_EACH * (number + 1), **job)
        counts = [sum(getattr(kill, what) for kill in kills) for what in ("counted", "during_checkpoint", "after_step_1")]
        print(f"kills: {counts[0]}, during a checkpoint's write: {counts[1]}, after step 1: {counts[2]}", flush=True)
        self.assertGreaterEqual(counts[0], ALL_KILLS)
        self.assertGreaterEqual(counts[1], DURING_CHECKPOINT)
        self.assertGreaterEqual(counts[2], AFTER_STEP_1)

    def test_daemon_killed_while_it_trains_and_100_steps_pass(self):
        job = {"precision": "fp32", "packing": "none"}
        steps = self.reference(**job)[0]
        self.assertGreater(steps, 150)
        name = self.submit("daemon-killed", **job)
        watcher = self.world.watch(name)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= 3, "training")
        self.world.kill_daemon()
        before = self.world.last_step(name, 1)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= before + 100, "100 steps without a daemon")
        self.world.start()
        self.assertEqual(self.world.wait_state(name, "SUCCEEDED")["attempt"], 1)
        self.check_like_uninterrupted(name, watcher, **job)

    def test_shim_killed(self):
        job = {"precision": "fp32", "packing": "none"}
        self.reference(**job)
        name = self.submit("shim-killed", **job)
        watcher = self.world.watch(name)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= 20, "step 20")
        os.kill(self.world.wait_process(name, "shim"), signal.SIGKILL)
        self.assertEqual(self.world.wait_state(name, "SUCCEEDED")["attempt"], 2)
        events = self.check_like_uninterrupted(name, watcher, **job)
        # It checkpointed before it left: no step is repeated.
        steps = [int(event["metrics"]["step"]) for event in harness.of_kind(events, "metrics")]
        self.assertEqual(steps, sorted(set(steps)))

    def test_daemon_shim_and_worker_killed_at_once(self):
        job = {"precision": "bf16", "packing": "bfd"}
        self.reference(**job)
        name = self.submit("all-killed", **job)
        watcher = self.world.watch(name)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= 20, "step 20")
        pids = [self.world.daemon.pid, self.world.wait_process(name, "shim"), self.world.wait_process(name, "worker")]
        harness.kill_all(pids)
        self.world.daemon.wait()
        self.world.start()
        self.assertEqual(self.world.wait_state(name, "SUCCEEDED")["attempt"], 2)
        self.check_like_uninterrupted(name, watcher, **job)

    def test_pause_kill_and_resume_of_each_loss(self):
        job = {"precision": "bf16", "packing": "bfd",
               "train": ", label_smoothing: 0.1, token_weighting: {measure: entropy}, activation_checkpointing: full"}
        self.reference(**job)
        name = self.submit("losses", **job)
        watcher = self.world.watch(name)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= 10, "step 10")
        self.world.ctl("pause", name)
        self.world.wait_state(name, "PAUSED")
        self.world.ctl("resume", name)
        harness.wait_for(lambda: self.world.last_step(name, 2) >= 15, "step 15")
        harness.kill_all([self.world.wait_process(name, "worker")])
        self.world.wait_state(name, "SUCCEEDED")
        self.check_like_uninterrupted(name, watcher, **job)

    def test_pause_and_resume(self):
        job = {"precision": "bf16", "packing": "none"}
        self.reference(**job)
        name = self.submit("paused", **job)
        watcher = self.world.watch(name)
        for attempt in (1, 2):
            harness.wait_for(lambda: self.world.last_step(name, attempt) >= 15 * attempt, "steps")
            self.world.ctl("pause", name)
            self.world.wait_state(name, "PAUSED")
            self.assertEqual(harness.attempt_processes(self.world.run_dir(name)), [])
            self.world.ctl("resume", name)
        self.world.wait_state(name, "SUCCEEDED")
        events = self.check_like_uninterrupted(name, watcher, **job)
        steps = [int(event["metrics"]["step"]) for event in harness.of_kind(events, "metrics")]
        self.assertEqual(steps, sorted(set(steps)))

    def test_every_method_is_paused_killed_and_resumed(self):
        for method, job in METHODS.items():
            with self.subTest(method):
                steps = self.reference(**job)[0]
                name = self.submit(method, **job)
                watcher = self.world.watch(name)
                harness.wait_for(lambda: self.world.last_step(name, 1) >= steps // 3, "a third of the steps")
                self.world.ctl("pause", name)
                self.world.wait_state(name, "PAUSED")
                self.world.ctl("resume", name)
                harness.wait_for(lambda: self.world.last_step(name, 2) >= steps // 2, "half of the steps")
                os.kill(self.world.wait_process(name, "worker"), signal.SIGKILL)
                self.assertEqual(self.world.wait_state(name, "SUCCEEDED")["attempt"], 3)
                self.check_like_uninterrupted(name, watcher, **job)

    def test_kills_inside_the_computation_of_the_reference(self):
        job, source, inside = METHODS["dpo"], random.Random(13), 0
        self.reference(**job)
        for kills in (1, 2, 3):
            name = self.submit(f"reference-killed-{kills}", **job)
            watcher = self.world.watch(name)
            for attempt in range(1, kills + 1):
                folder = self.world.attempt_dir(name, attempt)
                harness.wait_for(lambda folder=folder: self.stage_began(folder, b"ComputeReference"), "the computation")
                time.sleep(source.uniform(0, 0.04))
                worker = self.world.wait_process(name, "worker")
                harness.kill_all([worker], signal.SIGSTOP)
                inside += not os.path.exists(os.path.join(self.world.run_dir(name), "reference.bin"))
                harness.kill_all([worker])
            self.assertEqual(self.world.wait_state(name, "SUCCEEDED")["attempt"], kills + 1)
            self.check_like_uninterrupted(name, watcher, **job)
        print(f"kills inside the computation: {inside} of 6", flush=True)
        self.assertGreaterEqual(inside, 4)

    @staticmethod
    def stage_began(folder, stage):
        for name in os.listdir(folder) if os.path.isdir(folder) else []:
            if name.startswith("spool."):
                with contextlib.suppress(FileNotFoundError), open(os.path.join(folder, name), "rb") as file:
                    if stage in file.read():
                        return True
        return False

    def test_stop_and_a_new_job_from_it(self):
        job = {"precision": "fp32", "packing": "bfd"}
        _, losses, digests = self.reference(**job)
        name = self.submit("stopped", **job)
        harness.wait_for(lambda: self.world.last_step(name, 1) >= 20, "step 20")
        self.world.ctl("stop", name)
        self.world.wait_state(name, "STOPPED")
        before = harness.losses(self.world.events(name))
        following = self.world.ctl("submit", "--from", name, "--no-validate", "-o", "json")
        following = harness.json.loads(following)["name"]
        self.world.wait_state(following, "SUCCEEDED")
        after = harness.losses(self.world.events(following))
        self.assertEqual(min(after), max(before) + 1)
        self.assertEqual({**before, **after}, losses)
        self.assertEqual(self.final_digests(following), digests)


if __name__ == "__main__":
    unittest.main(verbosity=2)
