# SPDX-License-Identifier: Apache-2.0
"""The cache of prepared rows between real processes: several prepare the same data at once, and some are killed while they do."""

import json
import os
import random
import signal
import subprocess
import tempfile
import time
import unittest

import harness
from real_jobs import GOLDEN, WORDS

INSPECT = harness.program("trainerd-inspect")
CONVERSATIONS = 8000
KILLS = 12


class TokenCacheTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trainerd-it-cache-")
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        self.cache = os.path.join(self.root, "cache")
        data = os.path.join(self.root, "data.jsonl")
        source = random.Random(3)
        with open(data, "w") as file:
            for number in range(CONVERSATIONS):
                turns = [{"role": "user", "content": f"{number} " + " ".join(source.choices(WORDS, k=12))},
                         {"role": "assistant", "content": " ".join(source.choices(WORDS, k=source.randint(5, 60)))}]
                file.write(json.dumps({"messages": turns}) + "\n")
        self.job = self.write_job("job", data)
        self.expected = self.rows(self.write_job("uncached", data, ", cache: false"))
        self.assertEqual(self.files(), [])
        self.assertGreater(self.expected.count(b"\n"), 100)

    def write_job(self, name, data, more=""):
        path = os.path.join(self.root, name + ".yaml")
        with open(path, "w") as file:
            file.write(f"model: {{path: {os.path.join(GOLDEN, 'tiny_tokenizer')}}}\ndata: {{train: [{data}], max_length: 512, packing: bfd{more}}}\n")
        return path

    def start(self, job):
        return subprocess.Popen([INSPECT, "preview", "--job", job, "--packed", "--json", "--limit", str(CONVERSATIONS)], stdout=subprocess.PIPE,
                                env={**os.environ, "TRAINERD_CACHE": self.cache})

    def rows(self, job):
        """Every packed row, as printed by one process."""
        process = self.start(job)
        output, _ = process.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(process.returncode, 0)
        return output

    def files(self):
        folder = os.path.join(self.cache, "tokens")
        return sorted(os.listdir(folder)) if os.path.isdir(folder) else []

    def assert_one_entry(self):
        """One finished entry, and nothing that a writer left behind."""
        self.assertEqual(sum(name.endswith(".tokens") for name in self.files()), 1, self.files())
        self.assertEqual([name for name in self.files() if ".tmp" in name], [])

    def test_processes_that_prepare_the_same_data_at_once_share_one_entry(self):
        processes = [self.start(self.job) for _ in range(4)]
        outputs = [process.communicate(timeout=harness.PATIENCE_S)[0] for process in processes]
        self.assertEqual([process.returncode for process in processes], [0] * 4)
        for output in outputs:
            self.assertEqual(output, self.expected)
        self.assert_one_entry()
        self.assertEqual(self.rows(self.job), self.expected)

    def test_a_killed_preparation_leaves_nothing_that_is_read(self):
        begin = time.monotonic()
        self.assertEqual(self.rows(self.job), self.expected)
        whole = time.monotonic() - begin
        source = random.Random(17)
        killed = found_half = 0
        for number in range(10 * KILLS):
            if killed == KILLS:
                break
            # Often in the middle of the writing: nothing is there to start from.
            if number % 2 == 0:
                for name in self.files():
                    os.remove(os.path.join(self.cache, "tokens", name))
            process = self.start(self.job)
            time.sleep(source.uniform(0.05, 0.9) * whole)
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=harness.PATIENCE_S)
            if process.returncode != -signal.SIGKILL:
                continue
            killed += 1
            found_half += any(".tmp" in name for name in self.files())
            self.assertEqual(self.rows(self.job), self.expected)
            self.assert_one_entry()
        self.assertEqual(killed, KILLS, "the processes were too fast to be killed")
        self.assertGreater(found_half, 0, "none was killed while it wrote")


if __name__ == "__main__":
    unittest.main(verbosity=2)
