# SPDX-License-Identifier: Apache-2.0
"""Tests that run programs with the Python client of deploy/clients and code generated from the protos of the package, by the command of its README."""

import json
import os
import re
import shutil
import subprocess

import harness
from fake_jobs import FakeWorkerTest, write_job

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
PYTHON = os.path.join(CACHE, "venv-tests", "bin", "python3")


def commands_of(path):
    """The lines of a README that call protoc."""
    with open(path) as file:
        return [line.strip() for line in file if "grpc_tools.protoc" in line and line.strip().startswith("python3")]


def blocks_of(path, language):
    with open(path) as file:
        return re.findall(f"```{language}\\n(.*?)```", file.read(), re.DOTALL)


class PythonClientFixture(FakeWorkerTest):

    def setUp(self):
        if subprocess.run([PYTHON, "-c", "import grpc_tools"], capture_output=True).returncode != 0:
            self.skipTest(f"{PYTHON} has no grpcio-tools: run deploy/install_dependencies.sh --tests")
        super().setUp()
        self.share = os.environ.get("TRAINERD_PACKAGE_SHARE")
        if not self.share:
            self.share = os.path.join(self.world.root, "share")
            subprocess.run([os.path.join(ROOT, "deploy", "package", "copy_clients.sh"), self.share], check=True)
        self.work = os.path.join(self.world.root, "client")
        shutil.copytree(os.path.join(self.share, "clients", "python"), self.work)
        self.generate(os.path.join(self.work, "README.md"), "PROTOS", os.path.join(self.share, "proto"))

    def generate(self, readme, folder, protos):
        """Runs the command of the README in the client's folder."""
        command, = commands_of(readme)
        command = re.sub(rf"\b{folder}\b(?=[ /])", protos, command)
        subprocess.run(command.replace("python3", PYTHON, 1), shell=True, check=True, cwd=self.work, timeout=harness.PATIENCE_S)

    def job_json(self, name, **labels):
        """A JobConfig as JSON for the fake worker."""
        write_job(self.world.root, name=name)
        config = {"name": name, "labels": {f"fake.{key}": str(value) for key, value in labels.items()},
                  "model": {"path": os.path.join(self.world.root, "model")},
                  "data": {"train": [{"path": os.path.join(self.world.root, "data.jsonl")}]},
                  "train": {"seed": 7}, "checkpoint": {"every_steps": 25}}
        path = os.path.join(self.work, name + ".json")
        with open(path, "w") as file:
            json.dump(config, file)
        return path

    def spawn(self, *arguments):
        return subprocess.Popen([PYTHON, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=self.work,
                                env={**os.environ, "TRAINERD_ADDRESS": self.world.address})

    def finish(self, process):
        out, err = process.communicate(timeout=harness.PATIENCE_S)
        self.assertEqual(process.returncode, 0, f"{out}\n{err}")
        return out
