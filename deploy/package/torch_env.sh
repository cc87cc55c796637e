# SPDX-License-Identifier: Apache-2.0
# Finds the LibTorch of this machine's PyTorch and puts it into LD_LIBRARY_PATH. Sourced by bin/trainerd-worker and
# tests/gpu/run.sh; plain sh. The package holds everything else that the programs need, besides glibc and the GPU driver.

# Exports LD_LIBRARY_PATH and TRAINERD_TORCH_LIB (the torch/lib that was found); otherwise says what to do and returns 1.
trainerd_torch_env() {
  torch_lib=${TRAINERD_TORCH_LIB:-}
  if [ -z "$torch_lib" ]; then
    # find_spec does not import torch (seconds). From /, so that a folder named torch where we are is not taken for it.
    torch_lib=$(cd / && python3 -c '
import importlib.util, os
spec = importlib.util.find_spec("torch")
print(os.path.join(os.path.dirname(spec.origin), "lib") if spec and spec.origin else "")' 2>/dev/null) || torch_lib=""
    if [ -z "$torch_lib" ]; then
      echo "trainerd: no PyTorch: the first python3 in PATH ($(command -v python3 || echo none)) does not know the module torch. Install PyTorch 2.11 (pip install torch==2.11.0)," \
        "put the python3 that has it first in PATH, or set TRAINERD_TORCH_LIB to its torch/lib folder" >&2
      return 1
    fi
  fi
  for torch_file in libtorch_cpu.so libc10.so; do
    if [ ! -e "$torch_lib/$torch_file" ]; then
      echo "trainerd: $torch_file is not in $torch_lib: set TRAINERD_TORCH_LIB to the torch/lib folder of PyTorch 2.11" >&2
      return 1
    fi
  done
  # A Python package says it in version.py, a LibTorch archive in build-version.
  torch_version=$(sed -n "s/^__version__ *= *['\"]\([^'\"]*\).*/\1/p" "$torch_lib/../version.py" 2>/dev/null)
  [ -n "$torch_version" ] || torch_version=$(cat "$torch_lib/../build-version" 2>/dev/null) || torch_version=unknown
  case $torch_version in
    2.11.*) ;;
    *)
      echo "trainerd: $torch_lib belongs to PyTorch $torch_version, and this build runs beside 2.11 only: install torch==2.11.0" \
        "(a virtual environment of its own is enough) and set TRAINERD_TORCH_LIB to its torch/lib folder" >&2
      return 1
      ;;
  esac
  torch_path=$torch_lib
  # torch's own libraries find these by themselves; the CUDA plugin looks for the CUDA runtime here.
  for torch_nvidia in "$torch_lib"/../../nvidia/*/lib; do
    [ ! -d "$torch_nvidia" ] || torch_path=$torch_path:$torch_nvidia
  done
  LD_LIBRARY_PATH=$torch_path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  TRAINERD_TORCH_LIB=$torch_lib
  export LD_LIBRARY_PATH TRAINERD_TORCH_LIB
}
