#version 460
#extension GL_GOOGLE_include_directive : require
#include "tiles.glsl"

// x·wᵀ for few rows, each weight read once for all of them: a subgroup is a strand. It brings tiles of w to float16 in its
// part of shared memory; x, already float16 and small, comes from the caches. The work group is as many subgroups as there
// are strands.
const uint WIDE = 18; // a row of STEP elements in shared memory, in 8 bytes, with a gap against conflicts of banks
const uint FR = ROWS / M, FC = COLS / N;

shared f16vec4 pool[STRANDS * COLS * WIDE];
shared float parts[STRANDS * ROWS * COLS];

const uint LANES = THREADS / STRANDS, WS = (4 * COLS + LANES - 1) / LANES;
f16vec4 fetched[WS][4];

void fetch(uint out0, uint step, float power) {
  [[unroll]] for (uint i = 0u; i < WS; i++) {
    uint j = gl_SubgroupInvocationID + i * LANES;
    if (j < 4u * COLS) halves(out0 + j / 4u, 4u * step + j % 4u, power, fetched[i]);
  }
}

void place(uint mine) {
  [[unroll]] for (uint i = 0u; i < WS; i++) {
    uint j = gl_SubgroupInvocationID + i * LANES;
    if (j < 4u * COLS) [[unroll]] for (uint k = 0u; k < 4u; k++) pool[mine + j / 4u * WIDE + j % 4u * 4u + k] = fetched[i][k];
  }
}

void main() {
  uint row0 = gl_WorkGroupID.x * ROWS, out0 = gl_WorkGroupID.y * COLS, mine = gl_SubgroupID * (COLS * WIDE);
  float power = SCALED ? 1.0 : powerOf(largest.v[0]);
  coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sum[FR * FC];
  [[unroll]] for (uint i = 0u; i < FR * FC; i++) sum[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0.0);
  uint steps = pad / STEP, strand = (steps + STRANDS - 1u) / STRANDS;
  // Subgroups at the end of K may have less to do, but go through as many barriers: some drivers count them.
  uint first = gl_SubgroupID * strand, end = min(first + strand, steps);
  for (uint next = first; next <= first + strand; next++) {
    uint step = next - 1u; // which was fetched the last time
    bool placed = next > first && step < end;
    subgroupBarrier();
    if (placed) place(mine);
    subgroupBarrier();
    if (next < end) fetch(out0, next, power);
    for (uint k = 0u; k < STEP / K && placed; k++) {
      coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[FR];
      [[unroll]] for (uint r = 0u; r < FR; r++)
        coopMatLoad(a[r], x.v, (row0 + r * M) * pad + step * STEP + k * K, pad, gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint c = 0u; c < FC; c++) {
        coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
        coopMatLoad(b, pool, mine + c * N * WIDE + k * (K / 4u), WIDE, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint r = 0u; r < FR; r++) sum[r * FC + c] = coopMatMulAdd(a[r], b, sum[r * FC + c]);
      }
    }
  }
  [[unroll]] for (uint r = 0u; r < FR; r++)
    [[unroll]] for (uint c = 0u; c < FC; c++)
      coopMatStore(sum[r * FC + c], parts, gl_SubgroupID * ROWS * COLS + r * M * COLS + c * N, COLS, gl_CooperativeMatrixLayoutRowMajor);
  barrier();
  for (uint i = gl_LocalInvocationID.x; i < ROWS * COLS; i += THREADS) {
    float total = 0.0;
    for (uint s = 0u; s < STRANDS; s++) total += parts[s * ROWS * COLS + i];
    store(row0 + i / COLS, out0 + i % COLS, total);
  }
}
