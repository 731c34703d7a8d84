#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Rotates pairs (i, i + half) of every head in place. Tables hold cosines, then sines, of a position or a row.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint BACK = 0; // the other way round

layout(push_constant, std430) uniform Push {
  Floats x, table;
  Words index; // the line of the table, for each row
  uint rows, cols, half_;
};

void main() {
  uint pairs = cols / 2u;
  for (uint job = gl_GlobalInvocationID.x; job < rows * pairs; job += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    uint row = job / pairs, head = job % pairs / half_, i = job % half_;
    uint at = row * cols + head * 2u * half_ + i, line = index.v[row] * 2u * half_;
    precise float c = table.v[line + i], s = table.v[line + half_ + i];
    if (BACK != 0u) s = -s;
    precise float lo = x.v[at], hi = x.v[at + half_];
    precise float a = lo * c - hi * s, b = hi * c + lo * s;
    x.v[at] = a;
    x.v[at + half_] = b;
  }
}
