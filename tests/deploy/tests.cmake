# Packages, service and container: what an installation does.
set(dir ${CMAKE_CURRENT_LIST_DIR})
add_test(NAME deploy_least_versions COMMAND ${dir}/least_versions_test.sh)
add_test(NAME deploy_dockerfile COMMAND ${dir}/dockerfile_test.sh ${TRAINERD_CACHE})
add_test(NAME deploy_entrypoint COMMAND ${dir}/entrypoint_test.sh)
set_tests_properties(deploy_least_versions deploy_dockerfile deploy_entrypoint PROPERTIES
  LABELS unit SKIP_RETURN_CODE 77)
add_test(NAME deploy_debian
  COMMAND Python3::Interpreter ${dir}/debian_test.py ${CMAKE_BINARY_DIR} ${LIBTORCH_ROOT}/torch/lib)
set(python_path ${PROJECT_SOURCE_DIR}/tests/integration)
set_tests_properties(deploy_debian PROPERTIES LABELS integration SKIP_RETURN_CODE 77 TIMEOUT 600
  ENVIRONMENT "TRAINERD_FAKE_WORKER=$<TARGET_FILE:fake_worker>;PYTHONPATH=${python_path};PYTHONDONTWRITEBYTECODE=1")
# The programs of N-1 and N-2 replaced by these. Until there are releases, commits stand for them.
foreach(commit 30d62310c397 8381081d2781)
  add_test(NAME deploy_upgrade_${commit}
    COMMAND Python3::Interpreter ${dir}/upgrade_test.py ${CMAKE_BINARY_DIR} ${commit})
  list(APPEND deploy_long deploy_upgrade_${commit})
endforeach()
# The image without LibTorch, where buildah is installed.
add_test(NAME deploy_image COMMAND Python3::Interpreter ${dir}/image_test.py ${CMAKE_BINARY_DIR})
set_tests_properties(${deploy_long} deploy_image PROPERTIES
  LABELS integration SKIP_RETURN_CODE 77 TIMEOUT 3600
  ENVIRONMENT "PYTHONPATH=${python_path};PYTHONDONTWRITEBYTECODE=1")
