# SPDX-License-Identifier: Apache-2.0
"""Runs the real programs (trainerd, trainerd-shim, trainctl and a worker) in a temporary state directory and observes
them from outside: commands go through trainctl, processes are found in /proc, files are read at their documented
paths. Every wait is for a condition, with a deadline that only a broken program reaches."""

import contextlib
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time

BIN_DIR = os.environ.get("TRAINERD_BIN_DIR", "build/dev/bin")
FAKE_WORKER = os.environ.get("TRAINERD_FAKE_WORKER", os.path.join(BIN_DIR, "..", "tests", "fake_worker"))
PATIENCE_S = 60
TERMINAL = {"SUCCEEDED", "STOPPED", "CANCELLED", "FAILED"}


def program(name):
    return os.path.abspath(os.path.join(BIN_DIR, name))


def copy_for_every_user(name, folder):
    """Copies a program, with the libraries that are not the system's, into the new `folder`, so that a user who cannot reach the build tree can
    run it. Returns its path and its environment."""
    os.makedirs(folder)
    os.chmod(folder, 0o755)
    shutil.copy(program(name), folder)
    listed = subprocess.run(["ldd", program(name)], capture_output=True, text=True, check=True).stdout
    for line in listed.splitlines():
        path = line.partition("=> ")[2].partition(" (")[0]
        if path and not os.path.realpath(path).startswith(("/usr/", "/lib")):
            shutil.copy(path, os.path.join(folder, os.path.basename(path)))
    return os.path.join(folder, name), {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": folder}


def wait_for(condition, what, patience=PATIENCE_S):
    """The first true value of condition(); fails naming `what`."""
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {patience} s for {what}")
        time.sleep(0.01)


def write_weights(model):
    """model.safetensors of zeros for the config.json of a Llama with a tied head in the folder `model`."""
    with open(os.path.join(model, "config.json")) as file:
        config = json.load(file)
    width, inner = config["hidden_size"], config["intermediate_size"]
    queries, keys = (config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
    shapes = {"model.embed_tokens.weight": [config["vocab_size"], width], "model.norm.weight": [width]}
    for layer in range(config["num_hidden_layers"]):
        for name, shape in {"input_layernorm": [width], "post_attention_layernorm": [width],
                            "self_attn.q_proj": [queries, width], "self_attn.k_proj": [keys, width],
                            "self_attn.v_proj": [keys, width], "self_attn.o_proj": [width, queries],
                            "mlp.gate_proj": [inner, width], "mlp.up_proj": [inner, width],
                            "mlp.down_proj": [width, inner]}.items():
            shapes[f"model.layers.{layer}.{name}.weight"] = shape
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with open(os.path.join(model, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + bytes(end))


# ---------------------------------------------------------------- processes
def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")[:-1]
        with open(f"/proc/{pid}/stat", "rb") as file:
            state = file.read().rsplit(b")", 1)[1].split()[0]
    except OSError:
        return []
    return [] if state in (b"Z", b"X") else [word.decode(errors="replace") for word in words]


def attempt_processes(folder):
    """(pid, kind, attempt directory) of live shims and workers whose attempt directory lies under `folder`."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        words = command_line(name)
        if "--attempt-dir" not in words[:-1]:
            continue
        directory = words[words.index("--attempt-dir") + 1]
        if directory.startswith(folder + "/"):
            found.append((int(name), "worker" if words[1] == "attempt" else "shim", directory))
    return found


def kill_all(pids, signum=signal.SIGKILL):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


class LiveAttempts(threading.Thread):
    """Looks all the time whether two attempts of one job ever live together (T4)."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.folder = folder
        self.violations = []
        self.done = threading.Event()

    def run(self):
        while not self.done.wait(0.05):
            jobs = {}
            for pid, kind, directory in attempt_processes(self.folder):
                # A shim that waits for the lock, or is leaving, is no live attempt.
                if kind == "worker":
                    jobs.setdefault(directory.split("/attempts/")[0], set()).add(directory)
            self.violations += [directories for directories in jobs.values() if len(directories) > 1]


# ---------------------------------------------------------------- the daemon and its client
class Refused(Exception):
    def __init__(self, arguments, result):
        super().__init__(f"trainctl {' '.join(arguments)}: exit code {result.returncode}: {result.stderr.strip()}")
        self.code = result.returncode
        self.stderr = result.stderr


class World:
    """One state directory with at most one daemon."""

    def __init__(self, worker=FAKE_WORKER, state_dir=None, root=None, settings=None):
        self.root = root or tempfile.mkdtemp(prefix="trainerd-it-")
        self.state_dir = state_dir or os.path.join(self.root, "state")
        self.worker = worker
        self.settings = {"worker_path": os.path.abspath(worker), "retry_backoff": "0s", "retry_backoff_max": "0s", **(settings or {})}
        # What its programs would keep in the user's cache lies here.
        self.environment = {**os.environ, "TRAINERD_CACHE": os.path.join(self.root, "cache")}
        # What only the daemon, its shims and workers get besides.
        self.daemon_environment = {}
        self.config = os.path.join(self.root, "trainerd.yaml")
        self.log = os.path.join(self.root, "trainerd.log")
        self.daemon = None
        self.last_log = ""
        self.live = LiveAttempts(self.runs_dir)
        self.live.start()
        self.watchers = []

    @property
    def runs_dir(self):
        return os.path.join(self.state_dir, "runs")

    @property
    def address(self):
        return "unix:" + os.path.join(self.state_dir, "trainerd.sock")

    def spawn_daemon(self, **popen):
        with open(self.config, "w") as file:
            for key, value in self.settings.items():
                file.write(f"{key}: {value}\n")
        with open(self.log, "a") as log:
            return subprocess.Popen([program("trainerd"), "--config", self.config, "--state-dir", self.state_dir],
                                    stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True,
                                    env={**self.environment, **self.daemon_environment}, **popen)

    def start(self):
        self.daemon = self.spawn_daemon()
        self.wait_serving()
        return self

    def wait_serving(self):
        def serving():
            if self.daemon.poll() is not None:
                raise AssertionError(f"trainerd left with {self.daemon.returncode}: {self.daemon_log()[-2000:]}")
            return self.run("version").returncode == 0
        wait_for(serving, "the daemon to serve")

    def daemon_log(self):
        with open(self.log) as file:
            return file.read()

    def kill_daemon(self):
        self.daemon.kill()
        self.daemon.wait()

    def stop_daemon(self):
        self.daemon.terminate()
        return self.daemon.wait(PATIENCE_S)

    def restart_after_kill(self):
        self.kill_daemon()
        self.start()

    def run(self, *arguments, timeout=PATIENCE_S, **popen):
        return subprocess.run([program("trainctl"), "--address", self.address, *arguments], capture_output=True, text=True,
                              timeout=timeout, stdin=subprocess.DEVNULL, env=self.environment, **popen)

    def ctl(self, *arguments):
        """stdout of a command that must succeed."""
        result = self.run(*arguments)
        if result.returncode != 0:
            raise Refused(arguments, result)
        return result.stdout

    def submit(self, job_file, *arguments):
        out = self.ctl("submit", job_file, "--no-validate", "-o", "json", *arguments)
        return json.loads(out)["name"]

    def get(self, job):
        return json.loads(self.ctl("get", job, "-o", "json"))

    def state(self, job):
        return self.get(job)["state"]

    def wait_state(self, job, *states):
        """The job once it is in one of the states; fails at once when it has ended in another one."""
        def there():
            got = self.get(job)
            if got["state"] in states:
                return got
            if got["state"] in TERMINAL:
                raise AssertionError(f"{job} is {got['state']}, expected {states}: {json.dumps(got.get('error'))}; {self.daemon_log()[-3000:]}")
            return None
        return wait_for(there, f"{job} to be {' or '.join(states)}")

    def events(self, job):
        """Every event of a job that has ended, from the beginning."""
        return [json.loads(line) for line in self.run("watch", job, "--after", "begin", "-o", "jsonl").stdout.splitlines()]

    def checkpoints(self, job):
        """Not deleted ones, newest first."""
        listed = json.loads(self.ctl("checkpoints", "ls", job, "-o", "json"))
        return listed.get("checkpoints", []) if isinstance(listed, dict) else listed

    def watch(self, job):
        watcher = Watcher(self, job)
        self.watchers.append(watcher)
        return watcher

    # ------------------------------------------------------------ files and processes of a job
    def run_dir(self, job):
        return os.path.join(self.runs_dir, job.split("/")[-1])

    def attempt_dir(self, job, attempt):
        return os.path.join(self.run_dir(job), "attempts", str(attempt))

    def processes(self, job, kind):
        return [pid for pid, found, _ in attempt_processes(self.run_dir(job)) if found == kind]

    def wait_process(self, job, kind):
        return wait_for(lambda: self.processes(job, kind), f"a {kind} of {job}")[0]

    def last_step(self, job, attempt):
        """Newest step in the attempt's spool, ingested or not; 0 = none."""
        last = 0
        directory = self.attempt_dir(job, attempt)
        for name in sorted(os.listdir(directory)) if os.path.isdir(directory) else []:
            if name.startswith("spool."):
                try:
                    with open(os.path.join(directory, name), "rb") as file:
                        data = file.read()
                except FileNotFoundError:  # ingested, and no longer needed: the daemon removed it since the folder was listed
                    continue
                at = 0
                while at + 8 <= len(data):
                    size = struct.unpack_from("<I", data, at)[0]
                    last = step_of_event(data[at + 8:at + 8 + size]) or last
                    at += 8 + size
        return last

    def wait_step(self, job, step):
        """Until the daemon has seen that step."""
        wait_for(lambda: int(self.get(job).get("progress", {}).get("step", 0)) >= step, f"step {step} of {job}")

    def release(self, job, step):
        """Lets a fake worker that holds at that step continue (label fake.hold_at), in this and every later attempt."""
        with open(os.path.join(self.run_dir(job), f"release-{step}"), "w"):
            pass

    def final_bytes(self, job):
        with open(os.path.join(self.run_dir(job), "final", "model.safetensors"), "rb") as file:
            return file.read()

    def close(self):
        for watcher in self.watchers:
            watcher.stop()
        self.live.done.set()
        self.live.join()
        if self.daemon is not None and self.daemon.poll() is None:
            self.kill_daemon()
        for _ in range(100):
            left = [pid for pid, _, _ in attempt_processes(self.runs_dir)]
            if not left:
                break
            kill_all(left)
            time.sleep(0.02)
        if os.path.exists(self.log):
            self.last_log = self.daemon_log()
        shutil.rmtree(self.root, ignore_errors=True)
        if not self.state_dir.startswith(self.root):
            shutil.rmtree(self.state_dir, ignore_errors=True)


class Watcher:
    """`trainctl watch` of one job in the background: it reconnects by cursor whatever happens to the daemon."""

    def __init__(self, world, job):
        self.path = os.path.join(world.root, f"watch-{len(world.watchers)}.jsonl")
        with open(self.path, "w") as out, open(self.path + ".err", "w") as err:
            self.process = subprocess.Popen(
                [program("trainctl"), "--address", world.address, "watch", job, "--after", "begin", "-o", "jsonl"],
                stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=world.environment)

    def events(self):
        """All that it printed, once the job's end made it leave."""
        self.process.wait(PATIENCE_S)
        with open(self.path) as file:
            return [json.loads(line) for line in file]

    def stop(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def varint(data, at):
    value, shift = 0, 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return value, at


def step_of_event(event):
    """Metrics.step (field 1) of Event.metrics (field 11) in the wire format; None for any other event or half a one."""
    at = 0
    try:
        while at < len(event):
            tag, at = varint(event, at)
            if tag & 7 == 0:
                _, at = varint(event, at)
                continue
            size, at = varint(event, at)
            if tag >> 3 == 11 and event[at] == 0x08:
                return varint(event, at + 1)[0]
            at += size
    except IndexError:
        pass
    return None


# ---------------------------------------------------------------- what must hold of any job's events
def of_kind(events, kind):
    return [event for event in events if kind in event]


def losses(events):
    """step → loss; a step of a later attempt must repeat the value."""
    values = {}
    for event in of_kind(events, "metrics"):
        step, loss = int(event["metrics"]["step"]), event["metrics"].get("loss")
        assert values.setdefault(step, loss) == loss, f"step {step} was {values[step]}, then {loss}"
    return values


def check_events(events):
    """Order, uniqueness and completeness: T1, T3 and the ordering table of event.proto."""
    seqs = [int(event["seq"]) for event in events]
    assert seqs == sorted(set(seqs)), "sequence numbers are not strictly increasing"
    changes = of_kind(events, "state_changed")
    state = "STATE_UNSPECIFIED"
    for event in changes:
        change = event["state_changed"]
        assert change.get("from_state", "STATE_UNSPECIFIED") == state, f"{change} does not continue {state}"
        assert state not in TERMINAL, f"{change} leaves a terminal state"
        state = change["to_state"]
    assert changes[0]["state_changed"]["to_state"] == "QUEUED"
    if state in TERMINAL:
        after = [event for event in events if int(event["seq"]) > int(changes[-1]["seq"])]
        assert not of_kind(after, "metrics") and not of_kind(after, "stage"), "events of the run follow the terminal state"
    # On a full disk the worker drops metrics, and reports how many.
    dropping = {event.get("attempt", 0) for event in of_kind(events, "notice") if event["notice"].get("code") == "EVENTS_DROPPED"}
    for attempt in sorted({event.get("attempt", 0) for event in of_kind(events, "metrics")}):
        steps = [int(event["metrics"]["step"]) for event in of_kind(events, "metrics") if event.get("attempt", 0) == attempt]
        expected = sorted(set(steps)) if attempt in dropping else list(range(steps[0], steps[0] + len(steps)))
        assert steps == expected, f"attempt {attempt} has steps {steps}"
    check_checkpoint_before_end(events)
    losses(events)
    return state


def check_checkpoint_before_end(events):
    """A checkpoint's event comes before PAUSED and STOPPED."""
    published = False
    for event in events:
        if "checkpoint" in event and event["checkpoint"]["kind"] in ("PUBLISHED", "VERIFIED", "ADOPTED"):
            published = True
        if "state_changed" in event and event["state_changed"]["to_state"] in ("PAUSED", "STOPPED"):
            assert published, f"no checkpoint before {event['state_changed']['to_state']}"


def check_same_events(watched, logged):
    """What a watcher saw over all restarts is what the log holds, event by event, up to the end that made it leave."""
    end = next(event["seq"] for event in logged if event.get("state_changed", {}).get("to_state") in TERMINAL)
    watched, logged = ([event["seq"] for event in events if int(event["seq"]) <= int(end)] for events in (watched, logged))
    assert watched == logged, f"the watcher saw {watched}, the log has {logged}"


def check_whole_run(events, steps):
    """A job that succeeded: each step from 1 on, none missing."""
    assert check_events(events) == "SUCCEEDED"
    assert sorted(losses(events)) == list(range(1, steps + 1)), "steps are missing from the event log"
