# SPDX-License-Identifier: Apache-2.0
"""Webhooks and local commands: a real HTTP server that fails, redirects, hangs and is absent; the daemon and its child trainerd-notify are killed in between."""

import contextlib
import json
import os
import sqlite3
import unittest

import harness
from fake_jobs import FakeWorkerTest, write_job
from webhook_receiver import SECRET, Receiver, check_signature


class NotificationsTest(FakeWorkerTest):

    def setUp(self):
        super().setUp()
        self.secret_file = os.path.join(self.world.root, "secret")
        with open(self.secret_file, "w") as file:
            file.write(SECRET + "\n")
        os.chmod(self.secret_file, 0o600)

    def receiver(self, **options):
        receiver = Receiver(**options)
        self.addCleanup(receiver.close)
        return receiver

    def webhook(self, name, port, path, **keys):
        return {"name": name, "url": f"http://127.0.0.1:{port}{path}", "secret_file": self.secret_file, **keys}

    def start(self, *targets):
        self.world.settings["notify"] = json.dumps(targets)
        self.world.start()

    def run_job(self, name="job", **job):
        submitted = self.submit(name=name, steps=3, **job)
        self.world.wait_state(submitted, "SUCCEEDED")
        return submitted

    def listed(self, *arguments):
        return json.loads(self.world.ctl("notifications", "-o", "json", *arguments))["notifications"]

    def wait_listed(self, what, condition):
        return harness.wait_for(lambda: next((found for found in self.listed() if condition(found)), None), what)

    def change_outbox(self, change):
        """While no daemon runs: time that passes."""
        with contextlib.closing(sqlite3.connect(os.path.join(self.world.state_dir, "trainerd.db"))) as database:
            database.execute(f"UPDATE notifications SET {change}")
            database.commit()

    def child(self):
        """Process id of trainerd-notify, if it runs."""
        with open(f"/proc/{self.world.daemon.pid}/task/{self.world.daemon.pid}/children") as file:
            children = file.read().split()
        for task in os.listdir(f"/proc/{self.world.daemon.pid}/task"):
            with open(f"/proc/{self.world.daemon.pid}/task/{task}/children") as file:
                children += file.read().split()
        return next((int(pid) for pid in children if harness.command_line(pid)[:1] == [harness.program("trainerd-notify")]), None)

    def test_webhooks_are_signed_repeated_and_never_redirected(self):
        receiver = self.receiver(answers={"/fails": [500], "/moves": [307, 302, 301, 308], "/hangs": [0]})
        # A proxy of the environment would refuse every connection.
        self.world.daemon_environment = {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9"}
        self.start(*(self.webhook(path[1:], receiver.port, path) for path in ("/works", "/fails", "/moves", "/hangs")))
        job = self.run_job()
        for target, error in (("moves", "redirects are not followed"), ("hangs", "no answer within 10 s")):
            found = self.wait_listed(f"{target} to fail", lambda found: found["target"] == target and found.get("last_error"))
            self.assertIn(error, found["last_error"])
            self.assertEqual((found["state"], found["event"], found["job"]), ("PENDING", "ended", job))
        self.wait_listed("the repeated delivery", lambda found: found["target"] == "fails" and found["state"] == "DELIVERED")
        first, second = receiver.of("/fails")
        self.assertEqual(check_signature(self, *first[1:]), check_signature(self, *second[1:]))
        self.assertEqual(first[2], second[2])
        works, = receiver.of("/works")
        number = check_signature(self, *works[1:])
        self.assertEqual(receiver.of("/stolen"), [])
        body = json.loads(works[2])
        self.assertEqual(body["type"], "job.ended")
        self.assertEqual((body["data"]["job"]["name"], body["data"]["job"]["state"]), (job, "SUCCEEDED"))
        self.assertNotIn("config", body["data"]["job"])
        end = next(event for event in harness.of_kind(self.world.events(job), "state_changed") if event["state_changed"]["to_state"] == "SUCCEEDED")
        self.assertEqual(body["data"]["event"]["seq"], end["seq"])
        self.assertEqual(body["timestamp"], end["time"])
        listed = next(found for found in self.listed("--state", "DELIVERED") if found["target"] == "works")
        self.assertEqual((listed["name"], listed["event_seq"], listed["attempt_count"]), (f"notifications/{number}", end["seq"], 1))
        self.assertNotIn(SECRET[6:], self.world.daemon_log())
        self.assertNotIn("127.0.0.1:%d" % receiver.port, self.world.daemon_log())

    def test_nothing_is_lost_when_daemon_and_child_are_killed(self):
        receiver = self.receiver()
        port = receiver.port
        receiver.close()
        self.start(self.webhook("hook", port, "/hook"))
        jobs = [self.run_job(name="first"), self.run_job(name="second")]
        self.wait_listed("a failed attempt", lambda found: found.get("attempt_count", 0) > 0)
        self.world.kill_daemon()
        self.change_outbox("due = 0")
        receiver = self.receiver(port=port, answers={"/hook": [0]})
        self.world.start()
        # The receiver has the delivery and has not answered yet.
        harness.wait_for(lambda: receiver.requests, "the delivery")
        os.kill(self.child(), 9)
        killed = self.wait_listed("the lost delivery", lambda found: "trainerd-notify ended with signal 9" in found.get("last_error", ""))
        self.assertEqual((killed["job"], killed["state"]), (jobs[0], "PENDING"))
        self.world.kill_daemon()
        self.change_outbox("due = 0")
        self.world.start()
        harness.wait_for(lambda: len(receiver.requests) == 3, "both deliveries")
        harness.wait_for(lambda: len(self.listed("--state", "DELIVERED")) == 2, "both to be DELIVERED")
        self.assertEqual([json.loads(body)["data"]["job"]["name"] for _, _, body in receiver.requests], [jobs[0], jobs[0], jobs[1]])
        ids = [check_signature(self, headers, body) for _, headers, body in receiver.requests]
        self.assertEqual((ids[0], len(set(ids))), (ids[1], 2))

    def test_a_dead_one_is_delivered_again_by_hand(self):
        receiver = self.receiver()
        receiver.close()
        self.start(self.webhook("hook", receiver.port, "/hook"))
        self.run_job()
        self.wait_listed("a failed attempt", lambda found: found.get("attempt_count", 0) > 0)
        self.assertEqual(self.world.run("notifications", "retry", "1").returncode, 6)
        self.assertEqual(self.world.stop_daemon(), 0)
        self.change_outbox("due = 0, retry_until = 0")
        self.world.start()
        dead = self.wait_listed("it to be given up", lambda found: found["state"] == "DEAD")
        self.assertIn("connect", dead["last_error"])
        self.assertIn("trainctl notifications retry 1", self.world.daemon_log())
        receiver = self.receiver(port=receiver.port)
        self.assertEqual(json.loads(self.world.ctl("notifications", "retry", "1", "-o", "json"))["state"], "PENDING")
        self.wait_listed("the delivery", lambda found: found["state"] == "DELIVERED")
        self.assertEqual(check_signature(self, *receiver.requests[0][1:]), "1")
        self.assertIn("DELIVERED", self.world.ctl("notifications"))
        self.assertEqual(self.world.run("notifications", "retry", "99").returncode, 6)

    def test_jobs_choose_among_what_the_daemon_allows(self):
        receiver = self.receiver()
        out = os.path.join(self.world.root, "out")
        self.start({"name": "log", "command": ["/bin/sh", "-c", f"cat >> '{out}'"], "all_jobs": False},
                   self.webhook("hook", receiver.port, "/own", all_jobs=False, job_hosts=[f"127.0.0.1:{receiver.port}"]))
        self.run_job(name="quiet")
        loud = self.run_job(name="loud", extra=f"notify: [{{target: log}}, {{url: 'http://127.0.0.1:{receiver.port}/of-job'}}]\n")
        harness.wait_for(lambda: len(self.listed("--state", "delivered")) == 2, "both deliveries")
        with open(out) as file:
            self.assertEqual(json.loads(file.read())["data"]["job"]["name"], loud)
        check_signature(self, *receiver.of("/of-job")[0][1:])
        self.assertEqual(receiver.of("/own"), [])
        for notify, key in (("[{target: lgo}]", "target"), ("[{url: 'http://127.0.0.1:1/x'}]", "url"),
                            ("[{url: 'http://127.0.0.1:%d@evil.example/'}]" % receiver.port, "url"), ("[{command: [/bin/sh]}]", "command"),
                            ("[{target: log, secret_file: /etc/passwd}]", "secret_file")):
            with self.assertRaises(harness.Refused) as refused:
                self.submit(name="refused", steps=3, extra=f"notify: {notify}\n")
            self.assertEqual(refused.exception.code, 2)
            violation, = json.loads(refused.exception.stderr)["error"]["violations"]
            self.assertEqual((violation["path"], violation["line"]), (f"notify[0].{key}", 7))
        held = self.world.submit(write_job(self.world.root, name="held", steps=3), "--suspended")
        self.world.ctl("update", held, "notify=[{target: log}]")
        self.assertEqual(self.world.run("update", held, "notify=[{target: nobody}]").returncode, 2)
        self.world.ctl("resume", held)
        self.world.wait_state(held, "SUCCEEDED")
        harness.wait_for(lambda: len(self.listed("--state", "delivered")) == 3, "the delivery of the updated job")

    def test_a_secret_that_others_can_read_is_refused(self):
        os.chmod(self.secret_file, 0o644)
        self.world.settings["notify"] = json.dumps([self.webhook("hook", 1, "/x")])
        daemon = self.world.spawn_daemon()
        self.assertEqual(daemon.wait(harness.PATIENCE_S), 1)
        self.assertIn("chmod 600", self.world.daemon_log())
        self.assertNotIn(SECRET, self.world.daemon_log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
