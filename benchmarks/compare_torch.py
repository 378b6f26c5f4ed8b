#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""attnc beside PyTorch's attention in one process on one GPU: SDPA's cuDNN and FlashAttention-2 backends, and compiled
FlexAttention (default; for soft-capping with tanh.approx, and as flex_exact with torch.tanh; --tuned adds max-autotune).

  python3 benchmarks/compare_torch.py dense variants seeds decode masks --out benchmarks/results/h200.json --plot
  python3 benchmarks/compare_torch.py dense --full --out benchmarks/results/h200_dense.json

The contenders of a row take turns launch by launch, so that a clock that drifts meets all of them; each time is the median of
CUDA events around one call, in ms, with the L2 cache overwritten before. Inputs are random normal bf16. "attnc" is whatever
kernel the library picks; "portable" is its portable kernel, which on Hopper takes what the bulk tensor copy engine cannot
(here: batches or heads laid out from last to first). A row also checks both against the first peer, relative to its norm, so
that no wrong kernel is timed. Rows of decode give GB/s of q, k, v and output instead. TFLOP/s counts 4 B H Sq Skv D (half for
causal). The rows of dense and causal have
16384 tokens a batch (32768 for the longest) and 2048 / D heads, rounded down.
"""
import argparse
import concurrent.futures
import functools
import json
import os
import statistics
import subprocess
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import attnc_ctypes as attnc  # noqa: E402

torch._dynamo.config.cache_size_limit = 1000
torch._dynamo.config.recompile_limit = 1000
torch.manual_seed(0)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("parts", nargs="+", choices=["dense", "variants", "seeds", "decode", "masks"])
parser.add_argument("--out", help="JSON file for the rows, with machine, versions, commit and command")
parser.add_argument("--plot", action="store_true", help="draw --out beside itself (plot_results.py; needs matplotlib)")
parser.add_argument("--budget", type=float, default=140, help="seconds after which remaining rows are skipped, and said so")
parser.add_argument("--no-flex", action="store_true", help="leave FlexAttention out (it takes seconds to compile each)")
parser.add_argument("--no-portable", action="store_true", help="leave the portable kernel out")
parser.add_argument("--tuned", nargs="*", choices=["variants", "seeds"], metavar="PART",
                    help="also FlexAttention with max-autotune (6 to 18 s each): in variants, seeds; no PART: in both")
parser.add_argument("--only", nargs="+", metavar="ROW", help="rows of these names only, as window1024 (all of masks)")
parser.add_argument("--rep", type=float, default=60, help="milliseconds of repetitions per contender of a row")
grid = parser.add_mutually_exclusive_group()
grid.add_argument("--quick", action="store_true", help="head dimensions 64 and 128, lengths 1024, 4096, 16384: the default")
grid.add_argument("--full", action="store_true", help="head dimensions 64 to 256, lengths 512 to 32768; give more --budget")
parser.add_argument("--dims", type=int, nargs="+", help="head dimensions; variants take 64 and 128 of them")
parser.add_argument("--lengths", type=int, nargs="+", help="lengths of dense")
args = parser.parse_args()
args.dims = args.dims or ([64, 96, 128, 192, 256] if args.full else [64, 128])
args.lengths = args.lengths or ([512, 1024, 2048, 4096, 8192, 16384, 32768] if args.full else [1024, 4096, 16384])

tuned_parts = {"variants", "seeds"} if args.tuned == [] else set(args.tuned or [])

START = time.time()
HOPPER = torch.cuda.get_device_capability() == (9, 0)
MOST_ERROR = 0.02  # of the norm; two right bf16 kernels differ by 0.003 to 0.006
rows = []
names = set()  # of all rows of the parts, left out or not
skipped = 0
compilers = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
l2_flush = torch.empty(256 << 20, dtype=torch.int8, device="cuda")


def take_turns(contenders):
    """Median ms of each {name: f()}, all warm already."""
    def run(f):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        l2_flush.zero_()  # the host runs ahead while the device does this
        start.record()
        f()
        end.record()
        return start, end
    def elapsed(pairs):
        torch.cuda.synchronize()
        return [start.elapsed_time(end) for start, end in pairs]
    estimate = sum(elapsed([run(f) for f in contenders.values() for _ in range(2)])[1::2])
    rounds = min(100, max(9, int(args.rep * len(contenders) / max(estimate, 1e-3))))
    events = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, f in contenders.items():
            events[name].append(run(f))
    return {name: statistics.median(elapsed(pairs)) for name, pairs in events.items()}


def qkv(B, H, S, D, Hkv=None, q_len=None):
    make = lambda heads, length: torch.randn(B, heads, length, D, device="cuda", dtype=torch.bfloat16)
    return make(H, q_len or S), make(Hkv or H, S), make(Hkv or H, S)


def sdpa(backend, causal=False, grouped=False):
    def run(q, k, v):
        with sdpa_kernel(backend):
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=grouped)
    return run


def flex(tuned=False, **kw):
    options = {"mode": "max-autotune-no-cudagraphs"} if tuned else {}
    return torch.compile(functools.partial(flex_attention, **kw), dynamic=False, **options)


def attention(**kw):
    """An attnc.Attention whose kernels are being compiled by other threads."""
    made = attnc.Attention(**kw)
    made.compiling = compilers.submit(made.prepare)
    return made


def compare(name, shape, ours, peers, flops, Hkv=None, q_len=None):
    """ours(q, k, v) and each of peers {name: f(q, k, v)}. The first peer is the reference for correctness. With q_len, S is the
    length of k and v alone, and rates are in GB/s."""
    global skipped
    B, H, S, D = shape
    names.add(name)
    if args.only and name not in args.only:
        return
    if time.time() - START > args.budget:
        skipped += 1
        return
    q, k, v = qkv(B, H, S, D, Hkv, q_len)
    row = {"name": name, "part": part, "B": B, "H": H, "Hkv": Hkv or H, "S": S, "D": D}
    unit, work = "tflops", flops / 1e9
    if q_len:
        row["q_len"] = q_len
        unit, work = "gbps", (2 * q.nbytes + k.nbytes + v.nbytes) / 1e6
    contenders = {who: functools.partial(f, q, k, v) for who, f in peers.items()}
    contenders["attnc"] = lambda: ours(q, k, v)
    if HOPPER and not args.no_portable and not q_len and (B > 1 or min(H, Hkv or H) > 1):
        contenders["portable"] = lambda: ours(q, k, v, portable=True)
    expected = None
    for who in list(contenders):
        try:
            if who == "attnc":
                ours.compiling.result()
            start = time.time()
            result = contenders[who]()
            torch.cuda.synchronize()
            if who.startswith("flex"):
                row[who + "_first_s"] = round(time.time() - start, 3)
            if who in peers:
                expected = result if expected is None else expected
            elif expected is not None:
                error = float((result.float() - expected.float()).norm() / expected.float().norm())
                row[who + "_error_of_norm"] = round(error, 6)
                row["ok"] = row.get("ok", True) and error < MOST_ERROR
        except Exception as problem:  # what a contender cannot do is reported, not hidden
            row[who + "_error"] = str(problem).split("\n")[0][:300]
            del contenders[who]
    for who, ms in take_turns(contenders).items():
        row[who + "_ms"] = round(ms, 5)
        row[f"{who}_{unit}"] = round(work / ms, 1)
    for us in ("attnc", "portable"):
        for who in contenders:
            if us in contenders and who not in ("attnc", "portable"):
                row[f"{us}_vs_{who}"] = round(row[who + "_ms"] / row[us + "_ms"], 3)
    flex_best = min((row[who + "_ms"] for who in ("flex", "flex_tuned") if who in contenders), default=None)
    for us in ("attnc", "portable"):
        if flex_best is not None and us in contenders:
            row[us + "_vs_flex_best"] = round(flex_best / row[us + "_ms"], 3)
    rows.append(row)
    shown = " ".join(f"{who}={row[who + '_ms']:.4f}ms/{row[f'{who}_{unit}']:.0f}" for who in contenders)
    ratios = " ".join(f"{key}={value}" for key, value in row.items() if "_vs_" in key)
    problems = " ".join(f"{key}: {value}" for key, value in row.items() if key.endswith("_error"))
    print(f"{name:<20} B{B} H{H} S{S} D{D} | {shown} | {ratios} | ok={row.get('ok')} {problems}", flush=True)
    del q, k, v, contenders, expected
    torch.cuda.empty_cache()


CAUSAL = "q_idx >= kv_idx"
causal_torch = lambda b, h, q, k: q >= k


def dense():
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    b = torch.randn_like(a)
    for _ in range(3):
        a @ b
    ms = take_turns({"gemm": lambda: a @ b})["gemm"]
    rows.append({"name": "gemm_8192", "ms": ms, "tflops": 2 * 8192**3 / ms / 1e9})
    print(f"roof: bf16 GEMM 8192^3 at {rows[-1]['tflops']:.0f} TFLOP/s", flush=True)
    del a, b
    ours = {(D, causal): attention(mask_mod=CAUSAL if causal else None, head_dim=D) for D in args.dims for causal in (False, True)}
    for S in args.lengths:
        for D in args.dims:
            H, B = 2048 // D, max(1, 16384 // S)
            for causal in (False, True):
                flops = 4 * B * H * S * S * D * (0.5 if causal else 1)
                peers = {"cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, causal), "fa2": sdpa(SDPBackend.FLASH_ATTENTION, causal)}
                compare("causal" if causal else "dense", (B, H, S, D), ours[D, causal], peers, flops)


@functools.cache
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


def flex_peers(exact_score_mod=None, **kw):
    if args.no_flex:
        return {}
    peers = {"flex": flex(**kw)}
    if part in tuned_parts:
        peers["flex_tuned"] = flex(tuned=True, **kw)
    if exact_score_mod:
        peers["flex_exact"] = flex(**{**kw, "score_mod": exact_score_mod})
    return peers


def soft_cap_torch():
    fast_tanh = tanh_approx()
    return {"score_mod": lambda s, b, h, q, k: 30 * fast_tanh(s / 30),
            "exact_score_mod": lambda s, b, h, q, k: 30 * torch.tanh(s / 30)}


def variants():
    B, H, S = 2, 16, 8192
    capped = soft_cap_torch()
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
    window_mask = block_mask(lambda b, h, q, k: (q >= k) & (q - k < 1024))
    prefix_mask = block_mask(lambda b, h, q, k: (q >= k) | (k < 2048))
    document_mask = block_mask(lambda b, h, q, k: (doc[q] == doc[k]) & (q >= k))
    jobs = []
    for D in [d for d in args.dims if d in (64, 128)]:
        shape, flops = (B, H, S, D), 4 * B * H * S * S * D
        def row(name, torch_kw, flops=flops, Hkv=None, **ours):
            jobs.append((name, shape, attention(head_dim=D, **ours), torch_kw, flops, Hkv))
        row("noop", {})
        row("softcap", capped, score_mod=softcap)
        row("causal", {"block_mask": causal_mask}, flops / 2, mask_mod=CAUSAL)
        row("causal_softcap", {**capped, "block_mask": causal_mask}, flops / 2, score_mod=softcap, mask_mod=CAUSAL)
        row("causal_alibi", {"score_mod": lambda s, b, h, q, k: s + slopes[h] * (k - q), "block_mask": causal_mask}, flops / 2,
            score_mod="score + slope[h] * (kv_idx - q_idx)", mask_mod=CAUSAL, buffers={"slope": slopes})
        row("relative_bias", {"score_mod": lambda s, b, h, q, k: s + bias[q - k + S]},
            score_mod="score + bias[q_idx - kv_idx + 8192]", buffers={"bias": bias})
        row("window1024", {"block_mask": window_mask}, mask_mod="q_idx >= kv_idx && q_idx - kv_idx < 1024")
        row("prefix2048", {"block_mask": prefix_mask}, mask_mod="kv_idx < 2048 || q_idx >= kv_idx")
        row("documents12_causal", {"block_mask": document_mask}, mask_mod="doc[q_idx] == doc[kv_idx] && q_idx >= kv_idx",
            buffers={"doc": doc})
        row("causal_gqa4", {"block_mask": causal_mask, "enable_gqa": True}, flops / 2, Hkv=4, mask_mod=CAUSAL)
    for name, shape, ours, torch_kw, flops, Hkv in jobs:
        compare(name, shape, ours, flex_peers(**torch_kw), flops, Hkv)


def seeds():
    B, H, S, D = 8, 12, 3136, 64
    shape, flops = (B, H, S, D), 4 * B * H * S * S * D
    neighborhood = lambda b, h, q, k: ((q // 56 - k // 56).abs() < 5) & ((q % 56 - k % 56).abs() < 5)
    text = "abs(q_idx / 56 - kv_idx / 56) < 5 && abs(q_idx % 56 - kv_idx % 56) < 5"
    plain, capped, near = (attention(head_dim=D), attention(head_dim=D, score_mod="30.0 * tanh(score / 30.0)"),
                           attention(head_dim=D, mask_mod=text))
    compare("seed_dense", shape, plain, {"cudnn": sdpa(SDPBackend.CUDNN_ATTENTION)}, flops)
    compare("seed_softcap", shape, capped, flex_peers(**soft_cap_torch()), flops)
    compare("seed_neighborhood", shape, near,
            flex_peers(block_mask=create_block_mask(neighborhood, None, None, S, S, device="cuda")), flops)


def decode():
    """One query (and 4, as speculative decoding asks for) a sequence, the keys of all of it: bound by reading k and v."""
    D, softcap = 128, "30.0 * tanh(score / 30.0)"
    fast_tanh = tanh_approx()
    plain, capped = attention(head_dim=D), attention(head_dim=D, score_mod=softcap)
    for B, H, Hkv, S, q_len in ((32, 32, 8, 8192, 1), (1, 32, 8, 32768, 1), (64, 16, 16, 4096, 1), (32, 32, 8, 8192, 4)):
        flops, grouped = 4 * B * H * q_len * S * D, H != Hkv
        peers = {"cudnn": sdpa(SDPBackend.CUDNN_ATTENTION, grouped=grouped),
                 "fa2": sdpa(SDPBackend.FLASH_ATTENTION, grouped=grouped), **flex_peers(enable_gqa=grouped)}
        compare("decode", (B, H, S, D), plain, peers, flops, Hkv, q_len)
    compare("decode_softcap", (32, 32, 8192, D), capped,
            flex_peers(score_mod=lambda s, b, h, q, k: 30 * fast_tanh(s / 30), enable_gqa=True), 4 * 32 * 32 * 8192 * D, 8, 1)


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
                mask = attnc.BlockMask(text, S, S, buffers=buffers)
                _, row["attnc_rebuild_ms"] = timed(lambda: mask.rebuild(buffers))
                if "flex_ms" in row:
                    row["vs_flex"] = row["flex_ms"] / row["attnc_ms"]
                    row["rebuild_vs_flex"] = row["flex_ms"] / row["attnc_rebuild_ms"]
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

if args.plot and args.out:
    try:
        import plot_results
        print("drew " + ", ".join(plot_results.draw(args.out)))
    except ImportError as problem:
        print(f"no plot: {problem}")

unknown = sorted(set(args.only or ()) - names)
if unknown:
    sys.exit(f"compare_torch.py: --only {' '.join(unknown)}: no such row in {' '.join(args.parts)}; there are {' '.join(sorted(names))}")
bad = [r["name"] for r in rows if r.get("ok") is False or "attnc_error" in r or "portable_error" in r]
print(f"{len(rows)} rows, {len(bad)} wrong or failed {bad}, {skipped} skipped for time")
sys.exit(1 if bad else 0)
