# SPDX-License-Identifier: Apache-2.0
"""What every benchmark here needs: where the programs and inputs lie, which machine this is, and one JSON line per result on stdout.

Standard library only, so that it serves the system's Python and the virtual environment with torch alike."""

import calendar
import json
import os
import platform
import re
import subprocess
import sys
import time

BENCH_DIR = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.abspath(os.path.join(BENCH_DIR, "..", ".."))
GOLDEN = os.path.join(ROOT, "tests", "golden")
BIN_DIR = os.path.abspath(os.environ.get("TRAINERD_BIN_DIR", os.path.join(ROOT, "build", "dev", "bin")))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
SHARED = os.environ.get("TRAINERD_SHARED") or os.path.join(ROOT, "..", "shared")
PEERS_PYTHON = os.path.join(CACHE, "venv-peers", "bin", "python")
SMOLLM2 = os.path.join(CACHE, "models", "SmolLM2-135M-Instruct")
THREADS = 2

# tests/integration has the harness that starts the real programs.
os.environ.setdefault("TRAINERD_BIN_DIR", BIN_DIR)
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))


def program(name):
    return os.path.join(BIN_DIR, name)


def shared_file(*parts):
    """A file of the folder with shared inputs, or None where there is no such folder."""
    path = os.path.join(SHARED, *parts)
    return path if os.path.exists(path) else None


def load():
    return os.getloadavg()[0]


def emit(bench, **values):
    """One result. The load says how far it can be trusted."""
    print(json.dumps({"bench": bench, **values, "load": round(load(), 2)}, ensure_ascii=False), flush=True)


def note(text):
    print(text, file=sys.stderr, flush=True)


def _first_line(arguments):
    try:
        out = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return ""
    lines = (out.stdout or out.stderr).strip().splitlines()
    return lines[0] if lines else ""


def machine():
    """CPU, memory, kernel and versions: what a figure means nothing without. No name of the host."""
    with open("/proc/cpuinfo") as file:
        info = file.read()
    with open("/proc/meminfo") as file:
        memory_kib = int(re.search(r"MemTotal:\s+(\d+)", file.read()).group(1))
    model = re.search(r"model name\s*:\s*(.*)", info)
    flags = re.search(r"flags\s*:\s*(.*)", info)
    reported = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {"cpu": model.group(1) if model else platform.machine(), "cores": os.cpu_count(),
            "features": [name for name in reported if flags and name in flags.group(1).split()],
            "memory_gib": round(memory_kib / 2**20, 1), "kernel": platform.release(),
            "trainerd": _first_line([program("trainerd"), "--version"]), "compiler": _first_line(["g++", "--version"]),
            "date": time.strftime("%Y-%m-%d", time.gmtime())}


def percentile(values, share):
    """Nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values):
    return percentile(values, 0.5)


def event_seconds(event):
    """When an event of `-o jsonl` or --events happened, in seconds since 1970."""
    whole, _, fraction = event["time"].rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + (float("0." + fraction) if fraction else 0.0)


def process_age_seconds(pid="self"):
    """Seconds since the kernel started the process."""
    with open(f"/proc/{pid}/stat") as file:
        ticks = int(file.read().rsplit(")", 1)[1].split()[19])
    with open("/proc/uptime") as file:
        return float(file.read().split()[0]) - ticks / os.sysconf("SC_CLK_TCK")


def test_program(name):
    """A program of tests/ that the build put beside the fake worker."""
    folder = os.path.dirname(os.path.abspath(os.environ["TRAINERD_FAKE_WORKER"])) if "TRAINERD_FAKE_WORKER" in os.environ \
        else os.path.join(BIN_DIR, "..", "tests")
    return os.path.join(os.environ.get("TRAINERD_TEST_BIN_DIR", folder), name)


def json_of(arguments, **options):
    """What a program prints, as JSON."""
    return json.loads(subprocess.run(arguments, stdout=subprocess.PIPE, check=True, **options).stdout)
