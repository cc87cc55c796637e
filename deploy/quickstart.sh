#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a fine-tuned model: installs what is missing, builds, starts a daemon of its own, trains a real
# language model on deploy/demo/ and shows live what it learns. Run again it reuses everything.
#   --device cpu|cuda   default: cuda where an NVIDIA GPU is found, else cpu
#   --build-only        install and build, no training
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
export TRAINERD_CACHE=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
state=${XDG_STATE_HOME:-$HOME/.local/state}/trainerd-quickstart
device="" build_only=0
while [ $# -gt 0 ]; do
  case $1 in
    --device) [ $# -ge 2 ] || { echo "quickstart.sh: --device needs cpu or cuda" >&2; exit 2; }; device=$2; shift 2 ;;
    --device=*) device=${1#*=}; shift ;;
    --build-only) build_only=1; shift ;;
    -h|--help) sed -n '3,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "quickstart.sh: unknown flag $1 (see --help)" >&2; exit 2 ;;
  esac
done
if [ -z "$device" ]; then
  if [ -e /dev/nvidia0 ]; then device=cuda; else device=cpu; fi
fi
case $device in cpu|cuda) ;; *) echo "quickstart.sh: --device must be cpu or cuda, not $device" >&2; exit 2 ;; esac

say() { printf '\n\033[1m==> %s\033[0m\n' "$*"; }
die() { printf 'quickstart: error: %s\n' "$*" >&2; exit 1; }

say "Installing what is missing"
flags=(--model)
[ "$device" = cpu ] || flags+=(--cuda)
"$root/deploy/install_dependencies.sh" "${flags[@]}"

say "Building (release preset)"
cmake -S "$root" --preset release >/dev/null || die "configuration failed: cmake --preset release shows why"
quiet=(); [ -t 1 ] || quiet=(--quiet)  # a line a file only where it is redrawn in place
ninja -C "$root/build/release" -j "$(nproc)" "${quiet[@]}"
bin=$root/build/release/bin
[ $build_only = 0 ] || { echo "Built: $bin"; exit 0; }

model=$TRAINERD_CACHE/models/SmolLM2-135M-Instruct
"$root/deploy/demo/make_model.sh" "$bin"

# ---------------------------------------------------------------- the daemon
export TRAINERD_ADDRESS=unix:$state/trainerd.sock
mkdir -p -m 700 "$state"
if ! "$bin/trainctl" version >/dev/null 2>&1; then
  say "Starting a daemon (state directory $state)"
  setsid nohup "$bin/trainerd" --state-dir "$state" >>"$state/trainerd.log" 2>&1 </dev/null &
  for _ in $(seq 100); do
    "$bin/trainctl" version >/dev/null 2>&1 && break
    sleep 0.1
  done
  "$bin/trainctl" version >/dev/null || die "the daemon did not start; its log: $state/trainerd.log"
fi
daemon_pid=$("$bin/trainctl" -o json version | python3 -c 'import json,sys; print(json.load(sys.stdin)["daemon"]["pid"])')

# ---------------------------------------------------------------- the job
precision=fp32
# Intel's processors with AVX-512 BF16 but without AMX have bf16, but were slower with it than with fp32 (tests/bench/results).
if [ "$device" = cuda ] || grep -qw amx_bf16 /proc/cpuinfo || { grep -qw avx512_bf16 /proc/cpuinfo && grep -q AuthenticAMD /proc/cpuinfo; }; then
  precision=bf16
fi
say "Training on $device in $precision"
set=(--set "model.path=$model" --set "train.precision=$precision")
if [ "$device" = cuda ]; then set+=(--set resources.device=cuda:0); else set+=(--set resources.device=cpu); fi
job=$("$bin/trainctl" submit "$root/deploy/jobs/quickstart.yaml" "${set[@]}" | tail -n 1)
echo "$job"
ended=0
"$bin/trainctl" watch "$job" || ended=$?
case $ended in
  0) ;;
  3) say "The job was stopped before its end. Continue it in a new job with:"
     echo "$bin/trainctl --address $TRAINERD_ADDRESS submit --from $job --watch"
     exit 3 ;;
  130) say "The job keeps running. Watch it again with:"
     echo "$bin/trainctl --address $TRAINERD_ADDRESS watch $job"
     exit 130 ;;
  *) die "the job did not succeed; its output: $bin/trainctl --address $TRAINERD_ADDRESS logs $job" ;;
esac

say "Held-out questions: before and after"
"$bin/trainctl" -o jsonl watch "$job" --after begin | python3 "$root/deploy/demo/show_answers.py"

final=$("$bin/trainctl" -o json get "$job" | python3 -c 'import json,sys; print(json.load(sys.stdin)["run_dir"] + "/final")')
cat <<TEXT

The model:         $final  (a Hugging Face folder)
Ask it:            $bin/trainerd-worker sample --model $final --prompt "How can I put my job on hold?"
For llama.cpp:     $bin/trainerd-worker export --model $final --form gguf --output support.gguf
In this shell:     export TRAINERD_ADDRESS=$TRAINERD_ADDRESS PATH=$bin:\$PATH
Watch again:       trainctl watch $job --after begin      trainctl ls      trainctl get $job -o yaml
Train once more:   trainctl submit $root/deploy/jobs/quickstart.yaml ${set[*]}
Control a job:     trainctl pause latest      trainctl resume latest      trainctl stop latest      (latest = submitted last)
End the daemon:    kill $daemon_pid
TEXT
