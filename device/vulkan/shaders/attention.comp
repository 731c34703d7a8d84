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
};

const uint EACH = (DIM + 63u) / 64u; // elements of the result of one invocation
shared float query[DIM];
shared float p[64];
shared float tree[64];

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
    return;
  }
  for (uint d = lane; d < DIM; d += 64u) query[d] = q.v[out0 + d];
  uint last = rows.v[4u * row + 1u], first = window > 0u && last + 1u > window ? last + 1u - window : 0u;
  float top = -1.0 / 0.0, total = 0.0, sum[EACH];
  for (uint e = 0u; e < EACH; e++) sum[e] = 0.0;
  barrier();
  for (uint tile = first / 64u * 64u; tile <= last; tile += 64u) {
    uint key = tile + lane;
    float s = -1.0 / 0.0;
    if (key >= first && key <= last) {
      uint at;
      Halves from = place(row, 0u, head, key, at);
      float d = 0.0;
      for (uint i = 0u; i < DIM; i++) d = fma(query[i], element(from, at, i), d);
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
    uint lo = max(first, tile), hi = min(last, tile + 63u);
    total *= shrink;
    for (uint j = lo; j <= hi; j++) total += p[j - tile];
    for (uint e = 0u; e < EACH; e++) {
      uint d = lane + 64u * e;
      if (d >= DIM) break;
      float x = sum[e] * shrink;
      for (uint j = lo; j <= hi; j++) {
        uint at;
        Halves from = place(row, 1u, head, j, at);
        x = fma(p[j - tile], element(from, at, d), x);
      }
      sum[e] = x;
    }
    top = higher;
    barrier();
  }
  for (uint e = 0u; e < EACH; e++) {
    uint d = lane + 64u * e;
    if (d < DIM) y.v[out0 + d] = sum[e] / total;
  }
}
