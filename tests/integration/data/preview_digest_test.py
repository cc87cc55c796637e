# SPDX-License-Identifier: Apache-2.0
"""What `trainerd-inspect preview --packed` prints is what a run trains on: the digest of ids and labels that the run logs for its first step's rows equals
the preview's, for each packing and profile."""

import json
import os
import subprocess
import tempfile
import unittest

import harness
from real_jobs import REAL, WORKER, make_inputs, write_job

FIRST_STEP_ROWS = 4


class PreviewDigestTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(WORKER):
            raise unittest.SkipTest(f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
        cls.inputs = tempfile.TemporaryDirectory(prefix="trainerd-it-inputs-")
        cls.addClassCleanup(cls.inputs.cleanup)
        REAL["model"], REAL["data"] = make_inputs(cls.inputs.name)

    def run_program(self, *arguments):
        return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=harness.PATIENCE_S,
                              env={**os.environ, "OMP_NUM_THREADS": "1", "TRAINERD_CACHE": self.inputs.name}).stdout

    def digests(self, packing, profile):
        """(of the run's event, of the preview)."""
        name = f"{packing}-{profile}"
        job = write_job(self.inputs.name, name, packing=packing, every=0)
        with open(job) as file:
            text = file.read()
        text = text.replace("shuffle: true", f"shuffle: true, profile: {profile}").replace("max_length: 192", "max_length: 48")
        text = text.replace("epochs: 2", "max_steps: 6").replace("batch_size: 1", "batch_size: 2")
        with open(job, "w") as file:
            file.write(text)
        events = self.run_program(WORKER, "train", "--job", job, "--run-dir", os.path.join(self.inputs.name, "run-" + name), "--events", "-")
        logged = [json.loads(line)["masking_report"]["first_batches_digest"] for line in events.splitlines() if '"masking_report"' in line]
        self.assertEqual(len(logged), 1)
        rows = self.run_program(harness.program("trainerd-inspect"), "preview", "--job", job, "--packed", "--json", "--limit", str(FIRST_STEP_ROWS))
        return logged[0], json.loads(rows.splitlines()[FIRST_STEP_ROWS - 1])["digest"]

    def test_the_run_and_the_preview_agree(self):
        seen = set()
        for packing in ("none", "bfd", "bfd_split"):
            for profile in ("none", "emoji_think", "regime3"):
                with self.subTest(packing=packing, profile=profile):
                    logged, previewed = self.digests(packing, profile)
                    self.assertEqual(logged, previewed)
                    seen.add(logged)
        # Each is other data: no constant agrees with itself.
        self.assertEqual(len(seen), 9)


if __name__ == "__main__":
    unittest.main(verbosity=2)
