# SPDX-License-Identifier: Apache-2.0
"""A GGUF file of PyPI gguf becomes a model folder that PyPI tokenizers and safetensors read, and goes back: the programs on the command line, in both
directions."""

import json
import os
import subprocess
import tempfile
import unittest

import harness

PYTHON = os.path.join(os.environ.get("TRAINERD_CACHE") or os.path.expanduser("~/.cache/trainerd"), "venv-tests/bin/python")
SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../golden/text/tokenizers/smollm2/tokenizer.json")
WORKER = harness.program("trainerd-worker")

# Written and read by the reference. Q4_0 for matrices, F32 for vectors.
REFERENCE = r"""
import json, sys
import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

step, path, folder, tokenizer = sys.argv[1:]
HIDDEN, MIDDLE, HEADS, LAYERS = 64, 96, 4, 2
file = json.load(open(tokenizer))
added = {token["id"]: token["content"] for token in file["added_tokens"]}
tokens = {id: token for token, id in file["model"]["vocab"].items()} | added
tokens = [tokens[id] for id in range(len(tokens))]
names = {"attn_norm": (HIDDEN,), "attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN // 2, HIDDEN), "attn_v": (HIDDEN // 2, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
         "ffn_norm": (HIDDEN,), "ffn_gate": (MIDDLE, HIDDEN), "ffn_up": (MIDDLE, HIDDEN), "ffn_down": (HIDDEN, MIDDLE)}
shapes = {f"blk.{layer}.{name}.weight": shape for layer in range(LAYERS) for name, shape in names.items()}
shapes |= {"token_embd.weight": (len(tokens), HIDDEN), "output_norm.weight": (HIDDEN,)}
random = np.random.default_rng(3)
weights = {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
type_of = lambda weight: Type.Q4_0 if weight.ndim == 2 else Type.F32
stored = {name: quantize(weight, type_of(weight)) for name, weight in weights.items()}

if step == "write":
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(MIDDLE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS // 2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if id in added else 1 for id in range(len(tokens))])
    writer.add_token_merges([merge if isinstance(merge, str) else " ".join(merge) for merge in file["model"]["merges"]])
    writer.add_eos_token_id(len(tokens) - 1)
    writer.add_chat_template("{{ messages }}")
    for name, data in stored.items():
        writer.add_tensor(name, data, raw_dtype=type_of(weights[name]))
    writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
else:
    import tokenizers
    rounded = {name: (dequantize(data, type_of(weights[name])).astype(np.float32).view(np.uint32).astype(np.uint64)) for name, data in stored.items()}
    rounded = {name: ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32).view(np.float32) for name, bits in rounded.items()}
    reader = gguf.GGUFReader(path)
    assert {tensor.name for tensor in reader.tensors} == set(stored), [tensor.name for tensor in reader.tensors]
    for tensor in reader.tensors:
        assert (tensor.data.reshape(rounded[tensor.name].shape) == rounded[tensor.name]).all(), tensor.name
    field = {key: value.contents() for key, value in reader.fields.items()}
    assert field["tokenizer.ggml.tokens"] == tokens and field["tokenizer.ggml.pre"] == "smollm"
    assert field["tokenizer.chat_template"] == "{{ messages }}" and field["llama.context_length"] == 512
    a, b = tokenizers.Tokenizer.from_file(tokenizer), tokenizers.Tokenizer.from_file(folder + "/tokenizer.json")
    for text in ("Hello, world 123!", "  a\n\nb\tc", "é 😀 ＡＢ", "print(x1)"):
        assert a.encode(text, add_special_tokens=False).ids == b.encode(text, add_special_tokens=False).ids, text
    print("ok")
"""


@unittest.skipUnless(os.path.exists(PYTHON), f"{PYTHON} is not there (deploy/install_dependencies.sh --tests makes it)")
@unittest.skipUnless(os.path.exists(WORKER), f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
class GgufTest(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="trainerd-it-gguf-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_program(self, *arguments, code=0):
        ran = subprocess.run(arguments, capture_output=True, text=True, timeout=harness.PATIENCE_S)
        self.assertEqual(ran.returncode, code, ran.stderr)
        return ran.stdout if code == 0 else ran.stderr

    def test_file_of_the_reference_goes_in_and_out(self):
        before, model, after = (os.path.join(self.folder, name) for name in ("before.gguf", "model", "after.gguf"))
        self.run_program(PYTHON, "-c", REFERENCE, "write", before, model, SOURCE)
        inspect = harness.program("trainerd-inspect")
        printed = self.run_program(inspect, "import", "--gguf", before, "--output", model)
        self.assertIn("llama, 20 tensors", printed)
        self.assertIn("bfloat16", printed)
        with open(os.path.join(model, "config.json")) as file:
            self.assertEqual(json.load(file)["tie_word_embeddings"], True)
        self.assertIn("already exists", self.run_program(inspect, "import", "--gguf", before, "--output", model, code=2))
        export = (WORKER, "export", "--model", model, "--form", "gguf", "--type", "f32", "--output", after)
        self.run_program(*export)
        self.assertIn("already exists", self.run_program(*export, code=2))
        self.assertEqual(self.run_program(PYTHON, "-c", REFERENCE, "check", after, model, SOURCE), "ok\n")
        self.assertEqual(sorted(os.listdir(self.folder)), ["after.gguf", "before.gguf", "model"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
