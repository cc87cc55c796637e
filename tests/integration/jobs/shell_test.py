# SPDX-License-Identifier: Apache-2.0
"""trainctl in an operator's shell: doctor with and without a daemon, completion by bash, zsh and fish, manual pages."""

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import time
import unittest

import harness
from fake_jobs import FakeWorkerTest


# After the setup, ^X^X prints the line that is being edited and empties it.
ZSH_SETUP = """PS1=; autoload -U compinit; compinit -D -u; setopt no_auto_menu no_beep
show() { print -r -- "[[$BUFFER]]"; BUFFER=; zle accept-line }; zle -N show; bindkey '^X^X' show
%s; print set"up"
"""


class Zsh:
    """An interactive zsh without settings of a user."""

    def __init__(self, setup, environment):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execvpe("zsh", ["zsh", "-f", "-i"], environment)
        self._type(ZSH_SETUP % setup, "setup\r\n")

    def completed(self, line):
        """What the Tab key makes of the line."""
        return self._type(line + "\t\x18\x18", "]]").split("[[")[-1].removesuffix("]]")

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)

    def _type(self, keys, end):
        os.write(self.terminal, keys.encode())
        shown, deadline = b"", time.monotonic() + harness.PATIENCE_S
        while end.encode() not in shown:
            if time.monotonic() > deadline:
                raise AssertionError(f"zsh did not print {end!r} after {keys!r}: {shown.decode()}")
            if select.select([self.terminal], [], [], 0.1)[0]:
                shown += os.read(self.terminal, 65536)
        return shown.decode().split(end)[0] + end


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
        def completed(*words):
            quoted = " ".join(f"'{word}'" for word in ("trainctl", *words))
            script = f"source <(trainctl completion bash); COMP_WORDS=({quoted}); COMP_CWORD={len(words)}; _trainctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
            result = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=self.shell_environment(), timeout=harness.PATIENCE_S)
            return result.stdout.split()

        self.assertEqual(completed("val"), ["validate"])
        self.assertEqual(completed("checkpoints", "un"), ["unpin"])
        self.assertIn("--pause-running", completed("drain", "--p"))
        self.assertEqual(completed("ls", "--output", "=", "jsonl"), ["jsonl"])
        self.assertIn(job, completed("explain", ""))
        self.assertEqual(completed("explain", job[:4]), [job])

    def shell_environment(self):
        path = os.path.dirname(harness.program("trainctl")) + ":" + os.environ["PATH"]
        return {**self.world.environment, "PATH": path, "TRAINERD_ADDRESS": self.world.address, "TERM": "dumb", "HOME": self.world.root}

    def test_zsh_completes_the_line(self):
        if shutil.which("zsh") is None:
            self.skipTest("there is no zsh")
        self.world.start()
        job = self.submit(steps=5, extra="suspended: true\n").split("/")[-1]
        folder = os.path.join(self.world.root, "zsh")
        os.makedirs(folder)
        with open(os.path.join(folder, "job file.yaml"), "w"):
            pass
        environment = self.shell_environment()
        # As a user's .zshrc reads it, and as a package installs it.
        functions = os.path.join(folder, "functions")
        os.makedirs(functions)
        with open(os.path.join(functions, "_trainctl"), "w") as file:
            subprocess.run([harness.program("trainctl"), "completion", "zsh"], stdout=file, check=True)
        for setup in ("source <(trainctl completion zsh)", f"fpath=('{functions}' $fpath); compinit -D -u"):
            zsh = Zsh(f"cd '{folder}'; {setup}", environment)
            self.addCleanup(zsh.close)
            for line, expected in (
                    ("trainctl val", "trainctl validate "),
                    ("trainctl checkpoints un", "trainctl checkpoints unpin "),
                    ("trainctl drain --pau", "trainctl drain --pause-running "),
                    ("trainctl ls --output ta", "trainctl ls --output table "),
                    ("trainctl ls --output=ta", "trainctl ls --output=table "),
                    ("trainctl submit job", "trainctl submit job\\ file.yaml "),
                    (f"trainctl explain {job[:6]}", f"trainctl explain {job} "),
                    (f"trainctl explain '{job[:6]}", f"trainctl explain '{job}' "),
                    ("trainctl nonsense un", "trainctl nonsense un")):
                self.assertEqual(zsh.completed(line), expected, setup)

    def test_fish_offers_words_with_their_help(self):
        if shutil.which("fish") is None:
            self.skipTest("there is no fish")
        self.world.start()
        job = self.submit(steps=5, extra="suspended: true\n").split("/")[-1]
        with open(os.path.join(self.world.root, "myjob.yaml"), "w"):
            pass

        def offered(line):
            script = "trainctl completion fish | source; cd $HOME; complete -C $argv[1]"
            result = subprocess.run(["fish", "-N", "-c", script, line], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                    env=self.shell_environment(), timeout=harness.PATIENCE_S)
            self.assertEqual(result.stderr, "", line)
            return [tuple(row.split("\t")) if "\t" in row else (row, "") for row in result.stdout.splitlines()]

        ((word, text),) = offered("trainctl val")
        self.assertEqual(word, "validate")
        self.assertGreater(len(text), 10)
        for line, expected in (
                ("trainctl checkpoints un", "unpin"),
                ("trainctl --addr", "--address"),
                ("trainctl drain --pau", "--pause-running"),
                ("trainctl ls --output ta", "table"),
                ("trainctl ls --output=ta", "--output=table"),
                ("trainctl submit myj", "myjob.yaml"),
                (f"trainctl explain {job[:6]}", job),
                (f"trainctl explain '{job[:6]}", job)):
            self.assertEqual([word for word, _ in offered(line)], [expected], line)
        self.assertEqual(offered("trainctl nonsense un"), [])

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
