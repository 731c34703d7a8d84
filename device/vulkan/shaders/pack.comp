#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"
#include "power.glsl"

// Rows of x in float16, each times a power of two, for matrix units: a work group a row. Rows and columns beyond x are zeros.
layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Push {
  Floats x;
  Words y; // pairs of float16
  Floats powers; // what a row's products are to be multiplied by
  uint rows, cols, pad;
};

shared uint most[128];

void main() {
  uint row = gl_WorkGroupID.x, id = gl_LocalInvocationID.x, largest = 0u;
  for (uint i = id; row < rows && i < cols; i += 128u) largest = max(largest, floatBitsToUint(x.v[row * cols + i]) & 0x7fffffffu);
  most[id] = largest;
  barrier();
  for (uint n = 64u; n > 0u; n /= 2u) {
    if (id < n) most[id] = max(most[id], most[id + n]);
    barrier();
  }
  float power = powerOf(most[0]);
  if (id == 0u) powers.v[row] = inverseOf(most[0]);
  for (uint i = id; i < pad / 2u; i += 128u) {
    uint pair = 0u;
    [[unroll]] for (uint j = 0u; j < 2u; j++) {
      uint k = 2u * i + j;
      if (row < rows && k < cols) pair |= toHalf(x.v[row * cols + k] * power) << (16u * j);
    }
    y.v[row * (pad / 2u) + i] = pair;
  }
}
