# SPDX-License-Identifier: Apache-2.0
"""Damaged safetensors files: each refused with status 2 and a message that names the file and what is wrong."""
import json
import os
import struct
import unittest

import harness
from harness import CliTest, normal, safetensors

TENSORS = {"q": normal("F32", 1, 1, 2, 16), "k": normal("F32", 1, 1, 2, 16), "v": normal("F32", 1, 1, 2, 16)}


def with_header(text, data=b""):
    text = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(text)) + text + data


class BadFiles(CliTest):
    def refuse(self, content, *saying):
        with open(self.path("in.safetensors"), "wb") as file:
            file.write(content)
        self.refused("run", "--in", "in.safetensors", "--out", "out.safetensors", saying=["in.safetensors: ", *saying])

    def changed(self, change):
        return safetensors(TENSORS, change_header=change)

    def test_the_undamaged_file_works(self):
        self.write("in.safetensors", TENSORS, metadata={"format": "pt"})
        self.attnc("run", "--in", "in.safetensors", "--out", "out.safetensors")

    def test_no_file(self):
        self.refused("run", "--in", "absent", "--out", "out", saying="absent: cannot be opened: No such file")
        os.mkdir(self.path("folder"))
        self.refused("run", "--in", "folder", "--out", "out", saying="folder: is a folder, not a safetensors file")

    def test_no_header(self):
        self.refuse(b"", "has 0 bytes; a safetensors file starts with an 8-byte header length")
        self.refuse(b"1234567", "has 7 bytes")
        self.refuse(b"this is a text file", "is it a safetensors file?")
        self.refuse(struct.pack("<Q", 2**63), "over the format's limit of 100000000")
        self.refuse(struct.pack("<Q", 500) + b"{}", "says its header has 500 bytes, but only 2 follow")

    def test_truncation_anywhere(self):
        whole = safetensors(TENSORS)
        header_end = 8 + struct.unpack("<Q", whole[:8])[0]
        for length in (0, 1, 8, 9, header_end - 1, header_end, header_end + 1, header_end + 128, len(whole) - 1):
            self.refuse(whole[:length], "")
        self.refuse(whole[:-1], "tensor 'v'", "reach past the 383 bytes of data: truncated?")

    def test_excess(self):
        self.refuse(safetensors(TENSORS) + b"x", "has 1 bytes after its last tensor that belong to none")

    def test_json_that_is_none(self):
        for text in (b"", b"{", b"[1, 2", b"{]", b"\xff\xfe", b'{"a": 1e999999}', b"{} {}", b"nul", b"[" * 100000):
            self.refuse(with_header(text), "has a damaged header")
        self.refuse(with_header("[]"), "it is not a JSON object")
        self.refuse(with_header('{"__metadata__": {"a": 1}}'), "__metadata__ is not a map from text to text")
        self.refuse(with_header('{"q": 1}'), "tensor 'q': its description is not a JSON object")
        entry = '{"dtype": "U8", "shape": [], "data_offsets": [0, 1]}'
        self.refuse(with_header('{"q": %s, "q": %s}' % (entry, entry), b"x"), "describes tensor 'q' twice")

    def test_fields(self):
        def put(field, value):
            def change(header):
                if value is None:
                    del header["k"][field]
                else:
                    header["k"][field] = value
            return change

        for field in ("dtype", "shape", "data_offsets"):
            self.refuse(self.changed(put(field, None)), f"tensor 'k': has no {field}")
        for field, value, saying in (
            ("dtype", 5, "its dtype is not text"), ("dtype", "F33", "has dtype 'F33', which the format does not know"),
            ("shape", 5, "its shape is not a list of sizes"), ("shape", [1, -2], "its shape is not a list of sizes"),
            ("shape", [1.5], "its shape is not a list of sizes"), ("shape", ["2"], "its shape is not a list of sizes"),
            ("shape", [1, 1, 2, 17], "shape [1, 1, 2, 17] of F32 needs 136 bytes, its data_offsets [128, 256] hold 128"),
            ("shape", [2**40, 2**40], "is larger than any file"), ("shape", [2**64 - 1], "over 2^63 - 1"),
            ("data_offsets", [1], "are not two byte positions"), ("data_offsets", [1, 2, 3], "are not two byte positions"),
            ("data_offsets", [-1, 127], "are not two byte positions"), ("data_offsets", [256, 128], "run backwards"),
            ("data_offsets", [0, 128], "overlap"), ("data_offsets", [2**60, 2**60 + 128], "reach past the 384 bytes of data"),
        ):
            self.refuse(self.changed(put(field, value)), "tensor '", saying)

    def test_gaps(self):
        def move(header):
            del header["k"]
        self.refuse(self.changed(move), "tensor 'v': 128 bytes before it belong to no tensor")

    def test_names_are_printed_safely(self):
        entry = {"dtype": "U9", "shape": [], "data_offsets": [0, 1]}
        self.refuse(with_header(json.dumps({"\x1b[31mred\n": entry}), b"x"), "'\\x1b[31mred\\x0a'")
        self.refuse(with_header(json.dumps({"n" * 5000: entry}), b"x"), "n...'")


if __name__ == "__main__":
    harness.main()
