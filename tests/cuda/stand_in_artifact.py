# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The hand-written artifact (tests/runtime/artifact) as one for a GPU: its kernels are names that the stand-in driver takes."""
import json
import os
import shutil
import subprocess

KERNELS = ("gather", "gemm_row", "copy", "add", "multiply")
LAUNCHES = 6  # of the table


def replace_in(path, *pairs):
    with open(path, encoding="utf-8") as file:
        content = file.read()
    for old, new in pairs:
        assert old in content, f"{path} holds no '{old}'"
        content = content.replace(old, new)
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def write_cubin(artifact, name, kernels):
    os.makedirs(os.path.join(artifact, "kernels"), exist_ok=True)
    with open(os.path.join(artifact, "kernels", name), "wb") as file:
        file.write(b"\177ELF\2\1".ljust(64, b"\0") + "".join(f"<{kernel}>" for kernel in kernels).encode() + b"\0")


def make(example, artifact, build=True):
    shutil.copytree(example, artifact)
    for built in ("libmodel.so", "bench"):
        if os.path.exists(os.path.join(artifact, built)):
            os.remove(os.path.join(artifact, built))
    pairs = [('.device = "cpu"', '.device = "cuda", .compute_capability = 90, .minimum_driver = 13000')]
    pairs += [(f"NULL, {kernel}}}", '"all.cubin", NULL}') for kernel in KERNELS]
    replace_in(os.path.join(artifact, "model.c"), *pairs)
    replace_in(os.path.join(artifact, "Makefile"), ("runtime/device_cpu.c", "$(wildcard runtime/device_cuda*.c)"),
               ("-pthread", "-pthread -ldl"))
    with open(os.path.join(artifact, "manifest.json"), encoding="utf-8") as file:
        manifest = json.load(file)
    manifest["launches"] *= LAUNCHES
    with open(os.path.join(artifact, "manifest.json"), "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    write_cubin(artifact, "all.cubin", KERNELS)
    write_cubin(artifact, "pn_empty.cubin", ["pn_empty"])
    if build:
        subprocess.run(["make", "-s", "-C", artifact, "CFLAGS=-O0 -Wno-unused-function", "libmodel.so"], check=True)
