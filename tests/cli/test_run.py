# SPDX-License-Identifier: Apache-2.0
"""attnc run: results against the formula, files, reports."""
import math
import os
import unittest

import harness
from harness import CliTest, decode, encode, normal

Q_LEN, KV_LEN, HEADS, KV_HEADS, DIM, DIM_V = 5, 7, 4, 2, 16, 8


def attention(q, k, v, score=lambda s, h, i, j: s, keep=lambda h, i, j: True, scale=1 / math.sqrt(DIM)):
    """Batch 1. Returns out and lse as flat lists."""
    out, lse = [], []
    for h in range(HEADS):
        kv_head = h // (HEADS // KV_HEADS)
        for i in range(Q_LEN):
            query = q[(h * Q_LEN + i) * DIM :][:DIM]
            logits = {}
            for j in range(KV_LEN):
                key = k[(kv_head * KV_LEN + j) * DIM :][:DIM]
                if keep(h, i, j):
                    logits[j] = score(scale * sum(a * b for a, b in zip(query, key)), h, i, j)
            total = math.log(sum(math.exp(s) for s in logits.values())) if logits else -math.inf
            lse.append(total)
            out += [sum(math.exp(s - total) * v[(kv_head * KV_LEN + j) * DIM_V + d] for j, s in logits.items())
                    for d in range(DIM_V)]
    return out, lse


