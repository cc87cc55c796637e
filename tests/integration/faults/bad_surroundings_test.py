# SPDX-License-Identifier: Apache-2.0
"""What surrounds the programs is wrong: a second daemon, a state directory that cannot be written or is full, no daemon, no worker, long paths."""

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, SmallDiskTest, write_job

# Any user that owns nothing here.
NOBODY = 65534


class BadSurroundingsTest(FakeWorkerTest):

    def daemon_output(self, world, **popen):
        process = world.spawn_daemon(**popen)
        code = process.wait(harness.PATIENCE_S)
        return code, world.daemon_log()

    def test_a_second_daemon_says_who_holds_the_directory(self):
        self.world.start()
        code, log = self.daemon_output(self.world)
        self.assertEqual(code, 1)
        self.assertIn(str(self.world.daemon.pid), log)
        self.assertIn(self.world.state_dir, log)
        self.assertEqual(self.world.run("ls", "-o", "json").returncode, 0)

    def test_a_taken_port_is_one_sentence(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            self.world.settings["listen"] = f"127.0.0.1:{port}"
            code, log = self.daemon_output(self.world)
        self.assertEqual(code, 1)
        lines = [line for line in log.splitlines() if not re.match("[0-9]{4}-[0-9]{2}-[0-9]{2}T", line)]
        self.assertEqual(len(lines), 1, log)
        self.assertIn(f"cannot listen at 127.0.0.1:{port}", lines[0])

    def test_a_state_directory_that_cannot_be_written(self):
        if os.geteuid() != 0:
            self.skipTest("only root can run the daemon as another user")
        os.makedirs(self.world.state_dir)
        os.chmod(self.world.root, 0o755)
        os.chmod(self.world.state_dir, 0o555)
        # The build tree can be in a home directory that only its owner can enter.
        program, environment = harness.copy_for_every_user("trainerd", os.path.join(self.world.root, "bin"))
        result = subprocess.run([program, "--state-dir", self.world.state_dir], user=NOBODY, group=NOBODY, extra_groups=[],
                                capture_output=True, text=True, timeout=harness.PATIENCE_S, cwd="/", env=environment)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(self.world.state_dir, result.stderr)
        self.assertRegex(result.stderr.lower(), "permission|read-only|owned|cannot")

    def test_the_state_directory_and_the_socket_are_the_users_own(self):
        self.world.start()
        self.assertEqual(stat.S_IMODE(os.stat(self.world.state_dir).st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.join(self.world.state_dir, "trainerd.sock")).st_mode) & 0o077, 0)

    def test_a_client_without_a_daemon_says_how_to_start_one(self):
        result = self.world.run("ls")
        self.assertEqual(result.returncode, 5)
        self.assertIn("trainerd", result.stderr)
        self.assertIn(self.world.state_dir, result.stderr)

    def test_a_missing_worker_keeps_jobs_queued_and_says_so(self):
        self.world.settings["worker_path"] = "/nonexistent/trainerd-worker"
        self.world.start()
        job = self.submit(steps=5)
        found = harness.wait_for(lambda: (lambda got: got if "/nonexistent/trainerd-worker" in str(got.get("conditions")) else None)(
            self.world.get(job)), "a condition that names the missing worker")
        self.assertEqual(found["state"], "QUEUED")
        # Once it is there, the job runs.
        self.world.stop_daemon()
        self.world.settings["worker_path"] = os.path.abspath(harness.FAKE_WORKER)
        self.world.start()
        self.world.wait_state(job, "SUCCEEDED")

    def test_a_state_directory_of_200_characters(self):
        self.world.close()
        root = self.world.root
        name = "s" * (200 - len(root) - 2)
        os.makedirs(root)
        self.world = harness.World(root=root, state_dir=os.path.join(root, name[:90], name[90:]))
        self.addCleanup(self.world.close)
        self.assertEqual(len(self.world.state_dir), 200)
        self.world.start()
        job = self.submit(steps=100, hold_at=5)
        self.world.wait_step(job, 5)
        self.world.restart_after_kill()
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        self.world.ctl("resume", job)
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 100)

    def test_a_file_or_model_that_is_not_there_is_refused_at_submit(self):
        self.world.start()
        path = write_job(self.world.root)
        os.remove(os.path.join(self.world.root, "data.jsonl"))
        with self.assertRaises(harness.Refused) as refused:
            self.world.submit(path)
        self.assertEqual(refused.exception.code, 2)
        self.assertIn("data.jsonl", refused.exception.stderr)


    def test_a_device_that_the_machine_does_not_have(self):
        self.world.start()
        with self.assertRaises(harness.Refused) as refused:
            self.submit(steps=5, extra="resources: {device: \"cuda:7\"}\n")
        self.assertEqual(refused.exception.code, 2)
        violation, = json.loads(refused.exception.stderr.splitlines()[-1])["error"]["violations"]
        self.assertEqual(os.path.basename(violation["file"]), "job.yaml")
        self.assertGreater(violation["line"], 0)
        self.assertEqual(violation["path"], "resources.device")
        self.assertRegex(violation["message"], "cuda:7.*it has cpu")


