# SPDX-License-Identifier: Apache-2.0
"""Folders of vision-language models through a real daemon, in both layouts of their tensors, in one file and in shards: the language model trains in fp32 and bf16, with
all parameters and with an adapter, and the vision part and the processor's files come through byte for byte."""

import json
import os
import random
import struct
import subprocess
import unittest

import harness
from real_jobs import GOLDEN, WORDS, WORKER, RealWorkerTest

STEPS = 6
# As the templates of such models: content is text or a list of parts.
TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else %}{% for part in message.content %}\
{% if part.type == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>{% elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}{% endif %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
PROCESSOR_FILES = ("preprocessor_config.json", "video_preprocessor_config.json", "chat_template.json", "vocab.json", "merges.txt")


def read(path):
    """Name → (dtype, shape, bytes) of a safetensors file."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    header.pop("__metadata__", None)
    return {name: (info["dtype"], info["shape"], data[slice(*info["data_offsets"])]) for name, info in header.items()}


def write(path, tensors):
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for name, (dtype, shape, value) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(value)]}
        data += value
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def tensors_of(folder):
    found = {}
    for name in sorted(os.listdir(folder)):
        if name.endswith(".safetensors") and name != "optimizer.safetensors":
            found.update(read(os.path.join(folder, name)))
    return found


class VisionLanguageTest(RealWorkerTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.data = os.path.join(cls.world.root, "parts.jsonl")
        source = random.Random(2)
        with open(cls.data, "w") as file:
            for _ in range(64):
                parts = [{"type": "text", "text": " ".join(source.choices(WORDS, k=2))} for _ in range(2)]
                file.write(json.dumps({"messages": [{"role": "user", "content": parts}, {"role": "assistant", "content": source.choice(WORDS)}]}) + "\n")

    def make_model(self, name, text_family, older=False, shards=1):
        """A folder of the golden's architecture. The language model is that of init-model for a text model with the same layers."""
        with open(os.path.join(GOLDEN, "model", name + ".json")) as file:
            golden = json.load(file)
        root = os.path.join(self.world.root, f"{name}-{older}-{shards}")
        folder, text = os.path.join(root, "model"), os.path.join(root, "text")
        config = golden["config"]
        inner = config.get("text_config", config)
        inner.update({"vocab_size": 840, "max_position_embeddings": 2048})
        os.makedirs(folder)
        path = os.path.join(root, "text.json")
        with open(path, "w") as file:
            json.dump({**{k: v for k, v in inner.items() if k not in ("rope_scaling", "rope_parameters", "vision_config")}, **text_family,
                       "tie_word_embeddings": config["tie_word_embeddings"]}, file)
        subprocess.run([WORKER, "init-model", "--config", path, "--output", text, "--seed", "1", "--tokenizer", os.path.join(GOLDEN, "text", "tokenizers", "qwen3")],
                       check=True, capture_output=True, timeout=harness.PATIENCE_S)
        decoder, vision = ("model.", "visual.") if older else ("model.language_model.", "model.visual.")
        weights = {n.replace("model.", decoder, 1) if n.startswith("model.") else n: t for n, t in read(os.path.join(text, "model.safetensors")).items()}
        source = random.Random(3)
        for key, shape in golden["vision"].items():
            count = 2
            for size in shape:
                count *= size
            weights[key.replace("model.visual.", vision)] = ("BF16", shape, source.randbytes(count))
        names = list(weights)
        files = [f"model-{i + 1:05}-of-{shards:05}.safetensors" for i in range(shards)] if shards > 1 else ["model.safetensors"]
        for i, file in enumerate(files):
            write(os.path.join(folder, file), {n: weights[n] for n in names[i::shards]})
        if shards > 1:
            with open(os.path.join(folder, "model.safetensors.index.json"), "w") as file:
                json.dump({"weight_map": {n: files[i % shards] for i, n in enumerate(names)}}, file)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            with open(os.path.join(text, file)) as source_file, open(os.path.join(folder, file), "w") as out:
                out.write(source_file.read())
        for file in PROCESSOR_FILES:
            with open(os.path.join(folder, file), "w") as out:
                out.write(json.dumps({"chat_template": TEMPLATE} if file == "chat_template.json" else {"of": file}))
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config, file)
        return folder

    def train(self, model, *changes):
        """(job, folder of the final model)."""
        path = os.path.join(self.world.root, "job.yaml")
        with open(path, "w") as file:
            file.write(f"model: {{path: {model}}}\ndata: {{train: [{self.data}], max_length: 128}}\n"
                       f"train: {{batch_size: 8, max_steps: {STEPS}, seed: 3}}\ncheckpoint: {{every_steps: 4}}\n"
                       "optimizer: {learning_rate: 1.0e-2}\nschedule: {type: constant, warmup_steps: 0}\n")
        arguments = [word for change in changes for word in ("--set", change)]
        job = self.world.submit(path, *arguments)
        self.world.wait_state(job, "SUCCEEDED")
        losses = harness.losses(self.world.events(job))
        self.assertLess(losses[max(losses)], 0.97 * losses[min(losses)])
        return job, os.path.join(self.world.run_dir(job), "final")

    def check_kept(self, model, folder, changed=lambda name: True):
        before, after = tensors_of(model), tensors_of(folder)
        self.assertEqual(set(before), set(after))
        self.assertEqual({n: t[:2] for n, t in before.items()}, {n: t[:2] for n, t in after.items()})
        for name in before:
            self.assertEqual(before[name] != after[name], "visual." not in name and changed(name), name)
        for file in PROCESSOR_FILES:
            with open(os.path.join(model, file)) as source, open(os.path.join(folder, file)) as copy:
                self.assertEqual(source.read(), copy.read())

    def test_qwen3_vl(self):
        model = self.make_model("qwen3_vl", {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]})
        job, final = self.train(model, "train.precision=fp32")
        self.check_kept(model, final)
        newest = self.world.checkpoints(job)[0]
        # A job that starts from a checkpoint reads the vision part there.
        longer = json.loads(self.world.ctl("submit", "--from", job, "-o", "json", "--set", f"train.max_steps={STEPS + 2}"))["name"]
        self.world.wait_state(longer, "SUCCEEDED")
        self.check_kept(model, os.path.join(self.world.run_dir(longer), "final"))
        report = json.loads(self.world.ctl("validate", os.path.join(self.world.root, "job.yaml"), "-o", "json"))
        estimate, size = int(report["disk"]["checkpoint_bytes"]), int(newest["size_bytes"])
        self.assertAlmostEqual(estimate, size, delta=0.02 * size)

    def test_qwen25_vl(self):
        model = self.make_model("qwen2_5_vl", {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}, older=True, shards=2)
        _, final = self.train(model, "train.precision=bf16", "train.freeze=[model.layers.0.*, visual.*]")
        self.check_kept(model, final, lambda name: ".layers.0." not in name)

    def test_adapter(self):
        model = self.make_model("qwen2_5_vl", {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}, shards=3)
        for more in ([], ["model.quantization=nf4"]):
            _, final = self.train(model, "train.precision=bf16", "lora.r=4", "output.form=merged", *more)
            self.check_kept(model, final, lambda name: "_proj.weight" in name)
        _, final = self.train(model, "lora.r=4")
        with open(os.path.join(final, "adapter_config.json")) as file:
            targets = json.load(file)["target_modules"]
        self.assertIn("model.language_model.layers.1.mlp.gate_proj", targets)
        self.assertNotIn("gate_proj", targets, "which would be a layer of the vision part, too")

    def test_images_are_refused(self):
        model = self.make_model("qwen3_vl", {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"]}, shards=2)
        path = os.path.join(self.world.root, "images.jsonl")
        with open(path, "w") as file:
            file.write('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n'
                       '{"messages": [{"role": "user", "content": [{"type": "image", "image": "x.png"}]}, {"role": "assistant", "content": "b"}]}\n')
        job = os.path.join(self.world.root, "images.yaml")
        with open(job, "w") as file:
            file.write(f"model: {{path: {model}}}\ndata: {{train: [{path}], max_length: 128}}\n")
        result = self.world.run("validate", job)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn('messages[0].content[0] has type "image"; only text parts can be trained, so remove it or the record', result.stdout)
        self.assertIn(path + ":2", result.stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
