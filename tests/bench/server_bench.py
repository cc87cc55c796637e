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
import struct
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


def add_ended_jobs(world, job, count):
    """Adds `count` copies of this ended job to the database, with their rows in all tables (of the events those of its states); names differ, every tenth
    has the label rare=x. The daemon must not run."""
    keys = {"jobs": ("id", "TRUE"), "job_labels": ("number", "TRUE"), "events": ("job", "type = 10")}
    job = job.removeprefix("jobs/")
    with sqlite3.connect(os.path.join(world.state_dir, "trainerd.db")) as db:
        db.row_factory = sqlite3.Row
        columns = {table: [row["name"] for row in db.execute(f"PRAGMA table_info({table})")]
                   for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'").fetchall()}
        number = db.execute("SELECT number FROM jobs WHERE id = ?", (job,)).fetchone()["number"]
        seq = db.execute("SELECT max(seq) AS last FROM events").fetchone()["last"]
        last = db.execute("SELECT max(number) AS last FROM jobs").fetchone()["last"]
        templates = []
        for table in columns:
            key, condition = keys.get(table, ("job", "TRUE"))
            if key in columns[table]:
                of_job = db.execute(f"SELECT * FROM {table} WHERE {key} = ? AND {condition}", (number if key == "number" else job,))
                templates += [(table, row) for row in of_job]
        templates.sort(key=lambda template: template[0] != "jobs")
        rows = {table: [] for table, _ in templates}

        def insert():
            for table, values in rows.items():
                db.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns[table]))})", values)
                values.clear()

        for n in range(1, count + 1):
            name = f"{n:012x}"
            for table, row in templates:
                values = dict(row)
                for column, value in values.items():
                    if isinstance(value, str):
                        values[column] = value.replace(job, name)
                    elif isinstance(value, bytes):
                        values[column] = value.replace(job.encode(), name.encode())
                if table in ("jobs", "job_labels"):
                    values["number"] = last + n
                elif "number" in values and table != "attempts":
                    values["number"] = None
                if table == "events":
                    seq += 1
                    values["seq"] = values["change"] = seq
                if table == "job_labels" and values["key"] == "rare" and n % 10:
                    values["value"] = "y"
                rows[table].append(tuple(values[column] for column in columns[table]))
            if n % 5_000 == 0:
                insert()
        insert()


@with_world
def bench_pages(world, sizes):
    """Lists of 10,000 queued and 100,000 ended jobs, and a restart with them. Goal: p99 of a page at most 20 ms, with a label filter too; start below 1 s."""
    ended = world.submit(fake_jobs.write_job(world.root, name="ended", steps=5, every=0), "--set", "labels.rare=x")
    world.wait_state(ended, "SUCCEEDED")
    world.stop_daemon()
    add_ended_jobs(world, ended, sizes["ended"])
    world.start()
    running_job(world, step_ms=1000)
    server_load("submit", "--socket", socket_of(world), "--model", os.path.join(world.root, "model"), "--data",
                os.path.join(world.root, "data.jsonl"), "--names", os.path.join(world.root, "names"), "--threads", 8, "--count", sizes["queued"])
    world.kill_daemon()
    begin = time.monotonic()
    world.start()
    restart = time.monotonic() - begin
    pages = server_load("pages", "--socket", socket_of(world), "--count", sizes["pages"])
    labelled = server_load("pages", "--socket", socket_of(world), "--selector", "rare=x", "--count", sizes["pages"])
    bench.emit("pages", queued=sizes["queued"], ended=sizes["ended"], restart_ms=round(1e3 * restart), **pages,
               labelled_jobs=labelled["jobs"], labelled_p99_ms=labelled["p99_ms"], rss_mb=resident_mb(world.daemon.pid),
               goal="p99_ms <= 20, labelled_p99_ms <= 20, restart_ms <= 1000")
    lists = {"every job has the label": ["--selector", "rare"], "not the rare value": ["--selector", "rare != x"],
             "no job has it": ["--selector", "rare = none"], "running": ["--state", "RUNNING"], "ended": ["--state", "SUCCEEDED"],
             "by priority": ["--order", "priority desc"], "by name": ["--order", "display_name"], "queue": ["--order", "queue"]}
    for what, arguments in lists.items():
        result = server_load("pages", "--socket", socket_of(world), "--count", sizes["lists"], *arguments)
        bench.emit("list", what=what, **result, goal="p99_ms <= 20")


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


