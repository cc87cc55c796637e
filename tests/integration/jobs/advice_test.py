# SPDX-License-Identifier: Apache-2.0
"""Advice that works: each test provokes a refusal, takes the advice from the message, follows it literally, and sees the job run. The real programs."""

import copy
import json
import os
import re
import shutil
import struct
import subprocess

import harness
from real_jobs import REAL, RealWorkerTest

HEAD, EMBEDDING = "lm_head.weight", "model.embed_tokens.weight"


def set_key(config, path, value):
    *sections, key = path.split(".")
    for section in sections:
        config = config.setdefault(section, {})
    config[key] = value


def delete_key(config, path):
    *sections, key = path.split(".")
    for section in sections:
        config = config[section]
    del config[key]


def record(question, answer):
    return json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}) + "\n"


def read_tensors(path):
    """Name → (dtype, shape, bytes)."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    return {name: (info["dtype"], info["shape"], data[info["data_offsets"][0]:info["data_offsets"][1]])
            for name, info in header.items() if name != "__metadata__"}


def write_tensors(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, contents) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(contents)]}
        data += contents
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


class AdviceTest(RealWorkerTest):

    def config(self, **keys):
        config = {"model": {"path": REAL["model"]}, "data": {"train": [REAL["data"]], "max_length": 192, "packing": "none"},
                  "train": {"max_steps": 3, "batch_size": 1, "precision": "fp32"}, "checkpoint": {"every_steps": 0}}
        for path, value in keys.items():
            set_key(config, path.replace("__", "."), value)
        return config

    def changed(self, config, **keys):
        config = copy.deepcopy(config)
        for path, value in keys.items():
            set_key(config, path.replace("__", "."), value)
        return config

    def write(self, config):
        path = os.path.join(self.world.root, "job.yaml")
        with open(path, "w") as file:
            json.dump(config, file, indent=1)  # JSON is YAML
        return path

    def data(self, *records):
        path = os.path.join(self.world.root, "few.jsonl")
        with open(path, "w") as file:
            file.writelines(records)
        return path

    def model(self, name, **config):
        """A copy of the model with these values in config.json."""
        folder = os.path.join(self.world.root, name)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(REAL["model"], folder)
        self.edit_config(folder, **config)
        return folder

    def edit_config(self, folder, **config):
        with open(os.path.join(folder, "config.json")) as file:
            values = {**json.load(file), **config}
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(values, file)

    def refusal(self, config, *options):
        """What validate prints of a job that it refuses."""
        result = self.world.run("validate", self.write(config), *options)
        self.assertEqual(result.returncode, 2, result.stdout + result.stderr)
        return result.stdout + result.stderr

    def advice(self, pattern, text):
        found = re.search(pattern, text)
        self.assertTrue(found, f"{pattern!r} is not in: {text}")
        return found.groups() if len(found.groups()) > 1 else found.group(found.re.groups)

    def check_runs(self, config):
        """Accepted with all checks, and trained to the end."""
        name = json.loads(self.world.ctl("submit", self.write(config), "-o", "json"))["name"]
        self.world.wait_state(name, "SUCCEEDED")
        return name

    def check_passes(self, config):
        """Accepted with all checks."""
        for options in ([], ["--full"]):
            self.world.ctl("validate", self.write(config), *options)

    # ------------------------------------------------------------ the model folder
    def test_hub_id_as_a_path(self):
        for parent in ("models", "my models"):
            with self.subTest(parent):
                path = os.path.join(self.world.root, parent, "Qwen", "Qwen3-0.6B")
                os.makedirs(os.path.dirname(os.path.dirname(path)))
                config = self.config(model__path=path)
                command = self.advice(r"download it first: (hf download .*)\n", self.refusal(config))
                self.assertEqual(command, self.advice(r"download it first: (hf download .*?)(?: \[.*)?\n", self.refusal(config, "--full")))
                programs = os.path.join(self.world.root, "programs")
                os.makedirs(programs, exist_ok=True)
                with open(os.path.join(programs, "hf"), "w") as file:
                    file.write('#!/bin/sh\ntest "$#" = 4 && test "$1 $2 $3" = "download Qwen/Qwen3-0.6B --local-dir" && '
                               f'mkdir -p "$4" && cp -r {REAL["model"]}/. "$4"\n')
                os.chmod(os.path.join(programs, "hf"), 0o755)
                subprocess.run(command, shell=True, check=True, timeout=harness.PATIENCE_S, env={**os.environ, "PATH": programs + ":" + os.environ["PATH"]})
                self.check_runs(config)

    def test_number_of_layers_that_does_not_fit(self):
        for wrong in (1, 3):
            with self.subTest(layers=wrong):
                folder = self.model(f"layers-{wrong}", num_hidden_layers=wrong)
                config = self.config(model__path=folder)
                layers = self.advice(r'set "num_hidden_layers": ([0-9]+)', self.refusal(config))
                self.edit_config(folder, num_hidden_layers=int(layers))
                self.check_runs(config)

    def test_missing_head(self):
        folder = self.model("headless", tie_word_embeddings=False)
        config = self.config(model__path=folder)
        key, value = self.advice(r'if the head is the embedding, set "(tie_word_embeddings)": (true)', self.refusal(config))
        self.edit_config(folder, **{key: json.loads(value)})
        self.check_runs(config)

    def test_tied_head_with_weights_of_its_own(self):
        folder = self.model("own-head")
        path = os.path.join(folder, "model.safetensors")
        tensors = read_tensors(path)
        dtype, shape, contents = tensors[EMBEDDING]
        write_tensors(path, {**tensors, HEAD: (dtype, shape, contents[4:] + contents[:4])})
        config = self.config(model__path=folder)
        report = json.loads(self.world.ctl("validate", self.write(config), "-o", "json"))
        finding = next(finding for finding in report["findings"] if finding["code"] == "UNTIED_HEAD")
        self.assertFalse(finding.get("error", False))
        self.assertIn("the head is trained and saved on its own", finding["message"])
        # It is what the message says.
        final = os.path.join(self.world.run_dir(self.check_runs(config)), "final")
        saved = read_tensors(os.path.join(final, "model.safetensors"))
        self.assertNotEqual(saved[HEAD][2], saved[EMBEDDING][2])
        self.assertNotEqual(saved[HEAD][2], contents[4:] + contents[:4], "it was trained")
        with open(os.path.join(final, "config.json")) as file:
            self.assertIs(json.load(file)["tie_word_embeddings"], False)

    # ------------------------------------------------------------ the length of the job
    def test_warm_up_longer_than_the_job(self):
        config = self.config(schedule__warmup_steps=5)
        key, steps = self.advice(r"schedule\.(warmup_steps): .*train\.max_steps ([0-9]+); lower it or raise max_steps", self.refusal(config))
        self.assertEqual(key, "warmup_steps")
        self.check_runs(self.changed(config, schedule__warmup_steps=int(steps) - 1))
        self.check_passes(self.changed(config, train__max_steps=6))

    def test_warm_up_longer_than_the_epochs(self):
        config = self.config(data__train=[self.data(*[record(f"q {i}", f"a {i}") for i in range(3)])], schedule__warmup_steps=5, train__epochs=1)
        delete_key(config, "train.max_steps")
        for options in ([], ["--full"]):
            steps, epochs = self.advice(r"before the ([0-9]+) steps that train\.epochs ([0-9.]+) gives; lower it or raise train\.epochs",
                                        self.refusal(config, *options))
            self.assertEqual((steps, epochs), ("3", "1"))
        self.check_passes(self.changed(config, schedule__warmup_steps=2))
        self.check_runs(self.changed(config, train__epochs=2))

    def test_job_from_a_finished_one(self):
        for keys in ({"train__max_steps": 3}, {"train__epochs": 1}):
            with self.subTest(str(keys)):
                config = self.config(data__train=[self.data(*[record(f"q {i}", f"a {i}") for i in range(3)])])
                delete_key(config, "train.max_steps")
                # The file is older than the job, so that the daemon knows the steps of an epoch.
                os.utime(config["data"]["train"][0], (1e9, 1e9))
                base = self.check_runs(self.changed(config, **keys))
                refused = self.world.run("submit", "--from", base)
                self.assertEqual(refused.returncode, 6, refused.stderr)
                for advised, value in (("train.max_steps", "5"), ("train.epochs", "2"), ("init_from.state", "weights")):
                    self.assertIn(advised, refused.stderr)
                    continued = json.loads(self.world.ctl("submit", "--from", base, "--set", f"{advised}={value}", "-o", "json"))["name"]
                    self.assertGreater(int(self.world.wait_state(continued, "SUCCEEDED")["progress"]["step"]), 0)

    # ------------------------------------------------------------ data and output
    def test_validation_fraction_that_yields_no_example(self):
        few = self.data(record("q", "a"))
        config = self.config(data__train=[few], data__validation_fraction=0.5)
        text = self.refusal(config, "--full")
        self.advice(r"data\.validation_fraction 0\.5 of 1 example yields no example to validate on; add data, or set it to 0 or replace it by (data\.validation)", text)
        self.check_passes(self.changed(config, data__validation_fraction=0))
        replaced = self.changed(config, data__validation=REAL["data"])
        delete_key(replaced, "data.validation_fraction")
        self.check_passes(replaced)
        self.check_runs(self.changed(config, data__train=[few, REAL["data"]]))

    def test_output_path_that_cannot_be_made(self):
        file = self.data(record("q", "a"))
        taken = os.path.join(self.world.root, "taken")
        os.mkdir(taken)
        for path, advice in ((file + "/model", "choose a folder that can be created"), ("/proc/model", "choose a folder that can be created"),
                             (taken, "choose a folder that does not exist, or move this one away")):
            with self.subTest(path):
                config = self.config(output__path=path)
                self.assertIn(advice, self.refusal(config))
                self.check_passes(self.changed(config, output__path=path.replace("/", "-").replace("-", "", 1)))
        os.rename(taken, taken + "-away")
        self.check_runs(self.config(output__path=taken))

    def test_keys_of_other_tools(self):
        for foreign, value, ours_value in (("num_train_epochs", 1, 1), ("per_device_train_batch_size", 2, 2), ("warmup_ratio", 0.1, 1), ("lr", 1e-3, 1e-3),
                                           ("val_set_size", 0.1, 0.1), ("lr_scheduler_type", "linear", "linear"), ("save_total_limit", 1, 1),
                                           ("trust_remote_code", True, None), ("gradient_checkpointing", True, None)):
            with self.subTest(foreign):
                config = self.config()
                text = self.refusal(self.changed(config, **{foreign: value}))
                if ours_value is not None:
                    set_key(config, self.advice(rf'unknown key "{foreign}" at the top level; write ([a-z_.]+)', text), ours_value)
                self.check_passes(config)

    def test_records_that_cannot_be_trained(self):
        good = record("q", "a")
        # Records, changes of the job, and the advice as (pattern, key of the job that it names).
        cases = {
            "not JSON": ("{oops\n", {}, r"or set (data\.bad_rows): (skip)"),
            "empty answer": (record("q", ""), {}, r"set (data\.findings\.empty_answer): (warn)"),
            "empty answer, skipped": (record("q", ""), {}, r"or set (data\.bad_rows): (skip)"),
            "too long": (record("q", "a" * 500), {"data__too_long": "fail"}, r"or set (data\.too_long) to (truncate)"),
            "too long, skipped": (record("q", "a" * 500), {"data__too_long": "fail"}, r"or set (data\.too_long) to truncate or (skip)"),
        }
        for name, (bad, keys, pattern) in cases.items():
            with self.subTest(name):
                config = self.config(data__train=[self.data(good, bad)], **keys)
                # The first error ends a job, so it carries the advice; preview ends in the same way.
                refused = self.world.run("preview", self.write(config))
                self.assertEqual(refused.returncode, 2, refused.stdout)
                key, value = self.advice(pattern, refused.stderr)
                set_key(config, key, value)
                self.check_passes(config)

    def test_files_of_other_kinds(self):
        folder = os.path.join(self.world.root, "kinds")
        os.makedirs(folder, exist_ok=True)
        row = {"prompt": "caf\u00e9, a", "completion": "b"}
        cases = {"FILE.csv": ('prompt,completion\n"caf\u00e9, a",b\n', "utf-8"), "latin1.jsonl": (json.dumps(row, ensure_ascii=False) + "\n", "cp1252"),
                 "wide.jsonl": (json.dumps(row) + "\n", "utf-16")}
        if shutil.which("jq"):
            cases.update({"lines.txt": ("Once upon a time\n", "utf-8"), "pretty.json": (json.dumps(row, indent=1), "utf-8")})
        for name, (text, encoding) in cases.items():
            with self.subTest(name):
                path = os.path.join(folder, name)
                with open(path, "w", encoding=encoding) as file:
                    file.write(text)
                config = self.config(data__train=[path])
                command = self.advice(r"for example(?: with)?: ((?:python3|jq|iconv) .* > FILE\.jsonl)", self.refusal(config))
                # FILE stands for the file.
                command = command.replace("FILE.csv", "FILE").replace(" FILE ", f" {path} ").replace("FILE.jsonl", "converted.jsonl")
                subprocess.run(command, shell=True, check=True, cwd=folder, timeout=harness.PATIENCE_S)
                set_key(config, "data.train", [os.path.join(folder, "converted.jsonl")])
                self.check_passes(config)

    def test_misspelt_role(self):
        bad = record("q", "a").replace('"assistant"', '"assitant"')
        config = self.config(data__train=[self.data(record("q", "a"), bad)])
        wrong, right = self.advice(r'unknown role "([a-z]+)" .*did you mean "([a-z]+)"\?', self.refusal(config))
        self.data(record("q", "a"), bad.replace(wrong, right))
        self.check_runs(config)

    def test_template_that_is_missing_or_shows_no_answer(self):
        for name, template in (("missing", None), ("silent", "{% for m in messages %}{{ m.content }}{% endfor %}")):
            with self.subTest(name):
                folder = self.model(f"template-{name}")
                for file in ("chat_template.jinja", "chat_template.json"):
                    if os.path.exists(os.path.join(folder, file)):
                        os.remove(os.path.join(folder, file))
                path = os.path.join(folder, "tokenizer_config.json")
                with open(path) as file:
                    values = json.load(file)
                values.pop("chat_template", None)
                if template is not None:
                    values["chat_template"] = template
                with open(path, "w") as file:
                    json.dump(values, file)
                config = self.config(model__path=folder)
                key, value = self.advice(r"set (data\.chat_template): (chatml)", self.refusal(config))
                set_key(config, key, value)
                self.check_runs(config)


if __name__ == "__main__":
    import unittest
    unittest.main(verbosity=2)
