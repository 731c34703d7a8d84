#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// log softmax(logits)[target] as in logprob.comp, and the derivative of a loss in the place of the logits: one work group a
// row. With TAUGHT the loss holds softmax(logits/temperature) against a teacher's, too.
layout(local_size_x = 128) in;
layout(constant_id = 0) const uint TAUGHT = 0;

layout(push_constant, std430) uniform Push {
  Floats logits;
  Words targets; // and the rows' weights, in turn
  Floats found, taught, divergence;
  uint cols, vocab, taughtCols, known; // known: leading columns that the teacher has, too
  float alpha, temperature;
};

shared float part[128];

float joined(float x, bool largest, uint lane) {
  part[lane] = x;
  barrier();
  for (uint n = 64u; n > 0u; n /= 2u) {
    if (lane < n) part[lane] = largest ? max(part[lane], part[lane + n]) : part[lane] + part[lane + n];
    barrier();
  }
  x = part[0];
  barrier();
  return x;
}

void main() {
  uint row = gl_WorkGroupID.x, at = row * cols, lane = gl_LocalInvocationID.x, target = targets.v[2u * row];
  float weight = uintBitsToFloat(targets.v[2u * row + 1u]), top = -1.0 / 0.0, sum = 0.0;
  for (uint i = lane; i < vocab; i += 128u) top = max(top, logits.v[at + i]);
  top = joined(top, true, lane);
  for (uint i = lane; i < vocab; i += 128u) sum += exp(logits.v[at + i] - top);
  sum = joined(sum, false, lane);
  float all = log(sum), lse = top + all;
  if (lane == 0u) found.v[row] = logits.v[at + target] - top - all;
  barrier();
  if (TAUGHT == 0u) {
    for (uint i = lane; i < cols; i += 128u) {
      float d = i < vocab ? exp(logits.v[at + i] - lse) * weight : 0.0;
      logits.v[at + i] = i == target ? d - weight : d;
    }
    return;
  }
  uint from = row * taughtCols;
  float t = 1.0 / temperature, soft = 0.0, high = -1.0 / 0.0, taughtSum = 0.0, kl = 0.0;
  for (uint i = lane; i < vocab; i += 128u) soft += exp((logits.v[at + i] - top) * t);
  float lseT = top * t + log(joined(soft, false, lane));
  for (uint i = lane; i < known; i += 128u) high = max(high, taught.v[from + i]);
  high = joined(high, true, lane);
  for (uint i = lane; i < known; i += 128u) taughtSum += exp((taught.v[from + i] - high) * t);
  float lseQ = high * t + log(joined(taughtSum, false, lane));
  float own = alpha * weight, even = (1.0 - alpha) * temperature * weight;
  for (uint i = lane; i < cols; i += 128u) {
    float d = 0.0;
    if (i < vocab) {
      float l = logits.v[at + i], mine = l * t - lseT, p = 0.0;
      if (i < known) {
        float theirs = taught.v[from + i] * t - lseQ;
        p = exp(theirs);
        kl += p * (theirs - mine);
      }
      d = exp(l - lse) * own - (i == target ? own : 0.0) + even * (exp(mine) - p);
    }
    logits.v[at + i] = d;
  }
  kl = joined(kl, false, lane);
  if (lane == 0u) divergence.v[row] = kl;
}
