# SPDX-License-Identifier: Apache-2.0
"""The real worker, LibTorch's CUDA libraries and the plugin on the fake CUDA device
(tests/fakes/cuda): training, resume, out of memory and a device that fails."""

import json
import os
import subprocess
import tempfile
import unittest

import harness
from real_jobs import WORDS

GOLDEN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "golden")
WORKER = harness.program("trainerd-worker")
FAKE = os.environ.get(
    "TRAINERD_FAKE_CUDA", os.path.join(harness.BIN_DIR, "..", "tests", "fake_cuda")
)
PRELOAD = os.path.abspath(os.path.join(FAKE, "libfake_cuda.so"))
STEPS = 6
# Largest relative difference of a step's loss between CPU and CUDA, whose sums have another order.
AGREEMENT = {"fp32": 1e-5, "bf16": 1e-2}
LAUNCH_FAILURE = 719

# Query and key norms, grouped keys, a head size that flash attention takes.
CONFIG = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "vocab_size": 320,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "hidden_act": "silu",
    "max_position_embeddings": 2048,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-06,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "torch_dtype": "float32",
}


def write_inputs(root):
    """A model with random weights and conversations; some documents are longer than 128 tokens,
    beyond which flash attention adds over several blocks of keys."""
    config, model, data = (os.path.join(root, name) for name in ("config.json", "model", "d.jsonl"))
    with open(config, "w") as file:
        json.dump(CONFIG, file)
    subprocess.run(
        [WORKER, "init-model", "--config", config, "--output", model, "--seed", "1"]
        + ["--tokenizer", os.path.join(GOLDEN, "tiny_tokenizer")],
        check=True,
        capture_output=True,
        timeout=harness.PATIENCE_S,
    )
    with open(data, "w") as file:
        for i in range(48):
            answer = " ".join(WORDS[(i * 7 + k) % len(WORDS)] for k in range(4 + i % 8 * 4))
            turns = [
                {"role": "user", "content": WORDS[i % len(WORDS)]},
                {"role": "assistant", "content": answer},
            ]
            file.write(json.dumps({"messages": turns}) + "\n")
    return model, data


class Ran:
    """A worker that has exited."""

    def __init__(self, code, stderr, events, counts, run_dir):
        self.code, self.stderr, self.events = code, stderr, events
        self.counts, self.run_dir = counts, run_dir

    def losses(self):
        return harness.losses(self.events)

    def notices(self, code):
        return [
            event["notice"]["message"]
            for event in harness.of_kind(self.events, "notice")
            if event["notice"]["code"] == code
        ]

    def weights(self):
        with open(os.path.join(self.run_dir, "final", "model.safetensors"), "rb") as file:
            return file.read()


