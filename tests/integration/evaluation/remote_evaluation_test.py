# SPDX-License-Identifier: Apache-2.0
"""Remote evaluation through trainctl: triggers in the job file, requests by hand, results, regressions, and what an open evaluation holds. The daemon is
killed between the steps."""

import json
import os
import subprocess
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job

KINDS = {"TRIGGERED": 0, "LEASED": 1, "COMPLETED": 2, "FAILED": 2, "EXPIRED": 2, "CANCELLED": 2}


def metric(value, samples=10_000):
    """A command that prints this value of acc."""
    return f"""echo '{{"acc": {{"value": {value}, "sample_count": {samples}}}}}'"""


class RemoteEvaluationTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.world.start()

    def evaluations(self, job, *arguments):
        return json.loads(self.world.ctl("evaluations", job, "-o", "json", *arguments))["evaluations"]

    def state(self, name):
        return {e["name"]: e["state"] for e in self.evaluations(name.split("/evaluations/")[0])}[name]

    def work(self, command, suite="s", code=0):
        """Lets a worker do the next evaluation; returns it as it has ended."""
        result = self.world.run("evaluate", "--worker", "--suite", suite, "--command", command, "--once", "-o", "json")
        self.assertEqual(result.returncode, code, result.stderr)
        return json.loads(result.stdout)

    def check_events(self, job):
        """Each state of an evaluation is one event, the last one terminal."""
        states = {}
        for event in harness.of_kind(self.world.events(job), "remote_eval"):
            evaluation = event["remote_eval"]["evaluation"]
            states.setdefault(evaluation["name"], []).append(evaluation["state"])
        for name, seen in states.items():
            self.assertEqual(seen[0], "TRIGGERED", name)
            self.assertEqual(len(seen), len(set(seen)), name)
            self.assertEqual([KINDS[state] for state in seen], sorted({KINDS[state] for state in seen}), name)
        return states

    def test_a_required_evaluation_holds_the_end_of_the_job_without_its_device(self):
        job = self.submit(name="waits", steps=10, extra="evaluation: {remote: [{name: q, suite: s, required: true}, {name: o, suite: other}]}\n")
        waiting = harness.wait_for(lambda: [c for c in self.world.get(job).get("conditions", []) if c["type"] == "AwaitingEvaluation"],
                                   "the job to await its evaluation")
        self.assertTrue(waiting[0]["active"])
        got = self.world.get(job)
        self.assertEqual(got["state"], "RUNNING")
        self.assertFalse(got.get("devices"))
        self.assertIn("awaits the evaluation", self.world.ctl("explain", job))
        # Another job uses the device meanwhile.
        other = self.submit(name="other", steps=10)
        self.world.wait_state(other, "SUCCEEDED")
        self.world.restart_after_kill()
        self.assertEqual(self.world.state(job), "RUNNING")
        self.world.ctl("pause", job)
        self.assertEqual(self.world.state(job), "RUNNING")
        ended = self.work('test -f {checkpoint}/model.safetensors && ' + metric(0.5))
        self.assertEqual((ended["name"], ended["state"], ended["required"]), (f"{job}/evaluations/q-final", "COMPLETED", True))
        self.world.wait_state(job, "SUCCEEDED")
        harness.check_whole_run(self.world.events(job), 10)
        self.assertEqual(self.check_events(job)[f"{job}/evaluations/q-final"], ["TRIGGERED", "LEASED", "COMPLETED"])
        # The other evaluation can follow the end of the job.
        self.assertEqual(self.work(metric(1), suite="other")["state"], "COMPLETED")

    def test_commands_end_the_wait(self):
        extra = "evaluation: {remote: [{name: q, suite: s, required: true}]}\n"
        for arguments, state in ((["stop"], "SUCCEEDED"), (["stop", "--discard"], "CANCELLED"), (["evaluations", "cancel"], "SUCCEEDED")):
            job = self.submit(name="waits", steps=5, extra=extra)
            harness.wait_for(lambda: self.evaluations(job), "its evaluation")
            target = f"{job}/evaluations/q-final" if "cancel" in arguments else job
            self.world.ctl(*arguments, target)
            self.assertEqual(self.world.state(job), state)
            self.check_events(job)

    def test_results_are_metrics_and_a_worse_one_raises_an_alert_that_respects_the_samples(self):
        job = self.submit(name="worse", steps=100, every=25, hold_at=90,
                          extra="evaluation: {remote: [{name: q, suite: s, when: {every_steps: 1, at_end: false}}]}\n")
        harness.wait_for(lambda: len(self.evaluations(job)) == 3, "three checkpoints to be triggered")
        # keep_last is 2: the oldest one is held by its evaluation.
        self.assertEqual(len(self.world.checkpoints(job)), 3)
        self.assertEqual(self.work(metric(0.80))["step"], 25)
        self.world.restart_after_kill()
        self.work(metric(0.70, samples=20))
        self.assertEqual(self.world.get(job).get("alerts", []), [], "20 samples are too few")
        self.work(metric(0.70))
        alert, = self.world.get(job)["alerts"]
        self.assertEqual((alert["type"], alert["active"], alert["step"], alert["value"]), ("evaluation_regression", True, 75, 0.7))
        self.assertIn("remote.q.acc", alert["message"])
        harness.wait_for(lambda: len(self.world.checkpoints(job)) == 2, "the oldest checkpoint to be removed")
        self.world.release(job, 90)
        self.world.wait_state(job, "SUCCEEDED")
        self.work(metric(0.82))
        self.assertFalse(self.world.get(job)["alerts"][0].get("active"))
        self.check_events(job)

    def test_a_result_decides_which_checkpoint_is_best_and_kept(self):
        job = self.submit(name="best", steps=100, every=25, hold_at=90,
                          extra="evaluation: {best: {metric: remote.q.acc}, remote: [{name: q, suite: s, when: {every_steps: 1, at_end: false}}]}\n")
        harness.wait_for(lambda: len(self.evaluations(job)) == 3, "three checkpoints to be triggered")
        # The entries can change while the job runs.
        self.world.ctl("update", job, "evaluation.remote=[{name: q, suite: later, when: {every_steps: 1}}]")
        for value in (0.80, 0.70, 0.60):
            self.work(metric(value))
        got = self.world.get(job)
        self.assertTrue(got["best_checkpoint"].endswith("/step-00000025-a1"), got["best_checkpoint"])
        self.assertEqual(got["best_value"], 0.8)
        self.world.release(job, 90)
        self.world.wait_state(job, "SUCCEEDED")
        self.assertIn(got["best_checkpoint"], [c["name"] for c in self.world.checkpoints(job)], "keep_last is 2, and the best one is kept")
        best, = [c for c in self.world.checkpoints(job) if c["name"] == got["best_checkpoint"]]
        self.assertEqual([m["value"] for m in best["metrics"] if m["name"] == "remote.q.acc"], [0.8])
        self.assertEqual(self.work(metric(0.9), suite="later")["suite"], "later")

    def test_requests_by_hand(self):
        job = self.submit(name="by-hand", steps=50, every=25, extra="evaluation: {remote: [{name: q, suite: s, params: {n: '1'}, when: {at_end: false, at_start: true}}]}\n")
        self.world.wait_state(job, "SUCCEEDED")
        newest = self.world.checkpoints(job)[0]["name"]
        for target, entry, model in ((job, "x", f"{job}/final"), (f"{job}/start", "x", f"{job}/start"), (newest, "x", newest)):
            made = json.loads(self.world.ctl("evaluate", target, "--suite", entry, "--param", "a=b c", "--deadline", "1h", "-o", "json"))
            self.assertEqual((made["model"], made["state"], made["params"]), (model, "TRIGGERED", {"a": "b c"}))
        again = json.loads(self.world.ctl("evaluate", job, "--suite", "x", "-o", "json"))
        self.assertTrue(again["name"].endswith("/x-final.2"), again["name"])
        from_entry = json.loads(self.world.ctl("evaluate", job, "--entry", "q", "--param", "m=2", "-o", "json"))
        self.assertEqual((from_entry["suite"], from_entry["params"]), ("s", {"n": "1", "m": "2"}))
        seen = self.work('printf \'{"step": %s, "json": %s}\' {step} "$(printf %s {params} | wc -c)"', suite="x")
        self.assertEqual([m["value"] for m in seen["metrics"]], [50, len('{"a":"b c"}')])
        self.world.ctl("evaluations", "cancel", again["name"], "--reason", "not needed")
        self.assertEqual(self.state(again["name"]), "CANCELLED")
        self.world.ctl("evaluations", "cancel", again["name"])
        self.assertEqual([e["name"] for e in self.evaluations(job, "--state", "cancelled")], [again["name"]])
        self.assertIn("CANCELLED", self.world.ctl("evaluations", job))
        for arguments, code in ((["evaluate", job], 2), (["evaluate", f"{job}/checkpoints/none", "--suite", "x"], 6), (["evaluate", job, "--entry", "none"], 2),
                                (["evaluate", "--worker", "--suite", "x"], 2), (["evaluate", job, "--suite", "X!"], 2),
                                (["evaluations", "cancel", f"{job}/evaluations/none"], 6), (["evaluations", "cancel", seen["name"]], 6),
                                (["evaluate", job, "--suite", "x", "--deadline", "1s"], 2)):
            self.assertEqual(self.world.run(*arguments).returncode, code, arguments)
        # What is open ends with the job.
        self.world.ctl("rm", job)
        self.assertEqual([e for e in json.loads(self.world.ctl("evaluations", "-o", "json")).get("evaluations", []) if e["state"] in ("TRIGGERED", "LEASED")], [])

    def test_what_a_command_prints_is_the_result_or_the_error(self):
        job = self.submit(name="printing", steps=5)
        self.world.wait_state(job, "SUCCEEDED")
        for command, error in (("echo nonsense", "not a JSON object"), ("exit 3", "exit code 3"), ("echo oops >&2; exit 1", "oops"), ("true", "nothing on stdout"),
                               ("""echo '{"acc": "high"}'""", "not a number"), ("""echo '{"a b": 1}'""", "refused"), ("echo '{}'", "no metric")):
            self.world.ctl("evaluate", job, "--suite", "s")
            ended = self.work(command, code=1)
            self.assertEqual(ended["state"], "FAILED", command)
            self.assertIn(error, ended["error"], command)
        self.world.ctl("evaluate", job, "--suite", "s")
        ended = self.work("""echo progress; echo '{"metrics": {"a/b": 2, "c": {"value": 3, "standard_error": 0.5, "lower_is_better": true}}, "artifacts": ["https://example.org/r"]}'""")
        self.assertEqual([(m["name"], m["value"], m.get("standard_error")) for m in ended["metrics"]], [("a/b", 2, None), ("c", 3, 0.5)])
        self.assertEqual(ended["artifacts"], ["https://example.org/r"])

    def test_a_command_is_killed_when_its_evaluation_is_cancelled(self):
        job = self.submit(name="killed", steps=5)
        self.world.wait_state(job, "SUCCEEDED")
        name = json.loads(self.world.ctl("evaluate", job, "--suite", "s", "-o", "json"))["name"]
        mark = os.path.join(self.world.root, "began")
        worker = subprocess.Popen([harness.program("trainctl"), "--address", self.world.address, "evaluate", "--worker", "--suite", "s", "--lease", "10s",
                                   "--once", "--command", f"echo $$ > {mark}; sleep 600"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(worker.kill)
        harness.wait_for(lambda: os.path.exists(mark) and os.path.getsize(mark) > 0, "the command to begin")
        self.assertEqual(self.state(name), "LEASED")
        self.world.ctl("evaluations", "cancel", name)
        _, err = worker.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(worker.returncode, 3)
        self.assertIn("has ended: CANCELLED", err)
        with open(mark) as file:
            self.assertFalse(os.path.exists(f"/proc/{file.read().strip()}"))

    def test_a_job_file_is_checked(self):
        for remote, where in (("[{name: q}]", "suite"), ("[{name: Q, suite: s}]", "name"), ("[{name: q, suite: s}, {name: q, suite: t}]", r"remote\[1\].name"),
                              ("[{name: q, suite: s, required: true, when: {at_end: false, every_steps: 1}}]", "required"),
                              ("[{name: q, suite: s, when: {at_end: false}}]", "when"), ("[{name: q, suite: s, when: {on_best: true}}]", "on_best"),
                              ("[{name: q, suite: s, deadline: 1s}]", "deadline"), ("[{name: q, suite: s, nonsense: 1}]", "nonsense")):
            with self.assertRaises(harness.Refused) as refused:
                self.submit(name="bad", steps=5, extra=f"evaluation: {{remote: {remote}}}\n")
            self.assertEqual(refused.exception.code, 2, remote)
            self.assertRegex(refused.exception.stderr, rf"bad.yaml:\d+: evaluation.remote.*{where}", remote)


if __name__ == "__main__":
    unittest.main()
