#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// The rows of x, or of SwiGLU(x, up), packed.
layout(local_size_x = 256) in;
layout(constant_id = 0) const uint GATED = 0;

layout(push_constant, std430) uniform Push {
  Floats x;
  Words y;
  Floats powers, up;
  uint rows, cols, pad;
};

float element(uint row, uint col) {
  float f = x.v[row * cols + col];
  return GATED != 0u ? f / (1.0 + exp(-f)) * up.v[row * cols + col] : f;
}

#include "pack.glsl"

void main() { packRow(y, powers, gl_WorkGroupID.x, rows, cols, pad); }
