#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
# Everything that needs a GPU, on a machine that has one, NVRTC, a C compiler and Python with NumPy, but perhaps not what Pinion is
# built with: bring build/pinion and build/tests/make_cuda_cases.
#
#   tests/cuda/on_device.sh [WORK] [TARGET]     sm_90 (H100, H200; the default) or sm_110 (Jetson Thor)
#                                               PINION, MAKE_CASES: the two binaries, if they lie elsewhere
#
# 1. every kernel family on random problems, alone and in one captured graph, and the time of a full-size policy's GEMMs;
# 2. what the runtime says when the driver refuses, and when a kernel faults; 3. every committed fixture, every case, against
# PyTorch's own error; 4. on sm_90, models with the tiles of sm_110, which has no device here: those that a Thor will run; 5. the
# latency of each. Exits 1 if anything is wrong.
set -uo pipefail
cd "$(dirname "$0")/../.."
work="${1:-/tmp/pinion-on-device}"
export TARGET="${2:-sm_90}"
export PINION="${PINION:-$PWD/build/pinion}"
make_cases="${MAKE_CASES:-$PWD/build/tests/make_cuda_cases}"
mkdir -p "$work"
failed=0

if [ -z "${PINION_NVRTC:-}" ]; then
  for found in /usr/local/cuda/lib64/libnvrtc.so "$(python3 -c 'import glob, sysconfig; print((glob.glob(
      sysconfig.get_paths()["purelib"] + "/nvidia/*/lib/libnvrtc.so.1[3-9]") + [""])[0])' 2>/dev/null)"; do
    if [ -e "$found" ]; then export PINION_NVRTC="$found"; break; fi
  done
fi
nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm --format=csv,noheader || true

echo "== kernels"
"$make_cases" "$work/cases" --target="$TARGET" --kernels=3 --problems=16 --timing || failed=1
cc -O2 -std=gnu11 -I. tests/cuda/run_cases.c runtime/device_cuda*.c runtime/description.c runtime/thread_pool.c \
  -o "$work/run_cases" -ldl -lpthread -lm &&
  "$work/run_cases" "$work/cases" || failed=1

echo "== errors"
cc -O2 -std=gnu11 -I. tests/cuda/run_errors.c runtime/pinion.c runtime/device_cuda*.c runtime/description.c runtime/thread_pool.c \
  -o "$work/run_errors" -ldl -lpthread && "$work/run_errors" "$work/cases" "${TARGET#sm_}" || failed=1

echo "== fixtures"
check() {
  python3 tests/models/check_fixture.py "tests/fixtures/$2" --pinion="$PINION" --work="$1/$2" --target="$TARGET" > "$1/$2.log" 2>&1
  status=$?
  echo "-- $2 (exit $status)"
  cat "$1/$2.log"
  return $status
}
export -f check
fixtures="$(cd tests/fixtures && for f in */fixture.json; do dirname "$f"; done)"
echo "$fixtures" | xargs -P 4 -I{} bash -c "check '$work' {}" || failed=1

if [ "$TARGET" = sm_90 ]; then
  echo "== tiles of sm_110"
  for fixture in pi0_bf16 pi05_bf16; do
    python3 tests/models/check_fixture.py "tests/fixtures/$fixture" --pinion="$PINION" --work="$work/${fixture}_sm_110" \
      --target=sm_90 --tiles-of=sm_110 || failed=1
  done
fi

echo "== latency"
for fixture in $fixtures; do
  echo "-- $fixture"
  "$PINION" bench "$work/$fixture/artifact" --empty-kernels || failed=1
done
exit "$failed"
