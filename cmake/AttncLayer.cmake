# SPDX-License-Identifier: Apache-2.0
# A layer is an object library that can see only the folders named after SEES. The include path is a folder of links to
# exactly those, so an include that points the wrong way does not compile.
#
#   attnc_layer(attnc_compiler SEES dsl compiler SOURCES a.cpp b.cpp)
function(attnc_warnings target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wpedantic)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
    target_compile_options(${target} PRIVATE -Wno-restrict)  # GCC 12 misreads std::string concatenation (its bug 105329)
  endif()
endfunction()

function(attnc_sanitize target)
  if(ATTNC_SANITIZE STREQUAL "address")
    target_compile_options(${target} PUBLIC -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=address,undefined)
  elseif(ATTNC_SANITIZE STREQUAL "thread")
    target_compile_options(${target} PUBLIC -fsanitize=thread)
    target_link_options(${target} PUBLIC -fsanitize=thread)
  endif()
endfunction()

function(attnc_see target)
  set(links "${attnc_BINARY_DIR}/layers/${target}")
  file(MAKE_DIRECTORY "${links}")
  foreach(folder IN LISTS ARGN)
    get_filename_component(parent "${links}/${folder}" DIRECTORY)
    file(MAKE_DIRECTORY "${parent}")
    file(CREATE_LINK "${attnc_SOURCE_DIR}/${folder}" "${links}/${folder}" SYMBOLIC)
  endforeach()
  target_include_directories(${target} PRIVATE "${links}")
endfunction()

# fmt's headers only: its code is compiled once, in dsl/format.cpp.
function(attnc_see_fmt target)
  target_include_directories(${target} SYSTEM PRIVATE $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
endfunction()

function(attnc_layer target)
  cmake_parse_arguments(ARG "" "" "SEES;SOURCES" ${ARGN})
  add_library(${target} OBJECT ${ARG_SOURCES})
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES
    CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  if(BUILD_SHARED_LIBS)
    target_compile_definitions(${target} PRIVATE ATTNC_SHARED)  # dsl/export.h
  endif()
  attnc_see(${target} ${ARG_SEES})
  attnc_warnings(${target})
  attnc_sanitize(${target})
  attnc_see_fmt(${target})
endfunction()
