#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what building, testing and the demo need on Debian 12 or Ubuntu 24.04. Where it may not install, it prints the
# exact command and stops. Sourced or run; does nothing when everything is there.
#
#   bash tools/setup.sh            compilers and libraries
#   bash tools/setup.sh --nvrtc    also NVIDIA's run-time compiler (from PyPI, into .venv), unless one is installed
#   bash tools/setup.sh --ci       also what the format check and the second compiler need
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

packages=(g++ cmake ninja-build pkg-config python3 python3-numpy python3-pil
  llvm-19-dev libfmt-dev libtbb-dev libxxhash-dev libpng-dev
  libcli11-dev nlohmann-json3-dev libgtest-dev librapidcheck-dev libbenchmark-dev)
want_nvrtc=no
for argument in "$@"; do
  case $argument in
    --nvrtc) want_nvrtc=yes ;;
    --ci) packages+=(clang clang-format python3-venv) ;;
    *) echo "setup.sh: unknown argument $argument" >&2; exit 2 ;;
  esac
done
[ "$want_nvrtc" = yes ] && packages+=(python3-venv)

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command=(apt-get install -y --no-install-recommends "${missing[@]}")
  if [ "$(id -u)" = 0 ]; then
    elevate=()
  elif sudo -n true 2>/dev/null; then
    elevate=(sudo)
  else
    echo "attnc needs some packages, and this user may not install them. Run this, then try again:" >&2
    echo "  sudo apt-get update && sudo ${command[*]}" >&2
    exit 1
  fi
  echo "installing: ${missing[*]}"
  "${elevate[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${elevate[@]}" "${command[@]}" >/dev/null
fi

# Code is compiled for GPUs at run time by libnvrtc (pinned here, so that the register counts CI checks are the same
# everywhere). A machine with a CUDA toolkit has it; elsewhere the PyPI package does.
if [ "$want_nvrtc" = yes ] && [ -z "${ATTNC_NVRTC:-}" ] && ! ls /usr/local/cuda*/lib64/libnvrtc.so* >/dev/null 2>&1 &&
   ! ls "$root"/.venv/lib/python3*/site-packages/nvidia/*/lib/libnvrtc.so* >/dev/null 2>&1; then
  echo "installing: nvidia-cuda-nvrtc (into .venv)"
  python3 -m venv "$root/.venv"
  "$root/.venv/bin/python" -m pip install -q --disable-pip-version-check 'nvidia-cuda-nvrtc==13.0.*'
fi
