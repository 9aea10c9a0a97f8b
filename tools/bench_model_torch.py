#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""An artifact's latency beside PyTorch's and cuBLAS' on the same GPU, in the same run.

    bench_model_torch.py [ARTIFACT] [--policy=pi0] [--only=eager,graph,compiled,gemms] [--beside=NAME=COMMAND]..
                         [--pinion=build/pinion] [--rounds=3] [--seconds=1]

    eager      the whole call (vision, prefix, all denoising steps) in bf16, written for speed in PyTorch: pinion_export/fast_sampler.py
    graph      the same in one CUDA graph
    compiled   its vision, prefix and step through torch.compile, the whole call in one CUDA graph
    gemms      nothing but cuBLAS' time of each product with weights that the artifact computes (torch.mm in a CUDA graph), without
               bias or activation: the faster of the two layouts of weights, which lie spread over four times the L2 cache
    --beside   any other program, run by itself in each round; the last line that it prints is its p50 and p99 in ms

The workload is the artifact's: its cameras, prompt, batch, actions and steps, at the widths and depths of --dimensions; without
one, that of --dimensions, --cameras, --batch and --steps. The weights are random, and not the artifact's: the actions of each
form of PyTorch are compared with those of the exported form, with the same weights in float32; `pinion verify` does so for the
artifact. All take turns; the medians over the rounds of p50 and p99 are printed, by the device's clock, calls queued, inputs on
the device. Prints also the conditions under load. A benchmark, not a test: it never fails on a figure.
"""
import argparse
import collections
import copy
import dataclasses
import json
import math
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time

import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "export"))
from pinion_export import cases, dimensions, network, policies, weights  # noqa: E402
from pinion_export.fast_sampler import ATTENTIONS, FastSampler, additive_mask  # noqa: E402

FORMS = ("eager", "graph", "compiled", "gemms")
WARM_UP_CALLS, WARM_UP_SECONDS, FEWEST_CALLS, MOST_CALLS = 3, 0.3, 5, 1000
ATTENTION_CALLS = 20  # in one graph, when forms of attention are compared
CONDITIONS_MS = 2000  # of work queued while the clocks are read
L2_MULTIPLE, FEWEST_WEIGHTS, MOST_WEIGHTS = 4, 16, 512  # different weights that one product's graph goes through


class Cpu:
    """Times calls by the clock on the wall; for trying this program out."""

    name, forms, l2_bytes = "cpu", ("eager", "gemms"), 1 << 20

    def captured(self, call):
        return call

    def times(self, call, count):
        ticks = [time.perf_counter()]
        for _ in range(count):
            call()
            ticks.append(time.perf_counter())
        return [(end - begin) * 1e3 for begin, end in zip(ticks, ticks[1:])]

    def conditions(self, call):
        return f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads"


class Cuda:
    name, forms = "cuda", FORMS

    def __init__(self):
        self.properties = torch.cuda.get_device_properties(0)
        self.l2_bytes = self.properties.L2_cache_size

    def captured(self, call):
        """A function that replays the call, and returns what it returned."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP_CALLS):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = call()

        def replay():
            graph.replay()
            return result

        replay.keeps = call  # and with it the tensors that the graph reads and writes
        return replay

    def times(self, call, count):
        """Milliseconds of each of the calls, queued one behind the other."""
        events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
        torch.cuda.synchronize()
        events[0].record()
        for event in events[1:]:
            call()
            event.record()
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) for begin, end in zip(events, events[1:])]

    def conditions(self, call):
        """Device, driver and clocks while the calls run, and versions."""
        for _ in range(math.ceil(CONDITIONS_MS / statistics.median(self.times(call, FEWEST_CALLS)))):
            call()
        wanted = "driver_version,clocks.sm,clocks.mem,power.limit,temperature.gpu"
        query = ["nvidia-smi", f"--query-gpu={wanted}", "--format=csv,noheader"]
        try:
            said = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
        except (OSError, subprocess.CalledProcessError, IndexError):
            said = "unknown (no nvidia-smi)"
        torch.cuda.synchronize()
        return (f"{self.properties.name}; driver, SM and memory clock under load, power limit, celsius: {said}; PyTorch "
                f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def window(device, call, seconds):
    """p50 and p99 in ms of calls that fill so many seconds, after a warm-up."""
    one = statistics.median(device.times(call, WARM_UP_CALLS)) / 1e3
    calls_in = lambda wanted: min(max(math.ceil(wanted / one), FEWEST_CALLS), MOST_CALLS)
    device.times(call, calls_in(WARM_UP_SECONDS * min(seconds, 1)))
    times = device.times(call, calls_in(seconds))
    return statistics.median(times), percentile(times, 0.99)


# ---- The workload, and the artifact's account of it


def load_manifest(artifact):
    with open(os.path.join(artifact, "manifest.json")) as file:
        return json.load(file)


@dataclasses.dataclass
class Workload:
    pi05: bool
    size: dimensions.Dimensions
    cameras: tuple
    batch: int
    steps: int

    def __str__(self):
        size, cameras = self.size, len(self.cameras)
        return (f"{'Pi0.5' if self.pi05 else 'Pi0'}, batch {self.batch}, {cameras} cameras of {size.image_size}x{size.image_size}, "
                f"{size.prompt_tokens} prompt tokens ({cameras * size.patches + size.prompt_tokens} in the prefix), "
                f"{size.action_horizon} actions of {size.action_dim}, {self.steps} steps")


def workload_of(options, manifest):
    size, cameras, batch, steps = options.dimensions, options.cameras, options.batch, options.steps
    if manifest:
        shapes = {value["name"]: value["shape"] for value in manifest["inputs"]}
        cameras = tuple(name for name in dimensions.CAMERAS if name in shapes)
        if not cameras or "tokens" not in shapes or "noise" not in shapes:
            raise SystemExit(f"{options.artifact} takes {', '.join(shapes)}: not the inputs of a policy of export_policy.py")
        batch, horizon, action_dim = shapes["noise"]
        size = dataclasses.replace(size, image_size=shapes[cameras[0]][2], prompt_tokens=shapes["tokens"][1],
                                   action_horizon=horizon, action_dim=action_dim)
        steps = max(stage["repeat"] for stage in manifest["stages"])
    return Workload(options.policy == "pi05", size, cameras, batch, steps)


def gemms_of(manifest):
    """{(rows, columns, depth): how often a call computes it}, of products with weights, and the number of other products."""
    counts, others = collections.Counter(), 0
    for launch in manifest["launches"]:
        if launch["family"] != "gemm":
            continue
        repeat = manifest["stages"][launch["stage"]]["repeat"]
        if "packed" not in launch["problem"].split():
            others += repeat
            continue
        sizes = launch["sizes"]  # two of batches, rows, three of columns, depth
        counts[math.prod(sizes[:3]), math.prod(sizes[3:6]), sizes[6]] += repeat
    return counts, others


def check_same_model(artifact, manifest, workload):
    """The artifact's products show the expert's widths and, by the MLP of action and time that only Pi0 has, the policy."""
    size, counts = workload.size, gemms_of(manifest)[0]
    rows = workload.batch * size.action_horizon
    same_widths = any((columns, depth) == (size.expert_width, size.expert_mlp) for _, columns, depth in counts)
    alike = size.query_heads * size.head_dim == size.expert_width  # then attention's output projection looks like that MLP
    if not same_widths or not alike and ((rows, size.expert_width, size.expert_width) in counts) == workload.pi05:
        raise SystemExit(f"{artifact} is not {workload}, of the widths given: see --policy and --dimensions")


# ---- PyTorch


def random_policy(workload, device):
    """In bf16, at scales that keep each layer's output as large as its input."""
    with torch.device(device.name):
        policy = network.Policy(workload.size, workload.pi05).eval().requires_grad_(False).to(torch.bfloat16)
        for name, parameter in policy.named_parameters():
            spread, centre = weights.spread_and_centre(name, parameter.shape)
            parameter.normal_(centre, spread)
    return policy


def fastest_attention(workload, device, queries, keys, compiled):
    """The form of attention that takes least time by itself."""
    size = workload.size

    def draw(heads, length):
        return torch.randn(workload.batch, heads, length, size.head_dim, dtype=torch.bfloat16, device=device.name)

    mask = additive_mask(torch.ones(workload.batch, queries, keys, dtype=torch.bool, device=device.name), torch.bfloat16)
    operands = draw(size.query_heads, queries), draw(size.key_heads, keys), draw(size.key_heads, keys), mask
    times = {}
    for name, form in ATTENTIONS.items():
        run = torch.compile(form, dynamic=False) if compiled else form
        replay = device.captured(lambda: [run(*operands) for _ in range(ATTENTION_CALLS)])
        times[name] = window(device, replay, 0.02)[0] / ATTENTION_CALLS * 1e3
    best = min(times, key=times.get)
    print(f"  attention of {queries} over {keys} keys: " + ", ".join(f"{name} {us:.1f} us" for name, us in times.items()))
    return ATTENTIONS[best]


def sampler_of(policy, workload, device, compiled):
    size = workload.size
    prefix = len(workload.cameras) * size.patches + size.prompt_tokens
    suffix = size.action_horizon + (not workload.pi05)
    forms = [fastest_attention(workload, device, queries, keys, compiled)
             for queries, keys in ((prefix, prefix), (suffix, prefix + suffix))]
    return FastSampler(policy, workload.cameras, workload.steps, *forms)


class Peers:
    """The forms of PyTorch: {name: a function that runs a whole call and returns the actions}."""

    def __init__(self, workload, device, forms, compile_mode):
        self.device, self.workload, self.calls = device, workload, {}
        self.policy = random_policy(workload, device)
        case = cases.make(workload.size, workload.cameras, workload.batch, seed=0)
        self.inputs = [value.to(device.name) for value in case.values()]
        if "eager" in forms or "graph" in forms:
            plain = self.call_of(compiled=False)
        if "eager" in forms:
            self.calls["PyTorch eager"] = plain
        if "graph" in forms:
            self.calls["PyTorch in one CUDA graph"] = device.captured(plain)
        if "compiled" in forms:
            self.calls["torch.compile in one CUDA graph"] = self.compiled_call(compile_mode)

    def call_of(self, compiled, **options):
        print(f"{'compiled' if compiled else 'eager'}:", flush=True)
        sampler = sampler_of(self.policy, self.workload, self.device, compiled)
        if compiled:
            sampler.compile(**options)
        return lambda: sampler(*self.inputs)

    def compiled_call(self, mode):
        started = time.perf_counter()
        call = self.device.captured(self.call_of(compiled=True, mode=mode))
        call()
        print(f"  compiled (mode {mode}) and captured in {time.perf_counter() - started:.0f} s", flush=True)
        return call

    def print_errors(self):
        """Relative L2 of actions minus noise, beside the exported form in float32."""
        noise = self.inputs[-1]
        exported = policies.own_sampler(copy.deepcopy(self.policy).float(), self.workload.cameras, self.workload.steps)
        wanted = exported(*self.inputs) - noise
        for name, call in self.calls.items():
            error = (call() - noise - wanted).norm() / wanted.norm()
            print(f"actions of {name}, beside the exported form in float32 with the same weights: {float(error):.1e}")


# ---- cuBLAS


class Gemm:
    """One product's graph, over weights enough to come from memory as they do in a model; the activations stay in the cache.

    Weights under half a megabyte do fit there, as MOST_WEIGHTS bounds their number: the smallest products come out a little fast.
    """

    def __init__(self, device, rows, columns, depth):
        self.device, self.shape = device, (rows, columns, depth)
        weight_bytes = 2 * columns * depth
        self.calls = min(max(math.ceil(L2_MULTIPLE * device.l2_bytes / weight_bytes), FEWEST_WEIGHTS), MOST_WEIGHTS)
        layouts = [self.replay_of(transposed) for transposed in (False, True)]
        self.replay = min(layouts, key=lambda replay: window(device, replay, 0.02)[0])

    def replay_of(self, transposed):
        rows, columns, depth = self.shape
        bf16 = {"dtype": torch.bfloat16, "device": self.device.name}
        stored = torch.randn(self.calls, *((columns, depth) if transposed else (depth, columns)), **bf16)
        operands = stored.transpose(1, 2) if transposed else stored
        activations, out = torch.randn(rows, depth, **bf16), torch.empty(rows, columns, **bf16)

        def multiply_all():
            for weight in operands:
                torch.mm(activations, weight, out=out)

        return self.device.captured(multiply_all)

    def milliseconds(self):
        return window(self.device, self.replay, 0.02)[0] / self.calls


class Gemms:
    def __init__(self, device, manifest):
        counts, others = gemms_of(manifest)
        self.device, self.rounds = device, []
        self.gemms = [(Gemm(device, *shape), count) for shape, count in counts.items()]
        print(f"products with weights: {sum(counts.values())} of {len(counts)} shapes; {others} other products are left out",
              flush=True)

    @property
    def longest(self):
        return max(self.gemms, key=lambda pair: math.prod(pair[0].shape))[0].replay

    def measure(self):
        window(self.device, self.longest, 0.3)  # the clocks of a busy device, whatever ran before
        self.rounds.append([gemm.milliseconds() for gemm, _ in self.gemms])
        return sum(ms * count for ms, (_, count) in zip(self.rounds[-1], self.gemms)), None

    def print_table(self):
        print(f"{'cuBLAS, rows x columns x depth':32} {'a call':>6} {'us each':>8} {'ms':>7} {'TFLOP/s':>8} {'GB/s':>6}")
        for (gemm, count), column in zip(self.gemms, zip(*self.rounds)):
            ms, (rows, columns, depth) = statistics.median(column), gemm.shape
            tflops = 2 * rows * columns * depth / ms / 1e9
            gigabytes = 2 * (rows * depth + columns * depth + rows * columns) / ms / 1e6
            print(f"{rows:5} x {columns:6} x {depth:<14} {count:6} {ms * 1e3:8.2f} {ms * count:7.3f} {tflops:8.1f} "
                  f"{gigabytes:6.0f}")


# ---- Programs beside


def measure_artifact(options):
    """The replay of `pinion bench`: the captured call by the device's clock."""
    with tempfile.TemporaryDirectory() as folder:
        saved = os.path.join(folder, "bench.json")
        subprocess.run([options.pinion, "bench", options.artifact, f"--save={saved}"], check=True, stdout=subprocess.DEVNULL)
        with open(saved) as file:
            replay = json.load(file)["replay_us"]
    return replay["p50"] / 1e3, replay["p99"] / 1e3


def measure_command(command):
    printed = subprocess.run(shlex.split(command), check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    try:
        p50, p99 = map(float, printed[-1].split())
    except (IndexError, ValueError):
        raise SystemExit(f"the last line that '{command}' prints is not its p50 and p99") from None
    return p50, p99


def print_figures(rounds):
    """{name: [(p50, p99) of each round]}, the artifact first if there is one."""
    own = statistics.median(p50 for p50, _ in rounds["Pinion"]) if "Pinion" in rounds else None
    print(f"{'medians over the rounds':36} {'p50 ms':>9} {'p99 ms':>9}" + ("  beside Pinion" if own else ""))
    for name, figures in rounds.items():
        p50 = statistics.median(value for value, _ in figures)
        p99 = "-" if figures[0][1] is None else f"{statistics.median(value for _, value in figures):.3f}"
        print(f"{name:36} {p50:9.3f} {p99:>9}" + (f"  {p50 / own:.2f} times as long" if own else ""))


def cameras_of(text):
    unknown = [name for name in text.split(",") if name not in dimensions.CAMERAS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(dimensions.CAMERAS)}")
    return tuple(text.split(","))


def at_least_one(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return int(text)


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", nargs="?")
    parser.add_argument("--policy", choices=("pi0", "pi05"), default="pi0")
    parser.add_argument("--only", help=f"some of {','.join(FORMS)}, or none (all; with --device=cpu {','.join(Cpu.forms)})")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME=COMMAND")
    parser.add_argument("--pinion", default="build/pinion")
    parser.add_argument("--rounds", type=at_least_one, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one form in one round (1)")
    parser.add_argument("--dimensions", type=dimensions.parse, default=dimensions.parse("full,prompt_tokens=20"))
    parser.add_argument("--cameras", type=cameras_of, default=dimensions.CAMERAS)
    parser.add_argument("--batch", type=at_least_one, default=1)
    parser.add_argument("--steps", type=at_least_one, default=10)
    parser.add_argument("--compile-mode", default="default", help="torch.compile's (default)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    return parser, parser.parse_args()


def forms_of(parser, options, device):
    forms = list(device.forms) if options.only is None else [form for form in options.only.split(",") if form]
    unknown = [form for form in forms if form not in device.forms]
    if unknown:
        parser.error(f"--only: '{unknown[0]}' is none of {', '.join(device.forms)}, which --device={device.name} has")
    if "gemms" in forms and not options.artifact:
        if options.only is not None:
            parser.error("gemms are those of an artifact: give one")
        forms.remove("gemms")
    if not (forms or options.artifact or options.beside):
        parser.error("nothing to measure")
    return forms


def prepare(options, forms, device):
    """-> {name: a function that measures p50 and p99 once}, what prints more at the end, and a call that keeps the device busy"""
    manifest = load_manifest(options.artifact) if options.artifact else None
    workload = workload_of(options, manifest)
    if manifest:
        check_same_model(options.artifact, manifest, workload)
    print(f"workload: {workload}", flush=True)
    measures, tables, busy = {}, [], None
    if options.artifact:
        measures["Pinion"] = lambda: measure_artifact(options)
    if set(forms) - {"gemms"}:
        peers = Peers(workload, device, forms, options.compile_mode)
        peers.print_errors()
        for name, call in peers.calls.items():
            measures[name] = lambda call=call: window(device, call, options.seconds)
            busy = call
    if "gemms" in forms:
        gemms = Gemms(device, manifest)
        measures["cuBLAS' products alone, summed"] = gemms.measure
        tables.append(gemms.print_table)
        busy = busy or gemms.longest
    for named in options.beside:
        name, _, command = named.partition("=")
        measures[name] = lambda command=command: measure_command(command)
    return measures, tables, busy


def main():
    parser, options = parse_arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch sees no GPU here (--device=cpu tries the program out)")
    device = Cuda() if options.device == "cuda" else Cpu()
    forms = forms_of(parser, options, device)
    with torch.no_grad():
        measures, tables, busy = prepare(options, forms, device)
        rounds = {name: [] for name in measures}
        for _ in range(options.rounds):
            for name, measure in measures.items():
                rounds[name].append(measure())
        for table in tables:
            table()
        if busy:
            print(device.conditions(busy))
        print_figures(rounds)


if __name__ == "__main__":
    main()
