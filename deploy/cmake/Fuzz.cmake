# libFuzzer targets (preset fuzz, clang only): build/fuzz/fuzz/<name>. tests/fuzz.sh writes their
# seeds and runs them.
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  message(FATAL_ERROR "TRAINERD_FUZZ needs clang; run cmake --preset fuzz")
endif()

configure_file(${PROJECT_SOURCE_DIR}/tests/paths.cc.in ${CMAKE_BINARY_DIR}/fuzz_paths.cc @ONLY)

# trainerd_fuzz(NAME LINK … SOURCES …): the first source defines LLVMFuzzerTestOneInput.
function(trainerd_fuzz name)
  cmake_parse_arguments(ARG "" "" "LINK;SOURCES" ${ARGN})
  list(TRANSFORM ARG_SOURCES PREPEND ${PROJECT_SOURCE_DIR}/)
  add_executable(fuzz_${name} EXCLUDE_FROM_ALL ${ARG_SOURCES} ${CMAKE_BINARY_DIR}/fuzz_paths.cc)
  set_target_properties(fuzz_${name} PROPERTIES
    OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/fuzz)
  target_include_directories(fuzz_${name} PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_LINK})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzz_targets fuzz_${name})
endfunction()

add_custom_target(fuzz_targets)
trainerd_fuzz(tokenizer LINK trainerd_engine_text
  SOURCES tests/engine/text/tokenizer/fuzz/tokenizer_fuzz.cc)
trainerd_fuzz(template LINK trainerd_engine_text
  SOURCES tests/engine/text/fuzz/template_fuzz.cc)
trainerd_fuzz(jsonl LINK trainerd_engine_data
  SOURCES tests/engine/data/source/fuzz/jsonl_fuzz.cc)
# Only the file that reads the header is compiled; it needs no LibTorch.
trainerd_fuzz(safetensors LINK trainerd_contract
  SOURCES tests/engine/formats/fuzz/safetensors_fuzz.cc engine/formats/safetensors.cc
    engine/formats/placeholder_file.cc)
trainerd_fuzz(gguf LINK trainerd_engine_formats
  SOURCES tests/engine/formats/fuzz/gguf_fuzz.cc)
