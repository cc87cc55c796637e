# The fake CUDA device (README.md): libfake_cuda.so, which tests preload, libraries with the names
# of CUDA's, which it loads with itself, and libfake_cuda_compute.so. It is built where the plugin
# is: it needs the headers of CUDA and LibTorch's CUDA libraries, and no NVIDIA library. A
# sanitizer's library would have to be loaded before it.
if(NOT TARGET trainerd_cuda OR TRAINERD_SANITIZE)
  return()
endif()
set(dir ${CMAKE_CURRENT_LIST_DIR})
set(TRAINERD_FAKE_CUDA ${CMAKE_BINARY_DIR}/tests/fake_cuda)
file(MAKE_DIRECTORY ${TRAINERD_FAKE_CUDA})

# The loader looks for no other library once one with this name is loaded, and finds the functions
# in libfake_cuda.so. It warns if the version that a symbol is expected to have is not defined here.
set(named_libraries)
foreach(name libcudart.so.13 libcublas.so.13 libcublasLt.so.13 libcudnn.so.9 libcufft.so.12
    libcusparse.so.12 libnccl.so.2 libcurand.so.10 libcufile.so.0 libcusparseLt.so.0
    libnvshmem_host.so.3)
  string(MAKE_C_IDENTIFIER fake_${name} target)
  string(REPLACE libnvshmem_host.so.3 NVSHMEM version ${name})
  file(CONFIGURE OUTPUT ${TRAINERD_FAKE_CUDA}/${name}.cc CONTENT "extern \"C\" void ${target}() {}\n")
  file(CONFIGURE OUTPUT ${TRAINERD_FAKE_CUDA}/${name}.map CONTENT "${version} { global: *; };\n")
  add_library(${target} SHARED ${TRAINERD_FAKE_CUDA}/${name}.cc)
  target_link_options(${target} PRIVATE
    -Wl,-soname,${name} -Wl,--version-script=${TRAINERD_FAKE_CUDA}/${name}.map)
  set_target_properties(${target} PROPERTIES OUTPUT_NAME ${name} NO_SONAME ON)
  list(APPEND named_libraries ${target})
endforeach()
# LibTorch opens it and looks its functions up in it.
add_library(fake_libcuda SHARED ${dir}/driver_library.cc)
target_link_options(fake_libcuda PRIVATE -Wl,-soname,libcuda.so.1)
set_target_properties(fake_libcuda PROPERTIES OUTPUT_NAME libcuda.so.1 NO_SONAME ON)
set_target_properties(fake_libcuda ${named_libraries} PROPERTIES
  PREFIX "" SUFFIX "" LIBRARY_OUTPUT_DIRECTORY ${TRAINERD_FAKE_CUDA})

set(stubs ${TRAINERD_FAKE_CUDA}/stubs.cc)
get_filename_component(torch ${LIBTORCH_CUDA_LIBRARY} DIRECTORY)
add_custom_command(OUTPUT ${stubs}
  COMMAND Python3::Interpreter ${dir}/make_stubs.py ${CMAKE_NM} ${stubs} ${LIBTORCH_CUDA_LIBRARY}
          ${LIBTORCH_C10_CUDA_LIBRARY} ${torch}/libtorch_nvshmem.so
  DEPENDS ${dir}/make_stubs.py VERBATIM)
add_library(fake_cuda MODULE
  ${dir}/blas.cc ${dir}/device.cc ${dir}/memory.cc ${dir}/runtime.cc ${stubs})
target_link_libraries(fake_cuda PRIVATE
  -Wl,--no-as-needed fake_libcuda ${named_libraries} ${CMAKE_DL_LIBS})
# The worker looks for the plugin beside itself, and so do the tests.
add_custom_command(TARGET fake_cuda POST_BUILD COMMAND ${CMAKE_COMMAND} -E create_symlink
  $<TARGET_FILE:trainerd_cuda> ${CMAKE_BINARY_DIR}/tests/$<TARGET_FILE_NAME:trainerd_cuda>)

# Sources and not our libraries: a second copy of their messages in the process of the worker would
# be an error of protobuf.
file(GLOB compute CONFIGURE_DEPENDS ${dir}/compute/*.cc)
add_library(fake_cuda_compute MODULE ${compute} ${kernels}
  engine/ops/cuda/cuda_on_host.cc engine/ops/cuda/kernel_registry.cc
  ${PROJECT_SOURCE_DIR}/engine/ops/reference/attention.cc)
target_link_libraries(fake_cuda_compute PRIVATE LibTorch::cpu ${LIBTORCH_C10_CUDA_LIBRARY})
add_dependencies(fake_cuda fake_cuda_compute trainerd_cuda)

# Shapes of real models without results, and small shapes with them. A row of our kernels takes half
# a millisecond, so the test with 70,000 rows is left to a GPU.
set(on_fake LD_PRELOAD=${TRAINERD_FAKE_CUDA}/libfake_cuda.so TRAINERD_TEST_DEVICE=cuda:0)
add_test(NAME fake_cuda_device_ops
  COMMAND engine_ops_device_ops_test --gtest_filter=-*InManyShapes*)
add_dependencies(engine_ops_device_ops_test fake_cuda)
add_dependencies(engine_ops_cuda_launches_test fake_cuda)
set_tests_properties(fake_cuda_device_ops PROPERTIES LABELS unit ENVIRONMENT "${on_fake}")
set_tests_properties(engine_ops_cuda_launches_test PROPERTIES
  ENVIRONMENT "${on_fake};FAKE_CUDA_COMPUTE=0")

foreach(target fake_libcuda fake_cuda fake_cuda_compute)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR})
  target_compile_options(${target} PRIVATE "SHELL:-idirafter ${TRAINERD_CUDA_INCLUDE}")
endforeach()
set_target_properties(fake_cuda fake_cuda_compute PROPERTIES
  LIBRARY_OUTPUT_DIRECTORY ${TRAINERD_FAKE_CUDA} BUILD_RPATH $ORIGIN INSTALL_RPATH $ORIGIN)
