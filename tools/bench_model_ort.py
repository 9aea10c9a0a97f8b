#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An artifact's latency on the cpu target beside ONNX Runtime's on the same model, same threads, same run.

    bench_model_ort.py MODEL.onnx ARTIFACT --inputs=FOLDER [--pinion=build/pinion] [--threads=2] [--rounds=7]
                       [--processor-time]

The two take turns, so that a slow moment of the machine meets both; the medians and their ratio are printed, after the largest
difference of the outputs. ONNX Runtime is given the graph without what reaches no output: some exporters leave the last
prefill layer's attention and MLP in, and it would compute them. On a machine that others keep busy, --processor-time counts for both
what the process ran, not what it waited for: with one thread, as a spinning one counts too. A benchmark, not a test: it never
fails on a figure.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime


def load_folder(folder):
    return {name[:-4]: np.load(os.path.join(folder, name)) for name in sorted(os.listdir(folder)) if name.endswith(".npy")}


def names_used(node):
    """What a node reads, in the graphs that are its attributes too."""
    names = set(node.input)
    for attribute in node.attribute:
        for inner in [*attribute.graphs, attribute.g]:
            names.update(*map(names_used, inner.node), (value.name for value in inner.output))
    return names


def remove_dead_nodes(graph):
    """Leaves out what reaches no output; returns how many nodes that were."""
    needed, alive = {value.name for value in graph.output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            alive.append(node)
            needed |= names_used(node)
    dead = len(graph.node) - len(alive)
    del graph.node[:]
    graph.node.extend(reversed(alive))
    return dead


def ort_session(path, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    model = onnx.load(path, load_external_data=False)
    print(f"{remove_dead_nodes(model.graph)} nodes that reach no output are left out for ONNX Runtime")
    with tempfile.NamedTemporaryFile(dir=os.path.dirname(os.path.abspath(path)), suffix=".onnx") as alive:  # by its data
        onnx.save(model, alive.name)
        return onnxruntime.InferenceSession(alive.name, options, providers=["CPUExecutionProvider"])


def window(call, clock, seconds=0.5):
    """Milliseconds of one call: the median of a window."""
    times, started = [], time.perf_counter()
    while time.perf_counter() - started < seconds or len(times) < 3:
        begin = clock()
        call()
        times.append((clock() - begin) * 1e3)
    return statistics.median(times)


class Options(ctypes.Structure):
    """pinion_options of runtime/pinion.h."""
    _fields_ = [("device_index", ctypes.c_int32), ("thread_count", ctypes.c_int32), ("weights", ctypes.c_char_p),
                ("driver", ctypes.c_char_p)]


def load_artifact(folder, feed, threads):
    """A function that runs the artifact in this process, its inputs copied once."""
    library = ctypes.CDLL(os.path.abspath(os.path.join(folder, "libmodel.so")))
    library.pinion_model_description.restype = ctypes.c_void_p
    model, instance, options = ctypes.c_void_p(), ctypes.c_void_p(), Options(0, threads, None, None)

    def check(status):
        if status:
            raise SystemExit(f"the runtime reports status {status}")

    check(library.pinion_model_open(ctypes.c_void_p(library.pinion_model_description()), folder.encode(), ctypes.byref(options),
                                    ctypes.byref(model)))
    check(library.pinion_instance_create(model, ctypes.byref(instance)))
    for name, value in feed.items():
        dense = np.ascontiguousarray(value)
        check(library.pinion_set_input(instance, name.encode(), ctypes.c_void_p(dense.ctypes.data), ctypes.c_size_t(dense.nbytes)))
    check(library.pinion_prepare(instance))
    return lambda: check(library.pinion_run(instance, None))


def pinion_window(options, result):
    """The same of the artifact, by `pinion bench`: wall clock of a whole call, inputs and outputs copied."""
    subprocess.run([options.pinion, "bench", options.artifact, f"--threads={options.threads}", f"--save={result}"],
                   check=True, stdout=subprocess.DEVNULL)
    with open(result) as file:
        return json.load(file)["end_to_end_us"]["p50"] / 1e3


def difference(options, session, feed):
    with tempfile.TemporaryDirectory() as outputs:
        subprocess.run([options.pinion, "run", options.artifact, f"--inputs={options.inputs}", f"--outputs={outputs}"],
                       check=True, stdout=subprocess.DEVNULL)
        ours = load_folder(outputs)
    theirs = dict(zip((o.name for o in session.get_outputs()), session.run(None, feed)))
    return {name: float(np.linalg.norm(ours[name] - value) / np.linalg.norm(value)) for name, value in theirs.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("artifact")
    parser.add_argument("--inputs", required=True)
    parser.add_argument("--pinion", default="build/pinion")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--processor-time", action="store_true")
    options = parser.parse_args()
    if options.processor_time and options.threads != 1:
        parser.error("--processor-time needs --threads=1")
    session = ort_session(options.model, options.threads)
    wanted = {i.name for i in session.get_inputs()}
    feed = {name: value for name, value in load_folder(options.inputs).items() if name in wanted}
    print(f"ONNX Runtime {onnxruntime.__version__}, {options.threads} threads; outputs differ by (relative L2)", difference(options, session, feed))
    clock = time.process_time if options.processor_time else time.perf_counter
    with tempfile.TemporaryDirectory() as folder:
        if options.processor_time:
            run = load_artifact(options.artifact, feed, options.threads)
            measure = lambda: window(run, clock)
        else:
            measure = lambda: pinion_window(options, os.path.join(folder, "bench.json"))
        rounds = [(window(lambda: session.run(None, feed), clock), measure()) for _ in range(options.rounds)]
    theirs, ours = (statistics.median(column) for column in zip(*rounds))
    print(f"ONNX Runtime {theirs:.3f} ms, Pinion {ours:.3f} ms: {theirs / ours:.2f} times as fast")


if __name__ == "__main__":
    main()
