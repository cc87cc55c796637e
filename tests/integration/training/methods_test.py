# SPDX-License-Identifier: Apache-2.0
"""The examples of deploy/jobs, each through a real daemon on the tiny model: the job succeeds, and
its final model is what the method promises."""

import json
import math
import os
import struct
import subprocess
import unittest

import harness
from real_jobs import REAL, WORKER, RealWorkerTest

JOBS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..", "deploy", "jobs")
STEPS = 6


def tensors(path):
    """Name → (dtype, shape, bytes) of a safetensors file."""
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        header = json.loads(file.read(size))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])])
            for name, info in header.items()}


class MethodsTest(RealWorkerTest):

    def run_example(self, name, *changes):
        """(job, folder of its final model, losses by step) of an example with a few steps."""
        arguments = []
        for change in (f"model.path={REAL['model']}", f"train.max_steps={STEPS}", "schedule.warmup_steps=0",
                       *changes):
            arguments += ["--set", change]
        job = self.world.submit(os.path.join(JOBS, name + ".yaml"), *arguments)
        self.world.wait_state(job, "SUCCEEDED")
        losses = harness.losses(self.world.events(job))
        self.assertEqual(len(losses), STEPS)
        return job, os.path.join(self.world.run_dir(job), "final"), losses

    def changed(self, final):
        """Names of the tensors that differ from the start model's."""
        before, after = (tensors(os.path.join(folder, "model.safetensors")) for folder in (REAL["model"], final))
        self.assertEqual(set(before), set(after))
        return {name for name in before if before[name] != after[name]}, set(before)

    def check_learned(self, job):
        """The validation loss after the last step is below that before the first."""
        losses = [float(event["eval"]["loss"]) for event in harness.of_kind(self.world.events(job), "eval")]
        self.assertLess(losses[-1], losses[0])

    def test_full(self):
        job, final, _ = self.run_example("full")
        self.check_learned(job)
        changed, every = self.changed(final)
        self.assertEqual(changed, every)

    def test_pure_bf16(self):
        job, final, _ = self.run_example("full", "train.precision=bf16_sr")
        self.check_learned(job)
        changed, every = self.changed(final)
        self.assertEqual(changed, every)

    def test_frozen_parts(self):
        job, final, _ = self.run_example("frozen_parts")
        self.check_learned(job)
        changed, every = self.changed(final)
        self.assertEqual(changed, {name for name in every if not name.startswith(("model.embed_tokens.", "model.layers.0."))})

    def test_lora_and_an_adapter_that_continues(self):
        job, adapter, losses = self.run_example("lora")
        self.assertLess(losses[STEPS], losses[1])
        names = set(os.listdir(adapter))
        self.assertLessEqual({"adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}, names)
        self.assertFalse({"config.json", "model.safetensors"} & names)
        with open(os.path.join(adapter, "adapter_config.json")) as file:
            config = json.load(file)
        self.assertEqual((config["r"], config["lora_alpha"], config["base_model_name_or_path"]), (16, 32, REAL["model"]))
        weights = tensors(os.path.join(adapter, "adapter_model.safetensors"))
        self.assertEqual(len(weights), 2 * 7 * 2)
        # B was 0, so it has trained.
        trained = weights["base_model.model.model.layers.1.mlp.down_proj.lora_B.weight"]
        self.assertEqual(trained[:2], ("F32", [32, 16]))
        self.assertNotEqual(trained[2], bytes(len(trained[2])))
        self.assertTrue(all(checkpoint["adapter"] for checkpoint in self.world.checkpoints(job)))

        # A new job from its checkpoint continues with the optimizer state of the adapter.
        longer = json.loads(self.world.ctl("submit", "--from", job, "-o", "json", "--set", f"train.max_steps={STEPS + 2}"))["name"]
        self.world.wait_state(longer, "SUCCEEDED")
        self.assertEqual(sorted(harness.losses(self.world.events(longer))), [STEPS + 1, STEPS + 2])

        _, following, later = self.run_example("lora_continue", f"lora.adapter_path={adapter}")
        self.assertLess(later[1], losses[1], "it starts where the first job ended")
        with open(os.path.join(following, "adapter_config.json")) as file:
            self.assertEqual(json.load(file)["r"], 16)
        self.assertNotEqual(tensors(os.path.join(following, "adapter_model.safetensors")), weights)

    def sample(self, folder):
        return subprocess.run([WORKER, "sample", "--model", folder, "--prompt", "What is step 7?", "--max-tokens", "12"],
                              capture_output=True, text=True, timeout=harness.PATIENCE_S)

    def test_lora_merged(self):
        _, adapter, losses = self.run_example("lora")
        _, merged, same = self.run_example("lora", "output.form=merged")
        self.assertEqual(losses, same)
        self.assertIn("config.json", os.listdir(merged))
        self.assertNotIn("adapter_config.json", os.listdir(merged))
        before = tensors(os.path.join(REAL["model"], "model.safetensors"))
        after = tensors(os.path.join(merged, "model.safetensors"))
        self.assertEqual({n: t[:2] for n, t in before.items()}, {n: t[:2] for n, t in after.items()})
        changed = {name for name in before if before[name] != after[name]}
        self.assertEqual(changed, {name for name in before if "_proj" in name})
        answer = self.sample(adapter)
        self.assertEqual(answer.returncode, 0, answer.stderr)
        self.assertEqual(answer.stdout, self.sample(merged).stdout)
        config = os.path.join(adapter, "adapter_config.json")
        with open(config) as file:
            text = file.read()
        with open(config, "w") as file:
            file.write(text.replace(REAL["model"], "owner/model"))
        refused = self.sample(adapter)
        self.assertEqual(refused.returncode, 1)
        self.assertIn('is an adapter of "owner/model", which is no folder here; set base_model_name_or_path', refused.stderr)

    def test_qlora(self):
        _, _, unquantized = self.run_example("lora")
        job, adapter, losses = self.run_example("qlora")
        self.assertLess(losses[STEPS], losses[1])
        # The first step has B = 0: the model in 4 bits is near the model itself, and not equal to it.
        self.assertAlmostEqual(losses[1], unquantized[1], delta=0.05 * unquantized[1])
        self.assertNotEqual(losses[1], unquantized[1])
        notices = [event["notice"] for event in harness.of_kind(self.world.events(job), "notice")]
        text = next(notice["message"] for notice in notices if notice["code"] == "QUANTIZED_MODEL")
        self.assertRegex(text, r"^model.quantization: nf4: the frozen weights take .* of memory, .* without it$")
        with open(os.path.join(adapter, "adapter_config.json")) as file:
            self.assertEqual(json.load(file)["base_model_name_or_path"], REAL["model"])

    def optimizer_state(self, job):
        """Name → (dtype, shape, bytes) of the newest checkpoint's optimizer state."""
        return tensors(os.path.join(self.world.checkpoints(job)[0]["path"], "optimizer.safetensors"))

    def test_muon(self):
        job, _, losses = self.run_example("muon", "optimizer.learning_rate=2.0e-3", "train.precision=bf16")
        self.assertLess(losses[STEPS], losses[1])
        for event in harness.of_kind(self.world.events(job), "metrics"):
            rates = event["metrics"]["learning_rates"]
            self.assertEqual(set(rates), {"muon", "adamw"})
            self.assertEqual(rates["muon"], event["metrics"]["learning_rate"])
            self.assertAlmostEqual(rates["adamw"], rates["muon"] * 3e-4 / 2e-3)
        kinds = {}
        for name in self.optimizer_state(job):
            weight, kind = name.rsplit(".", 1)
            kinds.setdefault("_proj." in weight, set()).add(kind)
        self.assertEqual(kinds, {True: {"momentum_buffer"}, False: {"exp_avg", "exp_avg_sq"}})

    def test_adamw_8bit(self):
        job, _, losses = self.run_example("adamw_8bit", "optimizer.learning_rate=2.0e-3")
        self.assertLess(losses[STEPS], losses[1])
        state = self.optimizer_state(job)
        embedding = "model.embed_tokens.weight."
        self.assertEqual(state[embedding + "exp_avg_8bit"][:2], ("U8", [320, 32]))
        self.assertEqual(state[embedding + "exp_avg_sq_absmax"][:2], ("F32", [40]))
        self.assertEqual(state["model.norm.weight.exp_avg"][:2], ("F32", [32]))
        self.assertNotIn(embedding + "exp_avg", state)

    def test_dpo(self):
        job, adapter, losses = self.run_example("dpo", "optimizer.learning_rate=5.0e-3")
        # The policy begins as the reference.
        self.assertAlmostEqual(losses[1], math.log(2), delta=1e-4)
        self.assertLess(losses[STEPS], 0.9 * losses[1])
        self.check_learned(job)
        self.assertIn("adapter_model.safetensors", os.listdir(adapter))
        events = self.world.events(job)
        metrics = [event["metrics"]["preference"] for event in harness.of_kind(events, "metrics")]
        self.assertGreater(metrics[-1]["margin"], 0.1)
        self.assertGreater(metrics[-1]["accuracy"], 0.5)
        self.assertIn("ComputeReference", [event["stage"]["stage"] for event in harness.of_kind(events, "stage")])


if __name__ == "__main__":
    unittest.main(verbosity=2)
