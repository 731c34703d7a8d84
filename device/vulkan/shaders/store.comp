#version 460
#extension GL_GOOGLE_include_directive : require
#include "cache.glsl"

// Rounds the keys and values of a pass into pages. A head of a row is the work of one invocation in Q8_0, of one for each
// pair of elements otherwise.
layout(local_size_x = 64) in;

layout(push_constant, std430) uniform Push {
  Floats k, v;
  Pages pages;
  Words rows; // for each row of the batch: first page, position, first row of the sequence, 1 (or 0: in none)
  uint count, heads, dim, pageLen, words, layer; // words of a head of a position
};

void put(Halves p, uint at, Floats x, uint from, uint part) {
  if (TYPE == Q8_0) {
    float top = 0.0;
    for (uint i = 0u; i < 32u; i++) top = max(top, abs(x.v[from + 32u * part + i]));
    precise float d = top / 127.0, inverse = top == 0.0 ? 0.0 : 127.0 / top;
    uint b = at + part * 17u;
    p.v[b] = uint16_t(toHalf(d));
    for (uint i = 0u; i < 16u; i++) {
      int lo = int(roundEven(x.v[from + 32u * part + 2u * i] * inverse)), hi = int(roundEven(x.v[from + 32u * part + 2u * i + 1u] * inverse));
      p.v[b + 1u + i] = uint16_t((uint(lo) & 255u) | (uint(hi) & 255u) << 8);
    }
    return;
  }
  float f = x.v[from + part];
  if (TYPE == F32) {
    uint u = floatBitsToUint(f);
    p.v[at + 2u * part] = uint16_t(u & 0xffffu);
    p.v[at + 2u * part + 1u] = uint16_t(u >> 16);
  }
  if (TYPE == F16) p.v[at + part] = uint16_t(toHalf(f));
  if (TYPE == BF16) p.v[at + part] = uint16_t(toBF16(f));
}

void main() {
  uint parts = TYPE == Q8_0 ? dim / 32u : dim, each = heads * parts;
  for (uint job = gl_GlobalInvocationID.x; job < count * each; job += gl_NumWorkGroups.x * gl_WorkGroupSize.x) {
    uint row = job / each, head = job % each / parts, part = job % parts;
    if (rows.v[4u * row + 3u] == 0u) continue;
    uint position = rows.v[4u * row + 1u];
    Halves p = Halves(pages.v[rows.v[4u * row] + position / pageLen]);
    uint at = ((layer * 2u * heads + head) * pageLen + position % pageLen) * words, from = (row * heads + head) * dim;
    put(p, at, k, from, part);
    put(p, at + heads * pageLen * words, v, from, part);
  }
}
