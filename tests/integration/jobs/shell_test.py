# SPDX-License-Identifier: Apache-2.0
"""trainctl in an operator's shell: doctor with and without a daemon, completion by bash, manual pages."""

import json
import os
import shutil
import signal
import subprocess
import unittest

import harness
from fake_jobs import FakeWorkerTest


class ShellTest(FakeWorkerTest):

    def doctor(self):
        result = self.world.run("doctor", "-o", "json")
        self.assertIn(result.returncode, (0, 1), result.stderr)
        document = json.loads(result.stdout)
        self.assertEqual(result.returncode == 0, document["ok"])
        self.assertEqual(document["ok"], all(finding["level"] != "problem" for finding in document["findings"]))
        for finding in document["findings"]:
            self.assertEqual("action" in finding, finding["level"] != "ok", finding)
        return lambda check: [finding for finding in document["findings"] if finding["check"] == check]

    def test_doctor_before_during_and_after_a_daemon(self):
        of = self.doctor()
        self.assertEqual([finding["level"] for finding in of("daemon")], ["note"])
        self.assertIn("does not exist", of("permissions")[0]["message"])
        self.world.start()
        of = self.doctor()
        self.assertIn(str(self.world.daemon.pid), of("daemon")[0]["message"])
        self.assertEqual([finding["level"] for finding in of("permissions")], ["ok"])
        self.assertEqual(of("lock"), [])
        self.assertNotIn("was set", json.dumps(of("clock")))
        os.chmod(self.world.state_dir, 0o755)
        self.assertIn("chmod 0700", self.doctor()("permissions")[0]["action"])
        os.chmod(self.world.state_dir, 0o700)
        self.world.ctl("drain")
        self.assertIn("undrain", json.dumps(self.doctor()("daemon")))
        self.world.daemon.send_signal(signal.SIGSTOP)
        self.assertEqual([finding["level"] for finding in self.doctor()("lock")], ["problem"], "it hangs")
        self.world.kill_daemon()
        of = self.doctor()
        self.assertIn(str(self.world.daemon.pid), of("lock")[0]["message"])
        self.assertEqual([finding["level"] for finding in of("lock") + of("socket")], ["note", "note"])
        # Another process has the number of the killed daemon.
        with open(os.path.join(self.world.state_dir, "trainerd.lock"), "w") as file:
            file.write(f"{os.getpid()}\n")
        self.assertEqual([finding["level"] for finding in self.doctor()("lock")], ["note"])
        self.world.start()
        self.assertEqual(self.doctor()("lock"), [])

    def test_bash_completes_commands_flags_and_jobs(self):
        self.world.start()
        job = self.submit(steps=5, extra="suspended: true\n").split("/")[-1]
        address = self.world.address.replace("'", "'\\''")

        def completed(*words):
            quoted = " ".join(f"'{word}'" for word in ("trainctl", *words))
            script = f"source <(trainctl completion bash); COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _trainctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            path = os.path.dirname(harness.program("trainctl")) + ":" + os.environ["PATH"]
            environment = {**self.world.environment, "PATH": path, "TRAINERD_ADDRESS": address}
            result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=environment, timeout=harness.PATIENCE_S)
            return result.stdout.split()

        self.assertEqual(completed("val"), ["validate"])
        self.assertEqual(completed("checkpoints", "un"), ["unpin"])
        self.assertIn("--pause-running", completed("drain", "--p"))
        self.assertEqual(completed("ls", "--output", "=", "jsonl"), ["jsonl"])
        self.assertIn(job, completed("explain", ""))
        self.assertEqual(completed("explain", job[:4]), [job])

    def test_groff_accepts_the_pages(self):
        if shutil.which("groff") is None:
            self.skipTest("there is no groff")
        source = os.path.join(os.path.dirname(__file__), "..", "..", "..", "deploy", "man", "trainerd.8")
        with open(source) as file:
            pages = {"trainerd.8": file.read()}
        for name in ("trainctl.1", "trainerd.yaml.5"):
            pages[name] = subprocess.run([harness.program("trainctl"), "__man", name], capture_output=True, text=True, check=True).stdout
        for name, page in pages.items():
            result = subprocess.run(["groff", "-man", "-ww", "-Tutf8"], input=page, capture_output=True, text=True, check=True)
            self.assertEqual(result.stderr, "", name)
        usage = subprocess.run([harness.program("trainerd"), "--help"], capture_output=True, text=True, check=True).stdout
        for flag in [word for word in usage.replace(",", " ").split() if word.startswith("--")]:
            self.assertIn(flag.replace("-", "\\-"), pages["trainerd.8"])


if __name__ == "__main__":
    unittest.main()
