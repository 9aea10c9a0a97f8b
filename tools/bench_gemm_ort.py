#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Compares the cpu target's gemm with ONNX Runtime's MatMul: same shapes, same threads, same run.

Usage: bench_gemm_ort.py BUILD/tests/bench_gemm [--threads=2] [--rounds=6] [--shapes=MxNxK,...] [--tile=NAME]

The two take turns; the best of all rounds counts, and the medians are shown, because other processes may be running. ONNX
Runtime gets the weights as an initializer, so that it packs them beforehand, as we do. Ours with bf16 weights is shown
beside: ONNX Runtime's CPU provider has no such MatMul.
"""
import argparse
import math
import statistics
import subprocess
import time

import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# performance.md's shapes of Pi0, M x N x K; the widest is cut to a quarter in n, to keep the run short.
PI0 = ("768x3456x1152,768x1152x1152,768x4304x1152,768x1152x4304,768x2048x1152,788x2560x2048,788x2048x2048,788x8192x2048,"
       "788x2048x16384,51x2560x1024,51x1024x2048,51x8192x1024,51x1024x4096,50x1024x1024")
# What the committed small models consist of.
SMALL = "27x216x72,27x72x72,27x172x72,27x72x172,34x192x88,34x216x88,34x88x216,12x192x56,12x104x56,12x56x104,1x56x56,4x256x256"


def session_of(m, n, k, threads):
    weights = numpy.random.default_rng(0).standard_normal((k, n), dtype=numpy.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])], "matmul",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [m, k])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [m, n])],
        [numpy_helper.from_array(weights, "b")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class Theirs:
    def __init__(self, m, n, k, threads):
        self.session = session_of(m, n, k, threads)
        # Bound once, as a control loop would: no conversion of arrays per call.
        a = numpy.random.default_rng(1).standard_normal((m, k), dtype=numpy.float32)
        self.binding = self.session.io_binding()
        self.a = onnxruntime.OrtValue.ortvalue_from_numpy(a)
        self.c = onnxruntime.OrtValue.ortvalue_from_numpy(numpy.zeros((m, n), numpy.float32))
        self.binding.bind_ortvalue_input("a", self.a)
        self.binding.bind_ortvalue_output("c", self.c)

    def measure(self, milliseconds):
        times = []
        self.session.run_with_iobinding(self.binding)
        end = time.perf_counter() + milliseconds * 1e-3
        while not times or time.perf_counter() < end:
            begin = time.perf_counter()
            self.session.run_with_iobinding(self.binding)
            times.append((time.perf_counter() - begin) * 1e6)
        return min(times), statistics.median(times)


class Ours:
    def __init__(self, program, threads, milliseconds):
        self.process = subprocess.Popen([program, str(threads), str(milliseconds)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def measure(self, m, n, k, dtype, tile):
        self.process.stdin.write(f"{m} {n} {k} {dtype} {tile}\n")
        self.process.stdin.flush()
        result = None
        while line := self.process.stdout.readline().split():
            result = line[0], float(line[1]), float(line[2])
        if result is None:
            raise SystemExit(f"bench_gemm failed on {m}x{n}x{k} {dtype} {tile}")
        return result


def compare(shape, ours, arguments):
    m, n, k = (int(size) for size in shape.split("x"))
    theirs = Theirs(m, n, k, arguments.threads)
    best = {"ort": [], "f32": [], "bf16": []}
    median = {"ort": [], "f32": [], "bf16": []}
    for _ in range(arguments.rounds):
        measured = {"ort": theirs.measure(arguments.milliseconds)}
        time.sleep(0.02)  # its threads spin for a while after a call
        for dtype in ("f32", "bf16"):
            tile, *measured[dtype] = ours.measure(m, n, k, dtype, arguments.tile)
        for name, (least, middle) in measured.items():
            best[name].append(least)
            median[name].append(middle)
    ort, f32, bf16 = (min(best[name]) for name in ("ort", "f32", "bf16"))
    ort_median, f32_median = (statistics.median(median[name]) for name in ("ort", "f32"))
    gflops = 2e-3 * m * n * k
    print(f"{shape:>15} {ort:10.1f} {f32:10.1f} {ort / f32:7.2f} {ort_median / f32_median:9.2f} {bf16:10.1f} "
          f"{gflops / ort:7.1f} {gflops / f32:7.1f}  {tile}", flush=True)
    return ort / f32


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--milliseconds", type=float, default=60, help="of measuring per round and side")
    parser.add_argument("--shapes", default=PI0)
    parser.add_argument("--small", action="store_true", help="the shapes of the committed small models instead")
    parser.add_argument("--tile", default="")
    arguments = parser.parse_args()
    ours = Ours(arguments.program, arguments.threads, arguments.milliseconds)
    print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, threads {arguments.threads}")
    print(f"{'M x N x K':>15} {'ORT us':>10} {'ours us':>10} {'ratio':>7} {'of medians':>9} {'bf16 us':>10} {'ORT GF':>7} {'GF/s':>7}  tile")
    shapes = (SMALL if arguments.small else arguments.shapes).split(",")
    ratios = [compare(shape, ours, arguments) for shape in shapes]
    print(f"ratio of speeds, ours to ONNX Runtime's, geometric mean: {math.exp(statistics.mean(map(math.log, ratios))):.3f}")


if __name__ == "__main__":
    main()
