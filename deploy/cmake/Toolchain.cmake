# Compiler settings and third-party packages that every folder shares.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
set(CMAKE_LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

if(NOT TRAINERD_CACHE)
  if(DEFINED ENV{TRAINERD_CACHE})
    set(TRAINERD_CACHE $ENV{TRAINERD_CACHE})
  else()
    set(TRAINERD_CACHE $ENV{HOME}/.cache/trainerd)
  endif()
endif()

find_program(TRAINERD_CCACHE ccache)
if(TRAINERD_CCACHE)
  if(DEFINED ENV{CCACHE_DIR})
    set(_ccache_dir $ENV{CCACHE_DIR})
  else()
    set(_ccache_dir ${TRAINERD_CACHE}/ccache)
  endif()
  # With a base directory, a clone in another folder reuses the objects of the first.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_DIR=${_ccache_dir}
    CCACHE_MAXSIZE=5G
    CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime
    ${PROJECT_SOURCE_DIR}/deploy/cmake/compile_cached.sh ${TRAINERD_CCACHE})
endif()
# A test with LibTorch links in 0.8 s; GNU ld takes 4.7 s. Not mold: version 1.10, that of Debian 12,
# never ends on some inputs, and lays out programs with LibTorch so that one in 256 does not start.
find_program(TRAINERD_LLD ld.lld)
if(TRAINERD_LLD AND CMAKE_CXX_COMPILER_ID MATCHES "GNU|Clang")
  add_link_options(-fuse-ld=lld)
endif()

add_compile_options(-Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers)
if(TRAINERD_WERROR)
  add_compile_options(-Werror)
endif()
# Checks the ABSL_GUARDED_BY and lock annotations.
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  add_compile_options(-Wthread-safety)
endif()
# Every preset keeps assertions: these flags replace CMake's, which define NDEBUG.
set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O2 -g1")
if(TRAINERD_SANITIZE MATCHES "address")
  # Newer Abseil marks free slots of its containers in headers, but not in its own libraries, which
  # are not compiled here. Run the programs with ASAN_OPTIONS=allow_user_poisoning=0 (tests/fuzz.sh).
  add_compile_definitions(NDEBUG_SANITIZER)
endif()
if(TRAINERD_SANITIZE)
  add_compile_options(-fsanitize=${TRAINERD_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(-fsanitize=${TRAINERD_SANITIZE})
endif()

if(TRAINERD_PORTABLE)
  # Programs contain no path of this machine: CMake adds none to an install path. The code is the
  # same as in every preset: it runs on any x86-64 and picks the CPU's kernels at run time.
  set(CMAKE_BUILD_WITH_INSTALL_RPATH ON)
  set(CMAKE_INSTALL_RPATH "\$ORIGIN/../lib")
endif()

find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(Protobuf REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(spdlog REQUIRED)
# libspdlog needs the newest libstdc++ of all libraries; its headers alone do not.
set(TRAINERD_SPDLOG spdlog::spdlog)
if(TRAINERD_PORTABLE)
  set(TRAINERD_SPDLOG spdlog::spdlog_header_only)
endif()
pkg_check_modules(GRPCPP REQUIRED IMPORTED_TARGET grpc++)
pkg_check_modules(SQLITE3 REQUIRED IMPORTED_TARGET sqlite3)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(OPENSSL_CRYPTO REQUIRED IMPORTED_TARGET libcrypto)
pkg_check_modules(OPENSSL_SSL REQUIRED IMPORTED_TARGET libssl)
# For trainerd-notify. 7.85 names the allowed protocols as text.
pkg_check_modules(LIBCURL REQUIRED IMPORTED_TARGET libcurl)
include(LeastVersions)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

set(GOOGLEAPIS_PROTO_DIR ${TRAINERD_CACHE}/googleapis-1.76.0 CACHE PATH
  "Folder that contains google/rpc/*.proto")
if(NOT EXISTS ${GOOGLEAPIS_PROTO_DIR}/google/rpc/error_details.proto)
  message(FATAL_ERROR "google/rpc/error_details.proto was not found in ${GOOGLEAPIS_PROTO_DIR}; "
    "run deploy/install_dependencies.sh")
endif()

if(TRAINERD_ENGINE)
  find_package(LibTorch REQUIRED)
endif()