def varint(number):
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes(out) + bytes([number])


def metrics_event(job, step):
    """A serialized v1.Event with the metrics of a step."""
    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    def number(field_number, value):
        return varint(field_number << 3 | 1) + struct.pack("<d", value)
    metrics = b"".join((b"\x08", varint(step), number(2, step / 1e5), number(3, 2 + 1 / step), number(4, 0.5 + step % 7), number(5, 1e-4),
                        b"\x30", varint(4096), b"\x38", varint(4000), number(8, 1000 + step % 13), number(9, 4.1 + step % 3)))
    return field(2, job.encode()) + b"\x18\x01" + field(4, b"\x08" + varint(1_800_000_000 + step)) + field(11, metrics)


@with_world
def bench_metrics(world, sizes):
    """2,000 points of four metrics of a job of 1 million steps. Goal: at most 50 ms. And how long the daemon takes to make columns of its events."""
    job = world.submit(fake_jobs.write_job(world.root, name="long", steps=5, every=0))
    world.wait_state(job, "SUCCEEDED")
    world.stop_daemon()
    key = job.removeprefix("jobs/")
    path = os.path.join(world.state_dir, "trainerd.db")
    with sqlite3.connect(path) as db:
        last, steps = db.execute("SELECT max(seq) FROM events").fetchone()[0], sizes["history"]
        db.execute("DELETE FROM metric_jobs")
        db.execute("DELETE FROM metric_chunks")
        db.execute("DELETE FROM events WHERE job = ? AND type = 11", (key,))
        db.executemany("INSERT INTO events VALUES (?, ?, ?, 11, 0, ?)",
                       ((last + step, last + step, key, metrics_event(job, step)) for step in range(1, steps + 1)))
    begin = time.monotonic()
    world.start()

    def complete():
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM metric_jobs WHERE complete = 1").fetchone()[0] > 0
    harness.wait_for(complete, "the columns of the job", 600)
    seconds = time.monotonic() - begin
    result = server_load("metrics", "--socket", socket_of(world), "--job", job, "--count", sizes["queries"])
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        event_bytes = db.execute("SELECT sum(length(event)) FROM events WHERE job = ?", (key,)).fetchone()[0]
        column_bytes = db.execute("SELECT sum(length(coarse) + length(medium) + length(fine)) FROM metric_chunks").fetchone()[0]
    bench.emit("metrics", steps=steps, **result, compaction_s=round(seconds, 1), column_bytes_per_step=round(column_bytes / steps, 1),
               event_bytes_per_step=round(event_bytes / steps, 1), goal="p99_ms <= 50")


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


BENCHES = {"start": bench_start, "submit": bench_submit, "watch_latency": bench_watch_latency, "watchers": bench_watchers, "replay": bench_replay, "pages": bench_pages,
           "idle_watchers": bench_idle_watchers, "metrics": bench_metrics, "pause": bench_pause, "pause_real": bench_pause_real}
FULL = {"starts": 10, "submits": 4000, "lines": 1000, "watchers": 200, "seconds": 10, "pauses": 3, "real_model": True,
        "history": 10**6, "replayers": 20, "replay_seconds": 60, "queued": 10_000, "ended": 100_000, "pages": 2200, "lists": 300, "queries": 50}
SMOKE = {"starts": 2, "submits": 50, "lines": 40, "watchers": 10, "seconds": 1, "pauses": 1, "real_model": False,
         "history": 20_000, "replayers": 3, "replay_seconds": 10, "queued": 50, "ended": 300, "pages": 20, "lists": 10, "queries": 3}


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
