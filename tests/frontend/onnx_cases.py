# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Small ONNX models with inputs and expected outputs: every op of the import table, in every form that opsets give it.

What ONNX defines is expected to be what onnx.reference computes; what ONNX forbids but exporters write comes with its own
expectation, PyTorch's.
"""

import dataclasses

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

random = np.random.default_rng(20)
FIRST_OPSET, LAST_OPSET = 13, 24


@dataclasses.dataclass
class Constant:
    """An input that is an initializer."""

    value: np.ndarray


@dataclasses.dataclass
class Case:
    name: str
    model: onnx.ModelProto
    inputs: list
    expected: list
    tolerance: float = 1e-5


def f32(*shape):
    return random.standard_normal(shape).astype(np.float32)


def positive(*shape):
    return (random.random(shape) + 0.1).astype(np.float32)


def i64(values):
    return np.asarray(values, np.int64)


def const(values, dtype=np.int64):
    return Constant(np.asarray(values, dtype))


def boolean(*shape):
    return random.random(shape) < 0.6


def make_model(nodes, inputs, outputs, initializers=(), opset=20, functions=(), value_info=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers, value_info=value_info)
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, 1) for d in sorted({f.domain for f in functions})]
    return helper.make_model(graph, opset_imports=opsets, functions=list(functions), ir_version=10)


def type_of(name, array):
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)


def finish(name, nodes, inputs, initializers, output_names, opset, expected=None, tolerance=1e-5, **more):
    """A case whose outputs are declared as they are expected."""
    declared = [type_of(n, a) for n, a in inputs.items()]
    if expected is None:
        # The reference wants no output types; any will do.
        loose = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in output_names]
        draft = make_model(nodes, declared, loose, initializers, opset, **more)
        expected = ReferenceEvaluator(draft).run(None, dict(inputs))
    expected = [np.asarray(e) for e in expected]
    outputs = [type_of(n, a) for n, a in zip(output_names, expected)]
    return Case(
        name, make_model(nodes, declared, outputs, initializers, opset, **more), list(inputs.values()), expected, tolerance
    )


def one(
    op, *operands, opset=20, outputs=1, label="", expected=None, tolerance=1e-5, domain="", absent_outputs=(), **attributes
):
    """One node. Operands: an array (an input), a Constant (an initializer), None (absent)."""
    inputs, initializers, names = {}, [], []
    for index, operand in enumerate(operands):
        names.append("" if operand is None else f"x{index}")
        if isinstance(operand, Constant):
            initializers.append(numpy_helper.from_array(operand.value, names[-1]))
        elif operand is not None:
            inputs[names[-1]] = np.asarray(operand)
    output_names = ["" if i in absent_outputs else f"y{i}" for i in range(outputs)]
    node = helper.make_node(op, names, output_names, name=f"the_{op}", domain=domain, **attributes)
    title = "_".join(filter(None, [op, label, str(opset)]))
    return finish(title, [node], inputs, initializers, [n for n in output_names if n], opset, expected, tolerance)


def elementwise():
    for op in (
        "Abs",
        "Ceil",
        "Cos",
        "Erf",
        "Exp",
        "Floor",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Sigmoid",
        "Sign",
        "Sin",
        "Tanh",
    ):
        yield one(op, f32(2, 3, 4) * 3)
    for op in ("Log", "Sqrt"):
        yield one(op, positive(5))
    yield one("Round", np.float32([0.5, 1.5, 2.5, -0.5, -1.5, 2.4]), label="half_to_even")
    yield one("Abs", i64([-3, 0, 7]), label="int")
    yield one("Floor", i64([3, 4]), label="int", expected=[i64([3, 4])])
    yield one("IsNaN", np.float32([np.nan, 0, np.inf]))
    yield one("IsInf", np.float32([np.nan, -np.inf, np.inf, 1]))
    yield one("IsInf", np.float32([np.nan, -np.inf, np.inf, 1]), label="negative", detect_positive=0)
    yield one("Gelu", f32(4, 4))
    yield one("Gelu", f32(4, 4), approximate="tanh", label="tanh")
    yield one("HardSigmoid", f32(9) * 4, alpha=0.3)
    yield one("HardSwish", f32(9) * 4)
    yield one("LeakyRelu", f32(9), alpha=0.2)
    yield one("Elu", f32(9), alpha=0.7)
    yield one("Softplus", f32(9) * 30)
    yield one("Swish", f32(9), opset=24)
    x = f32(9)
    yield one("Swish", x, opset=24, alpha=0.5, label="alpha", expected=[x / (1 + np.exp(-0.5 * x))])
    yield one("Not", boolean(6))
    for op in ("Add", "Sub", "Mul", "Div"):
        yield one(op, f32(2, 1, 4), f32(3, 1) + 3)
    yield one("Div", i64([7, -7, 9]), i64([2, 2, -4]), label="int", expected=[i64([3, -3, -2])])
    yield one("Max", f32(3, 1), f32(4), f32(1))
    yield one("Min", f32(3), f32(3))
    yield one("Min", f32(3), label="single")
    yield one("Sum", f32(3, 1), f32(4), f32(1))
    yield one("Mean", f32(3), f32(3), f32(3))
    yield one("Mod", i64([7, -7, 7, -7]), i64([3, 3, -3, -3]))
    yield one("Mod", i64([7, -7, 7, -7]), i64([3, 3, -3, -3]), fmod=1, label="int_fmod")
    yield one("Mod", np.float32([7.5, -7.5]), np.float32([2, 2]), fmod=1, label="fmod")
    yield one("Pow", positive(3, 4), const(2, np.float32))
    yield one("Pow", f32(3, 4), const(2, np.int64), label="int_exponent")
    yield one("Pow", i64([2, 3]), const(3, np.int64), label="int")
    for op in ("And", "Or", "Xor"):
        yield one(op, boolean(4, 1), boolean(3))
    for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        yield one(op, np.round(f32(4, 5)), np.round(f32(5)))
        yield one(op, i64([[1], [2]]), i64([1, 2, 3]), label="int")
    yield one("Equal", boolean(4), boolean(4), label="bool")
    yield one("Where", boolean(4, 1), f32(3), f32(4, 3))
    yield one("Clip", f32(9) * 3, const(-1, np.float32), const(1.5, np.float32))
    yield one("Clip", f32(9) * 3, None, const(0.5, np.float32), label="no_min")
    yield one("Clip", i64([-4, 2, 9]), const(0), label="no_max")
    yield one("Cast", f32(6) * 5, to=TensorProto.INT64)
    yield one("Cast", np.float32([0, 0.5, -2, np.nan]), to=TensorProto.BOOL, label="to_bool")
    yield one("Cast", boolean(6), to=TensorProto.FLOAT, label="from_bool")
    yield one("Cast", f32(6), to=TensorProto.BFLOAT16, label="to_bf16")
    yield one("Cast", f32(6), to=TensorProto.FLOAT16, label="to_f16")
    yield one("Cast", f32(6), to=TensorProto.DOUBLE, label="to_f64")
    yield one("CastLike", f32(6), const([1], np.int32))


def lenient():
    """ONNX forbids these; exporters write them."""
    mask = np.array([[True, False, True, True]])
    yield one("CumSum", mask, const(1), label="of_bool", expected=[i64([[1, 1, 2, 3]])])
    x = positive(4)
    yield one(
        "Pow", Constant(np.int64(10000)), x, label="number_to_tensor", expected=[np.float32(10000.0) ** x], tolerance=1e-4
    )
    yield one("Pow", Constant(np.float64(3)), x, label="f64_number_to_tensor", expected=[np.float32(3) ** x])
    t = np.float64(0.25)
    yield one("Mul", x, Constant(t), label="f64_timestep", expected=[x * np.float32(t)])
    yield one("Add", x, const(2), label="int_and_float", expected=[x + 2])
    yield one("Mul", i64([2, 3]), Constant(np.float32([0.5])), label="int_tensor_and_float", expected=[np.float32([1, 1.5])])
    yield one(
        "Where",
        mask,
        f32(1, 4) * 0 + 2,
        Constant(np.float64(-1)),
        label="mixed",
        expected=[np.where(mask, 2, -1).astype(np.float32)],
    )
    yield one("Equal", f32(4) * 0 + 1, const([1, 2, 1, 0]), label="mixed", expected=[np.array([True, False, True, False])])
    yield one("ReduceSum", mask, const([1]), label="of_bool", expected=[i64([[3]])])
    yield one("Mul", mask, ~mask, label="of_bool", expected=[mask & ~mask])
    yield one("Add", mask, ~mask, label="of_bool", expected=[mask | ~mask])
    yield one("And", i64([0, 2]), np.array([True, True]), label="of_int", expected=[np.array([False, True])])
    yield one("MatMul", f32(2, 3) * 0 + 1, np.ones((3, 2)), label="f32_by_f64", expected=[np.full((2, 2), 3.0)])
    yield one("Expand", f32(1, 3) * 0 + 1, const([4, -1]), label="minus_one", expected=[np.ones((4, 3), np.float32)])
    # The declared output type wins over what the promotion gave.
    node = helper.make_node("Mul", ["x", "t"], ["y"], name="scale")
    yield finish(
        "Mul_f64_declared_f32",
        [node],
        {"x": np.ones(3, np.float32)},
        [numpy_helper.from_array(np.array([0.5]), "t")],
        ["y"],
        20,
        [np.full(3, 0.5, np.float32)],
    )


def shaping():
    yield one("Constant", value=numpy_helper.from_array(f32(2, 2)))
    yield one("Constant", value_float=1.5, label="float")
    yield one("Constant", value_floats=[1.5, 2.5], label="floats")
    yield one("Constant", value_int=7, label="int")
    yield one("Constant", value_ints=[7, 8], label="ints")
    yield one("Constant", value=numpy_helper.from_array(f32(20, 20)), label="large")
    yield one("ConstantOfShape", const([2, 3]))
    yield one("ConstantOfShape", const([2, 3]), value=numpy_helper.from_array(np.array([7], np.int64)), label="value")
    yield one("ConstantOfShape", const(np.zeros(0)), label="scalar")
    yield one("Identity", f32(3))
    yield one("Dropout", f32(3))
    yield one("Dropout", f32(3), const(0.5, np.float32), const(False, np.bool_), outputs=2, label="mask")
    yield one("Expand", f32(3, 1), const([2, 1, 4]))
    yield one("Expand", f32(3, 4), const([1]), label="to_less")
    for axis in (0, 1, 2, -1, 3):
        yield one("Flatten", f32(2, 3, 4), axis=axis, label=f"axis{axis}")
    yield one("Range", const(2), const(11), const(3))
    yield one("Range", const(0, np.float32), const(1, np.float32), const(0.25, np.float32), label="float")
    yield one("Range", const(5), const(0), const(-2), label="down")
    yield one("Reshape", f32(2, 3, 4), const([0, -1]))
    yield one("Reshape", f32(2, 3, 4), const([4, 3, 2]), allowzero=1, label="allowzero")
    yield one("Reshape", f32(1), const(np.zeros(0)), label="scalar")
    for start, end in ((0, None), (1, None), (-2, None), (0, -1), (1, 2)):
        attributes = {} if end is None else {"end": end}
        yield one("Shape", f32(2, 3, 4), start=start, label=f"{start}_{end}".replace("-", "m"), **attributes)
    yield one("Size", f32(2, 3, 4))
    yield one("Squeeze", f32(1, 3, 1, 4))
    yield one("Squeeze", f32(1, 3, 1, 4), const([-2]), label="axes")
    yield one("Unsqueeze", f32(3, 4), const([0, -1]))
    yield one("Unsqueeze", f32(3, 4), const(1), label="scalar_axis")


def movement():
    yield one("Transpose", f32(2, 3, 4))
    yield one("Transpose", f32(2, 3, 4), perm=[1, 0, 2], label="perm")
    yield one("Concat", f32(2, 3), f32(2, 1), f32(2, 2), axis=-1)
    yield one("Concat", f32(2, 2), axis=0, label="single")
    x = f32(2, 3)
    yield one("Concat", Constant(np.zeros((2, 0), np.float32)), x, axis=1, label="empty_cache", expected=[x])
    yield one("Gather", f32(5, 3), i64([[0, 4], [-1, 2]]))
    yield one("Gather", f32(5, 3), const(1), axis=1, label="scalar")
    big = np.iinfo(np.int64).max
    yield one("Slice", f32(5, 6), const([1]), const([big]))
    yield one("Slice", f32(5, 6), const([1, -3]), const([4, big]), const([0, -1]), const([2, 1]), label="axes")
    yield one("Slice", f32(5, 6), const([-1]), const([-big]), const([1]), const([-2]), label="backwards")
    yield one("Slice", f32(5, 6), const([0], np.int32), const([3], np.int32), const([1], np.int32), label="int32")
    yield one("Split", f32(6, 4), outputs=3, opset=13, label="equal")
    yield one("Split", f32(7, 4), outputs=3, opset=18, num_outputs=3, label="uneven")
    for opset in (13, 18):
        yield one("Split", f32(6, 4), const([1, 3]), outputs=2, opset=opset, axis=-1, label="sizes")
    yield one("Tile", f32(2, 3), const([2, 3]))
    yield one("Tile", f32(1, 3), const([4, 1]), label="broadcast")
    for opset in (13, 18):
        yield one("Pad", f32(2, 3), const([0, 1, 2, 1]), opset=opset)
        yield one("Pad", f32(2, 3), const([1, 0, 0, 1]), const(2.5, np.float32), opset=opset, label="value")
    x = f32(4, 5)
    yield one(
        "Pad",
        x,
        const([1, -1]),
        None,
        const([1]),
        opset=18,
        label="axes_and_crop",
        expected=[np.pad(x, [(0, 0), (1, 0)])[:, :-1]],
    )
    yield one("Trilu", f32(2, 4, 5))
    yield one("Trilu", f32(4, 5), const(1), label="upper_k")
    yield one("Trilu", f32(4, 5), const(-1), upper=0, label="lower_k")
    yield one("Trilu", f32(4, 5), const(100), label="far_k")
    yield one("DepthToSpace", f32(1, 8, 2, 3), blocksize=2)
    yield one("DepthToSpace", f32(1, 8, 2, 3), blocksize=2, mode="CRD", label="crd")
    yield one("SpaceToDepth", f32(1, 2, 4, 6), blocksize=2)


def reduction():
    for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSumSquare"):
        yield one(op, f32(2, 3, 4), axes=[-1], opset=17)
        yield one(op, f32(2, 3, 4), const([0, 2]), keepdims=0, opset=18)
        yield one(op, f32(2, 3), opset=17, label="all")
    yield one("ReduceSum", f32(2, 3, 4), const([1]), opset=13)
    yield one("ReduceSum", f32(2, 3, 4), opset=20, noop_with_empty_axes=1, label="noop")
    yield one("ReduceSum", i64([[1, 2], [3, 4]]), const([0]), label="int")
    yield one("ReduceMax", boolean(3, 4), const([1]), opset=20, label="bool")
    yield one("CumSum", f32(3, 4), const(1))
    yield one("CumSum", f32(3, 4), const(-2), exclusive=1, reverse=1, label="exclusive_reverse")
    yield one("CumSum", np.array([1, 2, 3], np.int32), const(0, np.int32), label="int")
    yield one("Softmax", f32(3, 4))
    yield one("Softmax", f32(3, 4), axis=0, label="axis")
    yield one("LogSoftmax", f32(3, 4) * 10)
    yield one("GlobalAveragePool", f32(1, 2, 3, 4))
    yield one("GlobalMaxPool", f32(1, 2, 3, 4))


def linear():
    yield one("MatMul", f32(3, 4), f32(4, 5))
    yield one("MatMul", f32(2, 1, 3, 4), f32(5, 4, 2), label="broadcast")
    yield one("MatMul", f32(4), f32(4, 5), label="vector")
    yield one("MatMul", f32(2, 4), f32(4), label="by_vector")
    yield one("Gemm", f32(3, 4), f32(4, 5))
    yield one("Gemm", f32(4, 3), f32(5, 4), f32(5), transA=1, transB=1, alpha=0.5, beta=2.0, label="all")
    yield one("Gemm", f32(3, 4), f32(4, 5), f32(3, 1), label="column_bias")
    yield one("Conv", f32(1, 3, 8, 8), f32(4, 3, 2, 2), f32(4), strides=[2, 2])
    yield one("Conv", f32(2, 4, 7, 6), f32(6, 2, 3, 3), pads=[1, 0, 2, 1], group=2, dilations=[1, 2], label="group")
    for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
        yield one(
            "Conv",
            f32(1, 2, 7, 7),
            f32(3, 2, 4, 4),
            auto_pad=mode,
            kernel_shape=[4, 4],
            label=mode.lower(),
            strides=[2, 2] if mode == "VALID" else [1, 1],
        )
    yield one("Conv", f32(1, 2, 9), f32(3, 2, 3), f32(3), pads=[1, 1], label="1d")


def fused():
    yield one("LayerNormalization", f32(2, 3, 8), f32(8), f32(8), opset=17)
    yield one("LayerNormalization", f32(2, 3, 8), f32(3, 8), axis=1, epsilon=1e-3, opset=20, label="axis")
    yield one("RMSNormalization", f32(2, 3, 8), f32(8), opset=23)
    yield one("RMSNormalization", f32(2, 3, 8), f32(8), opset=24, epsilon=1e-2, label="epsilon")
    x, scale = f32(2, 3, 8), f32(2, 1, 8)
    expected = x / np.sqrt(np.mean(x.astype(np.float64) ** 2, -1, keepdims=True) + 1e-6) * scale
    yield one("RMSNormalization", x, scale, opset=23, epsilon=1e-6, label="adaptive", expected=[expected.astype(np.float32)])
    for opset in (23, 24):
        yield one("RotaryEmbedding", f32(2, 3, 4, 8), f32(10, 4), f32(10, 4), i64([[0, 1, 2, 3], [3, 4, 5, 9]]), opset=opset)
    yield one("RotaryEmbedding", f32(2, 3, 4, 8), f32(2, 4, 4), f32(2, 4, 4), opset=23, label="no_positions")
    yield one("RotaryEmbedding", f32(2, 3, 4, 8), f32(2, 4, 4), f32(2, 4, 4), opset=23, interleaved=1, label="interleaved")
    yield one("RotaryEmbedding", f32(2, 4, 24), f32(2, 4, 4), f32(2, 4, 4), opset=23, num_heads=3, label="flat")
    yield one(
        "RotaryEmbedding", f32(2, 3, 4, 8), f32(2, 4, 2), f32(2, 4, 2), opset=23, rotary_embedding_dim=4, label="partial"
    )


def attention():
    q, k, v = f32(2, 4, 5, 8), f32(2, 4, 6, 8), f32(2, 4, 6, 7)
    for opset in (23, 24):
        yield one("Attention", q, k, v, opset=opset)
    yield one("Attention", q, k, v, opset=23, scale=0.2, label="scale")
    yield one("Attention", q, k, v, boolean(5, 6) | (np.arange(6) == 0), opset=23, label="bool_mask")
    yield one("Attention", q, k, v, f32(2, 1, 5, 6), opset=23, label="additive_mask")
    yield one("Attention", q, k, v, f32(5, 6), opset=23, is_causal=1, label="causal_rectangular_mask")
    yield one("Attention", q, k, v, opset=23, is_causal=1, label="causal_rectangular")
    square = f32(2, 4, 5, 8), f32(2, 4, 5, 8), f32(2, 4, 5, 8)
    yield one("Attention", *square, opset=23, is_causal=1, label="causal")
    yield one("Attention", *square, boolean(5, 5) | np.eye(5, dtype=bool), opset=24, is_causal=1, label="causal_bool_mask")
    flat = f32(2, 5, 32), f32(2, 6, 16), f32(2, 6, 12)
    yield one("Attention", *flat, opset=23, q_num_heads=4, kv_num_heads=2, label="flat_grouped")
    yield one("Attention", f32(1, 8, 5, 4), f32(1, 1, 6, 4), f32(1, 1, 6, 4), opset=23, label="one_key_head")
    past = f32(2, 4, 3, 8), f32(2, 4, 3, 7)
    yield one("Attention", q, k, v, None, *past, opset=23, outputs=3, label="cache")
    yield one(
        "Attention",
        q[:, :, :2],
        k[:, :, :2],
        v[:, :, :2],
        None,
        *past,
        opset=24,
        outputs=3,
        is_causal=1,
        label="causal_cache",
    )
    yield one("Attention", q, k, v, f32(5, 9), *past, opset=23, outputs=3, label="cache_mask")
    yield one("Attention", q, k, v, opset=23, softcap=2.0, label="softcap")
    yield one(
        "Attention",
        f32(2, 4, 5, 8),
        f32(2, 2, 6, 8),
        f32(2, 2, 6, 8),
        boolean(5, 6) | (np.arange(6) == 0),
        opset=23,
        softcap=2.0,
        label="softcap_grouped_mask",
    )
    for mode in range(4):
        yield one(
            "Attention",
            q,
            k,
            v,
            f32(5, 6),
            opset=23,
            outputs=4,
            absent_outputs=(1, 2),
            qk_matmul_output_mode=mode,
            softcap=3.0 if mode else 0.0,
            label=f"scores_{mode}",
        )
    yield one("Attention", q, k, v, None, None, None, i64([4, 6]), opset=24, label="valid_keys")
    yield one("Attention", q, k, v, None, None, None, i64([5, 6]), opset=24, is_causal=1, label="valid_keys_causal")
    yield one("Attention", q, k, v, f32(5, 6), None, None, i64([4, 6]), opset=24, label="valid_keys_mask")
    yield one("Attention", q, k, v, f32(5, 6), opset=23, is_causal=1, softcap=1.5, label="softcap_causal")
    blind = np.ones((5, 6), bool)
    blind[2] = False
    yield one("Attention", q, k, v, blind, opset=23, label="blind_row")
    yield one(
        "Attention", q, k, v, np.where(blind, np.float32(0), np.float32(-np.inf)), opset=23, label="blind_row_additive"
    )
    yield one("Attention", q, k, v, blind, opset=23, softcap=2.0, label="softcap_blind_row")


def stored(name, array, **fields):
    """A TensorProto with its values in a typed field."""
    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    for field, values in fields.items():
        getattr(tensor, field).extend(values)
    return tensor


def encodings():
    """Every element type in raw_data and in the typed field that ONNX prescribes, small (inline) and large (a weight)."""
    fields = {"float32": "float_data", "float64": "double_data", "int64": "int64_data", "uint64": "uint64_data"}
    fields |= {"uint32": "uint64_data"} | {name: "int32_data" for name in ("int32", "int16", "int8", "uint16", "uint8")}
    fields |= {name: "int32_data" for name in ("bool", "float16", "bfloat16")}
    for name, field in fields.items():
        dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
        for size in (3, 1500):
            values = random.standard_normal(size) * 20
            array = (values > 0) if name == "bool" else (np.abs(values) if name.startswith("u") else values).astype(dtype)
            bits = array.view(np.uint16) if dtype.kind not in "iub" and dtype.itemsize == 2 else array.astype(int) if name == "bool" else array
            node = helper.make_node("Identity", ["w"], ["y"], name="pass")
            raw, typed = numpy_helper.from_array(array, "w"), stored("w", array, **{field: bits.tolist()})
            for kind, tensor in (("raw", raw), (field, typed)):
                assert tensor.HasField("raw_data") == (kind == "raw")
                yield finish(f"tensor_{name}_{kind}_{size}", [node], {}, [tensor], ["y"], 20, [array], 0)
    # dims absent: a scalar
    yield finish(
        "tensor_scalar",
        [helper.make_node("Identity", ["w"], ["y"])],
        {},
        [numpy_helper.from_array(np.float32(3), "w")],
        ["y"],
        20,
        [np.float32(3)],
    )


def graphs():
    x = f32(2, 3)
    node = helper.make_node
    reverse = [
        node("Neg", ["b"], ["y"], name="last"),
        node("Exp", ["a"], ["b"], name="middle"),
        node("Relu", ["x"], ["a"], name="first"),
    ]
    yield finish("graph_out_of_order", reverse, {"x": x}, [], ["y"], 20, [-np.exp(np.maximum(x, 0))])
    yield finish("graph_output_is_input", [node("Identity", ["x"], ["y"])], {"x": x}, [], ["y"], 20)
    yield finish(
        "graph_output_twice", [node("Neg", ["x"], ["y"]), node("Identity", ["y"], ["z"])], {"x": x}, [], ["y", "z"], 20
    )
    yield finish("graph_unnamed_nodes", [node("Neg", ["x"], ["a"]), node("Neg", ["a"], ["y"])], {"x": x}, [], ["y"], 20)
    yield finish(
        "graph_default_domain_spelled_out", [node("Neg", ["x"], ["y"], domain="ai.onnx")], {"x": x}, [], ["y"], 20, [-x]
    )
    # Shapes computed the way exporters do.
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "one"], ["d"], axis=0),
        node("Unsqueeze", ["d", "zero"], ["d1"]),
        node("Concat", ["d1", "minus"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["y"]),
    ]
    initializers = [
        numpy_helper.from_array(i64(1), "one"),
        numpy_helper.from_array(i64([0]), "zero"),
        numpy_helper.from_array(i64([-1]), "minus"),
    ]
    yield finish("graph_computed_shape", nodes, {"x": f32(2, 3, 4)}, initializers, ["y"], 17)
    nodes = [
        node("Constant", [], ["shape"], value_ints=[4, 1, -1]),
        node("ConstantOfShape", ["three"], ["ones"], value=numpy_helper.from_array(i64([1]))),
        node("Constant", [], ["minus"], value_int=-1),
        node("Mul", ["ones", "minus"], ["minuses"]),
        node("Equal", ["shape", "minuses"], ["is_free"]),
        node("Where", ["is_free", "ones", "shape"], ["wanted"]),
        node("Expand", ["x", "wanted"], ["y"]),
    ]
    yield finish(
        "graph_torchscript_expand", nodes, {"x": f32(1, 2, 3)}, [numpy_helper.from_array(i64([3]), "three")], ["y"], 17
    )
    # Shapes that floats are rounded to.
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Cast", ["s"], ["f"], to=TensorProto.FLOAT),
        node("Mul", ["f", "half"], ["h"]),
        node("Floor", ["h"], ["g"]),
        node("Cast", ["g"], ["n"], to=TensorProto.INT64),
        node("ConstantOfShape", ["n"], ["c"]),
        node("Shape", ["c"], ["y"]),
    ]
    yield finish(
        "graph_rounded_shape", nodes, {"x": f32(5, 8)}, [numpy_helper.from_array(np.float32([0.5]), "half")], ["y"], 17
    )
    # An input with an initializer has that as its value.
    model = finish(
        "graph_input_with_default",
        [node("Add", ["x", "w"], ["y"])],
        {"x": x},
        [numpy_helper.from_array(np.float32([1, 2, 3]), "w")],
        ["y"],
        20,
    )
    model.model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [3]))
    yield model
    # Wrong shapes of intermediate values are warned about, not believed.
    lie = [helper.make_tensor_value_info("a", TensorProto.FLOAT, [7, 7])]
    yield finish(
        "graph_value_info_lies",
        [node("Neg", ["x"], ["a"]), node("Neg", ["a"], ["y"])],
        {"x": x},
        [],
        ["y"],
        20,
        [x],
        value_info=lie,
    )


def functions():
    node = helper.make_node
    scale_by = helper.make_function(
        "lib",
        "ScaleBy",
        ["x", "s"],
        ["y"],
        [node("Mul", ["x", "s"], ["t"]), node("LeakyRelu", ["t"], ["y"])],
        [helper.make_opsetid("", 20)],
        ["alpha"],
    )
    leak = scale_by.node[1].attribute.add()
    leak.name, leak.ref_attr_name, leak.type = "alpha", "alpha", onnx.AttributeProto.FLOAT
    x = f32(2, 3)
    yield finish(
        "function_with_attribute",
        [node("ScaleBy", ["x", "s"], ["y"], domain="lib", alpha=0.25)],
        {"x": x},
        [numpy_helper.from_array(np.float32(2), "s")],
        ["y"],
        20,
        [np.where(x < 0, 0.25, 1).astype(np.float32) * 2 * x],
        functions=[scale_by],
    )
    twice = helper.make_function(
        "lib",
        "Twice",
        ["x"],
        ["y"],
        [
            node("ScaleBy", ["x", "c"], ["t"], domain="lib", alpha=0.5),
            node("ScaleBy", ["t", "c"], ["y"], domain="lib", alpha=0.5),
            node("Constant", [], ["c"], value_float=3.0),
        ],
        [helper.make_opsetid("", 20), helper.make_opsetid("lib", 1)],
    )
    scaled = np.where(3 * x < 0, 0.5 * 3 * x, 3 * x)
    scaled = np.where(3 * scaled < 0, 0.5 * 3 * scaled, 3 * scaled).astype(np.float32)
    yield finish(
        "function_in_function",
        [node("Twice", ["x"], ["y"], domain="lib")],
        {"x": x},
        [],
        ["y"],
        20,
        [scaled],
        functions=[scale_by, twice],
    )


def low_precision():
    bf16 = ml_dtypes.bfloat16
    a, b = f32(3, 8).astype(bf16), f32(8, 4).astype(bf16)
    product = (a.astype(np.float32) @ b.astype(np.float32)).astype(bf16)
    yield one("MatMul", a, b, label="bf16", expected=[product], tolerance=2**-7)
    yield one("Add", a, a, label="bf16", expected=[(a.astype(np.float32) * 2).astype(bf16)], tolerance=2**-8)
    h = f32(3, 8).astype(np.float16)
    yield one("Mul", h, h, label="f16", expected=[(h.astype(np.float32) ** 2).astype(np.float16)], tolerance=2**-10)


def all_cases():
    for group in (
        elementwise,
        lenient,
        shaping,
        movement,
        reduction,
        linear,
        fused,
        attention,
        encodings,
        graphs,
        functions,
        low_precision,
    ):
        yield from group()
