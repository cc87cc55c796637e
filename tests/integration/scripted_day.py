# SPDX-License-Identifier: Apache-2.0
"""A scripted day of operation whose disk is recorded, and what its clients were promised: each promise holds from the size that the recording had when the daemon
acknowledged it, until the size at which a later command began to change that again."""

import json
import os
import signal
import subprocess
import threading

import harness
from fake_jobs import write_job

LIBRARY = os.environ.get("TRAINERD_DISK_CALLS", os.path.join(os.path.dirname(harness.FAKE_WORKER), "libdisk_calls.so"))


def preload(state_dir, **settings):
    """The environment of programs whose disk is that library's; settings: log, fault, boot_id."""
    return {"LD_PRELOAD": LIBRARY, "TRAINERD_DISK_ROOT": state_dir, **{f"TRAINERD_DISK_{key.upper()}": value for key, value in settings.items()}}


class Promise:
    """`check` gets what a restarted daemon shows (power_cut_test.Observed) and returns whether the promise is kept. It ends with its job, if it is about one."""

    def __init__(self, text, job, begin, check):
        self.text, self.job, self.begin, self.end, self.check = text, job, begin, float("inf"), check


class SeenEvents(threading.Thread):
    """What a watcher of all jobs has seen: (size of the recording when it arrived, event)."""

    def __init__(self, day):
        super().__init__(daemon=True)
        self.day, self.seen = day, []
        self.process = subprocess.Popen(
            [harness.program("trainctl"), "--address", day.world.address, "watch", "--after", "begin", "-o", "jsonl"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, text=True, env=day.world.environment)

    def run(self):
        for line in self.process.stdout:
            self.seen.append((self.day.position(), json.loads(line)))

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.join()
        self.process.stdout.close()


class ScriptedDay:

    def __init__(self, world):
        self.world = world
        self.log = os.path.join(world.root, "disk.log")
        self.promises, self.seen = [], []
        self.steps = {}  # display name → steps
        self.holds = (12, 24, 25, 32)
        world.daemon_environment = preload(world.state_dir, log=self.log)

    def position(self):
        """The size of the recording now."""
        return os.path.getsize(self.log)

    def json(self, *arguments):
        return json.loads(self.world.ctl(*arguments, "-o", "json"))

    def promise(self, text, check, job=None):
        self.promises.append(Promise(text, job, self.position(), check))
        return self.promises[-1]

    # ------------------------------------------------------------ commands, each with its promise
    def submit(self, name, *arguments, **job):
        path = write_job(self.world.root, name=name, **job)
        request = "request-" + name
        self.steps[name] = job["steps"]
        job = self.json("submit", path, "--no-validate", "--request-id", request, *arguments)["name"]
        self.promise(f"submit of {name}", lambda o: job in o.jobs, job)
        return job

    def of_job(self, text, job, check, *command):
        """A command on a job that exists."""
        self.world.ctl(*command)
        return self.promise(f"{text} of {job}", lambda o: job in o.jobs and check(o.jobs[job]), job)

    def update(self, job, key, value, check):
        return self.of_job(f"update {key}={value}", job, check, "update", job, f"{key}={value}")

    def delete(self, job):
        begun = self.position()
        self.world.ctl("rm", job)
        for promise in self.promises:
            if promise.job == job:
                promise.end = min(promise.end, begun)
        self.promise(f"deletion of {job}", lambda o: job not in o.jobs)

    def token(self, principal):
        name = self.json("token", "create", principal, "--role", "operator")["token"]["name"]
        self.promise(f"creation of {name}", lambda o: name in o.tokens)
        return name

    def revoke(self, name):
        self.world.ctl("token", "revoke", name)
        self.promise(f"revocation of {name}", lambda o: "revoke_time" in o.tokens.get(name, {}))

    def wait_state(self, job, *states):
        """What a client has seen does not go back: a terminal state is final, PAUSED lasts until Resume."""
        got = self.world.wait_state(job, *states)
        if got["state"] in harness.TERMINAL:
            self.promise(f"{got['state']} of {job}", lambda o: o.jobs.get(job, {}).get("state") == got["state"], job)
        return got

    # ------------------------------------------------------------ the day
    def run(self):
        self.world.start()
        watcher = SeenEvents(self)
        watcher.start()
        self.token("kim")
        revoked = self.token("lee")
        first = self.submit("first", steps=60, every=10, hold_at=25)
        self.update(first, "priority", 5, lambda job: job["config"].get("priority") == 5)
        self.pause_and_resume(first)
        evaluated = self.submit("evaluated", steps=50, every=15, hold_at=32,
                                extra="evaluation: {remote: [{name: q, suite: s, when: {every_steps: 1, at_end: false}}]}\n")
        held = self.submit("held", "--suspended", steps=20, every=10)
        self.update(held, "labels.shift", "night", lambda job: job["config"]["labels"].get("shift") == "night")
        self.world.release(first, 25)
        self.wait_state(first, "SUCCEEDED")
        self.revoke(revoked)
        self.evaluate_and_kill(evaluated)
        self.drain_restart_and_stop()
        self.delete(first)
        self.of_job("resume", held, lambda job: job["state"] != "QUEUED" or job.get("wait_reason") != "HELD", "resume", held)
        self.wait_state(held, "SUCCEEDED")
        self.wait_deleted(first)
        harness.wait_for(lambda: not harness.attempt_processes(self.world.runs_dir), "the attempts to end")
        self.world.stop_daemon()
        watcher.stop()
        self.seen = watcher.seen

    def pause_and_resume(self, job):
        self.world.wait_step(job, 25)
        paused = self.of_job("pause", job, lambda job: job["desired_state"] == "DESIRED_PAUSE", "pause", job)
        self.world.wait_state(job, "PAUSED")
        seen = self.promise(f"PAUSED of {job}", lambda o: o.jobs.get(job, {}).get("state") == "PAUSED", job)
        pinned = self.world.checkpoints(job)[-1]["name"]
        self.world.ctl("checkpoints", "pin", pinned)
        self.promise(f"pin of {pinned}", lambda o: any(c["name"] == pinned and c.get("pinned") for c in o.checkpoints.get(job, [])), job)
        paused.end = seen.end = self.position()
        self.of_job("resume", job, lambda job: job["desired_state"] == "DESIRED_RUN", "resume", job)

    def evaluate_and_kill(self, job):
        self.world.wait_step(job, 32)
        name = self.json("evaluate", "--worker", "--suite", "s", "--once", "--command", """echo '{"acc": {"value": 0.5, "sample_count": 100}}'""")["name"]
        self.promise(f"result of {name}", lambda o: o.evaluations.get(name, {}).get("state") == "COMPLETED", job)
        self.world.kill_daemon()
        harness.kill_all([self.world.wait_process(job, "worker")], signal.SIGKILL)
        self.world.start()
        self.world.release(job, 32)
        self.wait_state(job, "SUCCEEDED")

    def drain_restart_and_stop(self):
        job = self.submit("stopped", steps=400, every=10, hold_at="12,24")
        self.world.wait_step(job, 12)
        self.world.ctl("drain", "--pause-running", "--wait")
        self.world.stop_daemon()
        self.world.start()
        self.world.release(job, 12)
        self.world.wait_step(job, 24)
        self.of_job("stop", job, lambda job: job["desired_state"] == "DESIRED_STOP", "stop", job)
        self.wait_state(job, "STOPPED")

    def wait_deleted(self, job):
        harness.wait_for(lambda: not os.path.exists(self.world.run_dir(job)), f"the files of {job} to be removed")
