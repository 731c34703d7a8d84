#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Optimizers, in blocks of 2048 elements: AdamW, or Muon's momentum and the direction it gives, before that is
// orthogonalized. Moments are float32, or 8 bits each: a code beside the largest magnitude of the block.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint CODED = 0; // 1: the first moment, 2: the second
layout(constant_id = 1) const uint MUON = 0;

layout(push_constant, std430) uniform Push {
  Floats x, g; // MUON: x is the result
  Floats m, v, mScales, vScales, books; // the values of codes, signed and then unsigned ones
  uint n;
  float gradScale, decay, mix1, beta2, mix2, step_, root, eps; // MUON: mix1 is 1 - momentum
};

shared float book[2][256];
shared float part[128];

float largest(float x, uint lane) {
  part[lane] = x;
  barrier();
  for (uint n = 64u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] = max(part[lane], part[lane + n]);
    barrier();
  }
  x = part[0];
  barrier();
  return x;
}

// nearest is the code whose value is closest to x; the lower one in the middle.
uint nearest(uint b, float x) {
  uint lo = 0u;
  for (uint step = 128u; step > 0u; step /= 2u) {
    if (lo + step < 256u && book[b][lo + step] <= x) lo += step;
  }
  return lo < 255u && book[b][lo + 1u] - x < x - book[b][lo] ? lo + 1u : lo;
}

void open(uint b, Floats from, Floats scales, uint block, uint at, out float y[4]) {
  bool coded = (CODED >> b & 1u) != 0u;
  uint codes = coded ? floatBitsToUint(from.v[at / 4u]) : 0u;
  float scale = coded ? scales.v[block] : 0.0;
  for (uint i = 0u; i < 4u; i++) {
    y[i] = 0.0;
    if (at + i < n) y[i] = coded ? scale * book[b][codes >> 8u * i & 255u] : from.v[at + i];
  }
}

void close(uint b, Floats to, Floats scales, uint block, uint lane, in float y[16]) {
  if ((CODED >> b & 1u) == 0u) {
    for (uint i = 0u; i < 16u; i++) {
      uint at = 2048u * block + 512u * (i / 4u) + 4u * lane + i % 4u;
      if (at < n) to.v[at] = y[i];
    }
    return;
  }
  float top = 0.0;
  for (uint i = 0u; i < 16u; i++) top = max(top, abs(y[i]));
  top = largest(top, lane);
  float inverse = top > 0.0 ? 1.0 / top : 0.0;
  if (lane == 0u) scales.v[block] = top;
  for (uint w = 0u; w < 4u; w++) {
    uint at = 2048u * block + 512u * w + 4u * lane, codes = 0u;
    for (uint i = 0u; i < 4u; i++) codes |= nearest(b, y[4u * w + i] * inverse) << 8u * i;
    if (at < n) to.v[at / 4u] = uintBitsToFloat(codes);
  }
}

void main() {
  uint lane = gl_LocalInvocationID.x;
  if (CODED != 0u) {
    for (uint i = lane; i < 512u; i += 128u) book[i / 256u][i % 256u] = books.v[i];
  }
  barrier();
  for (uint block = gl_WorkGroupID.x; block < (n + 2047u) / 2048u; block += gl_NumWorkGroups.x) {
    float first[16], second[16];
    for (uint w = 0u; w < 4u; w++) {
      uint at = 2048u * block + 512u * w + 4u * lane;
      float a[4], b[4];
      open(0u, m, mScales, block, at, a);
      if (MUON == 0u) open(1u, v, vScales, block, at, b);
      for (uint i = 0u; i < 4u; i++) {
        first[4u * w + i] = second[4u * w + i] = 0.0;
        if (at + i >= n) continue;
        float f = g.v[at + i] * gradScale, mean = a[i] + mix1 * (f - a[i]);
        first[4u * w + i] = mean;
        if (MUON != 0u) {
          x.v[at + i] = f + (1.0 - mix1) * (mean - f);
          continue;
        }
        float square = beta2 * b[i] + mix2 * f * f;
        second[4u * w + i] = square;
        x.v[at + i] = x.v[at + i] * decay - step_ * mean / (sqrt(square) * root + eps);
      }
    }
    barrier();
    close(0u, m, mScales, block, lane, first);
    if (MUON == 0u) close(1u, v, vScales, block, lane, second);
  }
}
