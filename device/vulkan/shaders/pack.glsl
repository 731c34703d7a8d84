// Rows in float16, each times a power of two, for matrix units: a work group of 256 a row. Rows and columns beyond the
// operand are zeros. Who includes it says what the elements are: float element(uint row, uint col).
#include "power.glsl"

shared uint most[256];

// packRow writes a row of pad elements to y, in pairs, and what its products are to be multiplied by to powers.
void packRow(Words y, Floats powers, uint row, uint rows, uint cols, uint pad) {
  uint id = gl_LocalInvocationID.x, largest = 0u;
  for (uint i = id; row < rows && i < cols; i += 256u) largest = max(largest, floatBitsToUint(element(row, i)) & 0x7fffffffu);
  most[id] = largest;
  barrier();
  if (id < 16u) {
    for (uint i = 1u; i < 16u; i++) largest = max(largest, most[id + 16u * i]);
    most[id] = largest;
  }
  barrier();
  for (uint i = 0u; i < 16u; i++) largest = max(largest, most[i]);
  float power = powerOf(largest);
  if (id == 0u) powers.v[row] = inverseOf(largest);
  for (uint i = id; i < pad / 2u; i += 256u) {
    uint pair = 0u;
    [[unroll]] for (uint j = 0u; j < 2u; j++) {
      uint k = 2u * i + j;
      if (row < rows && k < cols) pair |= toHalf(element(row, k) * power) << (16u * j);
    }
    y.v[row * (pad / 2u) + i] = pair;
  }
}
