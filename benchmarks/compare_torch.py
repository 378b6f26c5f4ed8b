#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""attnc beside PyTorch's attention in one process on one GPU: SDPA's cuDNN and FlashAttention-2 backends, and compiled
FlexAttention (default, and with tanh.approx for soft-capping; --tuned adds max-autotune).

  python3 benchmarks/compare_torch.py dense variants seeds --out benchmarks/results/h200.json

Each time is the median of triton.testing.do_bench (CUDA events, L2 flushed), in ms; inputs are random normal bf16. A row also
checks attnc's result against the peer's, so that no wrong kernel is timed. TFLOP/s counts 4 B H Sq Skv D (half for causal).
"""
import argparse
import functools
import json
import os
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from triton.testing import do_bench

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import attnc_ctypes as attnc  # noqa: E402

torch._dynamo.config.cache_size_limit = 1000
torch._dynamo.config.recompile_limit = 1000

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("parts", nargs="+", choices=["dense", "variants", "seeds", "masks"])
parser.add_argument("--out", help="JSON file for the rows, with machine, versions, commit and command")
parser.add_argument("--budget", type=float, default=500, help="seconds after which remaining rows are skipped, and said so")
parser.add_argument("--no-flex", action="store_true", help="leave FlexAttention out (it takes seconds to compile each)")
parser.add_argument("--tuned", action="store_true", help="also FlexAttention with max-autotune (6 to 18 s each)")
parser.add_argument("--rep", type=int, default=100, help="milliseconds of repetitions per timing")
parser.add_argument("--dims", type=int, nargs="+", default=[64, 128, 256])
parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096, 16384])
args = parser.parse_args()

START = time.time()
rows = []
skipped = 0


def median_ms(f):
    return float(do_bench(f, warmup=25, rep=args.rep, return_mode="median"))


def qkv(B, H, S, D, Hkv=None):
    make = lambda heads: torch.randn(B, heads, S, D, device="cuda", dtype=torch.bfloat16)
    return make(H), make(Hkv or H), make(Hkv or H)


def sdpa(backend, causal=False, gqa=False):
    def run(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=gqa)
    return run


def flex(tuned=False, **kw):
    options = {"mode": "max-autotune-no-cudagraphs"} if tuned else {}
    return torch.compile(functools.partial(flex_attention, **kw), dynamic=False, **options)


def compare(name, shape, ours, peers, flops, Hkv=None):
    """ours(q, k, v) and each of peers {name: f(q, k, v)}. The first peer is the reference for correctness."""
    global skipped
    B, H, S, D = shape
    if time.time() - START > args.budget:
        skipped += 1
        return
    q, k, v = qkv(B, H, S, D, Hkv)
    row = {"name": name, "B": B, "H": H, "Hkv": Hkv or H, "S": S, "D": D}
    expected = None
    times = {}
    for peer, f in peers.items():
        try:
            result = f(q, k, v)
            expected = result if expected is None else expected
            times[peer] = median_ms(lambda: f(q, k, v))
        except Exception as problem:  # a peer that cannot do it is reported, not hidden
            row[peer + "_error"] = str(problem).split("\n")[0][:120]
    try:
        start = time.time()
        out = ours(q, k, v)
        torch.cuda.synchronize()
        row["attnc_first_s"] = round(time.time() - start, 3)
        if expected is not None:
            row["max_difference"] = float((out.float() - expected.float()).abs().max())
            row["ok"] = row["max_difference"] < 0.05
        result = torch.empty_like(out)
        times["attnc"] = median_ms(lambda: ours(q, k, v))
    except Exception as problem:
        row["attnc_error"] = str(problem)[:300]
    for who, ms in times.items():
        row[who + "_ms"] = round(ms, 5)
        row[who + "_tflops"] = round(flops / ms / 1e9, 1)
    if "attnc" in times:
        for who in times:
            if who != "attnc":
                row["vs_" + who] = round(times[who] / times["attnc"], 3)
    rows.append(row)
    shown = " ".join(f"{w}={t:.4f}ms/{flops / t / 1e9:.0f}" for w, t in times.items())
    ratios = " ".join(f"{key}={value}" for key, value in row.items() if key.startswith("vs_"))
    print(f"{name:<28} B{B} H{H} S{S} D{D} | {shown} | {ratios} | ok={row.get('ok')} {row.get('attnc_error', '')}", flush=True)
    del q, k, v
    torch.cuda.empty_cache()


CAUSAL = "q_idx >= kv_idx"
causal_torch = lambda b, h, q, k: q >= k


def dense():
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    b = torch.randn_like(a)
    ms = median_ms(lambda: a @ b)
    rows.append({"name": "gemm_8192", "ms": ms, "tflops": 2 * 8192**3 / ms / 1e9})
    print(f"roof: bf16 GEMM 8192^3 at {rows[-1]['tflops']:.0f} TFLOP/s", flush=True)
    del a, b
    for S in args.lengths:
        for D in args.dims:
            H, B = 2048 // D, max(1, 16384 // S)
            for causal in (False, True):
                flops = 4 * B * H * S * S * D * (0.5 if causal else 1)
                ours = attnc.Attention(mask_mod=CAUSAL if causal else None, head_dim=D)
                peers = {"cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, causal), "fa2": sdpa(SDPBackend.FLASH_ATTENTION, causal)}
                compare("causal" if causal else "dense", (B, H, S, D), ours, peers, flops)


def tanh_approx():
    """torch.tanh through tanh.approx.f32: FlexAttention's fastest soft-cap."""
    from torch._inductor.lowering import make_pointwise, register_lowering
    from torch._inductor.virtualized import ops

    @torch.library.custom_op("attnc_bench::tanh_approx", mutates_args=())
    def op(x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x)

    @op.register_fake
    def _(x):
        return torch.tanh(x)

    register_lowering(torch.ops.attnc_bench.tanh_approx)(
        lambda x: make_pointwise(functools.partial(ops.inline_asm_elementwise, asm="tanh.approx.f32 $0, $1;"))(x))

    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(x):
            return torch.ops.attnc_bench.tanh_approx(x)

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def vmap(info, in_dims, x):
            return torch.ops.attnc_bench.tanh_approx(x), in_dims[0]

    return Tanh.apply


