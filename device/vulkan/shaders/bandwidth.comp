#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Reads n pieces of 16 bytes, as products read weights: what the memory gives.
layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Push {
  Octets x;
  Words y;
  uint n;
};

void main() {
  uvec4 sum = uvec4(0u);
  uint step = gl_NumWorkGroups.x * 256u;
  for (uint i = gl_GlobalInvocationID.x; i < n; i += 4u * step) {
    [[unroll]] for (uint j = 0u; j < 4u; j++) // several on their way at a time
      if (i + j * step < n) sum ^= x.v[i + j * step];
  }
  uint all = sum.x ^ sum.y ^ sum.z ^ sum.w;
  if (all == 0x9e3779b9u) y.v[0] = all; // almost never, but the reads must happen
}
