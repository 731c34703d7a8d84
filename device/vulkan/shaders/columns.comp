#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Sums over the rows of a matrix, in one order: of LINES rows at a time, then (TOTAL) of those sums.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint OP = 0;
const uint PLAIN = 0, NORM = 1, DORA = 2, TOTAL = 3, TOTAL_BY_LENGTH = 4;
const uint LINES = 64;

layout(push_constant, std430) uniform Push {
  Floats dy, a, b, y; // NORM: a is x, b the rows' scales. DORA: a the base, b the change. TOTAL_BY_LENGTH: a the lengths
  uint rows, cols;
  float s;
};

void main() {
  if (OP >= TOTAL) {
    for (uint col = gl_GlobalInvocationID.x; col < cols; col += gl_NumWorkGroups.x * 64u) {
      float sum = 0.0;
      for (uint i = 0u; i < rows; i++) sum += dy.v[i * cols + col];
      y.v[col] += OP == TOTAL ? sum : sum / a.v[col];
    }
    return;
  }
  uint parts = (rows + LINES - 1u) / LINES;
  for (uint job = gl_GlobalInvocationID.x; job < parts * cols; job += gl_NumWorkGroups.x * 64u) {
    uint lo = job / cols * LINES, col = job % cols;
    float sum = 0.0;
    for (uint i = lo; i < min(lo + LINES, rows); i++) {
      uint at = i * cols + col;
      if (OP == PLAIN) sum += dy.v[at];
      if (OP == NORM) sum += dy.v[at] * a.v[at] * b.v[i];
      if (OP == DORA) sum += dy.v[at] * (a.v[at] + s * b.v[at]);
    }
    y.v[job] = sum;
  }
}
