#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks attnc on this machine's GPU: configures without LLVM, builds, runs the GPU tests on all cores, a quick benchmark and
# compute-sanitizer's four tools over a small matrix, and prints one table. Exit status 0 only if everything held.
#
#   tools/gpu_check.sh [--build DIR [--built]] [--programs N] [--jobs N] [--no-sanitizer] [-- CMAKE-ARGUMENTS...]
#
# --built: DIR holds gpu_test and gpu_bench already, built elsewhere perhaps; what needs no GPU is left out.
# Needs g++ 12 or newer (or Clang 14), CMake, fmt, GoogleTest, xxHash's header, an NVIDIA driver and NVRTC.
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build="$root/build/gpu"
programs=512
jobs=$(nproc)
sanitizer=1
built=0
cmake_arguments=()
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=$2; shift 2 ;;
    --built) built=1; shift ;;
    --programs) programs=$2; shift 2 ;;
    --jobs) jobs=$2; shift 2 ;;
    --no-sanitizer) sanitizer=0; shift ;;
    --) shift; cmake_arguments=("$@"); break ;;
    *) sed -n '3,9p' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
  esac
done

if [ "$built" = 1 ]; then
  for program in gpu_test gpu_bench; do
    [ -x "$build/tests/gpu/$program" ] && continue
    echo "gpu_check.sh: --built: $build/tests/gpu/$program is no program; build it, or leave --built out" >&2
    exit 2
  done
fi

rows=()
failed=0
# record NAME STATUS DETAIL
record() {
  rows+=("$(printf '%-28s %-6s %s' "$1" "$2" "$3")")
  [ "$2" = ok ] || failed=1
}
finish() {
  printf '\n%-28s %-6s %s\n' step result detail
  printf '%s\n' "${rows[@]}"
  exit "$failed"
}

logs="$build/logs"
mkdir -p "$logs"
rm -f "$logs"/*.log

if ! nvidia-smi --query-gpu=name,driver_version --format=csv,noheader >"$logs/device.log" 2>&1; then
  record device FAILED "nvidia-smi finds no GPU"
  finish
fi
record device ok "$(head -1 "$logs/device.log")"

if [ "$built" = 1 ]; then
  record build ok "built before"
else
  if ! cmake -S "$root" -B "$build" -DATTNC_CPU=OFF -DATTNC_TOOLS=OFF -DATTNC_BENCHMARKS=OFF -DATTNC_INSTALL=OFF -DATTNC_TESTS=ON \
      -DCMAKE_BUILD_TYPE=Release "${cmake_arguments[@]}" >"$logs/configure.log" 2>&1; then
    record configure FAILED "$logs/configure.log"
    finish
  fi
  if ! cmake --build "$build" -j "$jobs" --target gpu_test cuda_compile_test cuda_layout_test gpu_bench >"$logs/build.log" 2>&1; then
    record build FAILED "$(grep -m1 -E 'error|undefined' "$logs/build.log" || echo "$logs/build.log")"
    finish
  fi
  record build ok "without LLVM"
fi

# A cache of its own, so that compiles are real and nothing of the user's is touched.
ATTNC_CACHE_DIR=$(mktemp -d)
export ATTNC_CACHE_DIR
trap 'rm -rf "$ATTNC_CACHE_DIR"' EXIT

# gtest_row NAME LOG...: one row from GoogleTest's summaries.
gtest_row() {
  local name=$1 passed bad skipped
  shift
  passed=$(cat "$@" | grep -c '^\[       OK \]')
  skipped=$(cat "$@" | grep -c '^\[  SKIPPED \] .*(.* ms)')
  bad=$(cat "$@" | grep -c '^\[  FAILED  \] .*(.* ms)')
  local unfinished=0 log
  for log in "$@"; do grep -q '^\[==========\] .* ran' "$log" || unfinished=$((unfinished + 1)); done
  if [ "$bad" -eq 0 ] && [ "$unfinished" -eq 0 ] && [ "$passed" -gt 0 ]; then
    record "$name" ok "$passed passed, $skipped skipped"
  else
    record "$name" FAILED "$passed passed, $bad failed, $unfinished of $# runs did not finish: $logs"
    cat "$@" | grep '^\[  FAILED  \] .*(.* ms)' | head -20
  fi
}

seed=${ATTNC_RANDOM_SEED:-$((RANDOM * 32768 + RANDOM))}
echo "random programs: $programs from seed $seed"
for ((i = 0; i < jobs; ++i)); do
  GTEST_TOTAL_SHARDS=$jobs GTEST_SHARD_INDEX=$i ATTNC_RANDOM_PROGRAMS=$programs ATTNC_RANDOM_SEED=$seed \
    "$build/tests/gpu/gpu_test" >"$logs/gpu_test.$i.log" 2>&1 &
done
wait
gtest_row "gpu tests" "$logs"/gpu_test.*.log

if [ "$built" = 0 ]; then
  "$build/tests/cuda_compile/cuda_layout_test" >"$logs/layout.log" 2>&1
  gtest_row "layouts and signatures" "$logs/layout.log"
  "$build/tests/cuda_compile/cuda_compile_test" >"$logs/compile.log" 2>&1
  gtest_row "compiles, spills, warnings" "$logs/compile.log"
fi

if "$build/tests/gpu/gpu_bench" >"$logs/bench.log" 2>&1; then
  cat "$logs/bench.log"
  record "quick benchmark" ok "$(tail -1 "$logs/bench.log")"
else
  record "quick benchmark" FAILED "$logs/bench.log"
fi
if [ "$sanitizer" = 1 ]; then
  if ! command -v compute-sanitizer >/dev/null; then
    record sanitizers FAILED "compute-sanitizer is not on PATH (part of the CUDA toolkit); --no-sanitizer skips it"
  else
    # Small problems that meet every kind of kernel: both families, tables, split keys, captured buffers, unaligned rows.
    filter='*Sanitized*'
    running=()
    for tool in memcheck racecheck synccheck initcheck; do
      options=()
      # A query about a host pointer answers with an error code; that is how it is told apart from device memory.
      [ "$tool" = memcheck ] && options=(--report-api-errors no)
      compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 "$build/tests/gpu/gpu_test" --gtest_filter="$filter" \
        >"$logs/$tool.log" 2>&1 &
      running+=("$tool $!")
    done
    for pair in "${running[@]}"; do
      tool=${pair% *}
      if wait "${pair#* }" && grep -q '^\[  PASSED  \] [1-9]' "$logs/$tool.log"; then
        record "$tool" ok "$(grep -m1 -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$logs/$tool.log")"
      else
        record "$tool" FAILED "$(grep -m1 -o 'ERROR SUMMARY.*\|RACECHECK SUMMARY.*' "$logs/$tool.log"): $logs/$tool.log"
      fi
    done
  fi
fi

finish
