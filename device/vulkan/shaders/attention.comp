#version 460
#extension GL_GOOGLE_include_directive : require
#include "cache.glsl"

// softmax(scale·q·kᵀ + causal mask)·v of one query and head by one work group, with an online softmax over tiles of 64 keys.
// Tiles begin at multiples of 64 positions, so that pages, chunks and neighbors change no bit.
layout(local_size_x = 64) in;
layout(constant_id = 1) const uint DIM = 64;

layout(push_constant, std430) uniform Push {
  Floats q;
  Halves k, v; // ROWS only
  Pages pages;
  Words rows; // as in store.comp
  Floats y;
  uint heads, kvHeads, pageLen, words, layer, window;
  float scale;
  uint training; // lse gets the log-sum-exp of the scores
  Floats lse;
};

// Of the result, an invocation sums 8 elements over every SETS-th key: sums are joined at the end, in one order.
const uint GROUPS = (DIM + 7u) / 8u, SETS = 64u / GROUPS;
shared float query[GROUPS * 8u];
shared float p[64];
shared float tree[64];
shared float sums[GROUPS * 8u * SETS];
shared float totals[SETS];

// place finds the head of a position in keys (0) or values (1).
Halves place(uint row, uint kv, uint head, uint position, out uint at) {
  if (TYPE == ROWS) {
    at = ((rows.v[4u * row + 2u] + position) * kvHeads + head) * DIM * 2u;
    if (kv == 0u) return k;
    return v;
  }
  at = (((layer * 2u + kv) * kvHeads + head) * pageLen + position % pageLen) * words;
  return pages.v[rows.v[4u * row] + position / pageLen];
}

void main() {
  uint row = gl_WorkGroupID.x, h = gl_WorkGroupID.y, lane = gl_LocalInvocationID.x, head = h / (heads / kvHeads);
  uint out0 = (row * heads + h) * DIM;
  if (rows.v[4u * row + 3u] == 0u) {
    for (uint d = lane; d < DIM; d += 64u) y.v[out0 + d] = 0.0;
    if (training != 0u && lane == 0u) lse.v[row * heads + h] = 0.0;
    return;
  }
  for (uint d = lane; d < GROUPS * 8u; d += 64u) query[d] = d < DIM ? q.v[out0 + d] : 0.0;
  uint last = rows.v[4u * row + 1u], first = window > 0u && last + 1u > window ? last + 1u - window : 0u;
  uint set = lane / GROUPS, part = lane % GROUPS;
  float top = -1.0 / 0.0, total = 0.0, sum[8], x[8];
  [[unroll]] for (uint i = 0u; i < 8u; i++) sum[i] = 0.0;
  barrier();
  for (uint tile = first / 64u * 64u; tile <= last; tile += 64u) {
    uint key = tile + lane, at;
    float s = -1.0 / 0.0;
    if (key >= first && key <= last) {
      Halves from = place(row, 0u, head, key, at);
      float d = 0.0;
      for (uint o = 0u; o < GROUPS; o++) {
        octet(from, at, o, DIM, x);
        [[unroll]] for (uint i = 0u; i < 8u; i++) d = fma(query[8u * o + i], x[i], d);
      }
      s = d * scale;
    }
    tree[lane] = s;
    barrier();
    for (uint n = 32u; n > 0u; n /= 2u) {
      if (lane < n) tree[lane] = max(tree[lane], tree[lane + n]);
      barrier();
    }
    float higher = max(top, tree[0]), shrink = exp(top - higher);
    p[lane] = key >= first && key <= last ? exp(s - higher) : 0.0;
    barrier();
    total *= shrink;
    [[unroll]] for (uint i = 0u; i < 8u; i++) sum[i] *= shrink;
    // The sets begin at a multiple of SETS, so that a key's set depends on its position only.
    uint lo = max(first, tile), hi = min(last, tile + 63u), from_ = lo - lo % SETS + set;
    for (uint j = from_ < lo ? from_ + SETS : from_; set < SETS && j <= hi; j += SETS) {
      Halves from = place(row, 1u, head, j, at);
      octet(from, at, part, DIM, x);
      float f = p[j - tile];
      total += f;
      [[unroll]] for (uint i = 0u; i < 8u; i++) sum[i] = fma(f, x[i], sum[i]);
    }
    top = higher;
    barrier();
  }
  if (set < SETS) {
    if (part == 0u) totals[set] = total;
    [[unroll]] for (uint i = 0u; i < 8u; i++) sums[set * GROUPS * 8u + 8u * part + i] = sum[i];
  }
  barrier();
  float all = 0.0;
  for (uint n = 0u; n < SETS; n++) all += totals[n];
  if (training != 0u && lane == 0u) lse.v[row * heads + h] = top + log(all);
  for (uint d = lane; d < DIM; d += 64u) {
    float v = 0.0;
    for (uint n = 0u; n < SETS; n++) v += sums[n * GROUPS * 8u + d];
    y.v[out0 + d] = v / all;
  }
}
