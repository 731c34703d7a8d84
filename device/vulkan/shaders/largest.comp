#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// The bits of the largest magnitude in a weight: an invocation 16 elements, and more where they are many.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Halves w;
  Words most;
  uint rows, cols, stride;
};

void main() {
  uint parts = (cols + 15u) / 16u, largest = 0u, step = gl_NumWorkGroups.x * 64u;
  // Rows in turn, as rows times parts can be more than 32 bits hold.
  for (uint row = gl_WorkGroupID.y; row < rows; row += gl_NumWorkGroups.y) {
    for (uint h = gl_WorkGroupID.x * 64u + gl_LocalInvocationID.x; h < parts; h += step) {
      float v[16];
      decode(w, row * stride, h, cols, v);
      [[unroll]] for (uint i = 0u; i < 16u; i++) largest = max(largest, floatBitsToUint(v[i]) & 0x7fffffffu);
    }
  }
  if (largest != 0u) atomicMax(most.v[0], largest);
}
