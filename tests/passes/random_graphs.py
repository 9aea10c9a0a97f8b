# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""A builder of modules as text: one @main of core ops, with the weights in a file beside it. All that is random comes from one
seed; patterns (random_patterns.py) draw their spellings and twists from the graph they are added to.
"""
import math
import os
import random

import numpy as np

NUMPY = {"f32": np.float32, "f64": np.float64, "f16": np.float16, "i64": np.int64, "i1": np.bool_}
WEIGHTS = "weights.bin"
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


class Value:
    """An SSA value: `%name` of element type `dtype` ("f32", "bf16", ..) and shape `dims`."""

    def __init__(self, name, dtype, dims):
        self.name, self.dtype, self.dims = name, dtype, tuple(int(d) for d in dims)

    @property
    def rank(self):
        return len(self.dims)

    @property
    def type(self):
        return "tensor<" + "".join(f"{d}x" for d in self.dims) + self.dtype + ">"


def to_bytes(array, dtype):
    if dtype != "bf16":
        return np.asarray(array, NUMPY[dtype]).tobytes()
    bits = np.asarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16).tobytes()


def attribute(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        return f"{value:.9e} : f64"
    if isinstance(value, int):
        return f"{value} : i64"
    return f"array<i64: {', '.join(str(v) for v in value)}>"


INFINITY = {"f32": "0xFF800000", "bf16": "0xFF80", "f16": "0xFC00"}  # negative; the bits


def literal(value, dtype):
    """What stands between `dense<` and `>`."""
    if value == -math.inf:
        return INFINITY[dtype]
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(literal(v, dtype) for v in value) + "]"
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    return f"{value:.9e}" if isinstance(value, float) else str(value)


class Graph:
    def __init__(self, seed, dtype="f32"):
        self.seed, self.dtype = seed, dtype
        self.policy = None  # a precision policy: the module's pinion.precision
        self.random = random.Random(seed)
        self.numbers = np.random.default_rng(self.random.getrandbits(32))
        self.arguments, self.lines, self.returned = [], [], []
        self.spoils = self.often(0.6)  # whether twists are to happen at all
        self.twists = []  # what was done to a pattern so that it should not, or hardly, be one
        self.weights = bytearray()
        self.module = []  # names of the enclosing modules, for locations
        self.copies = None  # within repeat(): its name, and a count of leaves
        self.known = {}  # leaves by next_key: arguments, and where in the file a weight is

    # ---- Choices ----

    def choose(self, *options):
        return self.random.choice(options)

    def often(self, probability=0.7):
        return self.random.random() < probability

    def twist(self, name, probability=0.06):
        """Whether to spoil the pattern in this way."""
        if not self.often(probability) or not self.spoils:
            return False
        self.twists.append(name)
        return True

    def either_order(self, kind, a, b):
        return self.binary(kind, a, b) if self.often(0.5) else self.binary(kind, b, a)

    # ---- Structure ----

    def inside(self, name):
        """`with g.inside("layers.0"):` names the module of the ops within."""
        graph = self

        class Inside:
            def __enter__(self):
                graph.module.append(name)

            def __exit__(self, *_):
                graph.module.pop()

        return Inside()

    def repeat(self, name, build, *arguments):
        """build(graph, ..) with the choices and the leaves that it had when it was repeated under that name before: an unrolled
        step, a camera's tower."""
        saved = self.random, self.copies
        self.random = random.Random(f"{self.seed}/{name}")
        self.copies = (name, iter(range(1 << 30)))
        result = build(self, *arguments)
        self.random, self.copies = saved
        return result

    def keep(self, value):
        """One more result of @main: a user that no pattern has."""
        self.returned.append(value)
        return value

    # ---- Leaves ----

    def next_key(self, kind):
        """The same for the same leaf of parts that are repeated."""
        return (kind, self.copies[0], next(self.copies[1])) if self.copies else (kind, len(self.known))

    def argument(self, dims, dtype=None):
        """An input of the model; repeated parts share it."""
        key = self.next_key("argument")
        if key not in self.known:
            self.known[key] = Value(f"%a{len(self.arguments)}", dtype or self.dtype, dims)
            self.arguments.append(self.known[key])
        return self.known[key]

    def constant(self, value, dtype=None, dims=None):
        """A number everywhere, or nested lists of the whole."""
        dims = np.shape(value) if dims is None else dims
        return self.emit("constant", [], dtype or self.dtype, dims, value=value)

    def weight(self, dims, scale=None, offset=0.0, dtype=None):
        """Normal numbers times `scale` (1 / sqrt of the first dimension), in the file."""
        dtype = dtype or self.dtype
        key = self.next_key("weight")
        if key not in self.known:
            scale = 1 / math.sqrt(dims[0]) if scale is None else scale
            self.known[key] = len(self.weights)
            self.weights += to_bytes(self.numbers.standard_normal(dims) * scale + offset, dtype)
            self.weights += bytes(-len(self.weights) % 64)
        at = self.known[key]
        return self.emit("weight", [], dtype, dims, name=f"w{at}", file=WEIGHTS, offset=at)

    # ---- Ops ----

    def emit(self, op, operands, dtype, dims, /, **attributes):
        result = Value(f"%{len(self.lines)}", dtype, dims)
        parts = []
        for name, value in attributes.items():
            if name == "value":
                parts.append(f"value = dense<{literal(value, dtype)}> : {result.type}")
            elif name == "operandSegmentSizes":
                parts.append(f"{name} = array<i32: {', '.join(str(int(v)) for v in value)}>")
            else:
                parts.append(f"{name} = {attribute(value)}")
        names, types = ", ".join(v.name for v in operands), ", ".join(v.type for v in operands)
        location = f"{op}_{len(self.lines)}" + ("@" + ".".join(self.module) if self.module else "")
        self.lines.append(f'{result.name} = "pinion.{op}"({names}) {{{", ".join(parts)}}} : ({types}) -> {result.type} loc("{location}")')
        return result

    def unary(self, kind, x):
        return self.emit("unary", [x], "i1" if kind == "isnan" else x.dtype, x.dims, kind=kind)

    def binary(self, kind, a, b):
        """Numbers become constants of the other operand's type."""
        if not isinstance(a, Value):
            a = self.constant(float(a), b.dtype, ())
        if not isinstance(b, Value):
            b = self.constant(float(b), a.dtype, ())
        dtype = "i1" if kind in COMPARISONS else a.dtype
        return self.emit("binary", [a, b], dtype, np.broadcast_shapes(a.dims, b.dims), kind=kind)

    def add(self, a, b):
        return self.binary("add", a, b)

    def mul(self, a, b):
        return self.binary("mul", a, b)

    def select(self, condition, a, b):
        return self.emit("select", [condition, a, b], a.dtype, np.broadcast_shapes(condition.dims, a.dims, b.dims))

    def cast(self, x, dtype):
        return self.emit("cast", [x], dtype, x.dims)

    def cast_if_other(self, x, dtype):
        return x if x.dtype == dtype else self.cast(x, dtype)

    def reduce(self, kind, x, axes, keep=True):
        dims = [1 if d in axes else n for d, n in enumerate(x.dims) if keep or d not in axes]
        return self.emit("reduce", [x], x.dtype, dims, kind=kind, axes=axes, keep=keep)

    def softmax(self, x, axis):
        return self.emit("softmax", [x], x.dtype, x.dims, axis=axis)

    def matmul(self, a, b):
        leading = np.broadcast_shapes(a.dims[:-2], b.dims[:-2])
        return self.emit("matmul", [a, b], a.dtype, (*leading, a.dims[-2], b.dims[-1]))

    def reshape(self, x, dims):
        return self.emit("reshape", [x], x.dtype, dims)

    def broadcast(self, x, dims):
        return self.emit("broadcast", [x], x.dtype, dims)

    def transpose(self, x, permutation):
        return self.emit("transpose", [x], x.dtype, [x.dims[p] for p in permutation], permutation=permutation)

    def slice(self, x, axis, start, size):
        starts, dims = [0] * x.rank, list(x.dims)
        starts[axis], dims[axis] = start, size
        return self.emit("slice", [x], x.dtype, dims, starts=starts, steps=[1] * x.rank)

    def split(self, x, axis, parts):
        size = x.dims[axis] // parts
        return [self.slice(x, axis, i * size, size) for i in range(parts)]

    def concat(self, values, axis):
        dims = list(values[0].dims)
        dims[axis] = sum(v.dims[axis] for v in values)
        return self.emit("concat", values, values[0].dtype, dims, axis=axis)

    def gather(self, x, index, axis):
        return self.emit("gather", [x, index], x.dtype, (*x.dims[:axis], *index.dims, *x.dims[axis + 1 :]), axis=axis)

    def conv(self, x, w, bias, strides):
        """Without padding."""
        operands = [v for v in (x, w, bias) if v is not None]
        places = [(x.dims[d] - w.dims[d]) // strides[d - 2] + 1 for d in (2, 3)]
        return self.emit("conv", operands, x.dtype, (x.dims[0], w.dims[0], *places), strides=strides, pads=[0] * 4, dilations=[1, 1],
                         group=1, operandSegmentSizes=(True, True, bias is not None))

    def norm(self, kind, x, scale, bias, epsilon):
        operands = [v for v in (x, scale, bias) if v is not None]
        segments = (True, scale is not None, bias is not None)
        return self.emit("norm", operands, x.dtype, x.dims, kind=kind, axis=x.rank - 1, epsilon=float(epsilon), operandSegmentSizes=segments)

    # ---- The text ----

    def text(self):
        names = ", ".join(f'"{v.name[1:]}"' for v in self.arguments)
        arguments = ", ".join(f"{v.name}: {v.type}" for v in self.arguments)
        outputs = ", ".join(f'"y{i}"' for i in range(len(self.returned)))
        types = ", ".join(v.type for v in self.returned)
        policy = f' attributes {{pinion.precision = "{self.policy}"}}' if self.policy else ""
        lines = [f"// seed {self.seed}; twists: {', '.join(self.twists) or 'none'}"]
        lines += [f"module{policy} {{"]
        lines.append(f"func.func @main({arguments}) -> ({types}) attributes {{pinion.inputs = [{names}], pinion.outputs = [{outputs}]}} {{")
        lines += ["  " + line for line in self.lines]
        lines += ["  return " + ", ".join(v.name for v in self.returned) + " : " + types, "}", "}", ""]
        return "\n".join(lines)

    def write(self, folder):
        """Returns the module's path."""
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, WEIGHTS), "wb") as file:
            file.write(self.weights)
        path = os.path.join(folder, "module.mlir")
        with open(path, "w", encoding="utf-8") as file:
            file.write(self.text())
        return path
