#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the container image with buildah, without a registry and without a container engine, and runs it: a job
trains, the container is stopped (drain), and the job continues after the next start.

    image_test.py BUILD_DIR [--target control | cpu | cuda]

Target control (the default) has no LibTorch: its job runs with the fake worker of BUILD_DIR. Target cpu trains the demo
job to its end; cuda is only built. The base system is kept in the cache (tests/deploy/base_system.sh), and the compiler
cache is used. Exit code 77: this machine cannot do that; the reason is printed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import chroot
import fake_jobs
import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
STATE = "/var/lib/trainerd"
USER = 10001
MODEL = os.path.join(CACHE, "models", "SmolLM2-135M-Instruct")
TRAINING_S = 3600


def run(*words, **how):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **how)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(words)}: exit code {done.returncode}: {done.stdout[-3000:]}")
    return done.stdout.strip()


class Buildah:
    """Images and containers in a folder of their own."""

    def __init__(self, folder):
        self.folder = folder
        self.policy = os.path.join(folder, "policy.json")
        with open(self.policy, "w") as file:
            file.write('{"default": [{"type": "insecureAcceptAnything"}]}')
        with open(os.path.join(folder, "registries.conf"), "w") as file:
            file.write("")
        self.command = ["buildah", "--root", folder + "/storage", "--runroot", folder + "/run", "--storage-driver", "vfs",
                        "--registries-conf", folder + "/registries.conf"]

    def __call__(self, *words, **how):
        return run(*self.command, *words, **how)

    def import_base(self, folder, name):
        container = self("from", "scratch")
        run("cp", "-a", folder + "/.", self("mount", container))
        self("commit", "-q", "--signature-policy", self.policy, "--rm", container, name)

    def build(self, target, name, base):
        cache = os.environ.get("CCACHE_DIR", os.path.join(CACHE, "ccache"))
        os.makedirs(cache, exist_ok=True)
        # The dev preset's objects, if this tree was built: the same flags, and the same paths where the cache is root's.
        # The volume is mounted over the builder's own cache.
        self("bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--signature-policy", self.policy,
             "--build-arg", f"BASE={base}", "--build-arg", "CMAKE_FLAGS=-DTRAINERD_WERROR=ON",
             "--build-arg", f"CMAKE_BUILD_PARALLEL_LEVEL={os.cpu_count()}",
             "--volume", f"{cache}:/root/.cache/trainerd/ccache", "--target", target, "-t", name, ROOT)

    def config(self, image):
        """What a container engine reads in the image."""
        return json.loads(self("inspect", "--type", "image", image))["Docker"]["config"]


