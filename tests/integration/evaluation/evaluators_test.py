# SPDX-License-Identifier: Apache-2.0
"""The two reference evaluators of deploy/evaluators as real processes that are killed and started again midway, while the daemon is killed, too. Where the
Python has no torch and no lm-eval, as in the continuous integration, a small scorer replaces lm-eval, and the test prints that."""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import unittest

import harness
from fake_jobs import FakeWorkerTest

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
CACHE = os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd")
PYTHON = os.path.join(CACHE, "venv-tests", "bin", "python3")
# One with grpcio, torch, transformers and lm-eval.
LM_EVAL_PYTHON = os.environ.get("TRAINERD_LM_EVAL_PYTHON", "")
EVALUATORS = os.path.join(ROOT, "deploy", "evaluators")

# Measures the size of the weights. Its first process waits until it is killed.
SCORER = """
import os, time

def score(path, params):
    began = params["began"]
    if not os.path.exists(began):
        open(began, "w").close()
        time.sleep(600)
    size = os.path.getsize(os.path.join(path, "model.safetensors"))
    return {"weight_bytes": {"value": size, "lower_is_better": True}, "share": {"value": 0.25, "sample_count": 4}}
"""

# A tiny Llama of random weights with a tokenizer of words, and a task of multiple choice, in the folders given.
MAKE_MODEL = """
import json, os, sys
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

model, tasks = sys.argv[1:]
words = ["<unk>", "<s>", "</s>"] + [f"w{i}" for i in range(61)]
tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="</s>").save_pretrained(model)
torch.manual_seed(1)
LlamaForCausalLM(LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
                             max_position_embeddings=128, initializer_range=0.5)).save_pretrained(model)
with open(os.path.join(tasks, "words.jsonl"), "w") as file:
    for i in range(24):
        file.write(json.dumps({"question": f"w{i} w{i + 7}", "choices": [f"w{i + 1}", f"w{i + 2}", f"w{i + 3}"], "answer": i % 3}) + chr(10))
with open(os.path.join(tasks, "words.yaml"), "w") as file:
    file.write("task: words\\ndataset_path: json\\ndataset_kwargs: {data_files: {test: " + os.path.join(tasks, "words.jsonl") + "}}\\n"
               "test_split: test\\noutput_type: multiple_choice\\ndoc_to_text: '{{question}}'\\ndoc_to_choice: '{{choices}}'\\ndoc_to_target: '{{answer}}'\\n"
               "metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]\\n")
"""


