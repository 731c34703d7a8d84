#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// The strands of a product on matrix units, added in turn as matrix/matmul.comp adds them, times the powers of their rows
// and columns, and perhaps added to what c holds.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint ADDED = 0;
const uint STRANDS = 8; // as in matrix/tiles.glsl

layout(push_constant, std430) uniform Push {
  Floats sums, powersA, powersB, c;
  uint rows, cols;
};

void main() {
  uint n = rows * cols;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    float total = 0.0;
    for (uint s = 0u; s < STRANDS; s++) total += sums.v[s * n + i];
    float f = total * powersA.v[i / cols] * powersB.v[i % cols];
    c.v[i] = ADDED != 0u ? c.v[i] + f : f;
  }
}
