#version 460
#extension GL_GOOGLE_include_directive : require
#include "norm.glsl"

// The rows of RMSNorm(x), packed: what rmsnorm.comp and pack.comp give.
layout(push_constant, std430) uniform Push {
  Floats x, gain;
  Words y;
  Floats powers;
  uint rows, cols, pad;
  float eps;
};

float scale;

float element(uint row, uint col) { return x.v[row * cols + col] * scale * gain.v[col]; }

#include "pack.glsl"

void main() {
  uint row = gl_WorkGroupID.x;
  scale = row < rows ? inverseLength(x, row * cols, cols, eps) : 0.0;
  packRow(y, powers, row, rows, cols, pad);
}
