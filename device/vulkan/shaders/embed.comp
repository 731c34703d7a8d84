#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// Rows of a table as float32: one invocation decodes 16 elements.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Halves table;
  Words ids;
  Floats y;
  uint rows, cols, stride; // stride of the table's rows, in 16-bit words
};

void main() {
  uint parts = (cols + 15u) / 16u;
  for (uint job = gl_GlobalInvocationID.x; job < rows * parts; job += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    uint row = job / parts, h = job % parts;
    float v[16];
    decode(table, ids.v[row] * stride, h, cols, v);
    for (uint i = 0u; i < 16u && 16u * h + i < cols; i++) y.v[row * cols + 16u * h + i] = v[i];
  }
}
