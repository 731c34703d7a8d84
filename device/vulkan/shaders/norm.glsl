// RMSNorm of a row by a work group of 256: the sum of squares has one order, given by the number of columns.
#include "memory.glsl"

layout(local_size_x = 256) in;

shared float part[256];
shared float few[16];

// inverseLength is 1/√(mean(x²) + eps) of the row that begins at an element.
float inverseLength(Floats x, uint at, uint cols, float eps) {
  uint lane = gl_LocalInvocationID.x;
  float sum = 0.0;
  for (uint i = lane; i < cols; i += 256u) sum = fma(x.v[at + i], x.v[at + i], sum);
  part[lane] = sum;
  barrier();
  if (lane < 16u) {
    sum = 0.0;
    for (uint i = 0u; i < 16u; i++) sum += part[lane + 16u * i];
    few[lane] = sum;
  }
  barrier();
  sum = 0.0;
  for (uint i = 0u; i < 16u; i++) sum += few[i];
  return 1.0 / sqrt(sum / float(cols) + eps);
}