@unittest.skipUnless(os.path.exists(WORKER), f"{WORKER} is not built (TRAINERD_ENGINE=OFF)")
@unittest.skipUnless(
    os.path.exists(PRELOAD),
    f"{PRELOAD} is not built: it needs nvcc 13 (deploy/install_dependencies.sh --nvcc)",
)
class FakeGpuTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="trainerd-it-gpu-")
        cls.addClassCleanup(folder.cleanup)
        cls.root = folder.name
        cls.model, cls.data = write_inputs(cls.root)
        cls.uninterrupted = {}

    def path(self, name):
        return os.path.join(self.root, f"{self.id().split('.')[-1]}-{name}")

    def write_job(self, name, precision="fp32", more=None, validation_fraction=0, **train):
        path = self.path(name + ".yaml")
        job = {
            "model": {"path": self.model},
            "data": {
                "train": [self.data],
                "validation_fraction": validation_fraction,
                "max_length": 192,
                "packing": "bfd",
            },
            "train": {
                "precision": precision,
                "batch_size": 1,
                "gradient_accumulation": 2,
                "max_steps": STEPS,
                "seed": 3,
                **train,
            },
            "optimizer": {"learning_rate": 0.002},
            "checkpoint": {"every_steps": 2},
            **(more or {}),
        }
        with open(path, "w") as file:
            json.dump(job, file)
        return path

    def environment(self, fake):
        """The environment of a worker on the fake device with these settings."""
        settings = {f"FAKE_CUDA_{name.upper()}": str(value) for name, value in fake.items()}
        return {**os.environ, "LD_PRELOAD": PRELOAD, **settings}

    def train(self, job, run_dir=None, device="cuda:0", **fake):
        """Trains to the end or to an error."""
        run_dir = run_dir or job.replace(".yaml", f"-{device[:4]}")
        events, log = run_dir + ".jsonl", run_dir + ".counts"
        for path in (events, log):
            if os.path.exists(path):
                os.remove(path)
        # One thread: the programs of a test run beside other tests.
        environment = {**self.environment({"log": log, **fake}), "OMP_NUM_THREADS": "1"}
        ended = subprocess.run(
            [WORKER, "train", "--job", job, "--run-dir", run_dir, "--events", events]
            + ["--set", f"resources.device={device}"],
            env=environment if device != "cpu" else None,
            capture_output=True,
            text=True,
            timeout=10 * harness.PATIENCE_S,
        )
        counts = {}
        if os.path.exists(log):
            with open(log) as file:
                for line in file:
                    name, calls, size = line.rstrip("\n").split("\t")
                    counts[name] = (int(calls), int(size))
        self.assertTrue(os.path.exists(events), ended.stderr)
        with open(events) as file:
            found = [json.loads(line) for line in file]
        return Ran(ended.returncode, ended.stderr, found, counts, run_dir)

    def whole(self, precision):
        """The job on the fake device, from its beginning to its end."""
        if precision not in self.uninterrupted:
            ran = self.train(self.write_job("whole", precision=precision))
            self.assertEqual(ran.code, 0, ran.stderr)
            self.uninterrupted[precision] = ran
        return self.uninterrupted[precision]

    def check_trains_as_the_cpu(self, precision):
        cuda = self.whole(precision)
        cpu = self.train(self.write_job("job", precision=precision), device="cpu")
        self.assertEqual(cpu.code, 0, cpu.stderr)
        expected, actual = cpu.losses(), cuda.losses()
        self.assertEqual(sorted(actual), list(range(1, STEPS + 1)))
        self.assertLess(actual[STEPS], actual[1])
        for step, loss in expected.items():
            self.assertLess(abs(actual[step] - loss) / loss, AGREEMENT[precision], f"step {step}")
        return cuda

    def test_trains_as_the_cpu_in_fp32(self):
        ran = self.check_trains_as_the_cpu("fp32")
        self.assertTrue(any("RmsNormForward<float" in name for name in ran.counts), ran.counts)

    def test_trains_as_the_cpu_in_bf16(self):
        ran = self.check_trains_as_the_cpu("bf16")
        self.assertTrue(any("RmsNormForward" in n and "BFloat" in n for n in ran.counts), ran.counts)
        # The same bits each time: flash attention adds in a fixed order.
        self.assertIn("flash attention backward, fixed order", ran.counts)
        self.assertNotIn("flash attention backward, any order", ran.counts)
        # Segments that grow: what the driver gave is what the metrics report.
        self.assertIn("cuMemCreate", ran.counts)
        self.assertNotIn("cudaMalloc", ran.counts)
        reported = max(
            int(event["metrics"]["memory_peak_bytes"])
            for event in harness.of_kind(ran.events, "metrics")
        )
        self.assertEqual(reported, ran.counts["peak bytes"][1])

    def check_resumes_bit_for_bit(self, precision):
        whole = self.whole(precision)
        job, run_dir = self.write_job("job", precision=precision), self.path("interrupted")
        # Each step reads from the device once, and each of the three checkpoints each tensor once.
        half = whole.counts["synchronize"][0] // 2
        failed = self.train(job, run_dir, fault=f"{half}:{LAUNCH_FAILURE}")
        self.assertEqual(failed.code, 1, failed.stderr)
        self.assertIn("DEVICE_FAULT", failed.stderr)
        self.assertIn("unspecified launch failure", failed.stderr)
        self.assertIn(2, failed.losses())
        self.assertNotIn(STEPS, failed.losses())
        resumed = self.train(job, run_dir)
        self.assertEqual(resumed.code, 0, resumed.stderr)
        self.assertEqual(resumed.notices("RESUME_ENVIRONMENT"), [])
        self.assertNotIn(1, resumed.losses())
        self.assertEqual({**failed.losses(), **resumed.losses()}, whole.losses())
        self.assertEqual(resumed.weights(), whole.weights())

    def test_resumes_bit_for_bit_in_fp32(self):
        self.check_resumes_bit_for_bit("fp32")

    def test_resumes_bit_for_bit_in_bf16(self):
        self.check_resumes_bit_for_bit("bf16")

    def test_reports_a_resume_on_another_gpu_and_driver(self):
        job, run_dir = self.write_job("job", max_steps=2), self.path("run")
        self.assertEqual(self.train(job, run_dir, model="NVIDIA Fake 1").code, 0)
        more = self.write_job("more", max_steps=3)
        resumed = self.train(more, run_dir, model="NVIDIA Fake 2", driver=13010)
        self.assertEqual(resumed.code, 0, resumed.stderr)
        (notice,) = resumed.notices("RESUME_ENVIRONMENT")
        self.assertIn("GPU NVIDIA Fake 1 → NVIDIA Fake 2", notice)
        self.assertRegex(notice, r"GPU driver .*CUDA 13\.0.* → .*CUDA 13\.1")
        self.assertNotIn("CUDA libraries", notice)

    def test_out_of_memory_names_what_to_lower(self):
        memory = 20 << 20
        job = self.write_job("large", batch_size=16)
        failed = self.train(job, memory=memory)
        self.assertEqual(failed.code, 1, failed.stderr)
        self.assertIn("OUT_OF_MEMORY", failed.stderr)
        self.assertIn("lower train.batch_size or data.max_length", failed.stderr)
        self.assertLessEqual(failed.counts["peak bytes"][1], memory)
        small = self.train(self.write_job("small", batch_size=1, max_steps=1), memory=memory)
        self.assertEqual(small.code, 0, small.stderr)

    def test_cublas_without_memory_is_out_of_memory(self):
        # Operators are launched and not computed: otherwise no cuBLAS is called.
        failed = self.train(self.write_job("job"), compute=0, blas="alloc_failed")
        self.assertEqual(failed.code, 1, failed.stderr)
        self.assertIn("OUT_OF_MEMORY", failed.stderr)
        self.assertIn("CUBLAS_STATUS_ALLOC_FAILED", failed.stderr)

    def test_uses_only_operators_that_are_repeatable(self):
        """LibTorch's own CUDA code refuses the others. It runs when nothing is computed here."""
        prompts = self.path("prompts.jsonl")
        with open(prompts, "w") as file:
            file.write(json.dumps({"messages": [{"role": "user", "content": "red"}]}) + "\n")
        more = {
            "evaluation": {"every_steps": 1},
            "samples": {"prompts": prompts, "every_steps": 1, "max_tokens": 3},
        }
        for precision in AGREEMENT:
            job = self.write_job(precision, precision, more, validation_fraction=0.2, max_steps=2)
            ran = self.train(job, compute=0)
            self.assertEqual(ran.code, 0, ran.stderr)
            self.assertEqual(sorted(ran.losses()), [1, 2])
            for kind in ("eval", "sample"):
                self.assertTrue(harness.of_kind(ran.events, kind), kind)

    def test_uses_the_device_that_the_job_names(self):
        ran = self.train(self.write_job("job", max_steps=1), device="cuda:1", devices=2)
        self.assertEqual(ran.code, 0, ran.stderr)
        self.assertIn("cudaSetDevice 1", ran.counts)

    def devices(self, **fake):
        listed = subprocess.run(
            [WORKER, "devices"],
            env=self.environment(fake),
            capture_output=True,
            text=True,
            timeout=harness.PATIENCE_S,
            check=True,
        )
        return json.loads(listed.stdout)["devices"]

    def test_lists_the_devices_and_what_is_missing(self):
        gpu = self.devices(devices=2, memory=1 << 30)[2]
        self.assertEqual(
            (gpu["name"], gpu["memory_bytes"], gpu["unavailable"]), ("cuda:1", 1 << 30, "")
        )
        (gpu,) = self.devices(driver=0)[1:]
        self.assertIn("driver version is insufficient", gpu["unavailable"])

    def test_the_daemon_retries_on_a_device_that_recovers(self):
        """The first attempt's device fails. The daemon queries the devices again and retries."""
        marker, queries = self.path("faulty"), self.path("queries")
        wrapper = self.path("worker")
        open(marker, "w").close()
        with open(wrapper, "w") as file:
            file.write(
                f"#!/bin/sh\n[ $1 != devices ] || echo >>{queries}\n"
                f"[ $1 = devices ] || [ ! -e {marker} ] || "
                f"{{ rm {marker}; export FAKE_CUDA_FAULT=2:{LAUNCH_FAILURE}; }}\n"
                f'export LD_PRELOAD={PRELOAD}\nexec {WORKER} "$@"\n'
            )
        os.chmod(wrapper, 0o700)
        world = harness.World(worker=wrapper, settings={"cpu_threads": 1})
        self.addCleanup(world.close)
        world.start()
        job = world.submit(self.write_job("job"), "--set", "resources.device=cuda:0")
        ended = world.wait_state(job, "SUCCEEDED")
        self.assertEqual(ended["attempt"], 2)
        attempts = json.dumps(world.events(job))
        self.assertIn("DEVICE_FAULT", attempts)
        self.assertIn("HARDWARE", attempts)
        with open(queries) as file:
            self.assertEqual(len(file.readlines()), 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
