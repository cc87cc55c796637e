#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles every part without LibTorch with clang, -Wthread-safety and -Werror, in build/clang.
# Exit code: 0 clean, 1 a warning or error, 77 clang++ is not installed.
set -euo pipefail
cd "$(dirname "$0")/../.."
if ! command -v clang++ >/dev/null; then
  echo "clang_build.sh: skipped: clang++ is not installed (deploy/install_dependencies.sh --tests)"
  exit 77
fi
cmake --preset clang >/dev/null
libraries=(trainerd_contract trainerd_shim_lib trainerd_notify_lib trainerd_server
  trainerd_client trainerd_inspect_lib trainerd_engine_monitor)
log=build/clang/build.log
if ! nice -n 10 ninja -C build/clang -j "$(nproc)" -k 0 "${libraries[@]}" >"$log" 2>&1; then
  grep -E -A3 'warning:|error:' "$log" | head -80 >&2 || tail -40 "$log" >&2
  exit 1
fi
echo "clang reports no warning in ${libraries[*]}"