def flex_peers(**kw):
    if args.no_flex:
        return {}
    peers = {"flex": flex(**kw)}
    if args.tuned:
        peers["flex_tuned"] = flex(tuned=True, **kw)
    return peers


def variants():
    B, H, S = 2, 16, 8192
    fast_tanh = tanh_approx()
    soft = lambda s, b, h, q, k: 30 * fast_tanh(s / 30)
    softcap = "30.0 * tanh(score / 30.0)"
    slopes = torch.exp2(-8.0 * (torch.arange(H, device="cuda", dtype=torch.float32) + 1) / H)
    generator = torch.Generator().manual_seed(0)
    cuts = torch.sort(torch.randperm(S - 1, generator=generator)[:11] + 1).values
    doc = torch.zeros(S, dtype=torch.int32)
    doc[cuts] = 1
    doc = doc.cumsum(0).to(torch.int32).cuda()
    bias = torch.randn(2 * S, device="cuda", dtype=torch.bfloat16)
    block_mask = lambda f: create_block_mask(f, None, None, S, S, device="cuda")
    causal_mask = block_mask(causal_torch)
    for D in [d for d in args.dims if d <= 128]:
        shape, flops = (B, H, S, D), 4 * B * H * S * S * D
        def row(name, torch_kw, flops=flops, Hkv=None, **ours):
            compare(name, shape, attnc.Attention(head_dim=D, **ours), flex_peers(**torch_kw), flops, Hkv)
        row("noop", {})
        row("softcap", {"score_mod": soft}, score_mod=softcap)
        row("causal", {"block_mask": causal_mask}, flops / 2, mask_mod=CAUSAL)
        row("causal_softcap", {"score_mod": soft, "block_mask": causal_mask}, flops / 2, score_mod=softcap, mask_mod=CAUSAL)
        row("causal_alibi", {"score_mod": lambda s, b, h, q, k: s + slopes[h] * (k - q), "block_mask": causal_mask}, flops / 2,
            score_mod="score + slope[h] * (kv_idx - q_idx)", mask_mod=CAUSAL, buffers={"slope": slopes})
        row("relative_bias", {"score_mod": lambda s, b, h, q, k: s + bias[q - k + S]},
            score_mod="score + bias[q_idx - kv_idx + 8192]", buffers={"bias": bias})
        row("window1024", {"block_mask": block_mask(lambda b, h, q, k: (q >= k) & (q - k < 1024))},
            mask_mod="q_idx >= kv_idx && q_idx - kv_idx < 1024")
        row("prefix2048", {"block_mask": block_mask(lambda b, h, q, k: (q >= k) | (k < 2048))},
            mask_mod="kv_idx < 2048 || q_idx >= kv_idx")
        row("documents12_causal", {"block_mask": block_mask(lambda b, h, q, k: (doc[q] == doc[k]) & (q >= k))},
            mask_mod="doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx", buffers={"doc": doc})
        row("causal_gqa4", {"block_mask": causal_mask, "enable_gqa": True}, flops / 2, Hkv=4, mask_mod=CAUSAL)


