#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// gain ∘ x / √(mean(x²) + eps), one work group a row.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Floats x, gain, y;
  uint cols;
  float eps;
};

shared float part[64];

void main() {
  uint at = gl_WorkGroupID.x * cols, lane = gl_LocalInvocationID.x;
  float sum = 0.0;
  for (uint i = lane; i < cols; i += 64u) sum = fma(x.v[at + i], x.v[at + i], sum);
  part[lane] = sum;
  barrier();
  for (uint n = 32u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] += part[lane + n];
    barrier();
  }
  float scale = 1.0 / sqrt(part[0] / float(cols) + eps);
  for (uint i = lane; i < cols; i += 64u) y.v[at + i] = x.v[at + i] * scale * gain.v[i];
}
