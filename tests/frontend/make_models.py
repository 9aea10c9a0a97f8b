#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the models of the lit tests into a folder: broken ones, unsupported ones, ones whose text is looked at.

make_models.py FOLDER
"""

import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
models = {}


def model(function):
    models[function.__name__] = function
    return function


def value(name, dims, dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, dims)


def build(nodes, inputs=(("x", [2, 3]),), outputs=(("y", [2, 3]),), initializers=(), opset=20, **more):
    graph = helper.make_graph(nodes, "graph", [value(*i) for i in inputs], [value(*o) for o in outputs], initializers)
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset), helper.make_opsetid("lib", 1)], ir_version=10, **more
    )


def node(op, inputs, outputs, name=None, **attributes):
    return helper.make_node(op, inputs, outputs, name=name, **attributes)


def array(values, name, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def identity(**more):
    return build([node("Neg", ["x"], ["y"], "negate")], **more)


# ---- Graphs ----
@model
def cycle():
    return build(
        [
            node("Neg", ["c"], ["a"], "one"),
            node("Neg", ["a"], ["b"], "two"),
            node("Add", ["b", "x"], ["c"], "three"),
            node("Neg", ["c"], ["y"]),
        ]
    )


@model
def self_cycle():
    return build([node("Add", ["y", "x"], ["y"], "loop")])


@model
def defined_twice():
    return build([node("Neg", ["x"], ["y"]), node("Exp", ["x"], ["y"])])


@model
def undefined_input():
    return build([node("Add", ["x", "nowhere"], ["y"], "add")])


@model
def undefined_output():
    return build([node("Neg", ["x"], ["z"], "negate")])


@model
def too_many_inputs():
    return build([node("Neg", ["x", "x"], ["y"], "negate")])


@model
def missing_input():
    return build([node("Add", ["x", ""], ["y"], "add")])


@model
def no_broadcast():
    return build([node("Add", ["x", "w"], ["y"], "add")], initializers=[array([1, 2], "w")])


@model
def output_shape_lies():
    return identity(outputs=(("y", [3, 2]),))


@model
def output_type_lies():
    return identity(outputs=(("y", [2, 3], TensorProto.INT64),))


@model
def no_outputs():
    return identity(outputs=())


@model
def no_graph():
    broken = identity()
    broken.ClearField("graph")
    return broken


@model
def wrong_attribute_type():
    return build([node("Softmax", ["x"], ["y"], "softmax", axis="last")])


@model
def axis_out_of_range():
    return build([node("Softmax", ["x"], ["y"], "softmax", axis=2)])


@model
def bool_difference():
    return build(
        [node("Sub", ["x", "x"], ["y"], "sub")],
        inputs=[("x", [3], TensorProto.BOOL)],
        outputs=[("y", [3], TensorProto.BOOL)],
    )


@model
def absurd_expand():
    return build(
        [node("Expand", ["x", "s"], ["y"], "expand")], initializers=[array([1 << 40, 1 << 40, 2, 3], "s", np.int64)]
    )


@model
def absurd_shape_computation():
    """A shape that follows from a tensor of 2^36 elements is not computed."""
    nodes = [
        node("ConstantOfShape", ["big"], ["z"]),
        node("ReduceSum", ["z"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["n"], to=TensorProto.INT64),
        node("Unsqueeze", ["n", "zero"], ["s"]),
        node("Expand", ["x", "s"], ["y"], "expand"),
    ]
    return build(nodes, initializers=[array([1 << 18, 1 << 18], "big", np.int64), array([0], "zero", np.int64)])


# ---- Unsupported ----
@model
def unsupported():
    then = helper.make_graph([node("Neg", ["x"], ["t"])], "then", [], [value("t", [2, 3])])
    nodes = [
        node("If", ["c"], ["a"], "branch", then_branch=then, else_branch=then),
        node("Neg", ["a"], ["b"], "depends_on_branch"),
        node("TopK", ["x", "k"], ["v1", "i1"], "first_topk"),
        node("TopK", ["x", "k"], ["v2", "i2"], "second_topk"),
        node("FusedThing", ["x"], ["f"], "custom", domain="com.example"),
        node("QuantizeLinear", ["x", "s"], ["q"], "quantise"),
        node("Gelu", ["b"], ["g"], "later_one"),
        node("Swish", ["x"], ["h"], "too_new_for_opset"),
        node("Reshape", ["x", "runtime"], ["r"], "dynamic_reshape"),
        node("Relu", ["x"], ["y"], "fine"),
    ]
    initializers = [array(True, "c", np.bool_), array([1], "k", np.int64), array(0.5, "s")]
    return build(nodes, inputs=[("x", [2, 3]), ("runtime", [2], TensorProto.INT64)], initializers=initializers, opset=20)


@model
def opset_12():
    return identity(opset=12)


@model
def opset_25():
    return identity(opset=25)


@model
def string_input():
    return identity(inputs=[("x", [2], TensorProto.STRING)])


@model
def float8_weight():
    return build(
        [node("Identity", ["w"], ["y"])],
        initializers=[TensorProto(name="w", data_type=TensorProto.FLOAT8E4M3FN, dims=[2, 3], raw_data=b"123456")],
    )


# ---- Functions ----
@model
def function_in_a_circle():
    function = helper.make_function(
        "lib",
        "Round",
        ["x"],
        ["y"],
        [node("Round", ["x"], ["y"], domain="lib")],
        [helper.make_opsetid("", 20), helper.make_opsetid("lib", 1)],
    )
    return build([node("Round", ["x"], ["y"], "around", domain="lib")], functions=[function])


@model
def function_without_result():
    function = helper.make_function(
        "lib", "Nothing", ["x"], ["y"], [node("Neg", ["x"], ["z"])], [helper.make_opsetid("", 20)]
    )
    return build([node("Nothing", ["x"], ["y"], "call", domain="lib")], functions=[function])


# ---- Inputs ----
@model
def symbolic():
    return build(
        [node("Add", ["x", "z"], ["y"], "add")],
        inputs=[("x", ["batch", 3]), ("z", ["batch", 3])],
        outputs=[("y", ["batch", 3])],
    )


@model
def shapeless():
    return identity(inputs=[("x", None)], outputs=[("y", None)])


@model
def empty_input():
    return identity(inputs=[("x", [2, 0])], outputs=[("y", [2, 0])])


@model
def negative_input():
    return identity(inputs=[("x", [2, -5])], outputs=[("y", None)])


@model
def absurd_input():
    return identity(inputs=[("x", [1 << 32, 1 << 32])], outputs=[("y", None)])


@model
def input_of_rank_9():
    return identity(inputs=[("x", [1] * 9)], outputs=[("y", None)])


# ---- Tensors ----
def with_weight(tensor):
    return build([node("Add", ["x", "w"], ["y"], "add")], initializers=[tensor])


@model
def raw_data_too_short():
    return with_weight(TensorProto(name="w", data_type=FLOAT, dims=[2, 3], raw_data=b"12345678"))


@model
def typed_data_too_short():
    return with_weight(TensorProto(name="w", data_type=FLOAT, dims=[2, 3], float_data=[1, 2, 3]))


@model
def no_data():
    return with_weight(TensorProto(name="w", data_type=FLOAT, dims=[2, 3]))


@model
def negative_dims():
    return with_weight(TensorProto(name="w", data_type=FLOAT, dims=[-2, 3], raw_data=b"123456"))


@model
def overflowing_dims():
    return with_weight(TensorProto(name="w", data_type=FLOAT, dims=[1 << 62, 1 << 62, 0], raw_data=b""))


@model
def small_weight():
    return with_weight(array([1, 2, 3], "w"))


@model
def segmented():
    return with_weight(
        TensorProto(name="w", data_type=FLOAT, dims=[1], segment=TensorProto.Segment(begin=0, end=1), float_data=[1])
    )


def external(**entries):
    tensor = TensorProto(name="outside", data_type=FLOAT, dims=[2, 300], data_location=TensorProto.EXTERNAL)
    for key, entry in entries.items():
        tensor.external_data.add(key=key, value=str(entry))
    return build(
        [node("Mul", ["x", "outside"], ["y"], "scale")],
        inputs=[("x", [2, 300])],
        outputs=[("y", [2, 300])],
        initializers=[tensor],
    )


@model
def external_good():
    return external(location="data.bin", offset=100, length=2400, checksum="0" * 40)


@model
def external_missing():
    return external(location="nowhere.bin", offset=0, length=2400)


@model
def external_short():
    return external(location="data.bin", offset=4096, length=2400)


@model
def external_absolute():
    return external(location="/etc/passwd", offset=0, length=2400)


@model
def external_climbing():
    return external(location="inside/../../data.bin", offset=0, length=2400)


@model
def external_wrong_length():
    return external(location="data.bin", offset=0, length=2399)


@model
def external_bad_offset():
    return external(location="data.bin", offset="-5")


@model
def external_huge_offset():
    return external(location="data.bin", offset=(1 << 64) - 8)


@model
def external_no_location():
    return external(offset=0)


# ---- Wire format ----
@model
def empty():
    return b""


@model
def text():
    return b"this is no model at all, but a text of some length"


@model
def truncated():
    return identity(initializers=[array(np.zeros(100), "w")]).SerializeToString()[:-40]


def nested(depth, wrap):
    inner = b""
    for _ in range(depth):
        inner = wrap(inner)
    return inner


def field(number, payload):
    size, length = len(payload), b""
    while size >= 128:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + payload


@model
def deep_subgraphs():
    """GraphProto.node.attribute.g, a few thousand deep in thirty kilobytes."""
    return field(7, nested(3000, lambda inner: field(1, field(5, field(6, inner)))))


@model
def deep_types():
    """TypeProto.sequence_type.elem_type, as an input's type."""
    return field(7, field(11, field(2, nested(8000, lambda inner: field(4, field(1, inner))))))


