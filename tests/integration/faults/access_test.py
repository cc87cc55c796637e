# SPDX-License-Identifier: Apache-2.0
"""Who may reach the daemon: every RPC as every kind of caller (attack.py), tokens and their end, certificates that change, other users of the machine on a unix
socket, and an audit log whose chain verifies."""

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
import unittest

import harness
from python_client import PYTHON, PythonClientFixture

HERE = os.path.dirname(os.path.abspath(__file__))
NOBODY = 65534
LIBRARY = os.environ.get("TRAINERD_SHIFTED_CLOCK", os.path.join(os.path.dirname(harness.FAKE_WORKER), "libshifted_clock.so"))


class Certificates:
    """A folder with authorities and the pairs that they signed."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=self.folder, timeout=harness.PATIENCE_S)

    def authority(self, name):
        self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.pem",
                     "-days", "30", "-subj", f"/CN={name}")

    def sign(self, name, authority="ca", days=30, alternative="IP:127.0.0.1,DNS:localhost"):
        """A new pair NAME.key and NAME.pem."""
        with open(self.path("ext"), "w") as file:
            file.write(f"subjectAltName={alternative}\n")
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", "csr", "-subj", f"/CN={name}")
        self.openssl("x509", "-req", "-in", "csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key", "-CAcreateserial", "-days", str(days),
                     "-extfile", "ext", "-out", f"{name}.pem")


class AccessTest(PythonClientFixture):

    def setUp(self):
        super().setUp()
        self.certs = Certificates(os.path.join(self.world.root, "certs"))
        self.certs.authority("ca")
        self.certs.sign("server")
        self.world.settings |= {
            "listen": "[unix, 127.0.0.1:0, 'tls:127.0.0.1:0']", "allow_paths": f"[{self.world.root}]",
            "tls": f"{{certificate: {self.certs.path('server.pem')}, key: {self.certs.path('server.key')}, client_ca: {self.certs.path('ca.pem')}}}",
            "roles": "[{certificate: cert-viewer}, {certificate: alice.example, principal: alice, role: operator}]"}

    def start(self):
        self.world.start()
        _, self.tcp, self.tls = self.info()["addresses"]
        with open(os.path.join(self.world.state_dir, "token")) as file:
            self.token = file.read().strip()

    def info(self, *arguments):
        return json.loads(self.world.ctl(*arguments, "version", "-o", "json"))["daemon"]

    def over_tls(self, *arguments, ca="ca.pem", pair=None, token_file=None):
        flags = ["--address", self.tls] + (["--ca-file", self.certs.path(ca)] if ca else [])
        flags += ["--cert-file", self.certs.path(pair + ".pem"), "--key-file", self.certs.path(pair + ".key")] if pair else []
        flags += ["--token-file", token_file] if token_file else []
        return subprocess.run([harness.program("trainctl"), *flags, *arguments], capture_output=True, text=True, timeout=harness.PATIENCE_S,
                              stdin=subprocess.DEVNULL, env=self.world.environment)

    def token_file(self, principal, role, *arguments):
        """The file of a new token, and its name."""
        created = json.loads(self.world.ctl("token", "create", principal, "--role", role, "-o", "json", *arguments))
        path = os.path.join(self.world.root, created["token"]["name"].replace("/", "-"))
        with open(path, "w") as file:
            file.write(created["secret"])
        return path, created["token"]["name"]

    def notices(self):
        """The codes of the notices of the daemon itself, oldest first."""
        events = json.loads(self.world.ctl("events", "--type", "notice", "-o", "json"))["events"]
        return [event["notice"]["code"] for event in events if not event.get("job")]

    def watch(self, token_file):
        """A watcher of all jobs over TLS that has received an event."""
        watch = subprocess.Popen([harness.program("trainctl"), "--address", self.tls, "--ca-file", self.certs.path("ca.pem"), "--token-file", token_file,
                                  "watch", "-o", "jsonl", "--after", "begin"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                 env=self.world.environment)
        self.addCleanup(watch.kill)
        self.assertTrue(watch.stdout.readline())
        return watch

    def test_every_rpc_as_every_caller(self):
        for name, alternative in (("cert-viewer", "DNS:x"), ("cert-alice", "DNS:alice.example"), ("cert-nobody", "DNS:y")):
            self.certs.sign(name, alternative=alternative)
        self.start()
        with open(self.job_json("attacked")) as file:
            job = json.load(file)
        job["suspended"] = True
        world = {"tcp": self.tcp, "tls": self.tls.removeprefix("tls:"), "token": self.token, "certs": self.certs.folder, "job": job,
                 "sha256": base64.b64encode(hashlib.sha256(b"1").digest()).decode(), "sha256_2": base64.b64encode(hashlib.sha256(b"2").digest()).decode()}
        environment = {**self.world.environment, "PYTHONPATH": self.work}
        result = subprocess.run([PYTHON, os.path.join(HERE, "..", "attack.py"), json.dumps(world)], capture_output=True, text=True, env=environment,
                                timeout=harness.PATIENCE_S)
        self.assertEqual(result.returncode, 0, result.stderr + result.stdout)
        self.assertEqual(json.loads(result.stdout), [])
        # Each refusal is in the chain, which is whole; a changed row is found.
        verified = json.loads(self.world.ctl("audit", "verify", "-o", "json"))
        self.assertGreater(verified["entries"], 50)
        entries = json.loads(self.world.ctl("audit", "ls", "-o", "json"))["entries"]
        refused = [entry for entry in entries if entry.get("code") == 7]
        self.assertIn(("bob", "Trainer.Pause"), {(entry["principal"], entry["method"]) for entry in refused})
        self.assertTrue(all(entry["peer"].startswith("127.0.0.1:") for entry in refused))
        of_alice = json.loads(self.world.ctl("audit", "ls", "--principal", "alice", "-o", "json"))["entries"]
        self.assertIn("Trainer.SubmitJob", {entry["method"] for entry in of_alice})
        self.world.stop_daemon()
        with sqlite3.connect(os.path.join(self.world.state_dir, "trainerd.db")) as database:
            database.execute("UPDATE audit SET principal = 'mallory' WHERE seq = 7")
        database.close()
        self.world.start()
        result = self.world.run("audit", "verify")
        self.assertEqual(result.returncode, 6)
        self.assertIn("damaged at entry 7", result.stderr)

    def test_tokens_and_certificates_end(self):
        self.start()
        file, name = self.token_file("victor", "viewer")
        info = json.loads(self.over_tls("version", "-o", "json", token_file=file).stdout)["daemon"]
        self.assertEqual((info["principal"], info["role"]), ("victor", "viewer"))
        self.assertIn("last_use_time", self.world.ctl("token", "ls", "-o", "json"))
        # An open stream ends with its token.
        self.submit(steps=1)
        watch = self.watch(file)
        self.assertIn("revoked", self.world.ctl("token", "revoke", name))
        _, errors = watch.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(watch.returncode, 6, errors)
        self.assertIn("token", errors)
        self.assertIn("refused", self.over_tls("ls", token_file=file).stderr)
        # What a user reads when something is missing or wrong.
        self.certs.authority("other")
        self.assertIn("--ca-file", self.over_tls("ls", ca="other.pem", token_file=file).stderr)
        self.assertIn("trainctl token create", self.over_tls("ls").stderr)
        self.certs.sign("foreign", authority="other")
        self.assertIn("probably refuses the client certificate", self.over_tls("ls", pair="foreign").stderr)
        # A key that does not fit is not taken; the pair is served as soon as it fits.
        self.certs.sign("next", authority="other")
        os.replace(self.certs.path("next.key"), self.certs.path("server.key"))
        self.assertIn("NO_CREDENTIALS", self.over_tls("ls", "-o", "json").stderr)
        self.assertEqual([condition["type"] for condition in self.info()["conditions"]], ["CertificateMismatch"])
        harness.wait_for(lambda: self.notices() == ["CERTIFICATE_MISMATCH"], "the notice of the mismatch")
        os.replace(self.certs.path("next.pem"), self.certs.path("server.pem"))
        self.assertIn("NO_CREDENTIALS", self.over_tls("ls", "-o", "json", ca="other.pem").stderr)
        self.assertEqual(self.info().get("conditions", []), [])
        harness.wait_for(lambda: self.notices() == ["CERTIFICATE_MISMATCH", "CERTIFICATE_MISMATCH_CLEARED"], "the notice of its end")
        self.certs.sign("server", days=-1)
        result = self.over_tls("ls", token_file=file)
        self.assertEqual((result.returncode, result.stderr.count("\n")), (5, 1), result.stderr)
        self.assertIn("has expired; renew it", result.stderr)
        self.certs.sign("server", days=3)
        self.assertEqual([condition["type"] for condition in self.info()["conditions"]], ["CertificateExpiring"])

    def test_an_open_stream_ends_when_its_token_expires(self):
        if not os.path.exists(LIBRARY):
            self.skipTest(f"{LIBRARY} is not built")
        shift = os.path.join(self.world.root, "shift")
        self.world.daemon_environment = {"LD_PRELOAD": os.path.abspath(LIBRARY), "TRAINERD_CLOCK_SHIFT": shift}
        self.start()
        self.submit(steps=1)
        short, _ = self.token_file("victor", "viewer", "--ttl", "30m")
        long, _ = self.token_file("ada", "viewer", "--ttl", "90m")
        ends, stays = self.watch(short), self.watch(long)
        with open(shift, "w") as file:
            file.write("3600")
        _, errors = ends.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(ends.returncode, 6, errors)
        self.assertIn("has expired", errors)
        self.assertIn("refused", self.over_tls("ls", token_file=short).stderr)
        self.assertIsNone(stays.poll(), "its token is valid")

    @unittest.skipUnless(os.geteuid() == 0, "only root can become another user")
    def test_other_users_of_the_machine(self):
        folder = os.path.join(self.world.root, "public")
        program, environment = harness.copy_for_every_user("trainctl", folder)
        os.chmod(self.world.root, 0o755)
        address = "unix:" + os.path.join(folder, "shared.sock")
        self.world.settings["listen"] = f"[unix, '{address}']"
        for roles, role, code in (("[{unix_user: nobody, role: operator}]", "operator", 0), ("[{unix_user: daemon, role: admin}]", "", 6)):
            self.world.settings["roles"] = roles
            self.world.start()
            result = subprocess.run([program, "--address", address, "version", "-o", "json"], capture_output=True, text=True, user=NOBODY,
                                    cwd=folder, env=environment, timeout=harness.PATIENCE_S)
            self.assertEqual(result.returncode, code, result.stderr)
            if role:
                daemon = json.loads(result.stdout)["daemon"]
                self.assertEqual((daemon["principal"], daemon["role"]), ("nobody", role))
            else:
                self.assertIn("NO_ROLE", result.stderr)
            self.world.stop_daemon()


if __name__ == "__main__":
    unittest.main()
