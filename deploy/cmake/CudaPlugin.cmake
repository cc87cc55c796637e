# libtrainerd_cuda.so: everything that links CUDA. It is built wherever nvcc 13 is installed.
# Building needs neither a GPU nor the NVIDIA libraries: the LibTorch wheel has libtorch_cuda.so, and
# deploy/requirements/torch.txt has the CUDA runtime. The worker loads the plugin at run time.
if(TRAINERD_CUDA STREQUAL "OFF")
  return()
endif()

# Leaves this file without a plugin: with an error if it was requested, else with a note.
macro(trainerd_no_cuda reason)
  if(TRAINERD_CUDA STREQUAL "ON")
    message(FATAL_ERROR
      "TRAINERD_CUDA=ON, but ${reason}; run deploy/install_dependencies.sh --nvcc")
  endif()
  message(STATUS "Building without the CUDA plugin: ${reason}")
  return()
endmacro()

function(trainerd_is_nvcc_13 result path)
  execute_process(COMMAND ${path} --version OUTPUT_VARIABLE version ERROR_QUIET)
  if(NOT version MATCHES "release 13\\.")
    set(${result} FALSE PARENT_SCOPE)
  endif()
endfunction()
find_program(TRAINERD_NVCC nvcc
  PATHS /usr/local/cuda/bin ${TRAINERD_CACHE}/cuda-13.0/nvidia/cu13/bin
  VALIDATOR trainerd_is_nvcc_13)
if(NOT TRAINERD_NVCC)
  trainerd_no_cuda("nvcc 13 was not found")
endif()
get_filename_component(_toolkit ${TRAINERD_NVCC} REALPATH)
get_filename_component(_toolkit ${_toolkit} DIRECTORY)
get_filename_component(_toolkit ${_toolkit} DIRECTORY)
find_path(TRAINERD_CUDA_INCLUDE cuda_runtime_api.h
  PATHS ${_toolkit}/include /usr/local/cuda/include NO_DEFAULT_PATH)
find_file(TRAINERD_CUDART NAMES libcudart.so.13
  PATHS ${LIBTORCH_ROOT}/nvidia/cu13/lib ${_toolkit}/lib64 ${_toolkit}/lib NO_DEFAULT_PATH)
if(NOT TRAINERD_CUDA_INCLUDE OR NOT TRAINERD_CUDART)
  trainerd_no_cuda("the CUDA headers or libcudart.so.13 were not found beside ${TRAINERD_NVCC}")
endif()

# Code for compute capability 8.x, 9.0 and 10.x, and PTX, which the driver compiles for newer GPUs.
# Kernels use IEEE arithmetic (no --use_fast_math), as their host build does in the tests.
set(_nvcc_flags -std=c++20 -O3 -ccbin ${CMAKE_CXX_COMPILER} -I${PROJECT_SOURCE_DIR}
  -Xcompiler=-fPIC,-fvisibility=hidden,-Wall,-Wextra
  -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
  -gencode=arch=compute_100,code=[sm_100,compute_100])
file(GLOB _kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ops/cuda/*.cu)
set(_objects)
foreach(kernel ${_kernels})
  get_filename_component(name ${kernel} NAME_WE)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/cuda/${name}.cu.o)
  file(MAKE_DIRECTORY ${CMAKE_CURRENT_BINARY_DIR}/cuda)
  add_custom_command(OUTPUT ${object}
    COMMAND ${CMAKE_CXX_COMPILER_LAUNCHER} ${TRAINERD_NVCC} ${_nvcc_flags} -MD -MF ${object}.d
            -c ${kernel} -o ${object}
    DEPENDS ${kernel} ${TRAINERD_NVCC} DEPFILE ${object}.d
    COMMENT "Building CUDA object ${name}.cu.o" VERBATIM)
  list(APPEND _objects ${object})
endforeach()

file(GLOB _cuda_sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ops/cuda/*.cc)
add_library(trainerd_cuda MODULE ${_cuda_sources} ${_objects})
set_target_properties(trainerd_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
target_include_directories(trainerd_cuda PRIVATE ${PROJECT_SOURCE_DIR})
target_compile_options(trainerd_cuda PRIVATE
  -fvisibility=hidden "SHELL:-idirafter ${TRAINERD_CUDA_INCLUDE}")
# --no-as-needed: libtorch_cuda is linked because loading it registers ATen's CUDA backend.
target_link_libraries(trainerd_cuda PRIVATE LibTorch::cpu
  -Wl,--no-as-needed ${LIBTORCH_CUDA_LIBRARY} ${LIBTORCH_C10_CUDA_LIBRARY} ${TRAINERD_CUDART})
