#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Operations on elements.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint OP = 0;
const uint ADD = 0, SWIGLU = 1, MUL = 2, BIAS = 3, GATHER = 4, DORA = 5, ZERO = 6, DIVIDE = 7;

layout(push_constant, std430) uniform Push {
  Floats a, b, y;
  Words index;
  uint n, cols;
  float s;
};

void main() {
  for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    if (OP == ADD) y.v[i] = a.v[i] + s * b.v[i];
    if (OP == SWIGLU) y.v[i] = a.v[i] / (1.0 + exp(-a.v[i])) * b.v[i];
    if (OP == MUL) y.v[i] = a.v[i] * b.v[i];
    if (OP == BIAS) y.v[i] = a.v[i] + b.v[i % cols];
    if (OP == GATHER) y.v[i] = a.v[index.v[i / cols] * cols + i % cols];
    if (OP == DORA) y.v[i] = (a.v[i] + s * b.v[i]) * uintBitsToFloat(index.v[i % cols]);
    if (OP == ZERO) y.v[i] = 0.0;
    if (OP == DIVIDE) y.v[i] = a.v[i] / b.v[i];
  }
}
