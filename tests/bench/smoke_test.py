#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Each benchmark runs with tiny sizes and prints results that parse. Figures are printed, never
asserted: they depend on the load of the machine.

usage: smoke_test.py [BenchSmokeTest.test_NAME]
Exit code 77 if the requested tests were skipped; the reason is printed."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

import bench_common as bench

# A benchmark that hangs must not hang the tests.
LIMIT_S = 540
# What ctest takes as "skipped".
EXIT_SKIPPED = 77


def result_lines(arguments):
    """The JSON lines that a benchmark prints; fails with its messages when it fails."""
    run = subprocess.run(arguments, capture_output=True, text=True, timeout=LIMIT_S, check=False, cwd=bench.BENCH_DIR)
    if run.returncode != 0:
        raise AssertionError(f"{' '.join(arguments)}: exit code {run.returncode}\n{run.stdout[-2000:]}\n{run.stderr[-4000:]}")
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    for line in lines:
        print(json.dumps(line), flush=True)
    return lines


def script_lines(name, *arguments, interpreter=sys.executable):
    return result_lines([interpreter, os.path.join(bench.BENCH_DIR, name), *arguments])


def script(name, *arguments, **options):
    """The last line of each kind."""
    return {line["bench"]: line for line in script_lines(name, *arguments, **options)}


def needs_engine():
    if not os.path.exists(bench.program("trainerd-worker")):
        raise unittest.SkipTest("trainerd-worker is not built (TRAINERD_ENGINE=OFF)")


def needs_peers():
    if not os.path.exists(bench.PEERS_PYTHON):
        raise unittest.SkipTest(f"{bench.PEERS_PYTHON} is not there (deploy/install_dependencies.sh --peers makes it): nothing to compare with")


class BenchSmokeTest(unittest.TestCase):

    def test_server(self):
        found = script("server_bench.py", "--smoke")
        self.assertEqual(set(found), {"start", "submit", "watch_latency", "watchers", "replay", "pages", "idle_watchers", "list", "metrics", "pause"})
        self.assertEqual(found["pages"]["jobs"], 50 + 300 + 2)
        self.assertLessEqual(found["pages"]["labelled_jobs"], found["pages"]["jobs"])
        self.assertEqual(found["submit"]["found_after_kill"], found["submit"]["acknowledged"])
        self.assertEqual(found["watchers"]["gaps"], 0)
        self.assertEqual(found["replay"]["gaps"], 0)
        self.assertEqual(found["replay"]["completed"], found["replay"]["replayers"])
        self.assertGreater(found["watch_latency"]["lines"], 0)
        self.assertGreater(found["list"]["jobs"], 0)
        self.assertGreater(found["metrics"]["points"], 1000)

    def test_pause_of_the_real_worker(self):
        needs_engine()
        found = script("server_bench.py", "--smoke", "--only", "pause_real")
        self.assertGreater(found["pause_real"]["checkpoint_s"], 0)

    def test_checkpoint(self):
        needs_engine()
        with tempfile.TemporaryDirectory(prefix="trainerd-bench-") as root:
            import real_jobs
            model, _ = real_jobs.make_inputs(root)
            found = results_of_checkpoint(model, os.path.join(root, "scratch"))
        self.assertGreater(found["bytes"], 0)

    def test_text(self):
        found = [line for line in script_lines("text_bench.py", "--rounds", "1", "--generated-kb", "100") if line["bench"] == "tokenizer"]
        self.assertEqual({line["kind"] for line in found}, {"conversations", "code", "chinese", "other_scripts", "mixed"})
        for line in found:
            self.assertGreater(line["mb_per_second"], 0)
            self.assertGreater(line["two_threads_ratio"], 0)
            self.assertGreater(line["load_ms"], 0)
            self.assertTrue(line.get("same_ids", True))

    def test_data(self):
        found = script("data_bench.py", "--rounds", "1", "--copies", "1", "--documents", "100000", "--large-mb", "5", "--conversations", "2000")
        self.assertGreater(found["pack"]["fill"], 0.9)
        self.assertGreater(found["large"]["conversations"], 0)
        self.assertGreater(found["large"]["peak_rss_mb"], 0)
        # Each of these two may be missing, with its reason in "skipped".
        if "rows" in found:
            self.assertGreater(found["rows"]["per_second"], 0)
        if "second_run" in found:
            self.assertEqual(found["second_run"]["conversations"], 2000)
            self.assertGreater(found["second_run"]["rows"], 0)
        self.assertTrue("skipped" in found or ("rows" in found and "second_run" in found))

    def test_training(self):
        needs_engine()
        found = script("vs_trl.py", "--models", "tiny", "--sides", "trainerd", "--steps", "2")
        self.assertGreater(found["training"]["tokens_per_second"], 0)
        self.assertGreater(found["training"]["ready_s"], 0)

    def test_training_of_the_peer(self):
        needs_engine()
        needs_peers()
        found = script("vs_trl.py", "--models", "tiny", "--steps", "2")
        self.assertGreater(found["training_ratio"]["tokens_per_second"], 0)

    def test_training_of_an_adapter(self):
        needs_engine()
        found = script("vs_trl.py", "--models", "tiny", "--sides", "trainerd,trainerd-lora", "--rank", "4", "--steps", "2")
        self.assertGreater(found["lora_ratio"]["speed_over_full"], 0)
        self.assertGreater(found["lora_ratio"]["memory_over_full"], 0)

    def test_adapter_of_the_peer(self):
        needs_engine()
        needs_peers()
        found = script("vs_trl.py", "--models", "tiny", "--sides", "trainerd,trainerd-lora,trl-lora", "--rank", "4", "--steps", "2")
        self.assertGreater(found["lora_ratio"]["speed_over_peft"], 0)

    def test_losses_agree_with_transformers(self):
        needs_engine()
        needs_peers()
        found = script("loss_vs_transformers.py", "--tiny", "--steps", "3", "--max-length", "192", interpreter=bench.PEERS_PYTHON)
        self.assertTrue(found["loss_vs_transformers"]["agree"])
        self.assertTrue(found["final_in_transformers"]["agree"])


def results_of_checkpoint(model, scratch):
    run = subprocess.run([bench.test_program("checkpoint_bench"), "--model", model, "--scratch", scratch, "--rounds", "2"], capture_output=True,
                         text=True, timeout=LIMIT_S, check=True)
    return json.loads(run.stdout)


def main():
    result = unittest.main(verbosity=2, exit=False).result
    if not result.wasSuccessful():
        sys.exit(1)
    if result.testsRun > 0 and len(result.skipped) == result.testsRun:
        sys.exit(EXIT_SKIPPED)


if __name__ == "__main__":
    main()
