#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// The derivatives of attention without a cache, in tiles of 16 queries and 16 keys: probabilities are computed again from the
// log-sum-exp of the scores. DELTA comes first: Σ out·dout of each query and head. Then work groups of QUERIES sum over keys,
// those of KEYS over the queries of all heads that share them, in one order.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint PART = 0;
layout(constant_id = 1) const uint DIM = 64;
const uint DELTA = 0, QUERIES = 1, KEYS = 2;

layout(push_constant, std430) uniform Push {
  Floats q, k, v, dout, lse, delta;
  Words tiles; // of each: its first row, how many rows, the first row of its sequence, how many
  Floats y, z; // QUERIES: dq; KEYS: dk and dv; DELTA: out and the result
  uint heads, kvHeads, window, count;
  float scale;
};

const uint EACH = (DIM + 7u) / 8u; // elements of a row that an invocation sums
shared float qs[16][17], ks[16][17], vs[16][17], os[16][17];
shared float ps[16][17], ds[16][17];

// pairs fills ps and ds: probabilities and the derivatives of scores, of the queries from row q0 and the keys from row k0 on.
void pairs(uint q0, uint qEnd, uint k0, uint kEnd, uint h, uint head, uint id) {
  uint i = id / 8u, j = id % 8u;
  float s0 = 0.0, s1 = 0.0, p0 = 0.0, p1 = 0.0;
  for (uint d0 = 0u; d0 < DIM; d0 += 16u) {
    for (uint e = id; e < 256u; e += 128u) {
      uint r = e / 16u, d = d0 + e % 16u;
      uint atQ = ((q0 + r) * heads + h) * DIM + d, atK = ((k0 + r) * kvHeads + head) * DIM + d;
      bool okQ = q0 + r < qEnd && d < DIM, okK = k0 + r < kEnd && d < DIM;
      qs[r][e % 16u] = okQ ? q.v[atQ] : 0.0;
      os[r][e % 16u] = okQ ? dout.v[atQ] : 0.0;
      ks[r][e % 16u] = okK ? k.v[atK] : 0.0;
      vs[r][e % 16u] = okK ? v.v[atK] : 0.0;
    }
    barrier();
    for (uint d = 0u; d < 16u; d++) {
      s0 = fma(qs[i][d], ks[j][d], s0);
      s1 = fma(qs[i][d], ks[j + 8u][d], s1);
      p0 = fma(os[i][d], vs[j][d], p0);
      p1 = fma(os[i][d], vs[j + 8u][d], p1);
    }
    barrier();
  }
  uint row = q0 + i;
  for (uint n = 0u; n < 2u; n++) {
    uint key = k0 + j + 8u * n;
    float p = 0.0, d = 0.0;
    if (row < qEnd && key < kEnd && key <= row && (window == 0u || row - key < window)) {
      p = exp((n == 0u ? s0 : s1) * scale - lse.v[row * heads + h]);
      d = p * ((n == 0u ? p0 : p1) - delta.v[row * heads + h]) * scale;
    }
    ps[i][j + 8u * n] = p;
    ds[i][j + 8u * n] = d;
  }
  barrier();
}

void queries(uint row0, uint n, uint first, uint h, uint id) {
  uint head = h / (heads / kvHeads), i = id / 8u, part = id % 8u;
  float sum[EACH];
  for (uint e = 0u; e < EACH; e++) sum[e] = 0.0;
  uint oldest = window > 0u && row0 - first + 1u > window ? row0 - first + 1u - window : 0u;
  for (uint k0 = first + oldest / 16u * 16u; k0 < row0 + n; k0 += 16u) {
    uint kEnd = min(k0 + 16u, row0 + n);
    pairs(row0, row0 + n, k0, kEnd, h, head, id);
    for (uint e = 0u; e < EACH; e++) {
      uint d = part + 8u * e;
      if (d >= DIM) break;
      for (uint j = 0u; j < kEnd - k0; j++) sum[e] = fma(ds[i][j], k.v[((k0 + j) * kvHeads + head) * DIM + d], sum[e]);
    }
    barrier();
  }
  for (uint e = 0u; e < EACH; e++) {
    uint d = part + 8u * e;
    if (i < n && d < DIM) y.v[((row0 + i) * heads + h) * DIM + d] = sum[e];
  }
}

void keys(uint row0, uint n, uint end, uint head, uint id) {
  uint group = heads / kvHeads, j = id / 8u, part = id % 8u;
  float dk[EACH], dv[EACH];
  for (uint e = 0u; e < EACH; e++) dk[e] = dv[e] = 0.0;
  uint last = window > 0u ? min(end, row0 + n - 1u + window) : end;
  for (uint h = head * group; h < (head + 1u) * group; h++) {
    for (uint q0 = row0; q0 < last; q0 += 16u) {
      uint qEnd = min(q0 + 16u, end);
      pairs(q0, qEnd, row0, row0 + n, h, head, id);
      for (uint e = 0u; e < EACH; e++) {
        uint d = part + 8u * e;
        if (d >= DIM) break;
        for (uint i = 0u; i < qEnd - q0; i++) {
          uint at = ((q0 + i) * heads + h) * DIM + d;
          dk[e] = fma(ds[i][j], q.v[at], dk[e]);
          dv[e] = fma(ps[i][j], dout.v[at], dv[e]);
        }
      }
      barrier();
    }
  }
  for (uint e = 0u; e < EACH; e++) {
    uint d = part + 8u * e, at = ((row0 + j) * kvHeads + head) * DIM + d;
    if (j < n && d < DIM) {
      y.v[at] = dk[e];
      z.v[at] = dv[e];
    }
  }
}

void main() {
  uint id = gl_LocalInvocationID.x;
  if (PART == DELTA) {
    for (uint at = gl_GlobalInvocationID.x; at < count; at += gl_NumWorkGroups.x * 128u) {
      float sum = 0.0;
      for (uint d = 0u; d < DIM; d++) sum = fma(y.v[at * DIM + d], dout.v[at * DIM + d], sum);
      z.v[at] = sum;
    }
    return;
  }
  uint t = 4u * gl_WorkGroupID.x, row0 = tiles.v[t], n = tiles.v[t + 1u], first = tiles.v[t + 2u];
  if (PART == QUERIES) queries(row0, n, first, gl_WorkGroupID.y, id);
  else keys(row0, n, first + tiles.v[t + 3u], gl_WorkGroupID.y, id);
}