class Run(CliTest):
    def inputs(self, dtype="F32", **extra):
        tensors = {
            "q": normal(dtype, 1, HEADS, Q_LEN, DIM, seed=1),
            "k": normal(dtype, 1, KV_HEADS, KV_LEN, DIM, seed=2),
            "v": normal(dtype, 1, KV_HEADS, KV_LEN, DIM_V, seed=3),
            **extra,
        }
        self.write("in.safetensors", tensors)
        return [decode(tensors[name]) for name in "qkv"]

    def run_cli(self, *arguments):
        result = self.attnc("run", "--in", "in.safetensors", "--out", "out.safetensors", *arguments)
        return result, self.read("out.safetensors")

    def assert_close(self, tensor, expected, tolerance):
        actual = decode(tensor)
        self.assertEqual(len(actual), len(expected))
        for a, b in zip(actual, expected):
            self.assertTrue(a == b or abs(a - b) <= tolerance, f"{a} {b}")

    def test_plain_attention_in_every_dtype(self):
        for dtype, tolerance in (("F32", 1e-5), ("F16", 3e-3), ("BF16", 2e-2)):
            inputs = self.inputs(dtype)
            _, tensors = self.run_cli("--lse")
            out, lse = attention(*inputs)
            self.assertEqual(tensors["out"][:2], (dtype, [1, HEADS, Q_LEN, DIM_V]))
            self.assertEqual(tensors["lse"][:2], ("F32", [1, HEADS, Q_LEN]))
            self.assert_close(tensors["out"], out, tolerance)
            self.assert_close(tensors["lse"], lse, 2e-3)

    def test_without_lse_there_is_none(self):
        self.inputs()
        self.assertEqual(list(self.run_cli()[1]), ["out"])

    def test_softcap_with_parameter(self):
        inputs = self.inputs()
        _, tensors = self.run_cli("--score-mod", "cap * tanh(score / cap)", "--param", "cap=0.5")
        self.assert_close(tensors["out"], attention(*inputs, score=lambda s, *_: 0.5 * math.tanh(s / 0.5))[0], 1e-5)

    def test_parameter_types(self):
        inputs = self.inputs()
        expected = attention(*inputs, score=lambda s, *_: s / 2)[0]
        for expression, parameter in (
            ("score * x", "x=0.5"), ("score * x", "x:f32=0.5"), ("score * x", "x=5e-1"), ("score / x", "x=2"),
            ("score / x", "x:f32=2"), ("score / x", "x:i64=2"), ("score / (x - 2147483646)", "x=2147483648"),
            ("score / (x ? 2 : 3)", "x=true"), ("score / (x ? 3 : 2)", "x:bool=false"), ("x < 0 ? score / 2 : 0", "x=-7"),
        ):
            _, tensors = self.run_cli("--score-mod", expression, "--param", parameter)
            self.assert_close(tensors["out"], expected, 1e-5)

    def test_integers_stay_integers(self):
        inputs = self.inputs()
        _, tensors = self.run_cli("--mask-mod", "kv_idx / x == 0", "--param", "x=2")
        self.assert_close(tensors["out"], attention(*inputs, keep=lambda h, i, j: j // 2 == 0)[0], 1e-5)

    def test_causal_and_a_row_without_keys(self):
        inputs = self.inputs()
        _, tensors = self.run_cli("--mask-mod", "q_idx > kv_idx", "--lse", "--check", "10")
        out, lse = attention(*inputs, keep=lambda h, i, j: i > j)
        self.assert_close(tensors["out"], out, 1e-5)
        self.assert_close(tensors["lse"], lse, 1e-5)
        self.assertEqual(decode(tensors["out"])[:DIM_V], [0.0] * DIM_V)

    def test_block_sizes_agree(self):
        inputs = self.inputs()
        out = attention(*inputs, keep=lambda h, i, j: abs(i - j) < 2 + h)[0]
        for block_size in ("16x16", "128x64", "64", "none"):
            _, tensors = self.run_cli("--mask-mod", "abs(q_idx - kv_idx) < 2 + h", "--block-size", block_size)
            self.assert_close(tensors["out"], out, 1e-5)

    def test_buffers(self):
        slopes, doc = [0.5, 0.25, -0.125, 1.0], [0, 0, 1, 1, 1, 2, 2]
        inputs = self.inputs(slopes=("F32", [4], encode("F32", slopes)), doc=("I64", [7], encode("I64", doc)))
        _, tensors = self.run_cli("--score-mod", "score + slope[h] * (kv_idx - q_idx)", "--mask-mod", "doc[q_idx] == doc[kv_idx]",
                                  "--buffer", "slope=slopes", "--buffer", "doc")
        self.assert_close(tensors["out"], attention(*inputs, score=lambda s, h, i, j: s + slopes[h] * (j - i),
                                                    keep=lambda h, i, j: doc[i] == doc[j])[0], 1e-5)

    def test_scale_and_names(self):
        q, k, v = self.inputs()
        tensors = self.read("in.safetensors")
        self.write("in.safetensors", {"my q": tensors["q"], "K": tensors["k"], "v.1": tensors["v"]})
        _, result = self.run_cli("--q", "my q", "--k", "K", "--v", "v.1", "--scale", "0.125")
        self.assert_close(result["out"], attention(q, k, v, scale=0.125)[0], 1e-5)

    def test_an_expression_may_start_with_a_minus(self):
        inputs = self.inputs()
        _, tensors = self.run_cli("--score-mod", "-score")
        self.assert_close(tensors["out"], attention(*inputs, score=lambda s, *_: -s)[0], 1e-5)

    def test_empty_sequences(self):
        for q_len, kv_len in ((0, 3), (3, 0)):
            self.write("in.safetensors", {"q": normal("F32", 1, 1, q_len, DIM), "k": normal("F32", 1, 1, kv_len, DIM),
                                          "v": normal("F32", 1, 1, kv_len, DIM)})
            _, tensors = self.run_cli("--mask-mod", "q_idx >= kv_idx", "--lse")
            self.assertEqual(decode(tensors["out"]), [0.0] * q_len * DIM)
            self.assertEqual(decode(tensors["lse"]), [-math.inf] * q_len)

    def test_json(self):
        self.inputs()
        report = self.run_cli("--json", "--mask-mod", "q_idx >= kv_idx", "--block-size", "16x16", "--check", "20", "--lse", "--timing")[0].json()
        self.assertEqual(report["out_shape"], [1, HEADS, Q_LEN, DIM_V])
        self.assertEqual((report["dtype"], report["device"], report["lse"]), ("f32", "cpu", True))
        self.assertEqual(report["block_mask"]["partial_blocks"], 1)
        self.assertTrue(report["check"]["passed"])
        self.assertEqual(report["check"]["rows"], 20)
        self.assertLess(report["check"]["max_error"], 1e-5)
        self.assertGreater(report["forward_ms"], 0)
        timing = report["timing"]
        self.assertGreaterEqual(timing["runs"], 5)
        self.assertTrue(0 < timing["best_ms"] <= timing["median_ms"] <= timing["worst_ms"])

    def test_text_report(self):
        self.inputs()
        text = self.run_cli("--check", "--score-mod", "score * 2")[0].out
        self.assertRegex(text, r"check       20 rows against fp64: .*: good\n")
        self.assertIn("score_mod   score * 2", text)
        self.assertIn("wrote       out.safetensors: out [1, 4, 5, 8] f32", text)

    def test_output_replaces_what_was_there_through_links(self):
        self.inputs()
        os.mkdir(self.path("elsewhere"))
        with open(self.path("elsewhere/real"), "w") as file:
            file.write("old")
        os.symlink("elsewhere/real", self.path("out.safetensors"))
        self.run_cli()
        self.assertTrue(os.path.islink(self.path("out.safetensors")))
        self.assertEqual(os.listdir(self.path("elsewhere")), ["real"])
        self.assertEqual(self.read("elsewhere/real")["out"][1], [1, HEADS, Q_LEN, DIM_V])

    def test_metadata_and_alignment(self):
        self.inputs()
        self.run_cli("--score-mod", "score * 2")
        content = self.content("out.safetensors")
        self.assertIn(b'"score_mod":"score * 2"', content)
        self.assertEqual(int.from_bytes(content[:8], "little") % 8, 0)


class Gpu(CliTest):
    """A mask over a captured buffer: tables are built on the device, from its extrema."""

    LENGTH = 700

    def setUp(self):
        super().setUp()
        finding = self.attnc("doctor", "--json").json()["cuda"]
        if not finding["ok"]:
            self.skipTest(finding["text"])

    def test_a_mask_over_documents(self):
        length = self.LENGTH
        document = [(i > 90) + (i > 300) + (i > 303) + (i > 550) for i in range(length)]
        for dtype in ("F32", "BF16"):
            tensors = {name: normal(dtype, 2, heads, length, 64, seed=heads) for name, heads in (("q", 4), ("k", 2), ("v", 2))}
            self.write("in.safetensors", {**tensors, "ids": ("I32", [length], encode("I32", document))})
            for blocks in ("128x128", "64x64", "none"):
                report = self.attnc("run", "--in", "in.safetensors", "--out", "out.safetensors", "--device", "cuda", "--lse",
                                    "--mask-mod", "doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx", "--buffer", "doc=ids",
                                    "--block-size", blocks, "--check", "200", "--json").json()
                self.assertTrue(report["check"]["passed"], report)
                self.assertEqual("block_mask" in report, blocks != "none", report)
                tensors = self.read("out.safetensors")
                # A document's first row keeps itself alone.
                value = decode(self.read("in.safetensors")["v"])
                out = decode(tensors["out"])
                for row in (0, 91, 301, 304, 551):
                    for got, expected in zip(out[(4 * length + row) * 64 :][:64], value[(2 * length + row) * 64 :][:64]):
                        self.assertAlmostEqual(got, expected, 5, (dtype, blocks, row))


if __name__ == "__main__":
    harness.main()
