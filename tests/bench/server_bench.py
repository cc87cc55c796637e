#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The control plane's figures, against the real programs: start, durable submits and what a kill -9 leaves of them, the way of a metric from the worker
to a line of `trainctl watch`, many watchers, and how soon a job is PAUSED. The worker is the fake one (tests/fakes), except in pause_real.

usage: server_bench.py [--smoke] [--only NAME,NAME]     One JSON line per result."""

import argparse
import json
import os
import select
import sqlite3
import subprocess
import time

import bench_common as bench
import fake_jobs
import harness

LOAD = bench.test_program("server_load")
LOAD_LIMIT_S = 300


def server_load(*arguments):
    run = subprocess.run([LOAD, *map(str, arguments)], capture_output=True, text=True, timeout=LOAD_LIMIT_S, check=False)
    if run.returncode != 0:
        raise SystemExit(f"server_load {arguments[0]} failed: {run.stdout} {run.stderr}")
    return json.loads(run.stdout)


def socket_of(world):
    return os.path.join(world.state_dir, "trainerd.sock")


def running_job(world, **job):
    """A job of the fake worker that trains for longer than any benchmark here."""
    name = world.submit(fake_jobs.write_job(world.root, **{"steps": 10**7, "every": 0, **job}))
    world.wait_state(name, "RUNNING")
    return name


def new_world(**options):
    """A world that does not look for live attempts all the time: that would disturb what is measured."""
    world = harness.World(**options)
    world.live.done.set()
    return world


def with_world(body):
    def run(sizes):
        world = new_world()
        try:
            world.start()
            return body(world, sizes)
        finally:
            world.close()
    return run


def bench_start(sizes):
    """Goal: SERVING within 50 ms, at most 30 MB resident when idle."""
    world = new_world()
    try:
        result = server_load("start", "--program", harness.program("trainerd"), "--state-dir", world.state_dir, "--count", sizes["starts"])
    finally:
        world.close()
    bench.emit("start", **result, goal="serving_ms <= 50, idle_rss_mb <= 30")


@with_world
def bench_submit(world, sizes):
    """Goal: 1,000 a second from 8 clients, p50 at most 5 ms, none lost by kill -9. The device is taken, so that what is submitted waits."""
    running_job(world, step_ms=1000)
    names = os.path.join(world.root, "names")
    result = server_load("submit", "--socket", socket_of(world), "--model", os.path.join(world.root, "model"), "--data",
                         os.path.join(world.root, "data.jsonl"), "--names", names, "--threads", 8, "--count", sizes["submits"])
    world.kill_daemon()
    begin = time.monotonic()
    world.start()
    restart = time.monotonic() - begin
    counted = server_load("count", "--socket", socket_of(world), "--names", names)
    rss = resident_mb(world.daemon.pid)
    bench.emit("submit", **result, found_after_kill=counted["found"], restart_with_all_ms=round(1e3 * restart), rss_with_all_mb=rss,
               goal="per_second >= 1000, p50_ms <= 5, found_after_kill = acknowledged")


def resident_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return round(int(line.split()[1]) / 1024, 1)
    return None


@with_world
def bench_watch_latency(world, sizes):
    """Worker stamps the metric → the line can be read from the pipe of trainctl watch. Goal: p50 at most 50 ms, p99 at most 200 ms."""
    job = running_job(world, step_ms=20)
    latencies = []
    with subprocess.Popen([harness.program("trainctl"), "--address", world.address, "watch", job, "-o", "jsonl"], stdout=subprocess.PIPE) as watch:
        pipe, buffer = watch.stdout.fileno(), b""
        while len(latencies) < sizes["lines"]:
            if not select.select([pipe], [], [], harness.PATIENCE_S)[0]:
                raise SystemExit("trainctl watch prints nothing")
            buffer += os.read(pipe, 1 << 16)
            now = time.time()
            *lines, buffer = buffer.split(b"\n")
            events = [json.loads(line) for line in lines]
            latencies += [now - bench.event_seconds(event) for event in events if "metrics" in event]
        watch.kill()
    latencies = latencies[len(latencies) // 10:]  # the first ones were there before the watcher
    bench.emit("watch_latency", lines=len(latencies), steps_per_second=50, p50_ms=round(1e3 * bench.median(latencies), 2),
               p99_ms=round(1e3 * bench.percentile(latencies, 0.99), 2), max_ms=round(1e3 * max(latencies), 2), goal="p50_ms <= 50, p99_ms <= 200")


@with_world
def bench_watchers(world, sizes):
    """200 watchers of a job with 100 steps a second. Goal: p99 at most 50 ms, and no step missing."""
    job = running_job(world, step_ms=9)
    result = server_load("watch", "--socket", socket_of(world), "--job", job, "--watchers", sizes["watchers"], "--seconds", sizes["seconds"])
    bench.emit("watchers", **result, goal="about 100 events a second each, p99_ms <= 50, no gap")


def add_history(world, job, count):
    """Appends `count` copies of an event of this job to the database, as if it had trained for that long. The daemon must not run."""
    with sqlite3.connect(os.path.join(world.state_dir, "trainerd.db")) as db:
        row = db.execute("SELECT type, event FROM events WHERE job = ? ORDER BY length(event) DESC LIMIT 1", (job.removeprefix("jobs/"),)).fetchone()
        last = db.execute("SELECT max(seq) FROM events").fetchone()[0]
        db.executemany("INSERT INTO events (seq, change, job, type, flags, event) VALUES (?, ?, ?, ?, 0, ?)",
                       ((last + n, last + n, job.removeprefix("jobs/"), *row) for n in range(1, count + 1)))


@with_world
def bench_replay(world, sizes):
    """200 live watchers of a job with 100 steps per second, while 20 others replay 1 million old events of another job. Goal: p99 at most 50 ms, no gap."""
    old = world.submit(fake_jobs.write_job(world.root, name="old", steps=5, every=0))
    world.wait_state(old, "SUCCEEDED")
    world.stop_daemon()
    add_history(world, old, sizes["history"])
    world.start()
    job = running_job(world, name="live", step_ms=9)
    result = server_load("replay", "--socket", socket_of(world), "--job", job, "--history", old, "--watchers", sizes["watchers"],
                         "--replayers", sizes["replayers"], "--seconds", sizes["replay_seconds"])
    bench.emit("replay", history=sizes["history"], **result, goal="p99_ms <= 50, no gap")


@with_world
def bench_idle_watchers(world, sizes):
    """What a watcher costs the daemon while nothing happens, each with a connection of its own."""
    result = server_load("idle", "--socket", socket_of(world), "--pid", world.daemon.pid, "--watchers", sizes["watchers"], "--seconds", sizes["seconds"])
    bench.emit("idle_watchers", **result)


def pause(world, job):
    """(Seconds from the request until PAUSED, seconds of the checkpoint by its event, median seconds of a step by the log)."""
    begin = time.time()
    world.ctl("pause", job)
    world.wait_state(job, "PAUSED")
    world.ctl("stop", job, "--discard")
    events = world.events(job)
    paused = next(event for event in events if event.get("state_changed", {}).get("to_state") == "PAUSED")
    published = next(event["checkpoint"] for event in reversed(events) if event.get("checkpoint", {}).get("kind") == "PUBLISHED")
    times = [bench.event_seconds(event) for event in events if "metrics" in event]
    steps = [b - a for a, b in zip(times, times[1:])]
    return bench.event_seconds(paused) - begin, float(published.get("write_time", "0s").rstrip("s")), bench.median(steps)


def emit_pause(name, measured, **more):
    paused, checkpoint, step = zip(*measured)
    rest = [p - c - s for p, c, s in measured]
    bench.emit(name, pauses=len(measured), paused_s=round(bench.median(paused), 3), step_s=round(bench.median(step), 3),
               checkpoint_s=round(bench.median(checkpoint), 3), most_beyond_step_and_checkpoint_s=round(max(rest), 3), **more,
               goal="paused_s <= step_s + checkpoint_s + 1")


@with_world
def bench_pause(world, sizes):
    """Steps of half a second and a checkpoint of 64 KiB: PAUSED within one step + 1 s."""
    measured = []
    for number in range(sizes["pauses"]):
        job = running_job(world, name=f"pause-{number}", step_ms=500)
        world.wait_step(job, 3)
        measured.append(pause(world, job))
    emit_pause("pause", measured)


def bench_pause_real(sizes):
    """The real worker: PAUSED within one step + checkpoint write and read-back + 1 s."""
    import real_jobs
    world = new_world(worker=harness.program("trainerd-worker"), settings={"cpu_threads": bench.THREADS})
    try:
        world.start()
        model, data = real_jobs.make_inputs(world.root)
        if sizes["real_model"] and os.path.isdir(bench.SMOLLM2):
            model, data = bench.SMOLLM2, bench.shared_file("data", "alpaca_en_1k.jsonl") or data
        job_file = os.path.join(world.root, "real.yaml")
        with open(job_file, "w") as file:
            file.write(f"model: {{path: {model}}}\ndata: {{train: [{data}], max_length: 256}}\n"
                       "train: {precision: fp32, batch_size: 1, max_steps: 100000}\ncheckpoint: {every_steps: 0}\n")
        job = world.submit(job_file)
        harness.wait_for(lambda: int(world.get(job).get("progress", {}).get("step", 0)) >= 3, "three steps", 600)
        emit_pause("pause_real", [pause(world, job)], model=os.path.basename(model))
    finally:
        world.close()


BENCHES = {"start": bench_start, "submit": bench_submit, "watch_latency": bench_watch_latency, "watchers": bench_watchers, "replay": bench_replay,
           "idle_watchers": bench_idle_watchers, "pause": bench_pause, "pause_real": bench_pause_real}
FULL = {"starts": 10, "submits": 4000, "lines": 1000, "watchers": 200, "seconds": 10, "pauses": 3, "real_model": True,
        "history": 10**6, "replayers": 20, "replay_seconds": 60}
SMOKE = {"starts": 2, "submits": 50, "lines": 40, "watchers": 10, "seconds": 1, "pauses": 1, "real_model": False,
         "history": 20_000, "replayers": 3, "replay_seconds": 10}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, without the real worker: does it run?")
    parser.add_argument("--only", help="names, with commas between: " + ", ".join(BENCHES))
    options = parser.parse_args()
    names = options.only.split(",") if options.only else [name for name in BENCHES if not (options.smoke and name == "pause_real")]
    for name in names:
        BENCHES[name](SMOKE if options.smoke else FULL)


if __name__ == "__main__":
    main()
