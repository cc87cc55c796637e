#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures trainerd on this machine and prints one JSON line per figure, after a line with machine and versions.
#   tests/bench/run.sh [server|train|lora|losses|activations|checkpoint|text|all] [--save] [--precisions fp32,bf16] [--steps N] [--repeats N]
# server: start, submits, watching, pausing · train: against TRL's SFTTrainer · lora: an adapter against full fine-tuning and against peft · losses: against a plain transformers loop · activations: speed and memory of train.activation_checkpointing · checkpoint: against the disk ·
# text: the tokenizer against PyPI tokenizers, conversations to rows against TRL, large inputs (some 6 GB of disk under TMPDIR or TRAINERD_BENCH_SCRATCH)
# --save also writes the lines to tests/bench/results/<date>-<processor>.jsonl. The other options go to vs_trl.py.
# Builds the dev preset's programs, unless TRAINERD_BIN_DIR (and TRAINERD_TEST_BIN_DIR, TRAINERD_FAKE_WORKER) name built ones. What a part needs and is
# not installed is said in its line ("skipped"); deploy/install_dependencies.sh --model --peers installs it.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
  sed -n '3,6p' "$0" | sed 's/^# *//' >&2
  exit 2
}

what=all save=0 train_options=()
while [ $# -gt 0 ]; do
  case $1 in
    server | train | lora | losses | activations | checkpoint | text | all) what=$1 ;;
    --save) save=1 ;;
    --precisions | --steps | --repeats)
      [ $# -ge 2 ] || usage
      train_options+=("$1" "$2")
      shift
      ;;
    *) usage ;;
  esac
  shift
done

has() { [ "$what" = all ] || [ "$what" = "$1" ]; }

root=$(cd ../.. && pwd)
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
if [ -z "${TRAINERD_BIN_DIR:-}" ]; then
  targets="trainerd trainerd-shim trainctl trainerd-worker trainerd-inspect"
  if has server; then targets+=" server_load fake_worker"; fi
  if has checkpoint; then targets+=" checkpoint_bench"; fi
  if has activations; then targets+=" engine_bench"; fi
  if has text; then targets+=" text_bench"; fi
  (cd "$root" && cmake --preset dev && ninja -C build/dev $targets) >&2
  [ ! -e "$cache/smollm2-gguf" ] || "$root/deploy/demo/make_model.sh" "$root/build/dev/bin" >&2
  export TRAINERD_BIN_DIR=$root/build/dev/bin TRAINERD_TEST_BIN_DIR=$root/build/dev/tests TRAINERD_FAKE_WORKER=$root/build/dev/tests/fake_worker
fi

skipped() { printf '{"bench": "skipped", "what": "%s", "reason": "%s"}\n' "$1" "$2"; }

checkpoint() {
  local model=$cache/models/SmolLM2-135M-Instruct scratch line
  if [ ! -d "$model" ]; then
    skipped checkpoint "there is no $model"
    return
  fi
  scratch=$(mktemp -d -p "${TRAINERD_BENCH_SCRATCH:-$cache}" bench.XXXXXX)
  line=$("$TRAINERD_TEST_BIN_DIR/checkpoint_bench" --model "$model" --scratch "$scratch") || { rm -rf "$scratch"; return 1; }
  rm -rf "$scratch"
  python3 -c 'import json, sys, bench_common as bench; bench.emit("checkpoint", model="smollm2", **json.loads(sys.argv[1]), goal="durable_share_of_disk >= 0.7")' "$line"
}

losses() {
  if [ -x "$cache/venv-peers/bin/python" ]; then
    "$cache/venv-peers/bin/python" loss_vs_transformers.py
  else
    skipped losses "there is no $cache/venv-peers"
  fi
}

activations() {
  local checkpointing
  for checkpointing in none selective full; do
    "$TRAINERD_TEST_BIN_DIR/engine_bench" --checkpointing $checkpointing --tokens 4096 --accumulation 1 --steps 2
  done
}

measure() {
  python3 -c 'import json, bench_common as bench; print(json.dumps({"bench": "machine", **bench.machine(), "load": round(bench.load(), 2)}))'
  if has server; then python3 server_bench.py; fi
  if has text; then python3 text_bench.py && python3 data_bench.py; fi
  if has checkpoint; then checkpoint; fi
  if has train; then python3 vs_trl.py "${train_options[@]}"; fi
  if has lora; then
    python3 vs_trl.py --models smollm2 "${train_options[@]}" \
      --sides trainerd,trainerd-lora,trl-lora,trl-tuned-lora,trainerd-lora-qv,trl-lora-qv,trl-tuned-lora-qv
  fi
  if has losses; then losses; fi
  if has activations; then activations; fi
}

if [ $save = 1 ]; then
  processor=$(sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -1 | tr -cs 'A-Za-z0-9' '-' | sed 's/-$//')
  mkdir -p results
  measure | tee "results/$(date -u +%F)-${processor:-unknown}-$(nproc)-cores.jsonl"
else
  measure
fi
