# SPDX-License-Identifier: Apache-2.0
"""Jobs for the fake worker (tests/fakes/fake_worker.cc): labels drive it, and an uninterrupted run gives what every disturbed one must end with."""

import os
import shutil
import subprocess
import unittest

import harness


def write_job(root, name="job", steps=200, step_ms=5, every=25, output=None, extra="", **labels):
    """A job file whose paths exist; `labels` are fake.* without the prefix."""
    model, data = os.path.join(root, "model"), os.path.join(root, "data.jsonl")
    os.makedirs(model, exist_ok=True)
    for path, text in ((os.path.join(model, "config.json"), "{}\n"), (data, '{"messages": []}\n')):
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write(text)
    labels = {"steps": steps, "step_ms": step_ms, **labels}
    lines = ", ".join(f'fake.{key}: "{value}"' for key, value in labels.items())
    path = os.path.join(root, f"{name}.yaml")
    with open(path, "w") as file:
        file.write(f"name: {name}\nlabels: {{{lines}}}\nmodel: {{path: {model}}}\ndata: {{train: [{data}]}}\n"
                   f"train: {{precision: fp32, seed: 7}}\ncheckpoint: {{every_steps: {every}, keep_last: 2}}\n{extra}")
        if output:
            file.write(f"output: {{path: {output}}}\n")
    return path


class FakeWorkerTest(unittest.TestCase):
    """One world a test; at its end what must always hold is checked."""

    references = {}

    def setUp(self):
        self.world = harness.World()
        self.addCleanup(self.world.close)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors) if result else 0
        super().run(result)
        if result and len(result.failures) + len(result.errors) > before:
            print(f"---- trainerd's log of {self.id()}\n{self.world.last_log[-6000:]}\n----", flush=True)
        return result

    def tearDown(self):
        self.assertEqual(self.world.live.violations, [], "two attempts of one job lived together")

    def submit(self, **job):
        return self.world.submit(write_job(self.world.root, **job))

    def reference(self, steps):
        """(losses, final bytes) of an uninterrupted run of so many steps."""
        if steps not in FakeWorkerTest.references:
            world = harness.World()
            try:
                world.start()
                job = world.submit(write_job(world.root, steps=steps, step_ms=0))
                world.wait_state(job, "SUCCEEDED")
                events = world.events(job)
                harness.check_whole_run(events, steps)
                FakeWorkerTest.references[steps] = (harness.losses(events), world.final_bytes(job))
            finally:
                world.close()
        return FakeWorkerTest.references[steps]

    def check_like_uninterrupted(self, job, steps, watcher=None):
        """SUCCEEDED with every step once an attempt, none missing, the values and the model of the uninterrupted run, and a watcher without gaps."""
        events = self.world.events(job)
        harness.check_whole_run(events, steps)
        losses, final = self.reference(steps)
        self.assertEqual(harness.losses(events), losses)
        self.assertEqual(self.world.final_bytes(job), final)
        if watcher is not None:
            harness.check_same_events(watcher.events(), events)
        return events


class SmallDiskTest(FakeWorkerTest):
    """A small tmpfs of SIZE bytes as the state directory; skips where none can be mounted. The daemon is started by the test."""

    SIZE = None

    def setUp(self):
        super().setUp()
        os.makedirs(self.world.state_dir)
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={self.SIZE},mode=700", "tmpfs", self.world.state_dir],
                                 capture_output=True, text=True)
        if mounted.returncode != 0:
            self.skipTest(f"cannot mount a tmpfs here: {mounted.stderr.strip()}")
        # Cleanups run in reverse order: what uses the mount is closed first, and its folder goes last.
        self._cleanups[:0] = [(shutil.rmtree, (self.world.root,), {"ignore_errors": True}), (subprocess.run, (["umount", "-l", self.world.state_dir],), {})]
