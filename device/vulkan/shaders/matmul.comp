#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// x·wᵀ for many rows of x. A work group computes 64 columns of 8·TALL rows; an invocation 4 columns of TALL rows. The order of
// a sum is that of matvec.comp.
layout(local_size_x = 128) in;
layout(constant_id = 1) const uint TALL = 4;

layout(push_constant, std430) uniform Push {
  Floats x;
  Halves w;
  Floats y;
  uint out_, cols, stride, rows;
};

shared float ws[32 * 64];
shared float xs[32 * 8 * TALL];

void main() {
  const uint tile = 8u * TALL;
  uint id = gl_LocalInvocationID.x, column = id % 16u, line = id / 16u;
  uint out0 = gl_WorkGroupID.x * 64u, row0 = gl_WorkGroupID.y * tile;
  float total[TALL * 4u], group[TALL * 4u], sum[TALL * 4u];
  for (uint i = 0u; i < TALL * 4u; i++) total[i] = group[i] = 0.0;
  uint blocks = (cols + 31u) / 32u;
  for (uint b = 0u; b < blocks; b++) {
    float v[16];
    uint mine = id % 64u, half_ = id / 64u;
    if (out0 + mine < out_) {
      decode(w, (out0 + mine) * stride, 2u * b + half_, cols, v);
      for (uint i = 0u; i < 16u; i++) ws[(16u * half_ + i) * 64u + mine] = v[i];
    }
    for (uint j = id; j < 32u * tile; j += 128u) {
      uint r = row0 + j / 32u, k = 32u * b + j % 32u;
      xs[j % 32u * tile + j / 32u] = r < rows && k < cols ? x.v[r * cols + k] : 0.0;
    }
    barrier();
    for (uint i = 0u; i < TALL * 4u; i++) sum[i] = 0.0;
    for (uint k = 0u; k < 32u; k++) {
      for (uint r = 0u; r < TALL; r++) {
        float a = xs[k * tile + line + 8u * r];
        for (uint c = 0u; c < 4u; c++) sum[4u * r + c] = fma(ws[k * 64u + column + 16u * c], a, sum[4u * r + c]);
      }
    }
    bool last = b % 16u == 15u || b + 1u == blocks;
    for (uint i = 0u; i < TALL * 4u; i++) {
      group[i] += sum[i];
      if (last) {
        total[i] += group[i];
        group[i] = 0.0;
      }
    }
    barrier();
  }
  for (uint r = 0u; r < TALL; r++) {
    for (uint c = 0u; c < 4u; c++) {
      uint row = row0 + line + 8u * r, o = out0 + column + 16u * c;
      if (row < rows && o < out_) y.v[row * out_ + o] = total[4u * r + c];
    }
  }
}
