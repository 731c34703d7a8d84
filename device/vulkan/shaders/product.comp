#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// c = a·b or c += a·b, for training: a work group computes 64 rows of 64 columns, an invocation 8 rows of 4. Sums over k go
// 32 by 32, in one order.
layout(local_size_x = 128) in;
layout(constant_id = 1) const uint FORM = 0;
const bool ROWS = (FORM & 1u) != 0u;   // a stored row of b is a row of b: k; else a column
const bool TURNED = (FORM & 2u) != 0u; // a is stored [k, m]
const bool HALF = (FORM & 4u) != 0u;   // operands are rounded to bf16

layout(push_constant, std430) uniform Push {
  Floats a;
  Halves b;
  Floats c;
  uint m, n, k, lda, stride, add; // stride of b's stored rows, in 16-bit words
};

// Four columns of b and four rows of a, by k.
shared vec4 bs[32 * 16];
shared vec4 rs[32 * 16];

float narrow(float f) { return HALF ? fromBF16(toBF16(f)) : f; }

void loadB(uint col0, uint k0, uint id) {
  float v[16];
  if (ROWS) {
    uint line = id / 4u, part = id % 4u, at = col0 + 16u * part;
    bool there = k0 + line < k && at < n;
    if (there) decode(b, (k0 + line) * stride, at / 16u, n, v);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
      vec4 w = vec4(0.0);
      if (there) w = vec4(narrow(v[4u * i]), narrow(v[4u * i + 1u]), narrow(v[4u * i + 2u]), narrow(v[4u * i + 3u]));
      bs[line * 16u + 4u * part + i] = w;
    }
    return;
  }
  uint mine = id % 64u, half_ = id / 64u;
  bool there = col0 + mine < n && k0 + 16u * half_ < k;
  if (there) decode(b, (col0 + mine) * stride, k0 / 16u + half_, k, v);
  [[unroll]] for (uint i = 0u; i < 16u; i++) bs[(16u * half_ + i) * 16u + mine / 4u][mine % 4u] = there ? narrow(v[i]) : 0.0;
}

void loadA(uint row0, uint k0, uint id) {
  for (uint j = id; j < 2048u; j += 128u) {
    uint at = TURNED ? j % 64u : j / 32u, line = TURNED ? j / 64u : j % 32u;
    float f = 0.0;
    if (row0 + at < m && k0 + line < k) f = narrow(a.v[TURNED ? (k0 + line) * lda + row0 + at : (row0 + at) * lda + k0 + line]);
    rs[line * 16u + at / 4u][at % 4u] = f;
  }
}

void main() {
  uint id = gl_LocalInvocationID.x, column = id % 16u, line = id / 16u;
  uint col0 = gl_WorkGroupID.x * 64u, row0 = gl_WorkGroupID.y * 64u;
  vec4 total[8], sum[8];
  [[unroll]] for (uint r = 0u; r < 8u; r++) total[r] = vec4(0.0);
  for (uint k0 = 0u; k0 < k; k0 += 32u) {
    loadB(col0, k0, id);
    loadA(row0, k0, id);
    barrier();
    [[unroll]] for (uint r = 0u; r < 8u; r++) sum[r] = vec4(0.0);
    for (uint i = 0u; i < 32u; i++) {
      vec4 w = bs[i * 16u + column], lo = rs[i * 16u + 2u * line], hi = rs[i * 16u + 2u * line + 1u];
      [[unroll]] for (uint r = 0u; r < 4u; r++) {
        sum[r] = fma(w, vec4(lo[r]), sum[r]);
        sum[r + 4u] = fma(w, vec4(hi[r]), sum[r + 4u]);
      }
    }
    [[unroll]] for (uint r = 0u; r < 8u; r++) total[r] += sum[r];
    barrier();
  }
  for (uint r = 0u; r < 8u; r++) {
    for (uint i = 0u; i < 4u; i++) {
      uint row = row0 + 8u * line + r, col = col0 + 4u * column + i;
      if (row >= m || col >= n) continue;
      if (add != 0u) c.v[row * n + col] += total[r][i];
      else c.v[row * n + col] = total[r][i];
    }
  }
}
