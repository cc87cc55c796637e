#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Replaces the programs of an earlier version by this build while jobs run, wait and are paused: the database is
migrated, the shims of the earlier version stay in charge of their attempts, and every job ends as if nothing had
happened.

    upgrade_test.py BUILD_DIR COMMIT [--build]

Until there is a release, COMMIT stands for one: N-1 and N-2 are in tests/deploy/tests.cmake. Its programs are kept in
the cache (releases/COMMIT/bin); --build makes them there first, without LibTorch, with the fake worker, which takes as
long as a build. Exit code 77: they are not there, or this clone does not have the commit."""

import os
import shutil
import subprocess
import sys
import tempfile

import fake_jobs
import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
PROGRAMS = ("trainerd", "trainctl", "trainerd-shim", "trainerd-inspect", "trainerd-notify")
STEPS = 400


def skip(reason):
    print(f"SKIP: {reason}")
    sys.exit(77)


def git(*words):
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True)


def build_programs(commit, folder):
    source = tempfile.mkdtemp(prefix="trainerd-release-")
    try:
        archive = subprocess.Popen(["git", "-C", ROOT, "archive", commit], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-C", source, "-xf", "-"], stdin=archive.stdout, check=True)
        subprocess.run(["cmake", "-S", source, "--preset", "dev", "-DTRAINERD_ENGINE=OFF"], check=True,
                       stdout=subprocess.DEVNULL, cwd=source)
        listed = subprocess.run(["ninja", "-C", source + "/build/dev", "-t", "targets", "all"], capture_output=True,
                                text=True, check=True).stdout
        # trainerd-notify is younger than the others.
        targets = [name for name in PROGRAMS if f"\n{name}: " in listed] + ["fake_worker"]
        subprocess.run(["ninja", "-C", source + "/build/dev", *targets], check=True)
        os.makedirs(folder + ".new", exist_ok=True)
        for name in targets:
            where = "tests" if name == "fake_worker" else "bin"
            shutil.copy(f"{source}/build/dev/{where}/{name}", folder + ".new")
        os.rename(folder + ".new", folder)
    finally:
        shutil.rmtree(source, ignore_errors=True)


def earlier_programs(commit):
    folder = os.path.join(CACHE, "releases", commit, "bin")
    if os.path.exists(folder):
        return folder
    if git("cat-file", "-e", commit + "^{commit}").returncode != 0:
        skip(f"this clone does not have the commit {commit}")
    if "--build" not in sys.argv:
        skip(f"the programs of {commit} are not built; {' '.join(sys.argv)} --build builds them into {folder}")
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    build_programs(commit, folder)
    return folder


def without_empty(value):
    """JSON without empty lists and objects: fields that the earlier version did not have."""
    if not isinstance(value, dict):
        return value
    return {key: without_empty(item) for key, item in value.items() if item not in ([], {})}


class Upgrade:
    """Jobs in every state that outlives a daemon, made by the earlier programs in `earlier`."""

    def __init__(self, world, earlier, build):
        self.world = world
        self.earlier = earlier
        self.build = build

    def use(self, folder, worker):
        harness.BIN_DIR = folder
        self.world.settings["worker_path"] = os.path.abspath(worker)

    def submit(self, name, **job):
        return self.world.submit(fake_jobs.write_job(self.world.root, name=name, steps=STEPS, **job))

    def before(self):
        world = self.world
        self.use(self.earlier, self.earlier + "/fake_worker")
        world.start()
        self.ended = self.submit("ended", step_ms=0)
        world.wait_state(self.ended, "SUCCEEDED")
        self.ended_events = world.events(self.ended)
        self.paused = self.submit("paused", hold_at=100)
        world.wait_step(self.paused, 60)
        world.ctl("pause", self.paused)
        world.wait_state(self.paused, "PAUSED")
        self.release(self.paused)
        # One device: this one runs, the other waits.
        self.running = self.submit("running", hold_at=150)
        world.wait_step(self.running, 100)
        self.queued = self.submit("queued", step_ms=0)
        assert world.state(self.queued) == "QUEUED"
        self.old_shims = world.processes(self.running, "shim")

    def release(self, job):
        for step in (100, 150):
            self.world.release(job, step)

    def replace(self, kill):
        if kill:
            self.world.kill_daemon()
        else:
            assert self.world.stop_daemon() == 0
        self.use(os.path.join(self.build, "bin"), os.path.join(self.build, "tests", "fake_worker"))
        self.world.start()

    def after(self):
        world = self.world
        assert world.state(self.paused) == "PAUSED" and world.state(self.queued) == "QUEUED"
        job = world.get(self.running)
        assert (job["state"], job["attempt"]) == ("RUNNING", 1), job
        assert world.processes(self.running, "shim") == self.old_shims, "the upgrade replaced the running attempt"
        for old, new in zip(self.ended_events, world.events(self.ended), strict=True):
            assert without_empty(old) == without_empty(new), f"an event of the ended job was {old}, now it is {new}"
        # The new daemon commands the earlier shim: a checkpoint and a pause, then a new shim resumes.
        self.release(self.running)
        world.wait_step(self.running, 200)
        world.ctl("pause", self.running)
        world.wait_state(self.running, "PAUSED")
        assert not world.processes(self.running, "shim"), "the shim of the paused job still runs"
        world.ctl("resume", self.running)
        world.ctl("resume", self.paused)
        for name in (self.running, self.paused, self.queued):
            world.wait_state(name, "SUCCEEDED")
        assert world.get(self.running)["attempt"] == 2
        for name in (self.running, self.paused, self.queued):
            events = world.events(name)
            harness.check_whole_run(events, STEPS)
            assert harness.losses(events) == harness.losses(self.ended_events), f"{name} has other losses"
            assert world.final_bytes(name) == world.final_bytes(self.ended), f"{name} has another model"


def check_upgrade(earlier, build, kill):
    world = harness.World()
    try:
        upgrade = Upgrade(world, earlier, build)
        upgrade.before()
        upgrade.replace(kill)
        upgrade.after()
        assert world.live.violations == [], "two attempts of one job lived together"
    except BaseException:
        print(world.daemon_log()[-6000:])
        raise
    finally:
        world.close()


def main():
    build, commit = sys.argv[1:3]
    earlier = earlier_programs(commit)
    for kill in (False, True):
        check_upgrade(earlier, build, kill)
    print(f"jobs of {commit} continue under this build, after a stop and after kill -9 of the earlier daemon")
    return 0


if __name__ == "__main__":
    sys.exit(main())
