#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Σx² of blocks of 65536 elements, a work group each; or (LENGTH) from such sums 1/√Σ, at most 1/eps.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint LENGTH = 0;

layout(push_constant, std430) uniform Push {
  Floats x, y;
  uint n;
  float eps;
};

shared float part[128];

void main() {
  uint lane = gl_LocalInvocationID.x, lo = LENGTH != 0u ? 0u : 65536u * gl_WorkGroupID.x;
  float sum = 0.0;
  for (uint i = lo + lane; i < (LENGTH != 0u ? n : min(n, lo + 65536u)); i += 128u) sum += LENGTH != 0u ? x.v[i] : x.v[i] * x.v[i];
  part[lane] = sum;
  barrier();
  for (uint k = 64u; k > 0u; k /= 2u) {
    if (lane < k) part[lane] += part[lane + k];
    barrier();
  }
  if (lane == 0u) y.v[gl_WorkGroupID.x] = LENGTH != 0u ? 1.0 / max(sqrt(part[0]), eps) : part[0];
}
