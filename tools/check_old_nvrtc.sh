#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Compiles a sample of the Hopper kernels with NVRTC 12.8 beside the one that the tests use: an older ptxas serialises
# products that a newer one does not (C7515), and users' machines have either. Needs build/release (tools/test.sh).
# Without PyPI it says that nothing was checked.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
venv=build/nvrtc-12.8
program=build/release/tests/cuda_compile/cuda_compile_test
if [ ! -x "$program" ]; then
  echo "check_old_nvrtc.sh: $program is not built; run bash tools/test.sh before" >&2
  exit 2
fi
find_library() { ls "$venv"/lib/python3*/site-packages/nvidia/cuda_nvrtc/lib/libnvrtc.so.12 2>/dev/null; }

if ! find_library >/dev/null; then
  python3 -m venv "$venv"
  if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check 'nvidia-cuda-nvrtc-cu12==12.8.*'; then
    echo "check_old_nvrtc.sh: NOT CHECKED: nvidia-cuda-nvrtc-cu12 cannot be installed from PyPI"
    exit 0
  fi
fi
ATTNC_NVRTC=$PWD/$(find_library) "$program" --gtest_filter='CudaCompile.*OnHopper:WgmmaSource.*'
