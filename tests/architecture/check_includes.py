#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom: the table of README.md "Who may include whom", as data. Exits 1 with one line a violation.

    check_includes.py ROOT            check the tree
    check_includes.py ROOT --self-test  check that each rule catches a violation made for it
"""
import os
import re
import sys

FOLDERS = ("proto/base", "proto/contract", "client", "server/shim", "server", "engine/cuda", "engine", "tests")

# What an include line stands for, first match wins.
KINDS = [
    ("grpc", re.compile(r"^(grpcpp|grpc)/|\.grpc\.pb\.h$")),
    ("protobuf", re.compile(r"^google/protobuf/")),
    ("messages", re.compile(r"^(trainerd|google)/.*\.pb\.h$")),
    ("torch", re.compile(r"^(ATen|c10|torch|caffe2)/")),
    ("cuda", re.compile(r"^(cuda|cublas|cudnn|nccl)[^/]*\.h$|^cub/|^c10/cuda/|^ATen/cuda/")),
    ("yaml", re.compile(r"^yaml-cpp/")),
    ("spdlog", re.compile(r"^(spdlog|fmt)/")),
    ("base", re.compile(r"^proto/base/")),
    ("contract", re.compile(r"^proto/contract/")),
    ("client", re.compile(r"^client/")),
    ("server/shim", re.compile(r"^server/shim/")),
    ("server", re.compile(r"^server/")),
    ("engine", re.compile(r"^engine/")),
]
ALLOWED = {
    "proto/base": {"protobuf", "base"},
    "proto/contract": {"protobuf", "base", "messages", "contract"},
    "client": {"protobuf", "base", "messages", "grpc", "contract", "client"},
    "server/shim": {"protobuf", "base", "messages", "contract", "server/shim"},
    "server": {"protobuf", "base", "messages", "contract", "server", "spdlog"},
    "engine": {"protobuf", "base", "messages", "contract", "engine", "spdlog", "torch"},
    "engine/cuda": {"protobuf", "base", "messages", "contract", "engine", "torch", "cuda"},
}
# Exceptions of the table: (path pattern, kind).
EXCEPTIONS = [
    (re.compile(r"^proto/contract/config/yaml_to_proto\.(cc|h)$"), "yaml"),
    (re.compile(r"^server/(api/.*|server\.(cc|h)|main\.cc)$"), "grpc"),
]
# Parts of the engine that must stay free of LibTorch: trainerd-inspect is made of them.
NO_TORCH = re.compile(r"^engine/(text|data|monitor|cli/inspect)/|^engine/inspect_main\.cc$|^engine/model/(safetensors|hf_folder|model_config|families)\.")
# Inside proto/contract: what a folder may include besides itself.
CONTRACT = {"config": set(), "job": set(), "run_dir": {"job"}}
# Inside the engine: run_job → train → {model, optim, data, monitor, checkpoint}, model → ops, data → text. What a folder may include besides itself.
ENGINE = {
    "text": set(),
    "data": {"text"},
    "monitor": set(),
    "ops": {"torch_status"},
    "model": {"ops", "text", "data", "torch_status"},
    "optim": {"model", "ops", "torch_status"},
    "checkpoint": {"model", "optim", "monitor", "data", "torch_status"},
    "train": {"model", "optim", "ops", "data", "text", "monitor", "checkpoint", "torch_status", "cuda"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def folder_of(path):
    return next((f for f in FOLDERS if path.startswith(f + "/")), None)


def violations_of(path, includes):
    folder = folder_of(path)
    if folder in (None, "tests"):
        return
    for header in includes:
        kind = next((name for name, pattern in KINDS if pattern.search(header)), None)
        if kind is None:
            continue
        if kind not in ALLOWED[folder] and not any(p.match(path) and k == kind for p, k in EXCEPTIONS):
            yield f"{path}: {folder} may not include {kind} ({header})"
        if kind == "torch" and NO_TORCH.match(path):
            yield f"{path}: this part of the engine has no LibTorch ({header})"
        if folder == "proto/contract" and kind == "contract":
            own, other = path.split("/")[2], header.split("/")[2]
            if other != own and other not in CONTRACT[own]:
                yield f"{path}: proto/contract/{own} may not include proto/contract/{other} ({header})"
        if folder == "engine" and kind == "engine":
            own = path.split("/")[1]
            other = header.split("/")[1]
            if own in ENGINE and other != own and other.endswith(".h") is False and other not in ENGINE[own]:
                yield f"{path}: engine/{own} may not include engine/{other} ({header})"


def files(root):
    for top in ("proto/base", "proto/contract", "client", "server", "engine"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".h", ".cc", ".cu", ".cuh", ".in")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check(root):
    found = []
    count = 0
    for path in files(root):
        count += 1
        with open(os.path.join(root, path), encoding="utf-8") as file:
            includes = [m.group(1) for m in map(INCLUDE.match, file) if m]
        found += violations_of(path, includes)
    if count < 20:
        found.append(f"only {count} files found below {root}: wrong folder?")
    return found


def self_test():
    cases = [
        ("client/a.cc", "engine/run_job.h"),
        ("server/jobs/a.cc", "grpcpp/grpcpp.h"),
        ("server/jobs/a.cc", "ATen/ATen.h"),
        ("server/shim/a.cc", "server/commands/job_manager.h"),
        ("server/shim/a.cc", "spdlog/spdlog.h"),
        ("engine/train/a.cc", "grpcpp/grpcpp.h"),
        ("engine/train/a.cc", "server/server.h"),
        ("engine/data/a.cc", "ATen/ops/mm.h"),
        ("engine/text/a.cc", "engine/data/batches/packing.h"),
        ("engine/ops/a.cc", "engine/train/loop/train_loop.h"),
        ("engine/model/a.cc", "cuda_runtime.h"),
        ("client/a.cc", "yaml-cpp/yaml.h"),
        ("proto/contract/run_dir/framing.cc", "yaml-cpp/yaml.h"),
        ("proto/contract/job/job_state.cc", "proto/contract/run_dir/manifest.h"),
        ("proto/base/fd.h", "proto/contract/run_dir/framing.h"),
        ("proto/base/time.cc", "trainerd/v1/job.pb.h"),
    ]
    missed = [f"{path} with {header} was not caught" for path, header in cases if not list(violations_of(path, [header]))]
    for path, header in [("server/api/a.cc", "grpcpp/grpcpp.h"), ("engine/train/a.cc", "engine/model/decoder.h"), ("proto/base/time.h", "google/protobuf/timestamp.pb.h"), ("proto/contract/run_dir/a.cc", "proto/contract/job/job_state.h"), ("proto/contract/config/yaml_to_proto.cc", "yaml-cpp/yaml.h")]:
        missed += [f"{path} with {header} was refused"] if list(violations_of(path, [header])) else []
    return missed


if __name__ == "__main__":
    problems = self_test() if "--self-test" in sys.argv else check(sys.argv[1])
    print("\n".join(problems) or "includes are as the table says")
    sys.exit(1 if problems else 0)
