# SPDX-License-Identifier: Apache-2.0
"""A model that was trained with a template stops where the template ends a turn: by the file generation_config.json alone, and in generate of transformers
(skipped where Python has no torch and transformers)."""

import importlib.util
import json
import os
import subprocess
import tempfile
import unittest

import harness

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden")
WORKER = harness.program("trainerd-worker")
END_OF_TEXT, END_OF_TURN = 0, 2  # of tests/golden/tiny_tokenizer
MAX_NEW_TOKENS = 40


@unittest.skipUnless(os.path.exists(WORKER), "trainerd-worker is not built")
class StopTokenTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.root = folder.name
        model, config = os.path.join(cls.root, "model"), os.path.join(cls.root, "config.json")
        with open(os.path.join(GOLDEN, "tiny_model", "config.json")) as file:
            values = json.load(file)
        # A base model: it ends a text, and knows no turns.
        values["eos_token_id"] = END_OF_TEXT
        with open(config, "w") as file:
            json.dump(values, file)
        cls.run_worker("init-model", "--config", config, "--output", model, "--seed", "1", "--tokenizer", os.path.join(GOLDEN, "tiny_tokenizer"))
        with open(os.path.join(model, "generation_config.json"), "w") as file:
            json.dump({"eos_token_id": END_OF_TEXT, "temperature": 0.6, "do_sample": True}, file)
        with open(os.path.join(cls.root, "data.jsonl"), "w") as file:
            for _ in range(4):
                file.write(json.dumps({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo yo"}]}) + "\n")
        cls.finals = {}
        for template in ("model", "chatml"):
            job = os.path.join(cls.root, f"{template}.yaml")
            with open(job, "w") as file:
                file.write(f"model: {{path: {model}}}\ndata: {{train: [{cls.root}/data.jsonl], max_length: 64, chat_template: {template}}}\n"
                           "train: {precision: fp32, max_steps: 150}\noptimizer: {learning_rate: 1.0e-2}\n")
            run = os.path.join(cls.root, template)
            cls.output = cls.run_worker("train", "--job", job, "--run-dir", run)
            cls.finals[template] = os.path.join(run, "final")

    @classmethod
    def run_worker(cls, *arguments):
        done = subprocess.run([WORKER, *arguments], capture_output=True, text=True, timeout=harness.PATIENCE_S,
                              env={**os.environ, "TRAINERD_CACHE": os.path.join(cls.root, "cache")})
        if done.returncode != 0:
            raise AssertionError(done.stdout + done.stderr)
        return done.stdout + done.stderr

    def test_file_names_the_end_of_a_turn_and_keeps_the_rest(self):
        for final in self.finals.values():
            with open(os.path.join(final, "generation_config.json")) as file:
                self.assertEqual(json.load(file), {"eos_token_id": [END_OF_TEXT, END_OF_TURN], "temperature": 0.6, "do_sample": True})
        self.assertIn("ends a turn with \"<|im_end|>\"", self.output)

    @unittest.skipUnless(importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"), "this Python has no torch and transformers")
    def test_generate_of_transformers_stops(self):
        import torch
        import transformers
        for final in self.finals.values():
            tokenizer = transformers.AutoTokenizer.from_pretrained(final)
            model = transformers.AutoModelForCausalLM.from_pretrained(final)
            prompt = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], add_generation_prompt=True, return_tensors="pt", return_dict=True)
            with torch.no_grad():
                ids = model.generate(**prompt, max_new_tokens=MAX_NEW_TOKENS, do_sample=False)[0][prompt["input_ids"].shape[1]:].tolist()
            self.assertEqual(ids[-1], END_OF_TURN)
            self.assertEqual(tokenizer.decode(ids, skip_special_tokens=True), "yo yo")
            # Without the end of the turn, the same model keeps generating.
            with torch.no_grad():
                more = model.generate(**prompt, max_new_tokens=MAX_NEW_TOKENS, do_sample=False, eos_token_id=END_OF_TEXT)[0]
            self.assertGreater(len(more), prompt["input_ids"].shape[1] + len(ids))


if __name__ == "__main__":
    unittest.main(verbosity=2)
