# SPDX-License-Identifier: Apache-2.0
"""attnc mask: counts, tables, pictures."""
import struct
import unittest
import zlib

import harness
from harness import CliTest, encode


def read_png(content):
    """(width, height, rows of (r, g, b)) of an 8-bit RGB picture."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, header = 8, b"", None
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        header = struct.unpack(">IIBBBBB", body) if kind == b"IHDR" else header
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    width, height = header[:2]
    assert header[2:] == (8, 2, 0, 0, 0), header
    raw, previous, rows = zlib.decompress(data), bytes(3 * width), []
    for y in range(height):
        kind, line = raw[y * (3 * width + 1)], bytearray(raw[y * (3 * width + 1) + 1 :][: 3 * width])
        for i in range(3 * width):
            left = line[i - 3] if i >= 3 else 0
            up, corner = previous[i], previous[i - 3] if i >= 3 else 0
            if kind == 1:
                line[i] = line[i] + left & 255
            elif kind == 2:
                line[i] = line[i] + up & 255
            elif kind == 3:
                line[i] = line[i] + (left + up) // 2 & 255
            elif kind == 4:
                guess = left + up - corner
                best = min((abs(guess - left), 0, left), (abs(guess - up), 1, up), (abs(guess - corner), 2, corner))
                line[i] = line[i] + best[2] & 255
        previous = bytes(line)
        rows.append([tuple(line[3 * x : 3 * x + 3]) for x in range(width)])
    return width, height, rows


class Mask(CliTest):
    def test_causal_counts(self):
        mask = self.attnc("mask", "--mask-mod", "q_idx >= kv_idx", "--q-len", "1024", "--json").json()
        self.assertEqual((mask["full_blocks"], mask["partial_blocks"], mask["empty_blocks"]), (28, 8, 28))
        self.assertAlmostEqual(mask["sparsity"], 100 * 28 / 64)
        self.assertEqual(mask["kv_len"], 1024)
        self.assertEqual(mask["block_size"], [128, 128])
        self.assertEqual(mask["kv_num_blocks"], [[[1] * 8]])
        self.assertEqual(mask["kv_indices"], [[[[i] for i in range(8)]]])
        self.assertEqual(mask["full_kv_num_blocks"], [[list(range(8))]])
        self.assertEqual(mask["full_kv_indices"], [[[list(range(i)) for i in range(8)]]])

    def test_tables_against_every_element(self):
        keeps = lambda q, kv: abs(q // 9 - kv // 9) < 2 and abs(q % 9 - kv % 9) < 2
        mask = self.attnc("mask", "--mask-mod", "abs(q_idx / 9 - kv_idx / 9) < 2 && abs(q_idx % 9 - kv_idx % 9) < 2",
                          "--q-len", "81", "--kv-len", "90", "--block-size", "32x16", "--json").json()
        for row in range(3):
            full, partial = [], []
            for column in range(6):
                block = [keeps(q, kv) for q in range(32 * row, min(81, 32 * row + 32)) for kv in range(16 * column, min(90, 16 * column + 16))]
                if all(block):
                    full.append(column)
                elif any(block):
                    partial.append(column)
            self.assertEqual(mask["kv_indices"][0][0][row], partial)
            self.assertEqual(mask["full_kv_indices"][0][0][row], full)

    def test_batches_heads_parameters_and_buffers(self):
        self.write("in.safetensors", {"lengths": ("I32", [2], encode("I32", [16, 48]))})
        mask = self.attnc("mask", "--mask-mod", "kv_idx < length[b] && h < most", "--param", "most=1", "--in", "in.safetensors",
                          "--buffer", "length=lengths", "--batch", "2", "--heads", "2", "--q-len", "16", "--kv-len", "64",
                          "--block-size", "16", "--json").json()
        self.assertEqual(mask["full_kv_num_blocks"], [[[1], [0]], [[3], [0]]])
        self.assertEqual(mask["full_kv_indices"][1][0], [[0, 1, 2]])

    def test_text(self):
        text = self.attnc("mask", "--mask-mod", "q_idx >= kv_idx", "--q-len", "512").out
        for line in ("  full              6   37.5 %", "  partial           4   25.0 %", "  |█░  |", "  |███░|"):
            self.assertIn(line, text)

    def test_huge_masks_are_quick(self):
        mask = self.attnc("mask", "--mask-mod", "q_idx >= kv_idx && q_idx - kv_idx < 4096", "--q-len", "1000000").out
        self.assertIn("sparsity             99.6 %", mask)

    def test_picture(self):
        self.attnc("mask", "--mask-mod", "q_idx >= kv_idx", "--q-len", "1024", "--png", "causal.png")
        self.assertEqual(self.files(), ["causal.png"])
        width, height, rows = read_png(self.content("causal.png"))
        self.assertTrue(600 < width < 1300 and 600 < height < 1300)
        blue, orange, pale, grey = (38, 84, 124), (233, 141, 42), (253, 232, 203), (242, 242, 239)
        colors = [color for row in rows for color in row]
        area = 832 * 832
        for color, share in ((blue, 28 / 64), (grey, 28 / 64), (orange, 4 / 64), (pale, 4 / 64)):
            self.assertAlmostEqual(colors.count(color) / area, share, delta=0.02, msg=str(color))
        # Full is below the diagonal, empty above.
        first_blue = next(y for y, row in enumerate(rows) if blue in row)
        self.assertTrue(blue in rows[first_blue + 300])
        row = rows[first_blue + 300]
        self.assertLess(row.index(blue), row.index(orange))
        self.assertLess(row.index(orange), row.index(grey))

    def test_pictures_of_odd_shapes(self):
        for q_len, kv_len in ((1, 1), (1, 5000), (5000, 1), (37, 200), (100000, 100000)):
            self.attnc("mask", "--mask-mod", "q_idx >= kv_idx - 3", "--q-len", str(q_len), "--kv-len", str(kv_len), "--png", "odd.png")
            # Decoding the small ones in Python is quick; of the others the header will do.
            content = self.content("odd.png")
            width, height = read_png(content)[:2] if q_len < 1000 else struct.unpack(">II", content[16:24])
            self.assertTrue(width < 1300 and height < 1300, (q_len, kv_len, width, height))

    def test_picture_of_a_chosen_head(self):
        counts = {}
        for head in "01":
            self.attnc("mask", "--mask-mod", "h == 1", "--q-len", "64", "--heads", "2", "--show-h", head, "--png", "head.png",
                       "--block-size", "16")
            _, _, rows = read_png(self.content("head.png"))
            counts[head] = sum(row.count((38, 84, 124)) for row in rows)
        self.assertGreater(counts["1"], 100 * counts["0"])

    def test_empty_lengths(self):
        mask = self.attnc("mask", "--mask-mod", "true", "--q-len", "0", "--kv-len", "5", "--json").json()
        self.assertEqual((mask["full_blocks"], mask["sparsity"]), (0, 0))
        self.attnc("mask", "--mask-mod", "true", "--q-len", "0", "--kv-len", "5")


if __name__ == "__main__":
    harness.main()