class EvaluatorsTest(FakeWorkerTest):

    def setUp(self):
        if subprocess.run([PYTHON, "-c", "import grpc_tools"], capture_output=True).returncode != 0:
            self.skipTest(f"{PYTHON} has no grpcio-tools: run deploy/install_dependencies.sh --tests")
        super().setUp()
        self.work = os.path.join(self.world.root, "evaluators")
        shutil.copytree(EVALUATORS, self.work)
        with open(os.path.join(self.work, "README.md")) as file:
            command, = re.findall(r"^python3 -m grpc_tools.protoc.*$", file.read(), re.MULTILINE)
        command = re.sub(r"\bPROTOS\b(?=[ /])", os.path.join(ROOT, "proto"), command)
        subprocess.run(command.replace("python3", PYTHON, 1), shell=True, check=True, cwd=self.work, timeout=harness.PATIENCE_S)
        with open(os.path.join(self.work, "small_scorer.py"), "w") as file:
            file.write(SCORER)
        self.world.start()

    def spawn(self, *command):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self.work, start_new_session=True,
                                   env={**self.world.environment, "TRAINERD_ADDRESS": self.world.address, "PYTHONPATH": self.work})
        self.addCleanup(self.kill, process)
        return process

    def kill(self, process):
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def python_evaluator(self, python, *arguments):
        return self.spawn(python, os.path.join("python", "evaluator.py"), *arguments)

    def shell_evaluator(self, command):
        return self.spawn(harness.program("trainctl"), "evaluate", "--worker", "--suite", "shell", "--lease", "10s", "--command", command)

    def evaluations(self, job):
        return json.loads(self.world.ctl("evaluations", job, "-o", "json"))["evaluations"]

    def test_both_are_killed_midway_and_the_evaluations_are_done_once(self):
        if not LM_EVAL_PYTHON:
            print("a small scorer replaces lm-eval: TRAINERD_LM_EVAL_PYTHON names no Python with torch and lm-eval", flush=True)
        marks = {suite: os.path.join(self.world.root, f"began-{suite}") for suite in ("python", "shell")}
        entries = ", ".join(f"{{name: {suite}, suite: {suite}, required: true, params: {{began: {mark}}}}}" for suite, mark in marks.items())
        job = self.submit(name="evaluated", steps=10, extra=f"evaluation: {{remote: [{entries}]}}\n")
        # The first run of the command waits until it is killed.
        command = f"[ -e {marks['shell']} ] || {{ touch {marks['shell']}; exec sleep 600; }}; shell/weight_bytes.sh {{checkpoint}}"
        start = (lambda: self.python_evaluator(PYTHON, "--suite", "python", "--lease", "10", "--scorer", "small_scorer:score"),
                 lambda: self.shell_evaluator(command))
        first = [begin() for begin in start]
        for suite, mark in marks.items():
            harness.wait_for(lambda: os.path.exists(mark), f"the {suite} evaluator to begin")
        for process in first:
            self.kill(process)
        # Its measurement ends with an evaluator.
        harness.wait_for(lambda: not self.measuring(), "the measurements to end")
        self.world.restart_after_kill()
        self.assertEqual(self.world.state(job), "RUNNING")
        for begin in start:
            begin()
        self.world.wait_state(job, "SUCCEEDED")
        size = len(self.world.final_bytes(job))
        for evaluation in self.evaluations(job):
            self.assertEqual((evaluation["state"], evaluation["lease_count"]), ("COMPLETED", 2), evaluation)
            self.assertEqual({m["name"]: m["value"] for m in evaluation["metrics"]}["weight_bytes"], size)
        states = {}
        for event in harness.of_kind(self.world.events(job), "remote_eval"):
            evaluation = event["remote_eval"]["evaluation"]
            states.setdefault(evaluation["name"], []).append(evaluation["state"])
        self.assertEqual(list(states.values()), [["TRIGGERED", "LEASED", "COMPLETED"]] * 2)

    def test_the_figures_of_lm_eval_are_those_of_a_run_by_hand(self):
        if not LM_EVAL_PYTHON:
            self.skipTest("TRAINERD_LM_EVAL_PYTHON names no Python with torch, transformers and lm-eval")
        model, tasks, out = (os.path.join(self.world.root, name) for name in ("model", "tasks", "out"))
        for folder in (model, tasks):
            os.makedirs(folder)
        subprocess.run([LM_EVAL_PYTHON, "-c", MAKE_MODEL, model, tasks], check=True, capture_output=True)
        job = self.submit(name="scored", steps=5)
        params = ("--param", "tasks=words", "--param", "limit=20")
        name = json.loads(self.world.ctl("evaluate", f"{job}/start", "--suite", "lm-eval", *params, "-o", "json"))["name"]
        self.python_evaluator(LM_EVAL_PYTHON, "--suite", "lm-eval", "--include-path", tasks)
        by_hand = subprocess.run([LM_EVAL_PYTHON, "-m", "lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32", "--include_path", tasks,
                                  "--tasks", "words", "--limit", "20", "--device", "cpu", "--batch_size", "1", "--output_path", out], capture_output=True, text=True,
                                 env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})
        self.assertEqual(by_hand.returncode, 0, by_hand.stderr[-2000:])
        results, = glob.glob(os.path.join(out, "**", "results_*.json"), recursive=True)
        with open(results) as file:
            expected = json.load(file)["results"]["words"]

        def ended():
            found = {e["name"]: e for e in self.evaluations(job)}[name]
            return found if found["state"] not in ("TRIGGERED", "LEASED") else None
        evaluation = harness.wait_for(ended, "the evaluation to end")
        self.assertEqual(evaluation["state"], "COMPLETED", evaluation.get("error"))
        acc, = [m for m in evaluation["metrics"] if m["name"] == "words/acc"]
        self.assertEqual((acc["value"], acc["standard_error"], acc["sample_count"]), (expected["acc,none"], expected["acc_stderr,none"], 20))
        self.assertTrue(0 < acc["value"] < 1, "the figure shall not be trivial")

    def measuring(self):
        """Processes that work for an evaluator in this test's folder."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/cwd") == self.work:
                    found.append(pid)
            except OSError:
                continue
        return found


if __name__ == "__main__":
    unittest.main()
