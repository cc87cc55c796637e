# SPDX-License-Identifier: Apache-2.0
"""The driver of tests/soak.sh. In the first third of the time every process is killed, the daemon too. Then the daemon stays, and after a warm-up its RSS,
descriptors and threads are compared with those at the end, at most three times. The clients pause while the daemon is measured."""

import argparse
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

import harness
from fake_jobs import write_job

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
CLIENT_PROCESSES, CLIENTS_EACH, READERS = 4, 5, 5
FULL_DISK_SECONDS = 10
# Shutdown takes at most 5 s; the rest is for a machine that runs other tests too.
STOP_SECONDS = 15
DISK_BYTES = 512 << 20
TOLERANCE = 0.05
# A short soak can end before what the daemon keeps has reached its limits. So a change is a problem only if it continues: the next round, as long as the
# one before, begins where that one ended.
ROUNDS = 3
EVENTS_IN_MEMORY = 17_000


def make_client_code(folder):
    """Code generated from the protos, and the client program beside it."""
    subprocess.run([os.path.join(ROOT, "deploy", "package", "copy_clients.sh"), folder + "/share"], check=True)
    protos = folder + "/share/proto"
    files = [f"{protos}/trainerd/v1/{name}" for name in os.listdir(protos + "/trainerd/v1")]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", "-I", protos, f"--python_out={folder}", f"--grpc_python_out={folder}", *files], check=True)
    shutil.copy(os.path.join(HERE, "client.py"), folder)


