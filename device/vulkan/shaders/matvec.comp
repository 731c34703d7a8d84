#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// x·wᵀ for one row x. A sum over K goes 32 by 32: the products of a block in turn; the sums of 16 blocks in turn, a group;
// the sums of groups in turn. matmul.comp sums in the same order, so that both give the same bits.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Floats x;
  Halves w;
  Floats y;
  uint out_, cols, stride; // rows of w, and their stride in 16-bit words
};

const uint ROWS = 4, LANES = 16; // of a work group; lanes share a row
const uint MANY = 8;             // groups at a time

shared float parts[ROWS][MANY * 16];
shared float groups[ROWS][MANY];

// block is the sum over block b of a row of w.
float block(uint row, uint b) {
  float sum = 0.0, v[16];
  for (uint h = 2u * b; h < 2u * b + 2u; h++) {
    decode(w, row * stride, h, cols, v);
    if (cols % 16u == 0u) { // always, but for the oddest models
      if (16u * h < cols) {
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
          vec4 a = Quads(x).v[4u * h + i];
          [[unroll]] for (uint j = 0u; j < 4u; j++) sum = fma(v[4u * i + j], a[j], sum);
        }
      }
    } else {
      for (uint i = 0u; i < 16u; i++) sum = fma(v[i], 16u * h + i < cols ? x.v[16u * h + i] : 0.0, sum);
    }
  }
  return sum;
}

void main() {
  uint local = gl_LocalInvocationID.x / LANES, lane = gl_LocalInvocationID.x % LANES;
  uint row = (gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * ROWS + local;
  uint blocks = (cols + 31u) / 32u;
  float total = 0.0;
  for (uint first = 0u; first < blocks; first += MANY * 16u) {
    // Neighbors read neighboring blocks; who sums a group or the groups waits for all of them.
    for (uint b = lane; row < out_ && b < min(MANY * 16u, blocks - first); b += LANES) parts[local][b] = block(row, first + b);
    barrier();
    if (lane < MANY) {
      float group = 0.0;
      for (uint b = 16u * lane; b < min(16u * lane + 16u, blocks - first); b++) group += parts[local][b];
      groups[local][lane] = group;
    }
    barrier();
    for (uint i = 0u; lane == 0u && i < MANY && first + 16u * i < blocks; i++) total += groups[local][i];
  }
  if (lane == 0u && row < out_) y.v[row] = total;
}
