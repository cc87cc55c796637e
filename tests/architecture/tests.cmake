# The rules of the tree, checked by machine.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
set(dir ${CMAKE_CURRENT_LIST_DIR})
add_test(NAME architecture_includes COMMAND Python3::Interpreter ${dir}/check_includes.py ${PROJECT_SOURCE_DIR})
add_test(NAME architecture_includes_self_test COMMAND Python3::Interpreter ${dir}/check_includes.py ${PROJECT_SOURCE_DIR} --self-test)
add_test(NAME architecture_style COMMAND Python3::Interpreter ${dir}/check_style.py ${PROJECT_SOURCE_DIR})
add_test(NAME architecture_style_self_test COMMAND Python3::Interpreter ${dir}/check_style.py ${PROJECT_SOURCE_DIR} --self-test)
add_test(NAME architecture_names_tested COMMAND Python3::Interpreter ${dir}/check_names_tested.py ${PROJECT_SOURCE_DIR})
add_test(NAME architecture_names_tested_self_test
  COMMAND Python3::Interpreter ${dir}/check_names_tested.py ${PROJECT_SOURCE_DIR} --self-test)
add_test(NAME architecture_demo_data COMMAND Python3::Interpreter ${PROJECT_SOURCE_DIR}/deploy/demo/make_data.py --check)
add_test(NAME architecture_links COMMAND ${dir}/check_links.sh ${CMAKE_BINARY_DIR}/bin ${LIBTORCH_ROOT}/torch/lib)
set_tests_properties(architecture_includes architecture_includes_self_test architecture_style architecture_style_self_test architecture_names_tested
  architecture_names_tested_self_test architecture_demo_data architecture_links
  PROPERTIES LABELS unit SKIP_RETURN_CODE 77)
# A build tree of its own (build/clang), like the fuzz targets.
add_test(NAME architecture_clang COMMAND ${dir}/clang_build.sh)
set_tests_properties(architecture_clang PROPERTIES LABELS integration TIMEOUT 1500 SKIP_RETURN_CODE 77)
