# SPDX-License-Identifier: Apache-2.0
# Installs attnc, moves the installed tree elsewhere, and uses it as strangers would: examples/embed through find_package,
# a C program through pkg-config. Looks at what is installed and at what is exported.
#
#   cmake -DKIND=static|shared -DSOURCE_DIR= -DBUILD_DIR= -DWORK_DIR= -DGENERATOR= -DCXX= -DCC= -DNM= -DPKG_CONFIG= -DCPU=
#         -DLAUNCHER= -P install_test.cmake
#
# BUILD_DIR is a build of that kind, installed as it is; if empty, one is made in WORK_DIR/build first.
cmake_minimum_required(VERSION 3.25)

function(run)
  cmake_parse_arguments(PARSE_ARGV 0 ARG "" "OUTPUT;DIRECTORY" "COMMAND;ENVIRONMENT")
  if(NOT ARG_DIRECTORY)
    set(ARG_DIRECTORY "${WORK_DIR}")
  endif()
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env ${ARG_ENVIRONMENT} ${ARG_COMMAND} WORKING_DIRECTORY "${ARG_DIRECTORY}"
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0)
    list(JOIN ARG_COMMAND " " command)
    message(FATAL_ERROR "${command}\nfailed (${result}):\n${output}")
  endif()
  if(ARG_OUTPUT)
    set(${ARG_OUTPUT} "${output}" PARENT_SCOPE)
  endif()
endfunction()

if(KIND STREQUAL "shared")
  set(shared ON)
else()
  set(shared OFF)
endif()
set(compilers "-DCMAKE_CXX_COMPILER=${CXX}" "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}")
file(REMOVE_RECURSE "${WORK_DIR}/prefix" "${WORK_DIR}/moved" "${WORK_DIR}/embed")
file(MAKE_DIRECTORY "${WORK_DIR}")

# Build, install, move.
if(NOT BUILD_DIR)
  set(BUILD_DIR "${WORK_DIR}/build")
  run(COMMAND "${CMAKE_COMMAND}" -S "${SOURCE_DIR}" -B "${BUILD_DIR}" -G "${GENERATOR}" ${compilers}
    -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBUILD_SHARED_LIBS=${shared} -DATTNC_CPU=${CPU} -DATTNC_INSTALL=ON
    -DATTNC_TESTS=OFF -DATTNC_TOOLS=OFF -DATTNC_BENCHMARKS=OFF)
  run(COMMAND "${CMAKE_COMMAND}" --build "${BUILD_DIR}" --target attnc --parallel 2)
endif()
run(COMMAND "${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${WORK_DIR}/prefix")
file(RENAME "${WORK_DIR}/prefix" "${WORK_DIR}/moved")
set(prefix "${WORK_DIR}/moved")

# Headers: the public ones, and nothing that names this machine's folders.
file(GLOB_RECURSE headers RELATIVE "${prefix}/include" "${prefix}/include/*")
list(SORT headers)
set(expected
  attnc/attnc.h
  attnc/dsl/error.h attnc/dsl/export.h attnc/dsl/expr.h attnc/dsl/mods.h attnc/dsl/ops.def attnc/dsl/ops.h
  attnc/dsl/source_location.h attnc/dsl/stock.h attnc/dsl/types.h
  attnc/runtime/attention.h attnc/runtime/attnc.h attnc/runtime/bindings.h attnc/runtime/block_mask.h
  attnc/runtime/c_api.h attnc/runtime/tensor.h)
if(NOT headers STREQUAL expected)
  message(FATAL_ERROR "installed headers: ${headers}\nexpected: ${expected}")
endif()
file(GLOB_RECURSE texts "${prefix}/*.h" "${prefix}/*.cmake" "${prefix}/*.pc")
foreach(text IN LISTS texts)
  file(READ "${text}" content)
  string(FIND "${content}" "${SOURCE_DIR}" source)
  string(FIND "${content}" "${WORK_DIR}" work)
  if(NOT source EQUAL -1 OR NOT work EQUAL -1)
    message(FATAL_ERROR "${text} names a folder of the build")
  endif()
endforeach()

# examples/embed through find_package.
run(COMMAND "${CMAKE_COMMAND}" -S "${SOURCE_DIR}/examples/embed" -B "${WORK_DIR}/embed" -G "${GENERATOR}" ${compilers}
  "-DCMAKE_C_COMPILER=${CC}" "-DCMAKE_PREFIX_PATH=${prefix}" -DCMAKE_BUILD_TYPE=Debug)
run(COMMAND "${CMAKE_COMMAND}" --build "${WORK_DIR}/embed" --parallel 2)
run(COMMAND "${CMAKE_CTEST_COMMAND}" --test-dir "${WORK_DIR}/embed" --output-on-failure OUTPUT ctest_output)
if(CPU AND ctest_output MATCHES "Skipped")
  message(FATAL_ERROR "with a CPU backend nothing may be skipped:\n${ctest_output}")
endif()

# examples/embed/main.c through pkg-config. A static library may not pull in a C++ linker by itself: cc has to do.
if(PKG_CONFIG)
  file(GLOB_RECURSE pc "${prefix}/attnc.pc")
  get_filename_component(pc_dir "${pc}" DIRECTORY)
  run(COMMAND "${PKG_CONFIG}" --cflags --libs attnc ENVIRONMENT "PKG_CONFIG_PATH=${pc_dir}" OUTPUT flags)
  string(STRIP "${flags}" flags)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  run(COMMAND "${CC}" -std=c11 -Wall -Wextra -Werror "${SOURCE_DIR}/examples/embed/main.c" -o "${WORK_DIR}/pkg_config_c"
    ${flags} -lm)
  get_filename_component(lib_dir "${pc_dir}" DIRECTORY)
  execute_process(COMMAND "${CMAKE_COMMAND}" -E env "LD_LIBRARY_PATH=${lib_dir}" "${WORK_DIR}/pkg_config_c"
    RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT result EQUAL 0 AND (CPU OR NOT result EQUAL 77))
    message(FATAL_ERROR "the C program failed (${result}): ${output}")
  endif()
  run(COMMAND "${PKG_CONFIG}" --modversion attnc ENVIRONMENT "PKG_CONFIG_PATH=${pc_dir}")
endif()

# What is exported. Static: a library that embeds attnc exports its own function and nothing of attnc.
if(shared)
  file(GLOB library "${prefix}/lib*/libattnc.so" "${prefix}/lib/*/libattnc.so")
  run(COMMAND "${CMAKE_COMMAND}" "-DHEADER=${SOURCE_DIR}/runtime/c_api.h" "-DLIBRARY=${library}" "-DLAYOUT=${LAYOUT}"
    "-DEXPECTED=${SOURCE_DIR}/tests/c_api/abi.txt" "-DNM=${NM}" -DSHARED=ON -P "${SOURCE_DIR}/tests/c_api/check_abi.cmake")
else()
  run(COMMAND "${NM}" --dynamic --defined-only --demangle "${WORK_DIR}/embed/libembed_engine.so" OUTPUT symbols)
  if(symbols MATCHES "attnc")
    message(FATAL_ERROR "libembed_engine.so exports symbols of attnc:\n${symbols}")
  endif()
  if(NOT symbols MATCHES "engine_window_attention")
    message(FATAL_ERROR "libembed_engine.so does not export its own function:\n${symbols}")
  endif()
endif()