class ReadOnlyDiskTest(SmallDiskTest):

    SIZE = 24 << 20

    def remount(self, mode):
        subprocess.run(["mount", "-o", f"remount,{mode}", self.world.state_dir], check=True, capture_output=True)

    def test_a_daemon_on_a_read_only_disk_says_so_and_loses_nothing(self):
        self.world.start()
        job = self.submit(steps=100, hold_at=50)
        self.world.wait_step(job, 50)
        self.world.ctl("pause", job)
        self.world.wait_state(job, "PAUSED")
        queued = self.submit(name="queued", steps=5, extra="suspended: true\n")
        self.world.stop_daemon()
        self.remount("ro")
        self.addCleanup(self.remount, "rw")
        daemon = self.world.spawn_daemon()
        self.assertEqual(daemon.wait(harness.PATIENCE_S), 1)
        last = self.world.daemon_log().splitlines()[-1]
        self.assertIn(self.world.state_dir, last)
        self.assertRegex(last, "[Rr]ead-only")
        self.remount("rw")
        self.world.start()
        for name in (job, queued):
            self.world.ctl("resume", name)
            self.world.wait_state(name, "SUCCEEDED")
        self.check_like_uninterrupted(job, 100)


class FullDiskTest(SmallDiskTest):

    SIZE = 24 << 20

    def setUp(self):
        super().setUp()
        self.world.start()

    def test_a_checkpoint_that_does_not_fit_leaves_earlier_ones_intact(self):
        job = self.submit(steps=400, every=50, checkpoint_bytes=4 << 20, hold_at=60)
        self.world.wait_step(job, 60)
        filler = os.path.join(self.world.state_dir, "filler")
        with open(filler, "wb") as file:
            left = os.statvfs(self.world.state_dir)
            file.write(b"\0" * max(0, left.f_bavail * left.f_frsize - (3 << 20)))
        self.world.release(job, 60)
        waiting = harness.wait_for(lambda: (lambda got: got if got.get("wait_reason") == "DISK" else None)(self.world.get(job)), "the job to wait for space")
        self.assertEqual(waiting["error"]["cause"], "STORAGE")
        self.assertTrue(waiting["latest_checkpoint"])
        newest = [c for c in self.world.checkpoints(job) if c["name"] == waiting["latest_checkpoint"]]
        self.assertTrue(newest and newest[0]["verified"])
        # Another start would end on the full disk too, and use the failure budget.
        time.sleep(12)
        self.assertEqual((self.world.get(job)["attempt"], self.world.get(job)["etag"]), (waiting["attempt"], waiting["etag"]))
        os.remove(filler)
        self.world.wait_state(job, "SUCCEEDED")
        harness.check_whole_run(self.world.events(job), 400)

    def test_a_first_checkpoint_that_does_not_fit_waits_before_the_first_step(self):
        filler = os.path.join(self.world.state_dir, "filler")
        with open(filler, "wb") as file:
            left = os.statvfs(self.world.state_dir)
            file.write(b"\0" * max(0, left.f_bavail * left.f_frsize - (3 << 20)))
        job = self.submit(steps=40, every=10, checkpoint_bytes=4 << 20, extra="retry: {max_failures_without_progress: 1}\n")
        waiting = harness.wait_for(lambda: (lambda got: got if got.get("wait_reason") == "DISK" else None)(self.world.get(job)), "the job to wait for space")
        self.assertEqual(waiting["error"]["cause"], "STORAGE")
        self.assertEqual(int(waiting.get("progress", {}).get("step", 0)), 0)
        message, = [condition["message"] for condition in waiting["conditions"] if condition["type"] == "DiskLow" and condition.get("active")]
        needed, free = map(int, re.search(r"needs ([0-9]+) B, ([0-9]+) B are free", message).groups())
        self.assertEqual(needed, int(1.2 * (4 << 20)))
        self.assertLess(free, needed)
        time.sleep(12)
        self.assertEqual((self.world.get(job)["attempt"], self.world.get(job)["etag"]), (waiting["attempt"], waiting["etag"]))
        os.remove(filler)
        self.assertEqual(int(self.world.wait_state(job, "SUCCEEDED")["attempt"]), 2)
        harness.check_whole_run(self.world.events(job), 40)

    def test_a_full_disk_drops_metrics_counts_them_and_goes_on(self):
        job = self.submit(steps=1500, step_ms=3, every=0, checkpoint_bytes=1 << 10, hold_at="20,1400")
        self.world.wait_step(job, 20)
        filler = os.path.join(self.world.state_dir, "filler")
        with open(filler, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                pass
        for step in (20, 1400):
            with contextlib.suppress(OSError):
                self.world.release(job, step)
            time.sleep(1.5)
        os.remove(filler)
        for step in (20, 1400):
            self.world.release(job, step)
        ended = harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(self.world.get(job)), "the end")
        self.assertEqual(ended["state"], "SUCCEEDED", ended.get("error"))
        events = self.world.events(job)
        losses, _ = self.reference(1500)
        got = {int(e["metrics"]["step"]): e["metrics"]["loss"] for e in harness.of_kind(events, "metrics")}
        self.assertTrue(all(losses[step] == loss for step, loss in got.items()))
        dropped = 1500 - len(got)
        self.assertGreater(dropped, 0, "the disk was full and nothing was dropped")
        said = " ".join(e["notice"].get("message", "") for e in harness.of_kind(events, "notice") if e["notice"].get("code") == "EVENTS_DROPPED")
        self.assertIn(str(dropped), said)


if __name__ == "__main__":
    unittest.main(verbosity=2)
