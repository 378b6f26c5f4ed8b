# SPDX-License-Identifier: Apache-2.0
# Sourced: points ATTNC_NVRTC at the copy that tools/setup.sh put into .venv, if there is one.
for candidate in "$PWD"/.venv/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so.*; do
  case $candidate in *.alt.so*) continue ;; esac
  if [ -z "${ATTNC_NVRTC:-}" ] && [ -f "$candidate" ]; then export ATTNC_NVRTC=$candidate; fi
done
