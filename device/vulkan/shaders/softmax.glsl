// Ranges of keys: attention computes them apart from each other, and joins them in order. Whether one work group does both
// or each range has its own changes no bit.
const uint RANGE = 256;

// merge makes the largest score and the sum of the exponentials of one more range part of those so far; what was summed
// with them is to be multiplied by a and b.
void merge(inout float top, inout float total, float newTop, float newTotal, out float a, out float b) {
  float higher = max(top, newTop);
  a = exp(top - higher);
  b = exp(newTop - higher);
  precise float old = total * a, more = newTotal * b;
  precise float sum = old + more;
  total = sum;
  top = higher;
}

float join(float old, float a, float more, float b) {
  precise float x = old * a, y = more * b;
  precise float sum = x + y;
  return sum;
}
