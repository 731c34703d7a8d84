#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// The K largest logits of a row in descending order, of equal ones the lower column first, and what their softmax needs.
// A work group takes a segment of a row (STAGE 0), then the segments' largest become the row's (STAGE 1).
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint STAGE = 0;
layout(constant_id = 1) const uint K = 2; // at most 128

layout(push_constant, std430) uniform Push {
  Floats logits;
  Words found;  // of segments: 2·K words of keys and columns; largest, sum of exponentials, odd, 0
  Words result; // of rows: 2·K words of logits and columns; log-sum-exp, odd, 0, 0
  uint cols, vocab, segments;
};

const uint SEGMENT = 4096, WIDE = 2u * K + 4u, NONE = 0xffffffffu;

shared uint bins[256];
shared uint part[128];
shared float parts[128];
shared uvec2 picked[128];
shared uint slot, chosen, inBin, above;
shared uint anyOdd;

uint lane = gl_LocalInvocationID.x;

// key grows with the float, and is the same for both zeros; unkey is the float.
uint key(float f) {
  uint b = floatBitsToUint(f);
  if (b == 0x80000000u) b = 0u;
  return (b & 0x80000000u) != 0u ? ~b : b | 0x80000000u;
}

uint unkey(uint k) { return (k & 0x80000000u) != 0u ? k & 0x7fffffffu : ~k; }

// element is the i-th logit that this work group looks at, ordered by x, then y.
uvec2 element(uint i) {
  if (STAGE == 0u) {
    uint column = gl_WorkGroupID.x * SEGMENT + i;
    return uvec2(key(logits.v[gl_WorkGroupID.y * cols + column]), ~column);
  }
  uint at = (gl_WorkGroupID.y * segments + i / K) * WIDE + 2u * (i % K);
  return uvec2(found.v[at], ~found.v[at + 1u]);
}

// digit is byte d of an element, from the highest on.
uint digit(uvec2 e, uint d) { return (d < 4u ? e.x >> (24u - 8u * d) : e.y >> (56u - 8u * d)) & 255u; }

// least is the K-th largest of n elements, or an element below it and above the next: those not below it are K, or all.
uvec2 least(uint n) {
  uvec2 t = uvec2(0u);
  uint left = K;
  if (n <= K) return t;
  for (uint d = 0u; d < 8u; d++) {
    bins[lane] = 0u;
    bins[lane + 128u] = 0u;
    barrier();
    uvec2 mask = uvec2(0u);
    if (d > 0u) mask.x = d < 4u ? ~(NONE >> (8u * d)) : NONE;
    if (d > 4u) mask.y = ~(NONE >> (8u * (d - 4u)));
    for (uint i = lane; i < n; i += 128u) {
      uvec2 e = element(i);
      if ((e & mask) == t) atomicAdd(bins[digit(e, d)], 1u);
    }
    barrier();
    uint lo = bins[2u * lane], hi = bins[2u * lane + 1u];
    part[lane] = lo + hi;
    barrier();
    for (uint s = 1u; s < 128u; s *= 2u) { // sums from a lane to the last
      uint more = lane + s < 128u ? part[lane + s] : 0u;
      barrier();
      part[lane] += more;
      barrier();
    }
    uint beyond = part[lane] - lo - hi;
    if (beyond < left && beyond + hi >= left) {
      chosen = 2u * lane + 1u;
      inBin = hi;
      above = beyond;
    } else if (beyond + hi < left && beyond + hi + lo >= left) {
      chosen = 2u * lane;
      inBin = lo;
      above = beyond + hi;
    }
    barrier();
    if (d < 4u) t.x |= chosen << (24u - 8u * d);
    else t.y |= chosen << (56u - 8u * d);
    left -= above;
    bool all = inBin == left;
    barrier();
    if (all) break;
  }
  return t;
}

bool below(uvec2 a, uvec2 b) { return a.x < b.x || (a.x == b.x && a.y < b.y); }

