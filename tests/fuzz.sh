#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the libFuzzer targets with AddressSanitizer and UBSan and runs each for some seconds, beginning with seeds out of the golden files.
#   tests/fuzz.sh [SECONDS] [tokenizer|template|jsonl|safetensors|gguf …]      default: 60 seconds, all
# What it finds lies in build/fuzz/artifacts; inputs that reach new code are kept in build/fuzz/corpus and used by the next run.
# Exit code: 0 nothing found, 1 something found, 77 there is no clang with libFuzzer (deploy/install_dependencies.sh --tests installs it).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=60
case ${1:-} in
  [1-9]*) seconds=$1; shift ;;
esac
all=(tokenizer template jsonl safetensors gguf)
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=("${all[@]}")
for target in "${targets[@]}"; do
  case " ${all[*]} " in
    *" $target "*) ;;
    *) sed -n '4p' "$0" | sed 's/^# *//' >&2; exit 2 ;;
  esac
done

if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, unsigned long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address,undefined -x c++ - -o /dev/null 2>/dev/null; then
  echo "fuzz.sh: skipped: clang++ with libFuzzer is not installed (deploy/install_dependencies.sh --tests)"
  exit 77
fi
cmake --preset fuzz >/dev/null
nice -n 10 ninja -C build/fuzz -j "$(nproc)" "${targets[@]/#/fuzz_}" >build/fuzz/build.log || { tail -40 build/fuzz/build.log >&2; exit 1; }

mkdir -p build/fuzz/artifacts
python3 tests/golden/fuzz_seeds.py build/fuzz/seeds
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allow_user_poisoning=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
status=0
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  log=build/fuzz/$target.log
  if "build/fuzz/fuzz/$target" -max_total_time="$seconds" -timeout=20 -print_final_stats=1 -artifact_prefix="build/fuzz/artifacts/$target-" \
    "build/fuzz/corpus/$target" "build/fuzz/seeds/$target" >"$log" 2>&1; then
    found=clean
  else
    found=FOUND status=1
    tail -40 "$log" >&2
  fi
  awk -v target="$target" -v found="$found" -v seconds="$seconds" '
    /stat::number_of_executed_units/ {runs = $2} /stat::average_exec_per_sec/ {speed = $2} /stat::peak_rss_mb/ {rss = $2}
    match($0, /cov: [0-9]+/) {coverage = substr($0, RSTART + 5, RLENGTH - 5)}
    END {printf "%-12s %s: %d inputs in %d s (%d a second), %d edges reached, %d MB\n", target, found, runs, seconds, speed, coverage, rss}' "$log"
done
exit $status
