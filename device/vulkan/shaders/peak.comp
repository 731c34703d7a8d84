#version 460
#extension GL_GOOGLE_include_directive : require
#include "memory.glsl"

// Multiplies and adds in registers: what the arithmetic of float32 gives. An invocation does 64 of both in a turn.
layout(local_size_x = 256) in;

layout(push_constant, std430) uniform Push {
  Floats y;
  uint turns;
};

void main() {
  vec4 sum[16];
  float a = 0.999 + 1e-6 * float(gl_LocalInvocationID.x), b = 1e-3;
  [[unroll]] for (uint i = 0u; i < 16u; i++) sum[i] = vec4(float(i), 1.0, 2.0, 3.0);
  for (uint n = 0u; n < turns; n++) {
    [[unroll]] for (uint i = 0u; i < 16u; i++) sum[i] = fma(sum[i], vec4(a), vec4(b));
  }
  vec4 all = vec4(0.0);
  [[unroll]] for (uint i = 0u; i < 16u; i++) all += sum[i];
  if (all.x + all.y + all.z + all.w == 1.25) y.v[0] = all.x; // almost never, but the sums must be computed
}
