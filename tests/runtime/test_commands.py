#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What run, bench and inspect say about an artifact, and how they exit. Needs nothing but Python, make and a C compiler.

    test_commands.py PINION ARTIFACT

ARTIFACT is the hand-written one (tests/runtime/artifact); every test works on a copy of it.
"""
import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

PINION, ARTIFACT = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
FAILED, USAGE, BAD_INPUT, MISMATCH, NO_DEVICE = 1, 2, 3, 5, 6


def read_bytes(path):
    with open(path, "rb") as file:
        return file.read()


def varint(value):
    encoded = b""
    while value > 127:
        encoded, value = encoded + bytes([value & 127 | 128]), value >> 7
    return encoded + bytes([value])


def tensor_proto(npy, shape, data_type, name):
    """ONNX's TensorProto (dims 1, data_type 2, name 8, raw_data 9) of a .npy file's elements."""
    raw = read_bytes(npy)
    raw = raw[10 + int.from_bytes(raw[8:10], "little"):]
    dims = b"".join(b"\x08" + varint(size) for size in shape)
    return (dims + b"\x10" + varint(data_type) + b"\x42" + varint(len(name)) + name.encode() + b"\x4a" + varint(len(raw))
            + raw)


class Commands(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="pinion-test-")
        self.artifact = os.path.join(self.folder, "artifact")
        shutil.copytree(BUILT, self.artifact)  # copies times too: the library stays newer than its sources

    def tearDown(self):
        shutil.rmtree(self.folder)

    def pinion(self, *words, status=0, **environment):
        process = subprocess.run([PINION, *words], capture_output=True, text=True, env={**os.environ, **environment})
        self.assertEqual(process.returncode, status, process.stdout + process.stderr)
        return process.stdout if status in (0, MISMATCH) else process.stderr

    def path(self, *names):
        return os.path.join(self.artifact, *names)

    def run_case(self, *words, status=0):
        return self.pinion("run", self.artifact, "--inputs=" + self.path("inputs"), *words, status=status)

    def overwrite(self, name, position, data):
        with open(self.path(name), "r+b") as file:
            file.seek(position)
            file.write(data)

    # ---- run ----

    def test_outputs_agree_with_the_reference(self):
        said = self.run_case("--reference=" + self.path("reference"))
        self.assertIn("output actions f32[2,5]:", said)
        self.assertIn("minus 'noise'", said)
        self.assertIn("latency:", said)

    def test_a_wrong_reference_exits_5_and_names_the_element(self):
        said = self.run_case("--reference=" + self.path("wrong"), status=MISMATCH)
        self.assertIn("BEYOND TOLERANCE", said)
        self.assertIn("element 7", said)

    def test_the_tolerance_decides(self):
        wrong = "--reference=" + self.path("wrong")
        self.run_case(wrong, "--tolerance=1e-2")
        self.run_case(wrong, "--tolerance=1e-4", status=MISMATCH)
        self.run_case(wrong, "--tolerance=1e-2", "--rtol=1e-5", "--atol=1e-5", status=MISMATCH)
        self.run_case(wrong, "--tolerance=1e-2", "--rtol=0", "--atol=2e-3")

    def test_outputs_that_were_written_are_a_reference(self):
        out = os.path.join(self.folder, "new", "folder")
        self.run_case("--outputs=" + out)
        self.run_case("--reference=" + out, "--tolerance=0")

    def test_random_inputs_depend_on_the_seed_alone(self):
        outs = []
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            outs.append(os.path.join(self.folder, name))
            self.pinion("run", self.artifact, f"--seed={seed}", "--outputs=" + outs[-1])
        read = [read_bytes(os.path.join(out, "actions.npy")) for out in outs]
        self.assertEqual(read[0], read[1])
        self.assertNotEqual(read[0], read[2])

    def test_every_missing_input_is_named(self):
        os.remove(self.path("inputs", "state.npy"))
        os.remove(self.path("inputs", "tokens.npy"))
        said = self.run_case(status=BAD_INPUT)
        self.assertIn("'state'", said)
        self.assertIn("'tokens'", said)

    def write_test_data_set(self, names):
        folder = os.path.join(self.folder, "onnx", "test_data_set_0")
        os.makedirs(folder)
        tensors = (("state", (2, 3), 1), ("tokens", (2,), 7), ("noise", (2, 5), 1))
        order = range(3) if names is None else reversed(range(3))  # by position, or by name in another order
        for place, i in enumerate(order):
            name, shape, data_type = tensors[i]
            with open(os.path.join(folder, f"input_{place}.pb"), "wb") as file:
                npy = self.path("inputs", name + ".npy")
                file.write(tensor_proto(npy, shape, data_type, name if names else ""))
        with open(os.path.join(folder, "output_0.pb"), "wb") as file:
            file.write(tensor_proto(self.path("reference", "actions.npy"), (2, 5), 1, ""))
        return folder

    def test_onnx_test_data_sets_are_read_by_position(self):
        folder = self.write_test_data_set(None)
        self.pinion("run", self.artifact, "--inputs=" + folder, "--reference=" + folder, "--tolerance=0")

    def test_onnx_test_data_sets_are_read_by_name_from_the_folder_above(self):
        folder = os.path.dirname(self.write_test_data_set(True))
        self.pinion("run", self.artifact, "--inputs=" + folder, "--reference=" + folder, "--tolerance=0")

    def test_an_incomplete_test_data_set_is_refused(self):
        folder = self.write_test_data_set(None)
        os.remove(os.path.join(folder, "input_2.pb"))
        self.assertIn("'noise'", self.pinion("run", self.artifact, "--inputs=" + folder, status=BAD_INPUT))

    def test_an_input_of_another_shape_is_refused(self):
        shutil.copy(self.path("inputs", "noise.npy"), self.path("inputs", "state.npy"))
        self.assertIn("'state' is f32[2,5]; the model has f32[2,3]", self.run_case(status=BAD_INPUT))

    def test_the_library_is_built_when_it_is_missing_or_old(self):
        os.remove(self.path("libmodel.so"))
        self.run_case()
        self.assertTrue(os.path.exists(self.path("libmodel.so")))
        later = os.stat(self.path("libmodel.so")).st_mtime + 10
        os.utime(self.path("runtime", "pinion.c"), (later, later))
        before = os.stat(self.path("libmodel.so")).st_mtime_ns
        self.run_case()
        self.assertNotEqual(os.stat(self.path("libmodel.so")).st_mtime_ns, before)

    def test_a_build_that_fails_shows_the_compilers_words(self):
        os.remove(self.path("libmodel.so"))
        with open(self.path("model.c"), "a") as file:
            file.write("this is no C\n")
        said = self.run_case(status=FAILED)
        self.assertIn("error:", said)
        self.assertIn("does not build", said)

    def test_damaged_artifacts_exit_3(self):
        weights = self.path("weights.bin")
        self.overwrite("weights.bin", 0, b"X")
        self.assertIn("not a weights file", self.run_case(status=BAD_INPUT))
        os.truncate(weights, 512)
        self.run_case(status=BAD_INPUT)
        os.remove(weights)
        self.assertIn("weights.bin", self.run_case(status=BAD_INPUT))
        self.pinion("run", self.folder, status=BAD_INPUT)
        self.overwrite("libmodel.so", 0, b"no library")
        self.assertIn("cannot load", self.run_case(status=BAD_INPUT))

    def replace_in(self, name, *pairs):
        with open(self.path(name)) as file:
            content = file.read()
        for old, new in pairs:
            self.assertIn(old, content)
            content = content.replace(old, new)
        with open(self.path(name), "w") as file:
            file.write(content)

    def test_a_missing_device_exits_6(self):
        self.replace_in("model.c", ('.device = "cpu"', '.device = "cuda"'), ("NULL, gather", '"x.cubin", NULL'))
        self.replace_in("Makefile", ("runtime/device_cpu.c", "$(wildcard runtime/device_cuda*.c)"), ("-pthread", "-pthread -ldl"))
        os.remove(self.path("libmodel.so"))
        for command in ("run", "bench"):
            said = self.pinion(command, self.artifact, status=NO_DEVICE, PINION_CUDA_DRIVER="/nonexistent/libcuda.so.1")
            self.assertIn("/nonexistent/libcuda.so.1", said)

    def test_a_runtime_for_another_device_is_refused(self):
        self.replace_in("model.c", ('.device = "cpu"', '.device = "cuda"'))
        self.assertIn("is for device 'cuda'", self.run_case(status=BAD_INPUT))

    def test_weights_may_lie_elsewhere(self):
        elsewhere = os.path.join(self.folder, "shared.bin")
        os.rename(self.path("weights.bin"), elsewhere)
        self.run_case("--weights=" + elsewhere)
        self.pinion("run", self.artifact, PINION_WEIGHTS=elsewhere)

    def test_threads_give_the_same_outputs(self):
        out = os.path.join(self.folder, "out")
        self.run_case("--threads=1", "--outputs=" + out)
        self.run_case("--threads=3", "--reference=" + out, "--tolerance=0")
        self.assertIn("PINION_THREADS", self.pinion("run", self.artifact, PINION_THREADS="none", status=FAILED))

    def test_usage_errors_exit_2(self):
        self.pinion("run", status=USAGE)
        self.assertIn("did you mean '--inputs'", self.pinion("run", self.artifact, "--input=x", status=USAGE))
        self.pinion("bench", self.artifact, "--iterations=few", status=USAGE)
        self.assertIn("did you mean 'kernels'", self.pinion("inspect", self.artifact, "--section=kernel", status=USAGE))
        for command in ("run", "bench", "verify", "inspect"):
            self.assertIn("usage: pinion " + command, self.pinion(command, "--help"))

    # ---- bench ----

    def test_what_is_not_there_is_said_before_anything_is_built_or_measured(self):
        os.remove(self.path("model.c"))  # a build would fail
        said = self.run_case("--reference=" + self.path("nowhere"), status=BAD_INPUT)
        self.assertIn("there is no folder", said)
        said = self.pinion("bench", self.artifact, "--compare=" + self.path("nowhere.json"), status=BAD_INPUT)
        self.assertIn("nowhere.json", said)
        said = self.pinion("bench", self.artifact, "--compare=" + self.path("manifest.json"), status=BAD_INPUT)
        self.assertIn("is no saved bench", said)

    def test_a_reference_that_lacks_an_output_is_said_before_the_model_runs(self):
        said = self.run_case("--reference=" + self.path("inputs"), status=BAD_INPUT)
        self.assertNotIn("output actions", said)

    def test_bench_saves_what_it_shows_and_compares(self):
        saved = os.path.join(self.folder, "bench.json")
        said = self.pinion("bench", self.artifact, "--iterations=20", "--warmUp=1", "--threads=1", "--save=" + saved)
        for expected in ("p50", "p99", "replay", "end to end", "1 thread", "input  state f32[2,3]", "20 measured"):
            self.assertIn(expected, said)
        with open(saved) as file:
            figures = json.load(file)
        self.assertEqual(figures["model"], "example")
        self.assertEqual(figures["iterations"], 20)
        self.assertIn("1 thread: " + figures["device"], said)
        self.assertGreater(figures["replay_us"]["p50"], 0)
        self.assertLessEqual(figures["replay_us"]["p50"], figures["replay_us"]["p99"])
        bench = ("bench", self.artifact, "--iterations=20", "--warmUp=1", "--threads=1", "--compare=" + saved)
        self.assertIn("of the baseline's", self.pinion(*bench))
        figures["replay_us"]["p50"] /= 1e6
        with open(saved, "w") as file:
            json.dump(figures, file)
        self.pinion(*bench, "--allow=5", status=MISMATCH)
        with open(saved, "w") as file:
            file.write("{")
        self.pinion(*bench, status=BAD_INPUT)

    def test_the_artifacts_own_bench_runs(self):
        subprocess.run(["make", "-s", "-C", self.artifact, "bench"], check=True)
        command = [self.path("bench"), self.artifact, "--iterations=20", "--warmUp=1"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        self.assertIn("replay", said)
        self.assertIn("end to end", said)
        self.assertEqual(subprocess.run([*command, "--odd"], capture_output=True).returncode, 2)
        self.assertEqual(subprocess.run([command[0], "/nonexistent"], capture_output=True).returncode, 1)

    # ---- inspect ----

    def test_inspect_shows_every_section(self):
        said = self.pinion("inspect", self.artifact)
        for expected in ("model 'example' for cpu", "input    state f32[2,3]", "gemm_row", "tile 1x5", "3 runs a call",
                         "f32[2,5] = bf16[5,3]", "Mul a@m, Mul b@m, Mul c@m and 1 more", "packed", "weights.bin",
                         "4 in a launch", "2 import               Shape 2", "6 nodes of the model", "1 fold-constants",
                         "a call executes 3, of which 0 only move data", "launches 0 to 0"):
            self.assertIn(expected, said)
        self.assertNotIn("memory plan", self.pinion("inspect", self.artifact, "--section=kernels"))
        self.assertIn("d@m", self.pinion("inspect", self.artifact, "--nodes"))

    def test_inspects_json_is_the_manifest_and_its_tables(self):
        shown = json.loads(self.pinion("inspect", self.artifact, "--json"))
        tables = shown.pop("tables")
        with open(self.path("manifest.json")) as file:
            self.assertEqual(shown, json.load(file))
        work = {"launches": 1, "executed": 3, "flops": 180, "bytes": 300, "estimated_microseconds": 1.5}
        self.assertEqual(tables["stages"], [{"name": "step", "repeat": 3, **work}])
        self.assertEqual(tables["kinds"], [{"name": "gemm", "moves_data": False, **work, "executed_by_stage": [3]}])
        self.assertEqual(tables["total"], work)
        self.assertEqual(tables["data_movement"], dict.fromkeys(work, 0))

    def test_check_finds_a_changed_byte(self):
        self.assertIn("2 files are as they were written", self.pinion("inspect", self.artifact, "--check"))
        self.overwrite("weights.bin", 600, b"\x01")
        self.assertIn("'weights.bin' was changed", self.pinion("inspect", self.artifact, "--check", status=BAD_INPUT))

    def test_damaged_manifests_exit_3(self):
        with open(self.path("manifest.json")) as file:
            manifest = file.read()
        for damaged in ("", manifest[:-10], manifest.replace('"schema": 2', '"schema": 1'), "[]",
                        manifest.replace('"model.c"', '"../../etc/passwd"')):
            with open(self.path("manifest.json"), "w") as file:
                file.write(damaged)
            self.pinion("inspect", self.artifact, "--check", status=BAD_INPUT)
        os.remove(self.path("manifest.json"))
        self.pinion("inspect", self.artifact, status=BAD_INPUT)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="pinion-test-") as once:
        BUILT = os.path.join(once, "artifact")
        shutil.copytree(ARTIFACT, BUILT)
        subprocess.run(["make", "-s", "-C", BUILT, "libmodel.so"], check=True)
        unittest.main(argv=sys.argv[:1])
