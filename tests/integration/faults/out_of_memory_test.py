# SPDX-License-Identifier: Apache-2.0
"""A job that needs more memory than there is ends as OUT_OF_MEMORY, with the numbers and what to change, and the daemon serves on: an allocation that fails
inside the real worker (a limit on its address space), and a worker that the kernel kills (a cgroup's limit)."""

import contextlib
import json
import os
import stat
import tempfile
import unittest

import harness
from real_jobs import REAL, RealWorkerTest, WORKER, write_job

MIB = 1 << 20
# What a small job may need beyond its measured peak, and far less than the large one allocates.
ROOM = 96 * MIB
CGROUPS = "/sys/fs/cgroup"


class OutOfMemoryTest(RealWorkerTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # One conversation whose microbatch needs gigabytes: 16 rows of 60,000 tokens.
        cls.large = os.path.join(cls.inputs.name, "large.jsonl")
        with open(cls.large, "w") as file:
            for number in range(16):
                answer = " ".join(f"{number} {word}" for word in range(9000))
                file.write(json.dumps({"messages": [{"role": "user", "content": "Count."}, {"role": "assistant", "content": answer}]}) + "\n")
        cls.peaks = cls.peaks_of_a_small_job()

    @classmethod
    def peaks_of_a_small_job(cls):
        """VmPeak and VmHWM of the worker of a job that fits, in bytes."""
        peaks = {}
        job = cls.world.submit(write_job(cls.world.root, "measured", every=0))
        while cls.world.state(job) not in harness.TERMINAL:
            for pid in cls.world.processes(job, "worker"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
                    for line in file:
                        if line.startswith(("VmPeak:", "VmHWM:")):
                            key, number = line.split()[:2]
                            peaks[key] = max(peaks.get(key, 0), int(number) * 1024)
        cls.world.wait_state(job, "SUCCEEDED")
        return peaks

    def large_job(self, world):
        path = write_job(world.root, "large", every=0)
        return world.submit(path, "--set", f"data.train={self.large}", "--set", "data.max_length=65536", "--set", "train.batch_size=16",
                            "--set", "schedule.warmup_steps=0", "--set", "retry.max_failures_without_progress=1")

    def failed(self, world, job):
        return harness.wait_for(lambda: (lambda got: got if got["state"] in harness.TERMINAL else None)(world.get(job)), f"the end of {job}", 120)

    def check_that_it_serves_on(self, world):
        """The same daemon, under the same limit, runs a job that fits."""
        job = world.submit(write_job(world.root, "small", every=0))
        world.wait_state(job, "SUCCEEDED")
        self.assertIsNone(world.daemon.poll())

    def test_an_allocation_that_fails_in_the_worker(self):
        limit = self.peaks["VmPeak:"] + ROOM
        wrapper = os.path.join(tempfile.mkdtemp(dir=self.inputs.name), "trainerd-worker")
        with open(wrapper, "w") as file:
            file.write(f"#!/bin/sh\nulimit -v {limit // 1024} && exec {WORKER} \"$@\"\n")
        os.chmod(wrapper, stat.S_IRWXU)
        world = harness.World(worker=wrapper, settings={"cpu_threads": 1})
        self.addCleanup(world.close)
        world.start()
        ended = self.failed(world, self.large_job(world))
        error = ended["error"]
        self.assertEqual((ended["state"], error["cause"], error["code"]), ("FAILED", "OUT_OF_MEMORY", "OUT_OF_MEMORY"), error)
        # The requested size, and what to change.
        self.assertRegex(error["message"], r"cannot allocate [0-9.]+ [KMGT]?i?B for a tensor")
        self.assertIn("lower train.batch_size or data.max_length", error["message"])
        # Running again cannot cure it: one attempt, with the worker's own word.
        self.assertEqual(ended["attempt"], 1)
        self.check_that_it_serves_on(world)

    def limited_cgroup(self, limit):
        """A new cgroup with that memory limit, or skips."""
        base, limits = self.memory_cgroup()
        path = os.path.join(base, f"trainerd-it-{os.getpid()}")
        try:
            os.mkdir(path)
        except OSError as error:
            self.skipTest(f"cannot make a cgroup: {error}")
        self.addCleanup(lambda: harness.wait_for(lambda: self.removed(path), f"{path} to be empty"))
        if not os.path.exists(os.path.join(path, next(iter(limits)))):
            self.skipTest(f"the memory controller is not on in {base}")
        for name, value in limits.items():
            with contextlib.suppress(OSError), open(os.path.join(path, name), "w") as file:
                file.write(str(limit if value is None else value))
        return path

    def memory_cgroup(self):
        """(folder of the cgroup to make ours in, file → value with None for the limit), of the version that has the memory controller here."""
        if os.path.exists(os.path.join(CGROUPS, "cgroup.controllers")):
            return CGROUPS, {"memory.max": None, "memory.swap.max": 0}
        with open("/proc/self/cgroup") as file:
            for line in file:
                _, controllers, path = line.rstrip("\n").split(":", 2)
                if "memory" in controllers.split(",") and os.path.isdir(CGROUPS + "/memory" + path):
                    return CGROUPS + "/memory" + path, {"memory.limit_in_bytes": None, "memory.swappiness": 0}
        self.skipTest(f"{CGROUPS} has no memory controller")

    def removed(self, path):
        with contextlib.suppress(OSError):
            os.rmdir(path)
        return not os.path.exists(path)

    def test_a_worker_that_the_kernel_kills(self):
        cgroup = self.limited_cgroup(self.peaks["VmHWM:"] + 2 * ROOM)
        world = harness.World(worker=WORKER, settings={"cpu_threads": 1})
        self.addCleanup(world.close)

        def enter():
            with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
                file.write(str(os.getpid()))

        world.daemon = world.spawn_daemon(preexec_fn=enter)
        world.wait_serving()
        ended = self.failed(world, self.large_job(world))
        error = ended["error"]
        self.assertEqual((ended["state"], error["cause"], error["signal"]), ("FAILED", "OUT_OF_MEMORY", 9), error)
        self.assertIn("OOM killer", error["message"])
        self.assertRegex(error["message"], r"[0-9.]+ [KMGT]iB")
        self.assertIn("lower train.batch_size or data.max_length", error["message"])
        self.check_that_it_serves_on(world)


if __name__ == "__main__":
    unittest.main(verbosity=2)
