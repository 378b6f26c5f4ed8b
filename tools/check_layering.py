#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fails when an include points the wrong way between layers (docs/architecture.md), with the line that does."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# layer: folders it may include from. The longest matching prefix decides a file's layer.
MAY_SEE = {
    "dsl": ["dsl"],
    "compiler": ["dsl", "compiler"],
    "runtime": ["dsl", "compiler", "runtime"],
    "runtime/cache": ["runtime/cache"],
    "templates": ["templates"],
}
SYSTEM_ONLY_IN = {
    r"llvm(-c)?/": ["compiler/cpu", "runtime/cpu"],
    r"(cuda|nvrtc|cuda_runtime|cuda_fp16|cuda_bf16)\.h": [],  # the driver and NVRTC are declared by runtime/cuda itself
    r"nvtx3/": ["runtime/cuda", "tests/nvtx"],
    r"(tbb|oneapi)/": ["runtime/cpu", "runtime", "benchmarks"],
}


def layer_of(path):
    matches = [layer for layer in MAY_SEE if path.startswith(layer + "/")]
    return max(matches, key=len) if matches else None


def main():
    files = subprocess.run(["git", "ls-files", "*.h", "*.cpp", "*.c", "*.cuh"], cwd=ROOT, capture_output=True, text=True, check=True)
    errors = []
    for path in files.stdout.split():
        for number, line in enumerate(open(os.path.join(ROOT, path), encoding="utf-8"), 1):
            found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
            if not found:
                continue
            bracket, target = found.groups()
            where = f"{path}:{number}: "
            for pattern, allowed in SYSTEM_ONLY_IN.items():
                if re.match(pattern, target) and not any(path.startswith(a + "/") for a in allowed):
                    errors.append(where + f"<{target}> may be included only from {', '.join(allowed) or 'nowhere'}")
            layer = layer_of(path)
            if layer is None or bracket == "<":
                continue
            beside = os.path.normpath(os.path.join(os.path.dirname(path), target))
            if layer == "templates":
                resolved = beside if os.path.exists(os.path.join(ROOT, beside)) else "templates/" + target
            else:
                resolved = beside if os.path.exists(os.path.join(ROOT, beside)) else target
            if not os.path.exists(os.path.join(ROOT, resolved)):
                continue  # a library's header in quotes
            if not any(resolved.startswith(seen + "/") for seen in MAY_SEE[layer]):
                errors.append(where + f"{layer} must not include {resolved}")
    print("\n".join(errors) if errors else "layering: every include points the right way")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
