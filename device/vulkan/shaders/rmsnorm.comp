#version 460
#extension GL_GOOGLE_include_directive : require
#include "norm.glsl"

// gain ∘ x / √(mean(x²) + eps), one work group a row.
layout(push_constant, std430) uniform Push {
  Floats x, gain, y;
  uint cols;
  float eps;
};

void main() {
  uint at = gl_WorkGroupID.x * cols;
  float scale = inverseLength(x, at, cols, eps);
  for (uint i = gl_LocalInvocationID.x; i < cols; i += 256u) y.v[at + i] = x.v[at + i] * scale * gain.v[i];
}
