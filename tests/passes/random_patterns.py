# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the passes look for, in the spellings of exporters, and spoilt now and then: parts of the graphs of check_random.py.

To add a pattern: a function of the graph and a value [B, S, D] that returns another of that shape, decorated with @block; it draws
its spelling with g.choose and g.often, and spoils it where g.twist says so. What has a shape of its own goes to the model below.
"""
import math

HEADS, HEAD_DIM, WIDTH, HIDDEN = 2, 4, 8, 12
LOW = -2.3819763e38  # what exporters hide a score with
BLOCKS = []


def block(function):
    BLOCKS.append(function)
    return function


# ---- Norms ----


def mean_of(g, x):
    axes = [x.rank - 1]
    if g.twist("mean over another axis"):
        axes = [x.rank - 2]
    mean = g.reduce("mean", x, axes, keep=True)
    if g.twist("the statistics have a second user"):
        g.keep(mean)
    return mean


def divided_by_root(g, x, variance):
    """x / sqrt(variance), in one of the spellings."""
    spelling = g.choose("rsqrt", "reciprocal", "one over", "power", "quotient")
    if spelling == "rsqrt":
        inverse = g.unary("rsqrt", variance)
    elif spelling == "power":
        inverse = g.binary("pow", variance, -0.5 if not g.twist("another power") else -0.4)
    else:
        root = g.unary("sqrt", variance) if g.often() else g.binary("pow", variance, 0.5)
        if spelling == "quotient":
            return g.binary("div", x, root)
        inverse = g.unary("reciprocal", root) if spelling == "reciprocal" else g.binary("div", 1.0, root)
    return g.either_order("mul", x, inverse)


def squared(g, x):
    if g.twist("squares of two values"):
        return g.mul(x, g.binary("mul", x, 1.5))
    return g.mul(x, x) if g.often() else g.binary("pow", x, 2.0)


def epsilon(g):
    return g.choose(1e-6, 1e-5, 1e-2, 0.5)


def plus_epsilon(g, x):
    if g.twist("an epsilon of its own for each row"):
        return g.add(x, g.constant([[1e-3 * (i + 1)] for i in range(x.dims[-2])], x.dtype))
    return g.either_order("add", x, epsilon(g))


def normalised(g, x, kind="rms"):
    """Without weights; as wide as x, or in float32 between casts."""
    if g.often(0.15):
        return g.norm(kind, x, None, None, epsilon(g))
    wide = g.dtype if g.dtype == "f32" or g.twist("statistics of a narrow type", 0.2) else "f32"
    y = g.cast_if_other(x, wide)
    if kind == "layer":
        y = g.binary("sub", y, mean_of(g, y))
    y = divided_by_root(g, y, plus_epsilon(g, mean_of(g, squared(g, y))))
    if g.twist("what is normalised has a second user"):
        g.keep(y)
    return y


def row(g, dtype, around):
    """A weight of a norm; not always one that is known."""
    if g.twist("a weight that is not constant"):
        return g.argument([WIDTH], dtype)
    weight = g.weight([WIDTH], 0.2, around, dtype)
    return g.reshape(weight, [1, 1, WIDTH]) if g.often(0.2) else weight


def rms_norm(g, x):
    y = normalised(g, x)
    if g.often(0.85):
        scale = row(g, y.dtype, 1.0) if g.often(0.5) else g.either_order("add", row(g, y.dtype, 0.0), 1.0)
        y = g.cast_if_other(y, g.dtype) if g.twist("rounded before the weight") else y
        y = g.either_order("mul", y, g.cast_if_other(scale, y.dtype))
    return g.cast_if_other(y, g.dtype)


def layer_norm(g, x):
    y = normalised(g, x, "layer")
    y = g.either_order("mul", y, row(g, y.dtype, 1.0))
    return g.cast_if_other(g.either_order("add", y, row(g, y.dtype, 0.0)), g.dtype)


def any_norm(g, x):
    return g.choose(rms_norm, rms_norm, layer_norm)(g, x)


def modulation(g, condition):
    """scale, shift and gate [B, 1, WIDTH] of a condition [B, C]."""
    rows = linear(g, condition, 3 * WIDTH)
    if g.often(0.5):
        return g.split(g.reshape(rows, [rows.dims[0], 1, 3 * WIDTH]), 2, 3)
    return [g.reshape(part, [rows.dims[0], 1, WIDTH]) for part in g.split(rows, 1, 3)]


def adaptive_norm(g, x, scale, shift):
    y = normalised(g, x)
    scale, shift = g.cast_if_other(scale, y.dtype), g.cast_if_other(shift, y.dtype)
    y = g.either_order("mul", y, g.either_order("add", scale, 1.0))
    return g.cast_if_other(g.either_order("add", y, shift), g.dtype)


# ---- Activations ----


def gelu_tanh(g, x):
    if g.often(0.2):
        return g.unary("gelu_tanh", x)
    cubic, root = 0.044715, math.sqrt(2 / math.pi)
    if g.twist("another constant"):
        cubic = 0.05
    if g.often():
        cube = g.mul(g.mul(x, x), x) if g.often() else g.binary("pow", x, 3.0)
        inner = g.mul(g.either_order("add", x, g.either_order("mul", cube, cubic)), root)
    else:
        inner = g.mul(g.mul(x, root), g.add(g.mul(g.mul(x, cubic), x), 1.0))
    curve = g.either_order("add", g.unary("tanh", inner), 1.0)
    if g.twist("the curve has a second user"):
        g.keep(curve)
    if g.often():
        return g.mul(g.mul(x, 0.5), curve)
    return g.either_order("mul", x, g.mul(curve, 0.5))


def gelu_erf(g, x):
    inner = g.binary("div", x, math.sqrt(2)) if g.often() else g.mul(x, math.sqrt(0.5))
    curve = g.either_order("add", g.unary("erf", inner), 1.0)
    return g.mul(g.either_order("mul", x, curve), 0.5)


def silu(g, x):
    gate = g.unary("sigmoid", x if not g.twist("the sigmoid of another value") else g.mul(x, 1.7))
    return g.either_order("mul", x, gate)


def activation(g, x):
    return g.choose(gelu_tanh, gelu_erf, silu)(g, x)


# ---- Projections ----


def weight_matrix(g, k, n):
    if g.twist("a matrix that is not constant"):
        return g.argument([k, n])
    if g.often(0.3):
        return g.transpose(g.weight([n, k], 1 / math.sqrt(k)), [1, 0])
    if g.dtype != "f32" and g.often(0.1):
        return g.cast(g.weight([k, n], dtype="f32"), g.dtype)
    return g.weight([k, n])


def linear(g, x, n, bias=None):
    y = g.matmul(x, weight_matrix(g, x.dims[-1], n))
    if bias if bias is not None else g.often(0.3):
        y = g.either_order("add", y, g.weight([n] if g.often(0.8) else [1, n], 0.3))
    if g.twist("a product has a second user"):
        g.keep(y)
    return y


@block
def plain_mlp(g, x):
    return linear(g, activation(g, linear(g, any_norm(g, x), HIDDEN)), WIDTH)


@block
def gated_mlp(g, x):
    h = any_norm(g, x)
    gate, up = linear(g, h, HIDDEN, False), linear(g, h, HIDDEN, False)
    if g.twist("gate and up of two inputs"):
        up = linear(g, x, HIDDEN, False)
    y = g.either_order("mul", activation(g, gate), up)
    return linear(g, y, WIDTH, False)


@block
def siblings(g, x):
    """Projections of one input, of several widths, with and without bias and scale."""
    parts = []
    for _ in range(g.choose(2, 3)):
        part = linear(g, x, g.choose(4, 8, 12))
        part = g.mul(part, g.weight([part.dims[-1]], 0.2, 1.0)) if g.often(0.3) else part
        parts.append(g.unary("tanh", part) if g.often(0.4) else part)
    return linear(g, g.concat(parts, 2), WIDTH)


@block
def two_projections(g, x):
    """One behind the other, with a row, a cast or other rows between them."""
    h = linear(g, x, g.choose(2, 12, 16), g.often())
    if g.often(0.3):
        h = g.cast(g.cast(h, g.choose("bf16", "f32", "f64")), g.dtype)
    if g.often(0.3):
        h = g.reshape(h, [h.dims[0] * h.dims[1], h.dims[2]])
    if g.twist("an activation between two projections"):
        h = g.unary("tanh", h)
    y = g.reshape(linear(g, h, WIDTH), x.dims)
    return g.either_order("add", y, g.argument(x.dims)) if g.often(0.3) else y


@block
def product_of_concat(g, x):
    """Some of the columns are the same in every row, and known."""
    known = g.broadcast(g.weight([1, 1, 4], 1.0), [*x.dims[:2], 4])
    if g.often(0.3):
        known = g.argument([*x.dims[:2], 4])
    parts = [x, known] if g.often() else [known, x]
    return linear(g, g.unary("tanh", linear(g, g.concat(parts, 2), HIDDEN)), WIDTH)


@block
def adaptive_mlp(g, x):
    scale, shift, gate = modulation(g, g.argument([x.dims[0], 6]))
    h = adaptive_norm(g, x, scale, shift)
    return g.either_order("mul", linear(g, activation(g, linear(g, h, HIDDEN)), WIDTH), gate)


# ---- Attention ----


def angle_tables(g, rows):
    """cos and sin [1, 1, rows, HEAD_DIM] (or without ones in front) of positions that are constants or an argument."""
    frequencies = g.constant([1.0, 0.1], "f32")
    if g.often(0.5):
        positions = g.cast(g.argument([rows], "i64"), "f32")
    else:
        positions = g.constant([float(i) for i in range(rows)], "f32")
    angles = g.mul(g.reshape(positions, [rows, 1]), frequencies)
    halves = [angles, angles]
    if g.twist("angles of two halves"):
        halves[1] = g.mul(angles, 0.5)
    angles = g.concat(halves, 1)
    tables = [g.cast_if_other(g.unary(kind, angles), g.dtype) for kind in ("cos", "sin")]
    return [g.reshape(table, [1, 1, rows, HEAD_DIM]) for table in tables] if g.often(0.6) else tables


def rotate(g, x, tables):
    """x [B, H, S, D]"""
    low, high = g.split(x, 3, 2)
    if g.often(0.3):
        return rotate_halves(g, x, low, high, tables)
    if g.twist("the other half is negated"):
        low, high = high, low
    turned = g.concat([g.unary("neg", high), low], 3)
    if g.twist("what is turned has a second user"):
        g.keep(turned)
    return g.either_order("add", g.either_order("mul", x, tables[0]), g.either_order("mul", turned, tables[1]))


def rotate_halves(g, x, low, high, tables):
    """Each half by itself, with the first half of the angles."""
    cosine, sine = (g.split(table, len(table.dims) - 1, 2)[0] for table in tables)
    if g.twist("the halves of two values"):
        low = g.binary("mul", low, 0.5)
    parts = [g.either_order("mul", half, angle) for half, angle in
             ((low, cosine), (high, sine), (high, cosine), (low, sine if not g.twist("a sine too many") else cosine))]
    return g.concat([g.binary("sub", parts[0], parts[1]), g.either_order("add", parts[2], parts[3])], 3)


def heads_of(g, x, heads):
    """[B, S, heads * D] -> [B, heads, S, D]"""
    return g.transpose(g.reshape(x, [*x.dims[:2], heads, HEAD_DIM]), [0, 2, 1, 3])


def rotated_heads(g, x, heads, tables):
    """[B, S, heads * D] -> [B, heads, S, D], rotated in either layout."""
    if g.often(0.8):
        return rotate(g, heads_of(g, x, heads), tables)
    rows = g.reshape(x, [*x.dims[:2], heads, HEAD_DIM])
    turned = rotate(g, rows, [g.reshape(table, [1, x.dims[1], 1, HEAD_DIM]) for table in tables])
    return g.transpose(turned, [0, 2, 1, 3])


def repeated(g, x, heads):
    """One head of K or V for several query heads."""
    batch, groups, rows, width = x.dims
    if groups == heads:
        return x
    spread = g.broadcast(g.reshape(x, [batch, groups, 1, rows, width]), [batch, groups, heads // groups, rows, width])
    return g.reshape(spread, [batch, heads, rows, width])


def transposed(g, k):
    if g.often():
        return g.transpose(k, [0, 1, 3, 2])
    batch, heads, rows, width = k.dims
    flat = g.transpose(g.reshape(k, [batch * heads, rows, width]), [0, 2, 1])
    return g.reshape(flat, [batch, heads, width, rows])


def visible(g, batch, queries, keys):
    """bool [B, 1, Q, K] (or fewer): of an argument, of which queries see the more the later they come, perhaps; key 0 is
    always seen."""
    dims = g.choose([batch, 1, queries, keys], [batch, 1, 1, keys], [queries, keys])
    first = g.constant([key == 0 for key in range(keys)], "i1")
    shows = g.binary("or", g.argument(dims, "i1"), first)
    if g.often():
        return shows
    limits = sorted(g.random.randint(1, keys) for _ in range(g.choose(1, 2, 3, queries)))
    limits = [limits[query * len(limits) // queries] for query in range(queries)]
    return g.either_order("and", shows, g.constant([[key < limit for key in range(keys)] for limit in limits], "i1"))


def masked(g, scores, valid=None):
    """`valid`: which keys there are, [B, K], if that is what hides any."""
    batch, _, queries, keys = scores.dims
    kinds = ["select", "added select", "infinite"]
    kind = g.choose(*kinds) if valid else g.choose("none", "additive", *kinds)
    if kind == "none":
        return scores
    if kind == "additive":
        return g.either_order("add", scores, g.argument([batch, 1, queries, keys], scores.dtype))
    shows = g.reshape(valid, [batch, 1, 1, keys]) if valid else visible(g, batch, queries, keys)
    hidden = -math.inf if kind == "infinite" else LOW if scores.dtype != "f16" else -6e4
    hidden = g.constant(hidden, scores.dtype, ())
    if kind == "added select":
        return g.either_order("add", scores, g.select(shows, g.constant(0.0, scores.dtype, ()), hidden))
    return g.select(shows, scores, hidden) if g.often() else g.select(g.unary("not", shows), hidden, scores)


def attended(g, q, k, v, valid=None):
    """q [B, H, Q, D], k and v [B, G, K, D], valid [B, K] -> [B, Q, H * D]"""
    heads, scale = q.dims[1], 1 / math.sqrt(HEAD_DIM)
    k, v = repeated(g, k, heads), repeated(g, v, heads)
    where = g.choose("scores", "quotient", "q", "both", "nowhere")
    if where in ("q", "both"):
        q = g.mul(q, scale if where == "q" else math.sqrt(scale))
    k = transposed(g, k)
    if where == "both":
        k = g.mul(k, math.sqrt(scale))
    scores = g.matmul(q, k)
    if where == "scores":
        scores = g.mul(scores, scale)
    if where == "quotient":
        scores = g.binary("div", scores, 1 / scale)
    if g.twist("the scores have a second user"):
        g.keep(scores)
    wide = g.cast_if_other(scores, "f32") if g.often() else scores
    weights = g.softmax(masked(g, wide, valid), 3 if not g.twist("a softmax along the queries") else 2)
    if g.twist("the weights have a second user"):
        g.keep(weights)
    weights = g.cast_if_other(weights, g.dtype)
    if g.often(0.2):
        weights = g.select(g.unary("isnan", weights), g.constant(0.0, weights.dtype, ()), weights)
    y = g.matmul(weights, v)
    return g.reshape(g.transpose(y, [0, 2, 1, 3]), [q.dims[0], q.dims[2], heads * HEAD_DIM])


def behind(g, prefix, own):
    """Both in one tensor; maybe the prefix is cut out again and scaled, which is the same at every step, as canonicalising tells."""
    both = g.concat([prefix, own], 2)
    return both if g.often() else g.concat([g.mul(g.slice(both, 2, 0, prefix.dims[2]), 0.5), own], 2)


def attention(g, h, tables, prefix=None, valid=None):
    """h [B, S, D] normalised; `prefix`: keys and values [B, G, P, D] in front; `valid`: which keys there are, [B, K]. Returns the
    branch, and its own k and v."""
    groups = prefix[0].dims[1] if prefix else g.choose(1, 2)
    q, k, v = (linear(g, h, n * HEAD_DIM, g.often(0.2)) for n in (HEADS, groups, groups))
    v = heads_of(g, v, groups)
    if tables:
        q, k = rotated_heads(g, q, HEADS, tables), rotated_heads(g, k, groups, tables)
    else:
        q, k = heads_of(g, q, HEADS), heads_of(g, k, groups)
    own = k, v
    if prefix:
        k, v = behind(g, prefix[0], k), behind(g, prefix[1], v)
    return linear(g, attended(g, q, k, v, valid), h.dims[-1], False), own


@block
def self_attention(g, x):
    tables = angle_tables(g, x.dims[1]) if g.often(0.5) else None
    return attention(g, any_norm(g, x), tables)[0]


# ---- Anything elementwise ----


@block
def elementwise(g, x):
    y = x
    for _ in range(g.choose(2, 4, 7)):
        kind = g.choose("unary", "row", "number", "self", "cast", "select", "fork")
        if kind == "unary":
            y = g.unary(g.choose("neg", "tanh", "sigmoid", "abs", "relu", "sin"), y)
        elif kind == "row":
            y = g.either_order(g.choose("add", "mul", "sub"), y, g.weight([x.dims[-1]], 0.5))
        elif kind == "number":
            y = g.binary(g.choose("add", "mul", "min", "max", "sub"), y, g.choose(0.0, 1.0, -0.5, 2.0))
        elif kind == "self":
            y = g.binary(g.choose("add", "mul"), y, x)
        elif kind == "cast":
            y = g.cast(g.cast(y, g.choose("bf16", "f16", "f32", "f64")), g.dtype)
        elif kind == "select":
            y = g.select(g.binary("lt", y, x), y, g.binary("mul", x, 0.5))
        else:
            g.keep(y)
    return y


# ---- Models ----


def residual(g, x, branch):
    if g.twist("the residual has a second user"):
        g.keep(branch)
    return g.either_order("add", x, branch)


def chain(g):
    """Blocks one after the other."""
    x = g.argument([g.choose(1, 2), g.choose(3, 5), WIDTH])
    for number in range(g.choose(2, 3, 4)):
        with g.inside(f"layers.{number}"):
            branch = g.choose(*BLOCKS)(g, x)
            x = residual(g, x, branch) if g.often(0.8) else branch
    g.keep(x)


def tower(g, image):
    """[1, 1, 4, 4] -> [1, 4, WIDTH]: patches, and a layer."""
    if g.often(0.5):
        strides = [1, 2] if g.twist("windows overlap") else [2, 2]
        x = g.conv(image, g.weight([WIDTH, 1, 2, 2], 0.5), g.weight([WIDTH], 0.2) if g.often(0.5) else None, strides)
        x = g.transpose(g.reshape(x, [1, WIDTH, x.dims[2] * x.dims[3]]), [0, 2, 1])
        x = g.slice(x, 1, 0, 4) if x.dims[1] > 4 else x
    else:
        patches = g.transpose(g.reshape(image, [1, 2, 2, 2, 2]), [0, 1, 3, 2, 4])
        x = linear(g, g.reshape(patches, [1, 4, 4]), WIDTH)
    x = g.add(x, g.weight([1, 4, WIDTH], 0.3))
    if g.twist("tokens are mixed across the batch", 0.2):
        mixed = g.matmul(g.transpose(g.reshape(x, [4, WIDTH]), [1, 0]), g.weight([4, 4]))
        x = g.reshape(g.transpose(mixed, [1, 0]), [1, 4, WIDTH])
    with g.inside("layers.0"):
        return layer(g, x, None)[0]


def layer(g, x, tables, prefix=None, condition=None, valid=None):
    """A transformer's layer; returns its result, and its keys and values."""
    if condition is None:
        branch, own = attention(g, any_norm(g, x), tables, prefix, valid)
        x = residual(g, x, branch)
        return residual(g, x, g.choose(gated_mlp, plain_mlp)(g, x)), own
    scale, shift, gate = modulation(g, condition)
    branch, own = attention(g, adaptive_norm(g, x, scale, shift), tables, prefix)
    x = residual(g, x, g.mul(branch, gate))
    scale, shift, gate = modulation(g, condition)
    h = adaptive_norm(g, x, scale, shift)
    y = g.either_order("mul", activation(g, linear(g, h, HIDDEN, False)), linear(g, h, HIDDEN, False))
    return residual(g, x, g.mul(linear(g, y, WIDTH, False), gate)), own


