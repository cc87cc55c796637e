# Makes the imported target LibTorch::cpu out of the pinned PyPI wheel, without the wheel's own CMake package
# (that one insists on a CUDA toolkit). CUDA libraries are linked only by the plugin: LibTorch::cuda.
set(TRAINERD_TORCH_VERSION 2.11.0)
set(LIBTORCH_ROOT ${TRAINERD_CACHE}/libtorch-${TRAINERD_TORCH_VERSION} CACHE PATH "site-packages folder that holds torch/ and nvidia/")
set(_torch ${LIBTORCH_ROOT}/torch)
include(FindPackageHandleStandardArgs)
find_library(LIBTORCH_CPU_LIBRARY torch_cpu PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_LIBRARY c10 PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_CUDA_LIBRARY torch_cuda PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_library(LIBTORCH_C10_CUDA_LIBRARY c10_cuda PATHS ${_torch}/lib NO_DEFAULT_PATH)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LIBTORCH_CPU_LIBRARY LIBTORCH_C10_LIBRARY
  FAIL_MESSAGE "LibTorch ${TRAINERD_TORCH_VERSION} not found in ${LIBTORCH_ROOT}: run deploy/install_dependencies.sh, or build with -DTRAINERD_ENGINE=OFF")
if(LibTorch_FOUND AND NOT TARGET LibTorch::cpu)
  add_library(LibTorch::headers INTERFACE IMPORTED)
  # -idirafter: the wheel carries old protobuf and newer fmt headers that must not shadow the system's.
  set_target_properties(LibTorch::headers PROPERTIES
    INTERFACE_COMPILE_OPTIONS "SHELL:-idirafter ${_torch}/include;SHELL:-idirafter ${_torch}/include/torch/csrc/api/include"
    INTERFACE_COMPILE_DEFINITIONS "_GLIBCXX_USE_CXX11_ABI=1")
  add_library(LibTorch::cpu INTERFACE IMPORTED)
  # A portable program finds LibTorch where its launcher points (deploy/package/torch_env.sh).
  if(TRAINERD_PORTABLE)
    set(_rpath "")
  else()
    set(_rpath "-Wl,-rpath,${_torch}/lib;")
  endif()
  set_target_properties(LibTorch::cpu PROPERTIES
    INTERFACE_LINK_LIBRARIES "LibTorch::headers;${LIBTORCH_CPU_LIBRARY};${LIBTORCH_C10_LIBRARY}"
    INTERFACE_LINK_OPTIONS "${_rpath}-Wl,-rpath-link,${LIBTORCH_ROOT}/nvidia/cu13/lib;-Wl,--allow-shlib-undefined")
endif()
