# Defines the imported target LibTorch::cpu from the pinned PyPI wheel. The wheel's own CMake
# package is not used, because it requires a CUDA toolkit. Only the plugin links LibTorch's CUDA
# libraries (CudaPlugin.cmake).
set(TRAINERD_TORCH_VERSION 2.11.0)
set(LIBTORCH_ROOT ${TRAINERD_CACHE}/libtorch-${TRAINERD_TORCH_VERSION} CACHE PATH
  "site-packages folder that contains torch/ and nvidia/")
set(_torch ${LIBTORCH_ROOT}/torch)
include(FindPackageHandleStandardArgs)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_LIBRARY c10 PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_GOMP_LIBRARY NAMES libgomp.so.1 PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_CUDA_LIBRARY torch_cuda PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda PATHS ${_torch}/lib NO_DEFAULT_PATH)
string(CONCAT _missing "LibTorch ${TRAINERD_TORCH_VERSION} was not found in ${LIBTORCH_ROOT}: run "
  "deploy/install_dependencies.sh, or build with -DTRAINERD_ENGINE=OFF")
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY LIBTORCH_GOMP_LIBRARY
  FAIL_MESSAGE "${_missing}")
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::headers INTERFACE IMPORTED)
  # -idirafter: the wheel's old protobuf and newer fmt headers must not shadow the system's.
  set(_api ${_torch}/include/torch/csrc/api/include)
  set_target_properties(LibTorch::headers PROPERTIES
    INTERFACE_COMPILE_OPTIONS "SHELL:-idirafter ${_torch}/include;SHELL:-idirafter ${_api}"
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1")
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  # A portable program gets the path of LibTorch from its launcher (deploy/package/torch_env.sh).
  if(TRAINERD_PORTABLE)
    set(_rpath "")
  else()
    set(_rpath "-Wl,-rpath,${_torch}/lib;")
  endif()
  set(_rpath_link "-Wl,-rpath-link,${LIBTORCH_ROOT}/nvidia/cu13/lib;-Wl,--allow-shlib-undefined")
  # at::parallel_for is an inline function: compiled without OpenMP, it runs on one thread. The
  # runtime is LibTorch's own, so that both share one pool of threads.
  set_target_properties(LibTorch::cpu PROPERTIES
    INTERFACE_COMPILE_OPTIONS "$<$<COMPILE_LANGUAGE:CXX>:-fopenmp>"
    INTERFACE_LINK_LIBRARIES
      "LibTorch::headers;${LIBTORCH_CPU_LIBRARY};${LIBTORCH_C10_LIBRARY};${LIBTORCH_GOMP_LIBRARY}"
    INTERFACE_LINK_OPTIONS "${_rpath}${_rpath_link}")
endif()
