#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Rotates pairs (i, i + half) of every head in place, of queries and of keys. Tables hold cosines, then sines, of a
// position or a row.
layout(local_size_x = 64) in;
layout(constant_id = 0) const uint BACK = 0; // the other way round

layout(push_constant, std430) uniform Push {
  Floats q, k, table;
  Words index; // the line of the table, for each row
  uint rows, cols, colsK, half_; // colsK is 0 where there are no keys
};

void turn(Floats x, uint at, uint line, uint i) {
  precise float c = table.v[line + i], s = table.v[line + half_ + i];
  if (BACK != 0u) s = -s;
  precise float lo = x.v[at], hi = x.v[at + half_];
  precise float a = lo * c - hi * s, b = hi * c + lo * s;
  x.v[at] = a;
  x.v[at + half_] = b;
}

void main() {
  uint ofQ = cols / 2u, pairs = ofQ + colsK / 2u;
  for (uint job = gl_GlobalInvocationID.x; job < rows * pairs; job += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    uint row = job / pairs, pair = job % pairs, line = index.v[row] * 2u * half_;
    if (pair < ofQ) {
      turn(q, row * cols + pair / half_ * 2u * half_ + pair % half_, line, pair % half_);
    } else {
      pair -= ofQ;
      turn(k, row * colsK + pair / half_ * 2u * half_ + pair % half_, line, pair % half_);
    }
  }
}
