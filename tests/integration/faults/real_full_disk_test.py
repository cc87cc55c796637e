# SPDX-License-Identifier: Apache-2.0
"""The disk fills while the real worker trains (a small tmpfs as the state directory): a worker whose checkpoint does not fit waits for space, and one
that cannot finish writing ends its attempt and leaves the earlier checkpoints as they are. Both jobs then end with the bytes of an uninterrupted job. Metrics
that do not fit are dropped and counted, no more."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
import unittest

import harness
from real_jobs import GOLDEN, REAL, RealWorkerTest, WORKER, make_inputs, write_job

SIZE = 256 << 20
MIB = 1 << 20


def make_model(root):
    """A model whose checkpoint (about 6 MB) is much larger than what the daemon itself writes meanwhile."""
    with open(os.path.join(GOLDEN, "tiny_model", "config.json")) as file:
        config = json.load(file)
    config.update(hidden_size=128, intermediate_size=512, head_dim=32)
    path, model = os.path.join(root, "config.json"), os.path.join(root, "wider_model")
    with open(path, "w") as file:
        json.dump(config, file)
    subprocess.run([WORKER, "init-model", "--config", path, "--output", model, "--seed", "1", "--tokenizer", os.path.join(GOLDEN, "tiny_tokenizer")],
                   check=True, capture_output=True, timeout=harness.PATIENCE_S)
    return model


class RealFullDiskTest(RealWorkerTest):

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(WORKER):
            raise unittest.SkipTest(f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
        root = tempfile.mkdtemp(prefix="trainerd-it-")
        state = os.path.join(root, "state")
        os.mkdir(state)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", state], capture_output=True, text=True)
        if mounted.returncode != 0:
            shutil.rmtree(root)
            raise unittest.SkipTest(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
        cls.addClassCleanup(shutil.rmtree, root, ignore_errors=True)
        cls.addClassCleanup(subprocess.run, ["umount", "-l", state])
        cls.inputs = tempfile.TemporaryDirectory(prefix="trainerd-it-inputs-")
        cls.addClassCleanup(cls.inputs.cleanup)
        cls.small, REAL["data"] = make_inputs(cls.inputs.name)
        cls.wider = make_model(cls.inputs.name)
        cls.world = harness.World(worker=WORKER, root=root, state_dir=state, settings={"cpu_threads": 1})
        cls.addClassCleanup(cls.world.close)
        cls.world.start()
        cls.references = {}
        cls.filler = os.path.join(state, "filler")

    def tearDown(self):
        self.free()
        super().tearDown()

    def fill(self, left):
        """Until only `left` bytes are free."""
        with open(self.filler, "wb", buffering=0) as file:
            free = os.statvfs(self.world.state_dir)
            with contextlib.suppress(OSError):
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - left)
            with contextlib.suppress(OSError):
                while left == 0:
                    file.write(b"\0" * 4096)

    def free(self):
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.filler)

    def ended(self, job):
        return harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL | {"PAUSED"} else None)(self.world.get(job)), f"the end of {job}")

    def waiting(self, job):
        """The job once it waits for space, which no retry uses up."""
        def waits():
            got = self.world.get(job)
            self.assertNotIn(got["state"], harness.TERMINAL, got.get("error"))
            return got if got.get("wait_reason") == "DISK" else None
        return harness.wait_for(waits, f"{job} to wait for space")

    def file_hashes(self, folder):
        hashes = {}
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), "rb") as file:
                hashes[name] = hashlib.sha256(file.read()).hexdigest()
        return hashes

    def stopped_worker(self, job):
        """The job's worker, stopped at a moment when it writes no checkpoint."""
        folder = os.path.join(self.world.run_dir(job), "checkpoints")
        pid = self.world.wait_process(job, "worker")

        def stopped():
            harness.kill_all([pid], harness.signal.SIGSTOP)
            if not any(name.startswith(".tmp") for name in os.listdir(folder)):
                return True
            harness.kill_all([pid], harness.signal.SIGCONT)
            return False
        harness.wait_for(stopped, "a moment between two checkpoints")
        return pid

    def test_a_disk_that_is_too_small_is_reported_before_the_first_step(self):
        REAL["model"] = self.wider
        self.fill(5 * MIB)
        job = self.world.submit(write_job(self.world.root, "small", every=0, epochs=1), "--set", "retry.max_failures_without_progress=1",
                                "--set", "train.max_steps=8")
        waiting = self.waiting(job)
        self.assertEqual(waiting["error"]["cause"], "STORAGE")
        self.assertRegex(waiting["error"]["message"], r"the first checkpoint needs [0-9.]+ MiB in .*, [0-9.]+ MiB are free; free [0-9.]+ MiB or more")
        self.assertEqual(int(waiting.get("progress", {}).get("step", 0)), 0)
        self.free()
        self.assertEqual(int(self.world.wait_state(job, "SUCCEEDED")["attempt"]), 2)
        events = self.world.events(job)
        kinds = [event.get("notice", {}).get("code") or ("step" if "metrics" in event else "") for event in events]
        self.assertLess(kinds.index("DISK_SPACE"), kinds.index("step"))
        message = events[kinds.index("DISK_SPACE")]["notice"]["message"]
        self.assertRegex(message, r"checkpoints of [0-9.]+ MiB, 1 at the same time.* and [0-9.]+ MiB are free; free some space")

    def test_a_checkpoint_that_does_not_fit(self):
        REAL["model"] = self.wider
        shape = {"every": 20, "epochs": 1}
        _, losses, digests = self.reference(**shape)
        job = self.world.submit(write_job(self.world.root, "full", **shape), "--set", "retry.max_failures_without_progress=1")
        harness.wait_for(lambda: [c for c in self.world.checkpoints(job) if c.get("verified")], "a verified checkpoint")
        pid = self.stopped_worker(job)
        self.fill(3 * MIB)
        harness.kill_all([pid], harness.signal.SIGCONT)
        message = self.wait_for_space(job)
        waiting = self.world.get(job)
        self.assertEqual(waiting["state"], "RUNNING")
        self.assertNotIn("error", waiting)
        # How much is needed, how much there is, and what to do.
        said = re.search(r"needs ([0-9.]+ [A-Za-z]+) in .* \(1.2 times the last one\), ([0-9.]+ [A-Za-z]+) are free; free some space", message)
        self.assertTrue(said, message)
        number, unit = said.group(1).split()
        needed = float(number) * {"B": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}[unit]
        size = int(self.world.checkpoints(job)[0]["size_bytes"])
        self.assertGreaterEqual(needed, 1.15 * size)
        self.assertLessEqual(needed, 1.25 * size)
        # The worker waits at the end of its step, and continues by itself.
        time.sleep(2)
        kept = ("etag", "attempt", "state", "conditions")
        self.assertEqual({key: self.world.get(job)[key] for key in kept}, {key: waiting[key] for key in kept})
        self.assertEqual(self.world.get(job)["progress"]["step"], waiting["progress"]["step"])
        self.free()
        ended = self.world.wait_state(job, "SUCCEEDED")
        self.assertEqual(int(ended["attempt"]), 1)
        events = self.world.events(job)
        self.assertEqual(harness.losses(events), losses)
        self.assertEqual(self.final_digests(job), digests)
        self.assertEqual([(c.get("active", False), c["reason"]) for c in self.disk_conditions(events) if c["reason"] in ("WAITING", "FREED")][:2],
                         [(True, "WAITING"), (False, "FREED")])

    def test_a_pause_ends_the_wait_for_space(self):
        REAL["model"] = self.wider
        shape = {"every": 20, "epochs": 1}
        _, losses, digests = self.reference(**shape)
        job = self.world.submit(write_job(self.world.root, "paused", **shape), "--set", "retry.max_failures_without_progress=1")
        harness.wait_for(lambda: [c for c in self.world.checkpoints(job) if c.get("verified")], "a verified checkpoint")
        pid = self.stopped_worker(job)
        self.fill(3 * MIB)
        harness.kill_all([pid], harness.signal.SIGCONT)
        self.wait_for_space(job)
        # The checkpoint of the pause does not fit either, so the job is paused at the one before.
        self.world.ctl("pause", job)
        paused = self.ended(job)
        self.assertEqual(paused["state"], "PAUSED")
        self.assertFalse([c for c in paused["conditions"] if c["type"] == "DiskLow" and c.get("active") and c["reason"] == "WAITING"])
        self.world.ctl("resume", job)
        self.waiting(job)
        self.free()
        self.world.wait_state(job, "SUCCEEDED")
        events = self.world.events(job)
        self.assertEqual(harness.losses(events), losses)
        self.assertEqual(self.final_digests(job), digests)

    def disk_conditions(self, events):
        changes = [event["condition_changed"]["condition"] for event in harness.of_kind(events, "condition_changed")]
        return [change for change in changes if change["type"] == "DiskLow"]

    def wait_for_space(self, job):
        """The message of the condition, once the worker waits for space."""
        def waits():
            got = self.world.get(job)
            self.assertEqual(got["state"], "RUNNING", got.get("error"))
            return next((c["message"] for c in got.get("conditions", []) if c["type"] == "DiskLow" and c.get("active") and c["reason"] == "WAITING"), None)
        return harness.wait_for(waits, f"the worker of {job} to wait for space")

    def test_the_disk_fills_while_a_checkpoint_is_written(self):
        REAL["model"] = self.wider
        shape = {"every": 4, "epochs": 1}
        _, losses, digests = self.reference(**shape)
        job = self.world.submit(write_job(self.world.root, "filling", **shape), "--set", "retry.max_failures_without_progress=1", "--set", "checkpoint.keep_last=40")
        harness.wait_for(lambda: [c for c in self.world.checkpoints(job) if c.get("verified")], "a verified checkpoint")
        pid = self.worker_stopped_while_it_writes(job)
        self.fill(0)
        harness.kill_all([pid], harness.signal.SIGCONT)
        self.assertEqual(self.waiting(job)["error"]["cause"], "STORAGE")
        self.assertEqual(int(self.world.get(job)["attempt"]), 1, "another attempt began on the full disk")
        self.world.ctl("stop", job)
        ended = self.world.wait_state(job, "STOPPED")
        # The attempt that was writing says what failed.
        said = [event["state_changed"]["error"]["message"] for event in harness.of_kind(self.world.events(job), "state_changed")
                if "error" in event["state_changed"]]
        self.assertRegex(said[0], r"No space left on device; it needs [0-9.]+ [KMGT]iB in .*, [0-9.]+ [a-zA-Z]+ are free; free some space; the checkpoint of step [0-9]+ is intact")
        self.check_that_another_job_goes_on(job, ended, losses, digests)

    def worker_stopped_while_it_writes(self, job):
        """The job's worker, stopped when a part of a checkpoint's weights or state is written."""
        folder = os.path.join(self.world.run_dir(job), "checkpoints")
        pid = self.world.wait_process(job, "worker")

        def in_the_middle():
            harness.kill_all([pid], harness.signal.SIGSTOP)
            harness.wait_for(lambda: self.is_stopped(pid), "the worker to stop")
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    if name.startswith(".tmp"):
                        written = sum(entry.stat().st_size for entry in os.scandir(os.path.join(folder, name)))
                        if 0 < written < 3 * MIB:
                            return True
            harness.kill_all([pid], harness.signal.SIGCONT)
            return False
        harness.wait_for(in_the_middle, "the middle of a checkpoint's write")
        return pid

    def check_that_another_job_goes_on(self, job, ended, losses, digests):
        """The job's newest checkpoint is whole, nothing of a later one is left, and a job from there ends as an uninterrupted job does."""
        self.assertTrue(ended["latest_checkpoint"])
        newest = os.path.join(self.world.run_dir(job), "checkpoints", ended["latest_checkpoint"].split("/")[-1])
        with open(os.path.join(newest, "MANIFEST.json")) as file:
            manifest = json.load(file)
        hashes = self.file_hashes(newest)
        self.assertEqual(set(hashes) - {"MANIFEST.json"}, set(manifest["files"]))
        left = os.listdir(os.path.dirname(newest))
        self.assertFalse([name for name in left if name.startswith(".tmp")], "half a checkpoint stays behind")

        self.free()
        following = json.loads(self.world.ctl("submit", "--from", job, "--no-validate", "-o", "json"))["name"]
        self.world.wait_state(following, "SUCCEEDED")
        # What it resumed from was read back completely, and is still what it was.
        self.assertEqual(self.file_hashes(newest), hashes)
        self.assertEqual(self.final_digests(following), digests)
        before = harness.losses(self.world.events(job))
        after = harness.losses(self.world.events(following))
        self.assertEqual({**before, **after}, losses)
        self.assertEqual(sorted(after)[0], int(ended["latest_checkpoint"].split("step-")[1][:8]) + 1)

    def test_metrics_that_do_not_fit_are_dropped_and_counted(self):
        REAL["model"] = self.small
        shape = {"every": 0, "epochs": 30}
        steps, losses, digests = self.reference(**shape)
        job = self.submit("dropping", **shape)
        self.world.wait_step(job, 20)
        pid = self.world.wait_process(job, "worker")
        harness.kill_all([pid], harness.signal.SIGSTOP)
        self.fill(0)
        used = self.cpu_ticks(pid)
        harness.kill_all([pid], harness.signal.SIGCONT)
        # So much work without a place for a metric, beyond what the last page of the spool still took.
        harness.wait_for(lambda: self.cpu_ticks(pid) >= used + 150, "the worker to train on")
        self.free()
        self.world.wait_state(job, "SUCCEEDED")
        events = self.world.events(job)
        got = harness.losses(events)
        dropped = steps - len(got)
        self.assertGreater(dropped, 0, "the disk was full and nothing was dropped")
        self.assertEqual(got, {step: losses[step] for step in got})
        said = [event["notice"]["message"] for event in harness.of_kind(events, "notice") if event["notice"].get("code") == "EVENTS_DROPPED"]
        self.assertTrue(said, "nothing says that metrics were dropped")
        self.assertIn(str(dropped), " ".join(said))
        self.assertEqual(self.final_digests(job), digests)

    @staticmethod
    def is_stopped(pid):
        """Every thread of it: one may be within a write when the signal comes."""
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                if file.read().rsplit(")", 1)[1].split()[0] != "T":
                    return False
        return True

    @staticmethod
    def cpu_ticks(pid):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])


if __name__ == "__main__":
    unittest.main(verbosity=2)
