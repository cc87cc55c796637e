# trainerd_library(NAME FOLDERS … LINK …): a static library of every .cc file in the folders, except
# main.cc and *_main.cc. A new file needs no change of CMake files: the glob starts a new configure
# run.
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

# trainerd_program(NAME MAIN LINK …): a program with the main file MAIN.
function(trainerd_program name main)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${main})
  target_link_libraries(${name} PRIVATE ${ARG_LINK})
endfunction()

# trainerd_precompile(NAME HEADERS …): precompiles the headers that most files of a library include,
# which halves the compile time of a small file. Each file still includes what it uses.
function(trainerd_precompile name)
  set(common <algorithm> <functional> <map> <memory> <optional> <string> <string_view> <utility>
    <vector>
    <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/strings/str_format.h>
    <absl/strings/str_join.h> <absl/time/time.h>)
  target_precompile_headers(${name} PRIVATE ${common} ${ARGN})
  # ccache needs it for files that use a precompiled header.
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-fpch-preprocess>)
endfunction()

# trainerd_control_plane(NAME …): libraries that wait for disks and sockets, not for the CPU. They
# compile with -O1, which takes two thirds of the time.
function(trainerd_control_plane)
  foreach(name ${ARGN})
    target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)
  endforeach()
endfunction()

# trainerd_command_line(FILES …): the command-line parser's templates take longer to optimize than
# the rest of a program, and run once.
function(trainerd_command_line)
  set_source_files_properties(${ARGN} PROPERTIES
    COMPILE_OPTIONS -O0 SKIP_PRECOMPILE_HEADERS ON)
endfunction()
