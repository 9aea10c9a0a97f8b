# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Random values for the weights of a graph, the same on every machine. Needs numpy alone.

A weight's values are spread evenly over 65,536 levels around its centre; which level each element has comes from Philox, a
generator defined by its counter: key = (seed, the weight's name), counter = the chunk's number.
"""

import zlib

import numpy

SPREAD_KEY = "pinion.spread_and_centre"  # a tensor's metadata: "SPREAD CENTRE", its standard deviation and its mean
CHUNK = 1 << 22  # elements; a multiple of what one raw value of the generator gives


def levels(spread, centre, dtype):
    """[65536] the values that a weight may have, in its own type."""
    unit = (numpy.arange(65536, dtype=numpy.float64) - 32767.5) / 65536  # standard deviation 1/sqrt(12)
    return (unit * (12**0.5 * spread) + centre).astype(numpy.float32).astype(dtype)


def chunk_of(table, name, seed, index, count):
    """Elements [index * CHUNK, index * CHUNK + count) of the weight whose levels are table."""
    key = numpy.array([zlib.crc32(name.encode()), seed], dtype=numpy.uint64)
    counter = numpy.array([0, index, 0, 0], dtype=numpy.uint64)
    raw = numpy.random.Philox(key=key, counter=counter).random_raw(-(-count // 4))
    return table[raw.astype("<u8", copy=False).view("<u2")[:count]]