// pick writes the K largest of n elements to picked, in order; of too few, the rest are zeros.
void pick(uint n) {
  uvec2 t = least(n);
  picked[lane] = uvec2(0u);
  if (lane == 0u) slot = 0u;
  barrier();
  for (uint i = lane; i < n; i += 128u) {
    uvec2 e = element(i);
    if (!below(e, t)) picked[atomicAdd(slot, 1u)] = e;
  }
  barrier();
  for (uint size = 2u; size <= 128u; size *= 2u) { // bitonic
    for (uint s = size / 2u; s > 0u; s /= 2u) {
      uint other = lane ^ s;
      uvec2 a = picked[lane], b = picked[other];
      barrier();
      bool down = (lane & size) == 0u, first = lane < other;
      if (first == down ? below(a, b) : below(b, a)) picked[lane] = b;
      barrier();
    }
  }
}

// softmax finds the largest logit of a segment, and the sum of the exponentials beside it.
void softmax(uint n, uint at) {
  float top = -1.0 / 0.0;
  if (lane == 0u) anyOdd = 0u;
  barrier();
  for (uint i = lane; i < n; i += 128u) {
    float f = logits.v[at + i];
    uint b = floatBitsToUint(f);
    if ((b & 0x7f800000u) == 0x7f800000u && b != 0xff800000u) atomicOr(anyOdd, 1u);
    top = max(top, f);
  }
  parts[lane] = top;
  barrier();
  for (uint s = 64u; s > 0u; s /= 2u) {
    if (lane < s) parts[lane] = max(parts[lane], parts[lane + s]);
    barrier();
  }
  top = parts[0];
  barrier();
  float sum = 0.0;
  bool some = floatBitsToUint(top) != 0xff800000u;
  for (uint i = lane; some && i < n; i += 128u) sum += exp(logits.v[at + i] - top);
  parts[lane] = sum;
  barrier();
  for (uint s = 64u; s > 0u; s /= 2u) {
    if (lane < s) parts[lane] += parts[lane + s];
    barrier();
  }
  if (lane == 0u) {
    uint to = (gl_WorkGroupID.y * segments + gl_WorkGroupID.x) * WIDE + 2u * K;
    found.v[to] = floatBitsToUint(top);
    found.v[to + 1u] = floatBitsToUint(parts[0]);
    found.v[to + 2u] = anyOdd;
  }
}

void main() {
  if (STAGE == 0u) {
    uint from = gl_WorkGroupID.x * SEGMENT, n = min(SEGMENT, vocab - from);
    softmax(n, gl_WorkGroupID.y * cols + from);
    barrier();
    pick(n);
    uint to = (gl_WorkGroupID.y * segments + gl_WorkGroupID.x) * WIDE;
    if (lane < K) {
      found.v[to + 2u * lane] = picked[lane].x;
      found.v[to + 2u * lane + 1u] = ~picked[lane].y;
    }
    return;
  }
  pick(segments * K);
  uint to = gl_WorkGroupID.y * WIDE;
  if (lane < K) {
    result.v[to + 2u * lane] = unkey(picked[lane].x);
    result.v[to + 2u * lane + 1u] = ~picked[lane].y;
  }
  if (lane == 0u) {
    float top = -1.0 / 0.0, sum = 0.0;
    uint odd = 0u, at = gl_WorkGroupID.y * segments * WIDE + 2u * K;
    for (uint i = 0u; i < segments; i++) {
      top = max(top, uintBitsToFloat(found.v[at + i * WIDE]));
      odd |= found.v[at + i * WIDE + 2u];
    }
    for (uint i = 0u; i < segments; i++) {
      uint largest = found.v[at + i * WIDE];
      if (largest != 0xff800000u) sum += uintBitsToFloat(found.v[at + i * WIDE + 1u]) * exp(uintBitsToFloat(largest) - top);
    }
    result.v[to + 2u * K] = floatBitsToUint(top + log(sum));
    result.v[to + 2u * K + 1u] = odd;
  }
}
