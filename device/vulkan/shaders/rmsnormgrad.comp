#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// The derivative of rmsnorm.comp with respect to x, and 1/√(mean(x²) + eps) of each row: one work group a row.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Floats x, gain, dy, dx, inverse;
  uint cols;
  float eps;
};

shared vec2 part[64];

void main() {
  uint row = gl_WorkGroupID.x, at = row * cols, lane = gl_LocalInvocationID.x;
  vec2 sum = vec2(0.0);
  for (uint i = lane; i < cols; i += 64u) {
    float f = x.v[at + i];
    sum = fma(vec2(f), vec2(f, dy.v[at + i] * gain.v[i]), sum);
  }
  part[lane] = sum;
  barrier();
  for (uint n = 32u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] += part[lane + n];
    barrier();
  }
  float r = 1.0 / sqrt(part[0].x / float(cols) + eps), c = part[0].y / float(cols) * r * r * r;
  for (uint i = lane; i < cols; i += 64u) dx.v[at + i] = dy.v[at + i] * gain.v[i] * r - c * x.v[at + i];
  if (lane == 0u) inverse.v[row] = r;
}
