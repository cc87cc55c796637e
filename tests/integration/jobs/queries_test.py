# SPDX-License-Identifier: Apache-2.0
"""Lists with filters, events, curves, label selectors of watches, sweeps and comparisons, against a real daemon that is killed on the way."""

import json
import os
import sqlite3
import subprocess
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job


class QueriesTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def json(self, *arguments):
        return json.loads(self.world.ctl(*arguments, "-o", "json"))

    def names(self, *arguments):
        return [job["config"]["name"] for job in self.json("ls", *arguments)["jobs"]]

    def refused(self, *arguments):
        with self.assertRaises(harness.Refused) as refused:
            self.world.ctl(*arguments)
        return refused.exception

    def held(self, name, **labels):
        """A job that waits, with these labels besides those of the fake worker."""
        job = self.submit(name=name, steps=5, extra="suspended: true\n")
        if labels:
            self.world.ctl("update", job, *(f"labels.{key}={value}" for key, value in labels.items()))
        return job

    def database(self, sql, *values):
        with sqlite3.connect(f"file:{os.path.join(self.world.state_dir, 'trainerd.db')}?mode=ro", uri=True) as db:
            return db.execute(sql, values).fetchone()[0]

    def test_ls_filters_orders_and_survives_a_kill(self):
        self.held("run-1", team="blue", tier=1)
        self.held("run-2", team="red")
        self.held("other")
        self.world.ctl("update", "other", "priority=5")
        self.world.restart_after_kill()
        for selector, expected in (("team=blue", ["run-1"]), ("team != blue", ["other", "run-2"]), ("team in (blue, red), !tier", ["run-2"]),
                                   ("!team", ["other"]), ("team notin (red)", ["other", "run-1"]), ('team = "blue"', ["run-1"])):
            self.assertEqual(self.names("--selector", selector), expected, selector)
        self.assertEqual(self.names("--name", "run-*", "--order", "create_time"), ["run-1", "run-2"])
        self.assertEqual(self.names("--order", "priority desc"), ["other", "run-2", "run-1"])
        self.assertEqual(self.names("--since", "1h", "--state", "QUEUED", "--name", "other"), ["other"])
        self.assertEqual(self.names("--since", "2030-01-01"), [])
        wrong = self.refused("ls", "--selector", "team ~ blue")
        self.assertEqual(wrong.code, 2)
        self.assertIn("label_selector", wrong.stderr)

    def test_events_are_listed_page_by_page(self):
        job = self.submit(name="job", steps=700, step_ms=0)
        self.world.wait_state(job, "SUCCEEDED")
        listed = self.json("events", job)
        self.assertEqual([event["seq"] for event in listed["events"]], [event["seq"] for event in self.world.events(job)])
        self.assertGreater(len(listed["events"]), 700)
        newest = self.json("events", job, "--newest-first", "--limit", "1")["events"]
        self.assertEqual(newest[0]["seq"], listed["events"][-1]["seq"])
        states = self.json("events", "--type", "state_changed", "--type", "checkpoint")["events"]
        self.assertEqual(states[0]["state_changed"]["to_state"], "QUEUED")
        self.assertTrue(all("state_changed" in event or "checkpoint" in event for event in states))
        # What happens after the list arrives from its cursor on.
        after = self.submit(name="after", steps=2)
        self.world.wait_state(after, "SUCCEEDED")
        events = [json.loads(line) for line in self.world.run("watch", after, "--after", listed["cursor"], "-o", "jsonl").stdout.splitlines()]
        self.assertEqual(events[0]["state_changed"]["to_state"], "QUEUED")

    def losses(self, job, *arguments):
        series = self.json("metrics", job, "--metric", "loss", "--points", "10000", *arguments)["series"]
        return dict(zip(series[0]["steps"], series[0]["last"])) if series else {}

    def test_curves_stay_the_same_over_kills_and_the_expiry_of_events(self):
        steps = 4000
        job = self.submit(name="long", steps=steps, step_ms=0, every=1500)
        self.world.wait_step(job, 1200)
        for _ in range(3):
            self.world.restart_after_kill()
        self.world.wait_state(job, "SUCCEEDED")
        expected = {}
        for event in self.world.events(job):
            if "metrics" in event:
                expected[int(event["metrics"]["step"])] = event["metrics"]["loss"]
        self.assertEqual(len(expected), steps)
        self.assertEqual(self.losses(job), expected)
        harness.wait_for(lambda: self.database("SELECT count(*) FROM metric_jobs WHERE complete = 1"), "the columns of the job")
        self.assertEqual(self.losses(job), expected)
        reduced = self.json("metrics", job, "--metric", "loss", "--points", "10")
        series = reduced["series"][0]
        self.assertLessEqual(len(series["steps"]), 10)
        self.assertEqual(series["last"], [expected[step] for step in series["steps"]])
        self.assertEqual(min(series["min"]), min(expected.values()))
        self.assertEqual(max(series["max"]), max(expected.values()))
        # metrics_retention removes the events; the curve stays.
        self.world.stop_daemon()
        self.world.settings["metrics_retention"] = "0s"
        self.world.start()
        harness.wait_for(lambda: self.database("SELECT count(*) FROM events WHERE type = 11") == 0, "the expiry of the events")
        self.assertEqual(self.losses(job), expected)
        self.world.restart_after_kill()
        self.assertEqual(self.losses(job), expected)
        self.assertEqual(self.losses(job, "--from-step", "1000", "--to-step", "1010"), {step: expected[step] for step in range(1000, 1011)})
        lines = self.world.ctl("metrics", job, "--metric", "loss", "--csv", "--points", "10000").splitlines()
        self.assertEqual(float(lines[-1].split(",")[2]), expected[steps])
        self.world.ctl("rm", job)
        harness.wait_for(lambda: self.database("SELECT count(*) FROM metric_chunks") == 0, "the columns of the deleted job to be removed")

    def test_watch_selector_follows_changes_of_labels(self):
        first = self.held("first", team="blue")
        second = self.held("second")
        path = os.path.join(self.world.root, "selected.jsonl")
        with open(path, "w") as out:
            watch = subprocess.Popen([harness.program("trainctl"), "--address", self.world.address, "watch", "--selector", "team = blue",
                                      "-o", "jsonl", "--after", self.world.get(second)["cursor"]], stdout=out, stdin=subprocess.DEVNULL,
                                     env=self.world.environment)
        self.addCleanup(watch.wait)
        self.addCleanup(watch.kill)

        def seen():
            with open(path) as file:
                return [(event["job"], next(key for key in event if key not in ("seq", "job", "attempt", "time")))
                        for event in map(json.loads, (line for line in file.read().split("\n")[:-1]))]
        self.world.ctl("update", first, "labels.x=1")
        self.world.ctl("update", second, "labels.x=1")
        self.world.ctl("update", second, "labels.team=blue")
        self.world.restart_after_kill()
        self.world.ctl("update", first, "labels.team=red")
        self.world.ctl("update", first, "labels.team=green")
        self.world.ctl("stop", second)
        expected = [(first, "job_updated"), (second, "job_updated"), (first, "job_updated"), (second, "state_changed")]
        harness.wait_for(lambda: len(seen()) >= len(expected), "the events of matching jobs")
        self.world.ctl("stop", first)
        self.world.ctl("update", second, "labels.team=none")
        expected.append((second, "job_updated"))
        harness.wait_for(lambda: len(seen()) >= len(expected), "the last event of the second job")
        self.assertEqual(seen(), expected)

    def test_sweep_makes_one_group_once_and_compare_finds_the_best(self):
        job_file = write_job(self.world.root, name="base", steps=30, step_ms=0)
        sweep = ("submit", job_file, "--no-validate", "--sweep", "optimizer.learning_rate=1e-5,2e-5", "--sweep", "train.seed=1,2",
                 "--request-id", "sweep-1", "--group", "g 1")
        planned = self.json(*sweep, "--dry-run")["jobs"]
        self.assertEqual(len(planned), 4)
        self.assertEqual(self.names(), [])
        first = [job["name"] for job in self.json(*sweep)["jobs"]]
        self.world.restart_after_kill()
        self.assertEqual([job["name"] for job in self.json(*sweep)["jobs"]], first)
        self.assertEqual(sorted(self.names("--group", "g 1")), sorted(job["config"]["name"] for job in planned))
        self.assertEqual(len(self.names()), 4)
        for job in first:
            self.world.wait_state(job, "SUCCEEDED")
        compared = self.json("compare", "--group", "g 1", "--metric", "loss")
        self.assertEqual(compared["keys"], ["optimizer.learning_rate", "train.seed"])
        self.assertEqual([job["name"] for job in compared["jobs"]], first)
        best = min(compared["jobs"], key=lambda job: job["best"])
        self.assertEqual(next(job["best"] for job in compared["jobs"] if job["name"] == compared["best"]), best["best"])
        self.assertEqual([job["config"]["train.seed"] for job in compared["jobs"]], [1, 2, 1, 2])
        self.assertIn("best: " + compared["best"], self.world.ctl("compare", *first, "--metric", "loss"))
        # One combination that the daemon refuses: nothing is submitted.
        wrong = self.refused("submit", job_file, "--no-validate", "--sweep", "optimizer.learning_rate=1e-5,-1")
        self.assertEqual(wrong.code, 2)
        self.assertEqual(len(self.names()), 4)


if __name__ == "__main__":
    unittest.main()
