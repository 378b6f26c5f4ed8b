#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compiles and runs the README's C++ as printed, and runs its commands, against build/release.

  python3 tools/check_readme.py
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "release")


def run(command, **kw):
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, **kw)
    if done.returncode != 0:
        sys.exit(f"README: `{command}` failed with {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def main():
    text = open(os.path.join(ROOT, "README.md"), encoding="utf-8").read()
    snippets = re.findall(r"```cpp\n(.*?)```", text, re.S)
    commands = [line for block in re.findall(r"```sh\n(.*?)```", text, re.S) for line in block.strip().splitlines()]
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", prose):
        if not os.path.exists(os.path.join(ROOT, link)):
            sys.exit(f"README: links to {link}, which does not exist")
    with tempfile.TemporaryDirectory() as folder:
        for i, snippet in enumerate(snippets):
            project = os.path.join(folder, str(i))
            os.makedirs(project)
            with open(os.path.join(project, "main.cpp"), "w") as f:
                f.write(snippet)
            with open(os.path.join(project, "CMakeLists.txt"), "w") as f:
                f.write("cmake_minimum_required(VERSION 3.25)\nproject(snippet CXX)\nfind_package(attnc REQUIRED)\n"
                        "add_executable(main main.cpp)\ntarget_link_libraries(main PRIVATE attnc::attnc)\n")
            run(["cmake", "--install", BUILD, "--prefix", os.path.join(folder, "prefix")])
            run(["cmake", "-S", project, "-B", project + "/b", "-DCMAKE_PREFIX_PATH=" + os.path.join(folder, "prefix")])
            run(["cmake", "--build", project + "/b"])
            output = run([project + "/b/main"]).strip()
            expected = re.search(r"printf.*// (.*)", snippet).group(1).strip()
            if output != expected:
                sys.exit(f"README: the snippet prints {output!r}, not {expected!r}")
    environment = dict(os.environ, PATH=os.path.join(BUILD, "tools") + ":" + os.environ["PATH"])
    for command in commands:
        run(["bash", "-c", command], env=environment)
    print(f"README: {len(snippets)} snippet and {len(commands)} commands work")


if __name__ == "__main__":
    main()
