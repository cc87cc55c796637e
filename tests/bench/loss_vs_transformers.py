#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Are the losses right? A job goes through trainctl, daemon, shim and worker; a plain transformers loop trains the same model over the token ids that
`trainerd-inspect preview --packed` prints. The losses of all steps must agree to a relative tolerance (1e-4), and final/ must load in transformers with
no missing or unexpected key and give there, conversation by conversation, the losses that trainerd computes from it.

The loop knows nothing about packing: each document of a row goes through the model alone, its losses are summed, and the sum is divided by the target
tokens of the whole step. Optimizer, schedule and clipping are torch's and transformers' own.

Needs an interpreter with torch and transformers. Exit code 1 when something does not agree.
usage: loss_vs_transformers.py [--model DIR] [--data FILE] [--steps 20] [--max-length 1024] [--packing bfd] [--accumulation 1] [--tiny]"""

import argparse
import json
import os
import shutil
import subprocess
import sys

import bench_common as bench

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

LEARNING_RATE = 2.0e-5  # the job file's default
WEIGHT_DECAY = 0.01
# Steps of the job that only computes the losses of final/ (its learning rate is 0).
FINAL_STEPS = 5
PATIENCE_S = 7200


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default=bench.SMOLLM2)
    parser.add_argument("--data", default=bench.shared_file("data", "alpaca_en_1k.jsonl"))
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--max-length", type=int, default=1024)
    parser.add_argument("--packing", default="bfd")
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=bench.THREADS)
    parser.add_argument("--tiny", action="store_true", help="a two-layer model with random weights and made-up conversations: seconds instead of minutes")
    return parser.parse_args()


def warmup_steps(steps):
    return steps // 5


def write_job(path, model, options, learning_rate, steps, packing):
    with open(path, "w") as file:
        file.write(f"""model: {{path: {model}}}
data: {{train: [{options.data}], max_length: {options.max_length}, packing: {packing}}}
train: {{precision: fp32, batch_size: 1, gradient_accumulation: {options.accumulation}, max_steps: {steps}, max_grad_norm: 1.0}}
optimizer: {{learning_rate: {learning_rate}, weight_decay: {WEIGHT_DECAY}}}
schedule: {{type: cosine, warmup_steps: {warmup_steps(options.steps) if learning_rate else 0}}}
checkpoint: {{every_steps: 0}}
resources: {{device: cpu}}
""")
    return path


def train_with_trainerd(world, job_file, steps):
    """(name, losses of the steps in order) of a job that must succeed."""
    import harness
    name = world.submit(job_file)
    world.run("wait", name, timeout=PATIENCE_S)
    job = world.get(name)
    if job["state"] != "SUCCEEDED":
        raise SystemExit(f"the job is {job['state']}: {json.dumps(job.get('error'), ensure_ascii=False)}")
    losses = harness.losses(world.events(name))
    return name, [losses[step] for step in range(1, steps + 1)]


def preview_rows(job_file, count):
    """Rows of the first `count` microbatches, in the order of training: lists of (ids, labels), one a document."""
    out = subprocess.run([bench.program("trainerd-inspect"), "preview", "--job", job_file, "--packed", "--json", "--limit", str(count)],
                         capture_output=True, text=True, check=True).stdout
    rows = []
    for line in out.splitlines():
        row = json.loads(line)
        bounds = row["cu_seqlens"]
        rows.append([(row["ids"][a:b], row["labels"][a:b]) for a, b in zip(bounds, bounds[1:])])
    if len(rows) < count:
        raise SystemExit(f"{count} rows are needed, the first epoch has {len(rows)}: take fewer steps")
    return rows


def open_model(path):
    """The model in fp32, and what transformers says about its weights."""
    import torch
    from transformers import AutoModelForCausalLM
    model, info = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    strange = {key: sorted(info[key]) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") if info[key]}
    return model.train(), strange


def document_loss(model, ids, labels):
    """Sum of the negative log likelihoods of a document's target tokens."""
    import torch
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), ignore_index=-100, reduction="sum")


def target_tokens(row):
    return sum(label != -100 for _, labels in row for label in labels[1:])


