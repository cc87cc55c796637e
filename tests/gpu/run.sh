#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks a GPU machine with the portable package: unpack the package there and run this file from
# it. It checks the device, runs every engine test on it, compares losses on CPU and CUDA, and runs
# a job through the daemon. Prints one JSON document to stdout and progress to stderr.
#   --bench        measure the throughput of Qwen3-0.6B and 1.7B shapes too (about 5 minutes, and
#                  10 GB in TMPDIR)
#   --device NAME  default cuda:0; cpu rehearses the checks on a machine without a GPU
#   --parts LIST   of tests,agreement,job (default: all three)
#   --out FILE     write the JSON document there too, anew after each part: what was found is kept
#                  if the machine, a time limit or a signal ends the check
# Exit codes: 0 success, 1 a check failed (see the JSON), 2 usage, 77 the machine has no GPU.
set -euo pipefail
package=$(cd "$(dirname "$0")/../.." && pwd)
device=cuda:0
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --device|--parts|--out)
      [ $# -ge 2 ] || { echo "run.sh: $1 needs a value (see --help)" >&2; exit 2; }
      if [ "$1" = --device ]; then device=$2; else arguments+=("$1" "$2"); fi
      shift 2 ;;
    --bench) arguments+=(--bench); shift ;;
    -h|--help) sed -n '3,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
  esac
done
has_gpu() { [ -e /dev/nvidiactl ] || [ -e /dev/nvidia0 ] || [ -e /dev/dxg ]; }
if [[ $device == cuda* ]] && ! has_gpu; then
  echo "SKIP: this machine has no NVIDIA GPU (no /dev/nvidiactl, /dev/nvidia0 or /dev/dxg);" \
    "rehearse the checks with --device cpu" >&2
  exit 77
fi
if [ ! -e "$package/libexec/torch_env.sh" ]; then
  echo "run.sh: $package is not an unpacked package. Create one with deploy/package.sh, unpack it" \
    "on the GPU machine and run tests/gpu/run.sh there" >&2
  exit 2
fi
. "$package/libexec/torch_env.sh"
trainerd_torch_env || exit 1
exec python3 "$package/tests/gpu/machine_check.py" --package "$package" --device "$device" \
  "${arguments[@]}"
