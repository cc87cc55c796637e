# SPDX-License-Identifier: Apache-2.0
"""Clients that are stopped, that leave children behind, or that open sockets without end: the daemon ends in time, keeps its jobs going and answers."""

import os
import resource
import signal
import socket
import subprocess
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

SHUTDOWN_LIMIT_S = 5
# Few enough that a test process can use them up.
DESCRIPTORS = 160
# Names the children of this process among those of other tests.
SLEEP = f"600.{os.getpid()}"


def limit_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


class HostileClientsTest(FakeWorkerTest):

    def client(self, *arguments, stdout=subprocess.DEVNULL):
        """trainctl in the background."""
        process = subprocess.Popen([harness.program("trainctl"), "--address", self.world.address, *arguments], stdout=stdout,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=self.world.environment)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def inspections(self):
        """Pids of the live children that the script of the test below became."""
        return {int(name) for name in os.listdir("/proc") if name.isdigit() and SLEEP in harness.command_line(name)}

    def test_sigterm_ends_the_daemon_beside_stopped_clients(self):
        self.world.start()
        job = self.submit(steps=4000, step_ms=0, every=2000, hold_at="20,3900")
        self.world.wait_step(job, 20)
        suspended = [self.world.watch(job) for _ in range(3)]
        for watcher in suspended:
            harness.wait_for(lambda w=watcher: os.path.getsize(w.path) > 0, "the first event")
            watcher.process.send_signal(signal.SIGSTOP)
        for _ in range(20):
            self.client("logs", job, "-f")
            self.client("wait", job, "--timeout", "1h")
        # Much more than a socket takes in.
        self.world.release(job, 20)
        self.world.wait_step(job, 3900)
        begin = time.monotonic()
        self.assertEqual(self.world.stop_daemon(), 0)
        self.assertLess(time.monotonic() - begin, SHUTDOWN_LIMIT_S)
        self.assertFalse(os.path.exists(self.world.address.removeprefix("unix:")))
        # The next one gets lock and socket at once, and the watchers continue where they were.
        self.world.start()
        for watcher in suspended:
            watcher.process.send_signal(signal.SIGCONT)
        self.world.release(job, 3900)
        self.world.wait_state(job, "SUCCEEDED")
        events = self.world.events(job)
        for watcher in suspended:
            harness.check_same_events(watcher.events(), events)

    def test_no_inspection_outlives_the_daemon(self):
        script = os.path.join(self.world.root, "inspect")
        with open(script, "w") as file:
            file.write(f"#!/bin/sh\nexec sleep {SLEEP}\n")
        os.chmod(script, 0o700)
        self.world.settings["inspect_path"] = script
        job_file = write_job(self.world.root)
        for end in (self.world.kill_daemon, self.world.stop_daemon):
            self.world.start()
            self.client("validate", job_file)
            children = harness.wait_for(self.inspections, "an inspection")
            end()
            harness.wait_for(lambda: not children & self.inspections(), "the inspection to end with the daemon", 5)

    def test_sockets_without_end_stop_neither_jobs_nor_known_clients(self):
        self.world.daemon = self.world.spawn_daemon(preexec_fn=limit_descriptors)
        self.world.wait_serving()
        job = self.submit(steps=400, step_ms=2, hold_at="20")
        self.world.wait_step(job, 20)
        known = self.world.watch(job)
        harness.wait_for(lambda: os.path.getsize(known.path) > 0, "the first event")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        path = self.world.address.removeprefix("unix:")
        kept, refused = [], 0
        while refused < 50 and len(kept) < 2 * DESCRIPTORS:
            attacker = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            attacker.settimeout(harness.PATIENCE_S)
            attacker.connect(path)
            try:
                # The daemon speaks first: the settings of HTTP/2.
                alive = attacker.recv(1) != b""
            except ConnectionResetError:
                alive = False
            if alive:
                kept.append(attacker)
                self.addCleanup(attacker.close)
            else:
                attacker.close()
                refused += 1
        self.assertEqual(refused, 50, "the daemon has a limit")
        self.world.release(job, 20)
        events = known.events()
        # Another process can still connect, too.
        self.assertEqual(self.world.get(job)["state"], "SUCCEEDED")
        harness.check_same_events(events, self.world.events(job))
        second = self.submit(steps=10, name="second")
        self.world.wait_state(second, "SUCCEEDED")
        self.assertIn("connections are refused", self.world.daemon_log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
