#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds attnc (installing what is missing first) and shows it on real data: soft-capping and a causal window on the Q, K, V
# of a pre-trained encoder, and a 2-D neighborhood on the patches of a photograph. Each result is checked against the fp64
# reference. Uses the GPU when there is one, else the CPU. Pictures and results: build/demo/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash tools/setup.sh
source tools/find_nvrtc.sh
started=$(date +%s)
cmake --preset release >build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
mkdir -p build/demo && mv build-configure.log build/demo/configure.log
echo "building attnc (two to four minutes the first time)"
cmake --build --preset release --target attnc_cli
echo "built in $(($(date +%s) - started)) s"

attnc=build/release/tools/attnc
demo=build/demo
device=cpu
if "$attnc" doctor --json | python3 -c 'import json,sys; sys.exit(not json.load(sys.stdin)["cuda"]["devices"])'; then device=cuda; fi
echo "device: $device"

show() {
  echo
  echo "== $1"
  shift
  echo "\$ attnc $*"
  "$attnc" "$@"
}

window='q_idx >= kv_idx && q_idx - kv_idx < 128'
neighborhood='abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5'

show "soft-capped scores, 512 tokens of text through layer 3 of all-MiniLM-L6-v2" \
  run --in data/minilm_qkv.safetensors --out $demo/softcap.safetensors --score-mod 'cap * tanh(score / cap)' \
  --param cap=30.0 --device $device --check --timing
show "a causal window of 128 tokens" \
  run --in data/minilm_qkv.safetensors --out $demo/window.safetensors --mask-mod "$window" --device $device --check --timing
show "its block mask" \
  mask --mask-mod "$window" --q-len 512 --kv-len 512 --block-size 64x64 --png $demo/window.png

# The distribution's numpy and Pillow belong to its own python3, which need not be the first on PATH.
python=python3
"$python" -c 'import numpy, PIL' 2>/dev/null || python=/usr/bin/python3
"$python" tools/photo_to_qkv.py data/astronaut.png $demo/photo_qkv.safetensors
show "a photograph, 56 x 56 patches: everything attends to everything" \
  run --in $demo/photo_qkv.safetensors --out $demo/photo_dense.safetensors --device $device --check --timing
show "the same, each patch seeing the 9 x 9 patches around it" \
  run --in $demo/photo_qkv.safetensors --out $demo/photo_neighborhood.safetensors --mask-mod "$neighborhood" \
  --device $device --check --timing
show "its block mask" \
  mask --mask-mod "$neighborhood" --q-len 3136 --kv-len 3136 --png $demo/neighborhood.png
echo
echo "pictures: $demo/window.png $demo/neighborhood.png"
