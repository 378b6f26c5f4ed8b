# SPDX-License-Identifier: Apache-2.0
"""Everything the user can get wrong: status 2, the reason, and nothing left behind."""
import os
import resource
import signal
import unittest

import harness
from harness import CliTest, normal


class BadInput(CliTest):
    def setUp(self):
        super().setUp()
        self.write("in.safetensors", {
            "q": normal("F32", 1, 4, 6, 16), "k": normal("F32", 1, 2, 8, 16), "v": normal("F32", 1, 2, 8, 16),
            "k3": normal("F32", 1, 3, 8, 16), "k_short": normal("F32", 1, 2, 7, 16), "k_wide": normal("F32", 1, 2, 8, 32),
            "k_batch": normal("F32", 2, 2, 8, 16), "k_half": normal("F16", 1, 2, 8, 16), "flat": normal("F32", 6, 16),
            "whole": ("I32", [1, 2, 8, 16], bytes(4 * 256)), "double": normal("F64", 1, 2, 8, 16), "doc": ("I32", [8], bytes(32)),
            "deep": ("U8", [1, 1, 1, 1, 1, 1], b"\0"), "wide": normal("F32", 1, 1, 2, 320),
        })

    def run_refused(self, *arguments, saying, expect=2, out="out.safetensors"):
        return self.refused("run", "--in", "in.safetensors", "--out", out, *arguments, saying=saying, expect=expect)

    def test_commands(self):
        self.refused(saying="subcommand is required")
        self.refused("ruin", saying="there is no subcommand 'ruin'; there are run, mask, explain")
        self.refused("run", saying="--in is required")
        self.refused("run", "--in", "in.safetensors", saying="--out is required")
        self.refused("run", "--in", "x", "--out", "y", "--banana", saying="--banana")
        self.refused("mask", "--q-len", "5", saying="--mask-mod is required")
        self.refused("mask", "--mask-mod", "true", saying="--q-len is required")
        self.refused("mask", "--mask-mod", "true", "--q-len", "many", saying="--q-len")
        self.refused("explain", "--emit", "soul", saying="soul")

    def test_expressions_have_carets(self):
        self.run_refused("--score-mod", "cap * tanh(scor / cap)", "--param", "cap=30.0",
                         saying="attnc: score_mod:1:12: unknown name 'scor'; did you mean 'score'?\n"
                                "  1 | cap * tanh(scor / cap)\n"
                                "    |            ^~~~\n")
        self.run_refused("--mask-mod", "score > 0", saying="a mask does not see 'score'")
        self.run_refused("--mask-mod", "q_idx >=", saying="expected a value, found the end")
        self.run_refused("--score-mod", "score % 2", saying="works on integers")
        self.run_refused("--score-mod", "b" + "+b" * 40000, saying="over the limit of 65536")
        self.run_refused("--score-mod", "(" * 300, saying="nested deeper than 256 levels")
        self.refused("mask", "--mask-mod", "q_idx >= kv_idx and true", "--q-len", "5", saying="'and' is spelled '&&' here")
        self.refused("explain", "--score-mod", "window", saying="names come from --param NAME=VALUE and --buffer NAME[=TENSOR]")

    def test_parameters(self):
        for value, saying in (
            ("cap", "there is no '='"), ("=1", "is no name"), ("a b=1", "is no name"), ("cap=", "'' is no value"), ("cap=high", "'high' is no value"),
            ("cap:f16=1", "there is no type 'f16'"), ("cap:i32=1.5", "'1.5' is no i32"), ("cap:i32=3000000000", "outside i32"),
            ("cap:bool=2", "is no bool"), ("cap:f32=1e60", "outside f32"), ("cap:i64=99999999999999999999", "is no i64"),
        ):
            self.run_refused("--score-mod", "score * cap", "--param", value, saying=["--param '" + value + "'", saying])
        self.run_refused("--score-mod", "score", "--param", "cap=1", saying="--param cap: no expression reads it")
        self.run_refused("--score-mod", "score * cap", "--param", "cap=1", "--param", "cap=2", saying="'cap' needs another name")
        self.run_refused("--score-mod", "score * tanh", "--param", "tanh=1", saying="'tanh' needs another name")

    def test_buffers(self):
        self.run_refused("--mask-mod", "dok[q_idx] == 0", "--buffer", "dok", saying=["--buffer 'dok': there is no tensor 'dok'", "'doc' I32 [8]"])
        self.run_refused("--mask-mod", "doc[q_idx] == 0", saying="unknown buffer 'doc'")
        self.run_refused("--mask-mod", "doc[q_idx, 1] == 0", "--buffer", "doc", saying="buffer 'doc' has rank 1, got 2 indices")
        self.run_refused("--mask-mod", "true", "--buffer", "doc", saying="--buffer doc: no expression reads it")
        self.run_refused("--mask-mod", "true", "--buffer", "deep", saying="has rank 6; a buffer has at most 5")
        self.run_refused("--mask-mod", "true", "--buffer", "double", saying="is F64, which attnc does not read")
        self.run_refused("--mask-mod", "true", "--buffer", "1x=doc", saying="is no name")
        self.refused("mask", "--mask-mod", "doc[q_idx] == 0", "--buffer", "doc", "--q-len", "5", saying="there is no --in file")
        self.refused("explain", "--mask-mod", "doc[q_idx] == 0", "--buffer", "doc:i33", saying="NAME:DTYPE/RANK")

    def test_tensors(self):
        self.run_refused("--q", "query", saying=["--q: there is no tensor 'query' in in.safetensors", "'q' F32 [1, 4, 6, 16]"])
        self.run_refused("--q", "flat", saying="has rank 2 (shape [6, 16]); it must have rank 4")
        self.run_refused("--k", "whole", saying="is I32; attention works on F32, F16 and BF16")
        self.run_refused("--k", "double", saying="is F64")
        self.run_refused("--k", "k_half", saying="q, k and v are f32, f16 and f32; they must have one dtype")
        self.run_refused("--k", "k3", "--v", "k3", saying="the heads of q must be a multiple of those of k and v")
        self.run_refused("--v", "k3", saying="k and v must have equally many heads")
        self.run_refused("--k", "k_short", saying="k and v must be equally long")
        self.run_refused("--k", "k_wide", saying="q and k must have one head dimension")
        self.run_refused("--k", "k_batch", saying="their batches must be equal")
        self.run_refused("--q", "wide", "--k", "wide", "--v", "wide", saying="head_dim is 320; it must be 1 to 256")

    def test_options(self):
        self.run_refused("--device", "tpu", saying="--device 'tpu'")
        self.run_refused("--device", "cuda:x", saying="--device 'cuda:x'")
        self.run_refused("--block-size", "big", "--mask-mod", "true", saying="write QxKV")
        self.run_refused("--block-size", "10x10", "--mask-mod", "q_idx > 1", saying="10")
        self.run_refused("--element-bits", "some", "--mask-mod", "q_idx > 1", saying="auto, always or never")
        self.run_refused("--element-bits", "never", "--mask-mod", "q_idx > 1", "--block-size", "none", saying="--element-bits")
        self.run_refused("--scale", "wide", saying="--scale")
        self.run_refused("--scale", "inf", saying="scale is inf; it must be finite")
        self.run_refused("--check", "0", saying="--check '0'")
        self.run_refused("--check", "few", saying="--check 'few'")
        self.refused("mask", "--mask-mod", "true", "--q-len", "-5", saying="-5")
        self.refused("mask", "--mask-mod", "true", "--q-len", "5", "--batch", "0", saying="--batch 0")
        self.refused("mask", "--mask-mod", "true", "--q-len", "5", "--show-h", "1", saying="--show-h 1: it must be 0 to 0")
        self.refused("mask", "--mask-mod", "true", "--q-len", "0", "--png", "x.png", saying="nothing to draw")
        self.refused("explain", "--target", "avr", saying="--target 'avr'")

    def test_no_such_device(self):
        if os.path.exists("/dev/nvidiactl"):
            self.skipTest("there is a GPU")
        self.run_refused("--device", "cuda", saying="driver", expect=3)
        self.run_refused("--device", "cuda:7", saying="", expect=3)

    def test_outputs(self):
        self.run_refused(out="missing/out.safetensors", saying="--out missing/out.safetensors: cannot create a file there: No such file")
        self.run_refused(out=".", saying="is a folder, not a file")
        self.run_refused(out="/dev/null", saying="is a device or pipe, not a file")
        self.run_refused(out="in.safetensors/x", saying="Not a directory")
        self.run_refused(out="", saying="--out: the path is empty")
        self.refused("mask", "--mask-mod", "true", "--q-len", "5", "--png", "missing/x.png", saying="--png missing/x.png")

    def test_a_folder_that_takes_no_files(self):
        if os.geteuid() == 0:
            self.skipTest("root may write everywhere")
        os.mkdir(self.path("closed"), 0o500)
        self.run_refused(out="closed/x", saying="Permission denied")

    def test_a_write_that_fails_leaves_the_old_file(self):
        if "TSAN_OPTIONS" in os.environ:
            self.skipTest("ThreadSanitizer itself writes large files")
        with open(self.path("out.safetensors"), "w") as file:
            file.write("precious")

        def no_large_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

        self.refused("run", "--in", "in.safetensors", "--out", "out.safetensors", saying="--out out.safetensors: cannot write: File too large",
                     preexec=no_large_files)
        self.assertEqual(self.content("out.safetensors"), b"precious")


if __name__ == "__main__":
    harness.main()