class Soak:

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.root = tempfile.mkdtemp(prefix="trainerd-soak-")
        self.state = os.path.join(self.root, "state")
        os.mkdir(self.state)
        self.mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", self.state], capture_output=True).returncode == 0
        self.world = harness.World(root=self.root, state_dir=self.state, settings={"retry_backoff": "0.1s", "retry_backoff_max": "1s"})
        write_job(self.root)
        self.code = os.path.join(self.root, "code")
        os.mkdir(self.code)
        make_client_code(self.code)
        self.clients, self.readers = {}, []
        self.kills = {}
        self.log_path = os.path.join(self.root, "clients.log")
        self.problems = []

    # ------------------------------------------------------------ processes
    def start_client(self, number):
        with open(self.log_path, "a") as log:
            self.clients[number] = subprocess.Popen(
                [sys.executable, "client.py", self.world.address, self.root, str(self.random.randrange(10**6)), str(CLIENTS_EACH)],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.code)

    def start_clients(self):
        for number in range(CLIENT_PROCESSES):
            self.start_client(number)

    def stop_clients(self):
        for client in self.clients.values():
            if client.poll() not in (None, -9):
                self.problems.append(f"a client process has ended with {client.returncode}")
            client.kill()
            client.wait()
        self.clients = {}

    def start_readers(self):
        """Watchers that have stopped: suspended after their first message."""
        self.stop_readers()
        for _ in range(READERS):
            self.readers.append(subprocess.Popen([sys.executable, "client.py", "reader", self.world.address], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, cwd=self.code))

    def stop_readers(self):
        for reader in self.readers:
            reader.kill()
            reader.wait()
        self.readers = []

    def stop_daemon(self):
        """SIGTERM, with clients in the middle of their calls and readers that have stopped."""
        begin = time.monotonic()
        code = self.world.stop_daemon()
        seconds = time.monotonic() - begin
        if code != 0 or seconds > STOP_SECONDS:
            self.problems.append(f"the daemon ended {seconds:.1f} s after SIGTERM, with exit code {code}")

    def kill_one(self, with_daemon):
        """Kills a process of a random kind, if there is one."""
        kind = self.random.choice(["worker", "worker", "shim", "client"] + ["daemon", "daemon stopped"] * with_daemon)
        if kind in ("daemon", "daemon stopped"):
            if kind == "daemon":
                self.world.kill_daemon()
            else:
                self.stop_daemon()
            time.sleep(self.random.choice([0, 0.5, 2]))
            self.world.start()
            self.start_readers()
        elif kind == "client":
            number = self.random.choice(sorted(self.clients))
            self.clients[number].kill()
            self.clients[number].wait()
            self.start_client(number)
        else:
            found = [pid for pid, of, _ in harness.attempt_processes(self.world.runs_dir) if of == kind]
            if not found:
                return
            harness.kill_all([self.random.choice(found)])
        self.kills[kind] = self.kills.get(kind, 0) + 1

    # ------------------------------------------------------------ the phases
    def run_for(self, seconds, with_daemon=False, full_disk=False):
        end = time.monotonic() + seconds
        fill_at = time.monotonic() + seconds / 3 if full_disk and self.mounted else float("inf")
        self.start_clients()
        self.start_readers()
        while time.monotonic() < end:
            time.sleep(self.random.uniform(0.5, 4))
            if self.world.daemon.poll() is not None:
                raise AssertionError(f"the daemon has ended with {self.world.daemon.returncode}: {self.world.daemon_log()[-3000:]}")
            if time.monotonic() > fill_at:
                fill_at = float("inf")
                self.fill_disk()
            self.kill_one(with_daemon)
        self.stop_clients()

    def fill_disk(self):
        filler = os.path.join(self.state, "filler")
        end = time.monotonic() + FULL_DISK_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError), open(filler, "ab", buffering=0) as file:
                while file.write(b"\0" * (1 << 16)) > 0:
                    pass
            time.sleep(0.1)
        os.remove(filler)
        self.kills["full disk"] = self.kills.get("full disk", 0) + 1

    def fill_event_log(self):
        """The daemon keeps the newest events in memory, up to a limit that the warm-up would not reach."""
        job = self.world.submit(write_job(self.root, name="filler", steps=EVENTS_IN_MEMORY, step_ms=0, every=0))
        harness.wait_for(lambda: self.world.state(job) in harness.TERMINAL, "a long job to end", 300)

    def read_at_once(self):
        """The daemon keeps up to 8 connections to its database, which the warm-up opens only if as many calls meet."""
        burst = [subprocess.Popen([sys.executable, "client.py", "burst", self.world.address], cwd=self.code) for _ in range(2)]
        for process in burst:
            process.wait()

    def settle(self):
        """Ends all jobs, so that the daemon has nothing to do."""
        def all_ended():
            listed = json.loads(self.world.ctl("ls", "-o", "json"))
            jobs = listed.get("jobs", []) if isinstance(listed, dict) else listed
            open_jobs = [job["name"] for job in jobs if job["state"] not in harness.TERMINAL]
            for name in open_jobs:
                self.world.run("stop", name, "--discard")
            return not open_jobs
        harness.wait_for(all_ended, "all jobs to end")
        time.sleep(3)

    def measure(self):
        pid = self.world.daemon.pid
        with open(f"/proc/{pid}/status") as file:
            fields = dict(line.split(":", 1) for line in file)
        return {"RSS (KiB)": int(fields["VmRSS"].split()[0]), "descriptors": len(os.listdir(f"/proc/{pid}/fd")), "threads": int(fields["Threads"])}

    def compare(self, before, after):
        """Prints both measurements. Returns what changed by more than TOLERANCE."""
        changed = []
        for what, value in before.items():
            change = (after[what] - value) / value
            print(f"{what}: {value} after the warm-up, {after[what]} at the end ({change:+.1%})", flush=True)
            if abs(change) > TOLERANCE:
                changed.append(f"{what} changed by {change:+.1%}")
        return changed

    def check_events(self):
        listed = json.loads(self.world.ctl("ls", "-o", "json"))
        jobs = [job["name"] for job in (listed.get("jobs", []) if isinstance(listed, dict) else listed)]
        for name in jobs:
            try:
                harness.check_events(self.world.events(name))
            except AssertionError as error:
                self.problems.append(f"{name}: {error}")
        return len(jobs)

    def run(self, seconds):
        self.world.start()
        self.run_for(seconds / 3, with_daemon=True)
        self.world.kill_daemon()
        self.world.start()
        self.fill_event_log()
        self.run_for(seconds * 0.3)
        self.read_at_once()
        self.settle()
        changed = []
        for number in range(ROUNDS):
            before = self.measure()
            self.run_for(seconds - seconds / 3 - seconds * 0.3, full_disk=number == 0)
            self.settle()
            changed = self.compare(before, self.measure())
            if not changed:
                break
        self.problems += changed
        checked = self.check_events()
        if os.path.exists(self.log_path):
            with open(self.log_path) as file:
                self.problems += [line.strip() for line in file if line.startswith("client")]
        self.problems += [f"two attempts lived together: {found}" for found in self.world.live.violations]
        print(f"kills: {json.dumps(self.kills)}; event checks of {checked} jobs")
        if not self.mounted:
            print("no full disk: a tmpfs cannot be mounted here")
        for problem in self.problems[:50]:
            print("PROBLEM:", problem)
        return 1 if self.problems else 0

    def close(self, keep_log):
        self.stop_clients()
        self.stop_readers()
        if keep_log:
            print(f"---- trainerd's log\n{self.world.daemon_log()[-4000:]}\n----")
        self.world.close()
        if self.mounted:
            subprocess.run(["umount", "-l", self.state])
        shutil.rmtree(self.root, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1800)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    print(f"soak for {options.seconds:.0f} s with seed {options.seed}", flush=True)
    soak = Soak(options.seed)
    failed = True
    try:
        failed = soak.run(options.seconds) != 0
    finally:
        soak.close(keep_log=failed)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