def seeds():
    B, H, S, D = 8, 12, 3136, 64
    shape, flops = (B, H, S, D), 4 * B * H * S * S * D
    fast_tanh = tanh_approx()
    soft = lambda s, b, h, q, k: 30 * fast_tanh(s / 30)
    neighborhood = lambda b, h, q, k: ((q // 56 - k // 56).abs() < 5) & ((q % 56 - k % 56).abs() < 5)
    text = "abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5"
    compare("seed_dense", shape, attnc.Attention(head_dim=D), {"cudnn": sdpa(SDPBackend.CUDNN_ATTENTION)}, flops)
    compare("seed_softcap", shape, attnc.Attention(head_dim=D, score_mod="30.0 * tanh(score / 30.0)"),
            flex_peers(score_mod=soft), flops)
    compare("seed_neighborhood", shape, attnc.Attention(head_dim=D, mask_mod=text),
            flex_peers(block_mask=create_block_mask(neighborhood, None, None, S, S, device="cuda")), flops)


def masks():
    """Building block tables, against compiled create_block_mask."""
    global skipped
    for S in (8192, 131072):
        doc = (torch.arange(S, device="cuda") // 1000).to(torch.int32)
        cases = {"causal": (causal_torch, CAUSAL, None),
                 "documents_causal": (lambda b, h, q, k: (doc[q] == doc[k]) & (q >= k),
                                      "doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx", {"doc": doc})}
        for name, (torch_mask, text, buffers) in cases.items():
            if time.time() - START > args.budget:
                skipped += 1
                continue
            row = {"name": "block_mask_" + name, "S": S}
            def timed(f):
                start = time.time()
                f()
                torch.cuda.synchronize()
                first, times = time.time() - start, []
                for _ in range(7):
                    start = time.time()
                    f()
                    torch.cuda.synchronize()
                    times.append(time.time() - start)
                return first, sorted(times)[3] * 1e3
            if not args.no_flex:
                make = torch.compile(create_block_mask, dynamic=False)
                row["flex_first_s"], row["flex_ms"] = timed(lambda: make(torch_mask, None, None, S, S, device="cuda"))
            try:
                row["attnc_first_s"], row["attnc_ms"] = timed(lambda: attnc.BlockMask(text, S, S, buffers=buffers))
                if "flex_ms" in row:
                    row["vs_flex"] = row["flex_ms"] / row["attnc_ms"]
            except Exception as problem:
                row["attnc_error"] = str(problem)[:300]
            rows.append(row)
            print(row, flush=True)


def save():
    """Written after every part, so that a run cut short still leaves its rows."""
    properties = torch.cuda.get_device_properties(0)
    shell = lambda c: subprocess.run(c, shell=True, capture_output=True, text=True).stdout.strip()
    record = {"gpu": properties.name, "sms": properties.multi_processor_count,
              "driver": shell("nvidia-smi --query-gpu=driver_version --format=csv,noheader"), "torch": torch.__version__,
              "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
              "attnc": attnc.lib.attnc_version().decode(),
              "commit": os.environ.get("ATTNC_COMMIT") or shell("git rev-parse --short HEAD"), "date": time.strftime("%Y-%m-%d"),
              "command": "python3 benchmarks/compare_torch.py " + " ".join(sys.argv[1:]), "rows_skipped_for_time": skipped,
              "rows": rows}
    if args.out:
        with open(args.out, "w") as f:
            json.dump(record, f, indent=1)


for part in args.parts:
    globals()[part]()
    save()

bad = [r["name"] for r in rows if r.get("ok") is False or "attnc_error" in r]
print(f"{len(rows)} rows, {len(bad)} wrong or failed {bad}, {skipped} skipped for time")
sys.exit(1 if bad else 0)
