#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// x·wᵀ for many rows of x. A work group computes 64 columns of 8·TALL rows, TALL being 1 or 4; an invocation 4 columns of TALL
// rows. The order of a sum is that of matvec.comp.
layout(local_size_x = 128) in;
layout(constant_id = 1) const uint FORM = 4;
const uint TALL = FORM & 15u;
const bool ADDED = (FORM & 16u) != 0u; // to plus

layout(push_constant, std430) uniform Push {
  Floats x;
  Halves w;
  Floats y, plus;
  uint out_, cols, stride, rows;
};

// Weights and rows of x of a block, by k: four columns, four rows.
shared vec4 ws[32 * 16];
shared float xs[TALL == 1 ? 32 * 8 : 1];
shared vec4 xv[TALL == 1 ? 1 : 32 * 8];

void main() {
  const uint tile = 8u * TALL;
  uint id = gl_LocalInvocationID.x, column = id % 16u, line = id / 16u;
  uint out0 = gl_WorkGroupID.x * 64u, row0 = gl_WorkGroupID.y * tile;
  vec4 total[TALL], group[TALL], sum[TALL];
  [[unroll]] for (uint r = 0u; r < TALL; r++) total[r] = group[r] = vec4(0.0);
  uint blocks = (cols + 31u) / 32u;
  for (uint b = 0u; b < blocks; b++) {
    float v[16];
    uint mine = id % 64u, half_ = id / 64u;
    if (out0 + mine < out_) {
      decode(w, (out0 + mine) * stride, 2u * b + half_, cols, v);
      [[unroll]] for (uint i = 0u; i < 16u; i++) ws[(16u * half_ + i) * 16u + mine / 4u][mine % 4u] = v[i];
    }
    for (uint j = id; j < 32u * tile; j += 128u) {
      uint at = j / 32u, k = j % 32u;
      float a = row0 + at < rows && 32u * b + k < cols ? x.v[(row0 + at) * cols + 32u * b + k] : 0.0;
      if (TALL == 1u) xs[k * 8u + at] = a;
      else xv[k * 8u + at / 4u][at % 4u] = a;
    }
    barrier();
    [[unroll]] for (uint r = 0u; r < TALL; r++) sum[r] = vec4(0.0);
    for (uint k = 0u; k < 32u; k++) {
      vec4 m = ws[k * 16u + column];
      if (TALL == 1u) {
        sum[0] = fma(m, vec4(xs[k * 8u + line]), sum[0]);
      } else {
        vec4 a = xv[k * 8u + line];
        [[unroll]] for (uint r = 0u; r < TALL; r++) sum[r] = fma(m, vec4(a[r % 4u]), sum[r]);
      }
    }
    bool last = b % 16u == 15u || b + 1u == blocks;
    [[unroll]] for (uint r = 0u; r < TALL; r++) {
      group[r] += sum[r];
      if (last) {
        total[r] += group[r];
        group[r] = vec4(0.0);
      }
    }
    barrier();
  }
  for (uint r = 0u; r < TALL; r++) {
    for (uint c = 0u; c < 4u; c++) {
      uint row = row0 + TALL * line + r, o = out0 + 4u * column + c;
      if (row < rows && o < out_) y.v[row * out_ + o] = ADDED ? plus.v[row * out_ + o] + total[r][c] : total[r][c];
    }
  }
}
