#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks a GPU machine with the portable package that this file lies in (unpack it, then tests/gpu/run.sh): the device, every engine
# test on it, CPU and CUDA losses of one run compared, a job through the daemon. Prints one JSON document; what happens goes to stderr.
#   --bench        also the throughput of Qwen3-0.6B and 1.7B shapes (about 5 minutes and 10 GB in TMPDIR)
#   --device NAME  default cuda:0; cpu rehearses the checks where there is no GPU
#   --parts LIST   of tests,agreement,job (default: all three)
# Exit codes: 0 all well, 1 something failed (the JSON says what), 2 usage, 77 there is no GPU here.
set -euo pipefail
package=$(cd "$(dirname "$0")/../.." && pwd)
device=cuda:0
arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --device) [ $# -ge 2 ] || { echo "run.sh: --device needs a name" >&2; exit 2; }; device=$2; shift 2 ;;
    --parts) [ $# -ge 2 ] || { echo "run.sh: --parts needs a list" >&2; exit 2; }; arguments+=(--parts "$2"); shift 2 ;;
    --bench) arguments+=(--bench); shift ;;
    -h|--help) sed -n '3,8s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "run.sh: unknown argument $1 (see --help)" >&2; exit 2 ;;
  esac
done
if [[ $device == cuda* ]] && [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvidia0 ] && [ ! -e /dev/dxg ]; then
  echo "SKIP: no NVIDIA GPU on this machine (no /dev/nvidiactl, /dev/nvidia0 or /dev/dxg); --device cpu rehearses the checks" >&2
  exit 77
fi
if [ ! -e "$package/libexec/torch_env.sh" ]; then
  echo "run.sh: this is not an unpacked package. Make one (deploy/package.sh), unpack it on the GPU machine and run tests/gpu/run.sh there" >&2
  exit 2
fi
. "$package/libexec/torch_env.sh"
trainerd_torch_env || exit 1
exec python3 "$package/tests/gpu/machine_check.py" --package "$package" --device "$device" "${arguments[@]}"
