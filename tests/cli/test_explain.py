# SPDX-License-Identifier: Apache-2.0
"""attnc explain, doctor and the help."""
import re
import unittest

import harness
from harness import CliTest, normal


class Explain(CliTest):
    def test_ir(self):
        text = self.attnc("explain", "--score-mod", "cap * tanh(score / cap)", "--param", "cap=30.0").out
        self.assertIn("param cap f32 = 30", text)
        self.assertIn("tanh f32", text)
        self.assertRegex(text, r"score %\d+\n")

    def test_names_do_not_change_the_signature(self):
        signatures = {
            self.attnc("explain", "--score-mod", f"{name} * tanh(score / {name})", "--param", f"{name}={value}", "--emit", "signature",
                       "--target", "cpu").out
            for name, value in (("cap", "30.0"), ("c", "50.0"))
        }
        self.assertEqual(len(signatures), 1, "names and values of parameters are not part of a kernel")
        self.assertNotEqual(signatures, {self.attnc("explain", "--score-mod", "30 * tanh(score / 30)", "--emit", "signature", "--target", "cpu").out})

    def test_placement_names_levels(self):
        text = self.attnc("explain", "--mask-mod", "abs(q_idx / 56 - kv_idx / 56) < 5", "--emit", "placement").out
        self.assertRegex(text, r"div i32 .*; row")
        self.assertRegex(text, r"div i32 .*; column")
        self.assertRegex(text, r"lt bool .*; element")

    def test_stages_of_the_cpu(self):
        self.assertIn("define", self.attnc("explain", "--score-mod", "score * 2", "--emit", "llvm", "--target", "cpu").out)
        self.assertGreater(len(self.attnc("explain", "--score-mod", "score * 2", "--emit", "plan", "--target", "cpu").out), 20)

    def test_declared_buffers(self):
        text = self.attnc("explain", "--score-mod", "score + bias[b, h, q_idx, kv_idx]", "--buffer", "bias:f16/4").out
        self.assertIn("buffer bias f16 rank 4", text)

    def test_arguments_of_run_and_mask(self):
        self.write("in.safetensors", {"q": normal("BF16", 1, 1, 2, 32), "k": normal("BF16", 1, 1, 2, 32), "v": normal("BF16", 1, 1, 2, 64),
                                      "doc": ("I32", [2], bytes(8))})
        text = self.attnc("explain", "--in", "in.safetensors", "--out", "x", "--score-mod", "score * 2", "--mask-mod", "doc[q_idx] == 0",
                          "--buffer", "doc", "--lse", "--block-size", "64x64", "--scale", "1", "--check", "--timing", "--device", "cpu", "--emit", "signature").out
        self.assertIn("bf16", text)
        self.attnc("explain", "--mask-mod", "true", "--q-len", "5", "--kv-len", "6", "--batch", "1", "--heads", "2", "--png", "x.png")
        self.assertEqual(self.files(), ["in.safetensors"])

    def test_json(self):
        out = self.attnc("explain", "--score-mod", "score * 2", "--json").json()
        self.assertEqual(out["emit"], "ir")
        self.assertIn("mul f32", out["text"])


class Doctor(CliTest):
    def test_text(self):
        text = self.attnc("doctor").out
        for finding in ("attnc  ", "cuda  ", "nvrtc  ", "kernel_cache  "):
            self.assertIn(finding, text)

    def test_json(self):
        out = self.attnc("doctor", "--json").json()
        self.assertTrue(out["attnc"]["ok"])
        self.assertRegex(out["attnc"]["version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual(out["cuda"]["ok"], bool(out["cuda"]["devices"]))
        self.assertTrue(out["kernel_cache"]["ok"])
        if "llvm" in out:
            self.assertTrue(out["cpu_backend"]["ok"], out)


class Help(CliTest):
    def test_every_subcommand_teaches_by_example(self):
        names = re.findall(r"^  (\w+)  +", self.attnc("--help").out.split("Subcommands:")[1], re.MULTILINE)
        self.assertGreaterEqual(len(names), 4)
        for name in names:
            text = self.attnc(name, "--help").out
            self.assertGreaterEqual(text.split("Examples:")[1].count(f"attnc {name}"), 2, name)

    def test_version(self):
        self.assertRegex(self.attnc("--version").out, r"^attnc \d+\.\d+\.\d+\n$")


if __name__ == "__main__":
    harness.main()
