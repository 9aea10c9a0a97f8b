#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Installs what a fresh Debian 12 needs to build Pinion, and a Python environment in .venv.
#
#   tools/setup.sh           build and run: LLVM/MLIR 22, protobuf-c, CMake, Ninja; onnx (for onnx.proto)
#   tools/setup.sh --tests   also what the tests use: cmocka, lit, PyTorch, ONNX Runtime, NVRTC, a cross compiler
#
# Does nothing that is done already, so it can be run again. Needs root (or sudo) only when a Debian package is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential cmake ninja-build make xz-utils python3 python3-venv
  libmlir-22-dev llvm-22-dev mlir-22-tools protobuf-c-compiler libprotobuf-c-dev libzstd-dev zlib1g-dev)
python_packages=(onnx numpy)
if [ "${1:-}" = --tests ]; then
  packages+=(libcmocka-dev clang-22 lld-22 llvm-22-tools clang-format-22 libclang-rt-22-dev
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
  python_packages+=(lit onnxruntime onnxscript torch==2.13.0 "transformers>=5.0" "nvidia-cuda-nvrtc==13.0.*")
fi

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
fi

[ -x .venv/bin/python ] || python3 -m venv .venv
wanted="$(printf '%s\n' "${python_packages[@]}")"
if [ "$(cat .venv/pinion-packages 2>/dev/null)" != "$wanted" ]; then
  # Modules are compiled when they are first imported, as few ever are.
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-compile "${python_packages[@]}"
  printf '%s\n' "$wanted" > .venv/pinion-packages
fi
