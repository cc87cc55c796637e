# The whole of trainerd's programs together (label integration), and the worker without LibTorch that they are tested with first.
add_executable(fake_worker ${CMAKE_CURRENT_LIST_DIR}/../fakes/fake_worker.cc ${CMAKE_CURRENT_LIST_DIR}/../fakes/fake_model.cc)
set_target_properties(fake_worker PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_include_directories(fake_worker PRIVATE ${PROJECT_SOURCE_DIR})
target_link_libraries(fake_worker PRIVATE trainerd_contract)
# Shifts the system's clock of the programs that load it.
add_library(shifted_clock MODULE ${CMAKE_CURRENT_LIST_DIR}/../fakes/shifted_clock.cc)
set_target_properties(shifted_clock PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
# Records what the programs that load it do to their disk, and makes chosen calls fail.
add_library(disk_calls MODULE ${CMAKE_CURRENT_LIST_DIR}/../fakes/disk_calls.cc)
set_target_properties(disk_calls PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
target_link_libraries(disk_calls PRIVATE ${CMAKE_DL_LIBS})
# It starts the real shim with the fake worker.
add_dependencies(server_runs_local_executor_test trainerd-shim fake_worker)

# It starts the real trainerd-notify.
add_dependencies(server_outbox_notifier_test trainerd-notify)

add_dependencies(server_api_large_requests_test trainerd)

# One ctest a Python file: standard library, the built programs and the modules of this folder. A new file needs no change here.
find_package(Python3 COMPONENTS Interpreter REQUIRED)
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*_test.py ${CMAKE_CURRENT_LIST_DIR}/*/*_test.py)
foreach(file ${files})
  get_filename_component(stem ${file} NAME_WE)
  string(REGEX REPLACE "_test$" "" name ${stem})
  add_test(NAME integration_${name} COMMAND Python3::Interpreter ${file})
  set_tests_properties(integration_${name} PROPERTIES LABELS integration TIMEOUT 600
    ENVIRONMENT "TRAINERD_BIN_DIR=${CMAKE_BINARY_DIR}/bin;TRAINERD_FAKE_WORKER=$<TARGET_FILE:fake_worker>;PYTHONPATH=${CMAKE_CURRENT_LIST_DIR};PYTHONDONTWRITEBYTECODE=1;OMP_WAIT_POLICY=passive")
endforeach()

# Two minutes of the soak that tests/soak.sh runs for 30.
add_test(NAME integration_soak COMMAND ${PROJECT_SOURCE_DIR}/tests/soak.sh --seconds 120 --seed 12)
set_tests_properties(integration_soak PROPERTIES LABELS integration SKIP_RETURN_CODE 77 TIMEOUT 600
  ENVIRONMENT "TRAINERD_BIN_DIR=${CMAKE_BINARY_DIR}/bin;TRAINERD_FAKE_WORKER=$<TARGET_FILE:fake_worker>")
