# SPDX-License-Identifier: Apache-2.0
"""The report of the GPU checks survives what ends them, and needs no nvidia-smi."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import machine_check

HERE = os.path.dirname(os.path.abspath(__file__))


class GpusTest(unittest.TestCase):
    def query(self, script):
        """query_gpus with this nvidia-smi, or without one."""
        with tempfile.TemporaryDirectory() as folder:
            if script is not None:
                path = os.path.join(folder, "nvidia-smi")
                with open(path, "w") as file:
                    file.write("#!/bin/sh\n" + script)
                os.chmod(path, 0o700)
            with mock.patch.dict(os.environ, {"PATH": folder}):
                return machine_check.query_gpus()

    def test_lists_what_nvidia_smi_prints(self):
        self.assertEqual(self.query("echo '0, NVIDIA H200, 580.95.05'"), ["0, NVIDIA H200, 580.95.05"])

    def test_works_without_nvidia_smi(self):
        self.assertEqual(self.query(None), [])

    def test_works_with_a_broken_nvidia_smi(self):
        self.assertEqual(self.query("echo no devices were found; exit 6"), [])


class ReportTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "report.json")

    def read(self):
        with open(self.path) as file:
            return json.load(file)

    def test_is_written_after_each_part(self):
        report = machine_check.Report(self.path)
        report.run("device", lambda: {"ok": True, "model": "H200"})
        self.assertEqual(self.read()["device"]["model"], "H200")
        self.assertFalse(self.read()["ok"])
        self.assertTrue(report.finish())
        self.assertTrue(self.read()["ok"])

    def test_an_exception_fails_its_part_alone(self):
        report = machine_check.Report(self.path)
        report.run("tests", lambda: {}["missing key"])
        report.run("job", lambda: {"ok": True})
        self.assertIn("missing key", self.read()["tests"]["error"])
        self.assertTrue(self.read()["job"]["ok"])
        self.assertFalse(report.finish())

    def test_a_killed_check_leaves_what_it_found(self):
        code = (
            "import os, signal, sys, machine_check\n"
            "report = machine_check.Report(sys.argv[1])\n"
            "report.run('device', lambda: {'ok': True})\n"
            "report.run('tests', lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        )
        ended = subprocess.run(
            [sys.executable, "-c", code, self.path], cwd=HERE, capture_output=True, check=False
        )
        self.assertEqual(ended.returncode, -signal.SIGKILL)
        self.assertTrue(self.read()["device"]["ok"])
        self.assertEqual(self.read()["tests"]["error"], "the part has not ended")


if __name__ == "__main__":
    unittest.main()
