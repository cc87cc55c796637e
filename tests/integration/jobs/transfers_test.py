# SPDX-License-Identifier: Apache-2.0
"""Files to and from the daemon: a checkpoint arrives whole whatever is killed meanwhile, and a job trains from files that only the client has."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job
from real_jobs import REAL, RealWorkerTest, write_job as write_real_job

MIB = 1 << 20
LARGE = 160 * MIB


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def tree(folder):
    """The hash of each file below a folder, by its path in it."""
    return {os.path.relpath(os.path.join(at, name), folder): sha256(os.path.join(at, name))
            for at, _, names in os.walk(folder) for name in names}


class TransfersTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def spawn(self, *arguments):
        process = subprocess.Popen([harness.program("trainctl"), "--address", self.world.address, *arguments], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.world.environment, cwd=self.world.root)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def stop_when(self, process, grows, what):
        """Stops a client once the file that `grows` names is there in part, so that something can be killed in the middle."""
        def there():
            if process.poll() is not None:
                raise AssertionError(f"{what} ended too early: {process.communicate()}")
            path = grows()
            return path and os.path.getsize(path) >= MIB
        harness.wait_for(there, f"{what} to be on its way")
        process.send_signal(signal.SIGSTOP)

    def large_checkpoint(self):
        job = self.submit(steps=4, every=2, checkpoint_bytes=LARGE)
        self.world.wait_state(job, "SUCCEEDED")
        return self.world.checkpoints(job)[0]

    def test_a_pull_continues_after_a_kill_of_either_side(self):
        checkpoint = self.large_checkpoint()
        short = checkpoint["name"].removeprefix("jobs/")
        copy = os.path.join(self.world.root, "copy")
        largest = max(tree(checkpoint["path"]), key=lambda name: os.path.getsize(os.path.join(checkpoint["path"], name)))
        part = os.path.join(copy + ".part", largest)

        def growing():
            return part if os.path.exists(part) else None
        # The daemon is killed: the same command continues once it is back.
        pull = self.spawn("checkpoints", "pull", short, "copy", "-o", "json")
        self.stop_when(pull, growing, "the pull")
        self.world.kill_daemon()
        pull.send_signal(signal.SIGCONT)
        self.world.start()
        out, err = pull.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(pull.returncode, 0, err)
        self.assertEqual(tree(copy), tree(checkpoint["path"]))
        size = sum(os.path.getsize(os.path.join(copy, name)) for name in tree(copy))
        self.assertEqual({key: json.loads(out)[key] for key in ("name", "path", "bytes")},
                         {"name": checkpoint["name"], "path": copy, "bytes": size})
        # trainctl is killed: what it has is kept, and the next command fetches the rest.
        shutil.rmtree(copy)
        pull = self.spawn("checkpoints", "pull", short, "copy")
        self.stop_when(pull, growing, "the pull")
        had = os.path.getsize(part)
        pull.kill()
        pull.communicate()
        self.assertFalse(os.path.exists(copy))
        document = json.loads(self.world.ctl("checkpoints", "pull", short, copy, "-o", "json"))
        self.assertLessEqual(document["received_bytes"], document["bytes"] - had)
        self.assertEqual(tree(copy), tree(checkpoint["path"]))
        self.assertFalse(os.path.exists(copy + ".part"))
        # Ctrl-C ends with its own exit code.
        shutil.rmtree(copy)
        pull = self.spawn("checkpoints", "pull", short, "copy")
        self.stop_when(pull, growing, "the pull")
        pull.send_signal(signal.SIGINT)
        pull.send_signal(signal.SIGCONT)
        self.assertIn("interrupted", pull.communicate(timeout=harness.PATIENCE_S)[1])
        self.assertEqual(pull.returncode, 130)

    def test_a_final_model_and_the_names_of_a_pull(self):
        job = self.submit(steps=4, every=2)
        self.world.wait_state(job, "SUCCEEDED")
        final = os.path.join(self.world.run_dir(job), "final")
        for name, folder in ((f"{job}/final", "a"), (job, "b"), ("latest", "c")):
            path = os.path.join(self.world.root, folder)
            self.assertEqual(self.world.ctl("checkpoints", "pull", name, path), path + "\n")
            self.assertEqual(tree(path), tree(final))
        refused = self.world.run("checkpoints", "pull", f"{job}/checkpoints/step-9", os.path.join(self.world.root, "d"), "-o", "json")
        self.assertEqual((refused.returncode, json.loads(refused.stderr.splitlines()[-1])["error"]["reason"]), (6, "CHECKPOINT_NOT_FOUND"))
        self.assertEqual(self.world.run("checkpoints", "pull").returncode, 2)
        # A deleted job has no files, and a checkpoint that retention removed has none either.
        deleted = next(c for c in json.loads(self.world.ctl("checkpoints", "ls", self.retained(), "--all", "-o", "json"))["checkpoints"] if c.get("deleted"))
        refused = self.world.run("checkpoints", "pull", deleted["name"], os.path.join(self.world.root, "e"), "-o", "json")
        self.assertEqual(json.loads(refused.stderr.splitlines()[-1])["error"]["reason"], "CHECKPOINT_DELETED")

    def test_retention_keeps_what_was_downloaded_a_moment_ago(self):
        job = self.submit(steps=20, every=2, hold_at=3)
        first, = harness.wait_for(lambda: self.world.checkpoints(job), "the first checkpoint")
        self.world.ctl("checkpoints", "pull", first["name"], os.path.join(self.world.root, "copy"))
        self.world.release(job, 3)
        self.world.wait_state(job, "SUCCEEDED")

        def removed():
            listed = json.loads(self.world.ctl("checkpoints", "ls", job, "--all", "-o", "json"))["checkpoints"]
            return [c["step"] for c in listed if c.get("deleted")]
        harness.wait_for(lambda: len(removed()) >= 6, "retention")
        self.assertNotIn(2, removed())
        self.assertEqual(tree(os.path.join(self.world.root, "copy")), tree(first["path"]))

    def retained(self):
        """A job of whose checkpoints some were removed."""
        job = self.submit(name="retained", steps=10, every=2, step_ms=20)
        self.world.wait_state(job, "SUCCEEDED")
        harness.wait_for(lambda: len(self.world.checkpoints(job)) <= 3, "retention")
        return job

    def test_an_upload_continues_after_a_kill_of_either_side(self):
        source = os.path.join(self.world.root, "large.jsonl")
        line = json.dumps({"messages": [{"role": "user", "content": "x" * 1000}]}) + "\n"
        with open(source, "w") as file:
            for number in range(LARGE // len(line)):
                file.write(line.replace("xx", f"{number:02d}", 1))
        digest = sha256(source)
        job_file = write_job(self.world.root, steps=4, every=2)
        arguments = ["submit", job_file, "--set", f"data.validation={source}", "--upload", "--no-validate", "-o", "json"]
        part = os.path.join(self.world.state_dir, "files", digest, "part")

        def growing():
            return part if os.path.exists(part) else None

        def received():
            files = {file["name"]: file for file in json.loads(self.world.ctl("files", "-o", "json"))["files"]}
            return int(files["files/" + digest]["received_bytes"])
        upload = self.spawn(*arguments)
        self.stop_when(upload, growing, "the upload")
        upload.kill()
        upload.communicate()
        self.world.restart_after_kill()
        kept = received()
        self.assertGreaterEqual(kept, MIB)
        self.assertLess(kept, os.path.getsize(source))
        # Again, and the daemon is killed: the command continues by itself.
        upload = self.spawn(*arguments)
        harness.wait_for(lambda: os.path.getsize(part) > kept, "the rest to be on its way")
        upload.send_signal(signal.SIGSTOP)
        self.world.kill_daemon()
        upload.send_signal(signal.SIGCONT)
        self.world.start()
        out, err = upload.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(upload.returncode, 0, err)
        job = json.loads(out)
        self.assertEqual(job["config"]["data"]["validation"], f"files/{digest}/large.jsonl")
        self.assertEqual(sha256(os.path.join(self.world.state_dir, "files", digest, "as", "large.jsonl")), digest)
        self.world.wait_state(job["name"], "SUCCEEDED")
        # The worker got a path, and the job keeps the name.
        with open(os.path.join(self.world.run_dir(job["name"]), "job_config.yaml")) as file:
            self.assertIn(os.path.join(self.world.state_dir, "files", digest, "as", "large.jsonl"), file.read())
        self.assertEqual(self.world.get(job["name"])["config"]["data"]["validation"], f"files/{digest}/large.jsonl")

    def test_files_of_unfinished_jobs_are_kept(self):
        job_file = write_job(self.world.root, steps=20, hold_at=10)
        job = json.loads(self.world.ctl("submit", job_file, "--upload", "--no-validate", "-o", "json"))
        name = job["config"]["data"]["train"][0]["path"].rpartition("/")[0]
        refused = self.world.run("files", "rm", name, "-o", "json")
        self.assertEqual((refused.returncode, json.loads(refused.stderr.splitlines()[-1])["error"]["reason"]), (6, "FILE_IN_USE"))
        self.world.restart_after_kill()
        self.world.release(job["name"], 10)
        self.world.wait_state(job["name"], "SUCCEEDED")
        self.assertIn(name.removeprefix("files/")[:12], self.world.ctl("files"))
        self.world.ctl("files", "rm", name.removeprefix("files/")[:8])
        self.assertEqual(json.loads(self.world.ctl("files", "-o", "json"))["files"], [])
        self.assertEqual(os.listdir(os.path.join(self.world.state_dir, "files")), [])
        # A job cannot name it any more, and not a file of another form either.
        for path in (f"{name}/data.jsonl", f"{name}/../x", name):
            self.assertNotEqual(self.world.run("submit", job_file, "--no-validate", "--set", f"data.validation={path}").returncode, 0)

    def test_the_quota_of_uploads(self):
        self.world.stop_daemon()
        self.world.settings["max_upload_bytes"] = 10
        self.world.start()
        job_file = write_job(self.world.root, steps=4)
        refused = self.world.run("submit", job_file, "--upload", "-o", "json")
        error = json.loads(refused.stderr.splitlines()[-1])["error"]
        self.assertEqual((refused.returncode, error["reason"]), (6, "UPLOAD_SPACE"))
        self.assertIn("max_upload_bytes", error["message"])
        self.assertEqual(json.loads(self.world.ctl("ls", "-o", "json"))["jobs"], [])


class RealUploadTest(RealWorkerTest):

    def test_a_job_trains_from_uploads_like_from_its_files(self):
        job_file = write_real_job(self.world.root, "plain", epochs=1, extra="samples: {prompts: prompts.jsonl}\n")
        with open(os.path.join(self.world.root, "prompts.jsonl"), "w") as file:
            file.write('{"prompt": "red blue"}\n')
        plain = self.world.submit(job_file, "--set", "train.max_steps=10")
        self.world.wait_state(plain, "SUCCEEDED")
        with tempfile.TemporaryDirectory() as elsewhere:
            # The client removes its files before the job starts.
            shutil.copy(REAL["data"], os.path.join(elsewhere, "train.jsonl"))
            shutil.copy(os.path.join(self.world.root, "prompts.jsonl"), elsewhere)
            shutil.copy(job_file, elsewhere)
            out = self.world.ctl("submit", os.path.join(elsewhere, "plain.yaml"), "--set", f"data.train={elsewhere}/train.jsonl", "--set",
                                 "train.max_steps=10", "--set", "suspended=true", "--upload", "-o", "json")
        job = json.loads(out)["name"]
        self.assertTrue(json.loads(out)["config"]["samples"]["prompts"].endswith("/prompts.jsonl"))
        self.world.ctl("resume", job)
        self.world.wait_state(job, "SUCCEEDED")
        self.assertEqual(self.world.final_bytes(job), self.world.final_bytes(plain))
        self.assertEqual(len(harness.of_kind(self.world.events(job), "sample")), 2)
        # A job that continues it names the same files.
        again = json.loads(self.world.ctl("submit", "--from", job, "--set", "train.max_steps=12", "-o", "json"))["name"]
        self.world.wait_state(again, "SUCCEEDED")


if __name__ == "__main__":
    unittest.main(verbosity=2)
