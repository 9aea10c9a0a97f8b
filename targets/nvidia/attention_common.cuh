/* SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception */
/*
 * What attention's kernels for the tensor cores share; it is in front of each.
 *
 * y[q,e] = softmax_k(scale * q.k + mask) . v, bf16 in and out; scores, softmax and sums in float32, probabilities in
 * bf16. Rows are (query, query head) pairs, the head fastest: all rows of one K/V head share its keys, which are taken
 * in blocks of PN_KEYS.
 *
 * The launch's params are compiled in, as PN_SHAPE; PN_D and PN_E are its sizes of d and e. PN_MASK 1: a mask is added;
 * 2: a mask of bools; PN_KEY_MASK: it is the same for all queries, and blocks of keys that it hides are skipped. Rows
 * of q, k, v and y are contiguous and begin at multiples of 16 bytes; the scale is positive.
 */
static PN_DEVICE const pinion_params shape = PN_SHAPE;
#define HEADS ((unsigned)shape.size[PN_HEAD])
#define HEAD_ROWS ((unsigned)shape.size[PN_QUERY] * HEADS)
#define ALL_KEYS ((int)shape.size[PN_KEY])
/* Chunks of 16 bytes in a row; d is padded to 16 elements, with 0. */
#define CHUNKS(elements) (((elements) + 15) / 16 * 2)
#define D_STEPS (CHUNKS(PN_D) / 2) /* of 16 elements */

/* For wgmma rows are in pieces of 64 elements, 128 bytes in the 128-byte swizzle: [64 elements][row][128 bytes]. */
#define PIECES(elements) (((elements) + 63) / 64)

/* Where a chunk of one of `rows` rows lies among them, in bytes. */
PN_INLINE uint32_t chunk_place(unsigned rows, unsigned row, unsigned chunk) {
  return (chunk / 8 * rows + row) * 128 + ((chunk ^ row) % 8) * 16;
}

/* ---- Rows ---- */

typedef struct block_place {
  pn_index at[2]; /* b, g */
  unsigned row0;  /* of the block's rows */
  uint32_t rank;  /* among those that share these rows' keys */
} block_place;

/* Of unit `unit`, counted over b, g and tiles of `rows` rows. */
PN_INLINE block_place place_of(unsigned unit, unsigned rows, uint32_t rank) {
  const unsigned tiles = (HEAD_ROWS + rows - 1) / rows, head = unit / tiles, groups = (unsigned)shape.size[1];
  return {{head / groups, head % groups}, unit % tiles * rows, rank};
}

/* Element index of the row `more` after `row` in y (0), q (1) or the mask (4). Whole queries more are a constant more.
 */
PN_INLINE int64_t row_offset(int argument, const block_place &place, unsigned row, unsigned more = 0) {
  const int64_t *stride = shape.stride[argument];
  int64_t base = pn_offset(&shape, argument, 0, 2, place.at);
  if (more % HEADS == 0)
    base += more / HEADS * stride[PN_QUERY];
  else
    row += more;
  if (stride[PN_QUERY] == HEADS * stride[PN_HEAD]) return base + row * stride[PN_HEAD];
  return base + row / HEADS * stride[PN_QUERY] + row % HEADS * stride[PN_HEAD];
}

/* The row sees no key from here on; one beyond the last sees what the last does. */
PN_INLINE int row_limit(unsigned row) {
  return (int)pn_key_limit(&shape, (row < HEAD_ROWS ? row : HEAD_ROWS - 1) / HEADS);
}

/* ---- Softmax ---- */

/* exp(x - maximum) is 2^(x * SCALE * LOG2_E - centre). With an added mask x is the score as it is, and the maximum is taken
   off first: the least float times log2(e) would be infinite. */
#define LOG2_E 1.4426950408889634f
#define SCALE ((float)shape.scalar[0])

/* Of a row's greatest score: -inf - -inf is not a number, and a row that has seen no key keeps its zeros. */
PN_INLINE float centre_of(float maximum) {
#if PN_MASK == 1
  return maximum == -PN_INFINITY ? 0 : maximum;
#else
  return maximum == -PN_INFINITY ? 0 : maximum * (SCALE * LOG2_E);
#endif
}
/* Scores are products of q and k; with an added mask they are scaled, and it is added. */
PN_INLINE float exponential(float score, float centre) {
#if PN_MASK == 1
  return pn_exp2((score - centre) * LOG2_E);
#else
  return pn_exp2(score * (SCALE * LOG2_E) - centre);
#endif
}
PN_INLINE float inverse_sum(float sum) {
  return sum == 0 ? 0 : pn_inverse(sum);
}

/* ---- Blocks of keys ---- */

#define VISIBLE_WORDS ((PN_KEYS + 31) / 32)

typedef struct key_blocks {
  int count;
  const uint32_t *visible; /* NULL, or [block][VISIBLE_WORDS] in shared memory, a bit a key */
} key_blocks;

/* Blocks with keys that rows before `row_end` see. */
PN_INLINE key_blocks blocks_before(unsigned row_end) {
  const int keys = row_limit(row_end - 1);
  return {keys > 0 ? (keys + PN_KEYS - 1) / PN_KEYS : 0, NULL};
}

#ifdef PN_KEY_MASK
/* Writes the bits; warps 0 .. `warps` of the block do, and must wait for each other before they use them. A lane loads
   what it can at once: one load after another would take as long as each from memory. */
template <int warps>
PN_INLINE void find_visible(const pinion_pointers &arguments, const block_place &place, key_blocks &blocks,
                            uint32_t *bits) {
  enum { LOADS = 4 };
  const int64_t base = pn_offset(&shape, 4, 0, 2, place.at);
  const int words = blocks.count * VISIBLE_WORDS;
  for (int first = threadIdx.x / 32; first < words; first += warps * LOADS) {
    bool seen[LOADS];
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const int word = first + i * warps, inside = word % VISIBLE_WORDS * 32 + threadIdx.x % 32;
      const int key = word / VISIBLE_WORDS * PN_KEYS + inside;
      seen[i] = word < words && inside < PN_KEYS && key < ALL_KEYS && PN_LOAD(4, base + key * shape.stride[4][PN_KEY]);
    }
#pragma unroll
    for (int i = 0; i < LOADS; i++) {
      const int word = first + i * warps;
      const uint32_t shown = __ballot_sync(0xffffffffu, seen[i]);
      if (word < words && threadIdx.x % 32 == 0) bits[word] = shown;
    }
  }
  blocks.visible = bits;
}
#endif

/* The block `steps` visible blocks after the first one from `block` on; blocks.count if there is none. */
PN_INLINE int next_block(const key_blocks &blocks, int block, int steps) {
#ifdef PN_KEY_MASK
  if (blocks.visible) {
#pragma unroll 1
    for (; block < blocks.count; block++) {
      uint32_t any = 0;
      for (int word = 0; word < VISIBLE_WORDS; word++) any |= blocks.visible[block * VISIBLE_WORDS + word];
      if (any && steps-- == 0) break;
    }
    return block;
  }
#endif
  return block + steps < blocks.count ? block + steps : blocks.count;
}
