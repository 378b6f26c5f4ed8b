# SPDX-License-Identifier: Apache-2.0
# Installs libattnc, its public headers, a CMake package (find_package(attnc)) and a pkg-config file.
#
#   include/attnc/attnc.h             the one header users name; C sees the C API, C++ sees both
#   include/attnc/{dsl,runtime}/*.h   what it includes, by relative paths: nothing else goes on the include path
#   lib/libattnc.{a,so}, lib/cmake/attnc/, lib/pkgconfig/attnc.pc
#   bin/attnc                         the command line tool, where it is built
#
# Everything is relative to the prefix, so an installed tree may be moved.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(attnc_dsl_headers error.h export.h expr.h mods.h ops.def ops.h source_location.h stock.h types.h)
set(attnc_runtime_headers attention.h attnc.h bindings.h block_mask.h c_api.h tensor.h)
list(TRANSFORM attnc_dsl_headers PREPEND "${attnc_SOURCE_DIR}/dsl/")
list(TRANSFORM attnc_runtime_headers PREPEND "${attnc_SOURCE_DIR}/runtime/")
install(FILES ${attnc_dsl_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/attnc/dsl")
install(FILES ${attnc_runtime_headers} DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/attnc/runtime")
set(attnc_forwarder "${attnc_BINARY_DIR}/install/attnc.h")
file(CONFIGURE OUTPUT "${attnc_forwarder}" CONTENT "#include \"runtime/attnc.h\"\n")
install(FILES "${attnc_forwarder}" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/attnc")
install(FILES "${attnc_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/licenses/attnc")

install(TARGETS attnc EXPORT attncTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
  INCLUDES DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")

# An LLVM or oneTBB outside the loader's own folders is found again at run time.
set_target_properties(attnc PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
if(TARGET attnc_cli)
  file(RELATIVE_PATH attnc_bin_to_lib "/prefix/${CMAKE_INSTALL_BINDIR}" "/prefix/${CMAKE_INSTALL_LIBDIR}")
  set_target_properties(attnc_cli PROPERTIES
    INSTALL_RPATH "$ORIGIN/${attnc_bin_to_lib}" INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS attnc_cli RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

# What a static libattnc still needs at link time. A shared one brings its own.
get_target_property(attnc_type attnc TYPE)
set(attnc_needs_cpu_libraries OFF)
set(attnc_pc_link "-pthread")
foreach(library IN LISTS CMAKE_DL_LIBS)
  string(APPEND attnc_pc_link " -l${library}")
endforeach()
if(attnc_type STREQUAL "STATIC_LIBRARY")
  string(APPEND attnc_pc_link " -lstdc++ -lm")
  if(ATTNC_CPU)
    find_package(LLVM 19.1 REQUIRED CONFIG)
    set(attnc_needs_cpu_libraries ON)
    string(PREPEND attnc_pc_link "-L${LLVM_LIBRARY_DIR} -lLLVM-${LLVM_VERSION_MAJOR} -ltbb ")
  endif()
endif()

set(attnc_package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/attnc")
configure_package_config_file(
  "${attnc_SOURCE_DIR}/cmake/attncConfig.cmake.in" "${attnc_BINARY_DIR}/install/attncConfig.cmake"
  INSTALL_DESTINATION "${attnc_package_dir}" NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may change the C++ API.
write_basic_package_version_file("${attnc_BINARY_DIR}/install/attncConfigVersion.cmake" COMPATIBILITY SameMinorVersion)
install(FILES "${attnc_BINARY_DIR}/install/attncConfig.cmake" "${attnc_BINARY_DIR}/install/attncConfigVersion.cmake"
  DESTINATION "${attnc_package_dir}")
install(EXPORT attncTargets NAMESPACE attnc:: DESTINATION "${attnc_package_dir}")

# pkg-config finds its own prefix, however deep the library directory is.
set(attnc_pc_dir "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
file(RELATIVE_PATH attnc_pc_to_prefix "/prefix/${attnc_pc_dir}" "/prefix")
string(REGEX REPLACE "/$" "" attnc_pc_to_prefix "${attnc_pc_to_prefix}")
if(attnc_type STREQUAL "STATIC_LIBRARY")
  # No shared library to fall back on: plain `pkg-config --libs attnc` has to be enough.
  set(attnc_pc_cflags "")
  set(attnc_pc_libs "-lattnc ${attnc_pc_link}")
  if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
    string(PREPEND attnc_pc_libs "-Wl,--exclude-libs,libattnc.a ")
  endif()
  set(attnc_pc_private "")
else()
  set(attnc_pc_cflags "-DATTNC_SHARED")
  set(attnc_pc_libs "-lattnc")
  set(attnc_pc_private "")
endif()
configure_file("${attnc_SOURCE_DIR}/cmake/attnc.pc.in" "${attnc_BINARY_DIR}/install/attnc.pc" @ONLY)
install(FILES "${attnc_BINARY_DIR}/install/attnc.pc" DESTINATION "${attnc_pc_dir}")
