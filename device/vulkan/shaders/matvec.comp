#version 460
#extension GL_GOOGLE_include_directive : require
#include "blocks.glsl"

// x·wᵀ for one row x. A sum over K goes 32 by 32: the products of a block in turn; the sums of 16 blocks in turn, a group;
// the sums of groups in turn. matmul.comp sums in the same order, so that both give the same bits.
//
// LANES neighbors have neighboring blocks of ROWS rows each, and read x once for all of them, from shared memory.
layout(local_size_x = 64) in;
layout(constant_id = 1) const uint FORM = 0;
const bool ADDED = (FORM & 1u) != 0u; // to plus
const bool GATED = (FORM & 2u) != 0u; // SwiGLU(x·wᵀ, x·upᵀ)
const uint LANES = 16u << (FORM >> 4);

layout(push_constant, std430) uniform Push {
  Floats x;
  Halves w, up; // of the same type and shape
  Floats y, plus;
  uint out_, cols, stride; // rows of w, and their stride in 16-bit words
};

const uint ROWS = 4u, SETS = 64u / LANES; // sets of lanes
const uint OUTS = GATED ? ROWS / 2u : ROWS; // elements of y that a set computes
const uint WIDE = 9u; // a block in vectors of four, with a gap against conflicts of banks

shared vec4 xs[LANES * WIDE];
shared float parts[64 * ROWS];
shared float groups[16];
shared float sums[16];

// load brings the blocks from first on to shared memory, with zeros behind x.
void load(uint first) {
  for (uint i = gl_LocalInvocationID.x; i < LANES * 8u; i += 64u) {
    uint k = 32u * first + 4u * i;
    vec4 v = vec4(0.0);
    if (cols % 4u == 0u) {
      if (k < cols) v = Quads(x).v[k / 4u];
    } else {
      [[unroll]] for (uint j = 0u; j < 4u; j++)
        if (k + j < cols) v[j] = x.v[k + j];
    }
    xs[i / 8u * WIDE + i % 8u] = v;
  }
}

// block sums up block b, the lane's, of the rows that begin at out0.
void block(uint out0, uint b, uint lane, out float sum[ROWS]) {
  [[unroll]] for (uint r = 0u; r < ROWS; r++) sum[r] = 0.0;
  [[unroll]] for (uint h = 0u; h < 2u; h++) {
    vec4 a[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++) a[i] = xs[lane * WIDE + 4u * h + i];
    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
      uint row = min(out0 + (GATED ? r / 2u : r), out_ - 1u);
      float v[16];
      if (GATED && r % 2u == 1u) decode(up, row * stride, 2u * b + h, cols, v);
      else decode(w, row * stride, 2u * b + h, cols, v);
      [[unroll]] for (uint i = 0u; i < 16u; i++) sum[r] = fma(v[i], a[i / 4u][i % 4u], sum[r]);
    }
  }
}

void main() {
  uint id = gl_LocalInvocationID.x, set = id / LANES, lane = id % LANES;
  uint out0 = ((gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x) * SETS + set) * OUTS;
  uint blocks = (cols + 31u) / 32u;
  float total = 0.0; // of row id of the work group
  for (uint first = 0u; first < blocks; first += LANES) {
    load(first);
    barrier();
    uint many = min(LANES, blocks - first);
    if (lane < many) {
      float sum[ROWS];
      block(out0, first + lane, lane, sum);
      [[unroll]] for (uint r = 0u; r < ROWS; r++) parts[(set * ROWS + r) * LANES + lane] = sum[r];
    }
    barrier();
    const uint each = LANES / 16u; // groups of a row
    if (id < SETS * ROWS * each && id % each * 16u < many) {
      uint lo = id % each * 16u;
      float sum = 0.0;
      for (uint i = lo; i < min(lo + 16u, many); i++) sum += parts[id / each * LANES + i];
      groups[id] = sum;
    }
    barrier();
    if (id < SETS * ROWS) {
      for (uint g = 0u; g < each && 16u * g < many; g++) total += groups[id * each + g];
    }
  }
  if (GATED) {
    if (id < SETS * ROWS) sums[id] = total;
    barrier();
    uint o = out0 - set * OUTS + id;
    if (id < SETS * OUTS && o < out_) y.v[o] = sums[2u * id] / (1.0 + exp(-sums[2u * id])) * sums[2u * id + 1u];
    return;
  }
  uint o = out0 - set * OUTS + id;
  if (id < SETS * ROWS && o < out_) y.v[o] = ADDED ? plus.v[o] + total : total;
}
