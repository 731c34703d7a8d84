// The stored types of weights: decode writes 16 elements, from 16·h on, of the row that begins at the 16-bit word at.
// Block layouts are those of package quant; a block is a whole number of 16-bit words.
#include "memory.glsl"

layout(constant_id = 0) const uint TYPE = 0;

// The numbers of stored types, as in types.go.
const uint F32 = 0, F16 = 1, BF16 = 2, Q4_0 = 3, Q4_1 = 4, Q5_0 = 5, Q5_1 = 6, Q8_0 = 7, Q2_K = 8, Q3_K = 9, Q4_K = 10,
           Q5_K = 11, Q6_K = 12, IQ4_NL = 13, NF4 = 14;

const int iq4[16] = int[](-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
const float nf4[16] = float[](-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
                              -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
                              0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
                              0.7229568362236023, 1.0);

uint word(Halves w, uint at) { return uint(w.v[at]); }

// octet is a byte of the block whose words begin at b.
uint octet(Halves w, uint b, uint i) { return word(w, b + i / 2u) >> (i % 2u * 8u) & 255u; }

// run are the 16 bytes from the 16-bit word at on, in loads of 32 bits: weights begin at multiples of 16 bytes, blocks do not.
uvec4 run(Halves w, uint at) {
  uint base = at / 2u, odd = at % 2u;
  uint a = Words(w).v[base], b = Words(w).v[base + 1u], c = Words(w).v[base + 2u], d = Words(w).v[base + 3u];
  if (odd == 0u) return uvec4(a, b, c, d);
  uint e = Words(w).v[base + 4u];
  return uvec4(a >> 16 | b << 16, b >> 16 | c << 16, c >> 16 | d << 16, d >> 16 | e << 16);
}

// wholeRun is run where at is a multiple of 8.
uvec4 wholeRun(Halves w, uint at) { return Octets(w).v[at / 8u]; }

uint byteOf(uvec4 r, uint i) { return r[i / 4u] >> (i % 4u * 8u) & 255u; }

int signedOctet(uint x) { return int(x ^ 128u) - 128; }

// scaleMin is the i-th of the eight six-bit scales and minima of Q4_K and Q5_K, of the block's first 16 bytes.
uvec2 scaleMin(uvec4 r, uint i) {
  // Bytes 4 to 7, 8 to 11, 12 to 15.
  uint lo = r.y >> (i % 4u * 8u) & 255u, hi = r.z >> (i % 4u * 8u) & 255u, x = r.w >> (i % 4u * 8u) & 255u;
  if (i < 4u) return uvec2(lo & 63u, hi & 63u);
  return uvec2((x & 15u) | lo >> 6 << 4, x >> 4 | hi >> 6 << 4);
}

void decode(Halves w, uint at, uint h, uint cols, out float y[16]) {
  if (TYPE <= BF16) {
    if (16u * h + 16u <= cols && cols % 16u == 0u) { // nearly always: all there, at multiples of 16 bytes
      [[unroll]] for (uint i = 0u; i < (TYPE == F32 ? 4u : 2u); i++) {
        uvec4 r = wholeRun(w, at + (TYPE == F32 ? 32u : 16u) * h + 8u * i);
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
          if (TYPE == F32) {
            y[4u * i + j] = uintBitsToFloat(r[j]);
          } else {
            y[8u * i + 2u * j] = TYPE == F16 ? fromHalf(r[j] & 0xffffu) : fromBF16(r[j] & 0xffffu);
            y[8u * i + 2u * j + 1u] = TYPE == F16 ? fromHalf(r[j] >> 16) : fromBF16(r[j] >> 16);
          }
        }
      }
      return;
    }
    [[unroll]] for (uint i = 0u; i < 16u; i++) {
      uint k = 16u * h + i;
      y[i] = 0.0;
      if (k < cols) {
        if (TYPE == F32) y[i] = Floats(w).v[at / 2u + k];
        if (TYPE == F16) y[i] = fromHalf(word(w, at + k));
        if (TYPE == BF16) y[i] = fromBF16(word(w, at + k));
      }
    }
    return;
  }
  if (TYPE == Q8_0) {
    uint b = at + h / 2u * 17u;
    float d = fromHalf(word(w, b));
    uvec4 r = run(w, b + 1u + h % 2u * 8u);
    [[unroll]] for (uint i = 0u; i < 16u; i++) y[i] = float(signedOctet(byteOf(r, i))) * d;
    return;
  }
  if (TYPE == NF4) {
    uint b = at + h / 4u * 18u;
    float d = uintBitsToFloat(word(w, b) | word(w, b + 1u) << 16);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
      uint q = word(w, b + 2u + h % 4u * 4u + i);
      y[4u * i] = nf4[q >> 4 & 15u] * d;
      y[4u * i + 1u] = nf4[q & 15u] * d;
      y[4u * i + 2u] = nf4[q >> 12] * d;
      y[4u * i + 3u] = nf4[q >> 8 & 15u] * d;
    }
    return;
  }
  if (TYPE == Q4_0 || TYPE == Q4_1 || TYPE == Q5_0 || TYPE == Q5_1 || TYPE == IQ4_NL) {
    // Scale, perhaps a minimum, perhaps fifth bits, then codes: low nibbles first.
    const bool least = TYPE == Q4_1 || TYPE == Q5_1, fifth = TYPE == Q5_0 || TYPE == Q5_1;
    const uint codes = 1u + (least ? 1u : 0u) + (fifth ? 2u : 0u);
    uint half_ = h % 2u, b = at + h / 2u * (codes + 8u);
    float d = fromHalf(word(w, b)), m = 0.0;
    uint bits = 0u;
    if (least) m = fromHalf(word(w, b + 1u));
    if (fifth) bits = word(w, b + codes - 2u + half_);
    uvec4 r = run(w, b + codes);
    [[unroll]] for (uint i = 0u; i < 16u; i++) {
      uint q = byteOf(r, i) >> (half_ * 4u) & 15u;
      if (fifth) q |= (bits >> i & 1u) << 4;
      if (TYPE == IQ4_NL) y[i] = d * float(iq4[q]);
      if (TYPE == Q4_0) y[i] = d * float(int(q) - 8);
      if (TYPE == Q5_0) y[i] = d * float(int(q) - 16);
      if (least) {
        precise float p = d * float(q); // rounded before the sum, as in package quant
        y[i] = p + m;
      }
    }
    return;
  }
  // Blocks of 256: g is one of sixteen groups of 16.
  uint g = h % 16u;
  if (TYPE == Q2_K || TYPE == Q3_K) {
    uint b = at + h / 16u * (TYPE == Q2_K ? 42u : 55u);
    uint codes = (TYPE == Q2_K ? 16u : 32u) + g / 8u * 32u + g % 2u * 16u, shift = g % 8u / 2u * 2u;
    float dl = 0.0, ml = 0.0;
    if (TYPE == Q2_K) {
      uint s = octet(w, b, g);
      dl = fromHalf(word(w, b + 40u)) * float(s & 15u);
      ml = fromHalf(word(w, b + 41u)) * float(s >> 4);
    } else {
      uint s = (octet(w, b, 96u + g % 8u) >> (g / 8u * 4u) & 15u) | (octet(w, b, 104u + g % 4u) >> (g / 4u * 2u) & 3u) << 4;
      dl = fromHalf(word(w, b + 54u)) * float(int(s) - 32);
    }
    uvec4 r = run(w, b + codes / 2u), high = TYPE == Q3_K ? run(w, b + g % 2u * 8u) : uvec4(0u);
    [[unroll]] for (uint i = 0u; i < 16u; i++) {
      uint q = byteOf(r, i) >> shift & 3u;
      if (TYPE == Q2_K) {
        precise float p = dl * float(q);
        y[i] = p - ml;
      } else {
        q |= (byteOf(high, i) >> (g / 2u) & 1u) << 2;
        y[i] = dl * float(int(q) - 4);
      }
    }
    return;
  }
  if (TYPE == Q4_K || TYPE == Q5_K) {
    uint b = at + h / 16u * (TYPE == Q4_K ? 72u : 88u), part = g / 2u; // one of eight
    uvec4 first = wholeRun(w, b);
    uvec2 s = scaleMin(first, part);
    float dl = fromHalf(first.x & 0xffffu) * float(s.x), ml = fromHalf(first.x >> 16) * float(s.y);
    uvec4 r = wholeRun(w, b + (TYPE == Q4_K ? 8u : 24u) + part / 2u * 16u + g % 2u * 8u);
    uvec4 fifth = TYPE == Q5_K ? wholeRun(w, b + 8u + g % 2u * 8u) : uvec4(0u);
    [[unroll]] for (uint i = 0u; i < 16u; i++) {
      uint q = byteOf(r, i) >> (part % 2u * 4u) & 15u;
      if (TYPE == Q5_K) q |= (byteOf(fifth, i) >> part & 1u) << 4;
      precise float p = dl * float(q);
      y[i] = p - ml;
    }
    return;
  }
  // Q6_K
  uint b = at + h / 16u * 105u, half_ = g / 8u, part = g % 8u / 2u;
  float dl = fromHalf(word(w, b + 104u)) * float(signedOctet(octet(w, b, 192u + g)));
  uvec4 low = run(w, b + 32u * half_ + 16u * (part % 2u) + g % 2u * 8u), top = run(w, b + 64u + 16u * half_ + g % 2u * 8u);
  [[unroll]] for (uint i = 0u; i < 16u; i++) {
    uint q = (byteOf(low, i) >> (part / 2u * 4u) & 15u) | (byteOf(top, i) >> (2u * part) & 3u) << 4;
    y[i] = dl * float(int(q) - 32);
  }
}