def padded(g):
    """Layers over tokens of which some are not valid, and queries that attend to what comes out."""
    batch, tokens = g.choose(1, 2), g.choose(3, 5)
    x = g.argument([batch, tokens, WIDTH])
    first = g.constant([token == 0 for token in range(tokens)], "i1")
    valid = g.binary("or", g.argument([batch, tokens], "i1"), first)
    tables = angle_tables(g, tokens) if g.often() else None
    for number in range(g.choose(1, 2)):
        with g.inside(f"layers.{number}"):
            x, _ = layer(g, x, tables, valid=valid)
    h = rms_norm(g, x)
    q = heads_of(g, g.argument([batch, 3, HEADS * HEAD_DIM]), HEADS)
    k, v = (heads_of(g, linear(g, h, HEAD_DIM, False), 1) for _ in range(2))
    g.keep(attended(g, q, k, v, valid))


def denoise(g, x, number, count, prefix, tables):
    """One Euler step of x [1, S, 4]; its time reaches it beside the actions, or through the norms."""
    time = g.constant([[1 - number / count + 0.1 * i for i in range(WIDTH)]], g.dtype)
    h, condition = linear(g, x, WIDTH), None
    if g.often(0.5):
        beside = g.broadcast(g.reshape(time, [1, 1, WIDTH]), h.dims)
        h = linear(g, silu(g, linear(g, g.concat([h, beside], 2), WIDTH)), WIDTH)
    else:
        condition = silu(g, linear(g, time, WIDTH))
        if g.often(0.3):
            condition = g.mul(condition, g.unary("cos", g.mul(g.reshape(time, [WIDTH]), g.weight([WIDTH], 1.0))))
    with g.inside("expert.layers.0"):
        h, _ = layer(g, h, tables, prefix, condition)
    h = rms_norm(g, h) if condition is None else adaptive_norm(g, h, *modulation(g, condition)[:2])
    return g.either_order("add", x, g.mul(linear(g, h, 4), -1.0 / count))


def policy(g):
    """Cameras, a prefix whose keys and values the steps see, unrolled denoising steps."""
    images = [g.repeat("tower", tower, g.argument([1, 1, 4, 4])) for _ in range(g.choose(1, 2, 3))]
    embedded = g.gather(g.weight([2, WIDTH], 1.0), g.argument([1, 3], "i64"), 0)
    x = g.concat([*images, embedded], 1)
    noise = g.argument([1, 3, 4])
    prefix_tables, tables = (angle_tables(g, n) if g.often() else None for n in (x.dims[1], 3))
    with g.inside("prefix.layers.0"):
        x, prefix = layer(g, x, prefix_tables)
    if g.often(0.3):
        g.keep(x)
    count = g.choose(2, 3)
    for number in range(count):
        noise = g.repeat("step", denoise, noise, number, count, prefix, tables)
    g.keep(noise)


MODELS = [chain, chain, chain, padded, policy, policy]


def build(g):
    g.random.choice(MODELS)(g)
