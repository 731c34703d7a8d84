#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"
#include "power.glsl"

// Columns of a matrix as rows of float16, each times a power of two, as pack.comp makes them of rows: a work group turns
// 64 rows of 64 columns. What lies beyond the matrix are zeros.
layout(local_size_x = 128) in;

layout(push_constant, std430) uniform Push {
  Halves w;
  Words most; // of each column, as columnpower.comp finds it
  Words y;    // pairs of float16
  Floats powers;
  uint rows, cols, stride, pad, lines; // elements and number of y's rows
};

const uint WIDE = 33; // 32 pairs, with a gap against conflicts of banks
shared uint pairs[64 * WIDE];
shared float scale[64];

void main() {
  uint id = gl_LocalInvocationID.x, col0 = gl_WorkGroupID.x * 64u, row0 = gl_WorkGroupID.y * 64u;
  if (id < 64u) {
    uint col = col0 + id, largest = col < cols ? most.v[col] : 0u;
    scale[id] = powerOf(largest);
    if (row0 == 0u && col < lines) powers.v[col] = inverseOf(largest);
  }
  barrier();
  if (TYPE == F32) {
    for (uint j = id; j < 2048u; j += 128u) {
      uint pair = 0u, at = j % 64u, col = col0 + at;
      [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint row = row0 + j / 64u * 2u + i;
        if (row < rows && col < cols) pair |= toHalf(Floats(w).v[row * (stride / 2u) + col] * scale[at]) << (16u * i);
      }
      pairs[at * WIDE + j / 64u] = pair;
    }
  } else {
    uint line = id / 4u, part = id % 4u, at = col0 + 16u * part, row = row0 + 2u * line;
    uint mine[16];
    [[unroll]] for (uint i = 0u; i < 16u; i++) mine[i] = 0u;
    for (uint r = 0u; r < 2u && row + r < rows && at < cols; r++) {
      float v[16];
      decode(w, (row + r) * stride, at / 16u, cols, v);
      [[unroll]] for (uint i = 0u; i < 16u; i++) mine[i] |= toHalf(v[i] * scale[16u * part + i]) << (16u * r);
    }
    [[unroll]] for (uint i = 0u; i < 16u; i++) pairs[(16u * part + i) * WIDE + line] = mine[i];
  }
  barrier();
  for (uint j = id; j < 2048u; j += 128u) {
    uint line = col0 + j / 32u;
    if (line < lines) y.v[line * (pad / 2u) + row0 / 2u + j % 32u] = pairs[j / 32u * WIDE + j % 32u];
  }
}
