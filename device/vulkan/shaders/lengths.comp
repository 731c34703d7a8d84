#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// What DoRA divides by: SQUARES is Σw² of each row of a stored weight, a work group a row. LENGTHS is then ‖(W + s·B·A) row j‖,
// whose square is ‖w‖² + 2s·b·(A·w) + s²·b·(A·Aᵀ)·b, and the magnitude divided by it.
layout(local_size_x = 64) in;
layout(constant_id = 1) const uint PART = 0;
const uint SQUARES = 0;

layout(push_constant, std430) uniform Push {
  Halves w;
  Floats squares, b, u, gram, magnitude, lengths, gains; // b [rows, rank], u = A·Wᵀ [rank, rows]
  uint rows, cols, stride, rank;
  float s;
};

shared float part[64];

void main() {
  uint lane = gl_LocalInvocationID.x;
  if (PART == SQUARES) {
    for (uint row = gl_WorkGroupID.x; row < rows; row += gl_NumWorkGroups.x) {
      float sum = 0.0, v[16];
      for (uint h = lane; 16u * h < cols; h += 64u) {
        decode(w, row * stride, h, cols, v);
        [[unroll]] for (uint i = 0u; i < 16u; i++) sum = fma(v[i], v[i], sum);
      }
      part[lane] = sum;
      barrier();
      for (uint n = 32u; n > 0u; n /= 2u) {
        if (lane < n) part[lane] += part[lane + n];
        barrier();
      }
      if (lane == 0u) squares.v[row] = part[0];
      barrier();
    }
    return;
  }
  for (uint j = gl_GlobalInvocationID.x; j < rows; j += gl_NumWorkGroups.x * 64u) {
    float sum = squares.v[j];
    for (uint k = 0u; k < rank; k++) {
      float inner = 0.0;
      for (uint l = 0u; l < rank; l++) inner = fma(gram.v[k * rank + l], b.v[j * rank + l], inner);
      sum = fma(s * b.v[j * rank + k], 2.0 * u.v[k * rows + j] + s * inner, sum);
    }
    float length_ = sqrt(max(sum, 1.17549435e-38));
    lengths.v[j] = length_;
    gains.v[j] = magnitude.v[j] / length_;
  }
}