@model
def two_graphs():
    return identity().SerializeToString() * 2


@model
def wrong_wire_type():
    return b"\x38\x01"  # ModelProto.graph as a number


# ---- Text ----
@model
def torchscript_names():
    weight = array(np.ones((4, 300)), "onnx::MatMul_7")
    nodes = [
        node(
            "MatMul",
            ["x", "onnx::MatMul_7"],
            ["/layers.0/self_attn/q_proj/MatMul_output_0"],
            "/layers.0/self_attn/q_proj/MatMul",
        ),
        node("Relu", ["/layers.0/self_attn/q_proj/MatMul_output_0"], ["r"], "/Relu"),
        node("Neg", ["r"], ["y"]),
    ]
    return build(nodes, inputs=[("x", [2, 4])], outputs=[("y", [2, 300])], initializers=[weight])


@model
def accounted():
    function = helper.make_function(
        "lib", "Twice", ["x"], ["y"], [node("Add", ["x", "x"], ["y"], "add")], [helper.make_opsetid("", 20)]
    )
    nodes = [
        node("Shape", ["x"], ["s"], "shape"),
        node("Reshape", ["x", "s"], ["r"], "reshape"),
        node("Identity", ["r"], ["i"], "pass_on"),
        node("Neg", ["i"], ["n"], "/act/Neg"),
        node("Neg", ["n"], ["m"], "/act/Neg"),
        node("Exp", ["x"], ["u"], "unneeded"),
        node("Twice", ["m"], ["y"], "call", domain="lib"),
    ]
    return build(nodes, functions=[function])


