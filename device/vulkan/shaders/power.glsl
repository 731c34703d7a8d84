// Powers of two that bring a largest magnitude, given by its bits, to [2^14, 2^15); 1 for zero.
uint exponentOf(uint largest) { return clamp(largest >> 23, 15u, 253u); }
float powerOf(uint largest) { return largest == 0u ? 1.0 : uintBitsToFloat((268u - exponentOf(largest)) << 23); }
float inverseOf(uint largest) { return largest == 0u ? 1.0 : uintBitsToFloat((exponentOf(largest) - 14u) << 23); }
