#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// The bits of the largest magnitude in each column of a matrix: an invocation a column, or 16 of them where 16 are decoded
// at once, and LINES rows. They are joined by a maximum, which has no order.
layout(local_size_x = 64) in;
const uint LINES = 64;

layout(push_constant, std430) uniform Push {
  Halves w;
  Words most; // zeros before
  uint rows, cols, stride;
};

void main() {
  const uint width = TYPE == F32 ? 1u : 16u;
  uint h = gl_GlobalInvocationID.x, lo = gl_WorkGroupID.y * LINES, hi = min(lo + LINES, rows);
  if (h * width >= cols) return;
  if (TYPE == F32) {
    uint largest = 0u;
    for (uint row = lo; row < hi; row++) largest = max(largest, floatBitsToUint(Floats(w).v[row * (stride / 2u) + h]) & 0x7fffffffu);
    if (largest != 0u) atomicMax(most.v[h], largest);
    return;
  }
  uint largest[16];
  [[unroll]] for (uint i = 0u; i < 16u; i++) largest[i] = 0u;
  for (uint row = lo; row < hi; row++) {
    float v[16];
    decode(w, row * stride, h, cols, v);
    [[unroll]] for (uint i = 0u; i < 16u; i++) largest[i] = max(largest[i], floatBitsToUint(v[i]) & 0x7fffffffu);
  }
  [[unroll]] for (uint i = 0u; i < 16u; i++)
    if (16u * h + i < cols && largest[i] != 0u) atomicMax(most.v[16u * h + i], largest[i]);
}
