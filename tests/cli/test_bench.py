# SPDX-License-Identifier: Apache-2.0
"""attnc bench on the CPU, and what attnc tune refuses without a GPU."""
import re
import unittest

import harness
from harness import CliTest, encode

QUICK = {"--heads": "2", "--head-dim": "16", "--repeats": "3"}


def quick(*arguments):
    """The arguments, and small defaults for what they leave out."""
    return [*arguments, *(word for option, value in QUICK.items() if option not in arguments for word in (option, value))]


class Bench(CliTest):
    def setUp(self):
        super().setUp()
        self.need_cpu()

    def bench(self, *arguments):
        return self.attnc("bench", *quick("--json", *arguments)).json()

    def row(self, *arguments):
        rows = self.bench("--no-roof", *arguments)["rows"]
        self.assertEqual(len(rows), 1)
        return rows[0]

    def test_a_row_adds_up(self):
        report = self.bench("--q-len", "96", "--kv-len", "64", "--head-dim-v", "32", "--b", "3")
        self.assertEqual((report["device"], report["dtype"], report["batch"], report["heads"], report["kv_heads"]), ("cpu", "f32", 3, 2, 2))
        self.assertGreater(report["roof"]["tflops"], 0)
        (row,) = report["rows"]
        self.assertEqual((row["q_len"], row["kv_len"], row["runs"]), (96, 64, 3))
        self.assertEqual(row["dense_flop"], 2 * 3 * 2 * 96 * 64 * (16 + 32))
        self.assertEqual(row["bytes"], 4 * 3 * 2 * (96 * 16 + 64 * 16 + 64 * 32 + 96 * 32))
        self.assertTrue(0 < row["best_ms"] <= row["p10_ms"] <= row["median_ms"] <= row["p90_ms"])
        self.assertAlmostEqual(row["tflops"] * row["median_ms"] * 1e9 / row["dense_flop"], 1)
        self.assertAlmostEqual(row["gbps"] * row["median_ms"] * 1e6 / row["bytes"], 1)
        self.assertAlmostEqual(row["roof_percent"] * report["roof"]["tflops"] / (100 * row["tflops"]), 1)
        self.assertEqual((row["kept_share"], row["kept_tflops"]), (1, row["tflops"]))
        self.assertGreater(row["first_ms"], 0)

    def test_kept_scores_are_counted(self):
        for q_len, kv_len in ((200, 200), (70, 333), (333, 70)):
            kept = sum(min(q + 1, kv_len) for q in range(q_len))
            row = self.row("--q-len", str(q_len), "--kv-len", str(kv_len), "--mask-mod", "q_idx >= kv_idx")
            self.assertAlmostEqual(row["kept_share"], kept / (q_len * kv_len))
            self.assertFalse(row["kept_share_is_sampled"])
            self.assertAlmostEqual(row["kept_tflops"], row["kept_share"] * row["tflops"])
        self.assertEqual(self.row("--q-len", "40", "--mask-mod", "h == 1")["kept_share"], 0.5)
        self.assertEqual(self.row("--q-len", "40", "--mask-mod", "false")["kept_share"], 0)

    def test_many_kept_scores_are_sampled(self):
        row = self.row("--q-len", "2500", "--repeats", "1", "--mask-mod", "(q_idx * 7 + kv_idx * 3) % 10 < 3")
        self.assertTrue(row["kept_share_is_sampled"])
        self.assertAlmostEqual(row["kept_share"], 0.3, delta=0.01)

    def test_lists_of_lengths(self):
        lengths = lambda *arguments: [(row["q_len"], row["kv_len"]) for row in self.bench("--no-roof", *arguments)["rows"]]  # noqa: E731
        self.assertEqual(lengths("--q-len", "16,48"), [(16, 16), (48, 48)])
        self.assertEqual(lengths("--q-len", "16,48", "--kv-len", "32"), [(16, 32), (48, 32)])
        self.assertEqual(lengths("--q-len", "1", "--kv-len", "32,64"), [(1, 32), (1, 64)])
        self.assertEqual(lengths("--q-len", "16,48", "--kv-len", "8,9"), [(16, 8), (48, 9)])

    def test_block_mask(self):
        row = self.row("--q-len", "256", "--mask-mod", "q_idx >= kv_idx", "--block-size", "64x64")
        self.assertEqual((row["block_mask"]["full_blocks"], row["block_mask"]["partial_blocks"], row["block_mask"]["empty_blocks"]), (6, 4, 6))
        for when in ("auto", "always", "never"):
            with_bits = self.row("--q-len", "256", "--mask-mod", "q_idx >= kv_idx", "--block-size", "64x64", "--element-bits", when)
            self.assertEqual(with_bits["block_mask"]["full_blocks"], 6)
        self.assertNotIn("block_mask", self.row("--q-len", "256", "--mask-mod", "q_idx >= kv_idx"))

    def test_buffers_made_up_and_given(self):
        # 12 documents in ascending order: keys of other documents are dropped.
        made_up = self.row("--q-len", "256", "--mask-mod", "doc[q_idx] == doc[kv_idx]", "--buffer", "doc:i32/1")
        self.assertTrue(1 / 12 < made_up["kept_share"] < 0.9, made_up["kept_share"])
        self.write("in.safetensors", {"ids": ("I32", [40], encode("I32", [0] * 10 + [1] * 30))})
        given = self.row("--q-len", "40", "--mask-mod", "doc[q_idx] == doc[kv_idx]", "--in", "in.safetensors", "--buffer", "doc=ids")
        self.assertEqual(given["kept_share"], (10 * 10 + 30 * 30) / 1600)
        for expression, buffer in (("score + x[b, h, q_idx, kv_idx]", "x:f32/4"), ("score + x[q_idx - kv_idx + q_len]", "x:bf16"),
                                   ("score * x[h]", "x:f16/1")):
            self.row("--q-len", "40", "--score-mod", expression, "--buffer", buffer)
        self.row("--q-len", "16", "--mask-mod", "keep[kv_idx]", "--buffer", "keep:bool/1")

    def test_dtypes_and_grouped_heads(self):
        for dtype in ("f32", "f16", "bf16"):
            report = self.bench("--no-roof", "--dtype", dtype, "--q-len", "32", "--heads", "4", "--kv-heads", "2")
            self.assertEqual((report["dtype"], report["kv_heads"]), (dtype, 2))

    def test_text(self):
        text = self.attnc("bench", *quick("--q-len", "32,64", "--mask-mod", "q_idx >= kv_idx")).out
        self.assertRegex(text, r"roof +[\d.]+ TFLOP/s \(f32 multiply-adds, .* threads\)\n")
        self.assertRegex(text, r"mask_mod +q_idx >= kv_idx\n")
        self.assertEqual(len(re.findall(r"^ +(?:32 +32|64 +64) ", text, re.MULTILINE)), 2, text)
        self.assertNotIn("of roof", self.attnc("bench", *quick("--q-len", "32", "--no-roof")).out)

    def test_time_limits_runs(self):
        row = self.attnc("bench", "--heads", "1", "--q-len", "16", "--time-ms", "20", "--no-roof", "--json").json()["rows"][0]
        self.assertGreaterEqual(row["runs"], 5)

    def test_what_the_user_gets_wrong(self):
        refused = lambda *arguments, saying: self.refused("bench", *arguments, saying=saying)  # noqa: E731
        refused("--score-mod", "scor * 2", saying="score_mod:1:1: unknown name 'scor'; did you mean 'score'?\n  1 | scor * 2\n    | ^~~~\n")
        for lengths in ("", "0", "-5", "4,", ",4", "4,,5", "4x", "99999999999"):
            refused("--q-len", lengths, saying="--q-len")
        refused("--q-len", "4,5,6", "--kv-len", "4,5", saying=["--kv-len '4,5': it has 2 lengths and --q-len has 3"])
        refused("--heads", "6", "--kv-heads", "4", saying="--heads 6 and --kv-heads 4")
        refused("--b", "0", saying="--batch 0: it must be at least 1")
        refused("--head-dim", "300", saying="300")
        refused("--dtype", "f64", saying="--dtype")
        refused("--repeats", "0", saying="--repeats")
        refused("--mask-mod", "q_idx >= kv_idx", "--element-bits", "always", saying="--element-bits: only blocks of --block-size")
        refused("--mask-mod", "q_idx >= kv_idx", "--block-size", "128", "--element-bits", "maybe", saying="auto, always or never")
        refused("--block-size", "64", saying="--block-size: there is no --mask-mod")
        refused("--mask-mod", "q_idx >= kv_idx", "--block-size", "60", "--no-roof", saying="60")
        refused("--device", "gpu", saying="--device 'gpu'")
        refused("--mask-mod", "doc[q_idx] == 1", "--buffer", "doc", saying="there is no --in file")
        refused("--mask-mod", "doc[q_idx] == 1", "--buffer", "doc:i31/1", saying="NAME:DTYPE/RANK")
        refused("--portable", "--b", "1", "--heads", "1", saying="--portable")

    def test_help_teaches(self):
        text = self.attnc("bench", "--help").out
        self.assertIn("attnc bench --device cuda", text)
        self.assertIn("attnc tune --q-len", self.attnc("tune", "--help").out)


