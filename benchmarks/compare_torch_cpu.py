#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares attnc's CPU backend with PyTorch on the same machine, the same threads, the same run.

    python3 -m venv venv && venv/bin/pip install torch numpy
    venv/bin/python benchmarks/compare_torch_cpu.py --bench build/benchmarks/cpu_bench --threads 2

Peers and attnc take turns, round by round, so that what else the machine does meets both. Each round of a side gives
one median wall time and one median processor time a call; a ratio is the median over rounds of peer / attnc, so above 1
attnc is faster. Where the machine is shared, the processor times are the ones to believe.
Writes benchmarks/results/cpu_<machine>.json.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def cpu_model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"


def cpu_isa():
    flags = Path("/proc/cpuinfo").read_text()
    return "avx512" if " avx512f" in flags else "avx2" if " avx2" in flags else "baseline"


def commit():
    try:
        return subprocess.run(["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"], capture_output=True, text=True,
                              check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def time_torch(function, repeats):
    walls, cpus = [], []
    for _ in range(repeats):
        cpu, wall = time.process_time(), time.perf_counter()
        function()
        walls.append((time.perf_counter() - wall) * 1e3)
        cpus.append((time.process_time() - cpu) * 1e3)
    return {"wall_ms": statistics.median(walls), "cpu_ms": statistics.median(cpus)}


def time_attnc(bench, arguments, repeats):
    text = subprocess.run([bench, "--json", "--repeats", str(repeats), *map(str, arguments)], capture_output=True, text=True,
                          check=True).stdout
    result = json.loads(text)
    return {"wall_ms": result["median_ms"], "cpu_ms": result["cpu_ms"]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", required=True, help="the cpu_bench program")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-flex", action="store_true", help="leave out compiled FlexAttention (it compiles for a minute)")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    import torch
    import torch.nn.functional as F

    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    torch.set_grad_enabled(False)

    def qkv(heads, seq, dim, dtype=torch.float32):
        return [torch.randn(1, heads, seq, dim).to(dtype) for _ in range(3)]

    q, k, v = qkv(8, 2048, 64)
    qb, kb, vb = (x.bfloat16() for x in (q, k, v))
    qn, kn, vn = qkv(12, 3136, 64)
    at = torch.arange(3136)
    row, column = at // 56, at % 56
    near = ((row[:, None] - row[None]).abs() < 5) & ((column[:, None] - column[None]).abs() < 5)

    def softcap_eager():
        score = q @ k.transpose(-1, -2) / math.sqrt(64)
        return torch.softmax(30 * torch.tanh(score / 30), -1) @ v

    dense = ["--case", "dense", "--heads", 8, "--seq", 2048, "--dim", 64]
    soft = ["--case", "softcap", "--heads", 8, "--seq", 2048, "--dim", 64]
    seed = ["--heads", 12, "--seq", 3136, "--dim", 64]
    cases = [
        ("dense f32 against SDPA", dense, lambda: F.scaled_dot_product_attention(q, k, v)),
        ("dense bf16 against SDPA", [*dense, "--dtype", "bf16"], lambda: F.scaled_dot_product_attention(qb, kb, vb)),
        ("softcap against eager", soft, softcap_eager),
        ("neighborhood 56, 5 against SDPA with a dense mask", ["--case", "neighborhood", *seed],
         lambda: F.scaled_dot_product_attention(qn, kn, vn, attn_mask=near)),
        ("neighborhood 56, 5 against own dense", ["--case", "neighborhood", *seed], ["--case", "dense", *seed]),
        ("neighborhood 56, 5 without a table against own dense", ["--case", "neighborhood_no_table", *seed],
         ["--case", "dense", *seed]),
    ]
    flex_compile_s = None
    if not args.no_flex:
        from torch.nn.attention.flex_attention import flex_attention

        flex = torch.compile(flex_attention)
        cap = lambda score, b, h, q_idx, kv_idx: 30 * torch.tanh(score / 30)  # noqa: E731
        try:
            start = time.perf_counter()
            flex(q, k, v, score_mod=cap)
            flex_compile_s = time.perf_counter() - start
            cases.insert(3, ("softcap against compiled FlexAttention", soft, lambda: flex(q, k, v, score_mod=cap)))
        except Exception as error:  # whatever the peer's compiler says: report, and go on without it
            print(f"FlexAttention does not compile here: {str(error).splitlines()[0]}", file=sys.stderr)

    threads = ["--threads", args.threads]
    results = []
    for name, ours, peer in cases:
        rounds = []
        if callable(peer):
            peer()
        for _ in range(args.rounds):
            a = time_attnc(args.bench, ours + threads, args.repeats)
            p = time_torch(peer, args.repeats) if callable(peer) else time_attnc(args.bench, peer + threads, args.repeats)
            rounds.append((a, p))
        entry = {"case": name, "attnc_arguments": " ".join(map(str, ours))}
        for clock in ("wall_ms", "cpu_ms"):
            entry[f"attnc_{clock}"] = statistics.median(a[clock] for a, _ in rounds)
            entry[f"peer_{clock}"] = statistics.median(p[clock] for _, p in rounds)
            entry[f"ratio_{clock[:-3]}"] = statistics.median(p[clock] / a[clock] for a, p in rounds)
        results.append(entry)
        print(f"{name:<55} attnc {entry['attnc_wall_ms']:8.2f} ms (cpu {entry['attnc_cpu_ms']:8.2f})   "
              f"peer {entry['peer_wall_ms']:8.2f} ms (cpu {entry['peer_cpu_ms']:8.2f})   "
              f"x{entry['ratio_wall']:.2f} (cpu x{entry['ratio_cpu']:.2f})", flush=True)

    extra = {}
    for case in ("first_use", "memory"):
        text = subprocess.run([args.bench, "--case", case, "--json", *map(str, threads)], capture_output=True, text=True,
                              check=True, env={**os.environ, "ATTNC_CACHE_DIR": ""}).stdout
        extra[case] = json.loads(text)
        print(case, extra[case])

    record = {
        "machine": {"cpu": cpu_model(), "isa": cpu_isa(), "cpus": os.cpu_count(), "load_average": os.getloadavg()},
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "commit": commit(),
        "command": f"compare_torch_cpu.py --threads {args.threads} --rounds {args.rounds} --repeats {args.repeats}",
        "threads": args.threads,
        "flex_compile_s": flex_compile_s,
        "results": results,
        **extra,
    }
    out = args.out or HERE / "results" / f"cpu_{cpu_isa()}_{args.threads}threads.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=2) + "\n")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
