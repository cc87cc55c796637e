# SPDX-License-Identifier: Apache-2.0
"""Adapters of trainerd in PEFT, and adapters of PEFT in trainerd: the peers' environment loads each
folder with warnings as errors and compares logits. Skipped where that environment is not installed."""

import json
import os
import subprocess
import unittest

from real_jobs import REAL, RealWorkerTest

PEERS = os.path.join(os.environ.get("TRAINERD_CACHE", os.path.expanduser("~/.cache/trainerd")), "venv-peers", "bin", "python")

# Logits of adapter and merged model, and one folder's tokenizer, by the peers' Python. argv: base, adapter, merged.
COMPARE = r"""
import json, sys, warnings
import torch, peft, transformers
base, adapter, merged = sys.argv[1:]
ids = torch.tensor([[5, 9, 2, 40, 41, 77, 100, 31, 8]])
with torch.no_grad(), warnings.catch_warnings():
    warnings.simplefilter("error")
    # PEFT reads an attribute that transformers has renamed, whatever the adapter is.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*")
    plain = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    before = plain(input_ids=ids).logits
    model = peft.PeftModel.from_pretrained(plain, adapter).eval()
    ours = model(input_ids=ids).logits
    # By transformers alone: the base is named in adapter_config.json.
    auto = transformers.AutoModelForCausalLM.from_pretrained(adapter, dtype=torch.float32)(input_ids=ids).logits
    whole = transformers.AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32)(input_ids=ids).logits
    tokenizer = transformers.AutoTokenizer.from_pretrained(adapter)
    print(json.dumps({"changed": (ours - before).abs().max().item(), "auto": (ours - auto).abs().max().item(),
                      "merged": (ours - whole).abs().max().item(), "largest": ours.abs().max().item(),
                      "tokens": len(tokenizer)}))
"""

# An adapter that PEFT makes and saves. argv: base, folder.
MAKE = r"""
import sys
import torch, peft, transformers
base, folder = sys.argv[1:]
torch.manual_seed(3)
model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=6, use_rslora=True, init_lora_weights=False, task_type="CAUSAL_LM",
                                                   target_modules=["q_proj", "mlp.down_proj"]))
model.save_pretrained(folder)
"""


@unittest.skipUnless(os.path.exists(PEERS), f"{PEERS} is not there (deploy/install_dependencies.sh --peers makes it)")
class LoraPeftTest(RealWorkerTest):

    def peers(self, script, *arguments):
        done = subprocess.run([PEERS, "-c", script, *arguments], capture_output=True, text=True, timeout=600,
                              env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"})
        self.assertEqual(done.returncode, 0, done.stderr[-4000:])
        return done.stdout

    def final(self, name, extra, epochs=1):
        job = self.submit(name, epochs=epochs, packing="bfd", extra=extra)
        self.world.wait_state(job, "SUCCEEDED")
        return os.path.join(self.world.run_dir(job), "final")

    def compare(self, lora):
        found = json.loads(self.peers(COMPARE, REAL["model"], self.final("adapter", lora),
                                      self.final("merged", lora + "output: {form: merged}\n")))
        self.assertGreater(found["changed"], 1e-3 * found["largest"], "the adapter changes the logits")
        self.assertLess(found["auto"], 1e-6 * found["largest"])
        self.assertLess(found["merged"], 1e-5 * found["largest"])
        self.assertGreater(found["tokens"], 0)

    def test_peft_loads_adapter_and_transformers_the_merged_model(self):
        self.compare("lora: {r: 8, alpha: 16}\n")
        self.compare("lora: {r: 3, alpha: 5, rslora: true, target_modules: [layers.1.*, o_proj]}\n")

    def test_trainerd_continues_an_adapter_of_peft(self):
        folder = os.path.join(self.world.root, "of-peft")
        self.peers(MAKE, REAL["model"], folder)
        final = self.final("continued", f"lora: {{adapter_path: {folder}}}\n")
        with open(os.path.join(final, "adapter_config.json")) as file:
            config = json.load(file)
        self.assertEqual((config["r"], config["lora_alpha"], config["use_rslora"], sorted(config["target_modules"])),
                         (4, 6, True, ["mlp.down_proj", "q_proj"]))


if __name__ == "__main__":
    unittest.main(verbosity=2)
