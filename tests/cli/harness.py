# SPDX-License-Identifier: Apache-2.0
"""Runs the attnc binary named by the first argument, and reads and writes safetensors files."""
import array
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

ATTNC = ""


class Result:
    def __init__(self, done):
        self.status = done.returncode
        self.out = done.stdout.decode()
        self.err = done.stderr.decode()

    def json(self):
        return json.loads(self.out)


class CliTest(unittest.TestCase):
    """Each test has an empty folder as working directory, and a kernel cache of its own."""

    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = self._folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def attnc(self, *arguments, expect=0, preexec=None):
        environment = dict(os.environ, ATTNC_CACHE_DIR=self.path("cache"))
        # A crash under a sanitizer must not look like the user's error.
        for sanitizer in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            environment[sanitizer] = (environment.get(sanitizer, "") + ":exitcode=99").lstrip(":")
        done = subprocess.run([ATTNC, *arguments], capture_output=True, cwd=self.folder, env=environment,
                              preexec_fn=preexec, timeout=120)
        result = Result(done)
        self.assertEqual(result.status, expect, f"{arguments}\nstdout: {result.out}\nstderr: {result.err}")
        return result

    def refused(self, *arguments, saying, expect=2, preexec=None):
        """The command fails, says so on stderr and nothing on stdout, and leaves no new file."""
        before = self.files()
        result = self.attnc(*arguments, expect=expect, preexec=preexec)
        for text in [saying] if isinstance(saying, str) else saying:
            self.assertIn(text, result.err, arguments)
        self.assertEqual(result.out, "", arguments)
        self.assertEqual(self.files(), before, arguments)
        return result

    def need_cpu(self):
        """Skips what runs attention, in a build without the CPU backend. To be called before anything fills the cache."""
        finding = self.attnc("doctor", "--json").json()["cpu_backend"]
        shutil.rmtree(self.path("cache"), ignore_errors=True)  # doctor's own kernel is no test's business
        if not finding["ok"]:
            self.skipTest(finding["text"])

    def files(self):
        return sorted(name for name in os.listdir(self.folder) if name != "cache")

    def write(self, name, tensors, metadata=None):
        with open(self.path(name), "wb") as file:
            file.write(safetensors(tensors, metadata))

    def content(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def read(self, name):
        return parse_safetensors(self.content(name))


def safetensors(tensors, metadata=None, change_header=None):
    """tensors: name -> (dtype, shape, bytes)."""
    header, data = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (dtype, shape, values) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [len(data), len(data) + len(values)]}
        data += values
    if change_header:
        change_header(header)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def parse_safetensors(content):
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    data = content[8 + length :]
    return {
        name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def count(shape):
    total = 1
    for extent in shape:
        total *= extent
    return total


def encode(dtype, values):
    if dtype == "F32":
        return array.array("f", values).tobytes()
    if dtype == "F16":
        return struct.pack(f"<{len(values)}e", *values)
    if dtype == "BF16":
        out = bytearray()
        for value in values:
            (bits,) = struct.unpack("<I", struct.pack("<f", value))
            out += struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)
        return bytes(out)
    return array.array({"I32": "i", "I64": "q", "I8": "b", "U8": "B", "BOOL": "B", "F64": "d"}[dtype], values).tobytes()


def decode(tensor):
    dtype, shape, content = tensor
    if dtype == "F32":
        return list(array.array("f", content))
    if dtype == "F16":
        return list(struct.unpack(f"<{count(shape)}e", content))
    if dtype == "BF16":
        return [struct.unpack("<f", struct.pack("<I", half << 16))[0] for half in array.array("H", content)]
    raise ValueError(dtype)


def normal(dtype, *shape, seed=0):
    source = random.Random(seed)
    return (dtype, shape, encode(dtype, [source.gauss(0, 1) for _ in range(count(shape))]))


def main():
    global ATTNC
    ATTNC = os.path.abspath(sys.argv.pop(1))
    # Test modules import this file by name, and read ATTNC from there.
    sys.modules["harness"].ATTNC = ATTNC
    unittest.main()