def decay_groups(model):
    """Weight decay on matrices and embeddings alone, as the job's configuration says."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]


def train_with_transformers(path, rows, options):
    """Losses of the steps by the plain loop."""
    import torch
    from transformers import get_cosine_schedule_with_warmup
    model, strange = open_model(path)
    if strange:
        raise SystemExit(f"{path} does not load cleanly: {strange}")
    optimizer = torch.optim.AdamW(decay_groups(model), lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8)
    schedule = get_cosine_schedule_with_warmup(optimizer, warmup_steps(options.steps), options.steps)
    losses = []
    for step in range(options.steps):
        batch = rows[step * options.accumulation:(step + 1) * options.accumulation]
        denominator = sum(target_tokens(row) for row in batch)
        total = 0.0
        for ids, labels in (document for row in batch for document in row):
            loss = document_loss(model, ids, labels) / denominator
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(total)
        bench.note(f"transformers: step {step + 1}/{options.steps} loss {total:.9f}")
    return losses


def losses_with_transformers(path, rows, accumulation):
    """(Losses without any training, names of missing or unexpected weights)."""
    import torch
    model, strange = open_model(path)
    losses = []
    with torch.no_grad():
        for begin in range(0, len(rows), accumulation):
            batch = rows[begin:begin + accumulation]
            denominator = sum(target_tokens(row) for row in batch)
            losses.append(sum(document_loss(model, *document).item() for row in batch for document in row) / denominator)
    return losses, strange


def worst_difference(ours, theirs):
    return max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))


def main():
    options = parse()
    try:
        import torch
        import transformers
        transformers.utils.logging.disable_progress_bar()
    except ImportError as error:
        raise SystemExit(f"{error}: run this with an interpreter that has torch and transformers (tests/requirements-peers.txt)") from error
    torch.set_num_threads(options.threads)
    import harness
    world = harness.World(worker=bench.program("trainerd-worker"), settings={"cpu_threads": options.threads})
    world.live.done.set()
    try:
        if options.tiny:
            import real_jobs
            options.model, options.data = real_jobs.make_inputs(world.root)
        if not options.data or not os.path.isdir(options.model):
            raise SystemExit(f"no data or no model folder {options.model}: give --data and --model, or --tiny")
        world.start()
        agree = compare(world, options, {"torch": torch.__version__, "transformers": transformers.__version__})
    finally:
        world.close()
    sys.exit(0 if agree else 1)


def compare(world, options, versions):
    model_name = "tiny" if options.tiny else os.path.basename(options.model)
    job = write_job(os.path.join(world.root, "job.yaml"), options.model, options, LEARNING_RATE, options.steps, options.packing)
    name, ours = train_with_trainerd(world, job, options.steps)
    rows = preview_rows(job, options.steps * options.accumulation)
    theirs = train_with_transformers(options.model, rows, options)
    difference = worst_difference(ours, theirs)
    bench.emit("loss_vs_transformers", model=model_name, steps=options.steps, tokens=sum(len(ids) for row in rows for ids, _ in row),
               documents=sum(len(row) for row in rows), max_length=options.max_length, packing=options.packing, accumulation=options.accumulation,
               trainerd=ours, transformers=theirs, max_relative_difference=difference, tolerance=options.tolerance, agree=difference <= options.tolerance,
               versions=versions)

    final = os.path.join(world.root, "final")
    shutil.copytree(os.path.join(world.run_dir(name), "final"), final)
    job = write_job(os.path.join(world.root, "final.yaml"), final, options, 0, FINAL_STEPS, "none")
    ours = train_with_trainerd(world, job, FINAL_STEPS)[1]
    theirs, strange = losses_with_transformers(final, preview_rows(job, FINAL_STEPS * options.accumulation), options.accumulation)
    final_difference = worst_difference(ours, theirs)
    good = final_difference <= options.tolerance and not strange
    bench.emit("final_in_transformers", model=model_name, strange_keys=strange, trainerd=ours, transformers=theirs,
               max_relative_difference=final_difference, tolerance=options.tolerance, agree=good, versions=versions)
    return difference <= options.tolerance and good


if __name__ == "__main__":
    main()
