#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// log softmax(logits)[target], one work group a row.
layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Push {
  Floats logits;
  Words targets;
  Floats y;
  uint cols, vocab;
};

shared float part[128];

void main() {
  uint row = gl_WorkGroupID.x, at = row * cols, lane = gl_LocalInvocationID.x;
  float top = -1.0 / 0.0;
  for (uint i = lane; i < vocab; i += 128u) top = max(top, logits.v[at + i]);
  part[lane] = top;
  barrier();
  for (uint n = 64u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] = max(part[lane], part[lane + n]);
    barrier();
  }
  top = part[0];
  barrier();
  float sum = 0.0;
  for (uint i = lane; i < vocab; i += 128u) sum += exp(logits.v[at + i] - top);
  part[lane] = sum;
  barrier();
  for (uint n = 64u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] += part[lane + n];
    barrier();
  }
  if (lane == 0u) y.v[row] = logits.v[at + targets.v[row]] - top - log(part[0]);
}