class Tune(CliTest):
    def test_the_cpu_has_no_candidates(self):
        self.refused("tune", "--device", "cpu", "--q-len", "64", saying="the CPU backend has one plan")

    def test_what_the_user_gets_wrong(self):
        self.refused("tune", "--score-mod", "score +", saying="expected a value, found the end")
        self.refused("tune", "--device", "cuda", "--head-dim", "0", saying="head_dim")

    def test_without_a_gpu(self):
        if self.attnc("doctor", "--json").json()["cuda"]["ok"]:
            self.skipTest("there is a GPU")
        self.refused("tune", "--q-len", "64", saying="no NVIDIA driver", expect=3)
        self.refused("bench", "--device", "cuda", "--q-len", "64", saying="no NVIDIA driver", expect=3)


class Gpu(CliTest):
    def setUp(self):
        super().setUp()
        finding = self.attnc("doctor", "--json").json()["cuda"]
        if not finding["ok"]:
            self.skipTest(finding["text"])

    def bench(self, *arguments):
        return self.attnc("bench", "--device", "cuda", "--heads", "4", "--q-len", "512", "--repeats", "5", "--json", *arguments).json()

    def test_a_row_has_roof_and_plan(self):
        report = self.bench("--score-mod", "30 * tanh(score / 30)")
        self.assertEqual(report["dtype"], "bf16")
        self.assertGreater(report["roof"]["copy_gbps"], 0)
        (row,) = report["rows"]
        self.assertTrue(0 < row["roof_percent"] < 100, row)
        self.assertTrue(row["plan"].startswith("TilePlan("), row["plan"])

    def test_the_portable_kernel_can_be_asked_for(self):
        self.assertIn("family=sm80", self.bench("--no-roof", "--portable")["rows"][0]["plan"])

    def test_what_tune_remembers_is_used(self):
        variant = ("--score-mod", "score * 0.5", "--mask-mod", "q_idx >= kv_idx")
        arguments = ("tune", "--heads", "4", "--q-len", "512", "--repeats", "5", "--json", *variant)
        self.assertFalse(self.attnc(*arguments, "--dry-run").json()["remembered"])
        self.assertNotIn("tuned", self.bench("--no-roof", *variant)["rows"][0]["plan"])
        report = self.attnc(*arguments).json()
        self.assertTrue(report["remembered"])
        self.assertGreaterEqual(len(report["candidates"]), 2)
        for candidate in report["candidates"]:
            self.assertNotIn("problem", candidate)
        winner = report["candidates"][report["winner"]]["plan"]
        self.assertEqual(self.bench("--no-roof", *variant)["rows"][0]["plan"], winner + ", tuned")
        self.attnc("cache", "clear")
        self.assertNotIn("tuned", self.bench("--no-roof", *variant)["rows"][0]["plan"])


if __name__ == "__main__":
    harness.main()
