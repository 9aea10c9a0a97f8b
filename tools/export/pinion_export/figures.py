# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The errors of PyTorch and ONNX Runtime against a float64 evaluation, on actions minus noise."""

import copy
import os
import sys

import torch

from . import checks

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
import evaluate_onnx  # noqa: E402  tools/evaluate_onnx.py


def error_of(actions, reference, case):
    return float(f"{checks.relative_error(checks.move_of(actions, case), checks.move_of(reference, case)):.4g}")


def cosine_of(actions, reference, case):
    found, wanted = checks.move_of(actions, case).flatten(), checks.move_of(reference, case).flatten()
    return float(torch.nn.functional.cosine_similarity(found, wanted, dim=0))


def against_float64(sampler, inputs, dtype):
    """-> float64 references, and per case the relative L2 of PyTorch's own float32 (and bf16) run."""
    wide, single = checks.in_float64(sampler), copy.deepcopy(sampler).float()  # bf16 values stay as they are
    references, errors = [], []
    for seed, case in enumerate(inputs):
        reference = checks.run_float64(wide, case)
        assert reference.dtype == torch.float64, "the reference fell back to a shorter type"
        found = {"seed": seed, "pytorch_float32_error": error_of(checks.run(single, case), reference, case)}
        if dtype == "bf16":
            actions = checks.run(sampler, case)
            found["pytorch_bf16_error"] = error_of(actions, reference, case)
            found["pytorch_bf16_cosine"] = round(cosine_of(actions, reference, case), 7)
        references.append(reference)
        errors.append(found)
    return references, errors


def onnxruntime_errors(path, inputs, references):
    """{'errors': [...]} per case, or {'refused': why}: bool CumSum and bf16 are what it refuses."""
    try:
        import onnxruntime
    except ImportError:
        return {"refused": "onnxruntime is not installed"}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a class of its own for each kind
        return {"refused": short_reason(str(error))}
    wanted = [value.name for value in session.get_inputs()]
    found = []
    for case, reference in zip(inputs, references):
        actions = session.run(["actions"], {name: case[name].numpy() for name in wanted})[0]
        found.append(error_of(torch.from_numpy(actions), reference, case))
    return {"version": onnxruntime.__version__, "errors": found}


def graph_errors(path, inputs, references):
    """The exported graph itself, in float64: what its exporter rounded, and no compiler can undo."""
    graph = evaluate_onnx.Graph(path)
    found = []
    for case, reference in zip(inputs, references):
        taken = {value.name: case[value.name] for value in graph.inputs}
        with torch.inference_mode():
            actions = evaluate_onnx.evaluate(graph, taken, torch.float64)["actions"]
        found.append(error_of(actions, reference, case))
    return found


def short_reason(message):
    """The runtime's own sentence, without its code prefix and the file's name."""
    sentence = message.split("failed:")[-1].split(" : ")[-1]
    return " ".join(sentence.split())[:200]
