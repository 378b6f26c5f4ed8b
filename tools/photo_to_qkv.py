#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cuts a photograph into a 56 x 56 grid of patches and projects each to q, k, v of 12 heads x 64.

  python3 tools/photo_to_qkv.py data/astronaut.png photo_qkv.safetensors

Patches are 8 x 8 pixels x 3 colours, normalised to mean 0 and deviation 1 over the picture. The projection is random but
fixed (seed 0), with variance 1/192, so that q, k and v have about unit variance. Needs numpy and Pillow
(Debian: python3-numpy python3-pil). Writes F16 [1, 12, 3136, 64].
"""
import json
import struct
import sys

import numpy as np
from PIL import Image

GRID, HEADS, HEAD_DIM = 56, 12, 64


def main(photo_path, out_path):
    pixels = np.asarray(Image.open(photo_path).convert("RGB"), dtype=np.float32)
    patch = pixels.shape[0] // GRID
    if pixels.shape != (GRID * patch, GRID * patch, 3):
        sys.exit(f"{photo_path} is {pixels.shape[1]} x {pixels.shape[0]}; both sides must be the same multiple of {GRID}")
    pixels = (pixels - pixels.mean()) / pixels.std()
    tokens = pixels.reshape(GRID, patch, GRID, patch, 3).transpose(0, 2, 1, 3, 4).reshape(GRID * GRID, -1)
    random = np.random.default_rng(0)
    header, body = {}, b""
    for name in "qkv":
        projection = random.standard_normal((tokens.shape[1], HEADS * HEAD_DIM), dtype=np.float32) / tokens.shape[1] ** 0.5
        heads = (tokens @ projection).reshape(1, -1, HEADS, HEAD_DIM).transpose(0, 2, 1, 3).astype(np.float16)
        data = heads.tobytes()
        header[name] = {"dtype": "F16", "shape": list(heads.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    with open(out_path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
