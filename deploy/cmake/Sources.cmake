# trainerd_library(NAME FOLDERS … LINK …): a static library of every .cc in the folders that is not
# a program's main (*_main.cc, main.cc). A new file needs no CMake edit, only a new configure run,
# which the glob triggers.
function(trainerd_library name)
  cmake_parse_arguments(ARG "" "" "FOLDERS;LINK" ${ARGN})
  set(sources)
  foreach(folder ${ARG_FOLDERS})
    file(GLOB found CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${folder}/*.cc)
    list(APPEND sources ${found})
  endforeach()
  list(FILTER sources EXCLUDE REGEX "main\\.cc$")
  add_library(${name} STATIC ${sources})
  target_include_directories(${name} PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_LINK})
endfunction()

# trainerd_program(NAME MAIN LINK …): one program from one main file.
function(trainerd_program name main)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${main})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()

# trainerd_precompile(NAME HEADERS …): headers that most files of a library include are parsed once
# per library instead of once per file, which halves the time of a small file. Each file still
# includes what it uses.
function(trainerd_precompile name)
  set(common <algorithm> <functional> <map> <memory> <optional> <string> <string_view> <utility> <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/str_format.h> <absl/strings/str_join.h> <absl/time/time.h>)
  target_precompile_headers(${name} PRIVATE ${common} ${ARGN})
  # Lets the compiler cache store files that use a precompiled header.
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# trainerd_control_plane(NAME …): libraries that wait for disks and sockets, not for the processor.
# -O1 compiles them in two thirds of the time.
function(trainerd_control_plane)
  foreach(name ${ARGN})
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endforeach()
endfunction()

# trainerd_command_line(FILES …): the command-line parser's templates take longer to optimize than
# everything else in a program, and run once.
function(trainerd_command_line)
  set_source_files_properties(${ARGN} PROPERTIES COMPILE_OPTIONS -O0 SKIP_PRECOMPILE_HEADERS ON)
endfunction()
