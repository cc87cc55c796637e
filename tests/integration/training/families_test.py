# SPDX-License-Identifier: Apache-2.0
"""Each kind of family with the tokenizer and the template that belong to it, on a tiny model through
a real daemon, in fp32 and bf16: the job succeeds and learns, and its final model has the tensors that
transformers gives such a model (tests/golden/model)."""

import json
import os
import shutil
import struct
import subprocess
import unittest

import harness
from real_jobs import GOLDEN, REAL, WORKER, RealWorkerTest

STEPS = 12

# Test → (model of tests/golden/model, tokenizer and template of tests/golden/text).
FAMILIES = {
    "llama2": ("llama_tied", "llama2", "instruct_sys"),
    "mistral": ("mistral_sliding", "mistral", "instruct_first"),
    "tinyllama": ("llama_tied", "llama2", "role_lines"),
    "phi3": ("phi3", "phi3", "role_tags"),
    "phi4_mini": ("phi4_mini", "o200k", "role_lines"),
    "gemma": ("gemma", "gemma", "turn_marks"),
    "gemma2": ("gemma2", "gemma", "turn_marks"),
    "gemma3": ("gemma3", "gemma", "turn_marks"),
    "granite": ("granite", "gpt2", "role_lines"),
    "qwen3_moe": ("qwen3_moe", "qwen3", "role_lines"),
    "qwen3_moe_balanced": ("qwen3_moe_balanced", "qwen3", "role_lines"),
}


def header_of(path):
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    header.pop("__metadata__", None)
    return header


class FamiliesTest(RealWorkerTest):

    def make_model(self, name, precision):
        """(model folder, golden of its architecture)."""
        architecture, tokenizer, template = FAMILIES[name]
        folder = os.path.join(self.world.root, f"{name}-{precision}")
        with open(os.path.join(GOLDEN, "model", architecture + ".json")) as file:
            golden = json.load(file)
        text = os.path.join(GOLDEN, "text")
        source = os.path.join(folder, "tokenizer")
        shutil.copytree(os.path.join(text, "tokenizers", tokenizer), source)
        shutil.copy(os.path.join(text, "templates", template + ".jinja"), os.path.join(source, "chat_template.jinja"))
        config = {**golden["config"], "vocab_size": 840, "max_position_embeddings": 2048}
        path = os.path.join(folder, "config.json")
        with open(path, "w") as file:
            json.dump(config, file)
        model = os.path.join(folder, "model")
        subprocess.run([WORKER, "init-model", "--config", path, "--output", model, "--seed", "1", "--tokenizer", source],
                       check=True, capture_output=True, timeout=harness.PATIENCE_S)
        return model, golden

    def check(self, name):
        for precision in ("fp32", "bf16"):
            model, golden = self.make_model(name, precision)
            job_file = os.path.join(self.world.root, f"{name}-{precision}.yaml")
            with open(job_file, "w") as file:
                file.write(f"model: {{path: {model}}}\ndata: {{train: [{REAL['data']}], max_length: 512}}\n"
                           f"train: {{precision: {precision}, batch_size: 4, max_steps: {STEPS}, seed: 3}}\n"
                           "optimizer: {learning_rate: 1.0e-2}\nschedule: {type: constant, warmup_steps: 0}\n")
            job = self.world.submit(job_file)
            self.world.wait_state(job, "SUCCEEDED")
            losses = harness.losses(self.world.events(job))
            self.assertEqual(len(losses), STEPS)
            self.assertLess(losses[STEPS], 0.95 * losses[1])
            final = os.path.join(self.world.run_dir(job), "final")
            header = header_of(os.path.join(final, "model.safetensors"))
            self.assertEqual(set(header), set(golden["gradients"]), "a tensor is missing or unexpected")
            self.assertEqual({info["dtype"] for info in header.values()}, {"F32"}, "the source's dtype")


def _add_test(name):
    setattr(FamiliesTest, f"test_{name}", lambda self: self.check(name))


for _name in FAMILIES:
    _add_test(_name)


if __name__ == "__main__":
    unittest.main(verbosity=2)
