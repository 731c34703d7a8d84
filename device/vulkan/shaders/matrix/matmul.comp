#version 460
#extension GL_GOOGLE_include_directive : require
#include "tiles.glsl"

// x·wᵀ for many rows: a work group computes ROWS × COLS elements, a subgroup a part of them. While the matrix units work on
// 32 elements of K, the next ones are on their way to registers. Where there are few elements and K is long, each strand has
// work groups of its own (SPLIT), and strands.comp adds them.
layout(constant_id = 7) const uint DOWN = 4; // subgroups that share the rows
layout(constant_id = 8) const uint ACROSS = 2; // the columns

const uint WIDE = 10; // a row of 32 elements in shared memory, in 8 bytes, with a gap against conflicts of banks
const uint FR = ROWS / DOWN / M, FC = COLS / ACROSS / N;
const uint XS = (4 * ROWS + THREADS - 1) / THREADS, WS = (2 * COLS + THREADS - 1) / THREADS;

shared f16vec4 xs[ROWS * WIDE];
shared f16vec4 ws[COLS * WIDE];
shared float stage[DOWN * ACROSS * M * N];

f16vec4 fetchedX[XS][2];
f16vec4 fetchedW[WS][4];

void fetch(uint row0, uint out0, uint part, float power) {
  uint id = gl_LocalInvocationID.x;
  [[unroll]] for (uint i = 0u; i < XS; i++) {
    uint j = id + i * THREADS, row = row0 + j / 4u;
    fetchedX[i][0] = fetchedX[i][1] = f16vec4(0.0);
    if (j < 4u * ROWS && row < rows) {
      uvec4 a = Octets(x).v[row * (pad / 8u) + 4u * part + j % 4u];
      fetchedX[i][0] = f16vec4(unpackFloat2x16(a.x), unpackFloat2x16(a.y));
      fetchedX[i][1] = f16vec4(unpackFloat2x16(a.z), unpackFloat2x16(a.w));
    }
  }
  [[unroll]] for (uint i = 0u; i < WS; i++) {
    uint j = id + i * THREADS;
    if (j < 2u * COLS) halves(out0 + j / 2u, 2u * part + j % 2u, power, fetchedW[i]);
  }
}

void place() {
  uint id = gl_LocalInvocationID.x;
  [[unroll]] for (uint i = 0u; i < XS; i++) {
    uint j = id + i * THREADS;
    if (j < 4u * ROWS) [[unroll]] for (uint k = 0u; k < 2u; k++) xs[j / 4u * WIDE + j % 4u * 2u + k] = fetchedX[i][k];
  }
  [[unroll]] for (uint i = 0u; i < WS; i++) {
    uint j = id + i * THREADS;
    if (j < 2u * COLS) [[unroll]] for (uint k = 0u; k < 4u; k++) ws[j / 2u * WIDE + j % 2u * 4u + k] = fetchedW[i][k];
  }
}

void main() {
  uint row0 = gl_WorkGroupID.x * ROWS, out0 = gl_WorkGroupID.y * COLS;
  uint down = gl_SubgroupID / ACROSS * (FR * M), across = gl_SubgroupID % ACROSS * (FC * N);
  float power = SCALED ? 1.0 : powerOf(largest.v[0]);
  coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> total[FR * FC], sum[FR * FC];
  [[unroll]] for (uint i = 0u; i < FR * FC; i++)
    total[i] = sum[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0.0);
  uint parts = pad / 32u, strand = (parts / 2u + STRANDS - 1u) / STRANDS * 2u;
  uint begin = SPLIT ? min(gl_WorkGroupID.z * strand, parts) : 0u, end = SPLIT ? min(begin + strand, parts) : parts;
  for (uint next = begin; next <= end; next++) {
    barrier();
    if (next > begin) place();
    barrier();
    if (next < end) fetch(row0, out0, next, power);
    for (uint k = 0u; k < 32u / K && next > begin; k++) {
      coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> a[FR];
      [[unroll]] for (uint r = 0u; r < FR; r++)
        coopMatLoad(a[r], xs, (down + r * M) * WIDE + k * (K / 4u), WIDE, gl_CooperativeMatrixLayoutRowMajor);
      [[unroll]] for (uint c = 0u; c < FC; c++) {
        coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> b;
        coopMatLoad(b, ws, (across + c * N) * WIDE + k * (K / 4u), WIDE, gl_CooperativeMatrixLayoutColumnMajor);
        [[unroll]] for (uint r = 0u; r < FR; r++) sum[r * FC + c] = coopMatMulAdd(a[r], b, sum[r * FC + c]);
      }
    }
    if (next > begin && (next % strand == 0u || next == end)) {
      [[unroll]] for (uint i = 0u; i < FR * FC; i++) {
        total[i] += sum[i];
        sum[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0.0);
      }
    }
  }
  uint mine = gl_SubgroupID * M * N;
  [[unroll]] for (uint r = 0u; r < FR; r++) {
    [[unroll]] for (uint c = 0u; c < FC; c++) {
      coopMatStore(total[r * FC + c], stage, mine, N, gl_CooperativeMatrixLayoutRowMajor);
      subgroupBarrier();
      for (uint i = gl_SubgroupInvocationID; i < M * N; i += gl_SubgroupSize) {
        store(row0 + down + r * M + i / N, out0 + across + c * N + i % N, stage[mine + i]);
      }
      subgroupBarrier();
    }
  }
}
