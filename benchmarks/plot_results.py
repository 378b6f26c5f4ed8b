#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws results of compare_torch.py: TFLOP/s over the length for dense and causal, and speed relative to FlexAttention for
the variants. Needs matplotlib (Debian: python3-matplotlib).

  python3 benchmarks/plot_results.py benchmarks/results/h200.json            # writes h200.svg beside it
  python3 benchmarks/plot_results.py --format png RESULTS.json ...
"""
import argparse
import json
import os

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

# Blue, orange and greys: apart for every kind of colour vision.
STYLES = {
    "attnc": dict(color="#26547c", marker="o", linewidth=2.2, zorder=5),
    "portable": dict(color="#e98d2a", marker="s", linewidth=1.8, zorder=4),
    "cudnn": dict(color="#5f6368", marker="^", linestyle="--"),
    "fa2": dict(color="#9aa0a6", marker="v", linestyle=":"),
    "flex": dict(color="#80868b", marker="D", linestyle="-."),
    "flex_tuned": dict(color="#b0b4b8", marker="x", linestyle="-."),
}
LABELS = {"attnc": "attnc", "portable": "attnc, portable kernel", "cudnn": "cuDNN", "fa2": "FlashAttention-2",
          "flex": "FlexAttention", "flex_tuned": "FlexAttention, tuned"}


def contenders(rows):
    return [who for who in STYLES if any(f"{who}_ms" in row for row in rows)]


def draw_lengths(axes, rows, roof):
    """One panel of one head dimension, dense or causal."""
    for who in contenders(rows):
        points = sorted((row["S"], row[f"{who}_tflops"]) for row in rows if f"{who}_tflops" in row)
        axes.plot(*zip(*points), label=LABELS[who], markersize=5, **STYLES[who])
    if roof:
        axes.axhline(roof, color="#202124", linewidth=0.8, linestyle=(0, (1, 3)))
    axes.set_xscale("log", base=2)
    lengths = sorted({row["S"] for row in rows})
    axes.set_xticks(lengths, [f"{S // 1024}k" if S >= 1024 else str(S) for S in lengths])
    axes.set_ylim(bottom=0)
    axes.set_title(f"{rows[0]['name']}, head dimension {rows[0]['D']}", fontsize=10)
    axes.grid(True, color="#e4e4e2", linewidth=0.7)


def draw_variants(axes, rows, D):
    """Bars: how many times as fast as FlexAttention, the faster of default and tuned. It is the line at 1."""
    ours = [who for who in ("attnc", "portable") if any(f"{who}_ms" in row for row in rows)]
    height = 0.8 / len(ours)
    for i, who in enumerate(ours):
        places = [(n, row[f"{who}_vs_flex_best"]) for n, row in enumerate(rows) if f"{who}_vs_flex_best" in row]
        offset = (i - (len(ours) - 1) / 2) * height
        bars = axes.barh([n + offset for n, _ in places], [ratio for _, ratio in places], height * 0.92,
                         color=STYLES[who]["color"], label=LABELS[who])
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=7)
    axes.axvline(1, color="#202124", linewidth=0.9)
    axes.set_yticks(range(len(rows)), [row["name"].replace("_", " ") for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.set_title(f"times the best FlexAttention, head dimension {D}", fontsize=10)
    axes.grid(True, axis="x", color="#e4e4e2", linewidth=0.7)
    axes.set_axisbelow(True)


def draw(path, kind="svg"):
    """Writes one picture beside the file. Returns the paths written: none if there is nothing to draw."""
    with open(path, encoding="utf-8") as file:
        record = json.load(file)
    rows = [row for row in record.get("rows", []) if "D" in row and contenders([row])]
    roof = next((row["tflops"] for row in record.get("rows", []) if row["name"] == "gemm_8192"), None)
    lengths = [row for row in rows if row.get("part") == "dense"]
    variants = [row for row in rows if row.get("part") in ("variants", "seeds") and "attnc_vs_flex_best" in row]
    dims = sorted({row["D"] for row in lengths})
    variant_dims = sorted({row["D"] for row in variants})
    columns = max(len(dims), len(variant_dims))
    if columns == 0:
        return []
    kinds = [name for name in ("dense", "causal") if any(row["name"] == name for row in lengths)]
    heights = [3.0] * len(kinds) + ([0.36 * max(sum(row["D"] == D for row in variants) for D in variant_dims) + 1] if variants else [])
    figure, grid = plt.subplots(len(heights), columns, figsize=(4.6 * columns, sum(heights) + 1), squeeze=False,
                                gridspec_kw={"height_ratios": heights}, layout="constrained")
    for axes in grid.flat:
        axes.set_visible(False)
    for i, name in enumerate(kinds):
        for j, D in enumerate(dims):
            panel = [row for row in lengths if row["name"] == name and row["D"] == D]
            if panel:
                grid[i][j].set_visible(True)
                draw_lengths(grid[i][j], panel, roof)
        grid[i][0].set_ylabel("TFLOP/s")
    for j, D in enumerate(variant_dims):
        grid[-1][j].set_visible(True)
        draw_variants(grid[-1][j], [row for row in variants if row["D"] == D], D)
    handles = {label: handle for axes in grid.flat for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    roof_text = f"; dotted: a matrix product of 8192, {roof:.0f} TFLOP/s" if roof and lengths else ""
    figure.suptitle(f"{record.get('gpu', '')}, bf16, forward, commit {record.get('commit', '?')}{roof_text}", fontsize=10)
    target = os.path.splitext(path)[0] + "." + kind
    figure.savefig(target, dpi=150, metadata={"Date": None} if kind == "svg" else None)
    plt.close(figure)
    return [target]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", nargs="+", help="JSON files of compare_torch.py")
    parser.add_argument("--format", choices=["svg", "png"], default="svg")
    args = parser.parse_args()
    for path in args.results:
        written = draw(path, args.format)
        print("\n".join(f"wrote {target}" for target in written) or f"{path}: no rows of compare_torch.py to draw")


if __name__ == "__main__":
    main()
