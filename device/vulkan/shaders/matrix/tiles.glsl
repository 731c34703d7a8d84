// Tiles of float16 for matrix units: what a sum over K is, and how both operands become float16.
//
// K is cut into STEPs of 64; an eighth of the steps, in turn, is a strand. The products of a strand are added up by the
// matrix units in the order of K; the sums of strands are added in turn. Every kernel of this folder sums so, whatever its
// tiles are, so that a row has the same bits alone and among others.
//
// Each row of x, and each weight as a whole, is multiplied by a power of two that brings its largest element to [2^14, 2^15):
// nothing overflows, and what becomes subnormal is smaller than the largest by 2^28. Products of training take both operands
// from packed rows: those of w, too, have powers of their own there.
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#include "../blocks.glsl"
#include "../power.glsl"

layout(constant_id = 1) const uint THREADS = 256;
layout(constant_id = 2) const uint M = 16; // of the matrix units
layout(constant_id = 3) const uint N = 16;
layout(constant_id = 4) const uint K = 16;
layout(constant_id = 5) const uint ROWS = 128; // of x and y, for a work group
layout(constant_id = 6) const uint COLS = 128; // of y: rows of w
layout(constant_id = 9) const uint FORM = 0;
const bool SCALED = (FORM & 1u) != 0u; // each row of w has been multiplied by a power of its own
const bool ADDED = (FORM & 2u) != 0u;  // to what plus holds
const bool SPLIT = (FORM & 4u) != 0u;  // y gets the sums of strands, one after the other

layout(local_size_x_id = 1) in;

const uint STRANDS = 8, STEP = 64;

layout(buffer_reference, std430, buffer_reference_align = 16) buffer Packed { float16_t v[]; };

layout(push_constant, std430) uniform Push {
  Packed x; // rows of pad elements
  Floats powers;
  Halves w;
  Words largest; // the largest magnitude in w, or 0; SCALED: by row of w, what its products are to be multiplied by
  Floats y, plus; // which may be y
  uint out_, cols, stride, rows, pad;
};

// store writes an element of y: the products of row o of w, by one of x.
void store(uint row, uint o, float sum) {
  if (row >= rows || o >= out_) return;
  uint at = row * out_ + o;
  if (SPLIT) {
    y.v[gl_WorkGroupID.z * rows * out_ + at] = sum;
    return;
  }
  float f = sum * powers.v[row] * (SCALED ? uintBitsToFloat(largest.v[o]) : inverseOf(largest.v[0]));
  y.v[at] = ADDED ? plus.v[at] + f : f;
}

// halves are elements 16·h to 16·h+15 of row o of w, times power; zeros outside.
void halves(uint o, uint h, float power, out f16vec4 v[4]) {
  [[unroll]] for (uint j = 0u; j < 4u; j++) v[j] = f16vec4(0.0);
  if (o >= out_ || 16u * h >= cols) return;
  if ((TYPE == F16 || TYPE == BF16) && cols % 16u == 0u) { // rows begin at multiples of 32 bytes
    uint at = (o * (cols / 16u) + h) * 2u;
    [[unroll]] for (uint j = 0u; j < 2u; j++) {
      uvec4 a = Octets(w).v[at + j];
      [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uvec2 b = i == 0u ? a.xy : a.zw;
        if (TYPE == F16) v[2u * j + i] = f16vec4(unpackFloat2x16(b.x), unpackFloat2x16(b.y));
        else v[2u * j + i] = f16vec4(vec4(fromBF16(b.x & 0xffffu), fromBF16(b.x >> 16), fromBF16(b.y & 0xffffu), fromBF16(b.y >> 16)) * power);
      }
    }
    return;
  }
  float f[16];
  decode(w, o * stride, h, cols, f);
  [[unroll]] for (uint i = 0u; i < 16u; i++) v[i / 4u][i % 4u] = float16_t(f[i] * power);
}
