# SPDX-License-Identifier: Apache-2.0
"""What validate and submit say about the disk, with the real programs: the size of a checkpoint is that of the job's checkpoints, their number is that which
the job keeps, and a job that does not fit on the disk of the daemon is reported before it is queued."""

import json
import os
import shutil
import subprocess
import tempfile
import unittest

import harness
from real_jobs import REAL, RealWorkerTest, WORKER, make_inputs, write_job

MIB = 1 << 20


class DiskUseTest(RealWorkerTest):

    def report(self, job, *options):
        return json.loads(self.world.ctl("validate", job, "-o", "json", *options))

    def test_the_report_is_what_the_job_writes(self):
        for name, sets in (("full", []), ("frozen", ["train.freeze=[model.embed_tokens.*]"]), ("sgd", ["optimizer.type=sgd", "optimizer.momentum=0"])):
            with self.subTest(name):
                job = write_job(self.world.root, name, every=2, epochs=1, extra=f"output: {{path: {self.world.root}/out-{name}}}\n")
                sets = [argument for value in [*sets, "train.max_steps=8"] for argument in ("--set", value)]
                disk = self.report(job, *sets)["disk"]
                self.assertEqual(disk["checkpoint_count"], 3, "keep_last is 2")
                # The run directories and output.path are on one disk.
                self.assertEqual(disk["needed_bytes"], 3 * disk["checkpoint_bytes"] + 2 * disk["final_bytes"])
                self.assertEqual(disk["folder"], self.world.runs_dir)
                self.assertEqual(disk, {**self.report(job, "--full", *sets)["disk"], "folder": disk["folder"], "free_bytes": disk["free_bytes"]})
                submitted = self.world.submit(job, *sets)
                self.world.wait_state(submitted, "SUCCEEDED")
                sizes = [int(c["size_bytes"]) for c in self.world.checkpoints(submitted)]
                for size in sizes:
                    self.assertLess(abs(size - disk["checkpoint_bytes"]), size / 50)
                final = sum(entry.stat().st_size for entry in os.scandir(os.path.join(self.world.run_dir(submitted), "final")))
                self.assertLess(abs(final - disk["final_bytes"]), final / 50)

    def test_submit_prints_one_line(self):
        job = write_job(self.world.root, "line", every=0, epochs=1)
        result = subprocess.run([harness.program("trainctl"), "--address", self.world.address, "submit", job, "--set", "train.max_steps=6"],
                                capture_output=True, text=True, timeout=harness.PATIENCE_S)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stderr, r"(?m)^disk: at most [0-9.]+ [KMG]iB: a checkpoint of [0-9.]+ [KMG]iB and the final model of [0-9.]+ [KMG]iB; "
                                        r"[0-9.]+ [KMGT]iB are free in " + self.world.runs_dir + "$")
        self.world.wait_state(result.stdout.strip(), "SUCCEEDED")

    def test_a_continued_job_has_the_size_too(self):
        base = self.submit("base", every=0, epochs=1)
        self.world.wait_state(base, "SUCCEEDED")
        answer = json.loads(self.world.ctl("submit", "--from", base, "--set", "train.epochs=2", "--validate-only", "-o", "json"))
        size = int(self.world.checkpoints(base)[0]["size_bytes"])
        self.assertLess(abs(size - answer["report"]["disk"]["checkpoint_bytes"]), size / 50)


class SmallDiskTest(unittest.TestCase):
    """The state directory and output.path on file systems that are too small for the job."""

    def test_a_job_that_does_not_fit_is_reported_before_it_is_queued(self):
        if not os.path.exists(WORKER):
            raise unittest.SkipTest(f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
        root = tempfile.mkdtemp(prefix="trainerd-it-")
        self.addCleanup(shutil.rmtree, root, ignore_errors=True)
        state, output = os.path.join(root, "state"), os.path.join(root, "output")
        for folder, size in ((state, 32 * MIB), (output, 64 << 10)):
            os.mkdir(folder)
            mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True, text=True)
            if mounted.returncode != 0:
                raise unittest.SkipTest(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
            self.addCleanup(subprocess.run, ["umount", "-l", folder])
        REAL["model"], REAL["data"] = make_inputs(root)
        world = harness.World(worker=WORKER, root=root, state_dir=state, settings={"cpu_threads": 1})
        self.addCleanup(world.close)
        world.start()
        job = write_job(root, "tight", every=1, extra=f"output: {{path: {output}/model}}\n")
        with open(job) as file:
            text = file.read().replace("keep_last: 2", "keep_last: 200")
        with open(job, "w") as file:
            file.write(text)
        report = json.loads(world.ctl("validate", job, "-o", "json"))
        findings = [finding for finding in report["findings"] if finding["code"] == "DISK_SPACE"]
        self.assertEqual([finding.get("error", False) for finding in findings], [False, False])
        self.assertIn(f" in {world.runs_dir} (checkpoints of ", findings[0]["message"])
        self.assertIn("lower checkpoint.keep_last", findings[0]["message"])
        self.assertRegex(findings[1]["message"], rf"the final model needs [0-9]+ KiB in output.path {output}/model and [0-9.]+ KiB are free")
        # What the messages advise.
        self.assertEqual(world.ctl("validate", job, "-o", "json", "--set", "checkpoint.keep_last=2", "--set", f"output.path={root}/out").count("DISK_SPACE"), 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
