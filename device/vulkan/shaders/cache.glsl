// Keys and values: rows of the call (ROWS), or pages of a cache in its type.
#extension GL_EXT_buffer_reference_uvec2 : require
#include "memory.glsl"

layout(constant_id = 0) const uint TYPE = 0;
const uint ROWS = 0, F32 = 1, F16 = 2, BF16 = 3, Q8_0 = 4;

// Addresses of pages: as numbers, since glslang 12 reads pointers with the alignment of what they point to.
layout(buffer_reference, std430, buffer_reference_align = 8) buffer Pages { uvec2 v[]; };

// octet reads elements 8·o to 8·o+7 of the head of dim elements that begins at the word at; zeros beyond.
void octet(Halves p, uint at, uint o, uint dim, out float y[8]) {
  if (TYPE == F16 && dim % 8u == 0u) { // rows begin at multiples of 16 bytes
    uvec4 w = Octets(p).v[at / 8u + o];
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
      y[2u * i] = fromHalf(w[i] & 0xffffu);
      y[2u * i + 1u] = fromHalf(w[i] >> 16);
    }
    return;
  }
  if ((TYPE == F32 || TYPE == ROWS) && dim % 4u == 0u) {
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
      vec4 w = 8u * o + 4u * i < dim ? Quads(p).v[at / 8u + 2u * o + i] : vec4(0.0);
      [[unroll]] for (uint j = 0u; j < 4u; j++) y[4u * i + j] = w[j];
    }
    return;
  }
  float scale = 0.0;
  uint block = at + o / 4u * 17u;
  if (TYPE == Q8_0) scale = fromHalf(uint(p.v[block]));
  [[unroll]] for (uint i = 0u; i < 8u; i++) {
    uint d = 8u * o + i;
    y[i] = 0.0;
    if (d < dim) {
      if (TYPE == F32 || TYPE == ROWS) y[i] = Floats(p).v[at / 2u + d];
      if (TYPE == F16) y[i] = fromHalf(uint(p.v[at + d]));
      if (TYPE == BF16) y[i] = fromBF16(uint(p.v[at + d]));
      if (TYPE == Q8_0) {
        uint q = uint(p.v[block + 1u + d % 32u / 2u]) >> (i % 2u * 8u) & 255u;
        y[i] = float(int(q ^ 128u) - 128) * scale;
      }
    }
  }
}
