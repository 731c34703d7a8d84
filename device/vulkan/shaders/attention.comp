#version 460
#extension GL_GOOGLE_include_directive : require
#include "cache.glsl"
#include "softmax.glsl"

// softmax(scale·q·kᵀ + causal mask)·v of a few queries by one work group: some rows of a sequence, and some heads that share
// keys and values, which are read once for all of them. Keys go in ranges, a range in tiles of 64 with an online softmax.
// Ranges and tiles begin at multiples of their length, and each query's sums have one order, so that pages, chunks, neighbors
// and the number of queries change no bit.
layout(local_size_x = 64) in;
layout(constant_id = 1) const uint SHAPE = 64; // elements of a head, + 2¹²·rows, + 2¹⁸·heads, + 2²⁴ if ranges have work groups of their own

layout(push_constant, std430) uniform Push {
  Floats q;
  Halves k, v; // ROWS only
  Pages pages;
  Words rows; // as in store.comp
  Floats y;
  Words jobs; // for each work group: its first row, and how many there are
  Floats parts; // as in attentionjoin.comp
  uint heads, kvHeads, pageLen, words, layer, window;
  float scale;
  uint ranges;
  uint training; // lse gets the log-sum-exp of the scores
  Floats lse;
};

const uint DIM = SHAPE & 4095u, TALL = SHAPE >> 12 & 63u, WIDE = SHAPE >> 18 & 63u, Q = TALL * WIDE;
const bool SPLIT = SHAPE >> 24 == 1u;

// Of the result, an invocation sums 8 elements over every SETS-th key: sums are joined at the end of a range, in one order.
const uint GROUPS = (DIM + 7u) / 8u, SETS = 64u / GROUPS, PADDED = GROUPS * 8u, OWN = (DIM + 63u) / 64u;
shared float query[Q * PADDED];
shared float p[Q * 64u];
shared float tree[Q * 64u];
shared float sums[PADDED * SETS];
shared float totals[SETS];

// place finds the head of a position in keys (0) or values (1).
Halves place(uint row, uint kv, uint head, uint position, out uint at) {
  if (TYPE == ROWS) {
    at = ((rows.v[4u * row + 2u] + position) * kvHeads + head) * DIM * 2u;
    if (kv == 0u) return k;
    return v;
  }
  at = (((layer * 2u + kv) * kvHeads + head) * pageLen + position % pageLen) * words;
  return Halves(pages.v[rows.v[4u * row] + position / pageLen]);
}