@model
def dynamo_names():
    listed = node("Relu", ["x"], ["relu"], "node_relu")
    listed.metadata_props.add(key="pkg.torch.onnx.stack_trace", value="File 'x.py', line 1, in forward\n    relu(x)")
    listed.metadata_props.add(
        key="pkg.torch.onnx.name_scopes", value="['', 'model.layers.3', \"model.layers.3.act\", 'relu']"
    )
    listed.metadata_props.add(key="namespace", value=": W/other: a.B/relu: aten.relu.default")
    spaced = node("Neg", ["relu"], ["neg"], "node_neg")
    spaced.metadata_props.add(key="namespace", value=": W/model.layers.4: pkg.Layer/neg: aten.neg.default")
    top = node("Exp", ["neg"], ["y"], "node_exp")
    top.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'exp']")
    return build([listed, spaced, top])


@model
def warned():
    chain = ["x", "a", "b", "c", "d", "e", "f", "g", "h", "y"]
    lying = build([node("Neg", [x], [y]) for x, y in zip(chain, chain[1:])])
    true = [value("a", [2, 3]), value("b", ["n", 3]), value("c", None), value("nowhere", [7])]
    lies = [value("d", [7, 7]), value("e", [2]), value("f", [2, 3, 1]), value("g", ["n", 4]), value("h", [])]
    lying.graph.value_info.extend(true + lies)
    return lying


def main(folder):
    os.makedirs(folder, exist_ok=True)
    np.arange(1000, dtype=np.float32).tofile(os.path.join(folder, "data.bin"))
    for name, make in models.items():
        made = make()
        with open(os.path.join(folder, name + ".onnx"), "wb") as file:
            file.write(made if isinstance(made, bytes) else made.SerializeToString())


if __name__ == "__main__":
    main(sys.argv[1])
