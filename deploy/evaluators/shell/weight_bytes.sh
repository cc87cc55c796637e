#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A command for `trainctl evaluate --worker`: prints the size of a model's weights as a metric.
#
#   trainctl evaluate --worker --suite size --command './weight_bytes.sh {checkpoint}'
#
# What it prints on stdout last is one JSON object of metrics. A command that ends with another code
# than 0 makes the evaluation FAILED, with the end of its stderr.
set -eu

folder=${1:?name the folder of a model}
files=0
bytes=0
for file in "$folder"/*.safetensors; do
  [ -e "$file" ] || continue
  files=$((files + 1))
  bytes=$((bytes + $(wc -c <"$file")))
done
if [ "$files" -eq 0 ]; then
  echo "$folder has no .safetensors file" >&2
  exit 1
fi
printf '{"files": %d, "weight_bytes": {"value": %d, "lower_is_better": true}}\n' "$files" "$bytes"
