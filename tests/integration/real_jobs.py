# SPDX-License-Identifier: Apache-2.0
"""Jobs for the real trainerd-worker: a two-layer Llama with random weights over a committed byte-level tokenizer, and conversations made up from a seed."""

import hashlib
import json
import os
import random
import subprocess
import tempfile
import unittest

import harness

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "golden")
WORKER = harness.program("trainerd-worker")
ROWS = 360
WORDS = "red blue green seven eight nine river stone cloud engine step loss batch token row small large quick slow".split()


def make_inputs(root):
    """(model folder, data file)."""
    model, data = os.path.join(root, "model"), os.path.join(root, "data.jsonl")
    subprocess.run([WORKER, "init-model", "--config", os.path.join(GOLDEN, "tiny_model", "config.json"), "--output", model, "--seed", "1",
                    "--tokenizer", os.path.join(GOLDEN, "tiny_tokenizer")], check=True, capture_output=True, timeout=harness.PATIENCE_S)
    source = random.Random(5)
    with open(data, "w") as file:
        for _ in range(ROWS):
            turns = []
            for _ in range(source.choice([1, 1, 2])):
                turns.append({"role": "user", "content": " ".join(source.choices(WORDS, k=source.randint(1, 4)))})
                turns.append({"role": "assistant", "content": " ".join(source.choices(WORDS, k=source.randint(1, 3)))})
            file.write(json.dumps({"messages": turns}) + "\n")
    return model, data


def make_pairs(root):
    """A file of pairs of answers."""
    path, source = os.path.join(root, "pairs.jsonl"), random.Random(6)
    with open(path, "w") as file:
        for _ in range(ROWS // 2):
            question, chosen, rejected = (" ".join(source.choices(WORDS, k=source.randint(1, 4))) for _ in range(3))
            file.write(json.dumps({"prompt": [{"role": "user", "content": question}], "chosen": [{"role": "assistant", "content": chosen}],
                                   "rejected": [{"role": "assistant", "content": rejected}]}) + "\n")
    return path


def write_job(root, name, precision="fp32", packing="none", every=8, epochs=2, optimizer="learning_rate: 1.0e-3", extra="", model_keys="", train="", data="data"):
    """Accumulation 2, shuffled, cosine with warm-up; about 90 steps an epoch without packing. `train`: more keys of that section; `data`: data or pairs."""
    path = os.path.join(root, f"{name}.yaml")
    with open(path, "w") as file:
        file.write(f"""name: {name}
model: {{path: {REAL['model']}{model_keys}}}
data: {{train: [{REAL[data]}], max_length: 192, packing: {packing}, shuffle: true}}
train: {{precision: {precision}, batch_size: {2 if packing == 'none' else 1}, gradient_accumulation: 2, epochs: {epochs}, seed: 11{train}}}
optimizer: {{{optimizer}}}
schedule: {{type: cosine, warmup_steps: 5}}
checkpoint: {{every_steps: {every}, keep_last: 2}}
retry: {{max_failures_without_progress: 1000}}
{extra}""")
    return path


REAL = {}


class RealWorkerTest(unittest.TestCase):
    """One daemon with the real worker (on one thread, so that a busy machine does not make its steps slow) for all tests of a class; an uninterrupted job of a configuration is the reference of every disturbed one."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(WORKER):
            raise unittest.SkipTest(f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
        cls.inputs = tempfile.TemporaryDirectory(prefix="trainerd-it-inputs-")
        cls.addClassCleanup(cls.inputs.cleanup)
        REAL["model"], REAL["data"] = make_inputs(cls.inputs.name)
        REAL["pairs"] = make_pairs(cls.inputs.name)
        cls.world = harness.World(worker=WORKER, settings={"cpu_threads": 1})
        cls.addClassCleanup(cls.world.close)
        cls.world.start()
        cls.references = {}

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before and self.world.daemon:
            print(f"---- trainerd's log at {self.id()}\n{self.world.daemon_log()[-6000:]}\n----", flush=True)
        return result

    def tearDown(self):
        self.assertEqual(self.world.live.violations, [], "two attempts of one job lived together")

    def submit(self, name, **job):
        return self.world.submit(write_job(self.world.root, name, **job))

    def final_digests(self, job):
        """Name → SHA-256 of every file of the final model but its manifest, which names job and time."""
        folder = os.path.join(self.world.run_dir(job), "final")
        digests = {}
        for name in sorted(os.listdir(folder)):
            if name != "MANIFEST.json":
                with open(os.path.join(folder, name), "rb") as file:
                    digests[name] = hashlib.sha256(file.read()).hexdigest()
        return digests

    def reference(self, **job):
        """(number of steps, losses, digests of the final model) of the uninterrupted job."""
        key = tuple(sorted(job.items()))
        if key not in self.references:
            name = self.submit("reference", **job)
            self.world.wait_state(name, "SUCCEEDED")
            events = self.world.events(name)
            losses = harness.losses(events)
            harness.check_whole_run(events, len(losses))
            self.assertGreater(len(set(losses.values())), len(losses) // 2, "the losses do not move")
            self.references[key] = (len(losses), losses, self.final_digests(name))
        return self.references[key]

    def check_like_uninterrupted(self, name, watcher=None, **job):
        steps, losses, digests = self.reference(**job)
        events = self.world.events(name)
        harness.check_whole_run(events, steps)
        self.assertEqual(harness.losses(events), losses)
        self.assertEqual(self.final_digests(name), digests)
        if watcher is not None:
            harness.check_same_events(watcher.events(), events)
        return events
