# SPDX-License-Identifier: Apache-2.0
"""The power goes at any moment of a scripted day. Each possible state of the disk is given to a real daemon, which must show all that it had acknowledged and
adopt no checkpoint that is not whole. By hand: --all checks every moment in every mode, --states N so many."""

import contextlib
import functools
import json
import os
import random
import sys
import time
import unittest

import disk_states
import harness
from fake_jobs import FakeWorkerTest
from scripted_day import LIBRARY, ScriptedDay, preload

SEED = 16
STATES = 60
# Of these states the jobs run to their end.
COMPLETED = 3
ALL = False


class Observed:
    """What a daemon shows after it has started from a state of the disk."""

    def __init__(self, world):
        self.world = world
        self.jobs = {job["name"]: job for job in self.listed("jobs", "ls")}
        self.checkpoints, self.events = {}, {}
        for checkpoint in self.listed("checkpoints", "checkpoints", "ls"):
            self.checkpoints.setdefault(checkpoint["job"], []).append(checkpoint)
        for line in world.ctl("events", "-o", "jsonl").splitlines():
            event = json.loads(line)
            self.events.setdefault(event["job"], []).append(event)

    @functools.cached_property
    def tokens(self):
        return {token["name"]: token for token in self.listed("tokens", "token", "ls")}

    @functools.cached_property
    def evaluations(self):
        return {evaluation["name"]: evaluation for evaluation in self.listed("evaluations", "evaluations")}

    def listed(self, name, *command):
        return json.loads(self.world.ctl(*command, "-o", "json")).get(name, [])


def permanent(event):
    """Metrics, samples and notices may expire."""
    return not {"metrics", "sample", "notice"} & set(event)


class Checker:
    """Compares what a daemon shows after a cut with what the day had promised until then."""

    def __init__(self, day, recording):
        self.day, self.recording = day, recording
        self.history = {}
        for _, event in day.seen:
            self.history.setdefault(event["job"], []).append(event)
        self.published = self.find_published()

    def find_published(self):
        """[(operation, name of the checkpoint or final model, its files)] as they were published."""
        found = []
        for change in self.recording.names:
            for _, name, node in change.edits:
                if node is not None and node.is_folder and (name.startswith("step-") or name == "final"):
                    files = self.recording.tree(change.at + 1, disk_states.KEPT, None)[id(node)]
                    contents = {file: entry.contents(change.at + 1, disk_states.KEPT, None) for file, entry in files.items()}
                    found.append((change.at, name, contents))
        return found

    def errors(self, cut, observed):
        position = self.recording.positions[cut] if cut < len(self.recording) else float("inf")
        # Acknowledged before the operation that the power interrupted, and not yet changed again.
        lost = [promise.text for promise in self.day.promises if promise.begin <= position <= promise.end and not promise.check(observed)]
        return [f"lost: {text}" for text in lost] + self.wrong_events(position, observed) + self.wrong_checkpoints(cut, observed)

    def wrong_events(self, position, observed):
        wrong = []
        seen = {event["seq"] for at, event in self.day.seen if at <= position}
        for job, events in observed.events.items():
            if job not in observed.jobs:
                continue
            expected = [event for event in self.history.get(job, []) if permanent(event)]
            stored = [event for event in events if permanent(event)]
            same = 0
            while same < min(len(expected), len(stored)) and expected[same] == stored[same]:
                same += 1
            if any(event["seq"] in seen for event in expected[same:]):
                wrong.append(f"an event of {job} that a client had seen is not stored as number {same}")
            changes = [event["state_changed"] for event in stored if "state_changed" in event]
            for before, after in zip(changes, changes[1:]):
                if after.get("from_state") != before["to_state"]:
                    wrong.append(f"{job}: {after} does not continue {before}")
            if changes[-1]["to_state"] != observed.jobs[job]["state"]:
                wrong.append(f"{job} is {observed.jobs[job]['state']}, its last event says {changes[-1]['to_state']}")
        numbers = sorted(int(event["seq"]) for events in observed.events.values() for event in events)
        return wrong + ([f"event numbers were given twice: {numbers}"] if len(set(numbers)) < len(numbers) else [])

    def wrong_checkpoints(self, cut, observed):
        wrong = []
        for job, checkpoints in observed.checkpoints.items():
            for checkpoint in checkpoints:
                if checkpoint.get("verified") and not self.is_published(checkpoint["path"], cut):
                    wrong.append(f"{checkpoint['name']} is verified, and its files are not those that were published")
            names = {checkpoint["name"] for checkpoint in checkpoints if checkpoint.get("verified")}
            latest = observed.jobs.get(job, {}).get("latest_checkpoint")
            if latest and latest not in names:
                wrong.append(f"the resume point {latest} is not a verified checkpoint")
        for name, job in observed.jobs.items():
            if job["state"] in ("PAUSED", "STOPPED") and not job.get("latest_checkpoint"):
                wrong.append(f"{name} is {job['state']} without a resume point")
            if job["state"] == "SUCCEEDED" and not self.is_published(os.path.join(self.day.world.run_dir(name), "final"), cut):
                wrong.append(f"{name} is SUCCEEDED, and final/ is not what was published")
        return wrong

    def is_published(self, path, cut):
        try:
            there = {}
            for name in os.listdir(path):
                with open(os.path.join(path, name), "rb") as file:
                    there[name] = file.read()
        except OSError:
            return False
        return any(at < cut and name == os.path.basename(path) and contents == there for at, name, contents in self.published)