class Container:
    """A container of an image; its state is a volume, which outlives it."""

    def __init__(self, buildah, image, volumes, arguments):
        self.buildah = buildah
        self.name = buildah("from", "--signature-policy", buildah.policy, image)
        self.volumes = [word for volume in volumes for word in ("--volume", volume)]
        config = buildah.config(image)
        assert config["User"] == str(USER), f"the image runs as {config['User']}"
        kind, *self.health = config["Healthcheck"]["Test"]
        assert kind == "CMD", config["Healthcheck"]
        assert not self.is_healthy(), "the container is healthy before it runs"
        self.first = subprocess.Popen(self.words(*config["Entrypoint"], *arguments), stdin=subprocess.DEVNULL,
                                      start_new_session=True)
        harness.wait_for(lambda: self.is_healthy() or self.first.poll() is not None, "the container to be healthy")
        if self.first.poll() is not None:
            raise AssertionError(f"the container exited with {self.first.returncode}")

    def words(self, *words):
        return [*self.buildah.command, "run", "--isolation", "chroot", "--network", "host", *self.volumes, self.name,
                "--", *words]

    def is_healthy(self):
        return subprocess.run(self.words(*self.health), stdin=subprocess.DEVNULL, capture_output=True).returncode == 0

    def ctl(self, *words):
        done = subprocess.run(self.words("trainctl", *words), stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            raise AssertionError(f"trainctl {' '.join(words)}: exit code {done.returncode}: {done.stderr}")
        return done.stdout.strip()

    def processes(self, name):
        """Those whose command line has the program `name`, and which run in the container: as its user."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            words = harness.command_line(int(pid))
            if any(os.path.basename(word) == name for word in words[:2]) and os.stat(f"/proc/{pid}").st_uid == USER:
                found.append(int(pid))
        return found

    def stop(self):
        """As a container engine does: SIGTERM to the first process."""
        (entrypoint,) = self.processes("trainerd-entrypoint")
        os.kill(entrypoint, signal.SIGTERM)
        code = self.first.wait(120)
        assert code == 0, f"the container exited with {code}"
        left = self.processes("trainerd-shim")
        assert not left, f"after the stop shims still run: {left}"
        self.buildah("rm", self.name)


def prepare_job(folder, target, build):
    """Settings, a job and what it reads, in the folder that is /data in the container. Returns the words of its submit."""
    os.makedirs(folder, exist_ok=True)
    settings = "retry_backoff: 0s\n"
    if target == "control":
        shutil.copy(os.path.join(build, "tests", "fake_worker"), folder)
        settings += "worker_path: /data/fake_worker\n"
        job = fake_jobs.write_job(folder, steps=1000000, step_ms=5, every=1000000)
        with open(job) as file:
            text = file.read().replace(folder, "/data")
        with open(job, "w") as file:
            file.write(text)
        submit = ["/data/" + os.path.basename(job), "--no-validate"]
    else:
        # Its data are in the image.
        shutil.copytree(MODEL, folder + "/model")
        submit = ["/usr/share/trainerd/jobs/quickstart.yaml", "--set", "model.path=/data/model"]
    with open(folder + "/trainerd.yaml", "w") as file:
        file.write(settings)
    run("chmod", "-R", "a+rX", folder)
    return submit


def check_life(buildah, image, target, build, folder):
    state, data = folder + "/state", folder + "/data"
    os.makedirs(state)
    os.chown(state, USER, USER)
    os.chmod(folder, 0o755)
    submit = prepare_job(data, target, build)
    where = (buildah, image, [f"{state}:{STATE}", f"{data}:/data"], ["--config", "/data/trainerd.yaml"])

    def step(container, name, at_least, attempt):
        def there():
            job = json.loads(container.ctl("get", name, "-o", "json"))
            assert job["state"] in ("QUEUED", "STARTING", "RUNNING"), job
            return job if int(job.get("progress", {}).get("step", 0)) >= at_least else None
        job = harness.wait_for(there, f"step {at_least} of {name}", TRAINING_S)
        assert job["attempt"] == attempt, f"{name} is in attempt {job['attempt']}, not {attempt}"
        return int(job["progress"]["step"])

    container = Container(*where)
    name = json.loads(container.ctl("submit", *submit, "-o", "json"))["name"]
    reached = step(container, name, 5, attempt=1)
    worker = "fake_worker" if target == "control" else "trainerd-worker"
    assert container.processes(worker), f"no {worker} runs as user {USER}"
    container.stop()
    checkpoints = os.listdir(os.path.join(state, "runs", name.split("/")[-1], "checkpoints"))
    assert checkpoints, "the drain left no checkpoint"
    container = Container(*where)
    step(container, name, reached + 1, attempt=2)
    if target == "control":
        container.ctl("stop", name, "--force")
    else:
        harness.wait_for(lambda: json.loads(container.ctl("get", name, "-o", "json"))["state"] == "SUCCEEDED", f"the end of {name}", TRAINING_S)
        assert os.path.getsize(os.path.join(state, "runs", name.split("/")[-1], "final/model.safetensors")) > 1e8
    container.stop()


def main():
    build = sys.argv[1]
    target = sys.argv[3] if sys.argv[2:3] == ["--target"] else "control"
    if shutil.which("buildah") is None:
        chroot.skip("buildah is not installed")
    no_chroot = chroot.enter_mount_namespace()
    if no_chroot:
        chroot.skip(no_chroot)
    if target == "cpu" and not os.path.exists(MODEL + "/model.safetensors"):
        chroot.skip(f"{MODEL} is missing: deploy/install_dependencies.sh --model && deploy/demo/make_model.sh {build}/bin")
    base = os.path.join(CACHE, "base-bookworm")
    made = subprocess.run([os.path.join(ROOT, "tests/deploy/base_system.sh"), base])
    if made.returncode != 0:
        sys.exit(made.returncode)
    folder = tempfile.mkdtemp(prefix="trainerd-image-")
    try:
        buildah = Buildah(folder)
        buildah.import_base(base, "localhost/trainerd-base")
        image = f"localhost/trainerd-{target}"
        buildah.build(target, image, "localhost/trainerd-base")
        if target != "cuda":
            check_life(buildah, image, target, build, folder)
        print(f"the image of target {target} builds" + ("" if target == "cuda" else ", trains, drains and continues"))
    finally:
        for path in ("run", "storage"):
            subprocess.run(["rm", "-rf", os.path.join(folder, path)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
