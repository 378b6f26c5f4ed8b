#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds attnc and runs its tests, installing what is missing first (tools/setup.sh).
#
#   bash tools/test.sh                 release build, all tests
#   bash tools/test.sh -R parser       only tests whose name matches (arguments after this go to ctest)
#   bash tools/test.sh --sanitize      ASan+UBSan build, then TSan build, each with the tests that make sense there
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh --nvrtc
source tools/find_nvrtc.sh

build_and_test() {
  local preset=$1
  shift
  cmake --preset "$preset" -DCMAKE_COMPILE_WARNING_AS_ERROR=ON ${ATTNC_CMAKE_ARGS:-}
  cmake --build --preset "$preset"
  ctest --test-dir "build/$preset" --output-on-failure -j "$(nproc)" "$@"
}

if [ "${1:-}" = --sanitize ]; then
  shift
  export ATTNC_RANDOM_PROGRAMS=${ATTNC_RANDOM_PROGRAMS:-100}
  # libLLVM sorts with a buffer from operator new(nothrow) that it gives back to free.
  export ASAN_OPTIONS=detect_leaks=1:strict_string_checks=1:alloc_dealloc_mismatch=0 UBSAN_OPTIONS=print_stacktrace=1
  # What spawns compilers, installs, or measures system calls says nothing new under a sanitizer.
  export TSAN_OPTIONS=suppressions=$PWD/tools/tsan.supp
  build_and_test asan -E 'install|cuda_compile|fuzz' "$@"
  # gpu_test's death tests fork, which ThreadSanitizer does not survive, and without a GPU it does nothing else.
  build_and_test tsan -E 'install|cuda_compile|fuzz|must_fail|^gpu_test$' "$@"
else
  build_and_test release "$@"
fi
