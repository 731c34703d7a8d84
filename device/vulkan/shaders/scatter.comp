#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Rows of dy, added up by where they belong, each sum in the order of its list. No two lists have one row of y.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Floats dy;
  Words lists; // of each: the row of y, where its list begins, how long it is
  Words rows;  // of dy
  Floats y;
  uint count, cols, add;
};

void main() {
  for (uint job = gl_GlobalInvocationID.x; job < count * cols; job += gl_NumWorkGroups.x * 64u) {
    uint l = 3u * (job / cols), col = job % cols, at = lists.v[l] * cols + col;
    float sum = add != 0u ? y.v[at] : 0.0;
    for (uint i = 0u; i < lists.v[l + 2u]; i++) sum += dy.v[rows.v[lists.v[l + 1u] + i] * cols + col];
    y.v[at] = sum;
  }
}
