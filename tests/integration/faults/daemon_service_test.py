# SPDX-License-Identifier: Apache-2.0
"""The daemon as a service: messages to the service manager, pings of the watchdog, the log file and SIGHUP, a SIGSTOP of the daemon."""

import os
import signal
import socket
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest


class DaemonServiceTest(FakeWorkerTest):

    def manager(self, name):
        receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(receiver.close)
        receiver.settimeout(harness.PATIENCE_S)
        receiver.bind(name)
        return receiver

    def next(self, receiver, beginning):
        while True:
            message = receiver.recv(4096).decode()
            if message.startswith(beginning):
                return message

    def test_the_service_manager_hears_of_start_work_and_end(self):
        receiver = self.manager("\0trainerd-it-%d" % os.getpid())
        self.world.daemon_environment = {"NOTIFY_SOCKET": "@trainerd-it-%d" % os.getpid(), "WATCHDOG_USEC": "400000"}
        self.world.daemon = self.world.spawn_daemon()
        self.assertEqual(receiver.recv(4096), b"READY=1")
        # It serves: no client has to wait for it.
        self.assertEqual(self.world.run("ls").returncode, 0)
        self.assertIn(self.world.state_dir, self.next(receiver, "STATUS="))
        for _ in range(3):
            self.next(receiver, "WATCHDOG=1")
        job = self.submit(steps=20, hold_at=10)
        worker = self.world.wait_process(job, "worker")
        with open(f"/proc/{worker}/environ", "rb") as file:
            self.assertNotIn(b"NOTIFY_SOCKET", file.read(), "a worker must not report as the daemon")
        self.world.daemon.send_signal(signal.SIGTERM)
        self.assertIn("STATUS=", self.next(receiver, "STOPPING=1"))
        self.assertEqual(self.world.daemon.wait(harness.PATIENCE_S), 0)

    def test_a_stopped_daemon_stops_the_pings_and_continues_without_a_loss(self):
        receiver = self.manager(os.path.join(self.world.root, "notify"))
        self.world.daemon_environment = {"NOTIFY_SOCKET": os.path.join(self.world.root, "notify"), "WATCHDOG_USEC": "400000"}
        self.world.start()
        job = self.submit(steps=300, hold_at="20,200")
        watcher = self.world.watch(job)
        self.world.wait_step(job, 20)
        self.world.daemon.send_signal(signal.SIGSTOP)
        receiver.setblocking(False)
        with self.assertRaises(BlockingIOError):
            while True:
                receiver.recv(4096)
        self.world.release(job, 20)
        harness.wait_for(lambda: self.world.last_step(job, 1) >= 200, "180 steps without the daemon")
        with self.assertRaises(BlockingIOError):
            receiver.recv(4096)
        self.world.daemon.send_signal(signal.SIGCONT)
        receiver.setblocking(True)
        receiver.settimeout(harness.PATIENCE_S)
        self.next(receiver, "WATCHDOG=1")
        self.world.release(job, 200)
        self.world.wait_state(job, "SUCCEEDED")
        self.check_like_uninterrupted(job, 300, watcher)
        self.assertEqual(self.world.get(job)["attempt"], 1)

    def test_the_log_file_is_opened_again_at_sighup(self):
        log = os.path.join(self.world.root, "daemon.log")
        self.world.settings["log_file"] = "daemon.log"  # beside trainerd.yaml
        self.world.start()

        def text(path=log):
            with open(path) as file:
                return file.read()

        self.assertIn("serving", text())
        self.assertEqual(os.stat(log).st_mode & 0o077, 0)
        self.assertEqual(self.world.daemon_log(), "", "nothing on standard error")
        os.rename(log, log + ".old")
        self.world.daemon.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: os.path.exists(log) and "SIGHUP" in text(), "the new file")
        before = text(log + ".old")
        job = self.submit(steps=5)
        self.world.wait_state(job, "SUCCEEDED")
        harness.wait_for(lambda: job.split("/")[-1] in text(), "the job in the new file")
        self.assertEqual(text(log + ".old"), before)
        self.world.stop_daemon()
        self.assertIn("stopped", text())

    def test_a_log_file_that_cannot_be_written_does_not_stop_the_daemon(self):
        log = os.path.join(self.world.root, "daemon.log")
        os.symlink("/dev/full", log)
        self.world.settings["log_file"] = log
        self.world.start()
        job = self.submit(steps=5)
        self.world.wait_state(job, "SUCCEEDED")
        os.remove(log)
        self.world.daemon.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: os.path.exists(log) and os.path.getsize(log) > 0, "the new file")
        with open(log) as file:
            self.assertIn("could not be written", file.read())
        self.world.stop_daemon()
        self.world.settings["log_file"] = "/no/such/folder/d.log"
        daemon = self.world.spawn_daemon()
        self.assertEqual(daemon.wait(harness.PATIENCE_S), 1)
        self.assertIn("/no/such/folder/d.log", self.world.daemon_log())

    def test_sighup_without_a_log_file_does_not_end_the_daemon(self):
        self.world.start()
        self.world.daemon.send_signal(signal.SIGHUP)
        harness.wait_for(lambda: "SIGHUP" in self.world.daemon_log(), "the line about SIGHUP")
        time.sleep(0.1)
        self.assertIsNone(self.world.daemon.poll())


if __name__ == "__main__":
    unittest.main()
