#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Training on the CPU: trainerd-worker and TRL's SFTTrainer side by side, on the same data, model, template, precision and packing, with the same number of
threads, one after the other in one run. TRL runs as installed and with the two glibc variables that keep its large buffers ("trl-tuned"); the better
of the two is what trainerd is compared with. Prints one JSON line per run and one per model and precision with the ratios.

A side can end in "-lora" (an adapter of --rank on every linear layer of the blocks) or "-lora-qv" (on q_proj and v_proj, peft's default for Llama). TRL's
adapters are peft's. One more line for each gives the ratios of trainerd's adapter to full fine-tuning by trainerd and to TRL's adapter.

usage: vs_trl.py [--models smollm2,qwen3-small] [--precisions fp32,bf16] [--sides trainerd,trl,trl-tuned,trainerd-lora,trl-lora,trl-lora-qv,...] [--rank 16]
                 [--steps 3] [--repeats 1]"""

import argparse
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

import bench_common as bench

TUNED = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "20000000000"}
ACCUMULATION = 4
LIMIT_S = 3600
# End of a side → lora.target_modules; None: every linear layer of the blocks.
LORA = {"-lora-qv": ["q_proj", "v_proj"], "-lora": None}
SMOLLM2_TEMPLATE = os.path.join(bench.BENCH_DIR, "smollm2_training.jinja")
QWEN3_SMALL = {"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 151936, "hidden_size": 256, "intermediate_size": 768,
               "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64, "max_position_embeddings": 40960,
               "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True, "attention_bias": False, "hidden_act": "silu",
               "initializer_range": 0.02, "torch_dtype": "float32", "bos_token_id": 151643, "eos_token_id": 151645}


class Missing(Exception):
    """What a measurement needs is not on this machine."""


def conversations(path, count=1000):
    """Made-up conversations with the lengths of a usual instruction set."""
    source = random.Random(3)
    words = "the of and to in is that it as was for on are with be at one have this from or had by hot but some what there we can out other were all".split()
    with open(path, "w") as file:
        for _ in range(count):
            turns = [{"role": "user", "content": " ".join(source.choices(words, k=source.randint(6, 40)))},
                     {"role": "assistant", "content": " ".join(source.choices(words, k=source.randint(20, 250)))}]
            file.write(json.dumps({"messages": turns}) + "\n")
    return path


def open_model(name, root):
    """(model folder, data, template, longest row)."""
    data = bench.shared_file("data", "alpaca_en_1k.jsonl") or conversations(os.path.join(root, "conversations.jsonl"))
    if name == "smollm2":
        if not os.path.isdir(bench.SMOLLM2):
            raise Missing(f"{bench.SMOLLM2} is not there: deploy/install_dependencies.sh --model, then deploy/demo/make_model.sh make it")
        return bench.SMOLLM2, data, SMOLLM2_TEMPLATE, 1024
    if name == "qwen3-small":
        return qwen3_small(root), data, qwen3_template(), 1024
    import real_jobs
    folder = os.path.join(root, "tiny")
    os.makedirs(folder)
    model, data = real_jobs.make_inputs(folder)
    template = os.path.join(root, "tiny.jinja")
    with open(os.path.join(bench.GOLDEN, "tiny_tokenizer", "tokenizer_config.json")) as source, open(template, "w") as file:
        file.write(json.load(source)["chat_template"])
    return model, data, template, 192


def qwen3_small(root):
    tokenizer = bench.shared_file("models", "qwen3-tokenizer")
    if tokenizer is None:
        raise Missing("there is no Qwen3 tokenizer (../shared/models/qwen3-tokenizer)")
    config, output = os.path.join(root, "config.json"), os.path.join(root, "qwen3-small")
    with open(config, "w") as file:
        json.dump(QWEN3_SMALL, file)
    subprocess.run([bench.program("trainerd-worker"), "init-model", "--config", config, "--output", output, "--seed", "1234", "--tokenizer", tokenizer],
                   check=True, capture_output=True)
    return output


def qwen3_template():
    """TRL's own training template, which has the generation marks."""
    found = subprocess.run([bench.PEERS_PYTHON, "-c", "import importlib.util as u; print(u.find_spec('trl').submodule_search_locations[0])"],
                           capture_output=True, text=True, check=False) if os.path.exists(bench.PEERS_PYTHON) else None
    if found is None or found.returncode != 0:
        raise Missing("the Qwen3 training template comes with TRL, which is not installed")
    return os.path.join(found.stdout.strip(), "chat_templates", "qwen3_training.jinja")


# ---------------------------------------------------------------- the two sides
def write_job(path, model, data, template, max_length, precision, steps, adapter):
    with open(path, "w") as file:
        if adapter is not None:
            rank, targets = adapter
            file.write(f"lora: {{r: {rank}, alpha: {2 * rank}{f', target_modules: {targets}' if targets else ''}}}\n")
        file.write(f"""model: {{path: {model}}}
data: {{train: [{data}], max_length: {max_length}, packing: bfd, chat_template: {template}, train_on: template}}
train: {{precision: {precision}, batch_size: 1, gradient_accumulation: {ACCUMULATION}, max_steps: {steps}, max_grad_norm: 1.0}}
optimizer: {{learning_rate: 2.0e-4, weight_decay: 0.01}}
schedule: {{type: constant}}
checkpoint: {{every_steps: 0}}
resources: {{device: cpu}}
""")
    return path


def run_trainerd(root, threads, job, steps):
    """Ends the worker once it has reported its last step: the checkpoint and the final model are not part of the measurement."""
    run_dir, events_file = os.path.join(root, "run"), os.path.join(root, "events.jsonl")
    if os.path.exists(events_file):
        os.remove(events_file)
    begin = time.time()
    with open(os.path.join(root, "worker.log"), "w") as log:
        worker = subprocess.Popen([bench.program("trainerd-worker"), "train", "--job", job, "--run-dir", run_dir, "--events", events_file],
                                  stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": str(threads)})
        try:
            events = wait_steps(worker, events_file, steps, log.name)
        finally:
            worker.kill()
            worker.wait()
    shutil.rmtree(run_dir, ignore_errors=True)
    metrics = [event["metrics"] for event in events if "metrics" in event]
    first = next(bench.event_seconds(event) for event in events if "metrics" in event)
    ready = next(bench.event_seconds(event) for event in events if event.get("stage", {}).get("stage") == "Train")
    report = next(event["data_report"] for event in events if "data_report" in event)
    measured = metrics[1:]
    seconds, tokens = sum(m["step_seconds"] for m in measured), sum(int(m["tokens"]) for m in measured)
    return {"tokens_per_second": tokens / seconds, "step_seconds": [round(m["step_seconds"], 2) for m in metrics], "tokens": tokens,
            "target_share": round(sum(int(m["target_tokens"]) for m in metrics) / sum(int(m["tokens"]) for m in metrics), 4), "rows": int(report["rows"]),
            "ready_s": round(ready - begin, 2), "first_step_s": round(first - begin, 2),
            "peak_rss_mb": round(int(metrics[-1]["memory_peak_bytes"]) / 2**20), "first_loss": metrics[0]["loss"],
            "monitor_overhead": max(m.get("monitor_overhead", 0.0) for m in metrics)}


def wait_steps(worker, events_file, steps, log):
    """All events up to the metrics of step `steps`."""
    end = time.monotonic() + LIMIT_S
    while time.monotonic() < end:
        ended = worker.poll() is not None
        lines = open(events_file).read().splitlines(keepends=True) if os.path.exists(events_file) else []
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        if sum("metrics" in event for event in events) >= steps:
            return events
        if ended:
            with open(log) as file:
                raise SystemExit(f"trainerd-worker left with {worker.returncode}:\n{file.read()[-2000:]}")
        time.sleep(0.05)
    raise SystemExit(f"trainerd-worker did not get to step {steps} in {LIMIT_S} s")


def run_trl(threads, tuned, precision, model, data, template, max_length, steps, adapter):
    if not os.path.exists(bench.PEERS_PYTHON):
        raise Missing(f"{bench.PEERS_PYTHON} is not there: deploy/install_dependencies.sh --peers makes it")
    run = subprocess.run([bench.PEERS_PYTHON, os.path.join(bench.BENCH_DIR, "trl_peer.py"), "--model", model, "--data", data, "--template", template,
                          "--precision", precision, "--steps", str(steps), "--max-length", str(max_length), "--accumulation", str(ACCUMULATION),
                          "--threads", str(threads)] + (["--rank", str(adapter[0]), "--targets", ",".join(adapter[1] or [])] if adapter else []),
                         capture_output=True, text=True, timeout=LIMIT_S, check=False,
                         env={**os.environ, "OMP_NUM_THREADS": str(threads), **(TUNED if tuned else {})})
    if run.returncode != 0:
        raise SystemExit(f"TRL failed:\n{run.stderr[-3000:]}")
    return json.loads(run.stdout.splitlines()[-1])


def measure(side, options, precision, model, root):
    path, data, template, max_length = model
    program, end = split_side(side)
    adapter = (options.rank, LORA[end]) if end else None
    if program == "trainerd":
        job = write_job(os.path.join(root, "job.yaml"), path, data, template, max_length, precision, options.steps, adapter)
        return run_trainerd(root, options.threads, job, options.steps)
    return run_trl(options.threads, program == "trl-tuned", precision, path, data, template, max_length, options.steps, adapter)


def split_side(side):
    """(trainerd | trl | trl-tuned, the key of LORA or "")."""
    end = next((end for end in LORA if side.endswith(end)), "")
    return side.removesuffix(end), end


def compare(name, precision, results):
    """results: side → runs. The median of ours against the best of TRL's; the harder bar in every figure."""
    peers = [run for side in ("trl", "trl-tuned") for run in results.get(side, [])]
    ours = results.get("trainerd")
    if not peers or not ours:
        return
    speed = bench.median([run["tokens_per_second"] for run in ours])
    best = max(run["tokens_per_second"] for run in peers)
    memory = bench.median([run["peak_rss_mb"] for run in ours])
    bench.emit("training_ratio", model=name, precision=precision, tokens_per_second=round(speed, 1), trl_best=round(best, 1), speed_ratio=round(speed / best, 2),
               peak_rss_mb=memory, trl_least_rss_mb=min(run["peak_rss_mb"] for run in peers),
               rss_ratio=round(memory / min(run["peak_rss_mb"] for run in peers), 2), ready_s=bench.median([run["ready_s"] for run in ours]),
               trl_ready_s=min(run["ready_s"] for run in peers), goal="fp32: speed_ratio >= 1.5; rss_ratio <= 0.8; ready_s <= 2")


def compare_lora(name, precision, rank, results):
    """Medians of ours; the best of TRL's."""
    full = results.get("trainerd")
    for end, targets in LORA.items():
        ours, peers = results.get("trainerd" + end), [run for side in ("trl", "trl-tuned") for run in results.get(side + end, [])]
        if not ours or not full:
            continue
        speed, full_speed = (bench.median([run["tokens_per_second"] for run in runs]) for runs in (ours, full))
        memory, full_memory = (bench.median([run["peak_rss_mb"] for run in runs]) for runs in (ours, full))
        best = max((run["tokens_per_second"] for run in peers), default=None)
        bench.emit("lora_ratio", model=name, precision=precision, rank=rank, targets=targets or "every linear layer", tokens_per_second=round(speed, 1),
                   full_tokens_per_second=round(full_speed, 1), speed_over_full=round(speed / full_speed, 2), peak_rss_mb=memory,
                   full_peak_rss_mb=full_memory, memory_over_full=round(memory / full_memory, 2),
                   **({"peft_best": round(best, 1), "speed_over_peft": round(speed / best, 2)} if best else {}),
                   goal="fp32: speed_over_full >= 1.4; memory_over_full <= 0.6; speed_over_peft >= 2")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", default="smollm2,qwen3-small", help="smollm2 | qwen3-small | tiny, with commas between")
    parser.add_argument("--precisions", default="fp32")
    parser.add_argument("--sides", default="trainerd,trl,trl-tuned")
    parser.add_argument("--rank", type=int, default=16, help="of the adapter of the sides that end in -lora")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=bench.THREADS)
    options = parser.parse_args()
    for name in options.models.split(","):
        with tempfile.TemporaryDirectory(prefix="trainerd-bench-") as root:
            try:
                model = open_model(name, root)
                for precision in options.precisions.split(","):
                    results = {}
                    for _ in range(options.repeats):
                        for side in options.sides.split(","):
                            result = measure(side, options, precision, model, root)
                            bench.emit("training", side=side, model=name, precision=precision, threads=options.threads,
                                       **{key: round(value, 1) if key == "tokens_per_second" else value for key, value in result.items()})
                            results.setdefault(side, []).append(result)
                    compare(name, precision, results)
                    compare_lora(name, precision, options.rank, results)
            except Missing as missing:
                bench.emit("skipped", what=f"vs_trl {name}", reason=str(missing))


if __name__ == "__main__":
    main()