void main() {
  uint lane = gl_LocalInvocationID.x, row0 = jobs.v[2u * gl_WorkGroupID.x], count = jobs.v[2u * gl_WorkGroupID.x + 1u];
  uint head0 = gl_WorkGroupID.y * WIDE, head = head0 / (heads / kvHeads);
  if (rows.v[4u * row0 + 3u] == 0u) {
    for (uint d = lane; d < WIDE * DIM; d += 64u) y.v[(row0 * heads + head0) * DIM + d] = 0.0;
    if (training != 0u && lane < WIDE) lse.v[row0 * heads + head0 + lane] = 0.0;
    return;
  }
  for (uint d = lane; d < Q * PADDED; d += 64u) {
    uint n = d / PADDED, e = d % PADDED;
    bool real = n / WIDE < count && e < DIM;
    query[d] = real ? q.v[((row0 + n / WIDE) * heads + head0 + n % WIDE) * DIM + e] : 0.0;
  }
  // Query n is that of row n / WIDE, whose last key is last + n / WIDE.
  uint last = rows.v[4u * row0 + 1u], lowest = window > 0u && last + 1u > window ? last + 1u - window : 0u, highest = last + count - 1u;
  uint set = lane / GROUPS, part = lane % GROUPS;
  float allTop[Q], allTotal[Q], acc[Q * OWN];
  for (uint n = 0u; n < Q; n++) {
    allTop[n] = -1.0 / 0.0;
    allTotal[n] = 0.0;
    for (uint i = 0u; i < OWN; i++) acc[n * OWN + i] = 0.0;
  }
  barrier();
  uint r0 = SPLIT ? gl_WorkGroupID.z : lowest / RANGE, r1 = SPLIT ? gl_WorkGroupID.z : highest / RANGE;
  for (uint r = r0; r <= r1; r++) {
    float top[Q], sum[Q * 8u], x[8];
    precise float total[Q];
    for (uint n = 0u; n < Q; n++) {
      top[n] = -1.0 / 0.0;
      total[n] = 0.0;
      [[unroll]] for (uint i = 0u; i < 8u; i++) sum[n * 8u + i] = 0.0;
    }
    uint end = min(highest, r * RANGE + RANGE - 1u);
    for (uint tile = max(r * RANGE, lowest / 64u * 64u); tile <= end; tile += 64u) {
      uint key = tile + lane, at;
      float d[Q];
      for (uint n = 0u; n < Q; n++) d[n] = 0.0;
      if (key >= lowest && key <= highest) {
        Halves from = place(row0, 0u, head, key, at);
        for (uint o = 0u; o < GROUPS; o++) {
          octet(from, at, o, DIM, x);
          for (uint n = 0u; n < Q; n++) {
            [[unroll]] for (uint i = 0u; i < 8u; i++) d[n] = fma(query[n * PADDED + 8u * o + i], x[i], d[n]);
          }
        }
      }
      for (uint n = 0u; n < Q; n++) {
        uint to = last + n / WIDE, from = window > 0u && to + 1u > window ? to + 1u - window : 0u;
        precise float s = d[n] * scale;
        d[n] = s;
        tree[n * 64u + lane] = key >= from && key <= to ? s : -1.0 / 0.0;
      }
      barrier();
      for (uint w = 32u; w > 0u; w /= 2u) {
        for (uint i = lane; i < Q * w; i += 64u) {
          uint j = i / w * 64u + i % w;
          tree[j] = max(tree[j], tree[j + w]);
        }
        barrier();
      }
      for (uint n = 0u; n < Q; n++) {
        uint to = last + n / WIDE, from = window > 0u && to + 1u > window ? to + 1u - window : 0u;
        bool live = tile + 63u >= from && tile <= to;
        float higher = live ? max(top[n], tree[n * 64u]) : 0.0, shrink = live ? exp(top[n] - higher) : 1.0;
        p[n * 64u + lane] = key >= from && key <= to ? exp(d[n] - higher) : 0.0;
        total[n] *= shrink;
        [[unroll]] for (uint i = 0u; i < 8u; i++) sum[n * 8u + i] *= shrink;
        if (live) top[n] = higher;
      }
      barrier();
      // The sets begin at a multiple of SETS, so that a key's set depends on its position only.
      uint lo = max(lowest, tile), hi = min(highest, tile + 63u), from_ = lo - lo % SETS + set;
      for (uint j = from_ < lo ? from_ + SETS : from_; set < SETS && j <= hi; j += SETS) {
        Halves from = place(row0, 1u, head, j, at);
        octet(from, at, part, DIM, x);
        for (uint n = 0u; n < Q; n++) {
          uint to = last + n / WIDE;
          if (j > to || window > 0u && j + window <= to) continue;
          float f = p[n * 64u + j - tile];
          total[n] += f;
          [[unroll]] for (uint i = 0u; i < 8u; i++) sum[n * 8u + i] = fma(f, x[i], sum[n * 8u + i]);
        }
      }
      barrier();
    }
    for (uint n = 0u; n < Q; n++) {
      uint to = last + n / WIDE, from = window > 0u && to + 1u > window ? to + 1u - window : 0u;
      if (from / RANGE > r || to / RANGE < r || n / WIDE >= count) continue; // the same for all invocations
      if (set < SETS) {
        if (part == 0u) totals[set] = total[n];
        [[unroll]] for (uint i = 0u; i < 8u; i++) sums[set * PADDED + 8u * part + i] = sum[n * 8u + i];
      }
      barrier();
      float all = 0.0, a, b;
      for (uint s = 0u; s < SETS; s++) all += totals[s];
      uint out0 = ((gl_WorkGroupID.x * heads + head0 + n % WIDE) * ranges + r) * (DIM + 2u);
      if (!SPLIT) merge(allTop[n], allTotal[n], top[n], all, a, b);
      for (uint i = 0u; i < OWN; i++) {
        uint e = 64u * i + lane;
        if (e >= DIM) break;
        float v = 0.0;
        for (uint s = 0u; s < SETS; s++) v += sums[s * PADDED + e];
        if (SPLIT) parts.v[out0 + e] = v;
        else acc[n * OWN + i] = join(acc[n * OWN + i], a, v, b);
      }
      if (SPLIT && lane == 0u) {
        parts.v[out0 + DIM] = top[n];
        parts.v[out0 + DIM + 1u] = all;
      }
      barrier();
    }
  }
  if (SPLIT) return;
  for (uint n = 0u; n < count * WIDE; n++) {
    if (training != 0u && lane == 0u) lse.v[(row0 + n / WIDE) * heads + head0 + n % WIDE] = allTop[n] + log(allTotal[n]);
    for (uint i = 0u; i < OWN; i++) {
      uint e = 64u * i + lane;
      if (e < DIM) y.v[((row0 + n / WIDE) * heads + head0 + n % WIDE) * DIM + e] = acc[n * OWN + i] / allTotal[n];
    }
  }
}
