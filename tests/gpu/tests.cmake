# The portable package, and its checks on a machine with a GPU.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
set(dir ${CMAKE_CURRENT_LIST_DIR})
foreach(name limits machine_check)
  add_test(NAME gpu_${name} COMMAND Python3::Interpreter ${dir}/${name}_test.py)
  set_tests_properties(gpu_${name} PROPERTIES LABELS unit ENVIRONMENT "PYTHONDONTWRITEBYTECODE=1")
endforeach()

if(TRAINERD_ENGINE)
  # engine_device_tests: all engine tests that link LibTorch in one program, from the objects of
  # those tests. With one program per test, a package would contain the engine twenty times. The
  # program runs from an unpacked package (package_paths.cc).
  get_property(targets DIRECTORY PROPERTY BUILDSYSTEM_TARGETS)
  set(objects)
  foreach(target ${targets})
    get_target_property(type ${target} TYPE)
    get_target_property(libraries ${target} LINK_LIBRARIES)
    if(type STREQUAL "EXECUTABLE" AND target MATCHES "^engine_.*_test$"
       AND "trainerd_engine" IN_LIST libraries)
      list(APPEND objects $<TARGET_OBJECTS:${target}>)
    endif()
  endforeach()
  if(objects)
    add_executable(engine_device_tests ${dir}/package_paths.cc ${objects})
    set_target_properties(engine_device_tests PROPERTIES
      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_include_directories(engine_device_tests PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(engine_device_tests PRIVATE trainerd_cuda_on_host trainerd_engine
      GTest::gtest GTest::gmock GTest::gtest_main)
  endif()

  set(package_test ${dir}/package_test.sh ${CMAKE_BINARY_DIR} ${LIBTORCH_ROOT}/torch/lib)
  add_test(NAME integration_package COMMAND ${package_test})
  set_tests_properties(integration_package PROPERTIES
    LABELS integration SKIP_RETURN_CODE 77 TIMEOUT 600)
  add_test(NAME gpu_machine COMMAND ${package_test} --gpu)
  set_tests_properties(gpu_machine PROPERTIES LABELS gpu SKIP_RETURN_CODE 77 TIMEOUT 3600)
endif()
