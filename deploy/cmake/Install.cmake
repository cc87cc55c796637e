# install() rules, and cpack for Debian packages.
#
# PREFIX/lib/trainerd has the layout of the portable package: bin/ with every program, because the
# daemon looks for its programs next to its own, and libexec/ with the worker itself behind its
# launcher. PREFIX/bin has links to the programs that users call.
set(_home lib/trainerd)
set(_components daemon client)

# trainerd_install_links(COMPONENT PROGRAM …)
function(trainerd_install_links component)
  foreach(name ${ARGN})
    set(link ${CMAKE_BINARY_DIR}/links/${name})
    file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/links)
    file(CREATE_LINK ../lib/trainerd/bin/${name} ${link} SYMBOLIC)
    install(FILES ${link} DESTINATION bin COMPONENT ${component})
  endforeach()
endfunction()

install(TARGETS trainctl trainerd-inspect RUNTIME DESTINATION ${_home}/bin COMPONENT client)
trainerd_install_links(client trainctl trainerd-inspect)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/deploy/jobs DESTINATION share/trainerd COMPONENT client)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/deploy/demo DESTINATION share/trainerd COMPONENT client
  FILES_MATCHING PATTERN "*.jsonl")
# Protos, Python client and evaluators: one list for this and for the portable package. Man pages and
# completions.
install(CODE "execute_process(COMMAND ${PROJECT_SOURCE_DIR}/deploy/package/copy_clients.sh
  \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share/trainerd COMMAND_ERROR_IS_FATAL ANY)
  execute_process(COMMAND ${PROJECT_SOURCE_DIR}/deploy/package/write_docs.sh $<TARGET_FILE:trainctl>
  \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/share COMMAND_ERROR_IS_FATAL ANY)" COMPONENT client)

install(TARGETS trainerd trainerd-shim trainerd-notify
  RUNTIME DESTINATION ${_home}/bin COMPONENT daemon)
trainerd_install_links(daemon trainerd)
install(FILES ${PROJECT_SOURCE_DIR}/deploy/systemd/trainerd.yaml
  ${PROJECT_SOURCE_DIR}/deploy/systemd/environment
  DESTINATION share/trainerd/settings COMPONENT daemon)
# The unit names the programs by their absolute paths.
install(CODE "file(READ ${PROJECT_SOURCE_DIR}/deploy/systemd/trainerd.service unit)
  string(REPLACE /usr/bin/ \${CMAKE_INSTALL_PREFIX}/bin/ unit \"\${unit}\")
  file(WRITE \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/lib/systemd/system/trainerd.service
    \"\${unit}\")" COMPONENT daemon)

if(TARGET trainerd-worker)
  list(APPEND _components worker)
  set(_engine trainerd-worker)
  if(TARGET trainerd_cuda)
    list(APPEND _engine trainerd_cuda)
  endif()
  # Not as targets: CMake knows only a part of the folders of LibTorch that are in them. The launcher
  # names the folder of the user's.
  find_program(TRAINERD_PATCHELF patchelf REQUIRED)
  foreach(target ${_engine})
    install(PROGRAMS $<TARGET_FILE:${target}> DESTINATION ${_home}/libexec COMPONENT worker)
    install(CODE "set(file
      \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${_home}/libexec/$<TARGET_FILE_NAME:${target}>)
      if(CMAKE_INSTALL_DO_STRIP)
        execute_process(COMMAND ${CMAKE_STRIP} \${file} COMMAND_ERROR_IS_FATAL ANY)
      endif()
      execute_process(COMMAND ${TRAINERD_PATCHELF} --remove-rpath \${file}
        COMMAND_ERROR_IS_FATAL ANY)" COMPONENT worker)
  endforeach()
  install(PROGRAMS ${PROJECT_SOURCE_DIR}/deploy/package/trainerd-worker.sh
    DESTINATION ${_home}/bin RENAME trainerd-worker COMPONENT worker)
  install(FILES ${PROJECT_SOURCE_DIR}/deploy/package/torch_env.sh
    DESTINATION ${_home}/libexec COMPONENT worker)
  trainerd_install_links(worker trainerd-worker)
endif()

# ---------------------------------------------------------------- Debian packages
set(_daemon_package trainerd)
set(_client_package trainctl)
set(_worker_package trainerd-worker)
foreach(component ${_components})
  string(TOUPPER ${component} _upper)
  set(CPACK_DEBIAN_${_upper}_PACKAGE_NAME ${_${component}_package})
  install(FILES ${PROJECT_SOURCE_DIR}/LICENSE RENAME copyright
    DESTINATION share/doc/${_${component}_package} COMPONENT ${component})
endforeach()
set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL ${_components})
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "trainerd maintainers <trainerd@localhost>")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
# Where dpkg-shlibdeps finds the libraries that no package has.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS
  ${LIBTORCH_ROOT}/torch/lib ${LIBTORCH_ROOT}/nvidia/cu13/lib)

set(CPACK_DEBIAN_CLIENT_DESCRIPTION "client of the fine-tuning daemon trainerd
 Submits, watches, pauses, resumes and stops jobs; checks job files and data.")
string(CONCAT CPACK_DEBIAN_DAEMON_DESCRIPTION "daemon that fine-tunes language models\n "
  "A queue of jobs that are watched live, paused, resumed and stopped, and outlive the daemon. "
  "The service runs as the user trainerd; its state is in /var/lib/trainerd.")
set(CPACK_DEBIAN_DAEMON_PACKAGE_DEPENDS
  "trainctl (= ${PROJECT_VERSION}), passwd, init-system-helpers")
set(CPACK_DEBIAN_DAEMON_PACKAGE_RECOMMENDS "trainerd-worker (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_DAEMON_PACKAGE_CONTROL_EXTRA ${PROJECT_SOURCE_DIR}/deploy/debian/postinst
  ${PROJECT_SOURCE_DIR}/deploy/debian/prerm ${PROJECT_SOURCE_DIR}/deploy/debian/postrm)
set(CPACK_DEBIAN_DAEMON_PACKAGE_CONTROL_STRICT_PERMISSION ON)
string(CONCAT CPACK_DEBIAN_WORKER_DESCRIPTION "worker of the fine-tuning daemon trainerd\n "
  "Trains one job, on the CPU or an NVIDIA GPU. It needs PyTorch 2.11 from pip, which Debian does "
  "not have: name its torch/lib folder in /etc/trainerd/environment.")
set(CPACK_DEBIAN_WORKER_PACKAGE_DEPENDS "trainctl (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_WORKER_PACKAGE_RECOMMENDS "python3")
include(CPack)
