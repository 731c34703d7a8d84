// Memory by address. Names say what an array holds; offsets are in its elements.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_control_flow_attributes : require

layout(buffer_reference, std430, buffer_reference_align = 4) buffer Floats { float v[]; };
layout(buffer_reference, std430, buffer_reference_align = 4) buffer Words { uint v[]; };
layout(buffer_reference, std430, buffer_reference_align = 2) buffer Halves { uint16_t v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Quads { vec4 v[]; };
layout(buffer_reference, std430, buffer_reference_align = 16) buffer Octets { uvec4 v[]; };

// fromHalf is the value of a float16, subnormals included, whatever the device does with them.
float fromHalf(uint h) {
  uint sign = (h & 0x8000u) << 16, e = h >> 10 & 31u, m = h & 0x3ffu;
  if (e == 0u) {
    float f = float(m) * (1.0 / 16777216.0);
    return (sign != 0u) ? -f : f;
  }
  return uintBitsToFloat(sign | (e == 31u ? 0x7f800000u : (e + 112u) << 23) | m << 13);
}

// toHalf rounds to nearest even; what is too large becomes infinity.
uint toHalf(float f) {
  uint b = floatBitsToUint(f), sign = b >> 16 & 0x8000u;
  b &= 0x7fffffffu;
  if (b > 0x7f800000u) return sign | 0x7e00u | (b >> 13 & 0x3ffu);
  if (b >= 0x477ff000u) return sign | 0x7c00u;
  if (b < 0x38800000u) {
    if (b < 0x33000000u) return sign;
    // The mantissa with its hidden bit, shifted to multiples of 2^-24 and rounded there.
    uint m = (b & 0x7fffffu) | 0x800000u, shift = 126u - (b >> 23);
    uint q = m >> shift, rest = m & ((1u << shift) - 1u), half_ = 1u << (shift - 1u);
    if (rest > half_ || (rest == half_ && (q & 1u) == 1u)) q++;
    return sign | q;
  }
  b += 0xfffu + (b >> 13 & 1u);
  return sign | (b - 0x38000000u) >> 13;
}

float fromBF16(uint h) { return uintBitsToFloat(h << 16); }

uint toBF16(float f) {
  uint b = floatBitsToUint(f);
  if ((b & 0x7fffffffu) > 0x7f800000u) return b >> 16 | 0x40u;
  return (b + 0x7fffu + (b >> 16 & 1u)) >> 16;
}
