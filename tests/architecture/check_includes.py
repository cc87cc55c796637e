#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks who includes whom. Exits 1 with one line per violation.

    check_includes.py ROOT              check the tree
    check_includes.py ROOT --self-test  check that each rule catches a violation made for it

Two tables: ALLOWED lists what a part (proto, client, server, engine) may include from outside.
ARROWS lists which of the part's own folders a folder may include.
"""
import os
import re
import sys

PARTS = ("proto/base", "proto/contract", "client", "server/shim", "server/notify", "server",
         "engine/ops/cuda", "engine", "tests")

# What an include line stands for; the first match wins.
KINDS = [
    ("grpc", re.compile(r"^(grpcpp|grpc)/|\.grpc\.pb\.h$")),
    ("protobuf", re.compile(r"^google/protobuf/")),
    ("messages", re.compile(r"^(trainerd|google)/.*\.pb\.h$")),
    ("torch", re.compile(r"^(ATen|c10|torch|caffe2)/")),
    ("cuda", re.compile(r"^(cuda|cublas|cudnn|nccl)[^/]*\.h$|^cub/|^c10/cuda/|^ATen/cuda/")),
    ("yaml", re.compile(r"^yaml-cpp/")),
    ("spdlog", re.compile(r"^(spdlog|fmt)/")),
    ("curl", re.compile(r"^curl/")),
    ("base", re.compile(r"^proto/base/")),
    ("contract", re.compile(r"^proto/contract/")),
    ("client", re.compile(r"^client/")),
    ("server/shim", re.compile(r"^server/shim/")),
    ("server/notify", re.compile(r"^server/notify/")),
    ("server", re.compile(r"^server/")),
    ("engine", re.compile(r"^engine/")),
]
CONTRACT = {"protobuf", "messages", "base", "contract"}
ALLOWED = {
    "proto/base": {"protobuf", "base"},
    "proto/contract": CONTRACT,
    "client": CONTRACT | {"grpc", "client"},
    "server/shim": CONTRACT | {"server/shim"},
    "server/notify": CONTRACT | {"server/notify", "curl"},
    "server": CONTRACT | {"server", "spdlog"},
    "engine": CONTRACT | {"engine", "spdlog", "torch"},
    "engine/ops/cuda": CONTRACT | {"engine", "torch", "cuda"},
}
# Exceptions to ALLOWED: (path pattern, kind).
EXCEPTIONS = [
    (re.compile(r"^proto/contract/job_file/yaml_to_proto\.(cc|h)$"), "yaml"),
    (re.compile(r"^server/(api/.*|server\.(cc|h)|main\.cc)$"), "grpc"),
]
# Parts of the engine without LibTorch: trainerd-inspect is built from them.
NO_TORCH = re.compile(
    r"^engine/(core|text|data|formats|monitor|cli/inspect|model/(config|folder|families|adapter|gguf))/"
    r"|^engine/inspect_main\.cc$")

# A key is a folder without its sub-folders, or the files of one name (server/server.cc is
# "server/server"). The value lists what the key may include besides itself. X in a value covers X
# and the folders below it, X/* only the files directly in X. Each folder needs a key.
DATA = "engine/data/"
TEXT = "engine/text/"
TORCH_FREE = ["engine/core"]
TORCH = ["engine/core", "engine/platform"]
TRAIN = TORCH + ["engine/checkpoint", "engine/optim", "engine/model", "engine/ops", "engine/data",
                 "engine/text", "engine/monitor", "engine/formats"]
ARROWS = {
    "proto/base": [],
    "proto/base/process": ["proto/base"],
    "proto/base/secret": ["proto/base"],
    "proto/contract/config": ["proto/base", "proto/contract/config/advice"],
    "proto/contract/config/advice": ["proto/base"],
    "proto/contract/config/rules": ["proto/base", "proto/contract/config"],
    "proto/contract/job_file": ["proto/base", "proto/contract/config"],
    "proto/contract/job": ["proto/base", "proto/contract/config"],
    "proto/contract/job/plan": ["proto/base", "proto/contract/config"],
    "proto/contract/run_dir": ["proto/base", "proto/contract/config", "proto/contract/job"],

    "client/main": ["client"],
    "client/command_line": ["client/cli", "client/commands", "client/foreign_commands",
                            "client/shell", "client/view"],
    "client/cli": ["client/commands"],
    "client/shell": [],
    "client/doctor": [],
    "client/foreign_commands": [],
    "client/commands/checkpoints": ["client/commands/*", "client/commands/common", "client/net",
                                    "client/transfer", "client/view"],
    "client/commands/access": ["client/commands/*", "client/commands/common", "client/net",
                               "client/view"],
    "client/commands": ["client/commands/common", "client/doctor", "client/preview", "client/net",
                        "client/transfer", "client/view"],
    "client/commands/common": ["client/net", "client/transfer", "client/view"],
    "client/commands/control": ["client/commands/*", "client/commands/common", "client/net",
                                "client/view"],
    "client/commands/evaluation": ["client/commands/*", "client/commands/common", "client/net",
                                   "client/view"],
    "client/transfer": ["client/net"],
    "client/preview": ["client/view"],
    "client/net": ["client/view"],
    "client/view": [],

    "server/main": ["server", "server/host"],
    "server/server": ["server"],
    "server/control_plane": ["server/commands", "server/commands/checkpoints", "server/reconcile", "server/ingest",
                             "server/ledger", "server/events", "server/files",
                             "server/local_files", "server/metrics", "server/outbox",
                             "server/runs", "server/store"],
    "server/api": ["server/api/access", "server/commands", "server/commands/access",
                   "server/commands/checkpoints", "server/commands/queries", "server/events",
                   "server/files", "server/runs", "server/store"],
    "server/api/access": ["server/api/status", "server/commands", "server/commands/access",
                          "server/store"],
    "server/http": ["server/commands", "server/events", "server/store"],
    "server/commands": ["server/commands/checkpoints", "server/commands/queries",
                        "server/commands/submit", "server/ledger", "server/events", "server/files",
                        "server/metrics", "server/outbox", "server/runs", "server/store"],
    "server/commands/access": ["server/commands/*", "server/store"],
    "server/commands/checkpoints": ["server/commands/command", "server/commands/request",
                                    "server/files", "server/ledger", "server/store"],
    "server/commands/queries": ["server/commands/paging", "server/commands/request",
                                "server/events", "server/ledger", "server/metrics", "server/runs",
                                "server/store"],
    "server/commands/submit": ["server/commands/request", "server/files", "server/ledger",
                               "server/outbox", "server/runs", "server/store"],
    "server/reconcile": ["server/files", "server/ingest", "server/ledger", "server/runs",
                         "server/store"],
    "server/ingest": ["server/ledger", "server/runs", "server/store"],
    "server/metrics": ["server/store"],
    "server/ledger": ["server/ledger/checkpoints", "server/ledger/disk", "server/store"],
    "server/ledger/checkpoints": ["server/store"],
    "server/ledger/disk": ["server/store"],
    "server/ledger/evaluations": ["server/ledger/*", "server/store"],
    "server/events": ["server/store"],
    "server/outbox": ["server/store"],
    "server/local_files": ["server/commands", "server/commands/queries", "server/store"],
    "server/files": ["server/store"],
    "server/host": [],
    "server/runs": [],
    "server/store": ["server/store/rows", "server/store/rows/access"],
    "server/store/rows/access": ["server/store/sqlite", "server/store/errors"],
    "server/store/rows": ["server/store/sqlite", "server/store/errors", "server/store/cut_message"],
    "server/shim": [],
    "server/notify": [],

    "engine/worker_main": ["engine"],
    "engine/inspect_main": ["engine/cli/inspect", "engine/data"],
    "engine/cli": TRAIN + ["engine/run_job", "engine/train/*"],
    "engine/cli/inspect": TORCH_FREE + ["engine/data", "engine/text", "engine/formats",
                                        "engine/model/config", "engine/model/folder",
                                        "engine/model/gguf"],
    "engine/run_job": TRAIN + ["engine/train"],
    "engine/train/stages": TRAIN + ["engine/train/loop", "engine/train"],
    "engine/train/loop": TRAIN + ["engine/train/*"],
    "engine/train": TRAIN,
    "engine/checkpoint": TORCH + ["engine/optim", "engine/model", "engine/formats", "engine/data",
                                  "engine/monitor"],
    "engine/optim": TORCH + ["engine/model", "engine/ops"],
    "engine/model": TORCH + ["engine/model/config", "engine/model/folder", "engine/model/adapter",
                             "engine/formats", "engine/ops", "engine/data/batches", "engine/text"],
    # A family fills the types of model_config.h, which reads the table of families. An adapter
    # names weights of the model, and the checks of a job include those of its adapter: two parts
    # in four folders.
    "engine/model/config": TORCH_FREE + ["engine/model/families", "engine/formats"],
    "engine/model/families": TORCH_FREE + ["engine/model/config"],
    "engine/model/folder": TORCH_FREE + ["engine/model/config", "engine/model/adapter",
                                         "engine/formats", "engine/data/source", "engine/text"],
    "engine/model/adapter": TORCH_FREE + ["engine/model/config", "engine/model/folder",
                                          "engine/formats"],
    "engine/model/gguf": TORCH_FREE + ["engine/model/config", "engine/model/families",
                                       "engine/model/folder", "engine/text", "engine/formats"],
    "engine/ops": TORCH + ["engine/ops/lora"],
    "engine/ops/layers": TORCH + ["engine/ops/*", "engine/ops/lora"],
    "engine/ops/lora": TORCH + ["engine/ops/*"],
    "engine/ops/reference": TORCH + ["engine/ops/*", "engine/ops/lora"],
    # Where a fused kernel does not apply, the CPU falls back to the reference.
    "engine/ops/cpu": TORCH + ["engine/ops/*", "engine/ops/lora", "engine/ops/reference"],
    "engine/ops/cuda": TORCH + ["engine/ops/*"],
    "engine/platform": ["engine/core"],
    "engine/core": [],
    "engine/monitor": TORCH_FREE,
    "engine/formats": TORCH_FREE,
    "engine/formats/gguf": TORCH_FREE + ["engine/formats/*"],

    "engine/data": TORCH_FREE + [DATA + "examples", DATA + "batches", DATA + "store",
                                 DATA + "source", "engine/text"],
    DATA + "examples": TORCH_FREE + [DATA + "profiles", DATA + "store", DATA + "source",
                                     "engine/text", "engine/formats"],
    DATA + "batches": TORCH_FREE + [DATA + "store", DATA + "source"],
    DATA + "store": TORCH_FREE + [DATA + "source", "engine/text"],
    DATA + "source": TORCH_FREE + [DATA + "source/files", "engine/text", "engine/formats"],
    DATA + "source/files": TORCH_FREE + ["engine/formats"],
    DATA + "profiles": TORCH_FREE,

    "engine/text": TORCH_FREE + [TEXT + "jinja", TEXT + "tokenizer", TEXT + "unicode",
                                 "engine/formats"],
    TEXT + "jinja": TORCH_FREE + [TEXT + "jinja/syntax", TEXT + "jinja/value", TEXT + "unicode"],
    TEXT + "jinja/syntax": TORCH_FREE + [TEXT + "jinja/value", TEXT + "unicode"],
    TEXT + "jinja/value": TORCH_FREE + [TEXT + "unicode"],
    TEXT + "tokenizer": TORCH_FREE + [TEXT + "tokenizer/steps", TEXT + "tokenizer/bpe",
                                      TEXT + "unicode", "engine/formats"],
    TEXT + "tokenizer/steps": TORCH_FREE + [TEXT + "tokenizer/bpe", TEXT + "unicode"],
    TEXT + "tokenizer/bpe": TORCH_FREE + [TEXT + "unicode"],
    TEXT + "unicode": TORCH_FREE,
}
# Includes that break an arrow, with the reason. One that the tree no longer needs is a violation.
ARROW_EXCEPTIONS = {
}
INCLUDE = re.compile(r'^\s*#\s*include\s*[<"]([^>"]+)[>"]')


def part_of(path):
    return next((part for part in PARTS if path.startswith(part + "/")), None)


def covers(prefix, path):
    """Whether the value `prefix` of ARROWS includes `path`."""
    if prefix.endswith("/*"):
        return os.path.dirname(path) == prefix[:-2]
    return path.startswith(prefix + "/") or os.path.splitext(path)[0] == prefix


def node_of(path):
    """The key of ARROWS that `path` belongs to; None: its folder has no key."""
    name = os.path.splitext(path)[0]
    folder = os.path.dirname(path)
    return name if name in ARROWS else folder if folder in ARROWS else None


def breaks_arrow(path, header):
    node = node_of(path)
    if node is None or node_of(header) == node:
        return False
    return not any(covers(target, header) for target in ARROWS[node])


def violations_of(path, includes):
    part = part_of(path)
    if part in (None, "tests"):
        return
    for header in includes:
        kind = next((name for name, pattern in KINDS if pattern.search(header)), None)
        if kind is None:
            continue
        excepted = any(p.match(path) and k == kind for p, k in EXCEPTIONS)
        if kind not in ALLOWED[part] and not excepted:
            yield f"{path}: {part} may not include {kind} ({header})"
        if kind == "torch" and NO_TORCH.match(path):
            yield f"{path}: this part of the engine has no LibTorch ({header})"
        same_part = path.split("/")[0] == header.split("/")[0]
        if same_part and (path, header) not in ARROW_EXCEPTIONS and breaks_arrow(path, header):
            yield f"{path}: {node_of(path)} may not include {header}"


def files(root):
    for top in ("proto/base", "proto/contract", "client", "server", "engine"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in sorted(names):
                if name.endswith((".h", ".cc", ".cu", ".cuh", ".in")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check(root):
    found = []
    count = 0
    used = set()
    for path in files(root):
        count += 1
        with open(os.path.join(root, path), encoding="utf-8") as file:
            includes = [m.group(1) for m in map(INCLUDE.match, file) if m]
        used |= {(path, header) for header in includes if (path, header) in ARROW_EXCEPTIONS}
        if node_of(path) is None:
            found.append(f"{path}: its folder has no entry in ARROWS of check_includes.py")
        found += violations_of(path, includes)
    for path, header in sorted(set(ARROW_EXCEPTIONS) - used):
        found.append(f"{path} no longer includes {header}: remove its entry in ARROW_EXCEPTIONS")
    if count < 20:
        found.append(f"only {count} files found below {root}: wrong folder?")
    return found


REFUSED = [
    ("client/a.cc", "engine/run_job.h"),
    ("client/a.cc", "yaml-cpp/yaml.h"),
    ("client/net/a.cc", "client/commands/commands.h"),
    ("client/net/a.cc", "client/preview/preview_items.h"),
    ("client/preview/a.cc", "client/commands/commands.h"),
    ("client/preview/a.cc", "client/net/connection.h"),
    ("client/transfer/a.cc", "client/commands/commands.h"),
    ("client/view/a.cc", "client/net/connection.h"),
    ("client/view/a.cc", "client/preview/preview_items.h"),
    ("client/commands/a.cc", "client/command_line.h"),
    ("client/commands/common/a.cc", "client/commands/commands.h"),
    ("client/commands/checkpoints/a.cc", "client/preview/preview_items.h"),
    ("client/commands/access/a.cc", "client/preview/preview_items.h"),
    ("client/commands/control/a.cc", "client/preview/preview_items.h"),
    ("client/doctor/a.cc", "client/commands/commands.h"),
    ("client/shell/a.cc", "client/net/connection.h"),
    ("client/cli/a.cc", "client/net/connection.h"),
    ("client/command_line.cc", "client/net/connection.h"),
    ("client/foreign_commands.cc", "client/view/output.h"),
    ("proto/base/a.cc", "trainerd/v1/job.pb.h"),
    ("proto/base/a.cc", "proto/contract/job/names.h"),
    ("proto/base/a.cc", "proto/base/process/process.h"),
    ("proto/base/process/a.cc", "proto/contract/job/names.h"),
    ("proto/base/secret/a.cc", "proto/contract/job/names.h"),
    ("proto/contract/job/a.cc", "proto/contract/run_dir/manifest.h"),
    ("proto/contract/job/plan/a.cc", "proto/contract/job/names.h"),
    ("proto/contract/config/a.cc", "proto/contract/job/names.h"),
    ("proto/contract/config/a.cc", "proto/contract/config/rules/job_config_rules.h"),
    ("proto/contract/config/advice/a.cc", "proto/contract/config/enum_words.h"),
    ("proto/contract/config/rules/a.cc", "proto/contract/job/names.h"),
    ("proto/contract/config/a.cc", "proto/contract/run_dir/manifest.h"),
    ("proto/contract/run_dir/framing.cc", "yaml-cpp/yaml.h"),
    ("proto/contract/job/a.cc", "spdlog/spdlog.h"),
    ("proto/contract/job_file/a.cc", "proto/contract/job/names.h"),
    ("server/commands/a.cc", "grpcpp/grpcpp.h"),
    ("server/commands/a.cc", "ATen/ATen.h"),
    ("server/commands/a.cc", "server/reconcile/decide.h"),
    ("server/commands/a.cc", "server/ingest/ingester.h"),
    ("server/commands/a.cc", "server/api/services.h"),
    ("server/commands/submit/a.cc", "server/commands/job_manager.h"),
    ("server/commands/checkpoints/a.cc", "server/commands/job_manager.h"),
    ("server/commands/queries/a.cc", "server/commands/command.h"),
    ("server/commands/access/a.cc", "server/ledger/ledger.h"),
    ("server/api/access/a.cc", "server/ledger/ledger.h"),
    ("server/main.cc", "engine/run_job.h"),
    ("server/host/a.cc", "server/store/store.h"),
    ("server/api/a.cc", "server/reconcile/reconciler.h"),
    ("server/api/a.cc", "server/ledger/transition.h"),
    ("server/reconcile/a.cc", "server/commands/submit/submit.h"),
    ("server/reconcile/a.cc", "server/events/event_log.h"),
    ("server/ingest/a.cc", "server/reconcile/decide.h"),
    ("server/ledger/a.cc", "server/runs/executor.h"),
    ("server/ledger/a.cc", "server/events/event_log.h"),
    ("server/metrics/a.cc", "server/events/event_log.h"),
    ("server/ledger/checkpoints/a.cc", "server/ledger/ledger.h"),
    ("server/ledger/disk/a.cc", "server/ledger/ledger.h"),
    ("server/events/a.cc", "server/runs/executor.h"),
    ("server/files/a.cc", "server/ledger/transition.h"),
    ("server/runs/a.cc", "server/reconcile/scheduler.h"),
    ("server/runs/a.cc", "server/store/store.h"),
    ("server/store/a.cc", "server/ledger/transition.h"),
    ("server/store/a.cc", "server/runs/executor.h"),
    ("server/store/rows/access/a.cc", "server/store/rows/run_rows.h"),
    ("server/store/rows/a.cc", "server/store/store.h"),
    ("server/store/rows/a.cc", "server/ledger/transition.h"),
    ("server/shim/a.cc", "server/commands/job_manager.h"),
    ("server/shim/a.cc", "spdlog/spdlog.h"),
    ("client/commands/evaluation/a.cc", "client/preview/inspect.h"),
    ("server/ledger/evaluations/a.cc", "server/commands/evaluations.h"),
    ("server/local_files/a.cc", "server/outbox/notifier.h"),
    ("server/commands/a.cc", "server/local_files/inbox.h"),
    ("server/outbox/a.cc", "server/notify/webhook.h"),
    ("server/outbox/a.cc", "server/ledger/transition.h"),
    ("server/outbox/a.cc", "curl/curl.h"),
    ("server/notify/a.cc", "server/store/store.h"),
    ("server/notify/a.cc", "spdlog/spdlog.h"),
    ("server/control_plane.cc", "server/api/services.h"),
    ("server/control_plane.cc", "grpcpp/grpcpp.h"),
    ("server/http/a.cc", "server/runs/executor.h"),
    ("engine/train/a.cc", "grpcpp/grpcpp.h"),
    ("engine/train/a.cc", "server/server.h"),
    ("engine/train/a.cc", "engine/train/loop/samples.h"),
    ("engine/train/a.cc", "engine/train/stages/stages.h"),
    ("engine/train/loop/a.cc", "engine/train/stages/stages.h"),
    ("engine/train/loop/a.cc", "engine/run_job.h"),
    ("engine/train/stages/a.cc", "engine/cli/event_sinks.h"),
    ("engine/run_job.cc", "engine/cli/event_sinks.h"),
    ("engine/inspect_main.cc", "engine/cli/event_sinks.h"),
    ("engine/cli/a.cc", "engine/cli/inspect/commands.h"),
    ("engine/cli/a.cc", "engine/train/loop/train_loop.h"),
    ("engine/checkpoint/a.cc", "engine/train/attempt_context.h"),
    ("engine/checkpoint/a.cc", "engine/ops/op_table.h"),
    ("engine/optim/a.cc", "engine/checkpoint/checkpoint.h"),
    ("engine/optim/a.cc", "engine/data/batches/batch.h"),
    ("engine/model/a.cc", "engine/optim/adamw.h"),
    ("engine/model/a.cc", "engine/data/prepare.h"),
    ("engine/model/a.cc", "engine/data/store/token_store.h"),
    ("engine/model/a.cc", "cuda_runtime.h"),
    ("engine/model/folder/a.cc", "engine/model/decoder.h"),
    ("engine/model/folder/a.cc", "engine/data/prepare.h"),
    ("engine/model/folder/a.cc", "ATen/ATen.h"),
    ("engine/model/config/a.cc", "engine/model/folder/hf_folder.h"),
    ("engine/model/config/a.cc", "ATen/ATen.h"),
    ("engine/model/families/a.cc", "engine/ops/op_table.h"),
    ("engine/model/adapter/a.cc", "engine/model/parameters.h"),
    ("engine/model/gguf/a.cc", "engine/model/parameters.h"),
    ("engine/model/gguf/a.cc", "ATen/ATen.h"),
    ("engine/ops/a.cc", "engine/train/loop/train_loop.h"),
    ("engine/ops/a.cc", "engine/model/decoder.h"),
    ("engine/ops/a.cc", "engine/ops/cpu/kernels.h"),
    ("engine/ops/a.cc", "engine/ops/layers/linear.h"),
    ("engine/ops/layers/a.cc", "engine/ops/cpu/kernels.h"),
    ("engine/ops/cpu/a.cc", "engine/model/decoder.h"),
    ("engine/ops/reference/a.cc", "engine/ops/cpu/kernels.h"),
    ("engine/ops/lora/a.cc", "engine/ops/cpu/kernels.h"),
    ("engine/ops/cuda/a.cu", "engine/model/decoder.h"),
    ("engine/platform/a.cc", "engine/checkpoint/run_state.h"),
    ("engine/core/a.cc", "engine/platform/device.h"),
    ("engine/core/a.cc", "ATen/ATen.h"),
    ("engine/monitor/a.cc", "engine/platform/device.h"),
    ("engine/formats/a.cc", "engine/model/config/model_config.h"),
    ("engine/formats/a.cc", "c10/core/Device.h"),
    ("engine/formats/gguf/a.cc", "engine/model/config/model_config.h"),
    ("engine/cli/inspect/a.cc", "engine/cli/event_sinks.h"),
    ("engine/cli/inspect/a.cc", "engine/model/decoder.h"),
    ("engine/data/a.cc", "ATen/ops/mm.h"),
    ("engine/data/a.cc", "engine/model/decoder.h"),
    ("engine/data/examples/a.cc", "engine/data/prepare.h"),
    ("engine/data/examples/a.cc", "engine/data/batches/batch.h"),
    ("engine/data/batches/a.cc", "engine/data/examples/labels.h"),
    ("engine/data/batches/a.cc", "engine/text/chat_template.h"),
    ("engine/data/store/a.cc", "engine/data/batches/batch.h"),
    ("engine/data/store/a.cc", "engine/data/examples/labels.h"),
    ("engine/data/source/a.cc", "engine/data/prepare.h"),
    ("engine/data/source/a.cc", "engine/data/store/example.h"),
    ("engine/data/source/files/a.cc", "engine/data/source/conversation.h"),
    ("engine/data/profiles/a.cc", "engine/data/source/conversation.h"),
    ("engine/text/a.cc", "engine/data/batches/packing.h"),
    ("engine/text/jinja/a.cc", "engine/text/tokenizer/tokenizer.h"),
    ("engine/text/jinja/a.cc", "engine/text/chat_template.h"),
    ("engine/text/jinja/value/a.cc", "engine/text/jinja/syntax/parser.h"),
    ("engine/text/jinja/syntax/a.cc", "engine/text/jinja/interpreter.h"),
    ("engine/text/tokenizer/a.cc", "engine/text/chat_template.h"),
    ("engine/text/tokenizer/steps/a.cc", "engine/text/tokenizer/tokenizer.h"),
    ("engine/text/tokenizer/bpe/a.cc", "engine/text/tokenizer/steps/normalizer.h"),
    ("engine/text/unicode/a.cc", "engine/text/jinja/syntax/parser.h"),
]
ACCEPTED = [
    ("client/commands/a.cc", "client/net/connection.h"),
    ("client/main.cc", "client/command_line.h"),
    ("client/view/a.cc", "client/view/format.h"),
    ("proto/contract/job_file/yaml_to_proto.cc", "yaml-cpp/yaml.h"),
    ("proto/contract/run_dir/a.cc", "proto/contract/job/names.h"),
    ("proto/base/a.cc", "google/protobuf/message.h"),
    ("server/api/a.cc", "grpcpp/grpcpp.h"),
    ("server/server.cc", "server/reconcile/reconciler.h"),
    ("engine/train/a.cc", "engine/model/decoder.h"),
    ("engine/train/loop/a.cc", "engine/train/attempt_context.h"),
    ("engine/train/a.cc", "engine/data/examples/example_pipeline.h"),
    ("engine/cli/a.cc", "engine/run_job.h"),
    ("engine/worker_main.cc", "engine/cli/train_command.h"),
    ("engine/model/families/llama.cc", "engine/model/config/model_config.h"),
    ("engine/cli/inspect/a.cc", "engine/model/folder/job_model.h"),
]


def self_test():
    def refuses(case):
        return bool(list(violations_of(case[0], [case[1]])))

    wrong = [f"{case[0]} with {case[1]} was not caught" for case in REFUSED if not refuses(case)]
    wrong += [f"{case[0]} with {case[1]} was refused" for case in ACCEPTED if refuses(case)]
    tested = {node_of(path) for path, _ in REFUSED}
    for node, targets in ARROWS.items():
        may_include_its_part = targets == [node.split("/")[0]]
        if node not in tested and not may_include_its_part:
            wrong.append(f"REFUSED has no case for {node}")
    return wrong


if __name__ == "__main__":
    problems = self_test() if "--self-test" in sys.argv else check(sys.argv[1])
    print("\n".join(problems) or "includes are as the table says")
    sys.exit(1 if problems else 0)
