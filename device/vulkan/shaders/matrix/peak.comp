#version 460
#extension GL_GOOGLE_include_directive : require
#include "tiles.glsl"

// Multiplies and adds in registers: what the matrix units give. A subgroup does 8 products of their shape in a turn.
shared f16vec4 values[64]; // 16 × 16 of them

void main() {
  uint id = gl_LocalInvocationID.x;
  for (uint i = id; i < 64u; i += THREADS) { // no zeros: they would cost less power, and clocks would be higher
    uint bits = (i + 1u) * 2654435761u;
    [[unroll]] for (uint j = 0u; j < 4u; j++) values[i][j] = float16_t(float(bits >> (8u * j) & 255u) / 256.0 - 0.5);
  }
  barrier();
  coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a;
  coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
  coopMatLoad(a, values, 0, K / 4u, gl_CooperativeMatrixLayoutRowMajor);
  coopMatLoad(b, values, 0, K / 4u, gl_CooperativeMatrixLayoutColumnMajor);
  coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[8];
  [[unroll]] for (uint i = 0u; i < 8u; i++) sum[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(float(i));
  for (uint n = 0u; n < rows; n++) { // turns
    [[unroll]] for (uint i = 0u; i < 8u; i++) sum[i] = coopMatMulAdd(a, b, sum[i]);
  }
  [[unroll]] for (uint i = 1u; i < 8u; i++) sum[0] += sum[i];
  float first = sum[0][0];
  if (first == 1.25) y.v[0] = first; // almost never, but the sums must be computed
}
