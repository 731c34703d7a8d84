#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"
#include "softmax.glsl"

// Joins what attention.comp computed of the ranges of keys of a query and head, one work group each.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint DIM = 64;

layout(push_constant, std430) uniform Push {
  Floats parts; // for each job, head and range: DIM sums, the largest score, the sum of exponentials
  Words jobs;   // as in attention.comp
  Words rows;   // as in store.comp
  Floats y;
  uint heads, ranges, window;
};

void main() {
  uint lane = gl_LocalInvocationID.x, row = jobs.v[2u * gl_WorkGroupID.x], h = gl_WorkGroupID.y;
  uint last = rows.v[4u * row + 1u], first = window > 0u && last + 1u > window ? last + 1u - window : 0u;
  for (uint d = lane; d < DIM; d += 64u) {
    float top = -1.0 / 0.0, total = 0.0, acc = 0.0, a, b;
    for (uint r = first / RANGE; r <= last / RANGE; r++) {
      // Mesa 26's lavapipe reads for the round after the last one, too, which may be where there is no memory.
      uint at = ((gl_WorkGroupID.x * heads + h) * ranges + min(r, ranges - 1u)) * (DIM + 2u);
      merge(top, total, parts.v[at + DIM], parts.v[at + DIM + 1u], a, b);
      acc = join(acc, a, parts.v[at + d], b);
    }
    y.v[(row * heads + h) * DIM + d] = acc / total;
  }
}
