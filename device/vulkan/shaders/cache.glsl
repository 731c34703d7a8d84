// Keys and values: rows of the call (ROWS), or pages of a cache in its type.
#include "memory.glsl"

layout(constant_id = 0) const uint TYPE = 0;
const uint ROWS = 0, F32 = 1, F16 = 2, BF16 = 3, Q8_0 = 4;

layout(buffer_reference, std430, buffer_reference_align = 8) buffer Pages { Halves v[]; };

// element d of the head that begins at the word at.
float element(Halves p, uint at, uint d) {
  if (TYPE == F32 || TYPE == ROWS) return uintBitsToFloat(uint(p.v[at + 2u * d]) | uint(p.v[at + 2u * d + 1u]) << 16);
  if (TYPE == F16) return fromHalf(uint(p.v[at + d]));
  if (TYPE == BF16) return fromBF16(uint(p.v[at + d]));
  uint b = at + d / 32u * 17u, q = uint(p.v[b + 1u + d % 32u / 2u]) >> (d % 2u * 8u) & 255u;
  return float(int(q ^ 128u) - 128) * fromHalf(uint(p.v[b]));
}