class PowerCutTest(FakeWorkerTest):
    """One recorded day for all tests."""

    @classmethod
    def setUpClass(cls):
        if not os.path.exists(LIBRARY):
            raise unittest.SkipTest(f"{LIBRARY} is not built")
        cls.world = harness.World()
        cls.addClassCleanup(cls.world.close)
        cls.day = ScriptedDay(cls.world)
        cls.day.run()
        # It reads all of /proc again and again; most states start no attempt.
        cls.world.live.done.set()
        cls.recording = disk_states.Recording(cls.day.log, cls.world.state_dir)
        cls.checker = Checker(cls.day, cls.recording)
        cls.unrecorded = disk_states.differences(cls.recording.state(len(cls.recording), disk_states.KEPT), cls.world.state_dir)
        cls.idle_worker = os.path.join(cls.world.root, "idle_worker")
        with open(cls.idle_worker, "w") as file:
            # While devices are not known, no job starts.
            file.write("#!/bin/sh\n[ \"$1\" = devices ] && exec sleep 1000\nexit 1\n")
        os.chmod(cls.idle_worker, 0o755)
        cls.boot_id = os.path.join(cls.world.root, "boot_id")
        with open(cls.boot_id, "w") as file:
            file.write("00000000-0000-4000-8000-000000000000\n")

    def setUp(self):
        pass

    def start_from(self, state, worker):
        """The machine has restarted with this disk."""
        disk_states.write_state(state, self.world.state_dir)
        self.world.settings["worker_path"] = worker
        self.world.daemon_environment = preload(self.world.state_dir, boot_id=self.boot_id)
        self.world.start()

    def errors_after(self, cut, state):
        try:
            self.start_from(state, self.idle_worker)
            return self.checker.errors(cut, Observed(self.world))
        except (AssertionError, harness.Refused) as error:
            return [f"the daemon does not serve: {error}"]
        finally:
            self.world.kill_daemon()

    def cuts(self):
        """(operation, mode): operations after the first acknowledgement; the rare ones, which change names or sync, as often as all together."""
        first = self.recording.operation_at(self.day.promises[0].begin)
        every = range(first, len(self.recording) + 1)
        if ALL:
            return [(cut, mode) for cut in every for mode in disk_states.MODES]
        source = random.Random(SEED)
        rare = [cut for cut in every[:-1] if self.recording.calls[cut][0] != "w"]
        return [(source.choice(rare if number % 2 else every), disk_states.MODES[number // 2 % 4]) for number in range(STATES)]

    def test_the_recording_holds_all_changes(self):
        # The test itself releases jobs that hold.
        self.assertEqual([path for path in self.unrecorded if "/release-" not in path], [])

    def test_what_was_acknowledged_survives_a_cut_at_any_moment(self):
        begun, failures, cuts = time.monotonic(), 0, self.cuts()
        for number, (cut, mode) in enumerate(cuts):
            errors = self.errors_after(cut, self.recording.state(cut, mode))
            if errors:
                failures += 1
                print(f"cut {cut}, {mode}, before {self.recording.calls[cut] if cut < len(self.recording) else 'nothing'}: {errors}", flush=True)
            if number % 500 == 499:
                print(f"{number + 1} of {len(cuts)} states, {time.monotonic() - begun:.0f} s", flush=True)
        print(f"{len(cuts)} states at {len({cut for cut, _ in cuts})} of {len(self.recording)} operations; {len(self.day.promises)} promises", flush=True)
        self.assertEqual(failures, 0)

    def test_jobs_end_after_a_cut_as_if_it_had_not_happened(self):
        source = random.Random(SEED)
        first = self.recording.operation_at(self.day.promises[0].begin)
        self.world.live = harness.LiveAttempts(self.world.runs_dir)
        self.world.live.start()
        for _ in range(COMPLETED):
            cut = source.randrange(first, len(self.recording))
            with self.subTest(cut=cut):
                self.start_from(self.recording.state(cut, disk_states.TORN), os.path.abspath(harness.FAKE_WORKER))
                try:
                    self.complete({job["name"]: job["config"]["name"] for job in json.loads(self.world.ctl("ls", "-o", "json"))["jobs"]})
                finally:
                    self.world.kill_daemon()
                    harness.kill_all([pid for pid, _, _ in harness.attempt_processes(self.world.runs_dir)])

    def complete(self, jobs):
        """`jobs`: name → display name."""
        def ended():
            for job in jobs:
                for step in self.day.holds:
                    with contextlib.suppress(FileNotFoundError):
                        self.world.release(job, step)
            got = [self.world.get(job) for job in jobs]
            for job in got:
                if job["state"] == "PAUSED" or job.get("wait_reason") == "HELD":
                    self.world.run("resume", job["name"])
            return got if all(job["state"] in harness.TERMINAL for job in got) else None
        for job in harness.wait_for(ended, f"the end of {jobs}", patience=2 * harness.PATIENCE_S):
            if job["state"] != "STOPPED" or job["desired_state"] != "DESIRED_STOP":
                self.check_like_uninterrupted(job["name"], self.day.steps[jobs[job["name"]]])

    def test_without_fsync_the_check_reports_lost_submits(self):
        unsynced = disk_states.Recording(self.day.log, self.world.state_dir, syncs=False)
        errors = self.errors_after(len(unsynced), unsynced.state(len(unsynced), disk_states.LOST))
        self.assertIn("lost: submit of held", errors)

    def test_a_checkpoint_that_is_not_whole_is_reported(self):
        state = self.recording.state(len(self.recording), disk_states.KEPT)
        weights = max(path for path in state if "/checkpoints/step-" in path and path.endswith("/model.safetensors"))
        state[weights] = state[weights][:-1] + b"?"
        errors = self.errors_after(len(self.recording), state)
        self.assertTrue(any("its files are not those that were published" in error for error in errors), errors)


if __name__ == "__main__":
    if "--all" in sys.argv:
        sys.argv.remove("--all")
        ALL = True
    if "--states" in sys.argv:
        at = sys.argv.index("--states")
        STATES = int(sys.argv[at + 1])
        del sys.argv[at:at + 2]
    unittest.main(verbosity=2)
