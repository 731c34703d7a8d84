#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Operations of training on elements.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint OP = 0;
const uint SWIGLU = 0, DORA = 1, PLACE = 2, COMBINE = 3, SCALE = 4, DROPOUT = 5, NOISE = 6;

layout(push_constant, std430) uniform Push {
  Floats a, b, c, y, z;
  uint n, cols;
  float s, t;
  uint seedLow, seedHigh, limit;
};

uvec2 multiply(uvec2 x, uvec2 y) {
  uint high, low;
  umulExtended(x.x, y.x, high, low);
  return uvec2(low, high + x.x * y.y + x.y * y.x);
}

uvec2 fold(uvec2 x, uint by) { return x ^ uvec2(x.x >> by | x.y << (32u - by), x.y >> by); }

// drawn is the upper half of the random number of a place, as package splitmix has it.
uint drawn(uint place) {
  uint carry, low = uaddCarry(seedLow, place, carry);
  uvec2 x = multiply(uvec2(low, seedHigh + carry), uvec2(0x7f4a7c15u, 0x9e3779b9u));
  x = multiply(fold(x, 30u), uvec2(0x1ce4e5b9u, 0xbf58476du));
  x = multiply(fold(x, 27u), uvec2(0x133111ebu, 0x94d049bbu));
  return fold(x, 31u).y;
}

void main() {
  for (uint i = gl_GlobalInvocationID.x; i < n; i += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    if (OP == SWIGLU) { // a is the gate, b the other factor, c the derivative of the result
      float gate = a.v[i], s = 1.0 / (1.0 + exp(-gate));
      y.v[i] = c.v[i] * b.v[i] * s * (1.0 + gate * (1.0 - s));
      z.v[i] = c.v[i] * gate * s;
    }
    if (OP == DORA) {
      float d = a.v[i] * b.v[i % cols];
      y.v[i] = d;
      z.v[i] = d * s;
    }
    if (OP == PLACE) y.v[floatBitsToUint(b.v[i / cols]) * cols + i % cols] = a.v[i];
    if (OP == COMBINE) y.v[i] = s * a.v[i] + t * b.v[i];
    if (OP == SCALE) y.v[i] = a.v[i] * b.v[0];
    if (OP == DROPOUT) y.v[i] = drawn(i) < limit ? 0.0 : a.v[i] * s;
    if (OP == NOISE) y.v[i] = a.v[i] + b.v[i / cols] * (float(int(drawn(i))) / 2147483648.0);
  }
}
